/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of inputs by counting, one source for CPU and GPU: the code of an element is a function of what
 * its tensor is made of (mp_numbers), its row and its column. Integers alone, and one rounding to the format;
 * numbers are only ever scaled by powers of two. */
#ifndef MP_CASES_NUMBERS_H
#define MP_CASES_NUMBERS_H

#include "cases/codes.h"
#include "cases/limit_numbers.h"

typedef enum mp_rule_style {
    MP_STYLE_NORMAL, /* centred sum * 2^exponent */
    MP_STYLE_INT,    /* at most `nonzeros` values of {-2,-1,1,2} in a row, the rest 0; nonzeros == 0: {-2..2}
                        everywhere */
    MP_STYLE_WIDE,   /* exponents -12..5 around 2^exponent */
    MP_STYLE_ONE,    /* a single 2^exponent, its place by hash */
    MP_STYLE_ZERO,
    MP_STYLE_MINUS_ZERO,
    MP_STYLE_SCALE,       /* of codes: 1 .. 2 times 2^exponent, or a quarter of it */
    MP_STYLE_POWER,       /* the same, powers of two: 1 .. 8 times 2^exponent */
    MP_STYLE_ZERO_POINTS, /* of codes */
    MP_STYLE_GATES,       /* data=exhaustive: all codes of 16 bits, beside normal numbers */
    MP_STYLE_CODES,       /* any codes, and numbers that become codes, as limit_numbers.h has them */
    MP_STYLE_LIMITS,
    MP_STYLE_NAN, /* this and what follows is of floats alone */
    MP_STYLE_SUBNORMAL,
    MP_STYLE_INF_ELEMENT, /* normal, with one +-Inf */
    MP_STYLE_NAN_ELEMENT, /* normal, with one NaN */
    MP_STYLE_COUNT
} mp_rule_style;

typedef struct mp_row_rule {
    int style; /* mp_rule_style */
    int exponent;
    int nonzeros;
    int mirrored; /* wide: the second of a cancelling pair is nearly minus the first (x), not equal to it
                     (weights) */
} mp_row_rule;

#define MP_UNIT_EXPONENT (-15) /* that turns normal values into a standard deviation of 1.155 */
#define MP_NO_PADDING (~(mp_u64)0)

typedef enum mp_rank_cut { MP_CUT_NOTHING, MP_CUT_ROWS, MP_CUT_COLUMNS } mp_rank_cut;

/* What a tensor is made of (mp_numbers_of). Without padding: its bytes stand for the tensor's. */
typedef struct mp_numbers {
    mp_u64 key, row_length;
    mp_u64 token_key, padded_from; /* activations: of special rows; rows from here on are NaN */
    /* LoRA's factors, [adapter * experts + expert]: matrices of so many rows, the same for so many experts,
     * and of so many matrices (0: all of them) all others are copies; rows of an adapter */
    mp_u64 matrix_rows, copies, different, adapter_rows;
    mp_u64 rank; /* the largest */
    mp_code_format format;
    mp_limits limits;
    mp_row_rule rule;            /* of its rows, where nothing below makes them differ */
    int shift[4];                /* by how many powers of two rows are larger, in turn */
    int some_special, odd_zeros; /* whether there are such rows */
    int zero_style;              /* of special rows of zeros: with a sign or without */
    int at_limits; /* scales and zero points: whether some, or all, are at the limits of their format */
    int zeros, around, most; /* zero points: so many in a byte, around this one, at most this one */
    int gated, interleaved;  /* MP_STYLE_GATES: whether there are ups, and each beside its gate */
    int cut;                 /* mp_rank_cut: what lies beyond an adapter's rank is zeros */
} mp_numbers;

/* ---- numbers ---- */

/* The sum of four uniform 16-bit integers (Irwin-Hall), centred. */
#define MP_CENTRED_MOST 131070 /* the largest magnitude; the standard deviation is sqrt(4/12)*2^16 */

