/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/predict.h"

#include "moeparity/preset.h"

bool mp_predictable(const mp_contract *contract, const mp_case *c, mp_stage stage, const char **why) {
#define REFUSAL(stage, scope, name) mp_unpredictable_##name,
    static mp_stage_refusal *const refusal[MP_STAGE_COUNT] = {MP_STAGES(REFUSAL)};
#undef REFUSAL
    *why = refusal[stage](contract, c);
    if (contract->float64_steps && stage != MP_ALIGN) *why = "float64 steps are not predicted";
    return *why == NULL;
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
