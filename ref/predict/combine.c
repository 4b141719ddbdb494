/* SPDX-License-Identifier: Apache-2.0 */
/* combine: cache3 [M,topk,K] -> out [M,K]: fp32 accumulator (fp64 for fp64), ascending j, scale after the
 * sum, one rounding. Where it applies the router weights, each product is rounded before it is added, or the
 * two are one operation. ROUND_THEN_SCALE rounds the sum as well, before the scale. shared_output is added
 * behind the scale, to the rounded sum if the contract says so. With fused_sum every addition rounds to
 * dtype, as atomic additions on out do. */
#include "ref/combine.h"
#include "ref/engine.h"

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

static bool is_left_out(const mp_combine_bits *b, int64_t slot) {
    return b->terms.topk_ids && b->terms.topk_ids[slot] < 0;
}

/* sum as out's dtype holds it. */
static void round_row(const mp_tensor *out, int64_t m, float *sum) {
    const int64_t K = mp_tensor_row_length(out);
    mp_encode_row_f32(out->dtype, out->data, m * K, K, sum);
    mp_decode_row_f32(out->dtype, out->data, m * K, K, sum);
}

/* sum, row: room for a row each. */
static void combine_token_f32(const mp_combine_bits *b, const mp_tensor *out, int64_t m, float *sum,
                              float *row) {
    const mp_tensor *cache3 = b->terms.cache3, *shared = b->terms.shared_output;
    const int64_t topk = cache3->dim[1], K = cache3->dim[2];
    const float *w = b->terms.weights, rsf = (float)b->rsf;
    memset(sum, 0, (size_t)K * sizeof *sum);
    for (int64_t slot = m * topk; slot < (m + 1) * topk; slot++) {
        if (is_left_out(b, slot)) continue;
        mp_decode_row_f32(cache3->dtype, cache3->data, slot * K, K, row);
        if (w && b->fma)
            for (int64_t k = 0; k < K; k++) sum[k] = fmaf(w[slot], row[k], sum[k]);
        else
            for (int64_t k = 0; k < K; k++) sum[k] += w ? w[slot] * row[k] : row[k];
        if (b->round_each) round_row(out, m, sum);
    }
    if (b->round_sum) round_row(out, m, sum);
    for (int64_t k = 0; k < K; k++) sum[k] *= rsf;
    if (shared && shared->data) {
        if (b->round_before_shared) round_row(out, m, sum);
        mp_decode_row_f32(shared->dtype, shared->data, m * K, K, row);
        for (int64_t k = 0; k < K; k++) sum[k] += row[k];
    }
    mp_encode_row_f32(out->dtype, out->data, m * K, K, sum);
}

static void combine_token_f64(const mp_combine_bits *b, const mp_tensor *out, int64_t m) {
    const mp_tensor *cache3 = b->terms.cache3, *of_shared = b->terms.shared_output;
    const int64_t topk = cache3->dim[1], K = cache3->dim[2];
    const double *term = cache3->data, *shared = of_shared ? of_shared->data : NULL;
    const float *weights = b->terms.weights;
    double *result = out->data;
    for (int64_t k = 0; k < K; k++) {
        double sum = 0;
        for (int64_t slot = m * topk; slot < (m + 1) * topk; slot++) {
            const double v = term[slot * K + k], w = weights ? (double)weights[slot] : 1;
            if (!is_left_out(b, slot)) sum = b->fma ? fma(w, v, sum) : sum + w * v;
        }
        sum *= b->rsf;
        result[m * K + k] = shared ? sum + shared[m * K + k] : sum;
    }
}

mp_status mp_predict_combined(const mp_combine_bits *b, const mp_tensor *out, mp_error *err) {
    const int64_t tokens = b->terms.cache3->dim[0], K = b->terms.cache3->dim[2];
    bool failed = false;
    mp_tensor_make_rows(b->terms.cache3, NULL, mp_tensor_rows(b->terms.cache3));
#pragma omp parallel if (mp_worth_threads(tokens, b->terms.cache3->dim[1] * K / 4))
    {
        float *sum = malloc(2 * (size_t)K * sizeof *sum);
        if (!sum) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(static)
        for (int64_t m = 0; m < tokens; m++) {
            if (out->dtype == MP_FP64)
                combine_token_f64(b, out, m);
            else if (sum)
                combine_token_f32(b, out, m, sum, sum + K);
        }
        free(sum);
    }
    return failed ? mp_fail(err, MP_EMEMORY, "combine: no memory for a row of %lld floats", (long long)K)
                  : MP_OK;
}

static mp_combine_bits bits_of(const mp_contract *contract, const mp_stage_call *call) {
    const bool skip_filtered = contract->filtered[MP_DOWN] != MP_ROW_ZERO; /* else their rows are zeros */
    return (mp_combine_bits){.terms = mp_combine_terms_of(call->c, call->t, skip_filtered),
                             .fma = contract->combine_fma,
                             .round_each = call->c->fused_sum,
                             .round_sum = contract->combine == MP_COMBINE_ROUND_THEN_SCALE,
                             .round_before_shared = contract->combine_shared == MP_SHARED_ROUNDED,
                             .rsf = mp_combine_rsf(call->c)};
}

mp_status mp_predict_stage_combine(void *self, const mp_stage_call *call, mp_error *err) {
    const mp_combine_bits b = bits_of(((const mp_prediction *)self)->contract, call);
    return mp_predict_combined(&b, &call->t[MP_OUT], err);
}

mp_status mp_confirm_combine_stage(const mp_engine *engine, const mp_contract *contract,
                                   const mp_stage_call *call, bool *equal, mp_error *err) {
    const mp_combine_bits b = bits_of(contract, call);
    if (!engine->confirm_combine || b.round_each)
        return mp_fail(err, MP_EUNSUPPORTED, "sums over topk are not looked at by an engine");
    return engine->confirm_combine(engine, &b, &call->t[MP_OUT], equal, err);
}
