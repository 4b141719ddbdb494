/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/predict.h"

#include "cases/graph_tables.h"
#include "cases/scheme.h"
#include "moeparity/preset.h"

#include <math.h>

bool mp_predictable(const mp_contract *contract, const mp_case *c, mp_stage stage, const char **why) {
#define REFUSAL(stage, scope, name) mp_unpredictable_##name,
    static mp_stage_refusal *const refusal[MP_STAGE_COUNT] = {MP_STAGES(REFUSAL)};
#undef REFUSAL
    *why = refusal[stage](contract, c);
    if (contract->overflow == MP_OVERFLOW_ANY && stage != MP_ALIGN && !*why)
        *why = "stores may saturate or not";
    if (contract->float64_steps && stage != MP_ALIGN) *why = "float64 steps are not predicted";
    return *why == NULL;
}

/* Behind a stage whose store saturates: what it stored as Inf is the largest finite number, for values
 * between that and where Inf begins round to it as well. */
static mp_status saturate(void *self, const mp_stage_call *call, mp_stage stage, mp_error *err) {
    const mp_prediction *prediction = self;
    const mp_tensor *t = &call->t[mp_stage_output(call->c, stage)];
    (void)err;
    if (stage == MP_ALIGN || prediction->contract->overflow != MP_OVERFLOW_SATURATE ||
        (t->dtype != MP_BF16 && t->dtype != MP_FP16))
        return MP_OK;
    const uint16_t inf = (uint16_t)mp_encode_code(t->dtype, (double)INFINITY);
    uint16_t *code = t->data;
    for (int64_t i = 0; i < mp_tensor_count(t); i++)
        if ((code[i] & 0x7FFF) == inf) code[i]--; /* the next magnitude below */
    return MP_OK;
}

mp_status mp_confirm_stage(const mp_engine *engine, const mp_contract *contract, const mp_stage_call *call,
                           mp_stage stage, bool *equal, mp_error *err) {
    *equal = false;
    if (contract->overflow == MP_OVERFLOW_SATURATE)
        return mp_fail(err, MP_EUNSUPPORTED, "stores that saturate are not looked at by an engine");
    switch (stage) {
    case MP_GATE_UP:
    case MP_DOWN: return mp_confirm_gemm_stage(engine, contract, call, stage, equal, err);
    case MP_QUANT_X:
    case MP_QUANT_ACT: return mp_confirm_quant_stage(engine, contract, call, stage, equal, err);
    case MP_ACT: return mp_confirm_act_stage(engine, contract, call, equal, err);
    case MP_COMBINE: return mp_confirm_combine_stage(engine, contract, call, equal, err);
    default: return mp_fail(err, MP_EUNSUPPORTED, "%s is not looked at by an engine", mp_stage_name(stage));
    }
}

mp_executor mp_predict_executor(mp_prediction *prediction) {
#define RUN(stage, scope, name) mp_predict_stage_##name,
    return (mp_executor){.self = prediction,
                         .stage = {MP_STAGES(RUN)},
                         .after = saturate,
                         .needs_map = true,
                         .stage_ns = prediction->stage_ns};
}

mp_contract mp_host_contract(const mp_case *c) {
    mp_contract contract = mp_contract_of_architecture(MP_HOST_ARCHITECTURE, c);
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        const bool by_batch = (s == MP_QUANT_X || s == MP_QUANT_ACT) && mp_codes_share_a_scale(c);
        contract.promise[s] =
            (mp_stage_promise){.bits = MP_BITS_NONE, .deterministic = true, .batch_invariant = !by_batch};
    }
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
