#include "kernels/pipeline.h"

#include "kernels/device/params.h"

#define MAX_GRID (INT64_C(1) << 30) /* blocks in one launch; the hardware's limit is 2^31 - 1 */
#define THREADS 256

static int64_t divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Align cuts the slots into segments, a warp each: enough to fill the device, but no more than keep the
 * [keys, segments] table of counts below 2^24 entries. */
static void plan_align(mp_pipeline *p) {
    const int64_t slots = p->chunk_tokens * p->c.topk, keys = p->c.E + 1;
    const int64_t most = (INT64_C(1) << 24) / keys;
    const int64_t wanted = smaller(smaller(divide_up(slots, 128), most), 8192);
    p->segment_slots = divide_up(divide_up(slots, wanted), 32) * 32;
    p->segments = divide_up(slots, p->segment_slots);
    p->scratch[MP_ALIGN_COUNTS] =
        (mp_device_buffer){.name = "align counts", .bytes = (size_t)(keys * p->segments) * 4};
    p->scratch[MP_ALIGN_OFFSETS] =
        (mp_device_buffer){.name = "align offsets", .bytes = (size_t)(keys + 1) * 8};
}

mp_status mp_pipeline_plan(mp_cuda *cuda, const mp_case *c, const mp_config *config, mp_pipeline *p,
                           mp_error *err) {
    *p = (mp_pipeline){.cuda = cuda, .c = *c, .config = *config, .chunk_tokens = mp_case_chunk_tokens(c, 0)};
    mp_inputs inputs;
    mp_inputs_plan(c, &inputs);
    mp_trace_plan(c, config->up.block_size_m, &p->plan);
    const int64_t capacity = p->plan.t[MP_SORTED_TOKEN_IDS].dim[1];
    if (capacity > INT32_MAX)
        return mp_fail(err, MP_EUNSUPPORTED,
                       "sorted_token_ids needs %lld positions; num_tokens_post_padded is an int32",
                       (long long)capacity);
    for (int i = 0; i < MP_INPUT_COUNT; i++)
        p->input[i] =
            (mp_device_buffer){.name = mp_input_name((mp_input)i), .bytes = mp_tensor_bytes(&inputs.t[i])};
    for (int i = 0; i < MP_TRACE_COUNT; i++)
        p->trace[i] = (mp_device_buffer){.name = mp_trace_tensor_name((mp_trace_tensor)i),
                                         .bytes = mp_tensor_bytes(&p->plan.t[i])};
    if (c->mode == MP_INPLACE && p->input[MP_X].bytes) p->trace[MP_OUT].bytes = 0; /* x takes its place */
    if (mp_pipeline_has_stage(p, MP_ALIGN)) plan_align(p);
    return MP_OK;
}

const mp_device_buffer *mp_pipeline_output(const mp_pipeline *p) {
    return p->trace[MP_OUT].bytes ? &p->trace[MP_OUT] : &p->input[MP_X];
}

/* All buffers, one after another, for the functions below. */
static mp_device_buffer *buffer_at(mp_pipeline *p, int i) {
    if (i < MP_INPUT_COUNT) return &p->input[i];
    i -= MP_INPUT_COUNT;
    if (i < MP_TRACE_COUNT) return &p->trace[i];
    return &p->scratch[i - MP_TRACE_COUNT];
}
#define BUFFER_COUNT (MP_INPUT_COUNT + MP_TRACE_COUNT + MP_SCRATCH_COUNT)

size_t mp_pipeline_bytes(const mp_pipeline *p) {
    mp_pipeline copy = *p;
    size_t total = 0;
    for (int i = 0; i < BUFFER_COUNT; i++)
        if (buffer_at(&copy, i)->bytes) total += buffer_at(&copy, i)->bytes + 2 * MP_GUARD_BYTES;
    return total;
}

mp_status mp_pipeline_alloc(mp_pipeline *p, uint32_t poison, mp_error *err) {
    mp_status status = MP_OK;
    for (int i = 0; i < BUFFER_COUNT; i++)
        if (buffer_at(p, i)->bytes) MP_DO(mp_device_buffer_alloc(p->cuda, buffer_at(p, i), poison, err));
out:
    return status;
}

void mp_pipeline_free(mp_pipeline *p) {
    if (!p->cuda) return;
    for (int i = 0; i < BUFFER_COUNT; i++) mp_device_buffer_free(p->cuda, buffer_at(p, i));
}

