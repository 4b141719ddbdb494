/* SPDX-License-Identifier: Apache-2.0 */
/* The activation by the source that the CUDA kernels are compiled from (ref/predict/activation_f32.h); one
 * rounding to dtype. */
#include "base/clones.h"
#include "ref/activation.h"
#include "ref/predict/activation_f32.h"
#include "ref/predict/predict.h"

#include <stdlib.h>

const char *mp_unpredictable_act(const mp_contract *contract, const mp_case *c) {
    (void)c;
    if (contract->act_rounding != MP_ACT_ONE_ROUNDING) return "a rounded gate is not predicted";
    if (contract->act_function != MP_ACT_IEEE) return "exp, tanh and erf are not IEEE operations";
    return NULL;
}

/* One row of cache1 -> one row of results. */
MP_CLONES_FMA static void activate_row(const mp_case *c, const float *in, float *result) {
    const float alpha = (float)c->alpha, limit = (float)c->limit;
    for (int64_t n = 0; n < c->N; n++)
        result[n] = mp_activate_f32((int)c->act, c->gated, in[mp_gate_column(c, n)],
                                    c->gated ? in[mp_up_column(c, n)] : 1.0f, alpha, limit);
}

/* cache1 row -> cache2 row for every slot that is not filtered; row [slots] is the row of both caches. */
static mp_status activate(const mp_case *c, const int32_t *topk_ids, const int64_t *row,
                          const mp_tensor *cache1, const mp_tensor *cache2, mp_error *err) {
    const int64_t slots = mp_case_slots(c), width = mp_tensor_row_length(cache1);
    bool failed = false;
#pragma omp parallel
    {
        float *in = malloc((size_t)(width + c->N) * sizeof *in);
        if (!in) {
#pragma omp atomic write
            failed = true;
        }
        float *result = in ? in + width : NULL;
#pragma omp for schedule(static)
        for (int64_t t = 0; t < slots; t++) {
            if (!in || topk_ids[t] < 0 || row[t] < 0) continue;
            mp_decode_row_f32(cache1->dtype, cache1->data, row[t] * width, width, in);
            activate_row(c, in, result);
            mp_encode_row_f32(cache2->dtype, cache2->data, row[t] * c->N, c->N, result);
        }
        free(in);
    }
    return failed
               ? mp_fail(err, MP_EMEMORY, "activation: no memory for a row of %lld floats", (long long)width)
               : MP_OK;
}

mp_status mp_predict_stage_act(void *self, const mp_stage_call *call, mp_error *err) {
    (void)self;
    return activate(call->c, call->t[MP_TOPK_IDS].data, call->map->cache_row, mp_as_read(call->t, MP_CACHE1),
                    &call->t[MP_CACHE2], err);
}
