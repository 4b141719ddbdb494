/* SPDX-License-Identifier: Apache-2.0 */
#include "moeparity/trace.h"

#include "cases/graph_tables.h"
#include "cases/slots.h"

#include <stdlib.h>

void mp_trace_plan(const mp_case *c, int block_size_m, mp_trace *trace) {
    *trace = (mp_trace){.block_size_m = block_size_m};
    const mp_tensor_set outputs = mp_case_outputs(c);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (outputs & MP_IN_SET(id)) trace->t[id] = mp_case_shape(c, (mp_tensor_id)id, block_size_m);
}

mp_status mp_trace_create_some(const mp_case *c, int block_size_m, mp_tensor_set exposed, uint32_t poison,
                               mp_trace *trace, mp_error *err) {
    *trace = (mp_trace){.block_size_m = block_size_m};
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        if (!(exposed & MP_IN_SET(id))) continue;
        trace->t[id] = mp_case_shape(c, (mp_tensor_id)id, block_size_m);
        const mp_status status = mp_tensor_alloc(&trace->t[id], poison, err);
        if (status != MP_OK) {
            mp_error_prefix(err, "trace tensor %s", mp_tensor_name((mp_tensor_id)id));
            mp_trace_destroy(trace);
            return status;
        }
    }
    return MP_OK;
}

mp_status mp_trace_create(const mp_case *c, int block_size_m, uint32_t poison, mp_trace *trace,
                          mp_error *err) {
    return mp_trace_create_some(c, block_size_m, mp_case_outputs(c), poison, trace, err);
}

void mp_trace_destroy(mp_trace *trace) {
    for (int i = 0; i < MP_TENSOR_COUNT; i++) {
        mp_tensor_free(&trace->t[i]);
        free(trace->row_digest[i]);
        trace->row_digest[i] = NULL;
    }
}

/* The BLOCK_SIZE_M of align's tensors: sorted_token_ids is longer the larger it is. */
static int block_size_of(const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT]) {
    enum { LARGEST = 256 };
    int size = 1;
    while (size < LARGEST &&
           mp_case_shape(c, MP_SORTED_TOKEN_IDS, size).dim[1] < t[MP_SORTED_TOKEN_IDS].dim[1])
        size++;
    return size;
}

/* Masked layout: an expert's slots in the order of sorted_token_ids; filtered ones, the first block's, have
 * no rows. */
static void masked_rows(const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT], int64_t *rows) {
    const mp_tensor *ids = &t[MP_SORTED_TOKEN_IDS];
    const int32_t *sorted = ids->data, *experts = t[MP_EXPERT_IDS].data;
    const int64_t slots = mp_case_slots(c), max_m = mp_case_max_m(c), bm = block_size_of(c, t);
    int64_t expert = -1, place = 0;
    for (int64_t p = 0; experts && p < ids->dim[1]; p++) {
        const int64_t of_block = experts[p / bm];
        if (of_block != expert) place = 0;
        expert = of_block;
        if (sorted[p] < 0 || sorted[p] >= slots || expert < 0 || expert >= c->E || place >= max_m) continue;
        rows[sorted[p]] = expert * max_m + place++;
    }
}

void mp_trace_slot_rows(const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT], int64_t *rows) {
    const int64_t slots = mp_case_slots(c);
    const mp_tensor *cache = NULL; /* one of the caches that are there: nobody sees the rows of others */
    for (int id = 0; id < MP_TENSOR_COUNT && !cache; id++)
        if (mp_tensors[id].rows == MP_ROWS_CACHE && t[id].data) cache = &t[id];
    if (c->layout == MP_ROUTE || !cache) {
        for (int64_t i = 0; i < slots; i++) rows[i] = i;
        return;
    }
    for (int64_t i = 0; i < slots; i++) rows[i] = -1;
    const mp_tensor *ids = &t[MP_SORTED_TOKEN_IDS];
    const int32_t *sorted = ids->data;
    if (!sorted) return;
    if (c->layout == MP_MASKED) {
        masked_rows(c, t, rows);
        return;
    }
    for (int64_t p = 0; p < ids->dim[1] && p < cache->dim[0]; p++)
        if (sorted[p] >= 0 && sorted[p] < slots) rows[sorted[p]] = p;
}

void mp_slots_of_rows(const int64_t *rows, int64_t slots, int64_t *slot_of, int64_t count) {
    for (int64_t r = 0; r < count; r++) slot_of[r] = rows ? -1 : r;
    for (int64_t t = 0; rows && t < slots; t++)
        if (rows[t] >= 0) slot_of[rows[t]] = t;
}

mp_status mp_slot_map_create(const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT], mp_slot_map *map,
                             mp_error *err) {
    const int64_t slots = mp_case_slots(c);
    map->memory = malloc(2 * (size_t)slots * sizeof(int64_t));
    if (!map->memory) return mp_fail(err, MP_EMEMORY, "no memory for a map of %lld slots", (long long)slots);
    map->x_row = map->memory;
    map->cache_row = map->x_row + slots;
    for (int64_t i = 0; i < slots; i++) map->x_row[i] = i / c->topk;
    if (t)
        mp_trace_slot_rows(c, t, map->cache_row);
    else
        for (int64_t i = 0; i < slots; i++) map->cache_row[i] = i;
    return MP_OK;
}
