/* SPDX-License-Identifier: Apache-2.0 */
/* The float64 pipeline on the device, from the inputs to the figures of the final output: what one stage
 * leaves the next one reads there, slab by slab of tokens, and a few numbers a token come back. Where
 * activations are quantised it carries balls (ref/ball_rules.h), else values. */
#include "offload/end_to_end.h"

#include "cases/scheme.h"

#include <stdlib.h>

/* What the stages of a slab leave takes at most, of values and of each radius; a few slabs decode the weights
 * a few times. */
#define MOST_SLAB_BYTES ((size_t)4 << 30)

/* Numbers of an element: a value, or one and two radii. */
static size_t parts_of(const mp_device_pipeline *p) {
    return p->rules ? 3 : 1;
}

/* ---- memory ---- */

static size_t bytes_of_slot(const mp_device_pipeline *p) {
    const mp_case *c = &p->c;
    return parts_of(p) * (size_t)(mp_case_w1_rows(c) + c->N + c->K) * sizeof(double);
}

static size_t bytes_of_token(const mp_device_pipeline *p) {
    const size_t x = p->rules ? parts_of(p) * (size_t)p->c.K * sizeof(double) : 0;
    return (size_t)p->c.topk * bytes_of_slot(p) + x + (p->rules ? mp_ball_bytes_of_token(p) : 0);
}

static mp_status make_room(mp_device_pipeline *p, mp_error *err) {
    mp_offload *o = p->o;
    const mp_case *c = &p->c;
    const size_t of_token = bytes_of_token(p);
    size_t budget = 0;
    mp_status status = MP_OK;
    MP_DO(mp_offload_budget(o, &budget, err));
    const size_t limit = parts_of(p) * MOST_SLAB_BYTES, most = budget / 2 < limit ? budget / 2 : limit;
    p->slab = (int64_t)(most / of_token) < c->M ? (int64_t)(most / of_token) : c->M;
    if (p->slab < 1) {
        status = mp_fail(err, MP_EMEMORY, "a token takes %zu bytes of the device; %zu may be taken", of_token,
                         budget);
        goto out;
    }
    const size_t number = parts_of(p) * sizeof(double), slots = (size_t)(p->slab * c->topk),
                 tokens = (size_t)c->M;
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_GATE_UP], slots * (size_t)mp_case_w1_rows(c) * number,
                             err));
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_ACT], slots * (size_t)c->N * number, err));
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_DOWN], slots * (size_t)c->K * number, err));
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_FIGURES], tokens * sizeof(mp_token_figures), err));
    if (!p->rules) return MP_OK;
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_QUANT_X], (size_t)(p->slab * c->K) * number, err));
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_BOUNDS], tokens * sizeof(mp_bound_figures), err));
out:
    return status;
}

/* What steps read beside the slab's numbers, and the output. */
static mp_status bring_inputs(mp_device_pipeline *p, const mp_tensor *out, mp_error *err) {
    static const mp_tensor_id ids[] = {MP_TOPK_IDS, MP_TOPK_WEIGHTS, MP_SHARED_OUTPUT, MP_B1, MP_B2, MP_X};
    CUdeviceptr *const at[] = {&p->topk_ids, &p->weights, &p->shared, &p->bias[0], &p->bias[1], &p->x};
    mp_status status = MP_OK;
    for (int i = 0; i < MP_STEP_INPUTS && status == MP_OK; i++)
        if (p->t[ids[i]].data && (ids[i] != MP_X || p->rules))
            status = mp_offload_upload(p->o, &p->t[ids[i]], MP_SCRATCH_INPUT + (mp_scratch)i, at[i], err);
    if (status == MP_OK) status = mp_offload_upload(p->o, out, MP_SCRATCH_GOT, &p->stored, err);
    return status;
}

/* ---- a slab: tokens first .. first+count ---- */

/* gate_up or down, and its epilogue, of slots first .. first+count of the case. Activations are rows of the
 * slab, but for x, of which there are numbers for all. */
static mp_status multiply(const mp_device_pipeline *p, mp_stage stage, int64_t first, int64_t count,
                          mp_error *err) {
    const mp_case *c = &p->c;
    const bool up = stage == MP_GATE_UP, x = up && !p->rules;
    const mp_stage_call call = {.c = c, .t = p->t, .map = &p->map};
    mp_gemm_problem problem = mp_gemm_of_stage(&call, stage).problem;
    const mp_tensor left = mp_tensor_shape(MP_FP64, 2, up ? count / c->topk : count, up ? c->K : c->N, 1);
    const mp_gemm_radii radii = {.sure = &left, .det = &left};
    problem.topk_ids += first;
    problem.slots = count;
    problem.a_row = x ? p->map.x_row + first : up ? p->map.x_row : p->map.cache_row;
    if (!x) problem.a = (mp_operand){.codes = &left};
    if (p->rules) problem.radii = &radii;
    mp_pipeline_gemm g = {.sums = {.o = p->o,
                                   .p = &problem,
                                   .there = {x ? 0 : mp_pipeline_scratch(p, MP_SCRATCH_ACT)},
                                   .staying = 1, /* none of them lands */
                                   .beside = (size_t)p->slab * bytes_of_token(p)},
                          .stage = stage,
                          .first = first};
    mp_piece piece = {0};
    mp_status status = MP_OK;
    if (p->rules) MP_DO(mp_ball_prepare_gemm(p, &g, left.dim[0], err));
    status = mp_grouped_gemm_order(&g.sums, err);
    if (status != MP_OK || g.sums.block_count == 0) goto out;
    MP_DO(mp_grouped_gemm_prepare(&g.sums, err));
    while (mp_grouped_gemm_next(&g.sums, &piece)) {
        MP_DO(mp_grouped_gemm_sum(&g.sums, &piece, err));
        MP_DO(p->rules ? mp_ball_epilogue(p, &g, &piece, err) : mp_value_epilogue(p, &g, &piece, err));
    }
out:
    mp_grouped_gemm_end(&g.sums);
    return status;
}

