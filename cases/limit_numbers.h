/* SPDX-License-Identifier: Apache-2.0 */
/* data=codes, of quantised cases, one source for CPU and GPU.
 *
 * Numbers that are quantised: the groups that share a scale are, from one to the next of a row and from row
 * to row, in turn
 *   ties      midway between codes, times UNIT; the largest is the largest code's, so that its scale is UNIT
 *   zeros     all of them
 *   outlier   one is 4096 times as large as the others
 *   power     the largest over the largest code is exactly UNIT: a scale that is a power of two
 *   above     that number of the model's format which is next to it: such a scale is the next power
 *   below     the one before
 *   tiny      normal numbers times 2^-40, below the floors of quantisers (1e-10); of fp16 subnormal ones
 *   subnormal multiples of the format's smallest number
 * Where all rows share a scale that is made they are all of one kind, which the seed names. A scale that is
 * given is UNIT: of e4m3 ties reach the one between 448 and what would come next, 464, and beyond it.
 *
 * Codes: all that there are, but for NaN. Of a row of scales one is 0, the format's smallest, a huge one, or,
 * of ue8m0, NaN (255); zero points are the lowest and the highest. Weights of a row that share a NaN are
 * zeros: whoever takes 255 for a number makes 0 of them, where of others Inf - Inf could be NaN again. */
#ifndef MP_CASES_LIMIT_NUMBERS_H
#define MP_CASES_LIMIT_NUMBERS_H

#include "cases/codes.h"

/* Powers of two. */
#define MP_UNIT_SCALE_EXPONENT (-7)
#define MP_OUTLIER_EXPONENT 12
#define MP_TINY_EXPONENT (-40)
#define MP_HUGE_EXPONENT 96

typedef enum mp_limit_kind {
    MP_LIMIT_TIES,
    MP_LIMIT_ZEROS,
    MP_LIMIT_OUTLIER,
    MP_LIMIT_POWER,
    MP_LIMIT_ABOVE,
    MP_LIMIT_BELOW,
    MP_LIMIT_TINY,
    MP_LIMIT_SUBNORMAL,
    MP_LIMIT_KINDS
} mp_limit_kind;

/* Of a tensor. */
typedef struct mp_limits {
    mp_code_format codes;   /* that numbers are quantised to */
    mp_u64 group;           /* columns that share a scale */
    mp_u64 kind;            /* of all groups, where all share a scale */
    int one_kind, clips;    /* whether they do; whether ties go beyond the largest code */
    int nan_scales, unused; /* of codes: whether some have a scale that is NaN; 0 */
} mp_limits;

/* Near a standard deviation of 1. */
MP_MIX mp_number mp_limit_usual(mp_u64 bits, int exponent) {
    return mp_number_of((mp_i64)(bits >> 48) + (mp_i64)(bits >> 32 & 0xFFFF) - 0xFFFF, exponent - 15);
}

/* The number of a finite code without its sign, which has `below` more halves of a last place. */
MP_MIX mp_number mp_number_and_halves(const mp_code_format *f, mp_u64 code, mp_u64 halves, int exponent) {
    const mp_u64 hidden = (mp_u64)1 << (f->precision - 1);
    if (f->kind == MP_CODES_SIGNED) return mp_number_of((mp_i64)(2 * code + halves), exponent - 1);
    const int field = (int)(code >> (f->precision - 1)), binade = f->emin + (field ? field - 1 : 0);
    const mp_u64 significand = (code & (hidden - 1)) + (field ? hidden : 0);
    return mp_number_of((mp_i64)(2 * significand + halves), binade - f->precision + exponent);
}

/* Multiples of the smallest number. */
MP_MIX mp_u64 mp_limit_smallest(const mp_code_format *f, mp_u64 bits) {
    return mp_signed_float(f, 1 + (bits >> 40) % 3, bits & 1);
}

