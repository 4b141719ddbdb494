/* SPDX-License-Identifier: Apache-2.0 */
/* Stages quant_x and quant_act: x [M,K], or cache2 [rows,N], becomes codes of the same shape and scales, one
 * of each group of a row's columns, of each row, or of all rows: number = code * scale.
 *
 *   amax  = max |number|, of the numbers that share the scale; NaN does not count
 *   scale = max(amax, MP_QUANT_SMALLEST) / the largest code, one rounding to the scale's format
 *   code  = number / scale, held within the largest code of either sign, one rounding to nearest
 *
 * so that a row of zeros has codes of zero. Rows of filtered slots are not read, and not written. */
#ifndef MP_REF_QUANT_H
#define MP_REF_QUANT_H

#include "ref/pipeline.h"

#define MP_QUANT_SMALLEST 0x1.b7cdfep-34 /* 1e-10 in float32, what an amax is at least */

/* What is quantised, on the tensors of a call; row and rows: which rows it concerns. */
typedef struct mp_quantisation {
    const mp_tensor *from, *codes, *scale;
    int64_t rows;            /* tokens, or slots */
    const int64_t *row;      /* [rows] where each lies; NULL: the row itself; -1: nowhere */
    const int32_t *topk_ids; /* [rows] -1: filtered; NULL: none is */
    int64_t group;           /* columns that share a scale; the last may be fewer */
} mp_quantisation;
mp_quantisation mp_quantisation_of(const mp_stage_call *call, mp_stage stage);

/* Where row r lies, -1: it is filtered, or nowhere. */
static inline int64_t mp_quantised_row(const mp_quantisation *q, int64_t r) {
    if (q->topk_ids && q->topk_ids[r] < 0) return -1;
    return q->row ? q->row[r] : r;
}

/* max |number| of n numbers from `first` on: 0 where all are NaN. */
double mp_quant_amax(const mp_tensor *from, int64_t first, int64_t n);

#endif
