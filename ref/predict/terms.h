/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as matrix units see them: taken apart, multiplied without rounding or normalising, put together
 * again. Integers only. What the definitions of all units are made of. One source for CPU and GPU,
 * in what C and C++ have in common. */
#ifndef MP_REF_TERMS_H
#define MP_REF_TERMS_H

#ifdef __CUDACC_RTC__ /* which has no files */
typedef unsigned uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#else
#include <stdbool.h>
#include <stdint.h>
#endif
#ifdef __CUDACC__
#define MP_TERMS static __device__ inline
#define MP_LEADING_ZEROS(x) __clzll((long long)(x))
#else
#define MP_TERMS static inline
#define MP_LEADING_ZEROS(x) __builtin_clzll(x)
#endif

/* Which codes are no numbers. IEEE: those of the largest exponent, Inf among them; LAST_CODE: all exponent
 * and fraction bits set (e4m3); NONE; MINUS_ZERO: that code alone (fnuz formats, whose bias is one more). */
typedef enum mp_term_specials {
    MP_SPECIALS_IEEE,
    MP_SPECIALS_LAST_CODE,
    MP_SPECIALS_NONE,
    MP_SPECIALS_MINUS_ZERO
} mp_term_specials;

typedef struct mp_term_format {
    int exponent_bits, fraction_bits;
    mp_term_specials specials;
} mp_term_format;

#ifndef __CUDACC__
static const mp_term_format mp_float32_terms = {8, 23, MP_SPECIALS_IEEE};
extern const mp_term_format mp_tc_formats[]; /* by mp_tc_input, but s8; tf32 without the low 13 bits */
#endif

MP_TERMS int mp_term_bias(const mp_term_format *f) {
    return (1 << (f->exponent_bits - 1)) - (f->specials != MP_SPECIALS_MINUS_ZERO);
}

typedef enum mp_term_kind { MP_TERM_FINITE, MP_TERM_INFINITE, MP_TERM_NAN } mp_term_kind;
/* A number: (-1)^negative * significand * 2^(exponent - fraction_bits). */
typedef struct mp_term {
    mp_term_kind kind;
    bool negative;
    int exponent, fraction_bits;
    uint64_t significand;
} mp_term;

MP_TERMS mp_term mp_term_decode(const mp_term_format *f, uint32_t code) {
    const uint32_t all_fraction = (1u << f->fraction_bits) - 1, all_exponent = (1u << f->exponent_bits) - 1;
    const uint32_t fraction = code & all_fraction, field = code >> f->fraction_bits & all_exponent;
    const int bias = mp_term_bias(f);
    mp_term t;
    t.kind = MP_TERM_FINITE;
    t.negative = (code >> (f->fraction_bits + f->exponent_bits) & 1) != 0;
    t.fraction_bits = f->fraction_bits;
    t.exponent = field ? (int)field - bias : 1 - bias;
    t.significand = field ? fraction + all_fraction + 1 : fraction;
    if (f->specials == MP_SPECIALS_IEEE && field == all_exponent)
        t.kind = fraction ? MP_TERM_NAN : MP_TERM_INFINITE;
    if (f->specials == MP_SPECIALS_LAST_CODE && field == all_exponent && fraction == all_fraction)
        t.kind = MP_TERM_NAN;
    if (f->specials == MP_SPECIALS_MINUS_ZERO && t.negative && field == 0 && fraction == 0)
        t.kind = MP_TERM_NAN;
    return t;
}

MP_TERMS bool mp_term_is_zero(const mp_term *t) {
    return t->kind == MP_TERM_FINITE && t->significand == 0;
}

MP_TERMS mp_term mp_term_multiply(const mp_term *a, const mp_term *b) {
    mp_term t;
    t.kind = MP_TERM_FINITE;
    t.negative = a->negative != b->negative;
    t.exponent = a->exponent + b->exponent;
    t.fraction_bits = a->fraction_bits + b->fraction_bits;
    t.significand = a->significand * b->significand;
    if (a->kind == MP_TERM_INFINITE || b->kind == MP_TERM_INFINITE)
        t.kind = mp_term_is_zero(a) || mp_term_is_zero(b) ? MP_TERM_NAN : MP_TERM_INFINITE;
    if (a->kind == MP_TERM_NAN || b->kind == MP_TERM_NAN) t.kind = MP_TERM_NAN;
    return t;
}

/* floor(value * 2^shift); a zero may come with any shift */
MP_TERMS uint64_t mp_shifted(uint64_t value, int shift) {
    if (value == 0) return 0;
    if (shift >= 0) return value << shift;
    return shift > -64 ? value >> -shift : 0;
}

