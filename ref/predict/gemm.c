/* SPDX-License-Identifier: Apache-2.0 */
/* gate_up and down accumulate as the contract says: as a tensor core does (ref/predict/tensorcore.h), or by
 * fused multiply-adds over ascending k (ref/predict/gemm_fma.h). One rounding to dtype. */
#include "ref/predict/gemm.h"

#include "ref/bounds.h"
#include "ref/engine.h"
#include "ref/predict/gemm_fma.h"
#include "ref/predict/matrixcore_gemm.h"
#include "ref/predict/predict.h"
#include "ref/predict/scaling.h"

const char *mp_unpredictable_gemm(const mp_gemm_contract *g, mp_dtype operands) {
    const bool core = g->accumulator == MP_ACC_TENSOR_CORE, permuted = core && g->k_order == MP_K_PERMUTED;
    const bool fp8 = operands == MP_E4M3 || operands == MP_E5M2;
    if (core && g->k_order == MP_K_BY_PAIRS && !fp8) return "k by pairs is known of fp8 alone";
    if (permuted && !fp8 && operands != MP_BF16 && operands != MP_FP16)
        return "k permuted is known of bf16, fp16 and fp8 alone";
    if (permuted && MP_TC_MAX_GROUP % (g->group ? g->group : 1) != 0)
        return "k permuted is known of steps that divide 32 alone";
    if (g->split_k > 1) return "parts of k that are added in any order are bounded, not predicted";
    if (g->promotion && !core && !mp_is_matrix_core(g->accumulator))
        return "promotion is predicted of tensor cores and matrix cores alone";
    if (g->promotion % (permuted ? MP_TC_MAX_GROUP : g->group ? g->group : 1) != 0)
        return "promotion in the middle of a step is not predicted";
    if (g->accumulator == MP_ACC_FLOAT64) return "float64 sums have no fixed order";
    if (g->accumulator == MP_ACC_IEEE_ANY_ORDER || g->accumulator == MP_ACC_ANY)
        return "the order of the sums is not fixed";
    if (g->accumulator == MP_ACC_BLOCK_SCALED) return "a block-scaled unit takes codes with their scales";
    return mp_is_matrix_core(g->accumulator) ? mp_unpredictable_matrix_core(g, operands) : NULL;
}

const char *mp_unpredictable_gate_up(const mp_contract *contract, const mp_case *c) {
    return mp_unpredictable_scaled_gemm(&contract->gate_up, c, c->K);
}

const char *mp_unpredictable_down(const mp_contract *contract, const mp_case *c) {
    return c->fused_sum ? "the order of additions is not fixed"
                        : mp_unpredictable_scaled_gemm(&contract->down, c, c->N);
}

/* The tensor core's name of a format; false where it has none. */
static bool tensor_core_input(mp_dtype dtype, mp_tc_input *input) {
    switch (dtype) {
    case MP_BF16: *input = MP_TC_BF16; return true;
    case MP_FP16: *input = MP_TC_FP16; return true;
    case MP_E4M3: *input = MP_TC_E4M3; return true;
    case MP_E5M2: *input = MP_TC_E5M2; return true;
    case MP_FP32: *input = MP_TC_TF32; return true;
    case MP_I8: *input = MP_TC_S8; return true;
    case MP_FP64:
    case MP_I32:
    case MP_U8:
    case MP_I4:
    case MP_U4:
    case MP_E2M1:
    case MP_UE8M0:
    case MP_DTYPE_COUNT: break;
    }
    return false;
}

static mp_tc_method method_of(mp_k_order order) {
    switch (order) {
    case MP_K_BY_PAIRS: return MP_TC_THROUGH_FP16;
    case MP_K_PERMUTED: return MP_TC_PERMUTED;
    case MP_K_ASCENDING:
    case MP_K_ORDER_COUNT: break;
    }
    return MP_TC_DIRECT;
}

