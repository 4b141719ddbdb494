/* SPDX-License-Identifier: Apache-2.0 */
/* Activations beside what was stored of them, in IEEE operations: the arithmetic is
 * ref/predict/activation_f32.h. */
#ifndef MP_OFFLOAD_DEVICE_CONFIRM_ACT_H
#define MP_OFFLOAD_DEVICE_CONFIRM_ACT_H

#include "offload/device/act_rows.h"
#include "offload/device/confirmed.h"
#include "ref/predict/float32_math.h"
#include "ref/predict/activation_f32.h"

enum { MP_CONFIRM_ACT_THREADS = 128 }; /* of a slot */

/* confirmed[t] = what is equal of slot t. */
typedef struct mp_confirm_act_params {
    mp_act_rows rows;
    MP_DEVICE_POINTER(mp_confirmed_row) confirmed; /* [slots] */
    int act, gated;                                /* act: an MP_ACT_ number */
    int clamps_nan;                                /* in gate and up, to the limit */
    float alpha, limit, added;                     /* added: to what becomes of up */
} mp_confirm_act_params;

MP_DEVICE_INLINE float mp_confirm_act_input(const mp_confirm_act_params *p, long long at) {
    const float v = (float)mp_gate_or_up_at(&p->rows, at);
    return p->clamps_nan && v != v ? mp_bits_float(0x7F800000u) : v;
}

MP_DEVICE_INLINE void mp_confirm_act_element(const mp_confirm_act_params *p, long long row, long long n,
                                             mp_confirmed_row *to) {
    const mp_act_rows *r = &p->rows;
    const long long at = mp_gate_place(r, row, n);
    float a = mp_gate_f32(p->act, mp_confirm_act_input(p, at), p->alpha, p->limit);
    if (r->rounds_gate) a = (float)mp_number_rounded(&r->got_format, (double)a);
    if (p->gated) a *= mp_up_f32(p->act, mp_confirm_act_input(p, at + r->up), p->limit) + p->added;
    mp_confirmed_add(to, &r->got_format, a, mp_code_in(&r->got_format, (const void *)r->got, row * r->N + n),
                     n);
}

#endif