/* What the device should fail to write of a slab is NaN. */
static mp_status forget(const mp_device_pipeline *p, mp_error *err) {
    const mp_driver *driver = p->o->cuda->driver;
    mp_status status = MP_OK;
    for (int i = MP_SCRATCH_QUANT_X; i <= MP_SCRATCH_DOWN; i++) {
        const mp_device_buffer *buffer = &p->o->scratch[i];
        if (buffer->bytes > 0) MP_CU(cuMemsetD8Async(buffer->at, 0xFF, buffer->bytes, p->o->stream));
    }
out:
    return status;
}

static mp_status run_slab(const mp_device_pipeline *p, int64_t first, int64_t count, mp_dtype stored,
                          mp_error *err) {
    const int64_t slot = first * p->c.topk, slots = count * p->c.topk;
    mp_status status = MP_OK;
    MP_DO(forget(p, err));
    if (p->rules) MP_DO(mp_ball_quantise(p, MP_QUANT_X, first, count, err));
    MP_DO(multiply(p, MP_GATE_UP, slot, slots, err));
    MP_DO(p->rules ? mp_ball_activate(p, slots, err) : mp_value_activate(p, slots, err));
    if (p->rules) MP_DO(mp_ball_quantise(p, MP_QUANT_ACT, first, count, err));
    MP_DO(multiply(p, MP_DOWN, slot, slots, err));
    MP_DO(p->rules ? mp_ball_measure(p, first, count, stored, err)
                   : mp_value_measure(p, first, count, stored, err));
out:
    return status;
}

static mp_status run(mp_device_pipeline *p, const mp_tensor *out, mp_token_figures *figures,
                     mp_bound_figures *bounds, mp_error *err) {
    mp_offload *o = p->o;
    const mp_driver *driver = o->cuda->driver;
    const int64_t M = p->c.M;
    const size_t bytes = (size_t)M * sizeof *figures,
                 bounds_bytes = p->rules ? (size_t)M * sizeof *bounds : 0;
    mp_status status = MP_OK;
    MP_CU(cuCtxSetCurrent(o->cuda->context));
    MP_DO(bring_inputs(p, out, err));
    MP_DO(make_room(p, err));
    MP_CU(cuMemsetD8Async(mp_pipeline_scratch(p, MP_SCRATCH_FIGURES), 0, bytes, o->stream));
    if (p->rules)
        MP_CU(cuMemsetD8Async(mp_pipeline_scratch(p, MP_SCRATCH_BOUNDS), 0xFF, bounds_bytes, o->stream));
    for (int64_t first = 0; first < M; first += p->slab)
        MP_DO(run_slab(p, first, M - first < p->slab ? M - first : p->slab, out->dtype, err));
    MP_CU(cuMemcpyDtoHAsync_v2(figures, mp_pipeline_scratch(p, MP_SCRATCH_FIGURES), bytes, o->stream));
    if (p->rules)
        MP_CU(
            cuMemcpyDtoHAsync_v2(bounds, mp_pipeline_scratch(p, MP_SCRATCH_BOUNDS), bounds_bytes, o->stream));
    MP_CU(cuStreamSynchronize(o->stream));
out:
    if (status != MP_OK) driver->cuStreamSynchronize(o->stream); /* nothing lands behind our back */
    return status;
}

/* A token of which some element was not looked at; what was not written of bounds is negative. */
static mp_status expect_all(const mp_case *c, const mp_token_figures *figures, const mp_bound_figures *bounds,
                            int64_t width, mp_error *err) {
    for (int64_t m = 0; m < c->M; m++) {
        if (figures[m].elements != width)
            return mp_fail(err, MP_EDEVICE,
                           "the judge on the device measured %lld of %lld elements of token %lld",
                           figures[m].elements, (long long)width, (long long)m);
        if (bounds && bounds[m].bounded < 0)
            return mp_fail(err, MP_EDEVICE, "the judge on the device has no bounds of token %lld",
                           (long long)m);
    }
    return MP_OK;
}

/* Functions whose float64 on a GPU is another one have no bound of balls here. */
static bool takes(const mp_case *c, const mp_ball_rules *rules) {
    if (mp_case_has_lora(c) || c->scope != MP_SCOPE_ALL) return false;
    if (!mp_scheme_of(c)->quantises_activations) return !rules;
    return rules &&
           (rules->act[0].form.function == MP_GATE_SWISH || rules->act[0].form.function == MP_GATE_RELU2);
}

mp_status mp_offload_end_to_end(const mp_engine *self, const mp_case *c, const mp_inputs *in,
                                const mp_tensor *out, const mp_ball_rules *rules, mp_token_figures *figures,
                                mp_bound_figures *bounds, mp_error *err) {
    mp_device_pipeline p = {.o = self->state, .c = *c, .t = in->t, .rules = rules};
    mp_status status = MP_OK;
    if (!takes(c, rules)) return mp_fail(err, MP_EUNSUPPORTED, "not this case");
    p.c.layout = MP_ROUTE; /* nobody sees these caches */
    p.c.path = c->path == MP_CHUNKED ? MP_FUSED : c->path;
    MP_DO(mp_slot_map_create(&p.c, NULL, &p.map, err));
    MP_DO(run(&p, out, figures, bounds, err));
    MP_DO(expect_all(c, figures, bounds, mp_tensor_count(out) / c->M, err));
out:
    free(p.map.memory);
    return mp_offload_ended(p.o, status, err);
}
