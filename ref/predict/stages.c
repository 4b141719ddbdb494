/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/stages.h"

#include "base/clones.h"
#include "ref/activation.h"
#include "ref/predict/activation_f32.h"
#include "ref/combine.h"
#include "ref/predict/gemm_fma.h"
#include "ref/predict/tensorcore_gemm.h"

#include <stdlib.h>
#include <string.h>

/* One row of cache1 -> one row of results. */
MP_CLONES_FMA static void activate_row(const mp_case *c, const float *in, float *result) {
    const float alpha = (float)c->alpha, limit = (float)c->limit;
    for (int64_t n = 0; n < c->N; n++)
        result[n] = mp_activate_f32((int)c->act, c->gated, in[mp_gate_column(c, n)],
                                    c->gated ? in[mp_up_column(c, n)] : 1.0f, alpha, limit);
}

mp_status mp_predict_activation(const mp_case *c, const int32_t *topk_ids, const int64_t *row,
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

/* One token: ascending j, fp32 accumulator, scale after the sum, one rounding. With fused_sum every addition
 * rounds to dtype, as atomics on out do. */
static void combine_token_f32(const mp_case *c, const int32_t *topk_ids, const mp_tensor *cache3,
                              const mp_tensor *out, int64_t m, float *sum, float *row) {
    const int64_t K = c->K;
    const float rsf = (float)c->rsf;
    memset(sum, 0, (size_t)K * sizeof *sum);
    for (int64_t j = 0; j < c->topk; j++) {
        if (topk_ids && topk_ids[m * c->topk + j] < 0) continue;
        mp_decode_row_f32(cache3->dtype, cache3->data, (m * c->topk + j) * K, K, row);
        for (int64_t k = 0; k < K; k++) sum[k] += row[k];
        if (c->fused_sum) {
            mp_encode_row_f32(out->dtype, out->data, m * K, K, sum);
            mp_decode_row_f32(out->dtype, out->data, m * K, K, sum);
        }
    }
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

mp_status mp_predict_combine(const mp_case *c, const int32_t *topk_ids, const mp_tensor *cache3,
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
                combine_token_f32(c, topk_ids, cache3, out, m, sum, sum + c->K);
        }
        free(sum);
    }
    return failed ? mp_fail(err, MP_EMEMORY, "combine: no memory for a row of %lld floats", (long long)c->K)
                  : MP_OK;
}

/* The tensor core's name of a format; false where it has none. */
static bool tensor_core_input(mp_dtype dtype, mp_tc_input *input) {
    switch (dtype) {
    case MP_BF16: *input = MP_TC_BF16; return true;
    case MP_FP16: *input = MP_TC_FP16; return true;
    case MP_E4M3: *input = MP_TC_E4M3; return true;
    case MP_E5M2: *input = MP_TC_E5M2; return true;
    case MP_FP32: *input = MP_TC_TF32; return true;
    case MP_FP64:
    case MP_I32:
    case MP_DTYPE_COUNT: break;
    }
    return false;
}

mp_status mp_predict_gemm(const mp_gemm_contract *contract, const mp_gemm_problem *problem,
                          const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *out,
                          mp_error *err) {
    if (contract->promotion || contract->split_k > 1)
        return mp_fail(err, MP_EUNSUPPORTED, "sums in parts of k are not predicted");
    if (contract->accumulator == MP_ACC_FMA_ASCENDING)
        return mp_fma_gemm(problem, epilogue, out_row, out, err);
    if (contract->accumulator != MP_ACC_TENSOR_CORE)
        return mp_fail(err, MP_EUNSUPPORTED, "an accumulator without a fixed order is not predicted");
    mp_tc_model model = {.group = contract->group,
                         .fraction_bits = contract->fraction_bits,
                         .result_fraction_bits = contract->result_fraction_bits,
                         .zero_exponent = contract->zero_exponent,
                         .method = contract->k_order == MP_K_BY_PAIRS ? MP_TC_THROUGH_FP16 : MP_TC_DIRECT};
    const mp_dtype a = problem->a.codes->dtype, b = problem->w.codes->dtype;
    if (!tensor_core_input(a, &model.a) || !tensor_core_input(b, &model.b))
        return mp_fail(err, MP_EUNSUPPORTED, "a tensor core takes no operands of %s and %s", mp_dtype_name(a),
                       mp_dtype_name(b));
    return mp_tc_gemm(&model, problem, epilogue, out_row, out, err);
}
