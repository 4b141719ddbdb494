/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers that most data are made of, one source for CPU and GPU: sums of four uniform 16-bit integers
 * (Irwin-Hall), centred, times a power of two. Integers alone until the single rounding to a format. */
#ifndef MP_CASES_NORMAL_H
#define MP_CASES_NORMAL_H

#include "base/mix.h"

#define MP_CENTRED_MOST 131070 /* the largest magnitude; the standard deviation is sqrt(4/12)*2^16 */

MP_MIX int mp_centred_sum(mp_u64 bits) {
    const mp_u64 pairs =
        (bits & (mp_u64)0x0000FFFF0000FFFFull) + ((bits >> 16) & (mp_u64)0x0000FFFF0000FFFFull);
    return (int)((pairs & 0xFFFFFFFF) + (pairs >> 32)) - MP_CENTRED_MOST;
}

/* A tensor of them, in a format of floats that has at most 16 bits: element i is the centred sum of
 * mp_bits(key, i) times 2^exponent. */
typedef struct mp_normal {
    mp_u64 key;
    int exponent;
    int bits, precision, emin; /* as mp_format has them */
    unsigned largest;          /* the code of the largest finite number; that of what lies beyond is next */
} mp_normal;

MP_MIX int mp_highest_bit(unsigned v) {
#ifdef __CUDACC_RTC__
    return 31 - __clz((int)v);
#else
    return 31 - __builtin_clz(v);
#endif
}

/* The code of sum * 2^exponent, rounded to nearest, ties to even. Codes count: steps of the format's last
 * place, so many in each binade, from the smallest subnormal on. */
MP_MIX unsigned mp_normal_code_of(const mp_normal *n, int sum) {
    const unsigned magnitude = sum < 0 ? 0u - (unsigned)sum : (unsigned)sum;
    if (magnitude == 0) return 0;
    const int fraction = n->precision - 1, own = mp_highest_bit(magnitude) + n->exponent,
              binade = own > n->emin ? own : n->emin,
              drop = binade - fraction - n->exponent; /* bits below the last place */
    unsigned code = 0;
    if (drop <= 0) {
        code = magnitude << -drop;
    } else if (drop < 20) { /* else it is less than half of the last place */
        const unsigned rest = magnitude & ((1u << drop) - 1), half = 1u << (drop - 1);
        code = magnitude >> drop;
        code += rest > half || (rest == half && (code & 1));
    }
    code += (unsigned)(binade - n->emin) << fraction;
    if (code > n->largest) code = n->largest + 1;
    return sum < 0 ? code | 1u << (n->bits - 1) : code;
}

MP_MIX unsigned mp_normal_code(const mp_normal *n, mp_u64 index) {
    return mp_normal_code_of(n, mp_centred_sum(mp_bits(n->key, index)));
}

#endif
