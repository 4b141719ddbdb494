/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/pipeline.h"

#include "base/clock.h"
#include "cases/graph_tables.h"
#include "cases/numbering.h"

#include <stdlib.h>
#include <string.h>

/* ---- the loop ---- */

mp_status mp_execute(const mp_executor *x, const mp_case *c, mp_stage first, mp_stage last, int block_size_m,
                     const mp_tensor t[MP_TENSOR_COUNT], mp_error *err) {
    mp_status status = MP_OK;
    for (int64_t chunk = 0; status == MP_OK && chunk < mp_case_chunks(c); chunk++) {
        const mp_case part = mp_case_chunk(c, chunk);
        mp_tensor view[MP_TENSOR_COUNT];
        mp_slot_map map = {0};
        mp_case_chunk_tensors(c, chunk, t, view);
        const mp_stage_call call = {.c = &part, .t = view, .block_size_m = block_size_m, .map = &map};
        for (int s = (int)first; status == MP_OK && s <= (int)last; s++) {
            const mp_stage stage = (mp_stage)s;
            if (!mp_case_has_stage(&part, stage)) continue;
            if (!x->stage[s])
                status = mp_fail(err, MP_EUNSUPPORTED, "%s cannot run here", mp_stage_name(stage));
            if (status == MP_OK && x->needs_map && stage != MP_ALIGN && !map.memory)
                status = mp_slot_map_create(&part, view, &map, err);
            if (status == MP_OK && x->before) status = x->before(x->self, &call, stage, err);
            const double start = mp_seconds_now();
            if (status == MP_OK) status = x->stage[s](x->self, &call, err);
            if (x->stage_ns) x->stage_ns[s] += 1e9 * (mp_seconds_now() - start);
            if (status == MP_OK && x->after) status = x->after(x->self, &call, stage, err);
        }
        free(map.memory);
    }
    return status;
}

void mp_all_tensors(const mp_inputs *in, const mp_trace *trace, mp_tensor t[MP_TENSOR_COUNT]) {
    for (int id = 0; id < MP_TENSOR_COUNT; id++) t[id] = in->t[id].data ? in->t[id] : trace->t[id];
}

const mp_tensor *mp_as_read(const mp_tensor t[MP_TENSOR_COUNT], mp_tensor_id id) {
    const mp_tensor_id read = mp_tensors[id].as_read;
    return t[read].data ? &t[read] : &t[id];
}

/* Tensors that the stages need and nobody has: hidden ones, outputs that are not given, and align's where
 * align is no stage of the case. They lie in `made`, to be freed by the caller. */
static mp_status make_missing(const mp_case *c, int block_size_m, mp_tensor t[MP_TENSOR_COUNT],
                              mp_tensor made[MP_TENSOR_COUNT], mp_error *err) {
    const mp_tensor_set derived = mp_case_derived_inputs(c),
                        missing = derived | mp_case_hidden(c) | mp_case_outputs(c);
    mp_status status = MP_OK;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        if (!(missing & MP_IN_SET(id)) || t[id].data) continue;
        made[id] = mp_case_shape(c, (mp_tensor_id)id, block_size_m);
        status = mp_tensor_alloc(&made[id], MP_POISON_A, err);
        t[id] = made[id];
    }
    if (status == MP_OK && derived) status = mp_ref_align(c, block_size_m, t, err);
    return status;
}

mp_status mp_run_stages(const mp_executor *x, const mp_case *c, int block_size_m,
                        const mp_tensor tensors[MP_TENSOR_COUNT], mp_error *err) {
    mp_tensor t[MP_TENSOR_COUNT], made[MP_TENSOR_COUNT] = {0};
    memcpy(t, tensors, sizeof t);
    mp_status status = make_missing(c, block_size_m, t, made, err);
    if (status == MP_OK) status = mp_execute(x, c, MP_ALIGN, MP_COMBINE, block_size_m, t, err);
    for (int id = 0; id < MP_TENSOR_COUNT; id++) mp_tensor_free(&made[id]);
    return status;
}

typedef struct packing {
    const char *from;
    char *to;
} packing;

static void pack_row(void *ctx, size_t at, size_t row, size_t bytes) {
    const packing *p = ctx;
    memcpy(p->to + row, p->from + at, bytes);
}

mp_status mp_usual_tensors(const mp_case *c, const mp_tensor given[MP_TENSOR_COUNT],
                           mp_tensor t[MP_TENSOR_COUNT], mp_tensor made[MP_TENSOR_COUNT], mp_error *err) {
    mp_status status = MP_OK;
    memcpy(t, given, MP_TENSOR_COUNT * sizeof *t);
    memset(made, 0, MP_TENSOR_COUNT * sizeof *made);
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        if (!given[id].data) continue;
        const mp_placement place = mp_case_placement(c, (mp_tensor_id)id, &given[id]);
        const bool numbered = id == MP_TOPK_IDS && mp_case_numbers_ids(c);
        if (place.packed && !numbered) continue;
        made[id] = given[id];
        status = mp_tensor_alloc(&made[id], MP_POISON_A, err);
        t[id] = made[id];
        if (status == MP_OK && numbered)
            mp_read_numbered_ids(c, given[id].data, given[MP_EXPERT_MAP].data, made[id].data);
        else if (status == MP_OK)
            mp_placement_rows(&place, &given[id], pack_row,
                              &(packing){(const char *)given[id].data - place.first, made[id].data});
    }
    return status;
}