/* An element of a group. */
MP_MIX mp_u64 mp_limit_code(const mp_limits *l, const mp_code_format *f, mp_u64 kind, mp_u64 bits) {
    mp_number v;
    switch (kind) {
    case MP_LIMIT_TIES: /* midway between a code and the next in magnitude, by the last step beyond */
        v = mp_number_and_halves(&l->codes,
                                 (mp_u64)mp_below(mp_mix(bits), (mp_i64)l->codes.largest + l->clips), 1,
                                 MP_UNIT_SCALE_EXPONENT);
        v.negative = bits & 1;
        break;
    case MP_LIMIT_ZEROS: return 0;
    case MP_LIMIT_TINY:
        if (f->emin >= MP_TINY_EXPONENT) return mp_limit_smallest(f, bits); /* it has none that are normal */
        v = mp_limit_usual(bits, MP_TINY_EXPONENT);
        break;
    case MP_LIMIT_SUBNORMAL: return mp_limit_smallest(f, bits);
    default: v = mp_limit_usual(bits, 0); break;
    }
    return mp_code_of(f, v);
}

/* The code, without a sign, of the one that is larger than the others; 0: none is. */
MP_MIX mp_u64 mp_limit_largest(const mp_limits *l, const mp_code_format *f, mp_u64 kind) {
    const mp_u64 most = l->codes.largest,
                 largest = mp_code_of(f, mp_number_and_halves(&l->codes, most, 0, MP_UNIT_SCALE_EXPONENT));
    switch (kind) {
    case MP_LIMIT_TIES:
        return mp_code_of(f,
                          mp_number_and_halves(&l->codes, most, 0, MP_UNIT_SCALE_EXPONENT + (l->clips != 0)));
    case MP_LIMIT_POWER: return largest;
    case MP_LIMIT_ABOVE: return largest + 1;
    case MP_LIMIT_BELOW: return largest - 1;
    case MP_LIMIT_OUTLIER: return mp_code_of(f, mp_number_of(1, MP_OUTLIER_EXPONENT));
    default: return 0;
    }
}

/* Column i of a row of n numbers that are quantised; index: that of the row's first element. */
MP_MIX mp_u64 mp_limit_number(const mp_limits *l, const mp_code_format *f, mp_u64 key, mp_u64 index, mp_u64 n,
                              mp_u64 row, mp_u64 i) {
    const mp_u64 first = i - i % l->group, length = n - first < l->group ? n - first : l->group,
                 kind = (l->one_kind ? l->kind : row + first / l->group) % MP_LIMIT_KINDS,
                 largest = mp_limit_largest(l, f, kind), bits = mp_bits(~key, index + first);
    if (largest && i - first == (mp_u64)mp_below(bits, (mp_i64)length))
        return mp_signed_float(f, largest, bits & 1);
    return mp_limit_code(l, f, kind, mp_bits(key, index + i));
}

/* Whether one of a row of scales of a format without a sign is NaN. */
MP_MIX int mp_has_nan_scale(mp_u64 row) {
    return row % 8 == 5;
}

/* Any code, and the one before in place of NaN. */
MP_MIX mp_u64 mp_any_code(const mp_limits *l, const mp_code_format *f, mp_u64 key, mp_u64 index, mp_u64 n,
                          mp_u64 row, mp_u64 i) {
    const mp_u64 code = mp_bits(key, index + i) >> 32 & mp_mask_of_bits(f->bits),
                 groups = (n + l->group - 1) / l->group;
    if (l->nan_scales && mp_has_nan_scale(row) && i / l->group == row % groups) return 0;
    return f->kind == MP_CODES_FLOAT && (code & mp_mask_of_bits(f->bits - 1)) > f->largest ? code - 1 : code;
}

/* A row's scale that is at a limit; `usual`: another one. */
MP_MIX mp_u64 mp_limit_scale(const mp_code_format *f, mp_u64 row, mp_u64 usual) {
    const int power = f->kind == MP_CODES_POWER;
    if (power && mp_has_nan_scale(row)) return mp_nan_code(f);
    switch (row % 8) {
    case 1: return 0; /* of a power the smallest */
    case 2: return power ? 0 : 1;
    case 3: {
        const mp_u64 huge = power ? f->largest : mp_code_of(f, mp_number_of(1, MP_HUGE_EXPONENT));
        return huge < f->largest ? huge : f->largest;
    }
    default: return usual;
    }
}

#endif
