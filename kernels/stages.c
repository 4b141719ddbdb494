/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/stages.h"

#include "cases/graph_tables.h"
#include "kernels/device/params.h"
#include "kernels/gemm/gemm.h"

#define MAX_GRID (INT64_C(1) << 30) /* blocks in one launch; the hardware's limit is 2^31 - 1 */
#define THREADS 256

static int64_t divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* ---- align ---- */

enum { ALIGN_COUNTS, ALIGN_OFFSETS };
_Static_assert(ALIGN_OFFSETS + 1 == MP_CUDA_SCRATCH_COUNT, "the scratch is align's");

/* Align cuts the slots of a full chunk into segments, a warp each: enough to fill the device, but no more
 * than keep the [keys, segments] table of counts below 2^24 entries. */
typedef struct segments {
    int64_t count, slots; /* of a segment: a multiple of 32 */
} segments;

static segments align_segments(const mp_case *c, int64_t slots) {
    const int64_t most = (INT64_C(1) << 24) / (c->E + 1);
    const int64_t wanted = smaller(smaller(divide_up(slots, 128), most), 8192);
    const int64_t each = divide_up(divide_up(slots, wanted), 32) * 32;
    return (segments){.count = divide_up(slots, each), .slots = each};
}

void mp_cuda_scratch(const mp_case *c, size_t bytes[MP_CUDA_SCRATCH_COUNT]) {
    bytes[ALIGN_COUNTS] = bytes[ALIGN_OFFSETS] = 0;
    if (!mp_case_has_stage(c, MP_ALIGN)) return;
    const int64_t keys = c->E + 1, full = mp_case_chunk_tokens(c, 0) * c->topk;
    bytes[ALIGN_COUNTS] = (size_t)(keys * align_segments(c, full).count) * 4;
    bytes[ALIGN_OFFSETS] = (size_t)(keys + 1) * 8;
}

static mp_status launch(mp_cuda *cuda, const mp_kernel *kernel, int64_t blocks, int threads, void *params,
                        mp_error *err) {
    CUfunction function = NULL;
    const mp_status status = mp_cuda_function(cuda, kernel, &function, err);
    return status == MP_OK ? mp_cuda_launch(cuda, function, blocks, threads, 0, params, err) : status;
}

static mp_status run_align(void *self, const mp_stage_call *call, mp_error *err) {
    const mp_device_run *run = self;
    const mp_driver *driver = run->cuda->driver;
    const mp_case *c = call->c;
    const mp_tensor *t = call->t;
    mp_status status = MP_OK;
    const int64_t slots = mp_case_slots(c);
    const segments cut = align_segments(c, slots);
    mp_align_params params = {
        .topk_ids = mp_device_address(&t[MP_TOPK_IDS]),
        .counts = (CUdeviceptr)(uintptr_t)run->scratch[ALIGN_COUNTS],
        .offsets = (CUdeviceptr)(uintptr_t)run->scratch[ALIGN_OFFSETS],
        .sorted_token_ids = mp_device_address(&t[MP_SORTED_TOKEN_IDS]),
        .expert_ids = mp_device_address(&t[MP_EXPERT_IDS]),
        .num_tokens_post_padded = mp_device_address(&t[MP_NUM_TOKENS_POST_PADDED]),
        .slots = slots,
        .capacity = t[MP_SORTED_TOKEN_IDS].dim[1],
        .segments = cut.count,
        .segment_slots = cut.slots,
        .num_experts = (int)c->E,
        .block_size_m = call->block_size_m,
    };
    const int warps = THREADS / 32;
    const struct {
        const char *entry;
        int64_t blocks;
        int threads;
    } steps[] = {
        {"align_count", divide_up(params.segments, warps), THREADS},
        {"align_scan_segments", divide_up(c->E + 1, warps), THREADS},
        {"align_scan_keys", 1, 1024},
        {"align_fill", smaller(divide_up(params.capacity, THREADS), MAX_GRID), THREADS},
        {"align_scatter", divide_up(params.segments, warps), THREADS},
    };
    MP_CU(cuMemsetD32Async(params.counts, 0, (size_t)((c->E + 1) * cut.count), NULL));
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        const mp_kernel kernel = mp_kernel_align(steps[i].entry);
        MP_DO(launch(run->cuda, &kernel, steps[i].blocks, steps[i].threads, &params, err));
    }
