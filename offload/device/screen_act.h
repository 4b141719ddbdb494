/* SPDX-License-Identifier: Apache-2.0 */
/* Activations measured against what was stored of them: the arithmetic is ref/activated.h and
 * ref/measured.h. */
#ifndef MP_OFFLOAD_DEVICE_SCREEN_ACT_H
#define MP_OFFLOAD_DEVICE_SCREEN_ACT_H

#include "offload/device/act_rows.h"
#include "ref/activated.h"

enum { MP_ACT_THREADS = 128 }; /* of a slot */

/* figures[t] = those of slot t. */
typedef struct mp_screen_act_params {
    mp_act_rows rows;
    MP_DEVICE_POINTER(mp_row_figures) figures; /* [slots] */
    mp_stored stored;
    mp_act_rule rule;
} mp_screen_act_params;

/* Where exp would overflow, and where gate or up is no number, nothing is plain. */
MP_DEVICE_INLINE void mp_screen_act_element(const mp_screen_act_params *p, long long row, long long n,
                                            mp_row_figures *figures) {
    const mp_act_rows *r = &p->rows;
    const mp_act_rule *rule = &p->rule;
    const mp_act_form *form = &rule->form;
    const long long at = mp_gate_place(r, row, n);
    const double gate = mp_gate_or_up_at(r, at), up = form->gated ? mp_gate_or_up_at(r, at + r->up) : 1,
                 got = mp_number_at(&r->got_format, (const void *)r->got, row * r->N + n),
                 v = mp_gate_argument(form, gate), factor = mp_up_factor(form, up);
    const int swish = form->function == MP_GATE_SWISH;
    double value = mp_gate_result(form, swish ? mp_swish64(v, form->beta) : mp_squared_relu64(v)),
           error = mp_gate_error(rule, gate, gate, fabs(value), rule->roundings);
    if (form->gated) error = mp_product_error(rule, error, fabs(value), fabs(factor));
    if (r->rounds_gate) value = mp_number_rounded(&r->got_format, value);
    if (form->gated) value *= factor;
    mp_measured m = mp_measure_stored(&p->stored, got, value, error);
    if (!mp_is_finite(gate) || !mp_is_finite(up) || (swish && !(form->beta * v >= MP_SWISH_LOWEST)))
        m.plain = 0;
    mp_row_figures_add(figures, n, got, value, &m);
}

#endif
