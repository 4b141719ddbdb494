/* SPDX-License-Identifier: Apache-2.0 */
/* Predicted sums behind their epilogue, as they are stored, beside what was stored. */
#ifndef MP_OFFLOAD_DEVICE_CONFIRM_H
#define MP_OFFLOAD_DEVICE_CONFIRM_H

#include "offload/device/confirmed.h"
#include "offload/device/screen.h"

typedef struct mp_confirm_params {
    MP_DEVICE_POINTER(const float) sums; /* [rows, n] */
    MP_DEVICE_POINTER(const mp_screened_row)
    row;                                /* [rows]; got -1: nothing is stored, and nothing compared */
    MP_DEVICE_POINTER(const void) got;  /* rows of n */
    MP_DEVICE_POINTER(const void) bias; /* [experts, n], or 0 */
    MP_DEVICE_POINTER(mp_confirmed_row) confirmed; /* [rows] */
    mp_number_format got_format, bias_format;
    long long rows, n;
    int weighs;
} mp_confirm_params;

/* Where nothing is stored all is equal. */
MP_DEVICE_INLINE void mp_confirm_element(const mp_confirm_params *p, long long i, long long j,
                                         mp_confirmed_row *to) {
    const mp_screened_row row = ((const mp_screened_row *)p->row)[i];
    mp_epilogue_terms terms;
    if (row.got < 0) {
        to->equal++;
        return;
    }
    terms.has_bias = p->bias != 0;
    terms.has_weight = p->weighs;
    terms.bias = p->bias ? mp_number_at(&p->bias_format, (const void *)p->bias, row.expert * p->n + j) : 0;
    terms.weight = row.weight;
    const float result = mp_float_behind(&terms, ((const float *)p->sums)[i * p->n + j]);
    mp_confirmed_add(to, &p->got_format, result,
                     mp_code_in(&p->got_format, (const void *)p->got, row.got * p->n + j), j);
}

#endif
