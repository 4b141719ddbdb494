/* SPDX-License-Identifier: Apache-2.0 */
/* Activations beside what was stored of them, in IEEE operations: the arithmetic is
 * ref/predict/activation_f32.h. */
#ifndef MP_OFFLOAD_DEVICE_CONFIRM_ACT_H
#define MP_OFFLOAD_DEVICE_CONFIRM_ACT_H

#include "offload/device/confirmed.h"
#include "ref/predict/float32_math.h"
#include "ref/predict/activation_f32.h"

enum { MP_CONFIRM_ACT_THREADS = 128 }; /* of a slot */

/* confirmed[t] = what is equal of slot t, whose gate and up are in row[t] of cache1, and the result in that
 * of got. */
typedef struct mp_confirm_act_params {
    MP_DEVICE_POINTER(const void) cache1;          /* [rows, width] */
    MP_DEVICE_POINTER(const void) got;             /* [rows, N] */
    MP_DEVICE_POINTER(const int) topk_ids;         /* [slots] */
    MP_DEVICE_POINTER(const long long) row;        /* [slots] */
    MP_DEVICE_POINTER(mp_confirmed_row) confirmed; /* [slots] */
    mp_number_format cache1_format, got_format;
    long long slots, N, width;
    long long step, up;        /* columns of n: gate step * n, up that many behind it */
    int act, gated;            /* act: an MP_ACT_ number */
    int rounds_gate;           /* act(gate) to got's format */
    int clamps_nan;            /* in gate and up, to the limit */
    float alpha, limit, added; /* added: to what becomes of up */
} mp_confirm_act_params;

MP_DEVICE_INLINE float mp_confirm_act_input(const mp_confirm_act_params *p, long long at) {
    const float v = (float)mp_number_at(&p->cache1_format, (const void *)p->cache1, at);
    return p->clamps_nan && v != v ? mp_bits_float(0x7F800000u) : v;
}

MP_DEVICE_INLINE void mp_confirm_act_element(const mp_confirm_act_params *p, long long row, long long n,
                                             mp_confirmed_row *to) {
    const long long at = row * p->width + p->step * n;
    float a = mp_gate_f32(p->act, mp_confirm_act_input(p, at), p->alpha, p->limit);
    if (p->rounds_gate) a = (float)mp_number_rounded(&p->got_format, (double)a);
    if (p->gated) a *= mp_up_f32(p->act, mp_confirm_act_input(p, at + p->up), p->limit) + p->added;
    mp_confirmed_add(to, &p->got_format, a, mp_code_in(&p->got_format, (const void *)p->got, row * p->N + n),
                     n);
}

#endif
