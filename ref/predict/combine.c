/* SPDX-License-Identifier: Apache-2.0 */
/* combine: cache3 [M,topk,K] -> out [M,K]: fp32 accumulator (fp64 for fp64), ascending j, scale after the
 * sum, one rounding; ROUND_THEN_SCALE rounds the sum as well, before the scale. With fused_sum every addition
 * rounds to dtype, as atomic additions on out do. */
#include "ref/combine.h"

#include "ref/predict/predict.h"

#include <stdlib.h>
#include <string.h>

const char *mp_unpredictable_combine(const mp_contract *contract, const mp_case *c) {
    if (c->fused_sum) return "the order of additions is not fixed";
    if (contract->combine == MP_COMBINE_ELEMENT_DTYPE) return "this combine is not predicted";
    if (contract->combine == MP_COMBINE_ROUND_THEN_SCALE && contract->overflow == MP_OVERFLOW_SATURATE)
        return "a sum that saturates before it is scaled is not predicted";
    return NULL;
}

/* sum as out's dtype holds it. */
static void round_row(const mp_tensor *out, int64_t m, float *sum) {
    const int64_t K = mp_tensor_row_length(out);
    mp_encode_row_f32(out->dtype, out->data, m * K, K, sum);
    mp_decode_row_f32(out->dtype, out->data, m * K, K, sum);
}

static void combine_token_f32(const mp_case *c, const int32_t *topk_ids, const mp_tensor *cache3,
                              const mp_tensor *out, int64_t m, bool round_sum, float *sum, float *row) {
    const int64_t K = c->K;
    const float rsf = (float)c->rsf;
    memset(sum, 0, (size_t)K * sizeof *sum);
    for (int64_t j = 0; j < c->topk; j++) {
        if (topk_ids && topk_ids[m * c->topk + j] < 0) continue;
        mp_decode_row_f32(cache3->dtype, cache3->data, (m * c->topk + j) * K, K, row);
        for (int64_t k = 0; k < K; k++) sum[k] += row[k];
        if (c->fused_sum) round_row(out, m, sum);
    }
    if (round_sum) round_row(out, m, sum);
    for (int64_t k = 0; k < K; k++) sum[k] *= rsf;
    mp_encode_row_f32(out->dtype, out->data, m * K, K, sum);
}

static void combine_token_f64(const mp_case *c, const int32_t *topk_ids, const mp_tensor *cache3,
                              const mp_tensor *out, int64_t m) {
    const double *slot = cache3->data, rsf = mp_combine_rsf(c);
    double *result = out->data;
    for (int64_t k = 0; k < c->K; k++) {
        double sum = 0;
        for (int64_t j = 0; j < c->topk; j++)
            if (!topk_ids || topk_ids[m * c->topk + j] >= 0) sum += slot[(m * c->topk + j) * c->K + k];
        result[m * c->K + k] = rsf * sum;
    }
}

/* topk_ids: slots whose id is -1 are left out; NULL: every slot is added, the rows of those are zeros. */
static mp_status combine(const mp_case *c, const int32_t *topk_ids, bool round_sum, const mp_tensor *cache3,
                         const mp_tensor *out, mp_error *err) {
    bool failed = false;
#pragma omp parallel
    {
        float *sum = malloc(2 * (size_t)c->K * sizeof *sum);
        if (!sum) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(static)
        for (int64_t m = 0; m < c->M; m++) {
            if (c->dtype == MP_FP64)
                combine_token_f64(c, topk_ids, cache3, out, m);
            else if (sum)
                combine_token_f32(c, topk_ids, cache3, out, m, round_sum, sum, sum + c->K);
        }
        free(sum);
    }
    return failed ? mp_fail(err, MP_EMEMORY, "combine: no memory for a row of %lld floats", (long long)c->K)
                  : MP_OK;
}

mp_status mp_predict_stage_combine(void *self, const mp_stage_call *call, mp_error *err) {
    const mp_prediction *prediction = self;
    const bool skip_filtered = prediction->contract->filtered[MP_DOWN] != MP_ROW_ZERO;
    return combine(call->c, skip_filtered ? call->t[MP_TOPK_IDS].data : NULL,
                   prediction->contract->combine == MP_COMBINE_ROUND_THEN_SCALE,
                   mp_as_read(call->t, MP_CACHE3), &call->t[MP_OUT], err);
}