MP_MIX int mp_centred_sum(mp_u64 bits) {
    const mp_u64 pairs =
        (bits & (mp_u64)0x0000FFFF0000FFFFull) + ((bits >> 16) & (mp_u64)0x0000FFFF0000FFFFull);
    return (int)((pairs & 0xFFFFFFFF) + (pairs >> 32)) - MP_CENTRED_MOST;
}

/* Wide formats, and numbers that are rounded to float32 first, get 32 more random bits below, so that sums of
 * them are inexact and a narrower accumulator or operand shows. */
MP_MIX int mp_has_low_bits(const mp_code_format *f) {
    return f->bits > 16 || f->kind == MP_CODES_UNSIGNED;
}

MP_MIX mp_number mp_normal_number(const mp_code_format *f, mp_u64 bits, int exponent) {
    const int sum = mp_centred_sum(bits);
    if (!mp_has_low_bits(f)) return mp_number_of(sum, exponent);
    return mp_number_of(sum * ((mp_i64)1 << 32) + (mp_i64)(mp_mix(bits) >> 32), exponent - 32);
}

/* Runs of a row of n, of which each has one element that is not zero: its place, from the row's first on, and
 * what it is. */
MP_MIX unsigned mp_int_run(const mp_row_rule *rule, mp_u64 n) {
    return ((unsigned)n + (unsigned)rule->nonzeros - 1) / (unsigned)rule->nonzeros;
}

MP_MIX mp_number mp_int_of_run(mp_u64 key, mp_u64 first, mp_u64 n, unsigned run, unsigned start,
                               unsigned *place) {
    const mp_u64 bits = mp_bits(key, first + start), left = n - start, length = left < run ? left : run;
    *place = start + (unsigned)mp_below(mp_mix(bits), (mp_i64)length);
    return mp_number_of((bits & 1 ? 1 : 2) * (bits & 2 ? -1 : 1), 0);
}

/* Element i of a row of n, whose first element has the number `first`. */
MP_MIX mp_number mp_int_number(const mp_row_rule *rule, mp_u64 key, mp_u64 first, mp_u64 n, mp_u64 i) {
    if (rule->nonzeros == 0) return mp_number_of(mp_below(mp_bits(key, first + i), 5) - 2, 0);
    const unsigned run = mp_int_run(rule, n); /* divisions of 32 bits are faster */
    unsigned place;
    const mp_number v = mp_int_of_run(key, first, n, run, (unsigned)i - (unsigned)i % run, &place);
    return i == place ? v : mp_number_of(0, 0);
}

/* sign * (1 + m/1024) * 2^e, e uniform in -12..5. Elements 4q and 4q+1 form a pair: equal in the weights,
 * opposite but for one bit of the significand in x, so that half of all products nearly cancel another
 * one. */
#define MP_WIDE_MOST 2047
#define MP_WIDE_MOST_EXPONENT (17 - 12 - 10)
MP_MIX mp_number mp_wide_number(const mp_row_rule *rule, mp_u64 key, mp_u64 first, mp_u64 i) {
    const int second = (i & 3) == 1, flip = second && rule->mirrored;
    const mp_u64 bits = mp_bits(key, first + i - (mp_u64)second);
    const mp_number v = {1024 + ((bits & 1023) ^ (flip ? 8 : 0)),
                         (int)mp_below(bits, 18) - 12 - 10 + rule->exponent, (int)((bits >> 10) & 1) != flip};
    return v;
}

/* Of multiples of the smallest subnormal, below the smallest normal number, the code is the multiple. */
MP_MIX mp_u64 mp_subnormal_code(const mp_code_format *f, mp_u64 bits) {
    return mp_signed_float(f, 1 + (mp_u64)mp_below(mp_mix(bits), (mp_i64)mp_mask_of_bits(f->precision - 1)),
                           bits & 1);
}

/* A scale of no two blocks need be alike: who takes another's shows it. */
MP_MIX mp_number mp_scale_number(const mp_row_rule *rule, mp_u64 bits) {
    const mp_u64 fraction = rule->style == MP_STYLE_SCALE ? bits >> 41 : 0;
    const mp_number v = {((mp_u64)1 << 23) + fraction, rule->exponent - 23 + (int)(bits & 3), 0};
    return v;
}

