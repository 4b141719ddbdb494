#include "ref/predict/host.h"

#include "base/clock.h"
#include "ref/predict/float32_math.h"
#include "ref/predict/host_stages.h"
#include "ref/pipeline.h"

#include <stdlib.h>
#include <string.h>

mp_contract mp_host_contract(const mp_case *c) {
    mp_contract contract = {.act_ulps = MP_FLOAT32_MATH_ULPS,
                            .act_rounding = MP_ACT_ONE_ROUNDING,
                            .combine = c->fused_sum ? MP_COMBINE_ELEMENT_DTYPE : MP_COMBINE_SCALE_THEN_ROUND,
                            .stable_align = true,
                            .deterministic = true,
                            .batch_invariant = true};
    mp_contract_set_accumulator(&contract, MP_HOST_ARCHITECTURE, c->dtype);
    contract.bits = MP_BITS_NONE; /* it is the prediction */
    return contract;
}

static double now_ns(void) {
    return 1e9 * mp_seconds_now();
}

static mp_status run_chunk(const mp_contract *contract, const mp_case *c, const mp_inputs *in,
                           uint32_t poison, mp_trace *trace, double *stage_ns, mp_error *err) {
    mp_tensor scratch = mp_tensor_shape(c->dtype, 3, c->M, c->topk, c->K);
    mp_slot_map map = {0};
    mp_status status = MP_OK;
    const mp_tensor *cache1 = &trace->t[MP_CACHE1], *cache2 = &trace->t[MP_CACHE2], *out = &trace->t[MP_OUT];
    const int32_t *topk_ids = in->t[MP_TOPK_IDS].data;
    const int64_t slots = mp_case_slots(c);
    double start = now_ns();

    if (c->scope == MP_SCOPE_COMBINE) {
        status = mp_host_combine(c, &in->t[MP_IN_CACHE3], out, err);
        stage_ns[MP_SUM] += now_ns() - start;
        return status;
    }
    if (c->scope == MP_SCOPE_ACT) {
        if ((status = mp_slot_map_create(c, trace, &map, err)) == MP_OK)
            status = mp_host_activation(c, topk_ids, map.cache_row, &in->t[MP_IN_CACHE1], cache2, err);
        stage_ns[MP_ACT] += now_ns() - start;
        goto out;
    }
    if ((status = mp_ref_align(c, in, trace, err)) != MP_OK) goto out;
    stage_ns[MP_ALIGN] += now_ns() - start;
    if (c->scope == MP_SCOPE_ALIGN) goto out;
    if ((status = mp_slot_map_create(c, trace, &map, err)) != MP_OK) goto out;

    start = now_ns();
    mp_inputs local = *in; /* in place, x lies in the output buffer, where combine will overwrite it */
    if (c->mode == MP_INPLACE) {
        memcpy(out->data, in->t[MP_X].data, mp_tensor_bytes(out));
        local.t[MP_X].data = out->data;
    }
    const mp_gemm_problem gate_up = mp_gate_up_problem(&local, map.x_row, slots);
    const mp_epilogue up = mp_gate_up_epilogue(c, in), down = mp_down_epilogue(c, in);
    if ((status = mp_host_gemm_stage(contract, &gate_up, &up, map.cache_row, cache1, err)) != MP_OK) goto out;
    stage_ns[MP_GATE_UP] += now_ns() - start;

    start = now_ns();
    if ((status = mp_host_activation(c, topk_ids, map.cache_row, cache1, cache2, err)) != MP_OK) goto out;
    stage_ns[MP_ACT] += now_ns() - start;

    start = now_ns();
    mp_tensor cache3 = trace->t[MP_CACHE3];
    if (c->fused_sum) {
        if ((status = mp_tensor_alloc(&scratch, poison, err)) != MP_OK) goto out;
        cache3 = scratch;
    } else if (mp_case_down_writes_out(c)) {
        cache3 = mp_out_as_cache3(c, out);
    }
    const mp_gemm_problem down_problem = mp_down_problem(in, cache2, map.cache_row, slots);
    if ((status = mp_host_gemm_stage(contract, &down_problem, &down, NULL, &cache3, err)) != MP_OK) goto out;
    stage_ns[MP_DOWN] += now_ns() - start;

    start = now_ns();
    if (cache3.data != out->data) status = mp_host_combine(c, &cache3, out, err);
    stage_ns[MP_SUM] += now_ns() - start;
out:
    mp_tensor_free(&scratch);
    free(map.memory);
    return status;
}

mp_status mp_host_predict(const mp_contract *contract, const mp_case *c, const mp_inputs *in,
                          int block_size_m, uint32_t poison, mp_trace *trace, mp_error *err) {
    mp_status status = mp_trace_create(c, block_size_m, poison, trace, err);
    for (int64_t i = 0; status == MP_OK && i < mp_case_chunks(c); i++) {
        const mp_case part = mp_case_chunk(c, i);
        const mp_inputs view = mp_inputs_range(in, i * MP_CHUNK_TOKENS, part.M);
        mp_trace window = mp_trace_chunk(c, trace, i);
        status = run_chunk(contract, &part, &view, poison, &window, trace->stage_ns, err);
    }
    return status;
}

mp_status mp_host_run(const mp_case *c, const mp_inputs *in, int block_size_m, uint32_t poison,
                      mp_trace *trace, mp_error *err) {
    const mp_contract contract = mp_host_contract(c);
    return mp_host_predict(&contract, c, in, block_size_m, poison, trace, err);
}