mp_status mp_tc_model_of(const mp_gemm_contract *contract, mp_dtype a, mp_dtype w, mp_tc_model *model,
                         mp_error *err) {
    *model = (mp_tc_model){.group = contract->group,
                           .fraction_bits = contract->fraction_bits,
                           .result_fraction_bits = contract->result_fraction_bits,
                           .zero_exponent = contract->zero_exponent,
                           .method = method_of(contract->k_order)};
    if (!tensor_core_input(a, &model->a) || !tensor_core_input(w, &model->b))
        return mp_fail(err, MP_EUNSUPPORTED, "a tensor core takes no operands of %s and %s", mp_dtype_name(a),
                       mp_dtype_name(w));
    if (model->a == MP_TC_S8) model->result = MP_TC_INT32;
    return MP_OK;
}

mp_status mp_predict_gemm(const mp_gemm_contract *contract, const mp_tc_parts *parts,
                          const mp_gemm_problem *problem, const mp_epilogue *epilogue, const int64_t *out_row,
                          const mp_tensor *out, mp_error *err) {
    const bool matrix_core = mp_is_matrix_core(contract->accumulator);
    const mp_tc_parts promotion = mp_tc_promotion(contract->promotion);
    mp_gemm_make_operands(problem);
    if (!parts && contract->promotion) parts = &promotion;
    if (contract->split_k > 1 || (parts && contract->accumulator != MP_ACC_TENSOR_CORE && !matrix_core))
        return mp_fail(err, MP_EUNSUPPORTED, "sums in parts of k are not predicted");
    if (contract->accumulator == MP_ACC_FMA_ASCENDING)
        return mp_fma_gemm(problem, epilogue, out_row, out, err);
    if (matrix_core) return mp_matrix_core_gemm(contract, parts, problem, epilogue, out_row, out, err);
    if (contract->accumulator != MP_ACC_TENSOR_CORE)
        return mp_fail(err, MP_EUNSUPPORTED, "an accumulator without a fixed order is not predicted");
    mp_tc_model model;
    const mp_status status =
        mp_tc_model_of(contract, problem->a.codes->dtype, problem->w.codes->dtype, &model, err);
    if (status != MP_OK) return status;
    return mp_tc_gemm(&model, parts, problem, epilogue, out_row, out, err);
}

static mp_status gemm_stage(const mp_prediction *self, const mp_stage_call *call, mp_stage stage,
                            mp_error *err) {
    const mp_gemm_contract *contract = mp_stage_gemm_contract(self->contract, stage);
    const mp_stage_gemm g = mp_gemm_under(call, stage, contract);
    const mp_engine *engine = self->engine;
    if (engine && engine->predict_gemm) {
        const mp_status status = engine->predict_gemm(engine, contract, mp_scheme_of(call->c), call->c->dtype,
                                                      &g.problem, &g.epilogue, g.out_row, g.out, err);
        if (status != MP_EUNSUPPORTED) return status;
    }
    if (!call->c->quant)
        return mp_predict_gemm(contract, NULL, &g.problem, &g.epilogue, g.out_row, g.out, err);
    return mp_predict_scaled_gemm(contract, mp_scheme_of(call->c), call->c->dtype, &g.problem, &g.epilogue,
                                  g.out_row, g.out, err);
}

mp_status mp_confirm_gemm_stage(const mp_engine *engine, const mp_contract *of, const mp_stage_call *call,
                                mp_stage stage, bool *equal, mp_error *err) {
    const mp_gemm_contract *contract = mp_stage_gemm_contract(of, stage);
    const mp_stage_gemm g = mp_gemm_under(call, stage, contract);
    if (!engine->confirm_gemm) return mp_fail(err, MP_EUNSUPPORTED, "bits are not looked at by an engine");
    return engine->confirm_gemm(engine, contract, mp_scheme_of(call->c), call->c->dtype, &g.problem,
                                &g.epilogue, g.out_row, g.out, equal, err);
}

mp_status mp_predict_stage_gate_up(void *self, const mp_stage_call *call, mp_error *err) {
    return gemm_stage(self, call, MP_GATE_UP, err);
}

mp_status mp_predict_stage_down(void *self, const mp_stage_call *call, mp_error *err) {
    return gemm_stage(self, call, MP_DOWN, err);
}
