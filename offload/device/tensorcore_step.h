/* SPDX-License-Identifier: Apache-2.0 */
/* A step of the tensor-core model (ref/predict/tensorcore.h) by float64 additions, for a GPU's ordinary
 * cores: one fused multiply-add a term. One source for both: the CPU compiles it for tests.
 *
 * With e the step's largest exponent, F its fraction bits and u = 2^(e-F) the unit that terms are cut to,
 * the anchor S = M*u, 2^52 <= M < 2^53, has u as its last place. So a multiply-add that rounds down gives
 *   fma(a, w, S) = S + floor(a*w/u)*u,
 * and trunc(x) = floor(x') + [x < 0], where x' lies a little further from zero than x: so little that no
 * other integer is reached, and a negative integer x becomes the next one below. Therefore w has its last
 * bit set: x' = x*(1+d), 0 < d <= 2^-52. Products of 22 bits below 4*2^F units allow any d < 2^-(F+2), F +
 * 2 < 52. The accumulator, of 24 bits, is multiplied by 1+2^-30. How many terms are negative tells a
 * population count of sign masks: the sum begins with them. A zero is +-2^-500: its floor is 0 or -1, and
 * its sign counts.
 *
 * Nothing is scaled. Products have exponents of -266 to 256, and float64 has them all; so subnormal
 * operands and zero_exponent are as the definition has them. Only what is not finite, and accumulators
 * that leave float32's normal numbers, are left to the definition: see mp_step_extent.
 *
 * Exponents come in pairs of 16 bits, doubled, with what turns them into the upper half of S: of w's
 * 1023+52-F is added, doubled, plus one. So shifted by 19 a sum is the exponent field of S and a fraction
 * of .5; the upper one of a pair leaves the lower one's bits below that, which M may have. */
#ifndef MP_OFFLOAD_TENSORCORE_STEP_H
#define MP_OFFLOAD_TENSORCORE_STEP_H

