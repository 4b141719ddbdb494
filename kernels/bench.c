/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/bench.h"

#include "cases/fill.h"
#include "cases/graph_tables.h"
#include "cases/lora.h"
#include "cases/numbering.h"
#include "cases/scheme.h"
#include "kernels/device/params.h"
#include "kernels/gemm/gemm.h"
#include "kernels/rates.h"
#include "kernels/stages.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static int compare_floats(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double median(float *values, int count) {
    qsort(values, (size_t)count, sizeof *values, compare_floats);
    return count % 2 ? (double)values[count / 2]
                     : ((double)values[count / 2 - 1] + (double)values[count / 2]) / 2;
}

/* Launches a fill of tools.cu; dtype: of the elements that it makes. */
static mp_status fill(mp_cuda *cuda, const char *entry, mp_dtype dtype, mp_tool_params params,
                      mp_error *err) {
    CUfunction function = NULL;
    const mp_kernel kernel = mp_kernel_tool(entry, dtype);
    const int64_t blocks = 16 * (int64_t)cuda->multiprocessors;
    const mp_status status = mp_cuda_function(cuda, &kernel, &function, err);
    return status == MP_OK ? mp_cuda_launch(cuda, NULL, function, blocks, 256, 0, &params, err) : status;
}

/* What scales codes, and which adapters are enabled: few numbers, as the case's own inputs have them. */
static mp_status fill_from_host(mp_cuda *cuda, const mp_case *c, mp_tensor_id id, const mp_tensor *t,
                                mp_error *err) {
    const mp_space *space = mp_cuda_space(cuda);
    mp_case normal = *c;
    mp_tensor made = *t;
    normal.data = MP_NORMAL;
    mp_status status = mp_tensor_alloc(&made, 0, err);
    if (status == MP_OK && id == MP_ADAPTER_ENABLED)
        mp_fill_adapter_enabled(&normal, &made);
    else if (status == MP_OK)
        mp_fill_tensor(&normal, id, &made);
    if (status == MP_OK) status = space->write(space->self, t->data, made.data, mp_tensor_bytes(t), err);
    mp_tensor_free(&made);
    return status;
}

/* The share of slots that go to none of this rank's experts. */
static double share_nowhere(const mp_case *c) {
    return c->ep_size > 1 ? 1 - 1.0 / (double)c->ep_size : c->filter;
}

static mp_status fill_input(mp_cuda *cuda, const mp_case *c, mp_tensor_id id, const mp_tensor *t,
                            mp_error *err) {
    const bool of_token = id == MP_TOKEN_LORA;
    mp_tool_params params = {
        .data = mp_device_address(t),
        .count = (long long)mp_tensor_count(t),
        .seed = 0x100 + (unsigned long long)id,
        .num_experts = (int)(of_token ? c->lora_adapters : c->E),
        .nowhere = of_token ? 0 : (float)share_nowhere(c),
        .scale = (float)(id == MP_W1   ? 1.0 / sqrt((double)c->K)
                         : id == MP_W2 ? 1.0 / sqrt((double)c->N)
                                       : 1.0),
        .nan_code = t->dtype == MP_E4M3 ? 0x7F : -1, /* no other format of codes has one */
    };
    if (id == MP_ADAPTER_ENABLED || mp_scaled_tensor(id) != MP_TENSOR_COUNT)
        return fill_from_host(cuda, c, id, t, err);
    if (id == MP_TOPK_IDS || of_token) return fill(cuda, "fill_ids", MP_FP32, params, err);
    if (!mp_tensor_has_codes(c, id)) return fill(cuda, "fill_elements", t->dtype, params, err);
    params.count = (long long)mp_tensor_bytes(t);
    return fill(cuda, "fill_codes", MP_FP32, params, err);
}

