/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of products as whole numbers of 2^-90, in 128 bits: an oracle that rounds nothing. */
#ifndef MP_TESTS_EXACT_SUMS_H
#define MP_TESTS_EXACT_SUMS_H

#include "tests/ref_support.h"

__extension__ typedef __int128 wide_int;
enum { EXACT_UNIT = -90 };

/* A number that is a multiple of 2^-90 and below 2^36: every double of that kind is such an integer. */
static inline wide_int exactly(double value) {
    int exponent;
    const double fraction = frexp(value, &exponent);
    const int64_t significand = (int64_t)ldexp(fraction, 53);
    const int shift = exponent - 53 - EXACT_UNIT;
    if (shift >= 0) return (wide_int)significand * ((wide_int)1 << shift);
    assert_true(shift > -54 && significand % (INT64_C(1) << -shift) == 0);
    return significand / (INT64_C(1) << -shift);
}

static inline double about(wide_int value) {
    return ldexp((double)value, EXACT_UNIT);
}

typedef struct exact_sum {
    wide_int sum, mass;
} exact_sum;

/* The product is exact in float64: numbers of few bits. */
static inline void exact_add(exact_sum *s, double product) {
    const wide_int term = exactly(product);
    s->sum += term;
    s->mass += term < 0 ? -term : term;
}

static inline double exact_error(const exact_sum *s, float got) {
    const wide_int error = exactly((double)got) - s->sum;
    return about(error < 0 ? -error : error);
}

#endif