/* Zeros of blocks, near that of the scheme; one in eight, or all, the lowest or the highest code. */
MP_MIX mp_u64 mp_zero_points(const mp_numbers *n, mp_u64 index) {
    mp_u64 byte = 0;
    for (int k = 0; k < n->zeros; k++) {
        const mp_u64 bits = mp_bits(n->key, index * (mp_u64)n->zeros + (mp_u64)k);
        const int at_limit = n->at_limits || bits >> 61 == 0,
                  zero = at_limit ? (bits & 1 ? n->most : 0) : n->around + (int)(bits & 3) - 2;
        byte |= (mp_u64)zero << (4 * k);
    }
    return byte;
}

/* data=exhaustive, a row of cache1: element k of it is gate number row*N + k. Gates run through all 65,536
 * codes, again and again; up is 1 the first time, then normal. */
MP_MIX mp_u64 mp_gate_code(const mp_numbers *n, mp_u64 row, mp_u64 column) {
    const mp_u64 N = n->gated ? n->row_length / 2 : n->row_length;
    const int is_gate = !n->gated || (n->interleaved ? column % 2 == 0 : column < N);
    const mp_u64 number = row * N + (n->gated && n->interleaved ? column / 2 : column % N);
    if (is_gate) return number & 0xFFFF;
    return mp_code_of(
        &n->format,
        number < 65536
            ? mp_number_of(1, 0)
            : mp_normal_number(&n->format, mp_bits(n->key, row * n->row_length + column), MP_UNIT_EXPONENT));
}

/* ---- rows ---- */

/* special: rows 0..3 are zeros, subnormals, one Inf, one NaN; of the others one in four is one of these, by
 * hash. */
MP_MIX int mp_special_style(const mp_numbers *n, mp_u64 row, int usual) {
    const mp_u64 bits = mp_bits(n->token_key, row), which = row < 4 ? row : (bits >> 2) % 4;
    if (row >= 4 && bits % 4 != 0) return usual;
    return which == 0   ? n->zero_style
           : which == 1 ? MP_STYLE_SUBNORMAL
           : which == 2 ? MP_STYLE_INF_ELEMENT
                        : MP_STYLE_NAN_ELEMENT;
}

/* What a row is made by. Integers have none of what is of floats alone: zeros. */
MP_MIX mp_row_rule mp_rule_of_row(const mp_numbers *n, mp_u64 row) {
    mp_row_rule rule = n->rule;
    const int turn = (int)(row % 4); /* and no index that is not known: devices have registers */
    rule.exponent += turn == 0   ? n->shift[0]
                     : turn == 1 ? n->shift[1]
                     : turn == 2 ? n->shift[2]
                                 : n->shift[3];
    if (n->some_special) rule.style = mp_special_style(n, row, rule.style);
    if (n->odd_zeros && row % 2 == 1) rule.style = MP_STYLE_ZERO;
    if (row >= n->padded_from) rule.style = MP_STYLE_NAN;
    if (rule.style >= MP_STYLE_NAN &&
        (n->format.kind == MP_CODES_SIGNED || n->format.kind == MP_CODES_UNSIGNED))
        rule.style = MP_STYLE_ZERO;
    return rule;
}

/* Whether all rows have the rule of the tensor. */
MP_MIX int mp_rows_are_alike(const mp_numbers *n) {
    const int larger = n->shift[0] || n->shift[1] || n->shift[2] || n->shift[3];
    return !larger && !n->some_special && !n->odd_zeros && n->padded_from == MP_NO_PADDING &&
           n->rule.style < MP_STYLE_NAN;
}

/* Adapters that have smaller ranks than the largest. */
MP_MIX mp_u64 mp_smaller_rank(mp_u64 rank, mp_u64 adapter) {
    return 1 + (rank - 1) / (1 + adapter % 4);
}

