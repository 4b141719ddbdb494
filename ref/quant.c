/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/quant.h"

#include "cases/scheme.h"

#include <math.h>

mp_quantisation mp_quantisation_of(const mp_stage_call *call, mp_stage stage) {
    const mp_tensor *t = call->t;
    const bool x = stage == MP_QUANT_X;
    const mp_tensor *from = x ? &t[MP_X] : &t[MP_CACHE2];
    const int64_t width = from->dim[1];
    return (mp_quantisation){
        .from = from,
        .codes = &t[x ? MP_X_CODES : MP_CACHE2_CODES],
        .scale = &t[x ? MP_X_SCALE : MP_CACHE2_SCALE],
        .rows = x ? call->c->M : mp_case_slots(call->c),
        .row = x ? NULL : call->map->cache_row,
        .topk_ids = x ? NULL : t[MP_TOPK_IDS].data,
        .group = mp_scheme_of(call->c)->granularity == MP_PER_GROUP ? mp_case_group(call->c) : width};
}

double mp_quant_amax(const mp_tensor *from, int64_t first, int64_t n) {
    double amax = 0;
    for (int64_t i = first; i < first + n; i++)
        amax = fmax(amax, fabs(mp_decode(from->dtype, from->data, i)));
    return amax;
}

static void quantise(const mp_quantisation *q, int64_t first, int64_t n, int64_t scale_at) {
    const double largest = mp_dtype_format(q->codes->dtype)->max_finite;
    const double amax = fmax(mp_quant_amax(q->from, first, n), MP_QUANT_SMALLEST);
    mp_encode(q->scale->dtype, q->scale->data, scale_at, amax / largest);
    const double scale = mp_decode(q->scale->dtype, q->scale->data, scale_at);
    for (int64_t i = first; i < first + n; i++) {
        const double v = mp_decode(q->from->dtype, q->from->data, i) / scale;
        mp_encode(q->codes->dtype, q->codes->data, i, fabs(v) > largest ? copysign(largest, v) : v);
    }
}

static mp_status quant_stage(const mp_stage_call *call, mp_stage stage) {
    const mp_quantisation q = mp_quantisation_of(call, stage);
    const int64_t width = q.from->dim[1], groups = q.scale->dim[1];
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < q.rows; r++) {
        const int64_t row = mp_quantised_row(&q, r);
        for (int64_t g = 0; g < groups && row >= 0; g++) {
            const int64_t rest = width - g * q.group;
            quantise(&q, row * width + g * q.group, rest < q.group ? rest : q.group, row * groups + g);
        }
    }
    return MP_OK;
}

mp_status mp_ref_stage_quant_x(void *self, const mp_stage_call *call, mp_error *err) {
    (void)self, (void)err;
    return quant_stage(call, MP_QUANT_X);
}

mp_status mp_ref_stage_quant_act(void *self, const mp_stage_call *call, mp_error *err) {
    (void)self, (void)err;
    return quant_stage(call, MP_QUANT_ACT);
}