bool mp_pipeline_has_stage(const mp_pipeline *p, mp_stage stage) {
    const mp_case *c = &p->c;
    switch (stage) {
    case MP_ALIGN: return c->scope == MP_SCOPE_ALL || c->scope == MP_SCOPE_ALIGN;
    case MP_ACT: return c->scope == MP_SCOPE_ALL || c->scope == MP_SCOPE_ACT;
    case MP_SUM:
        return (c->scope == MP_SCOPE_ALL || c->scope == MP_SCOPE_COMBINE) &&
               (c->fused_sum ? (float)c->rsf != 1.0f : !mp_case_down_writes_out(c));
    default: return c->scope == MP_SCOPE_ALL;
    }
}

/* Where a chunk begins: in tokens, in slots, and in the align tensors, which have a row a chunk. */
typedef struct chunk_view {
    int64_t tokens, first_token, slots, first_slot;
    CUdeviceptr topk_ids, sorted_token_ids, expert_ids, num_tokens_post_padded;
} chunk_view;

static chunk_view view_chunk(const mp_pipeline *p, int64_t chunk) {
    const int64_t tokens = mp_case_chunk_tokens(&p->c, chunk), first = chunk * p->chunk_tokens,
                  topk = p->c.topk;
    const mp_tensor *t = p->plan.t;
    return (chunk_view){
        .tokens = tokens,
        .first_token = first,
        .slots = tokens * topk,
        .first_slot = first * topk,
        .topk_ids = p->input[MP_TOPK_IDS].data + (CUdeviceptr)(first * topk * 4),
        .sorted_token_ids =
            p->trace[MP_SORTED_TOKEN_IDS].data + (CUdeviceptr)(chunk * t[MP_SORTED_TOKEN_IDS].dim[1] * 4),
        .expert_ids = p->trace[MP_EXPERT_IDS].data + (CUdeviceptr)(chunk * t[MP_EXPERT_IDS].dim[1] * 4),
        .num_tokens_post_padded = p->trace[MP_NUM_TOKENS_POST_PADDED].data + (CUdeviceptr)(chunk * 4),
    };
}

/* Address of row `row` of a tensor of `length` columns of the case's dtype; 0 stays 0. */
static CUdeviceptr row_address(const mp_pipeline *p, CUdeviceptr data, int64_t row, int64_t length) {
    return data ? data + (CUdeviceptr)(row * length * (int64_t)mp_dtype_size(p->c.dtype)) : 0;
}

static mp_status launch(mp_pipeline *p, const mp_kernel *kernel, int64_t blocks, int threads, void *params,
                        mp_error *err) {
    CUfunction function = NULL;
    const mp_status status = mp_cuda_function(p->cuda, kernel, &function, err);
    return status == MP_OK ? mp_cuda_launch(p->cuda, function, blocks, threads, 0, params, err) : status;
}

static mp_status run_align(mp_pipeline *p, const chunk_view *v, mp_error *err) {
    const mp_driver *driver = p->cuda->driver;
    mp_status status = MP_OK;
    mp_align_params params = {
        .topk_ids = v->topk_ids,
        .counts = p->scratch[MP_ALIGN_COUNTS].data,
        .offsets = p->scratch[MP_ALIGN_OFFSETS].data,
        .sorted_token_ids = v->sorted_token_ids,
        .expert_ids = v->expert_ids,
        .num_tokens_post_padded = v->num_tokens_post_padded,
        .slots = v->slots,
        .capacity = p->plan.t[MP_SORTED_TOKEN_IDS].dim[1],
        .segments = p->segments,
        .segment_slots = p->segment_slots,
        .num_experts = (int)p->c.E,
        .block_size_m = p->config.up.block_size_m,
    };
    const int warps = THREADS / 32;
    const struct {
        const char *entry;
        int64_t blocks;
        int threads;
    } steps[] = {
        {"align_count", divide_up(params.segments, warps), THREADS},
        {"align_scan_segments", divide_up(p->c.E + 1, warps), THREADS},
        {"align_scan_keys", 1, 1024},
        {"align_fill", smaller(divide_up(params.capacity, THREADS), MAX_GRID), THREADS},
        {"align_scatter", divide_up(params.segments, warps), THREADS},
    };
    MP_CU(cuMemsetD32Async(params.counts, 0, p->scratch[MP_ALIGN_COUNTS].bytes / 4, NULL));
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        const mp_kernel kernel = mp_kernel_align(steps[i].entry);
        MP_DO(launch(p, &kernel, steps[i].blocks, steps[i].threads, &params, err));
    }
out:
    return status;
}