/* Whether an element of a factor lies beyond its adapter's rank. */
MP_MIX int mp_is_cut(const mp_numbers *n, mp_u64 row, mp_u64 column) {
    if (n->cut == MP_CUT_NOTHING) return 0;
    const mp_u64 own = mp_smaller_rank(n->rank, row / n->adapter_rows);
    return (n->cut == MP_CUT_ROWS ? row % n->rank : column) >= own;
}

/* The row that this one has the numbers of. */
MP_MIX mp_u64 mp_source_row(const mp_numbers *n, mp_u64 row) {
    if (n->copies <= 1 && n->different == 0) return row;
    const mp_u64 matrix = row / n->matrix_rows, here = n->different ? matrix % n->different : matrix;
    return here / n->copies * n->matrix_rows + row % n->matrix_rows;
}

/* Each part of a row that has no sign counts for itself. */
#define MP_PART 8192

/* The code of an element; *rule is that of its row. */
MP_MIX mp_u64 mp_code_in_row(const mp_numbers *n, const mp_row_rule *rule, mp_u64 row, mp_u64 column) {
    const mp_code_format *f = &n->format;
    mp_u64 key = n->key, length = n->row_length, source = mp_source_row(n, row), first = source * length;
    mp_u64 i = column;
    if (mp_is_cut(n, row, column)) return 0;
    if (f->kind == MP_CODES_UNSIGNED && rule->style < MP_STYLE_SCALE) {
        const mp_u64 part = column - column % MP_PART;
        key = mp_mix(key + first + part);
        length = length - part < MP_PART ? length - part : MP_PART;
        i = column - part;
        source = first = 0;
    }
    const mp_u64 index = first + i;
    switch (rule->style) {
    case MP_STYLE_NORMAL: break;
    case MP_STYLE_INT: return mp_code_of(f, mp_int_number(rule, key, first, length, i));
    case MP_STYLE_WIDE: return mp_code_of(f, mp_wide_number(rule, key, first, i));
    case MP_STYLE_ONE:
        return mp_code_of(
            f, mp_number_of(i == (mp_u64)mp_below(mp_bits(~key, source), (mp_i64)length), rule->exponent));
    case MP_STYLE_ZERO: return mp_code_of(f, mp_number_of(0, 0));
    case MP_STYLE_MINUS_ZERO: return f->kind <= MP_CODES_SATURATED ? mp_signed_float(f, 0, 1) : 0;
    case MP_STYLE_SCALE:
    case MP_STYLE_POWER: {
        const mp_u64 usual = mp_code_of(f, mp_scale_number(rule, mp_bits(key, index)));
        return n->at_limits && i == row % length ? mp_limit_scale(f, row, usual) : usual;
    }
    case MP_STYLE_ZERO_POINTS: return mp_zero_points(n, index);
    case MP_STYLE_GATES: return mp_gate_code(n, row, column);
    case MP_STYLE_CODES: return mp_any_code(&n->limits, f, key, first, length, row, i);
    case MP_STYLE_LIMITS: return mp_limit_number(&n->limits, f, key, first, length, row, i);
    case MP_STYLE_SUBNORMAL: return mp_subnormal_code(f, mp_bits(key, index));
    case MP_STYLE_INF_ELEMENT:
    case MP_STYLE_NAN_ELEMENT: {
        const mp_u64 bits = mp_bits(~key, source);
        if (i != (mp_u64)mp_below(bits, (mp_i64)length)) break;
        return rule->style == MP_STYLE_NAN_ELEMENT ? mp_nan_code(f) : mp_infinite_code(f, bits & 1);
    }
    default: return mp_nan_code(f); /* MP_STYLE_NAN, and no family */
    }
    return mp_code_of(f, mp_normal_number(f, mp_bits(key, index), rule->exponent));
}

MP_MIX mp_u64 mp_code_of_element(const mp_numbers *n, mp_u64 index) {
    const mp_u64 row = index / n->row_length;
    const mp_row_rule rule = mp_rule_of_row(n, row);
    return mp_code_in_row(n, &rule, row, index - row * n->row_length);
}

#endif
