/* SPDX-License-Identifier: Apache-2.0 */
/* The float64 pipeline on the device, from the inputs to the figures of the final output: what one stage
 * leaves the next one reads there, slab by slab of tokens, and a few numbers a token come back. Of the case's
 * activations none may be quantised. */
#include "cases/scheme.h"
#include "offload/device/steps.h"
#include "offload/grouped_gemm.h"
#include "ref/activation.h"
#include "ref/combine.h"
#include "ref/pipeline.h"

#include <math.h>
#include <stdlib.h>

#define STEPS_SOURCE "offload/device/steps.cu"

/* What the stages of a slab leave takes at most; a few slabs decode the weights a few times. */
#define MOST_SLAB_BYTES ((size_t)4 << 30)

typedef struct pipeline {
    mp_offload *o;
    mp_case c; /* in the order of slots */
    const mp_tensor *t;
    mp_slot_map map;
    int64_t slab; /* tokens */
    CUdeviceptr topk_ids, weights, shared, bias[2], stored;
} pipeline;

static CUdeviceptr scratch(const pipeline *p, mp_scratch which) {
    return p->o->scratch[which].at;
}

/* Threads that take an element each, in turns where those are many. */
static mp_status launch(const pipeline *p, const char *entry, int64_t elements, void *params, mp_error *err) {
    const int64_t blocks = (elements + MP_ELEMENT_THREADS - 1) / MP_ELEMENT_THREADS;
    return mp_offload_launch(p->o, STEPS_SOURCE, entry, mp_blocks_in_turn(blocks), MP_ELEMENT_THREADS, params,
                             err);
}

/* ---- memory ---- */

static size_t bytes_of_slot(const mp_case *c) {
    return (size_t)(mp_case_w1_rows(c) + c->N + c->K) * sizeof(double);
}

static mp_status make_room(pipeline *p, mp_error *err) {
    mp_offload *o = p->o;
    const mp_case *c = &p->c;
    const size_t of_token = (size_t)c->topk * bytes_of_slot(c);
    size_t budget = 0;
    mp_status status = MP_OK;
    MP_DO(mp_offload_budget(o, &budget, err));
    const size_t most = budget / 2 < MOST_SLAB_BYTES ? budget / 2 : MOST_SLAB_BYTES;
    p->slab = (int64_t)(most / of_token) < c->M ? (int64_t)(most / of_token) : c->M;
    if (p->slab < 1) {
        status = mp_fail(err, MP_EMEMORY, "a token takes %zu bytes of the device; %zu may be taken", of_token,
                         budget);
        goto out;
    }
    const size_t slots = (size_t)(p->slab * c->topk), number = sizeof(double);
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_GATE_UP], slots * (size_t)mp_case_w1_rows(c) * number,
                             err));
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_ACT], slots * (size_t)c->N * number, err));
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_DOWN], slots * (size_t)c->K * number, err));
    MP_DO(
        mp_offload_reserve(o, &o->scratch[MP_SCRATCH_FIGURES], (size_t)c->M * sizeof(mp_token_figures), err));
out:
    return status;
}

/* What steps read beside the slab's numbers, and the output. */
static mp_status bring_inputs(pipeline *p, const mp_tensor *out, mp_error *err) {
    static const mp_tensor_id ids[] = {MP_TOPK_IDS, MP_TOPK_WEIGHTS, MP_SHARED_OUTPUT, MP_B1, MP_B2};
    CUdeviceptr *const at[] = {&p->topk_ids, &p->weights, &p->shared, &p->bias[0], &p->bias[1]};
    mp_status status = MP_OK;
    for (int i = 0; i < 5 && status == MP_OK; i++)
        if (p->t[ids[i]].data)
            status = mp_offload_upload(p->o, &p->t[ids[i]], MP_SCRATCH_INPUT + (mp_scratch)i, at[i], err);
    if (status == MP_OK) status = mp_offload_upload(p->o, out, MP_SCRATCH_GOT, &p->stored, err);
    return status;
}

