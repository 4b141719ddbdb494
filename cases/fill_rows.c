/* SPDX-License-Identifier: Apache-2.0 */
/* Kinds of rows. Normal values (cases/normal.h) are only ever scaled by powers of two, so the single rounding
 * is the one to dtype. */
#include "cases/fill_rows.h"

#include "base/clones.h"
#include "cases/fill.h"
#include "cases/normal.h"

#include <math.h>
#include <string.h>

#define BATCH 512 /* elements encoded at a time */

MP_CLONES static void normal_batch(uint64_t key, uint64_t first, int64_t n, float scale, float *batch) {
    int32_t sums[BATCH];
    for (int64_t i = 0; i < n; i++) sums[i] = mp_centred_sum(mp_bits(key, first + (uint64_t)i));
    for (int64_t i = 0; i < n; i++) batch[i] = (float)sums[i] * scale;
}

/* The 18-bit integers are exact in float32. fp32 and fp64 elements get 32 more random bits below, so that
 * sums of them are inexact and a narrower accumulator or operand shows. */
static void normal_row(uint64_t key, uint64_t first, int64_t n, int exponent, mp_dtype dtype, void *data,
                       int64_t at) {
    if (dtype == MP_FP32 || dtype == MP_FP64) {
        const double scale = ldexp(1.0, exponent), low = ldexp(1.0, -32);
        for (int64_t i = 0; i < n; i++) {
            const uint64_t bits = mp_bits(key, first + (uint64_t)i);
            mp_encode(dtype, data, at + i,
                      (mp_centred_sum(bits) + (double)(mp_mix(bits) >> 32) * low) * scale);
        }
        return;
    }
    float batch[BATCH];
    const float scale = (float)ldexp(1.0, exponent);
    for (int64_t start = 0; start < n; start += BATCH) {
        const int64_t count = n - start < BATCH ? n - start : BATCH;
        normal_batch(key, first + (uint64_t)start, count, scale, batch);
        mp_encode_row_f32(dtype, data, at + start, count, batch);
    }
}

static void zero_row(int64_t n, mp_dtype dtype, void *data, int64_t at) {
    memset((char *)data + mp_dtype_bytes(dtype, at), 0, mp_dtype_bytes(dtype, n)); /* +0 in every format */
}

static void int_row(uint64_t key, uint64_t first, int64_t n, int64_t nonzeros, mp_dtype dtype, void *data,
                    int64_t at) {
    if (nonzeros == 0) {
        for (int64_t i = 0; i < n; i++)
            mp_encode(dtype, data, at + i, (double)(mp_below(mp_bits(key, first + (uint64_t)i), 5) - 2));
        return;
    }
    zero_row(n, dtype, data, at);
    const int64_t run = (n + nonzeros - 1) / nonzeros; /* one nonzero in each run of elements */
    for (int64_t start = 0; start < n; start += run) {
        const uint64_t bits = mp_bits(key, first + (uint64_t)start);
        const int64_t length = n - start < run ? n - start : run;
        const double magnitude = bits & 1 ? 1.0 : 2.0;
        mp_encode(dtype, data, at + start + mp_below(mp_mix(bits), length),
                  bits & 2 ? -magnitude : magnitude);
    }
}

/* sign * (1 + m/1024) * 2^e, e uniform in -12..5. Elements 4q and 4q+1 form a pair: equal in the weights,
 * opposite but for one bit of the significand in x, so that half of all products nearly cancel another
 * one. */
static void wide_row(uint64_t key, uint64_t first, int64_t n, int exponent, bool mirrored, mp_dtype dtype,
                     void *data, int64_t at) {
    for (int64_t i = 0; i < n; i++) {
        const bool second = (i & 3) == 1;
        const uint64_t bits = mp_bits(key, first + (uint64_t)(second ? i - 1 : i));
        const bool flip = second && mirrored;
        const uint64_t significand = 1024 + ((bits & 1023) ^ (flip ? 8 : 0));
        const bool negative = ((bits >> 10) & 1) != flip;
        const int e = (int)mp_below(bits, 18) - 12 - 10 + exponent;
        mp_encode(dtype, data, at + i, ldexp(negative ? -(double)significand : (double)significand, e));
    }
}

/* Multiples of the smallest subnormal, below the smallest normal number. */
static void subnormal_row(uint64_t key, uint64_t first, int64_t n, mp_dtype dtype, void *data, int64_t at) {
    const mp_format *f = mp_dtype_format(dtype);
    const int64_t largest = (INT64_C(1) << (f->precision - 1)) - 1;
    const double smallest = ldexp(1.0, f->emin - f->precision + 1);
    for (int64_t i = 0; i < n; i++) {
        const uint64_t bits = mp_bits(key, first + (uint64_t)i);
        const double value = (double)(1 + mp_below(mp_mix(bits), largest)) * smallest;
        mp_encode(dtype, data, at + i, bits & 1 ? -value : value);
    }
}

void mp_fill_row(const mp_row_rule *rule, uint64_t key, int64_t row, mp_tensor *t) {
    const int64_t n = mp_tensor_row_length(t), at = row * n;
    const uint64_t first = (uint64_t)at, row_bits = mp_bits(~key, (uint64_t)row);
    switch (rule->style) {
    case MP_STYLE_NORMAL: normal_row(key, first, n, rule->exponent, t->dtype, t->data, at); break;
    case MP_STYLE_INT: int_row(key, first, n, rule->nonzeros, t->dtype, t->data, at); break;
    case MP_STYLE_WIDE: wide_row(key, first, n, rule->exponent, rule->mirrored, t->dtype, t->data, at); break;
    case MP_STYLE_ZERO: zero_row(n, t->dtype, t->data, at); break;
    case MP_STYLE_MINUS_ZERO:
        for (int64_t i = 0; i < n; i++) mp_encode(t->dtype, t->data, at + i, -0.0);
        break;
    case MP_STYLE_ONE:
        zero_row(n, t->dtype, t->data, at);
        mp_encode(t->dtype, t->data, at + mp_below(row_bits, n), 1.0);
        break;
    case MP_STYLE_NAN:
        for (int64_t i = 0; i < n; i++) mp_encode(t->dtype, t->data, at + i, (double)NAN);
        break;
    case MP_STYLE_SUBNORMAL: subnormal_row(key, first, n, t->dtype, t->data, at); break;
    case MP_STYLE_INF_ELEMENT:
    case MP_STYLE_NAN_ELEMENT:
        normal_row(key, first, n, rule->exponent, t->dtype, t->data, at);
        mp_encode(t->dtype, t->data, at + mp_below(row_bits, n),
                  rule->style == MP_STYLE_NAN_ELEMENT ? (double)NAN
                  : row_bits & 1                      ? -(double)INFINITY
                                                      : (double)INFINITY);
        break;
    }
}
