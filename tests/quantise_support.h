/* SPDX-License-Identifier: Apache-2.0 */
/* Values that share a scale, and what a quantiser makes of them. */
#ifndef MP_TESTS_QUANTISE_SUPPORT_H
#define MP_TESTS_QUANTISE_SUPPORT_H

#include "ref/quantise.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { UNIT = 32 };

static uint64_t quantise_state = 1;
static inline uint64_t next_random(void) { /* splitmix64 */
    uint64_t z = quantise_state += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
}

static inline int below(int n) {
    return (int)(next_random() % (uint64_t)n);
}

static inline bool is_static(mp_quantiser q) {
    return q == MP_QUANT_FP8_STATIC || q == MP_QUANT_SGL_FP8_STATIC || q == MP_QUANT_VLLM_FP8_STATIC ||
           q == MP_QUANT_VLLM_INT8_STATIC;
}

static inline bool is_nvfp4(mp_quantiser q) {
    return q == MP_QUANT_NVFP4 || q == MP_QUANT_VLLM_NVFP4;
}

/* Values around 2^exponent, of one format: many binades, ties and zeros among them. */
static inline void draw_unit(mp_dtype dtype, int exponent, float x[UNIT]) {
    const bool wide = below(2), even = below(3) == 0;
    for (int i = 0; i < UNIT; i++) {
        const double significand = even ? 1 + below(32) / 32.0 : 1 + (double)(next_random() >> 12) * 0x1p-52;
        const double value = ldexp(significand, exponent - (wide ? below(20) : below(4)));
        x[i] = (float)mp_round_to(dtype, below(2) ? value : -value);
        if (below(12) == 0) x[i] = below(2) ? 0.0f : -0.0f;
    }
}

static inline mp_quant_unit unit_of(const float *x, int n) {
    mp_quant_unit unit = mp_quant_unit_empty;
    mp_quant_unit_add(&unit, x, n);
    return unit;
}

/* A quantiser for these values: given scales are such that some are clipped and some are not. */
static inline mp_quantisation quantisation_for(mp_quantiser q, mp_dtype input, const float *x, int n) {
    const mp_quant_unit unit = unit_of(x, n);
    mp_quantisation made = {q, input, 1, INFINITY};
    const float a = unit.amax > 0x1p-100f && unit.amax < 0x1p100f ? unit.amax : 1;
    const float spread = (float)ldexp(1 + below(64) / 64.0, below(5) - 2);
    if (is_static(q)) made.given = a * spread / (mp_quantiser_codes(q) == MP_I8 ? 127.0f : 448.0f);
    if (q == MP_QUANT_NVFP4) made.given = a * spread / (6 * 448.0f);
    if (q == MP_QUANT_VLLM_NVFP4) made.given = 6 * 448.0f / (a * spread);
    if (q == MP_QUANT_VLLM_FP8_TOKEN && below(4) == 0) made.upper = a * 0.75f;
    return made;
}

/* What a code is multiplied by. */
static inline double step_of(const mp_quantisation *q, double scale) {
    if (q->quantiser == MP_QUANT_NVFP4) return scale * (double)q->given;
    if (q->quantiser == MP_QUANT_VLLM_NVFP4) return scale / (double)q->given;
    return scale;
}

#endif
