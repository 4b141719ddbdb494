/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/predict.h"

#include "moeparity/preset.h"
#include "ref/bounds.h"
#include "ref/predict/stages.h"

bool mp_predictable(const mp_contract *contract, const mp_case *c, mp_stage stage, const char **why) {
    *why = NULL;
    if (stage == MP_ALIGN && !contract->stable_align) *why = "the order of slots is not fixed";
    if (stage == MP_GATE_UP || stage == MP_DOWN) {
        const mp_gemm_contract *g = mp_stage_gemm_contract(contract, stage);
        if (g->accumulator == MP_ACC_IEEE_ANY_ORDER) *why = "the order of the sums is not fixed";
        if (g->accumulator == MP_ACC_FLOAT64) *why = "float64 sums have no fixed order";
        if (g->promotion || g->split_k > 1) *why = "sums in parts of k are bounded, not predicted";
    }
    if (stage == MP_ACT && contract->act_function != MP_ACT_IEEE)
        *why = "exp, tanh and erf are not IEEE operations";
    if (stage == MP_ACT && contract->act_rounding != MP_ACT_ONE_ROUNDING)
        *why = "a rounded gate is not predicted";
    if (stage == MP_SUM && contract->combine != MP_COMBINE_SCALE_THEN_ROUND)
        *why = "this combine is not predicted";
    if (c->fused_sum && (stage == MP_DOWN || stage == MP_SUM)) *why = "the order of additions is not fixed";
    if (contract->float64_steps && stage != MP_ALIGN) *why = "float64 steps are not predicted";
    return *why == NULL;
}

mp_status mp_predict_stage_align(void *self, const mp_stage_call *call, mp_error *err) {
    (void)self;
    return mp_ref_align(call->c, call->block_size_m, call->t, err);
}

static mp_status gemm_stage(const mp_prediction *self, const mp_stage_call *call, mp_stage stage,
                            mp_error *err) {
    const mp_stage_gemm g = mp_gemm_of_stage(call, stage);
    return mp_predict_gemm(mp_stage_gemm_contract(self->contract, stage), &g.problem, &g.epilogue, g.out_row,
                           g.out, err);
}

mp_status mp_predict_stage_gate_up(void *self, const mp_stage_call *call, mp_error *err) {
    return gemm_stage(self, call, MP_GATE_UP, err);
}

mp_status mp_predict_stage_act(void *self, const mp_stage_call *call, mp_error *err) {
    (void)self;
    return mp_predict_activation(call->c, call->t[MP_TOPK_IDS].data, call->map->cache_row,
                                 mp_as_read(call->t, MP_CACHE1), &call->t[MP_CACHE2], err);
}

mp_status mp_predict_stage_down(void *self, const mp_stage_call *call, mp_error *err) {
    return gemm_stage(self, call, MP_DOWN, err);
}

mp_status mp_predict_stage_combine(void *self, const mp_stage_call *call, mp_error *err) {
    const mp_prediction *prediction = self;
    const bool skip_filtered = prediction->contract->filtered[MP_DOWN] != MP_ROW_ZERO;
    return mp_predict_combine(call->c, skip_filtered ? call->t[MP_TOPK_IDS].data : NULL,
                              mp_as_read(call->t, MP_CACHE3), &call->t[MP_OUT], err);
}

mp_executor mp_predict_executor(mp_prediction *prediction) {
#define RUN(stage, scope, name) mp_predict_stage_##name,
    return (mp_executor){
        .self = prediction, .stage = {MP_STAGES(RUN)}, .needs_map = true, .stage_ns = prediction->stage_ns};
}

mp_contract mp_host_contract(const mp_case *c) {
    mp_contract contract = mp_contract_of_architecture(MP_HOST_ARCHITECTURE, c);
    for (int s = 0; s < MP_STAGE_COUNT; s++)
        contract.promise[s] =
            (mp_stage_promise){.bits = MP_BITS_NONE, .deterministic = true, .batch_invariant = true};
    return contract;
}

mp_status mp_host_predict(const mp_contract *contract, const mp_case *c, const mp_inputs *in,
                          int block_size_m, uint32_t poison, mp_trace *trace, mp_error *err) {
    const mp_status status = mp_trace_create(c, block_size_m, poison, trace, err);
    if (status != MP_OK) return status;
    mp_prediction prediction = {.contract = contract, .stage_ns = trace->stage_ns};
    const mp_executor executor = mp_predict_executor(&prediction);
    return mp_run_trace(&executor, c, in, trace, err);
}

mp_status mp_host_run(const mp_case *c, const mp_inputs *in, int block_size_m, uint32_t poison,
                      mp_trace *trace, mp_error *err) {
    const mp_contract contract = mp_host_contract(c);
    return mp_host_predict(&contract, c, in, block_size_m, poison, trace, err);
}