static void unpack_row(void *ctx, size_t at, size_t row, size_t bytes) {
    const packing *p = ctx;
    memcpy(p->to + at, p->from + row, bytes);
}

void mp_return_tensors(const mp_case *c, const mp_tensor made[MP_TENSOR_COUNT],
                       const mp_tensor given[MP_TENSOR_COUNT]) {
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        if (!made[id].data || !(mp_case_outputs(c) & MP_IN_SET(id))) continue;
        const mp_placement place = mp_case_placement(c, (mp_tensor_id)id, &made[id]);
        mp_placement_rows(&place, &made[id], unpack_row,
                          &(packing){made[id].data, (char *)given[id].data - place.first});
    }
}

mp_status mp_run_as_given(const mp_executor *x, const mp_case *c, int block_size_m,
                          const mp_tensor tensors[MP_TENSOR_COUNT], mp_error *err) {
    mp_tensor t[MP_TENSOR_COUNT], made[MP_TENSOR_COUNT];
    mp_status status = mp_usual_tensors(c, tensors, t, made, err);
    if (status == MP_OK) status = mp_run_stages(x, c, block_size_m, t, err);
    if (status == MP_OK) mp_return_tensors(c, made, tensors);
    for (int id = 0; id < MP_TENSOR_COUNT; id++) mp_tensor_free(&made[id]);
    return status;
}

mp_status mp_run_trace(const mp_executor *x, const mp_case *c, const mp_inputs *in, mp_trace *trace,
                       mp_error *err) {
    mp_tensor t[MP_TENSOR_COUNT];
    mp_all_tensors(in, trace, t);
    if (c->mode == MP_MODE_INPLACE && t[MP_X].data) {
        mp_tensor_make(&t[MP_X], NULL);
        memcpy(t[MP_OUT].data, t[MP_X].data, mp_tensor_bytes(&t[MP_OUT]));
        t[MP_X].data = t[MP_OUT].data;
        t[MP_X].maker = NULL;
    }
    return mp_run_stages(x, c, trace->block_size_m, t, err);
}

/* ---- the reference ---- */

mp_executor mp_reference_executor(mp_reference *reference) {
#define RUN(stage, scope, name) mp_ref_stage_##name,
    return (mp_executor){
        .self = reference, .stage = {MP_STAGES(RUN)}, .needs_map = true, .stage_ns = reference->stage_ns};
}

mp_status mp_ref_run(const mp_case *c, const mp_inputs *in, int block_size_m, const mp_engine *engine,
                     uint32_t poison, mp_trace *trace, mp_error *err) {
    mp_reference reference = {.engine = engine};
    const mp_executor executor = mp_reference_executor(&reference);
    const mp_status status = mp_trace_create(c, block_size_m, poison, trace, err);
    if (status != MP_OK) return status;
    return mp_run_trace(&executor, c, in, trace, err);
}

/* Of the exact pipeline, whose activations are not quantised. */
static mp_status leave_numbers(void *self, const mp_stage_call *call, mp_error *err) {
    (void)self, (void)call, (void)err;
    return MP_OK;
}

mp_status mp_ref_exact(const mp_case *c, const mp_inputs *in, const mp_engine *engine, int64_t first,
                       int64_t count, const mp_tensor *out, mp_error *err) {
    mp_case part = *c;
    part.M = count;
    part.layout = MP_ROUTE; /* nobody sees these caches */
    part.path = part.path == MP_CHUNKED ? MP_FUSED : part.path;
    mp_tensor t[MP_TENSOR_COUNT], made[MP_TENSOR_COUNT] = {0};
    mp_token_window(c, first, count, in->t, t);
    mp_status status = MP_OK;
    const mp_tensor_set quantised = mp_stage_writes(&part, MP_QUANT_X) | mp_stage_writes(&part, MP_QUANT_ACT);
    const mp_tensor_set made_by_stages = (mp_case_outputs(&part) | mp_case_hidden(&part)) & ~quantised;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        if (!(made_by_stages & MP_IN_SET(id)) || id == MP_OUT || mp_tensors[id].rows == MP_ROWS_CHUNK)
            continue;
        made[id] = mp_case_shape(&part, (mp_tensor_id)id, 16);
        made[id].dtype = MP_FP64;
        status = mp_tensor_alloc(&made[id], MP_POISON_A, err);
        t[id] = made[id];
    }
    t[MP_OUT] = *out;
    mp_reference reference = {.engine = engine};
    mp_executor executor = mp_reference_executor(&reference);
    executor.stage[MP_QUANT_X] = executor.stage[MP_QUANT_ACT] = leave_numbers;
    if (status == MP_OK) status = mp_execute(&executor, &part, MP_GATE_UP, MP_COMBINE, 16, t, err);
    for (int id = 0; id < MP_TENSOR_COUNT; id++) mp_tensor_free(&made[id]);
    return status;
}
