#include "ref/pipeline.h"

#include "ref/activation.h"
#include "ref/align.h"
#include "ref/combine.h"

#include <stdlib.h>

static bool present(const mp_tensor *t) {
    return t->data != NULL;
}

mp_gemm_problem mp_gate_up_problem(const mp_inputs *in, const int64_t *x_row, int64_t slots) {
    return (mp_gemm_problem){.a = &in->t[MP_X],
                             .a_row = x_row,
                             .w = &in->t[MP_W1],
                             .topk_ids = in->t[MP_TOPK_IDS].data,
                             .slots = slots};
}

mp_gemm_problem mp_down_problem(const mp_inputs *in, const mp_tensor *cache2, const int64_t *row,
                                int64_t slots) {
    return (mp_gemm_problem){
        .a = cache2, .a_row = row, .w = &in->t[MP_W2], .topk_ids = in->t[MP_TOPK_IDS].data, .slots = slots};
}

mp_epilogue mp_gate_up_epilogue(const mp_case *c, const mp_inputs *in) {
    return (mp_epilogue){.bias = present(&in->t[MP_B1]) ? &in->t[MP_B1] : NULL,
                         .weights = c->apply_router_weight_on_input ? in->t[MP_TOPK_WEIGHTS].data : NULL};
}

mp_epilogue mp_down_epilogue(const mp_case *c, const mp_inputs *in) {
    const bool weighted = !c->apply_router_weight_on_input && c->mode != MP_NO_COMBINE;
    return (mp_epilogue){.bias = present(&in->t[MP_B2]) ? &in->t[MP_B2] : NULL,
                         .weights = weighted ? in->t[MP_TOPK_WEIGHTS].data : NULL};
}

mp_tensor mp_out_as_cache3(const mp_case *c, const mp_tensor *out) {
    mp_tensor view = mp_tensor_shape(out->dtype, 3, c->M, c->topk, c->K);
    view.data = out->data;
    return view;
}

mp_status mp_slot_map_create(const mp_case *c, const mp_trace *trace, mp_slot_map *map, mp_error *err) {
    const int64_t slots = mp_case_slots(c);
    map->memory = malloc(2 * (size_t)slots * sizeof(int64_t));
    if (!map->memory) return mp_fail(err, MP_EMEMORY, "no memory for a map of %lld slots", (long long)slots);
    map->x_row = map->memory;
    map->cache_row = map->x_row + slots;
    for (int64_t t = 0; t < slots; t++) map->x_row[t] = t / c->topk;
    if (trace)
        mp_trace_slot_rows(c, trace, map->cache_row);
    else
        for (int64_t t = 0; t < slots; t++) map->cache_row[t] = t;
    return MP_OK;
}

mp_inputs mp_inputs_range(const mp_inputs *in, int64_t first, int64_t count) {
    mp_inputs view = *in;
    static const mp_input per_token[] = {MP_X, MP_TOPK_IDS, MP_TOPK_WEIGHTS, MP_IN_CACHE3, MP_IN_CACHE1};
    for (size_t i = 0; i < sizeof per_token / sizeof *per_token; i++) {
        mp_tensor *t = &view.t[per_token[i]];
        if (!t->data) continue;
        const int64_t tokens = in->t[MP_TOPK_IDS].dim[0],
                      rows_per_token = t->dim[0] / tokens; /* cache1: topk rows a token */
        const size_t token_bytes = mp_tensor_bytes(t) / (size_t)tokens;
        t->data = (char *)t->data + (size_t)first * token_bytes;
        t->dim[0] = count * rows_per_token;
    }
    return view;
}

mp_status mp_ref_align(const mp_case *c, const mp_inputs *in, mp_trace *trace, mp_error *err) {
    const mp_tensor *sorted = &trace->t[MP_SORTED_TOKEN_IDS], *experts = &trace->t[MP_EXPERT_IDS];
    return mp_align(in->t[MP_TOPK_IDS].data, mp_case_slots(c), c->E, trace->block_size_m, sorted->data,
                    sorted->dim[1], experts->data, experts->dim[1], trace->t[MP_NUM_TOKENS_POST_PADDED].data,
                    err);
}

/* gate_up, act, down: x -> cache1 -> cache2 -> cache3, each rounded to its tensor's dtype. */
static mp_status run_stages(const mp_case *c, const mp_inputs *in, mp_engine engine, const mp_slot_map *map,
                            const mp_tensor *cache1, const mp_tensor *cache2, const mp_tensor *cache3,
                            mp_error *err) {
    const int64_t slots = mp_case_slots(c);
    const mp_epilogue up = mp_gate_up_epilogue(c, in), down = mp_down_epilogue(c, in);
    const mp_gemm_problem gate_up = mp_gate_up_problem(in, map->x_row, slots);
    mp_status status = mp_gemm_stage(engine, &gate_up, &up, map->cache_row, cache1, err);
    if (status != MP_OK) return status;
    mp_activation_stage(c, in->t[MP_TOPK_IDS].data, map->cache_row, slots, MP_ACT_ONE_ROUNDING, cache1,
                        cache2);
    const mp_gemm_problem down_problem = mp_down_problem(in, cache2, map->cache_row, slots);
    return mp_gemm_stage(engine, &down_problem, &down, NULL, cache3, err);
}

