/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/lora.h"

#include "cases/lora.h"

#include <stdlib.h>
#include <string.h>

/* A tensor's elements as rows of another length. */
static mp_tensor as_rows(const mp_tensor *t, int64_t length) {
    mp_tensor rows = mp_tensor_shape(t->dtype, 2, mp_tensor_count(t) / length, length, 1);
    rows.data = t->data;
    return rows;
}

/* Which tensors a stage has. */
static void set_tensors(const mp_stage_call *call, mp_stage stage, mp_lora_gemm *g, mp_tensor_id *factor) {
    const mp_tensor *t = call->t;
    const bool up = stage == MP_SHRINK_GATE_UP || stage == MP_EXPAND_GATE_UP,
               shrinks = stage == MP_SHRINK_GATE_UP || stage == MP_SHRINK_DOWN;
    const int64_t rank = call->c->lora_rank, columns = up ? call->c->N : call->c->K;
    const mp_tensor *in =
        shrinks ? up ? &t[MP_X] : mp_as_read(t, MP_CACHE2) : &t[up ? MP_LORA_H1 : MP_LORA_H2];
    *factor = shrinks ? up ? MP_LORA_A1 : MP_LORA_A2 : up ? MP_LORA_B1 : MP_LORA_B2;
    g->slices = up ? mp_lora_slices(call->c) : 1;
    g->width = shrinks ? rank : columns;
    g->in = shrinks ? *in : as_rows(in, rank);
    g->out = as_rows(&t[mp_stage_output(call->c, stage)], g->width);
    g->base = shrinks ? NULL : &t[up ? MP_CACHE1 : MP_CACHE3];
    g->interleaved = !shrinks && up && call->c->interleaved;
    if (mp_stage_weighs(call->c, stage)) g->epilogue.weights = t[MP_TOPK_WEIGHTS].data;
}

mp_status mp_lora_gemm_create(const mp_stage_call *call, mp_stage stage, mp_lora_gemm *g, mp_error *err) {
    const mp_case *c = call->c;
    mp_tensor_id id;
    *g = (mp_lora_gemm){0};
    set_tensors(call, stage, g, &id);
    const int64_t rows = mp_case_slots(c) * g->slices, experts = mp_lora_experts(c, id);
    g->memory = malloc((size_t)(rows > 0 ? rows : 1) * (sizeof(int64_t) + sizeof(int32_t)));
    if (!g->memory) return mp_fail(err, MP_EMEMORY, "lora: no memory for %lld rows", (long long)rows);
    int64_t *in_row = g->memory;
    int32_t *ids = (int32_t *)(in_row + rows);
    const int32_t *topk_ids = call->t[MP_TOPK_IDS].data;
    for (int64_t v = 0; v < rows; v++) {
        const int64_t slot = v / g->slices, adapter = mp_lora_of_slot(c, call->t, slot);
        const int64_t expert = experts == 1 ? 0 : topk_ids[slot];
        in_row[v] = g->base ? v : stage == MP_SHRINK_GATE_UP ? slot / c->topk : slot;
        ids[v] = adapter < 0 ? -1 : (int32_t)((adapter * experts + expert) * g->slices + v % g->slices);
    }
    const mp_tensor *factor = &call->t[id];
    g->factor = mp_tensor_shape(factor->dtype, 3, factor->dim[0] * g->slices, factor->dim[1] / g->slices,
                                factor->dim[2]);
    g->factor.data = factor->data;
    g->factor.maker = factor->maker;
    g->problem = (mp_gemm_problem){
        .a = {.codes = &g->in}, .a_row = in_row, .w = {.codes = &g->factor}, .topk_ids = ids, .slots = rows};
    return MP_OK;
}

void mp_lora_gemm_free(mp_lora_gemm *g) {
    free(g->memory);
    g->memory = NULL;
}

void mp_lora_keep_rows(const mp_lora_gemm *g) {
    const size_t bytes = (size_t)(g->slices * g->width) * mp_dtype_size(g->out.dtype);
    for (int64_t v = 0; v < g->problem.slots; v += g->slices)
        if (g->problem.topk_ids[v] < 0)
            memcpy(mp_tensor_row(&g->out, v), (const char *)g->base->data + (size_t)(v / g->slices) * bytes,
                   bytes);
}

/* ---- the stages in float64 ---- */

static mp_status shrink(const mp_reference *self, const mp_stage_call *call, mp_stage stage, mp_error *err) {
    mp_lora_gemm g;
    mp_status status = mp_lora_gemm_create(call, stage, &g, err);
    if (status == MP_OK) status = mp_gemm_stage(self->engine, &g.problem, &g.epilogue, NULL, &g.out, err);
    mp_lora_gemm_free(&g);
    return status;
}

static void add_tile(void *ctx, const mp_gemm_tile *tile) {
    const mp_lora_gemm *g = ctx;
    for (int64_t i = 0; i < tile->count; i++)
        for (int64_t n = 0; n < tile->n; n++) {
            const int64_t v = tile->slot[i], column = tile->n0 + n, at = mp_lora_element(g, v, column);
            const double d =
                mp_epilogue_apply(&g->epilogue, tile->value[i * tile->n + n], tile->expert, column, v);
            mp_encode(g->out.dtype, g->out.data, at, mp_decode(g->base->dtype, g->base->data, at) + d);
        }
}

static mp_status expand(const mp_reference *self, const mp_stage_call *call, mp_stage stage, mp_error *err) {
    mp_lora_gemm g;
    mp_status status = mp_lora_gemm_create(call, stage, &g, err);
    if (status == MP_OK) mp_lora_keep_rows(&g);
    if (status == MP_OK) status = mp_gemm_float64(self->engine, &g.problem, false, add_tile, &g, err);
    mp_lora_gemm_free(&g);
    return status;
}

mp_status mp_ref_stage_shrink_gate_up(void *self, const mp_stage_call *call, mp_error *err) {
    return shrink(self, call, MP_SHRINK_GATE_UP, err);
}

mp_status mp_ref_stage_expand_gate_up(void *self, const mp_stage_call *call, mp_error *err) {
    return expand(self, call, MP_EXPAND_GATE_UP, err);
}

mp_status mp_ref_stage_shrink_down(void *self, const mp_stage_call *call, mp_error *err) {
    return shrink(self, call, MP_SHRINK_DOWN, err);
}

mp_status mp_ref_stage_expand_down(void *self, const mp_stage_call *call, mp_error *err) {
    return expand(self, call, MP_EXPAND_DOWN, err);
}