static mp_status run_gemm(mp_pipeline *p, const mp_kernel *kernel, const mp_tile *tile,
                          mp_gemm_params *params, mp_error *err) {
    const mp_driver *driver = p->cuda->driver;
    mp_status status = MP_OK;
    CUfunction function = NULL;
    int most_threads = 0;
    const int threads = 32 * tile->num_warps;
    const int64_t shared_bytes = mp_gemm_shared_bytes(tile, p->c.dtype);
    char text[64];
    mp_tile_text(tile, text);
    if (shared_bytes > p->cuda->shared_limit)
        return mp_fail(err, MP_EUNSUPPORTED,
                       "tile %s needs %lld bytes of shared memory in %s, a block of %s can have %lld", text,
                       (long long)shared_bytes, mp_dtype_name(p->c.dtype), p->cuda->name,
                       (long long)p->cuda->shared_limit);
    if (mp_gemm_accumulators(tile) > MP_GEMM_ACCUMULATORS_MAX)
        return mp_fail(err, MP_EUNSUPPORTED,
                       "tile %s needs %d accumulators a thread, which has 255 registers", text,
                       mp_gemm_accumulators(tile));
    MP_DO(mp_cuda_function(p->cuda, kernel, &function, err));
    MP_CU(cuFuncGetAttribute(&most_threads, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, function));
    if (most_threads < threads)
        return mp_fail(err, MP_EUNSUPPORTED, "tile %s has %d threads, its registers leave room for %d", text,
                       threads, most_threads);
    MP_CU(cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (int)shared_bytes));
    /* As many blocks as the padded length could need; those beyond the real one end at once. */
    const int64_t blocks = p->plan.t[MP_EXPERT_IDS].dim[1] * divide_up(params->n, tile->block_size_n);
    for (params->first_block = 0; params->first_block < blocks; params->first_block += MAX_GRID)
        MP_DO(mp_cuda_launch(p->cuda, function, smaller(blocks - params->first_block, MAX_GRID), threads,
                             shared_bytes, params, err));
out:
    return status;
}

static mp_status run_gate_up(mp_pipeline *p, const chunk_view *v, mp_error *err) {
    const mp_case *c = &p->c;
    const bool sorted = c->layout == MP_SORTED;
    mp_gemm_params params = {
        .a = row_address(p, p->input[MP_X].data, v->first_token, c->K),
        .w = p->input[MP_W1].data,
        .bias = p->input[MP_B1].data,
        .topk_weights = c->apply_router_weight_on_input
                            ? p->input[MP_TOPK_WEIGHTS].data + (CUdeviceptr)(v->first_slot * 4)
                            : 0,
        .out = row_address(p, p->trace[MP_CACHE1].data, v->first_slot, mp_case_w1_rows(c)),
        .sorted_token_ids = v->sorted_token_ids,
        .expert_ids = v->expert_ids,
        .num_tokens_post_padded = v->num_tokens_post_padded,
        .slots = v->slots,
        .n = (int)mp_case_w1_rows(c),
        .k = (int)c->K,
        .a_divisor = (int)c->topk,
        .out_divisor = 1,
        .group_size_m = p->config.up.group_size_m,
        .out_sorted = sorted,
    };
    const mp_kernel kernel = mp_kernel_gate_up(c, &p->config);
    return run_gemm(p, &kernel, &p->config.up, &params, err);
}

static mp_status run_activation(mp_pipeline *p, const chunk_view *v, mp_error *err) {
    const mp_case *c = &p->c;
    const bool sorted = c->layout == MP_SORTED;
    const CUdeviceptr cache1 =
        c->scope == MP_SCOPE_ACT ? p->input[MP_IN_CACHE1].data : p->trace[MP_CACHE1].data;
    mp_activation_params params = {
        .cache1 = row_address(p, cache1, v->first_slot, mp_case_w1_rows(c)),
        .cache2 = row_address(p, p->trace[MP_CACHE2].data, v->first_slot, c->N),
        .expert_ids = sorted ? v->expert_ids : v->topk_ids,
        .sorted_token_ids = sorted ? v->sorted_token_ids : 0,
        .num_tokens_post_padded = sorted ? v->num_tokens_post_padded : 0,
        .rows = sorted ? p->plan.t[MP_CACHE1].dim[0] : v->slots,
        .n = c->N,
        .slots = v->slots,
        .expert_step = sorted ? p->config.up.block_size_m : 1,
        .alpha = (float)c->alpha,
        .limit = (float)c->limit,
    };
    const mp_kernel kernel = mp_kernel_activation(c);
    const int64_t vectors = params.rows * (c->N / mp_vector_length(c->dtype, c->N));
    return launch(p, &kernel, smaller(divide_up(vectors, THREADS), MAX_GRID), THREADS, &params, err);
}

