/* SPDX-License-Identifier: Apache-2.0 */
/* Activations measured against what was stored of them: the arithmetic is ref/activated.h and
 * ref/measured.h. */
#ifndef MP_OFFLOAD_DEVICE_SCREEN_ACT_H
#define MP_OFFLOAD_DEVICE_SCREEN_ACT_H

#include "offload/device/number.h"
#include "ref/activated.h"

enum { MP_ACT_THREADS = 128 }; /* of a slot */

/* figures[t] = those of slot t, whose gate and up are in row[t] of cache1, and the result in that of got. */
typedef struct mp_screen_act_params {
    MP_DEVICE_POINTER(const void) cache1;      /* [rows, width] */
    MP_DEVICE_POINTER(const void) got;         /* [rows, N] */
    MP_DEVICE_POINTER(const int) topk_ids;     /* [slots] */
    MP_DEVICE_POINTER(const long long) row;    /* [slots] */
    MP_DEVICE_POINTER(mp_row_figures) figures; /* [slots] */
    mp_number_format cache1_format, got_format;
    long long slots, N, width;
    long long step, up; /* columns of n: gate step * n, up that many behind it */
    int rounds_gate;
    mp_stored stored;
    mp_act_rule rule;
} mp_screen_act_params;

/* Where exp would overflow, and where gate or up is no number, nothing is plain. */
MP_DEVICE_INLINE void mp_screen_act_element(const mp_screen_act_params *p, long long row, long long n,
                                            mp_row_figures *figures) {
    const mp_act_rule *r = &p->rule;
    const mp_act_form *form = &r->form;
    const long long at = row * p->width + p->step * n;
    const double gate = mp_number_at(&p->cache1_format, (const void *)p->cache1, at),
                 up = form->gated ? mp_number_at(&p->cache1_format, (const void *)p->cache1, at + p->up) : 1,
                 got = mp_number_at(&p->got_format, (const void *)p->got, row * p->N + n),
                 v = mp_gate_argument(form, gate), factor = mp_up_factor(form, up);
    const int swish = form->function == MP_GATE_SWISH;
    double value = mp_gate_result(form, swish ? mp_swish64(v, form->beta) : mp_squared_relu64(v)),
           error = mp_gate_error(r, gate, gate, fabs(value), r->roundings);
    if (form->gated) error = mp_product_error(r, error, fabs(value), fabs(factor));
    if (p->rounds_gate) value = mp_number_rounded(&p->got_format, value);
    if (form->gated) value *= factor;
    mp_measured m = mp_measure_stored(&p->stored, got, value, error);
    if (!mp_is_finite(gate) || !mp_is_finite(up) || (swish && !(form->beta * v >= MP_SWISH_LOWEST)))
        m.plain = 0;
    mp_row_figures_add(figures, n, got, value, &m);
}

#endif