#ifdef __CUDACC__
#define MP_STEP static __device__ __forceinline__
MP_STEP double mp_step_double(unsigned high, unsigned low) {
    return __hiloint2double((int)high, (int)low);
}
MP_STEP unsigned mp_step_high(double x) {
    return (unsigned)__double2hiint(x);
}
MP_STEP unsigned mp_step_low(double x) {
    return (unsigned)__double2loint(x);
}
MP_STEP double mp_step_fma(double x, double y, double z) {
    return __fma_rd(x, y, z);
}
MP_STEP double mp_step_subtract(double x, double y) {
    return __dsub_rn(x, y);
}
MP_STEP int mp_step_zeros(unsigned x) {
    return __clz((int)x);
}
MP_STEP int mp_step_count(unsigned x) {
    return __popc(x);
}
MP_STEP unsigned mp_step_max_pair(unsigned x, unsigned y, unsigned at_least) {
    return __viaddmax_s16x2(x, y, at_least);
}
#else
#include <fenv.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#define MP_STEP static inline
MP_STEP double mp_step_double(unsigned high, unsigned low) {
    const uint64_t bits = (uint64_t)high << 32 | low;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
MP_STEP unsigned mp_step_high(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (unsigned)(bits >> 32);
}
MP_STEP unsigned mp_step_low(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (unsigned)bits;
}
/* The caller has set FE_DOWNWARD, in which a difference of zero is -0. */
MP_STEP double mp_step_fma(double x, double y, double z) {
    return fma(x, y, z);
}
MP_STEP double mp_step_subtract(double x, double y) {
    return x == y ? 0 : x - y;
}
MP_STEP int mp_step_zeros(unsigned x) {
    return x ? __builtin_clz(x) : 32;
}
MP_STEP int mp_step_count(unsigned x) {
    return __builtin_popcount(x);
}
MP_STEP unsigned mp_step_max_pair(unsigned x, unsigned y, unsigned at_least) {
    unsigned pair = 0;
    for (int shift = 0; shift < 32; shift += 16) {
        const int16_t sum = (int16_t)((x >> shift) + (y >> shift)), floor = (int16_t)(at_least >> shift);
        pair |= (unsigned)(uint16_t)(sum > floor ? sum : floor) << shift;
    }
    return pair;
}
#endif

/* A format of operands, and the exponent that a step takes its smallest numbers to have: that of its own
 * subnormals, or of fp16's where codes of fp8 are converted. */
typedef struct mp_step_format {
    int exponent_bits, fraction_bits; /* at most 8 and 10 */
    int ieee;                         /* the largest exponent has Inf and NaN; else the last code is NaN */
    int lowest;
} mp_step_format;

/* An operand: the upper half of the float64, and the exponent, doubled. */
typedef struct mp_step_operand {
    unsigned high;
    int exponent;
    int special; /* Inf or NaN: the other two mean nothing */
} mp_step_operand;

#define MP_STEP_ZERO_EXPONENT (-16384) /* doubled: below all that matters, and twice it fits 16 bits */
#define MP_STEP_ZERO_HIGH ((1023u - 500u) << 20)

/* code: right-aligned, without what tf32 drops. */
MP_STEP mp_step_operand mp_step_decode(mp_step_format f, unsigned code) {
    const unsigned all = (1u << (f.exponent_bits + f.fraction_bits)) - 1, one = 1u << f.fraction_bits;
    const unsigned magnitude = code & all, field = magnitude >> f.fraction_bits;
    const int bias = (1 << (f.exponent_bits - 1)) - 1;
    /* a subnormal is shifted until its first bit is where a normal number's hidden one is */
    const int shift = field ? 0 : mp_step_zeros(magnitude) - (31 - f.fraction_bits);
    const unsigned significand = field ? magnitude | one : magnitude << shift;
    const int exponent = (field ? (int)field : 1) - bias - shift;
    const unsigned high = magnitude ? ((unsigned)(exponent + 1023) << 20) | (significand & (one - 1))
                                                                                << (20 - f.fraction_bits)
                                    : MP_STEP_ZERO_HIGH;
    mp_step_operand x;
    x.high = high | (code >> (f.exponent_bits + f.fraction_bits)) << 31;
    x.exponent = magnitude ? 2 * (exponent > f.lowest ? exponent : f.lowest) : MP_STEP_ZERO_EXPONENT;
    x.special = f.ieee ? magnitude >= (all & ~(one - 1)) : magnitude == all;
    return x;
}

/* What is added to an operand w's exponent, and the floor that the largest one begins with. */
MP_STEP int mp_step_w_exponent(int exponent, int fraction_bits) {
    return exponent + 2 * (1023 + 52 - fraction_bits) + 1;
}
MP_STEP unsigned mp_step_floor_pair(int zero_exponent, int fraction_bits) {
    return (unsigned)(2 * (zero_exponent + 1023 + 52 - fraction_bits) + 1) * 0x00010001u;
}

#define MP_STEP_FIELD 0x7FF00000u
/* The upper half of S, of the exponents shifted by 19 and the accumulator. */
MP_STEP unsigned mp_step_anchor(unsigned exponents, double acc, int fraction_bits) {
    const unsigned of_acc =
        (mp_step_high(acc) & MP_STEP_FIELD) + ((unsigned)(52 - fraction_bits) << 20 | 1u << 19);
    return of_acc > exponents ? of_acc : exponents;
}

/* The sum before its first product: S, the accumulator, and one for every negative term. */
MP_STEP double mp_step_begin(unsigned anchor, double acc, unsigned negative) {
    const unsigned below = (unsigned)mp_step_count(negative) + (mp_step_high(acc) >> 31);
    return mp_step_fma(acc, 1 + 0x1p-30, mp_step_double(anchor, below));
}

MP_STEP double mp_step_add(double sum, unsigned a, unsigned w) {
    return mp_step_fma(mp_step_double(a, 0), mp_step_double(w, 1), sum);
}

/* The accumulator after the step: the sum cut towards zero, for a float64 is sign and magnitude. */
MP_STEP double mp_step_end(double sum, unsigned anchor, int result_bits) {
    const double total = mp_step_subtract(sum, mp_step_double(anchor, 0));
    const unsigned high = mp_step_high(total), low = mp_step_low(total);
    return result_bits > 20 ? mp_step_double(high, low & ~((1u << (52 - result_bits)) - 1))
                            : mp_step_double(high & ~((1u << (20 - result_bits)) - 1), 0);
}

/* The exponents that accumulators had on the way, as fields: the least of those that were not zero, less one,
 * and the largest. Where they stay within float32's normal numbers the steps are the definition's. */
typedef struct mp_step_extent {
    unsigned lowest, highest;
} mp_step_extent;
MP_STEP mp_step_extent mp_step_no_extent(void) {
    const mp_step_extent x = {0xFFFFFFFFu, 0};
    return x;
}
MP_STEP void mp_step_widen(mp_step_extent *x, double acc) {
    const unsigned field = mp_step_high(acc) & MP_STEP_FIELD;
    x->lowest = field - 1 < x->lowest ? field - 1 : x->lowest;
    x->highest = field > x->highest ? field : x->highest;
}
MP_STEP int mp_step_left_float32(mp_step_extent x) {
    return x.lowest < ((1023u - 126u) << 20) - 1 || x.highest > ((1023u + 127u) << 20);
}

#endif
