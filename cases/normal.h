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

/* What numbers of a tensor become. */
typedef enum mp_normal_kind {
    MP_NORMAL_FLOAT,     /* a float; what lies beyond the largest number is the next code */
    MP_NORMAL_SATURATED, /* a float; what lies beyond is the largest */
    MP_NORMAL_SIGNED,    /* an integer, saturated */
    MP_NORMAL_UNSIGNED   /* the same, around a zero */
} mp_normal_kind;

/* A tensor of them, in a format that has at most 16 bits: element i is the centred sum of mp_bits(key, i)
 * times 2^exponent. Of MP_NORMAL_UNSIGNED the sums have 32 more random bits below, are rounded to float32,
 * and again where the zero is added, and each part of a row counts for itself. */
typedef struct mp_normal {
    mp_u64 key;
    int exponent;
    int kind;                  /* mp_normal_kind */
    int bits, precision, emin; /* as mp_format has them */
    unsigned largest;          /* the code of the largest finite number */
    int zero;                  /* of MP_NORMAL_UNSIGNED, and elements in a row */
    mp_u64 row_length;
} mp_normal;

MP_MIX int mp_highest_bit(unsigned v) {
#ifdef __CUDACC_RTC__
    return 31 - __clz((int)v);
#else
    return 31 - __builtin_clz(v);
#endif
}

/* magnitude / 2^drop, rounded to nearest, ties to even. */
MP_MIX unsigned mp_dropped(unsigned magnitude, int drop) {
    if (drop <= 0) return magnitude << -drop;
    if (drop >= 20) return 0; /* it is less than half of the last place */
    const unsigned rest = magnitude & ((1u << drop) - 1), half = 1u << (drop - 1), code = magnitude >> drop;
    return code + (rest > half || (rest == half && (code & 1)));
}

/* The code of sum * 2^exponent, rounded to nearest, ties to even, of kinds that have a sign. Codes of floats
 * count: steps of the format's last place, so many in each binade, from the smallest subnormal on. */
MP_MIX unsigned mp_normal_code_of(const mp_normal *n, int sum) {
    const unsigned magnitude = sum < 0 ? 0u - (unsigned)sum : (unsigned)sum;
    if (magnitude == 0) return 0;
    if (n->kind == MP_NORMAL_SIGNED) {
        const unsigned code = mp_dropped(magnitude, -n->exponent), most = n->largest + (sum < 0);
        return (sum < 0       ? 0u - (code < most ? code : most)
                : code < most ? code
                              : most) &
               ((1u << n->bits) - 1);
    }
    const int fraction = n->precision - 1, own = mp_highest_bit(magnitude) + n->exponent,
              binade = own > n->emin ? own : n->emin;
    unsigned code = mp_dropped(magnitude, binade - fraction - n->exponent); /* bits below the last place */
    code += (unsigned)(binade - n->emin) << fraction;
    if (code > n->largest) code = n->largest + (n->kind == MP_NORMAL_FLOAT);
    return sum < 0 ? code | 1u << (n->bits - 1) : code;
}

/* A part of a row that has no sign, and the random bits of the element in it. */
#define MP_NORMAL_PART 8192
MP_MIX mp_u64 mp_normal_part_key(mp_u64 key, mp_u64 first) {
    return mp_mix(key + first);
}

MP_MIX unsigned mp_normal_unsigned_code(const mp_normal *n, mp_u64 index) {
    const mp_u64 column = index % n->row_length, of_part = column % MP_NORMAL_PART,
                 bits = mp_bits(mp_normal_part_key(n->key, index - of_part), of_part);
    const double sum = (double)mp_centred_sum(bits) + (double)(mp_mix(bits) >> 32) * 0x1p-32,
                 scale =
                     n->exponent < 0 ? 1.0 / (double)(1ull << -n->exponent) : (double)(1ull << n->exponent);
    const float even = 0x1.8p23f, number = (float)(sum * scale) + (float)n->zero, code = number + even - even;
    return code < 0 ? 0 : code > (float)n->largest ? n->largest : (unsigned)code;
}

/* How large the number of a code is: of floats the code without its sign, 0 of what is not finite; of
 * integers the number. In the order of magnitudes. */
MP_MIX unsigned mp_normal_magnitude(const mp_normal *n, unsigned code) {
    const unsigned sign = 1u << (n->bits - 1), rest = code & (sign - 1);
    if (n->kind == MP_NORMAL_UNSIGNED) return code;
    if (n->kind == MP_NORMAL_SIGNED) return code & sign ? sign - rest : rest;
    return rest <= n->largest ? rest : 0;
}

MP_MIX unsigned mp_normal_code(const mp_normal *n, mp_u64 index) {
    return n->kind == MP_NORMAL_UNSIGNED ? mp_normal_unsigned_code(n, index)
                                         : mp_normal_code_of(n, mp_centred_sum(mp_bits(n->key, index)));
}

#endif
