/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/matrixcore.h"

#include "base/bits.h"
#include "ref/predict/terms.h"

#include <math.h>
#include <string.h>

enum { BELOW_F = 7 /* bits that the sum of products keeps below F */, NAN_BITS = 0x7FC00000 };

static const mp_term_format FORMATS[MP_MC_INPUT_COUNT] = {
    [MP_MC_FP32] = {8, 23, MP_SPECIALS_IEEE},           [MP_MC_XF32] = {8, 10, MP_SPECIALS_IEEE},
    [MP_MC_FP16] = {5, 10, MP_SPECIALS_IEEE},           [MP_MC_BF16] = {8, 7, MP_SPECIALS_IEEE},
    [MP_MC_BF16_1K] = {8, 7, MP_SPECIALS_IEEE},         [MP_MC_E4M3_FNUZ] = {4, 3, MP_SPECIALS_MINUS_ZERO},
    [MP_MC_E5M2_FNUZ] = {5, 2, MP_SPECIALS_MINUS_ZERO},
};

static mp_term decode(mp_mc_input input, uint32_t code) {
    return mp_term_decode(&FORMATS[input], input == MP_MC_XF32 ? code >> 13 : code);
}

static uint32_t canonical(float value) {
    return value != value ? NAN_BITS : mp_bits_of_float(value);
}

/* ---- by IEEE float32 ---- */

/* Exact: no input has more range or precision than float32. */
static float value_of(const mp_mc_model *m, mp_mc_input input, uint32_t code) {
    const mp_term_format *f = &FORMATS[input];
    const mp_term t = decode(input, code);
    if (t.kind == MP_TERM_NAN) return NAN;
    if (t.kind == MP_TERM_INFINITE) return t.negative ? -INFINITY : INFINITY;
    const bool subnormal = t.significand >> f->fraction_bits == 0;
    if (m->flush_subnormals && subnormal) return 0;
    const float magnitude = ldexpf((float)t.significand, t.exponent - t.fraction_bits);
    return t.negative ? -magnitude : magnitude;
}

static float flushed(const mp_mc_model *m, float value) {
    return m->flush_subnormals && fabsf(value) < 0x1p-126F ? value * 0 : value;
}

static float pairwise(const mp_mc_model *m, int n, const float *products) {
    if (n == 1) return products[0];
    const float left = pairwise(m, n / 2, products), right = pairwise(m, n - n / 2, products + n / 2);
    return flushed(m, left + right);
}

static uint32_t step_pairwise(const mp_mc_model *m, const uint32_t *a, const uint32_t *b, uint32_t c) {
    float products[MP_MC_MAX_GROUP], acc = value_of(m, MP_MC_FP32, c);
    for (int k = 0; k < m->group; k++)
        products[k] = flushed(m, fmaf(value_of(m, m->a, a[k]), value_of(m, m->b, b[k]), 0));
    return canonical(flushed(m, acc + pairwise(m, m->group, products)));
}

static uint32_t step_fma(const mp_mc_model *m, const uint32_t *a, const uint32_t *b, uint32_t c) {
    float acc = mp_float_of_bits(c);
    for (int k = 0; k < m->group; k++) acc = fmaf(value_of(m, m->a, a[k]), value_of(m, m->b, b[k]), acc);
    return canonical(acc);
}

/* ---- fused ---- */

/* sum * 2^unit in multiples of 2^to, rounded down; to >= unit - 17, and no sum has more than 46 bits. */
static int64_t rounded_down(int64_t sum, int unit, int to) {
    const int shift = to - unit;
    if (shift <= 0) return sum * (INT64_C(1) << -shift);
    return sum >> (shift < 63 ? shift : 63); /* arithmetic: towards minus infinity */
}

static mp_term from_2_128_on_infinite(mp_term t) {
    const bool finite = t.kind == MP_TERM_FINITE && t.significand != 0;
    if (finite && t.exponent - t.fraction_bits + 63 - __builtin_clzll(t.significand) >= 128)
        t.kind = MP_TERM_INFINITE;
    return t;
}

