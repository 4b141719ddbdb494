/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over topk measured against what was stored of them: the arithmetic is ref/combined.h and
 * ref/measured.h. */
#ifndef MP_OFFLOAD_DEVICE_SCREEN_COMBINE_H
#define MP_OFFLOAD_DEVICE_SCREEN_COMBINE_H

#include "offload/device/combine_rows.h"
#include "ref/combined.h"

enum { MP_COMBINE_THREADS = 128 }; /* of a token */

/* figures[m] = those of token m of out. */
typedef struct mp_screen_combine_params {
    mp_combine_rows rows;
    MP_DEVICE_POINTER(mp_row_figures) figures; /* [tokens] */
    mp_stored stored;
    mp_combine_rule rule;
} mp_screen_combine_params;

/* Sums that come anywhere near overflow on the way are not plain: twice their magnitudes, scaled. */
MP_DEVICE_INLINE void mp_screen_combine_element(const mp_screen_combine_params *p, long long token,
                                                long long k, mp_row_figures *figures) {
    const mp_combine_rows *r = &p->rows;
    const float *weights = (const float *)r->weights;
    const double rsf = fabs(p->rule.rsf);
    mp_sum sum = {0, 0, 0, 0, 0, 0, 0};
    if (r->shared) sum.shared = mp_combine_shared_at(r, token, k);
    for (long long slot = token * r->topk; slot < (token + 1) * r->topk; slot++) {
        if (mp_combine_leaves_out(r, slot)) continue;
        const double v = mp_combine_term_at(r, slot, k);
        if (weights)
            mp_sum_add_weighed(&sum, (double)weights[slot], v);
        else
            mp_sum_add(&sum, v, 0);
    }
    const double error = mp_combine_error_of(&p->rule, &sum),
                 reach = 2 * sum.mass * (rsf > 1 ? rsf : 1) + 2 * fabs(sum.shared);
    if (p->rule.rounds_before_scale) {
        sum.value = mp_number_rounded(&r->got_format, mp_sum_value(&sum));
        sum.rest = 0;
    }
    const double value = mp_sum_scaled(&sum, p->rule.rsf),
                 got = mp_number_at(&r->got_format, (const void *)r->got, token * r->K + k);
    mp_measured m = mp_measure_stored(&p->stored, got, value, error);
    if (!(reach < p->stored.large)) m.plain = 0;
    mp_row_figures_add(figures, k, got, value, &m);
}

#endif