static mp_status run_chunk(const mp_case *c, const mp_inputs *in, mp_engine engine, uint32_t poison,
                           mp_trace *trace, mp_error *err) {
    mp_tensor scratch = mp_tensor_shape(c->dtype, 3, c->M, c->topk, c->K);
    mp_slot_map map = {0};
    const mp_tensor *out = &trace->t[MP_OUT];
    if (c->scope == MP_SCOPE_COMBINE) {
        mp_combine_stage(c, MP_COMBINE_SCALE_THEN_ROUND, &in->t[MP_IN_CACHE3], out);
        return MP_OK;
    }
    mp_status status = MP_OK;
    if (c->scope != MP_SCOPE_ACT) status = mp_ref_align(c, in, trace, err);
    if (status != MP_OK || c->scope == MP_SCOPE_ALIGN) goto out;
    if ((status = mp_slot_map_create(c, trace, &map, err)) != MP_OK) goto out;
    if (c->scope == MP_SCOPE_ACT) {
        mp_activation_stage(c, in->t[MP_TOPK_IDS].data, map.cache_row, mp_case_slots(c), MP_ACT_ONE_ROUNDING,
                            &in->t[MP_IN_CACHE1], &trace->t[MP_CACHE2]);
        goto out;
    }

    mp_tensor cache3 = trace->t[MP_CACHE3];
    if (c->fused_sum) {
        if ((status = mp_tensor_alloc(&scratch, poison, err)) != MP_OK) goto out;
        cache3 = scratch;
    } else if (mp_case_down_writes_out(c)) {
        cache3 = mp_out_as_cache3(c, out);
    }
    status = run_stages(c, in, engine, &map, &trace->t[MP_CACHE1], &trace->t[MP_CACHE2], &cache3, err);
    if (status == MP_OK && cache3.data != out->data)
        mp_combine_stage(c, MP_COMBINE_SCALE_THEN_ROUND, &cache3, out);
out:
    mp_tensor_free(&scratch);
    free(map.memory);
    return status;
}

mp_status mp_ref_run(const mp_case *c, const mp_inputs *in, int block_size_m, mp_engine engine,
                     uint32_t poison, mp_trace *trace, mp_error *err) {
    mp_status status = mp_trace_create(c, block_size_m, poison, trace, err);
    for (int64_t i = 0; status == MP_OK && i < mp_case_chunks(c); i++) {
        const mp_case part = mp_case_chunk(c, i);
        const mp_inputs view = mp_inputs_range(in, i * MP_CHUNK_TOKENS, part.M);
        mp_trace window = mp_trace_chunk(c, trace, i);
        status = run_chunk(&part, &view, engine, poison, &window, err);
    }
    return status;
}

mp_status mp_ref_exact(const mp_case *c, const mp_inputs *in, mp_engine engine, int64_t first, int64_t count,
                       const mp_tensor *out, mp_error *err) {
    mp_case part = *c;
    part.M = count;
    const mp_inputs view = mp_inputs_range(in, first, count);
    const int64_t slots = mp_case_slots(&part);
    mp_tensor cache1 = mp_tensor_shape(MP_FP64, 2, slots, mp_case_w1_rows(c), 1),
              cache2 = mp_tensor_shape(MP_FP64, 2, slots, c->N, 1);
    mp_tensor cache3 = mp_tensor_shape(MP_FP64, 3, count, c->topk, c->K);
    mp_slot_map map = {0};
    mp_status status = MP_OK;

    if (c->scope == MP_SCOPE_COMBINE) {
        mp_combine_stage(&part, MP_COMBINE_SCALE_THEN_ROUND, &view.t[MP_IN_CACHE3], out);
        return MP_OK;
    }
    if ((status = mp_tensor_alloc(&cache1, MP_POISON_A, err)) != MP_OK) goto out;
    if ((status = mp_tensor_alloc(&cache2, MP_POISON_A, err)) != MP_OK) goto out;
    if (c->mode == MP_NO_COMBINE)
        cache3 = mp_out_as_cache3(&part, out);
    else if ((status = mp_tensor_alloc(&cache3, MP_POISON_A, err)) != MP_OK)
        goto out;
    if ((status = mp_slot_map_create(&part, NULL, &map, err)) != MP_OK) goto out;
    status = run_stages(&part, &view, engine, &map, &cache1, &cache2, &cache3, err);
    if (status == MP_OK && c->mode != MP_NO_COMBINE)
        mp_combine_stage(&part, MP_COMBINE_SCALE_THEN_ROUND, &cache3, out);
out:
    free(map.memory);
    if (c->mode != MP_NO_COMBINE) mp_tensor_free(&cache3);
    mp_tensor_free(&cache2);
    mp_tensor_free(&cache1);
    return status;
}
