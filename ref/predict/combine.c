/* SPDX-License-Identifier: Apache-2.0 */
/* combine: cache3 [M,topk,K] -> out [M,K]: fp32 accumulator (fp64 for fp64), ascending j, scale after the
 * sum, one rounding; ROUND_THEN_SCALE rounds the sum as well, before the scale. shared_output is added behind
 * the scale, to the rounded sum if the contract says so. With fused_sum every addition
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
    if (c->shared == MP_SHARED_ADD && contract->combine_shared == MP_SHARED_ROUNDED &&
        contract->overflow == MP_OVERFLOW_SATURATE)
        return "a sum that saturates before shared_output is added is not predicted";
    return NULL;
}

typedef struct combination {
    const mp_case *c;
    const int32_t *topk_ids; /* slots whose id is -1 are left out; NULL: every slot is added */
    bool round_sum, round_before_shared;
    const mp_tensor *cache3, *shared_output, *out;
} combination;

/* sum as out's dtype holds it. */
static void round_row(const mp_tensor *out, int64_t m, float *sum) {
    const int64_t K = mp_tensor_row_length(out);
    mp_encode_row_f32(out->dtype, out->data, m * K, K, sum);
    mp_decode_row_f32(out->dtype, out->data, m * K, K, sum);
}

/* sum, row: room for a row each. */
static void combine_token_f32(const combination *x, int64_t m, float *sum, float *row) {
    const mp_case *c = x->c;
    const int64_t K = c->K;
    const float rsf = (float)c->rsf;
    memset(sum, 0, (size_t)K * sizeof *sum);
    for (int64_t j = 0; j < c->topk; j++) {
        if (x->topk_ids && x->topk_ids[m * c->topk + j] < 0) continue;
        mp_decode_row_f32(x->cache3->dtype, x->cache3->data, (m * c->topk + j) * K, K, row);
        for (int64_t k = 0; k < K; k++) sum[k] += row[k];
        if (c->fused_sum) round_row(x->out, m, sum);
    }
    if (x->round_sum) round_row(x->out, m, sum);
    for (int64_t k = 0; k < K; k++) sum[k] *= rsf;
    if (x->shared_output->data) {
        if (x->round_before_shared) round_row(x->out, m, sum);
        mp_decode_row_f32(x->shared_output->dtype, x->shared_output->data, m * K, K, row);
        for (int64_t k = 0; k < K; k++) sum[k] += row[k];
    }
    mp_encode_row_f32(x->out->dtype, x->out->data, m * K, K, sum);
}

static void combine_token_f64(const combination *x, int64_t m) {
    const mp_case *c = x->c;
    const double *slot = x->cache3->data, *shared = x->shared_output->data, rsf = mp_combine_rsf(c);
    double *result = x->out->data;
    for (int64_t k = 0; k < c->K; k++) {
        double sum = 0;
        for (int64_t j = 0; j < c->topk; j++)
            if (!x->topk_ids || x->topk_ids[m * c->topk + j] >= 0) sum += slot[(m * c->topk + j) * c->K + k];
        sum *= rsf;
        result[m * c->K + k] = shared ? sum + shared[m * c->K + k] : sum;
    }
}

static mp_status combine(const combination *x, mp_error *err) {
    const mp_case *c = x->c;
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
                combine_token_f64(x, m);
            else if (sum)
                combine_token_f32(x, m, sum, sum + c->K);
        }
        free(sum);
    }
    return failed ? mp_fail(err, MP_EMEMORY, "combine: no memory for a row of %lld floats", (long long)c->K)
                  : MP_OK;
}

mp_status mp_predict_stage_combine(void *self, const mp_stage_call *call, mp_error *err) {
    const mp_contract *contract = ((const mp_prediction *)self)->contract;
    const bool skip_filtered = contract->filtered[MP_DOWN] != MP_ROW_ZERO; /* else their rows are zeros */
    const combination x = {.c = call->c,
                           .topk_ids = skip_filtered ? call->t[MP_TOPK_IDS].data : NULL,
                           .round_sum = contract->combine == MP_COMBINE_ROUND_THEN_SCALE,
                           .round_before_shared = contract->combine_shared == MP_SHARED_ROUNDED,
                           .cache3 = mp_as_read(call->t, MP_CACHE3),
                           .shared_output = &call->t[MP_SHARED_OUTPUT],
                           .out = &call->t[MP_OUT]};
    return combine(&x, err);
}
