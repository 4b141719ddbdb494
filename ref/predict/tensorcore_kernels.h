/* SPDX-License-Identifier: Apache-2.0 */
/* Micro-kernels of the tensor-core GEMM: a block of rows of a by a panel of columns of w, bit-identical to
 * mp_tc_dot on scaled operands.
 *
 * The model is invariant under powers of two as long as no result leaves the normal numbers. So every row of
 * a and every column of w is scaled to a largest exponent of 0, and all a kernel ever meets is harmless. One
 * step, with u = 2^(e-F), is
 *   e    = max(floor, exponent of acc, exponents of the products)      as bytes: one vector instruction
 *        covers a whole panel
 *   sum  = trunc(acc/u) + sum_k trunc(a[k]*w[k]/u)
 *   acc  = sum*u cut to the result's bits
 * The vector kernels let float64 do the cutting, one fused multiply-add a term: rounded down onto S =
 * 1.5*2^52*u + (multiple of u), whose ulp is u,
 *   fma(a, w, S) = S + floor(a*w/u)*u,
 * and trunc(x) = floor(x') + [x < 0] where x' = x*(1+d) lies a little further from zero than x: no other
 * integer is reached if d is small, and a negative integer x becomes the next one below. w is packed times
 * 1+d, d = 2^-30: products have 22 bits and are below 2^27*u. acc has at most 24 bits and is below 2^26*u: d
 * = 2^-27. The number of negative products of a step is the population count of sign masks; a zero is packed
 * as +-2^-500 (or less, below), so that its sign counts and its floor is -1 or 0.
 *
 * With F <= 13 and 8-bit floats float32 does the same at twice the speed: S = 1.5*2^23*u has room for 33
 * terms below 2^15*u. Products have 8 bits: d = 2^-19, which a column's 4 bits leave room for. acc has at
 * most 14 bits and is below 2^14*u: d = 2^-18. A zero is packed as +-2^-126. */
#ifndef MP_REF_TENSORCORE_KERNELS_H
#define MP_REF_TENSORCORE_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ref/predict/tensorcore_lanes.h"
#include "ref/predict/tensorcore_pairs.h"

/* Exponents are stored as bytes so that a's plus w's is that of the product plus 127, or at most 0 when one
 * of them is zero:
 *   a: -63..0, zero -128     w: 64..127, zero 0     (a nonzero number below 2^-63 is stored as 2^-63: its
 *                            product is at or below the floor)
 * The floor is 64, or 2^-63: a step's exponent is exact above it. */
enum { MP_TC_FLOOR = 64, MP_TC_LOWEST = -63, MP_TC_ZERO_A = -128, MP_TC_ZERO_W = 0 };

/* The numbers of a block: float64, or, of 8-bit floats and few fraction bits, float32. */
typedef struct mp_tc_form {
    size_t number_bytes;
    double column_factor; /* 1+d, of w */
    double zero;          /* what a zero is packed as, with its sign */
    size_t sign_bytes;    /* of a mask: 2, or 8, of which the lower 16 bits are signs */
    uint64_t other_signs; /* the other bits of such a mask */
    bool falls;           /* columns of step g are packed times 2^-(g % MP_TC_FALLS * mp_tc_fall(F)) */
} mp_tc_form;
/* wide: as double, but masks have 64 bits, of which 16 .. 62 are set, and the last, at acc's sign, is not;
 * and numbers fall from step to step: S, which begins 52-F binary orders above e, then has the exponent that
 * acc had before, and needs no addition. */
extern const mp_tc_form mp_tc_double, mp_tc_wide, mp_tc_single;

/* Steps until numbers rise again; they stay far above the smallest float64. */
enum { MP_TC_FALLS = 16 };
static inline int mp_tc_fall(int fraction_bits) {
    return 52 - fraction_bits;
}

enum { MP_TC_MAX_ROWS = 16, MP_TC_MAX_COLUMNS = 64 };

typedef struct mp_tc_block {
    int group, fraction_bits, result_bits; /* the model's: 4, 8, 16 or 32; 13 to 25, in float32 at most 13; at
                                              most 23 and fraction_bits */
    int64_t first_group;                   /* of the packed rows: where k = 0 is */
    int64_t groups,
        rows;         /* k = groups * group; memory for MP_TC_MAX_ROWS rows is there, whatever `rows` says */
    size_t row_bytes; /* from a row of a to the next; a multiple of 8 */
    const void *a;    /* [rows, k] numbers of the form that the kernel takes */
    const int32_t *a_exponent; /* [rows, k]: four equal bytes each */
    const void
        *a_sign;   /* [rows, masks]: a mask for every step, or 16 terms of it; bit i is set when term i is
                           negative; of form->sign_bytes */
    const void *w; /* [k, columns] numbers */
    const int8_t *w_exponent; /* [k, columns] */
    const void *w_sign;       /* [masks, columns] */
    void *acc;                /* [rows, columns] numbers, zero at first; fallen as the last step's columns */
    uint8_t *at_floor; /* [rows, columns], zero at first: set when some step had no product above the floor */
} mp_tc_block;

/* Terms that share a mask, and masks of a step. */
static inline int mp_tc_mask_terms(int group) {
    return group < 16 ? group : 16;
}
static inline int mp_tc_masks(int group) {
    return group / mp_tc_mask_terms(group);
}

/* Float32 sums of rows of a by a panel of columns of w, and how large they are on the way: what brackets need
 * (ref/predict/tensorcore_bracket.h). Chains of terms begin at zero; those of a step are added, then to the
 * sum. */
enum { MP_TC_BRACKET_ROWS = MP_TC_PAIRS_ROWS, MP_TC_BRACKET_COLUMNS = MP_TC_PAIRS_COLUMNS };
typedef struct mp_tc_bracket_block {
    int group, chain;     /* terms of a step: 8 or 16; as many, or 8 */
    int64_t groups, rows; /* k = groups * group; a multiple of 4 */
    const float *a;       /* [k, MP_TC_BRACKET_ROWS] */
    const float *w;       /* [k, columns] */
    const float *least;   /* [rows, columns] none negative */
    float *sum;           /* [rows, columns] zero at first */
    float
        *sizes; /* [rows, columns] zero at first; added to after every step: the larger of |sum| and least */
} mp_tc_bracket_block;

typedef struct mp_tc_kernel {
    const char *name;
    int columns;
    const mp_tc_form *form; /* of `run` */
    void (*run)(const mp_tc_block *block);
    void (*run_single)(const mp_tc_block *block);          /* as mp_tc_single; NULL: has none */
    void (*run_bracket)(const mp_tc_bracket_block *block); /* NULL: has none */
    mp_tc_run_lanes *run_lanes; /* where it has brackets: for what they leave open */
    mp_tc_run_pairs *run_pairs; /* the same where it is much, or NULL */
    int one_open_in; /* as many results, at most: where brackets leave more of them, `run` is quicker, by
                        measurements with one core's AVX-512 and AVX2 */
} mp_tc_kernel;

/* Kernels this CPU can run, fastest first; the last one is portable. Returns their number. */
int mp_tc_kernels(const mp_tc_kernel **kernels);

#endif
