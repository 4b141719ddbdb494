/* SPDX-License-Identifier: Apache-2.0 */
/* combine: cache3 [M,topk,K] -> out [M,K]: fp32 accumulator (fp64 for fp64), ascending j, scale after the
 * sum, one rounding. Where it applies the router weights, each product is rounded before it is added, or the
 * two are one operation. ROUND_THEN_SCALE rounds the sum as well, before the scale. shared_output is added
 * behind the scale, to the rounded sum if the contract says so. With fused_sum every addition rounds to
 * dtype, as atomic additions on out do. */
#include "ref/combine.h"

#include "base/threads.h"
#include "ref/predict/predict.h"

#include <math.h>
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
    mp_combine_terms terms;
    bool fma, round_sum, round_before_shared;
    const mp_tensor *out;
} combination;

static bool is_left_out(const combination *x, int64_t slot) {
    return x->terms.topk_ids && x->terms.topk_ids[slot] < 0;
}

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
    for (int64_t slot = m * c->topk; slot < (m + 1) * c->topk; slot++) {
        const mp_tensor *cache3 = x->terms.cache3;
        const float *w = x->terms.weights;
        if (is_left_out(x, slot)) continue;
        mp_decode_row_f32(cache3->dtype, cache3->data, slot * K, K, row);
        if (w && x->fma)
            for (int64_t k = 0; k < K; k++) sum[k] = fmaf(w[slot], row[k], sum[k]);
        else
            for (int64_t k = 0; k < K; k++) sum[k] += w ? w[slot] * row[k] : row[k];
        if (c->fused_sum) round_row(x->out, m, sum);
    }
    if (x->round_sum) round_row(x->out, m, sum);
    for (int64_t k = 0; k < K; k++) sum[k] *= rsf;
    const mp_tensor *shared = x->terms.shared_output;
    if (shared->data) {
        if (x->round_before_shared) round_row(x->out, m, sum);
        mp_decode_row_f32(shared->dtype, shared->data, m * K, K, row);
        for (int64_t k = 0; k < K; k++) sum[k] += row[k];
    }
    mp_encode_row_f32(x->out->dtype, x->out->data, m * K, K, sum);
}

static void combine_token_f64(const combination *x, int64_t m) {
    const mp_case *c = x->c;
    const double *term = x->terms.cache3->data, *shared = x->terms.shared_output->data,
                 rsf = mp_combine_rsf(c);
    const float *weights = x->terms.weights;
    double *result = x->out->data;
    for (int64_t k = 0; k < c->K; k++) {
        double sum = 0;
        for (int64_t slot = m * c->topk; slot < (m + 1) * c->topk; slot++) {
            const double v = term[slot * c->K + k], w = weights ? (double)weights[slot] : 1;
            if (!is_left_out(x, slot)) sum = x->fma ? fma(w, v, sum) : sum + w * v;
        }
        sum *= rsf;
        result[m * c->K + k] = shared ? sum + shared[m * c->K + k] : sum;
    }
}

static mp_status combine(const combination *x, mp_error *err) {
    const mp_case *c = x->c;
    bool failed = false;
#pragma omp parallel if (mp_worth_threads(c->M, c->topk * c->K / 4))
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
                           .terms = mp_combine_terms_of(call->c, call->t, skip_filtered),
                           .fma = contract->combine_fma,
                           .round_sum = contract->combine == MP_COMBINE_ROUND_THEN_SCALE,
                           .round_before_shared = contract->combine_shared == MP_SHARED_ROUNDED,
                           .out = &call->t[MP_OUT]};
    return combine(&x, err);
}