out:
    return status;
}

/* ---- the GEMMs ---- */

static mp_status run_gemm(const mp_device_run *run, const mp_stage_call *call, mp_stage stage,
                          mp_gemm_params *params, mp_error *err) {
    mp_cuda *cuda = run->cuda;
    const mp_driver *driver = cuda->driver;
    const mp_gemm_request request = mp_gemm_of_case(call->c, run->config, stage);
    mp_status status = MP_OK;
    CUfunction function = NULL;
    mp_gemm gemm;
    int most_threads = 0;
    char text[64];
    mp_tile_text(&request.tile, text);
    MP_DO(mp_gemm_find(&request, &cuda->limits, &gemm, err));
    MP_DO(mp_cuda_function(cuda, &gemm.kernel, &function, err));
    MP_CU(cuFuncGetAttribute(&most_threads, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, function));
    if (most_threads < gemm.threads)
        return mp_fail(err, MP_EUNSUPPORTED, "tile %s has %d threads, its registers leave room for %d", text,
                       gemm.threads, most_threads);
    MP_CU(cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                             (int)gemm.shared_bytes));
    /* As many blocks as the padded length could need; those beyond the real one end at once. */
    const int64_t blocks = call->t[MP_EXPERT_IDS].dim[1] * divide_up(params->n, request.tile.block_size_n);
    params->group_size_m = request.tile.group_size_m;
    for (params->first_block = 0; params->first_block < blocks; params->first_block += MAX_GRID)
        MP_DO(mp_cuda_launch(cuda, function, smaller(blocks - params->first_block, MAX_GRID), gemm.threads,
                             gemm.shared_bytes, params, err));
out:
    return status;
}

/* What both GEMMs have in common. */
static mp_gemm_params gemm_params(const mp_stage_call *call) {
    const mp_tensor *t = call->t;
    return (mp_gemm_params){
        .sorted_token_ids = mp_device_address(&t[MP_SORTED_TOKEN_IDS]),
        .expert_ids = mp_device_address(&t[MP_EXPERT_IDS]),
        .num_tokens_post_padded = mp_device_address(&t[MP_NUM_TOKENS_POST_PADDED]),
        .slots = mp_case_slots(call->c),
        .a_divisor = 1,
        .out_divisor = 1,
    };
}

static mp_status run_gate_up(void *self, const mp_stage_call *call, mp_error *err) {
    const mp_device_run *run = self;
    const mp_case *c = call->c;
    const mp_tensor *t = call->t;
    mp_gemm_params params = gemm_params(call);
    params.a = mp_device_address(&t[MP_X]);
    params.w = mp_device_address(&t[MP_W1]);
    params.bias = mp_device_address(&t[MP_B1]);
    params.topk_weights = c->apply_router_weight_on_input ? mp_device_address(&t[MP_TOPK_WEIGHTS]) : 0;
    params.out = mp_device_address(&t[MP_CACHE1]);
    params.n = (int)mp_case_w1_rows(c);
    params.k = (int)c->K;
    params.a_divisor = (int)c->topk;
    params.out_sorted = c->layout == MP_SORTED;
    return run_gemm(run, call, MP_GATE_UP, &params, err);
}

