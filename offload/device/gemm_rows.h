/* SPDX-License-Identifier: Apache-2.0 */
/* What was stored of the sums of a GEMM and what their epilogue takes, for who measures it and who compares
 * its bits. */
#ifndef MP_OFFLOAD_DEVICE_GEMM_ROWS_H
#define MP_OFFLOAD_DEVICE_GEMM_ROWS_H

#include "offload/device/number.h"
#include "ref/measured.h"

/* Where a row of sums is stored, and what its epilogue takes from it. */
typedef struct mp_screened_row {
    long long got, expert; /* got -1: nothing is stored */
    double weight;         /* where the epilogue has one */
} mp_screened_row;

typedef struct mp_gemm_rows {
    MP_DEVICE_POINTER(const mp_screened_row) row; /* [count] */
    MP_DEVICE_POINTER(const void) got;            /* rows of `width` */
    MP_DEVICE_POINTER(const void) bias;           /* [experts, width], or 0 */
    mp_number_format got_format, bias_format;
    long long count, width;
    int weighs;
} mp_gemm_rows;

MP_DEVICE_INLINE mp_epilogue_terms mp_gemm_terms(const mp_gemm_rows *r, const mp_screened_row *row,
                                                 long long column) {
    mp_epilogue_terms terms;
    terms.has_bias = r->bias != 0;
    terms.has_weight = r->weighs;
    terms.bias =
        r->bias ? mp_number_at(&r->bias_format, (const void *)r->bias, row->expert * r->width + column) : 0;
    terms.weight = row->weight;
    return terms;
}

#endif