/* ---- a slab: tokens first .. first+count ---- */

/* gate_up or down, and its epilogue, of slots first .. first+count of the case. */
static mp_status multiply(const pipeline *p, mp_stage stage, int64_t first, int64_t count, mp_scratch to,
                          mp_error *err) {
    const mp_case *c = &p->c;
    const bool up = stage == MP_GATE_UP;
    const mp_stage_call call = {.c = c, .t = p->t, .map = &p->map};
    mp_gemm_problem problem = mp_gemm_of_stage(&call, stage).problem;
    const mp_tensor left = mp_tensor_shape(MP_FP64, 2, count, c->N, 1); /* by the activation */
    problem.topk_ids += first;
    problem.slots = count;
    problem.a_row = up ? p->map.x_row + first : p->map.cache_row; /* whose rows are the slab's */
    if (!up) problem.a = (mp_operand){.codes = &left};
    mp_grouped_gemm g = {.o = p->o,
                         .p = &problem,
                         .a_there = up ? 0 : scratch(p, MP_SCRATCH_ACT),
                         .staying = 1, /* none of them lands */
                         .beside = (size_t)(p->slab * c->topk) * bytes_of_slot(c)};
    mp_epilogue64_params params = {
        .topk_ids = p->topk_ids + (size_t)first * sizeof(int32_t),
        .weights = mp_stage_weighs(c, stage) ? p->weights + (size_t)first * sizeof(float) : 0,
        .bias = p->bias[!up],
        .to = scratch(p, to),
        .width = problem.w.codes->dim[1]};
    if (params.bias) params.bias_format = mp_describe_format(p->t[up ? MP_B1 : MP_B2].dtype);
    mp_piece piece = {0};
    mp_status status = mp_grouped_gemm_order(&g, err);
    if (status != MP_OK || g.block_count == 0) goto out;
    MP_DO(mp_grouped_gemm_prepare(&g, err));
    while (mp_grouped_gemm_next(&g, &piece)) {
        MP_DO(mp_grouped_gemm_sum(&g, &piece, err));
        params.sums = scratch(p, MP_SCRATCH_RESULTS);
        params.slots =
            scratch(p, MP_SCRATCH_SLOTS) + (size_t)mp_grouped_gemm_first(&g, &piece) * sizeof(int64_t);
        params.rows = piece.rows;
        params.n = piece.n;
        params.n0 = piece.n0;
        MP_DO(launch(p, "epilogue", piece.rows * piece.n, &params, err));
    }
out:
    mp_grouped_gemm_end(&g);
    return status;
}

static mp_status activate(const pipeline *p, int64_t slots, mp_error *err) {
    const mp_case *c = &p->c;
    mp_act64_params params = {.from = scratch(p, MP_SCRATCH_GATE_UP),
                              .to = scratch(p, MP_SCRATCH_ACT),
                              .act = mp_act_form_of(c),
                              .slots = slots,
                              .N = c->N,
                              .width = mp_case_w1_rows(c),
                              .step = mp_gate_column(c, 1) - mp_gate_column(c, 0),
                              .up = mp_up_column(c, 0) - mp_gate_column(c, 0)};
    return launch(p, "activate", slots * c->N, &params, err);
}

static mp_status measure(const pipeline *p, int64_t first, int64_t count, mp_dtype stored, mp_error *err) {
    const mp_case *c = &p->c;
    const size_t slot = (size_t)(first * c->topk);
    mp_output64_params params = {
        .rows = scratch(p, MP_SCRATCH_DOWN),
        .topk_ids = p->topk_ids + slot * sizeof(int32_t),
        .weights = mp_stage_weighs(c, MP_COMBINE) ? p->weights + slot * sizeof(float) : 0,
        .shared = p->shared,
        .stored = p->stored,
        .figures = scratch(p, MP_SCRATCH_FIGURES) + (size_t)first * sizeof(mp_token_figures),
        .stored_format = mp_describe_format(stored),
        .rsf = mp_combine_rsf(c),
        .tokens = count,
        .topk = c->topk,
        .K = c->K,
        .first = first,
        .combines = mp_case_has_stage(c, MP_COMBINE)};
    if (p->shared) params.shared_format = mp_describe_format(p->t[MP_SHARED_OUTPUT].dtype);
    return launch(p, "measure_tokens", count * MP_ELEMENT_THREADS, &params, err);
}