static uint32_t step_fused(const mp_mc_model *m, const uint32_t *a, const uint32_t *b, uint32_t c) {
    const int parts = m->method == MP_MC_FUSED_HALVES ? 2 : 1, n = m->group / parts;
    mp_term terms[MP_MC_MAX_GROUP + 1];
    const int F = m->fraction_bits;
    int exponent[2], e = m->zero_exponent;
    for (int k = 0; k < m->group; k++) { /* terms of a part lie beside each other */
        const mp_term x = decode(m->a, a[k]), y = decode(m->b, b[k]);
        terms[k % parts * n + k / parts] = from_2_128_on_infinite(mp_term_multiply(&x, &y));
    }
    const mp_term acc = terms[m->group] = mp_term_decode(&mp_float32_terms, c);
    uint32_t special;
    if (mp_terms_special(&mp_float32_terms, m->group + 1, terms, &special))
        return canonical(mp_float_of_bits(special));
    for (int part = 0; part < parts; part++) {
        exponent[part] = mp_terms_exponent(n, terms + part * n, m->zero_exponent);
        if (exponent[part] > e) e = exponent[part];
    }
    int64_t sum = 0;
    for (int part = 0; part < parts; part++) {
        const int unit = exponent[part] - F;
        sum += rounded_down(mp_terms_sum(n, terms + part * n, unit), unit, e - F);
    }
    const int both = mp_terms_exponent(1, &acc, e);
    const bool dropped = parts == 2 && acc.exponent < both - F - 1;
    const int64_t significand = acc.negative ? -(int64_t)acc.significand : (int64_t)acc.significand;
    sum = rounded_down(sum, e - F, both - F - BELOW_F);
    if (!dropped)
        sum += rounded_down(significand, acc.exponent - acc.fraction_bits, both - F) * (1 << BELOW_F);
    return mp_term_encode(&mp_float32_terms, sum, both - F - BELOW_F, true, 23);
}

static uint32_t step(const mp_mc_model *m, const uint32_t *a, const uint32_t *b, uint32_t c) {
    switch (m->method) {
    case MP_MC_FMA: return step_fma(m, a, b, c);
    case MP_MC_PAIRWISE: return step_pairwise(m, a, b, c);
    case MP_MC_FUSED:
    case MP_MC_FUSED_HALVES: break;
    }
    return step_fused(m, a, b, c);
}

uint32_t mp_mc_dot(const mp_mc_model *m, int64_t K, const uint32_t *a, const uint32_t *b, uint32_t c) {
    int64_t k = 0;
    for (; k + m->group <= K; k += m->group) c = step(m, a + k, b + k, c);
    if (k == K) return c;
    uint32_t last_a[MP_MC_MAX_GROUP] = {0}, last_b[MP_MC_MAX_GROUP] = {0};
    memcpy(last_a, a + k, (size_t)(K - k) * sizeof *a);
    memcpy(last_b, b + k, (size_t)(K - k) * sizeof *b);
    return step(m, last_a, last_b, c);
}

/* ---- which model an instruction follows ---- */

enum { ALL = 1 << MP_CDNA1 | 1 << MP_CDNA2 | 1 << MP_CDNA3, OLD = 1 << MP_CDNA1 | 1 << MP_CDNA2 };
static const struct {
    int architectures, inputs;
    mp_mc_method method;
    int most; /* terms of a group, or fewer where the instruction has fewer */
} TABLE[] = {
    {ALL, 1 << MP_MC_FP32, MP_MC_FMA, 1},
    {OLD, 1 << MP_MC_FP16, MP_MC_PAIRWISE, 4},
    {OLD, 1 << MP_MC_BF16, MP_MC_PAIRWISE, 2},
    {1 << MP_CDNA2, 1 << MP_MC_BF16_1K, MP_MC_PAIRWISE, 4},
    {1 << MP_CDNA3, 1 << MP_MC_XF32, MP_MC_FUSED, 4},
    {1 << MP_CDNA3, 1 << MP_MC_FP16 | 1 << MP_MC_BF16, MP_MC_FUSED, 8},
    {1 << MP_CDNA3, 1 << MP_MC_E4M3_FNUZ | 1 << MP_MC_E5M2_FNUZ, MP_MC_FUSED_HALVES, 16},
};

bool mp_mc_find(mp_mc_architecture architecture, mp_mc_input a, mp_mc_input b, int k, mp_mc_model *model) {
    const int inputs = 1 << a | 1 << b, fnuz = 1 << MP_MC_E4M3_FNUZ | 1 << MP_MC_E5M2_FNUZ;
    if ((a != b && (inputs & fnuz) != inputs) || k <= 0) return false;
    for (size_t i = 0; i < sizeof TABLE / sizeof *TABLE; i++) {
        if (!(TABLE[i].architectures & 1 << architecture) || (TABLE[i].inputs & inputs) != inputs) continue;
        if (TABLE[i].method == MP_MC_FUSED_HALVES && k < TABLE[i].most) continue;
        *model =
            (mp_mc_model){.a = a,
                          .b = b,
                          .method = TABLE[i].method,
                          .group = k < TABLE[i].most ? k : TABLE[i].most,
                          .fraction_bits = 24,
                          .zero_exponent = -126,
                          .flush_subnormals = architecture == MP_CDNA2 && TABLE[i].method == MP_MC_PAIRWISE};
        return true;
    }
    return false;
}
