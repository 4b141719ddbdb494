/* SPDX-License-Identifier: Apache-2.0 */
/* An operand of a GEMM: codes, and what makes numbers of them. */
#ifndef MP_REF_OPERAND_H
#define MP_REF_OPERAND_H

#include "moeparity/tensor.h"

/* The number at row r, column k is (code - zero) * scale * global scale. No scale: the code itself. Codes are
 * [..., n, k], and r counts all rows of the axes before k; scale and zero are of the block that r and k lie
 * in. Blocks are counted in each [n, k] from its first row and column, and those at its ends may be short:
 * scale and zeros are [..., ceil(n / block_rows), ceil(k / block_columns)]. */
typedef struct mp_operand {
    const mp_tensor *codes;
    const mp_tensor *scale;            /* or NULL */
    int64_t block_rows, block_columns; /* of a scale; at least 1 where there is one */
    int zero;                          /* of all, where zeros is NULL; needs a scale, as zeros do */
    const mp_tensor *zeros;            /* or NULL */
    bool zeros_in_pairs;     /* a byte has those of two rows of blocks, the even one in its low nibble */
    const mp_tensor *global; /* [..., globals], or NULL: of an [n, k] each n/globals rows share one, or, */
    bool globals_alternate;  /* as gate and up that are interleaved, every globals-th row; needs a scale */
    bool rounds;             /* the number is rounded to float32 and then to */
    mp_dtype rounded;        /* this format */
} mp_operand;

/* Columns first .. first+n of a row, as float64: exact, but where it rounds. */
void mp_operand_decode(const mp_operand *operand, int64_t row, int64_t first, int64_t n, double *out);
/* Its global scale at a row; 1 of an operand without. */
double mp_operand_global(const mp_operand *operand, int64_t row);
/* Index of the scale of a row's first block; those of its other blocks follow. */
int64_t mp_operand_scale_row(const mp_operand *operand, int64_t row);
/* The scale of column k in that row of scales; 1 of codes without. */
double mp_operand_scale(const mp_operand *operand, int64_t scale_row, int64_t k);
/* scales[i]: of row + i at column k, rounded to float32. */
void mp_operand_scales(const mp_operand *operand, int64_t row, int64_t count, int64_t k, float *scales);
/* Whether the numbers are the codes: what an engine that works on codes can take. */
static inline bool mp_operand_is_plain(const mp_operand *operand) {
    return !operand->scale;
}

#endif