/* What the device should fail to write of a slab is NaN. */
static mp_status forget(const pipeline *p, mp_error *err) {
    const mp_driver *driver = p->o->cuda->driver;
    mp_status status = MP_OK;
    for (int i = MP_SCRATCH_GATE_UP; i <= MP_SCRATCH_DOWN; i++) {
        const mp_device_buffer *buffer = &p->o->scratch[i];
        MP_CU(cuMemsetD8Async(buffer->at, 0xFF, buffer->bytes, p->o->stream));
    }
out:
    return status;
}

static mp_status run(pipeline *p, const mp_tensor *out, mp_token_figures *figures, mp_error *err) {
    mp_offload *o = p->o;
    const mp_driver *driver = o->cuda->driver;
    const mp_case *c = &p->c;
    const size_t figures_bytes = (size_t)c->M * sizeof *figures;
    mp_status status = MP_OK;
    MP_CU(cuCtxSetCurrent(o->cuda->context));
    MP_DO(bring_inputs(p, out, err));
    MP_DO(make_room(p, err));
    MP_CU(cuMemsetD8Async(scratch(p, MP_SCRATCH_FIGURES), 0, figures_bytes, o->stream));
    for (int64_t first = 0; first < c->M; first += p->slab) {
        const int64_t count = c->M - first < p->slab ? c->M - first : p->slab, slots = count * c->topk;
        MP_DO(forget(p, err));
        MP_DO(multiply(p, MP_GATE_UP, first * c->topk, slots, MP_SCRATCH_GATE_UP, err));
        MP_DO(activate(p, slots, err));
        MP_DO(multiply(p, MP_DOWN, first * c->topk, slots, MP_SCRATCH_DOWN, err));
        MP_DO(measure(p, first, count, out->dtype, err));
    }
    MP_CU(cuMemcpyDtoHAsync_v2(figures, scratch(p, MP_SCRATCH_FIGURES), figures_bytes, o->stream));
    MP_CU(cuStreamSynchronize(o->stream));
out:
    if (status != MP_OK) driver->cuStreamSynchronize(o->stream); /* nothing lands behind our back */
    return status;
}

/* A token of which some element was not looked at. */
static mp_status expect_all(const mp_case *c, const mp_token_figures *figures, int64_t width, mp_error *err) {
    for (int64_t m = 0; m < c->M; m++)
        if (figures[m].elements != width)
            return mp_fail(err, MP_EDEVICE,
                           "the judge on the device measured %lld of %lld elements of token %lld",
                           figures[m].elements, (long long)width, (long long)m);
    return MP_OK;
}

mp_status mp_offload_end_to_end(const mp_engine *self, const mp_case *c, const mp_inputs *in,
                                const mp_tensor *out, mp_token_figures *figures, mp_error *err) {
    pipeline p = {.o = self->state, .c = *c, .t = in->t};
    mp_status status = MP_OK;
    if (mp_case_has_lora(c) || mp_scheme_of(c)->quantises_activations || c->scope != MP_SCOPE_ALL)
        return mp_fail(err, MP_EUNSUPPORTED, "not this case");
    p.c.layout = MP_ROUTE; /* nobody sees these caches */
    p.c.path = c->path == MP_CHUNKED ? MP_FUSED : c->path;
    MP_DO(mp_slot_map_create(&p.c, NULL, &p.map, err));
    MP_DO(run(&p, out, figures, err));
    MP_DO(expect_all(c, figures, mp_tensor_count(out) / c->M, err));
out:
    free(p.map.memory);
    return mp_offload_ended(p.o, status, err);
}