/* Random inputs, made on the device. */
static mp_status fill_inputs(mp_cuda *cuda, const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT],
                             mp_error *err) {
    const mp_tensor_set inputs = mp_case_inputs(c);
    mp_status status = MP_OK;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++)
        if (inputs & MP_IN_SET(id)) status = fill_input(cuda, c, (mp_tensor_id)id, &t[id], err);
    return status;
}

/* The tensors of the case, and the scratch, in device memory. */
typedef struct buffers {
    mp_tensor t[MP_TENSOR_COUNT];
    void *scratch[MP_CUDA_SCRATCH_COUNT];
} buffers;

static mp_status buffers_create(mp_cuda *cuda, const mp_case *c, const mp_config *config, buffers *b,
                                mp_error *err) {
    const mp_space *space = mp_cuda_space(cuda);
    const mp_tensor_set all = mp_case_inputs(c) | mp_case_outputs(c);
    size_t scratch_bytes[MP_CUDA_SCRATCH_COUNT];
    mp_status status = MP_OK;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        if (!(all & MP_IN_SET(id))) continue;
        mp_tensor *t = &b->t[id];
        *t = mp_case_shape(c, (mp_tensor_id)id, config->up.block_size_m);
        status = space->alloc(space->self, mp_tensor_bytes(t), MP_POISON_A, &t->data, err);
    }
    mp_cuda_scratch(c, scratch_bytes);
    for (int i = 0; i < MP_CUDA_SCRATCH_COUNT && status == MP_OK; i++)
        if (scratch_bytes[i])
            status = space->alloc(space->self, scratch_bytes[i], MP_POISON_A, &b->scratch[i], err);
    return status;
}

static void buffers_destroy(mp_cuda *cuda, buffers *b) {
    const mp_space *space = mp_cuda_space(cuda);
    for (int id = 0; id < MP_TENSOR_COUNT; id++) space->free(space->self, b->t[id].data);
    for (int i = 0; i < MP_CUDA_SCRATCH_COUNT; i++) space->free(space->self, b->scratch[i]);
    *b = (buffers){0};
}

/* Median stage times of `repeats` runs after a warm-up. In place is timed out of place: it is the same work.
 */
static mp_status time_stages(mp_cuda *cuda, const mp_case *c, const mp_config *config, int repeats,
                             float *times, double stage_ms[MP_STAGE_COUNT], mp_error *err) {
    buffers b = {0};
    mp_status status = MP_OK;
    MP_DO(buffers_create(cuda, c, config, &b, err));
    MP_DO(fill_inputs(cuda, c, b.t, err));
    for (int i = -1; i < repeats; i++) { /* -1: warm-up */
        double stage_ns[MP_STAGE_COUNT] = {0};
        MP_DO(mp_cuda_run(cuda, c, config, b.t, b.scratch, true, stage_ns, err));
        for (int s = 0; s < MP_STAGE_COUNT && i >= 0; s++)
            times[s * repeats + i] = (float)(stage_ns[s] * 1e-6);
    }
    for (int s = 0; s < MP_STAGE_COUNT; s++)
        stage_ms[s] = mp_case_has_stage(c, (mp_stage)s) ? median(times + s * repeats, repeats) : 0;
out:
    buffers_destroy(cuda, &b);
    return status;
}

/* Bytes that a stage has to move: of the tensors each once, and of a cache the rows of slots that go to an
 * expert. */
static double moved_bytes(const mp_case *c, mp_tensor_set moved, int block_size_m) {
    double bytes = 0;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const mp_tensor t = mp_case_shape(c, (mp_tensor_id)id, block_size_m);
        if (!(moved & MP_IN_SET(id))) continue;
        bytes += mp_tensors[id].rows == MP_ROWS_CACHE
                     ? (1 - share_nowhere(c)) * (double)mp_case_slots(c) * (double)mp_tensor_row_bytes(&t)
                     : (double)mp_tensor_bytes(&t);
    }
    return bytes;
}

