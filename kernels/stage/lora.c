/* SPDX-License-Identifier: Apache-2.0 */
/* LoRA's shrink and expand: the grouped GEMM of kernels/gemm/ on the lists of slots that align makes for each
 * adapter. An expand is launched for each slice, as its operands lie apart. */
#include "cases/lora.h"

#include "cases/graph_tables.h"
#include "kernels/stage/stage.h"

/* A stage as a GEMM: out[slot, n] += or = sum_k in[slot, k] * factor[adapter, expert, n, k]. */
typedef struct product {
    bool up, shrinks;
    mp_tensor_id factor;
    int64_t slices; /* that are launched: a shrink makes all of them in one */
    int64_t n, k;
} product;

static product product_of(const mp_case *c, mp_stage stage) {
    const bool up = stage == MP_SHRINK_GATE_UP || stage == MP_EXPAND_GATE_UP,
               shrinks = stage == MP_SHRINK_GATE_UP || stage == MP_SHRINK_DOWN;
    const int64_t slices = up ? mp_lora_slices(c) : 1;
    return (product){
        .up = up,
        .shrinks = shrinks,
        .factor = shrinks ? up ? MP_LORA_A1 : MP_LORA_A2
                  : up    ? MP_LORA_B1
                          : MP_LORA_B2,
        .slices = shrinks ? 1 : slices,
        .n = shrinks ? slices * c->lora_rank
             : up    ? c->N
                     : c->K,
        .k = !shrinks ? c->lora_rank
             : up     ? c->K
                      : c->N,
    };
}

static int power_of_two(int64_t at_least, int least, int most) {
    int power = least;
    while (power < most && power < at_least) power *= 2;
    return power;
}

/* The lists are padded to blocks of BLOCK_SIZE_M. As in published kernels n and k are cut into 64, or fewer
 * where there are not so many; k of float32 into half of that, for shared memory. */
static mp_gemm_request request_of(const mp_case *c, const mp_config *config, mp_stage stage) {
    const product p = product_of(c, stage);
    return (mp_gemm_request){
        .tile = {.block_size_m = config->up.block_size_m,
                 .block_size_n = power_of_two(p.n, 16, 64),
                 .block_size_k = power_of_two(p.k, 32, c->dtype == MP_FP32 ? 32 : 64),
                 .group_size_m = 1,
                 .num_warps = 4,
                 .num_stages = 3},
        .dtype = c->dtype,
        .row_length = p.k,
        .unaligned = c->buffer_offset * (int64_t)mp_dtype_size(c->dtype) % 16 != 0,
        .adapters = true,
        .adds = !p.shrinks,
    };
}

/* Rows without an adapter are zeros of a shrink, and of an expand what it adds to. */
static mp_status prepare_rows(const mp_device_run *run, const mp_tensor *base, const mp_tensor *out,
                              mp_error *err) {
    const mp_driver *driver = run->cuda->driver;
    const size_t bytes = mp_tensor_bytes(out);
    mp_status status = MP_OK;
    if (bytes == 0) return MP_OK;
    if (base)
        MP_CU(cuMemcpyDtoDAsync_v2(mp_device_address(out), mp_device_address(base), bytes, run->stream));
    else
        MP_CU(cuMemsetD8Async(mp_device_address(out), 0, bytes, run->stream));
out:
    return status;
}

static mp_status launch(const mp_device_run *run, const mp_stage_call *call, mp_stage stage, mp_error *err) {
    const mp_case *c = call->c;
    const mp_tensor *t = call->t;
    const product p = product_of(c, stage);
    const mp_tensor *a =
        p.shrinks ? p.up ? &t[MP_X] : mp_as_read(t, MP_CACHE2) : &t[p.up ? MP_LORA_H1 : MP_LORA_H2];
    const mp_tensor *base = p.shrinks ? NULL : &t[p.up ? MP_CACHE1 : MP_CACHE3];
    const mp_tensor *out = &t[mp_stage_output(c, stage)], *factor = &t[p.factor];
    const mp_gemm_request request = request_of(c, run->config, stage);
    const bool alternates = !p.shrinks && p.up && c->interleaved;
    const int64_t size = (int64_t)mp_dtype_size(c->dtype), w_expert = factor->dim[1] * factor->dim[2],
                  experts = mp_lora_experts(c, p.factor);
    mp_gemm_params params = {
        .topk_weights = mp_stage_weighs(c, stage) ? mp_device_address(&t[MP_TOPK_WEIGHTS]) : 0,
        .sorted_token_ids = mp_device_address(&t[MP_LORA_SORTED_IDS]),
        .expert_ids = mp_device_address(&t[MP_LORA_EXPERT_IDS]),
        .num_tokens_post_padded = mp_device_address(&t[MP_LORA_NUM_PADDED]),
        .w_expert = experts == 1 ? 0 : w_expert, /* the only one is every expert's */
        .w_row = p.k,
        .slots = mp_case_slots(c),
        .n = (int)p.n,
        .k = (int)p.k,
        .a_divisor = stage == MP_SHRINK_GATE_UP ? (int)c->topk : 1,
        .out_divisor = 1,
        .out_unaligned = c->buffer_offset > 0 || alternates,
        .a_row = p.slices * p.k,
        .out_row = p.slices * p.n,
        .w_list = experts * w_expert,
        .list_positions = t[MP_LORA_SORTED_IDS].dim[2],
        .list_blocks = t[MP_LORA_EXPERT_IDS].dim[2],
        .out_step = alternates ? (int)p.slices : 1,
    };
    mp_status status = prepare_rows(run, base, out, err);
    for (int64_t s = 0; status == MP_OK && s < p.slices; s++) {
        params.a = mp_device_address(a) + (CUdeviceptr)(s * p.k * size);
        params.w = mp_device_address(factor) + (CUdeviceptr)(s * p.n * p.k * size);
        params.out = mp_device_address(out) + (CUdeviceptr)(s * (alternates ? 1 : p.n) * size);
        status = mp_stage_launch_gemm(run, &request, c->lora_adapters, &params, err);
    }
    return status;
}

static int kernels(const mp_case *c, const mp_config *config, const mp_device_limits *limits, mp_stage stage,
                   mp_kernel *list) {
    const mp_gemm_request request = request_of(c, config, stage);
    return mp_stage_gemm_kernel(&request, limits, list);
}

#define LORA_STAGE(stage, name)                                                                          \
    static mp_status launch_##name(void *self, const mp_stage_call *call, mp_error *err) {               \
        return launch(self, call, stage, err);                                                           \
    }                                                                                                    \
    static int kernels_##name(const mp_case *c, const mp_config *config, const mp_device_limits *limits, \
                              mp_kernel *list) {                                                         \
        return kernels(c, config, limits, stage, list);                                                  \
    }                                                                                                    \
    const mp_device_stage mp_device_##name = {launch_##name, kernels_##name};
LORA_STAGE(MP_SHRINK_GATE_UP, shrink_gate_up)
LORA_STAGE(MP_EXPAND_GATE_UP, expand_gate_up)
LORA_STAGE(MP_SHRINK_DOWN, shrink_down)
LORA_STAGE(MP_EXPAND_DOWN, expand_down)