static mp_status run_down(mp_pipeline *p, const chunk_view *v, mp_error *err) {
    const mp_case *c = &p->c;
    const mp_driver *driver = p->cuda->driver;
    mp_status status = MP_OK;
    const CUdeviceptr output = mp_pipeline_output(p)->data;
    const int64_t rows_per_token = c->mode == MP_NO_COMBINE ? c->topk : 1; /* of the output */
    const CUdeviceptr out = mp_case_down_writes_out(c)
                                ? row_address(p, output, v->first_token * rows_per_token, c->K)
                                : row_address(p, p->trace[MP_CACHE3].data, v->first_slot, c->K);
    const bool weighted = !c->apply_router_weight_on_input && c->mode != MP_NO_COMBINE;
    mp_gemm_params params = {
        .a = row_address(p, p->trace[MP_CACHE2].data, v->first_slot, c->N),
        .w = p->input[MP_W2].data,
        .bias = p->input[MP_B2].data,
        .topk_weights = weighted ? p->input[MP_TOPK_WEIGHTS].data + (CUdeviceptr)(v->first_slot * 4) : 0,
        .out = out,
        .sorted_token_ids = v->sorted_token_ids,
        .expert_ids = v->expert_ids,
        .num_tokens_post_padded = v->num_tokens_post_padded,
        .slots = v->slots,
        .n = (int)c->K,
        .k = (int)c->N,
        .a_divisor = 1,
        .out_divisor = c->fused_sum ? (int)c->topk : 1,
        .group_size_m = p->config.down.group_size_m,
        .a_sorted = c->layout == MP_SORTED,
    };
    const mp_kernel kernel = mp_kernel_down(c, &p->config);
    if (c->fused_sum)
        MP_CU(cuMemsetD8Async(out, 0, (size_t)(v->tokens * c->K) * mp_dtype_size(c->dtype), NULL));
    MP_DO(run_gemm(p, &kernel, &p->config.down, &params, err));
out:
    return status;
}

mp_cuda_hook_view mp_pipeline_hook_view(const mp_pipeline *p) {
    return (mp_cuda_hook_view){
        .c = &p->c,
        .x = p->input[MP_X].data,
        .topk_weights = p->input[MP_TOPK_WEIGHTS].data,
        .topk_ids = p->input[MP_TOPK_IDS].data,
        .cache1 = p->trace[MP_CACHE1].data,
        .cache2 = p->trace[MP_CACHE2].data,
        .cache3 = mp_case_down_writes_out(&p->c) ? mp_pipeline_output(p)->data : p->trace[MP_CACHE3].data,
    };
}

/* The sum over topk, or after a fused sum the scaling alone. */
static mp_status run_combine(mp_pipeline *p, const chunk_view *v, mp_error *err) {
    const mp_case *c = &p->c;
    const CUdeviceptr out = row_address(p, mp_pipeline_output(p)->data, v->first_token, c->K);
    const CUdeviceptr cache3 =
        c->scope == MP_SCOPE_COMBINE ? p->input[MP_IN_CACHE3].data : p->trace[MP_CACHE3].data;
    mp_combine_params params = {
        .in = c->fused_sum ? out : row_address(p, cache3, v->first_slot, c->K),
        .out = out,
        .tokens = v->tokens,
        .k = c->K,
        .routed_scaling_factor = c->rsf,
    };
    const mp_kernel kernel = mp_kernel_combine(c->dtype, c->fused_sum ? 1 : c->topk, c->K);
    const int64_t vectors = v->tokens * (c->K / mp_vector_length(c->dtype, c->K));
    return launch(p, &kernel, smaller(divide_up(vectors, THREADS), MAX_GRID), THREADS, &params, err);
}

mp_status mp_pipeline_stage(mp_pipeline *p, mp_stage stage, int64_t chunk, mp_error *err) {
    static mp_status (*const run[MP_STAGE_COUNT])(mp_pipeline *, const chunk_view *, mp_error *) = {
        run_align, run_gate_up, run_activation, run_down, run_combine};
    const chunk_view view = view_chunk(p, chunk);
    const mp_status status = run[stage](p, &view, err);
    if (status != MP_OK) mp_error_prefix(err, "stage %s", mp_stage_name(stage));
    return status;
}
