/* SPDX-License-Identifier: Apache-2.0 */
/* Codes beside those that are predicted of the numbers that they were made of, in IEEE operations: the
 * arithmetic is ref/predict/quantise_f32.h. */
#ifndef MP_OFFLOAD_DEVICE_CONFIRM_QUANT_H
#define MP_OFFLOAD_DEVICE_CONFIRM_QUANT_H

#include "offload/device/confirmed.h"
#include "offload/device/quant_rows.h"
#include "ref/predict/float32_math.h"
#include "ref/predict/quantise_f32.h"

enum { MP_CONFIRM_QUANT_THREADS = 128 }; /* of a row */

/* confirmed[i] = what is equal of row i. */
typedef struct mp_confirm_quant_params {
    mp_quant_rows rows;
    MP_DEVICE_POINTER(const float) factors;        /* [count, groups] */
    MP_DEVICE_POINTER(mp_confirmed_row) confirmed; /* [count] */
    int how;                                       /* codes are made: an MP_CODES_ number */
    float given;                                   /* scale, on top of those that are made */
} mp_confirm_quant_params;

MP_DEVICE_INLINE void mp_confirm_quant_element(const mp_confirm_quant_params *p, long long i, long long k,
                                               mp_confirmed_row *to) {
    const mp_quant_rows *r = &p->rows;
    const long long at = ((const long long *)r->row)[i] * r->width + k;
    const float factor = ((const float *)p->factors)[i * r->groups + k / r->group];
    mp_confirmed_add_code(to, mp_quant_code_f32(p->how, (float)mp_quantised_at(r, at), factor, p->given),
                          mp_code_in(&r->code_format, (const void *)r->codes, at), k);
}

#endif
