/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers rounded to the codes of a format by integers alone, one source for CPU and GPU: the same codes as
 * those of mp_encode_code (moeparity/dtype.h), which is the definition. */
#ifndef MP_CASES_CODES_H
#define MP_CASES_CODES_H

#include "base/mix.h"

/* What numbers become. */
typedef enum mp_code_kind {
    MP_CODES_FLOAT,     /* what lies beyond the largest number is the next code */
    MP_CODES_SATURATED, /* a float; what lies beyond is the largest, and so is NaN */
    MP_CODES_SIGNED,    /* an integer, saturated */
    MP_CODES_UNSIGNED,  /* the same, around a zero: rounded to float32, and again where the zero is added */
    MP_CODES_POWER      /* the nearest power of two, of positive numbers */
} mp_code_kind;

typedef struct mp_code_format {
    mp_u64 largest;                  /* the code of the largest finite number */
    int kind, bits, precision, emin; /* mp_code_kind; as mp_format has them */
    int zero, unused;                /* of MP_CODES_UNSIGNED; 0, so that there is no padding */
} mp_code_format;

/* magnitude * 2^exponent */
typedef struct mp_number {
    mp_u64 magnitude; /* below 2^53 */
    int exponent, negative;
} mp_number;

MP_MIX mp_number mp_number_of(mp_i64 value, int exponent) {
    const mp_number v = {value < 0 ? 0 - (mp_u64)value : (mp_u64)value, exponent, value < 0};
    return v;
}

MP_MIX int mp_highest_bit(mp_u64 v) {
#ifdef __CUDACC_RTC__
    return 63 - __clzll((long long)v);
#else
    return 63 - __builtin_clzll(v);
#endif
}

/* magnitude / 2^drop, rounded to nearest, ties to even. */
MP_MIX mp_u64 mp_dropped(mp_u64 magnitude, int drop) {
    if (drop <= 0) return magnitude << -drop;
    if (drop >= 55) return 0; /* it is less than half of the last place */
    const mp_u64 rest = magnitude & (((mp_u64)1 << drop) - 1), half = (mp_u64)1 << (drop - 1),
                 code = magnitude >> drop;
    return code + ((mp_u64)(rest > half) | ((mp_u64)(rest == half) & code & 1)); /* no branch: it is random */
}

MP_MIX mp_u64 mp_mask_of_bits(int bits) {
    return ~(mp_u64)0 >> (64 - bits);
}

/* The power nearest to a number that is not negative: codes of powers count from 2^emin on, which the
 * smallest have, and ties go to the even code. */
MP_MIX mp_u64 mp_power_code(const mp_code_format *f, mp_number v) {
    const int high = mp_highest_bit(v.magnitude | 1), below = v.exponent + high - f->emin;
    if (below < 0 || v.magnitude == 0) return 0;
    const mp_u64 fraction = high == 0 ? 0 : v.magnitude << (64 - high), half = (mp_u64)1 << 63;
    const mp_u64 code = (mp_u64)below + (fraction > half || (fraction == half && below % 2 != 0));
    return code <= f->largest ? code : f->largest + 1;
}

/* 2^exponent, |exponent| < 64. */
MP_MIX double mp_small_power(int exponent) {
    return exponent < 0 ? 1.0 / (double)((mp_u64)1 << -exponent) : (double)((mp_u64)1 << exponent);
}

MP_MIX mp_u64 mp_unsigned_code(const mp_code_format *f, mp_number v) {
    const double size = (double)v.magnitude * mp_small_power(v.exponent);
    const float even = 0x1.8p23f, number = (float)(v.negative ? -size : size) + (float)f->zero,
                code = number + even - even;
    return code < 0 ? 0 : code > (float)f->largest ? f->largest : (mp_u64)code;
}

MP_MIX mp_u64 mp_signed_code(const mp_code_format *f, mp_number v) {
    const mp_u64 code = mp_dropped(v.magnitude, -v.exponent), most = f->largest + (mp_u64)v.negative,
                 kept = code < most ? code : most;
    return (v.negative ? 0 - kept : kept) & mp_mask_of_bits(f->bits);
}

MP_MIX mp_u64 mp_signed_float(const mp_code_format *f, mp_u64 code, int negative) {
    return code | (mp_u64)negative << (f->bits - 1);
}

/* Codes of floats count: steps of the format's last place, so many in each binade, from the smallest
 * subnormal on. */
MP_MIX mp_u64 mp_float_code(const mp_code_format *f, mp_number v) {
    const int fraction = f->precision - 1, own = mp_highest_bit(v.magnitude | 1) + v.exponent,
              binade = own > f->emin ? own : f->emin;
    mp_u64 code = mp_dropped(v.magnitude, binade - fraction - v.exponent); /* bits below the last place */
    code += (mp_u64)(binade - f->emin) << fraction;
    if (code > f->largest) code = f->largest + (f->kind == MP_CODES_FLOAT);
    return mp_signed_float(f, v.magnitude ? code : 0, v.negative);
}

/* The number, rounded to nearest, ties to even. A zero that is negative keeps its sign in a float. */
MP_MIX mp_u64 mp_code_of(const mp_code_format *f, mp_number v) {
    switch (f->kind) {
    case MP_CODES_SIGNED: return mp_signed_code(f, v);
    case MP_CODES_UNSIGNED: return mp_unsigned_code(f, v);
    case MP_CODES_POWER: return mp_power_code(f, v);
    default: return mp_float_code(f, v);
    }
}

/* Of floats: Inf, or what a format without it has, and NaN. */
MP_MIX mp_u64 mp_infinite_code(const mp_code_format *f, int negative) {
    return mp_signed_float(f, f->largest + (f->kind == MP_CODES_FLOAT), negative);
}

MP_MIX mp_u64 mp_nan_code(const mp_code_format *f) {
    if (f->bits == 64) return (mp_u64)0x7FF8 << 48; /* the quiet NaN of C's doubles */
    return f->kind == MP_CODES_POWER ? f->largest + 1 : mp_mask_of_bits(f->bits - 1);
}

/* How large the number of a code is: of floats the code without its sign, 0 of what is not finite; of
 * integers the number. In the order of magnitudes. */
MP_MIX mp_u64 mp_code_magnitude(const mp_code_format *f, mp_u64 code) {
    const mp_u64 sign = (mp_u64)1 << (f->bits - 1), rest = code & (sign - 1);
    if (f->kind == MP_CODES_UNSIGNED) return code;
    if (f->kind == MP_CODES_POWER) return code <= f->largest ? code : 0;
    if (f->kind == MP_CODES_SIGNED) return code & sign ? sign - rest : rest;
    return rest <= f->largest ? rest : 0;
}

#endif
