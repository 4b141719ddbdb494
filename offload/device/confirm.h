/* SPDX-License-Identifier: Apache-2.0 */
/* Predicted sums behind their epilogue, as they are stored, beside what was stored. */
#ifndef MP_OFFLOAD_DEVICE_CONFIRM_H
#define MP_OFFLOAD_DEVICE_CONFIRM_H

#include "offload/device/confirmed.h"
#include "offload/device/gemm_rows.h"

enum { MP_CONFIRM_THREADS = 128 }; /* of a row */

/* confirmed[i] = what is equal of row i. */
typedef struct mp_confirm_params {
    mp_gemm_rows rows;
    MP_DEVICE_POINTER(const float) sums;           /* [count, width] */
    MP_DEVICE_POINTER(mp_confirmed_row) confirmed; /* [count] */
} mp_confirm_params;

/* Where nothing is stored all is equal. */
MP_DEVICE_INLINE void mp_confirm_element(const mp_confirm_params *p, long long i, long long j,
                                         mp_confirmed_row *to) {
    const mp_gemm_rows *r = &p->rows;
    const mp_screened_row row = ((const mp_screened_row *)r->row)[i];
    if (row.got < 0) {
        to->equal++;
        return;
    }
    const mp_epilogue_terms terms = mp_gemm_terms(r, &row, j);
    const float result = mp_float_behind(&terms, ((const float *)p->sums)[i * r->width + j]);
    mp_confirmed_add(to, &r->got_format, result,
                     mp_code_in(&r->got_format, (const void *)r->got, row.got * r->width + j), j);
}

#endif
