/* SPDX-License-Identifier: Apache-2.0 */
/* An operand of a GEMM: codes, and what makes numbers of them. */
#ifndef MP_REF_OPERAND_H
#define MP_REF_OPERAND_H

#include "moeparity/tensor.h"

/* The number at row r, column k is (code - zero) * scale, with the zero and the scale of the block that it
 * lies in. No scale: the code itself. Codes are [..., n, k], and r counts all rows of the axes before k;
 * blocks are counted in each [n, k] from its first row and column, and those at its ends may be short: scale
 * and zero are [..., ceil(n / block_rows), ceil(k / block_columns)]. */
typedef struct mp_operand {
    const mp_tensor *codes;
    const mp_tensor *scale;            /* or NULL */
    const mp_tensor *zero;             /* or NULL; needs a scale */
    int64_t block_rows, block_columns; /* of a scale; at least 1 where there is one */
    bool squared;                      /* the numbers are the squares of these */
} mp_operand;

/* Columns first .. first+n of a row, as float64: exact, but for the rounding of (code - zero) * scale. */
void mp_operand_decode(const mp_operand *operand, int64_t row, int64_t first, int64_t n, double *out);
/* Index of the scale of a row's first block; those of its other blocks follow. */
int64_t mp_operand_scale_row(const mp_operand *operand, int64_t row);
/* The scale of column k in that row of scales; 1 of codes without. */
double mp_operand_scale(const mp_operand *operand, int64_t scale_row, int64_t k);
/* Whether the numbers are the codes: what an engine that works on codes can take. */
static inline bool mp_operand_is_plain(const mp_operand *operand) {
    return !operand->scale && !operand->zero && !operand->squared;
}

#endif
