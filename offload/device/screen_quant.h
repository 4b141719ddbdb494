/* SPDX-License-Identifier: Apache-2.0 */
/* Codes measured against the numbers that they were made of: the arithmetic is ref/quantised.h and
 * ref/measured.h. */
#ifndef MP_OFFLOAD_DEVICE_SCREEN_QUANT_H
#define MP_OFFLOAD_DEVICE_SCREEN_QUANT_H

#include "offload/device/quant_rows.h"
#include "ref/quantised.h"

enum { MP_QUANT_THREADS = 128 }; /* of a row */

/* seen[i, g] = what the numbers of group g of row i have in common. */
typedef struct mp_see_groups_params {
    mp_quant_rows rows;
    MP_DEVICE_POINTER(mp_quant_seen) seen; /* [count, groups] */
} mp_see_groups_params;

MP_DEVICE_INLINE void mp_see_number(mp_quant_seen *seen, double x) {
    const float a = (float)fabs(x);
    seen->amax = a > seen->amax ? a : seen->amax;
    seen->odd |= !mp_is_finite(x);
}

/* figures[i] = those of row i. */
typedef struct mp_screen_quant_params {
    mp_quant_rows rows;
    MP_DEVICE_POINTER(const mp_quant_stored_group) groups; /* [count, groups] */
    MP_DEVICE_POINTER(mp_quant_figures) figures;           /* [count] */
    mp_quant_codes_rule rule;
} mp_screen_quant_params;

/* The code that v is rounded to, to nearest even; what is beyond the last one is held to it. */
MP_DEVICE_INLINE unsigned long long mp_nearest_code(const mp_number_format *f, double v) {
    const double shift = 0x1.8p52;
    if (f->kind == MP_NUMBER_SIGNED) {
        const double most = (double)f->largest, held = v > most ? most : v < -most - 1 ? -most - 1 : v;
        return (unsigned long long)(long long)((held + shift) - shift) & ((1ull << f->bits) - 1);
    }
    const double most = mp_number_of_code(f, f->largest);
    return mp_code_of_number(f, v > most ? most : v < -most ? -most : v);
}

/* Element k of row i. Where a scale, or a number beside it, is special, or the code another one than the
 * scale gives, it is not plain. */
MP_DEVICE_INLINE void mp_screen_quant_element(const mp_screen_quant_params *p, long long i, long long k,
                                              mp_quant_figures *to) {
    const mp_quant_rows *r = &p->rows;
    const mp_quant_codes_rule *rule = &p->rule;
    const mp_quant_stored_group *g = (const mp_quant_stored_group *)p->groups + i * r->groups + k / r->group;
    const long long at = ((const long long *)r->row)[i] * r->width + k;
    const double x = mp_quantised_at(r, at), value = x / g->step;
    const unsigned long long code = mp_code_in(&r->code_format, (const void *)r->codes, at);
    const double got = mp_number_of_code(&r->code_format, code);
    mp_quant_spread spread = rule->spread;
    spread.step = g->step;
    spread.off = g->off;
    spread.most = g->most;
    const double error = mp_quant_spread_at(&spread, x) / g->step,
                 held = fabs(value) > rule->largest ? (value > 0 ? rule->largest : -rule->largest) : value,
                 scaled = (double)(float)(rule->divides ? x / g->factor : x * g->factor);
    mp_measured m = mp_measure_stored(&rule->stored, got, held, error);
    if (!g->plain || code != mp_nearest_code(&r->code_format, scaled)) m.plain = 0;
    mp_row_figures_add(&to->row, k, got, held, &m);
    to->saturated += fabs(got) >= rule->largest;
}

#endif
