/* SPDX-License-Identifier: Apache-2.0 */
/* gate_up and down: the grouped GEMM of kernels/gemm/. */
#include "kernels/stage/stage.h"

#include "cases/graph_tables.h"
#include "cases/scheme.h"

#include <stdint.h>

/* Rows that lie beyond n, and what lies beyond k, are zeros in shared memory. */
static mp_status map_weights(const mp_driver *driver, const mp_gemm_request *r, const mp_gemm *gemm,
                             mp_gemm_params *p, mp_error *err) {
    enum { PAIR = 2, PAIRS = 4, EIGHT = 8, BOX_EIGHTS = 8 };
    typedef unsigned long long size;
    mp_status status = MP_OK;
    const size element = mp_dtype_bytes(r->codes.present ? r->codes.w : r->dtype, 1),
               row = (size)p->w_row * element, expert = (size)p->w_expert * element, k = (size)p->k * element,
               n = (size)p->n, experts = (size)r->experts;
    const size dims[] = {k, n, experts}, strides[] = {row, expert},
               eights[] = {k, PAIR, n / EIGHT, PAIRS, experts},
               eight_strides[] = {row, EIGHT * row, PAIR * row, expert};
    const unsigned box[] = {128, (unsigned)(gemm->tile.block_size_n / gemm->cluster), 1},
                   box_of_eights[] = {128, PAIR, BOX_EIGHTS, PAIRS, 1}, steps[] = {1, 1, 1, 1, 1};
    const bool interleaved = gemm->w_interleaved;
    MP_CU(cuTensorMapEncodeTiled(&p->w_map, CU_TENSOR_MAP_DATA_TYPE_UINT8, interleaved ? 5 : 3,
                                 (void *)(uintptr_t)p->w, interleaved ? eights : dims,
                                 interleaved ? eight_strides : strides, interleaved ? box_of_eights : box,
                                 steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
out:
    return status;
}

mp_status mp_stage_launch_gemm(const mp_device_run *run, const mp_gemm_request *request, int64_t lists,
                               mp_gemm_params *params, mp_error *err) {
    mp_cuda *cuda = run->cuda;
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    CUfunction function = NULL;
    mp_gemm gemm;
    int most_threads = 0;
    char text[64];
    MP_DO(mp_gemm_find(request, &cuda->limits, &gemm, err));
    mp_tile_text(&gemm.tile, text);
    MP_DO(mp_cuda_function(cuda, &gemm.kernel, &function, err));
    MP_CU(cuFuncGetAttribute(&most_threads, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, function));
    if (most_threads < gemm.threads)
        return mp_fail(err, MP_EUNSUPPORTED, "tile %s has %d threads, its registers leave room for %d", text,
                       gemm.threads, most_threads);
    MP_CU(cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                             (int)gemm.shared_bytes));
    /* As many blocks as the padded length could need; those beyond the real one end at once. */
    const int64_t blocks = lists * params->list_blocks * mp_divide_up(params->n, gemm.tile.block_size_n);
    params->group_size_m = gemm.tile.group_size_m;
    if (gemm.cluster && blocks > 0) {
        const int64_t most = mp_smaller(blocks, cuda->multiprocessors / gemm.cluster) * gemm.cluster;
        MP_DO(map_weights(driver, request, &gemm, params, err));
        status =
            mp_cuda_launch(cuda, run->stream, function, most, gemm.threads, gemm.shared_bytes, params, err);
        goto out;
    }
    for (params->first_block = 0; params->first_block < blocks; params->first_block += MP_MAX_GRID)
        MP_DO(mp_cuda_launch(cuda, run->stream, function,
                             mp_smaller(blocks - params->first_block, MP_MAX_GRID), gemm.threads,
                             gemm.shared_bytes, params, err));
out:
    return status;
}

int mp_stage_gemm_kernel(const mp_gemm_request *request, const mp_device_limits *limits, mp_kernel *list) {
    mp_gemm gemm;
    if (mp_gemm_find(request, limits, &gemm, NULL) != MP_OK) return 0;
    list[0] = gemm.kernel;
    return 1;
}

static mp_status run_gemm(const mp_device_run *run, const mp_stage_call *call, mp_stage stage,
                          mp_gemm_params *params, mp_error *err) {
    const mp_gemm_request request = mp_gemm_of_case(call->c, run->config, stage);
    params->a_row = params->k;
    params->out_row = params->n;
    params->list_blocks = call->t[MP_EXPERT_IDS].dim[1];
    return mp_stage_launch_gemm(run, &request, 1, params, err);
}

/* What both GEMMs have in common. */
static mp_gemm_params gemm_params(const mp_stage_call *call, mp_tensor_id w) {
    const mp_tensor *t = call->t;
    int64_t stride[MP_MAX_RANK];
    mp_case_strides(call->c, w, &t[w], stride);
    return (mp_gemm_params){
        .w = mp_device_address(&t[w]),
        .sorted_token_ids = mp_device_address(&t[MP_SORTED_TOKEN_IDS]),
        .expert_ids = mp_device_address(&t[MP_EXPERT_IDS]),
        .num_tokens_post_padded = mp_device_address(&t[MP_NUM_TOKENS_POST_PADDED]),
        .slots = mp_case_slots(call->c),
        .w_expert = stride[0],
        .w_row = stride[1],
        .out_unaligned = call->c->buffer_offset > 0,
        .a_divisor = 1,
        .out_divisor = 1,
        .max_m = call->c->layout == MP_MASKED ? mp_case_max_m(call->c) : 0,
    };
}

/* Where the scales of codes lie, and the codes of activations. */
static void add_scales(const mp_stage_call *call, mp_stage stage, mp_gemm_params *params) {
    const bool down = stage == MP_DOWN;
    const mp_tensor *t = call->t, *w_scale = &t[down ? MP_W2_SCALE : MP_W1_SCALE],
                    *w_zero = &t[down ? MP_W2_ZERO : MP_W1_ZERO],
                    *w_global = &t[down ? MP_W2_GLOBAL_SCALE : MP_W1_GLOBAL_SCALE],
                    *a_scale = mp_codes_scale(call->c, t, down ? MP_QUANT_ACT : MP_QUANT_X);
    const mp_scheme *s = mp_scheme_of(call->c);
    int64_t stride[MP_MAX_RANK];
    if (!call->c->quant) return;
    mp_case_strides(call->c, down ? MP_W2_SCALE : MP_W1_SCALE, w_scale, stride);
    params->w_scale = mp_device_address(w_scale);
    params->w_scale_expert = stride[0];
    params->w_scale_row = stride[1];
    params->w_scale_group = stride[2];
    params->w_scale_rows = s->block_rows == MP_WHOLE_AXIS ? params->n : (int)s->block_rows;
    params->w_zero = mp_device_address(w_zero);
    params->w_zero_expert = w_zero->dim[1] * w_zero->dim[2];
    params->w_zero_row = w_zero->dim[2];
    if (s->global) {
        params->w_global = mp_device_address(w_global);
        params->w_globals = (int)w_global->dim[1];
        params->w_globals_alternate = call->c->interleaved;
    }
    if (!s->quantises_activations) return;
    if (s->global) params->a_global = mp_device_address(&t[down ? MP_CACHE2_GIVEN_SCALE : MP_X_GIVEN_SCALE]);
    params->a = mp_device_address(&t[down ? MP_CACHE2_CODES : MP_X_CODES]);
    params->a_scale = mp_device_address(a_scale);
    if (s->granularity == MP_PER_TENSOR) return;
    mp_case_strides(call->c, down ? MP_CACHE2_SCALE : MP_X_SCALE, a_scale, stride);
    params->a_scale_row = stride[0];
    params->a_scale_group = stride[1];
}

static mp_status run_gate_up(void *self, const mp_stage_call *call, mp_error *err) {
    const mp_device_run *run = self;
    const mp_case *c = call->c;
    const mp_tensor *t = call->t;
    mp_gemm_params params = gemm_params(call, MP_W1);
    params.a = mp_device_address(&t[MP_X]);
    params.bias = mp_device_address(&t[MP_B1]);
    params.topk_weights = mp_stage_weighs(c, MP_GATE_UP) ? mp_device_address(&t[MP_TOPK_WEIGHTS]) : 0;
    params.out = mp_device_address(&t[MP_CACHE1]);
    params.n = (int)mp_case_w1_rows(c);
    params.k = (int)c->K;
    params.a_divisor = (int)c->topk;
    params.out_sorted = c->layout != MP_ROUTE;
    add_scales(call, MP_GATE_UP, &params);
    return run_gemm(run, call, MP_GATE_UP, &params, err);
}

static mp_status run_down(void *self, const mp_stage_call *call, mp_error *err) {
    const mp_device_run *run = self;
    const mp_case *c = call->c;
    const mp_tensor *t = call->t;
    const mp_driver *driver = run->cuda->driver;
    mp_status status = MP_OK;
    const mp_tensor *out = &t[c->fused_sum ? MP_OUT : mp_stage_output(c, MP_DOWN)];
    mp_gemm_params params = gemm_params(call, MP_W2);
    params.a = mp_device_address(mp_as_read(t, MP_CACHE2));
    params.bias = mp_device_address(&t[MP_B2]);
    params.topk_weights = mp_stage_weighs(c, MP_DOWN) ? mp_device_address(&t[MP_TOPK_WEIGHTS]) : 0;
    params.out = mp_device_address(out);
    params.n = (int)c->K;
    params.k = (int)c->N;
    params.out_divisor = c->fused_sum ? (int)c->topk : 1;
    params.a_sorted = c->layout != MP_ROUTE;
    add_scales(call, MP_DOWN, &params);
    if (c->fused_sum && c->M > 0) MP_CU(cuMemsetD8Async(params.out, 0, mp_tensor_bytes(out), run->stream));
    MP_DO(run_gemm(run, call, MP_DOWN, &params, err));
out:
    return status;
}

static int kernels(const mp_case *c, const mp_config *config, mp_stage stage, const mp_device_limits *limits,
                   mp_kernel *list) {
    const mp_gemm_request request = mp_gemm_of_case(c, config, stage);
    return mp_stage_gemm_kernel(&request, limits, list);
}

static int kernels_gate_up(const mp_case *c, const mp_config *config, const mp_device_limits *limits,
                           mp_kernel *list) {
    return kernels(c, config, MP_GATE_UP, limits, list);
}

static int kernels_down(const mp_case *c, const mp_config *config, const mp_device_limits *limits,
                        mp_kernel *list) {
    return kernels(c, config, MP_DOWN, limits, list);
}

const mp_device_stage mp_device_gate_up = {run_gate_up, kernels_gate_up};
const mp_device_stage mp_device_down = {run_down, kernels_down};
