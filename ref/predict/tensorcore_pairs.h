/* SPDX-License-Identifier: Apache-2.0 */
/* Single dot products with the bits of a tensor core: of pairs of a row and a column, sixteen to a vector,
 * whose operands a permutation picks from those of a block. What brackets leave open on AVX-512
 * (ref/predict/tensorcore_bracket.h). */
#ifndef MP_REF_TENSORCORE_PAIRS_H
#define MP_REF_TENSORCORE_PAIRS_H

#include <stdbool.h>
#include <stdint.h>

/* PAIRS at a time. Numbers lie side by side, those of ROWS rows or COLUMNS columns for each term; exponents,
 * which are bytes, COLUMNS of both. A permutation picks from IN_REACH numbers. */
enum { MP_TC_PAIRS = 64, MP_TC_PAIRS_ROWS = 16, MP_TC_PAIRS_COLUMNS = 64, MP_TC_IN_REACH = 32 };

/* An exponent of bf16 or fp16 as a byte. There is none of zero, nor below LEAST_SEEN; subnormals of fp16 have
 * that of the smallest normal number. */
enum { MP_TC_NO_EXPONENT = -128, MP_TC_LEAST_SEEN = -47 };

/* Terms behind the last are zeros, of a and of w. The largest exponents of a row and of a column are from -16
 * to 16 each. */
typedef struct mp_tc_pairs {
    int group, fraction_bits;              /* the model's; 8 or 16; 13 to 25 */
    int64_t groups;                        /* k = groups * group */
    bool by_pairs;                         /* two steps at a time begin at zero, and are added in float32 */
    const float *a[2];                     /* [k, ROWS] of 2*ROWS rows that are in reach of each other */
    const float *w;                        /* [k, COLUMNS], of which IN_REACH are read */
    const int8_t *a_exponent, *w_exponent; /* [k, COLUMNS], of which a row and a column are those below */
    int count;                             /* of the pairs, PAIRS at most */
    uint8_t row[MP_TC_PAIRS], column[MP_TC_PAIRS]; /* modulo IN_REACH where numbers are meant; of some pair
                                                      behind the last */
} mp_tc_pairs;

/* result: of each pair, from a zero accumulator; a zero is +0. Returns a bit for each pair that is certain:
 * in the others a product without an exponent may have been the largest of some step, if there is one that is
 * not zero. */
typedef uint64_t mp_tc_run_pairs(const mp_tc_pairs *pairs, float result[MP_TC_PAIRS]);

#endif