static double act_bytes(const mp_case *c, int block_size_m) {
    const mp_tensor_set made = c->fused_quant ? mp_stage_writes(c, MP_QUANT_ACT) : MP_IN_SET(MP_CACHE2);
    return moved_bytes(c, MP_IN_SET(MP_CACHE1) | made, block_size_m);
}

static double quantised_bytes(const mp_case *c, mp_stage stage, int block_size_m) {
    const mp_tensor_id numbers = stage == MP_QUANT_X ? MP_X : MP_CACHE2;
    return moved_bytes(c, mp_stage_writes(c, stage) | MP_IN_SET(numbers), block_size_m);
}

/* The tile with the stages that it was built with. */
static void built_tile(const mp_cuda *cuda, const mp_case *c, const mp_config *config, mp_stage stage,
                       char text[64]) {
    const mp_gemm_request request = mp_gemm_of_case(c, config, stage);
    mp_gemm gemm = {.tile = request.tile, .stages = request.tile.num_stages};
    mp_gemm_find(&request, &cuda->limits, &gemm, NULL); /* it has run */
    gemm.tile.num_stages = gemm.stages;
    mp_tile_text(&gemm.tile, text);
}

mp_status mp_cuda_bench(mp_cuda *cuda, const mp_case *c, const mp_config *config, int repeats,
                        size_t copy_bytes, mp_cuda_bench_result *result, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    char up[64], down[64];
    double copy_rate = 0;
    *result = (mp_cuda_bench_result){0};
    if (c->scope != MP_SCOPE_ALL || c->path == MP_CHUNKED || repeats < 1)
        return mp_fail(
            err, MP_EINPUT,
            "bench needs scope=all, path=fused or runner and at least 1 repeat, not scope=%s path=%s and %d",
            mp_scope_name(c->scope), mp_path_name(c->path), repeats);
    if (mp_case_numbers_ids(c) || mp_case_places(c) || mp_lora_has_segments(c))
        return mp_fail(err, MP_EINPUT,
                       "bench times packed tensors, the ids of this rank and adapters by token: remove "
                       "expert_map, sentinel, "
                       "weight_row_gap, weight_expert_gap, buffer_offset, scale_layout and lora_map");
    float *times = malloc((size_t)repeats * MP_STAGE_COUNT * sizeof *times);
    if (!times) return mp_fail(err, MP_EMEMORY, "times of %d repeats", repeats);

    MP_CU(cuCtxSetCurrent(cuda->context));
    MP_DO(time_stages(cuda, c, config, repeats, times, result->stage_ms, err));
    MP_DO(mp_cuda_rate_of_copies(cuda, copy_bytes, &copy_rate, err));

    const double slots = (double)mp_case_slots(c), went = (1 - share_nowhere(c)) * slots,
                 size = (double)mp_dtype_size(c->dtype), K = (double)c->K, *ms = result->stage_ms;
    result->gemm_tflops = 2 * went * mp_case_products(c) / (ms[MP_GATE_UP] + ms[MP_DOWN]) * 1e-9;
    result->act_gbs = act_bytes(c, config->up.block_size_m) / ms[MP_ACT] * 1e-6;
    if (ms[MP_COMBINE] > 0) {
        const double read = c->fused_sum ? (double)c->M : slots;
        result->combine_gbs = (read + (double)c->M) * K * size / ms[MP_COMBINE] * 1e-6;
    }
    for (int i = 0; i < 2; i++) {
        const mp_stage stage = i ? MP_QUANT_ACT : MP_QUANT_X;
        if (ms[stage] > 0 && !(i && c->fused_quant)) /* which act does */
            result->quant_gbs[i] = quantised_bytes(c, stage, config->up.block_size_m) / ms[stage] * 1e-6;
    }
    result->copy_gbs = copy_rate * 1e-9;
    built_tile(cuda, c, config, MP_GATE_UP, up);
    built_tile(cuda, c, config, MP_DOWN, down);
    snprintf(result->config, sizeof result->config, "%s + %s (%s)", up, down, config->source);
out:
    free(times);
    return status;
}