static mp_status run_down(void *self, const mp_stage_call *call, mp_error *err) {
    const mp_device_run *run = self;
    const mp_case *c = call->c;
    const mp_tensor *t = call->t;
    const mp_driver *driver = run->cuda->driver;
    mp_status status = MP_OK;
    const bool weighted = !c->apply_router_weight_on_input && c->mode != MP_NO_COMBINE;
    const mp_tensor *out = &t[c->fused_sum ? MP_OUT : mp_stage_output(c, MP_DOWN)];
    mp_gemm_params params = gemm_params(call);
    params.a = mp_device_address(&t[MP_CACHE2]);
    params.w = mp_device_address(&t[MP_W2]);
    params.bias = mp_device_address(&t[MP_B2]);
    params.topk_weights = weighted ? mp_device_address(&t[MP_TOPK_WEIGHTS]) : 0;
    params.out = mp_device_address(out);
    params.n = (int)c->K;
    params.k = (int)c->N;
    params.out_divisor = c->fused_sum ? (int)c->topk : 1;
    params.a_sorted = c->layout == MP_SORTED;
    if (c->fused_sum) MP_CU(cuMemsetD8Async(params.out, 0, mp_tensor_bytes(out), NULL));
    MP_DO(run_gemm(run, call, MP_DOWN, &params, err));
out:
    return status;
}

/* ---- activation and combine ---- */

static mp_status run_activation(void *self, const mp_stage_call *call, mp_error *err) {
    const mp_device_run *run = self;
    const mp_case *c = call->c;
    const mp_tensor *t = call->t, *cache1 = mp_as_read(t, MP_CACHE1);
    const bool sorted = c->layout == MP_SORTED;
    mp_activation_params params = {
        .cache1 = mp_device_address(cache1),
        .cache2 = mp_device_address(&t[MP_CACHE2]),
        .expert_ids = mp_device_address(&t[sorted ? MP_EXPERT_IDS : MP_TOPK_IDS]),
        .sorted_token_ids = sorted ? mp_device_address(&t[MP_SORTED_TOKEN_IDS]) : 0,
        .num_tokens_post_padded = sorted ? mp_device_address(&t[MP_NUM_TOKENS_POST_PADDED]) : 0,
        .rows = cache1->dim[0],
        .n = c->N,
        .slots = mp_case_slots(c),
        .expert_step = sorted ? call->block_size_m : 1,
        .alpha = (float)c->alpha,
        .limit = (float)c->limit,
    };
    const mp_kernel kernel = mp_kernel_activation(c);
    const int64_t vectors = params.rows * (c->N / mp_vector_length(mp_case_dtype(c, MP_CACHE2), c->N));
    return launch(run->cuda, &kernel, smaller(divide_up(vectors, THREADS), MAX_GRID), THREADS, &params, err);
}

/* The sum over topk, or after a fused sum the scaling alone. */
static mp_status run_combine(void *self, const mp_stage_call *call, mp_error *err) {
    const mp_device_run *run = self;
    const mp_case *c = call->c;
    const mp_tensor *t = call->t;
    if (c->fused_sum && (float)c->rsf == 1.0f) return MP_OK;
    const mp_dtype dtype = mp_case_dtype(c, MP_OUT);
    mp_combine_params params = {
        .in = mp_device_address(c->fused_sum ? &t[MP_OUT] : mp_as_read(t, MP_CACHE3)),
        .out = mp_device_address(&t[MP_OUT]),
        .tokens = c->M,
        .k = c->K,
        .routed_scaling_factor = c->rsf,
    };
    const mp_kernel kernel = mp_kernel_combine(dtype, c->fused_sum ? 1 : c->topk, c->K);
    const int64_t vectors = params.tokens * (c->K / mp_vector_length(dtype, c->K));
    return launch(run->cuda, &kernel, smaller(divide_up(vectors, THREADS), MAX_GRID), THREADS, &params, err);
}

mp_executor mp_device_executor(mp_device_run *run) {
    return (mp_executor){.self = run,
                         .stage = {[MP_ALIGN] = run_align,
                                   [MP_GATE_UP] = run_gate_up,
                                   [MP_ACT] = run_activation,
                                   [MP_DOWN] = run_down,
                                   [MP_SUM] = run_combine}};
}
