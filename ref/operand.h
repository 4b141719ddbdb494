/* SPDX-License-Identifier: Apache-2.0 */
/* An operand of a GEMM: codes, and what makes numbers of them. */
#ifndef MP_REF_OPERAND_H
#define MP_REF_OPERAND_H

#include "moeparity/tensor.h"

/* The number at row r, column k is (code - zero) * scale, with the zero and the scale of the block that it
 * lies in: row r / block_rows, column k / block_columns of `scale` and `zero`, taken as matrices with as many
 * columns as blocks lie in a row. No scale: the code itself. Codes are [..., k]; r counts all rows of the
 * axes before it. */
typedef struct mp_operand {
    const mp_tensor *codes;
    const mp_tensor *scale;            /* or NULL */
    const mp_tensor *zero;             /* or NULL; needs a scale */
    int64_t block_rows, block_columns; /* of a scale; at least 1 where there is one */
} mp_operand;

/* Columns first .. first+n of a row, as float64: exact, but for the rounding of (code - zero) * scale. */
void mp_operand_decode(const mp_operand *operand, int64_t row, int64_t first, int64_t n, double *out);
/* Whether the numbers are the codes: what an engine that works on codes can take. */
static inline bool mp_operand_is_plain(const mp_operand *operand) {
    return !operand->scale && !operand->zero;
}

#endif