/* value * 2^shift, a value below 2^63, to nearest even */
MP_TERMS uint64_t mp_rounded(uint64_t value, int shift) {
    if (shift >= 0) return mp_shifted(value, shift);
    if (shift <= -64) return 0;
    const uint64_t floor = value >> -shift, rest = value - (floor << -shift),
                   half = (uint64_t)1 << (-shift - 1);
    return floor + (rest > half || (rest == half && floor & 1));
}

MP_TERMS uint32_t mp_term_infinity(const mp_term_format *f) {
    return ((1u << f->exponent_bits) - 1) << f->fraction_bits;
}

MP_TERMS uint32_t mp_term_nan(const mp_term_format *f) {
    return mp_term_infinity(f) | ((1u << f->fraction_bits) - 1);
}

MP_TERMS uint32_t mp_term_sign(const mp_term_format *f, bool negative) {
    return (uint32_t)negative << (f->exponent_bits + f->fraction_bits);
}

/* sum * 2^unit in the format: rounded to nearest even, or cut towards zero to `kept` fraction bits. */
MP_TERMS uint32_t mp_term_encode(const mp_term_format *f, int64_t sum, int unit, bool to_nearest, int kept) {
    if (sum == 0) return 0;
    const int bias = (1 << (f->exponent_bits - 1)) - 1;
    const uint64_t magnitude = sum < 0 ? -(uint64_t)sum : (uint64_t)sum;
    int exponent = unit + 63 - MP_LEADING_ZEROS(magnitude);
    if (exponent < 1 - bias) exponent = 1 - bias; /* subnormal: the hidden bit below is 0 */
    const int shift = unit - (exponent - f->fraction_bits);
    const uint64_t significand =
        to_nearest ? mp_rounded(magnitude, shift)
                   : mp_shifted(magnitude, shift) & ~(((uint64_t)1 << (f->fraction_bits - kept)) - 1);
    if (significand == 0) return 0;
    if (exponent > bias) return mp_term_sign(f, sum < 0) | mp_term_infinity(f);
    /* The hidden bit adds one to the exponent field; so does a carry of the rounding, up to Inf. */
    return mp_term_sign(f, sum < 0) + ((uint32_t)(exponent + bias - 1) << f->fraction_bits) +
           (uint32_t)significand;
}

/* What a sum with such terms is whatever the finite ones are: false, or bits of NaN or Inf. */
MP_TERMS bool mp_terms_special(const mp_term_format *result, int count, const mp_term *terms,
                               uint32_t *bits) {
    bool nan = false, plus_inf = false, minus_inf = false;
    for (int i = 0; i < count; i++) {
        nan |= terms[i].kind == MP_TERM_NAN;
        plus_inf |= terms[i].kind == MP_TERM_INFINITE && !terms[i].negative;
        minus_inf |= terms[i].kind == MP_TERM_INFINITE && terms[i].negative;
    }
    nan |= plus_inf && minus_inf;
    *bits = nan ? mp_term_nan(result) : mp_term_sign(result, minus_inf) | mp_term_infinity(result);
    return nan || plus_inf || minus_inf;
}

/* The largest exponent of finite terms that are not zero, but no less than at_least. */
MP_TERMS int mp_terms_exponent(int count, const mp_term *terms, int at_least) {
    for (int i = 0; i < count; i++)
        if (terms[i].significand != 0 && terms[i].exponent > at_least) at_least = terms[i].exponent;
    return at_least;
}

/* The exact sum of finite terms, each cut towards zero to a multiple of 2^unit, in such units. */
MP_TERMS int64_t mp_terms_sum(int count, const mp_term *terms, int unit) {
    int64_t sum = 0;
    for (int i = 0; i < count; i++) {
        const int64_t cut =
            (int64_t)mp_shifted(terms[i].significand, terms[i].exponent - terms[i].fraction_bits - unit);
        sum += terms[i].negative ? -cut : cut;
    }
    return sum;
}

/* A step of a tensor core: the terms, c the last of them, cut to fraction_bits below the largest exponent,
 * summed, and put together in c's format: rounded to nearest, or cut to `kept` fraction bits. */
MP_TERMS uint32_t mp_terms_step(const mp_term_format *result, int count, const mp_term *terms,
                                int zero_exponent, int fraction_bits, bool to_nearest, int kept) {
    uint32_t bits;
    if (mp_terms_special(result, count, terms, &bits)) return bits;
    const int unit = mp_terms_exponent(count, terms, zero_exponent) - fraction_bits;
    return mp_term_encode(result, mp_terms_sum(count, terms, unit), unit, to_nearest, kept);
}

#endif
