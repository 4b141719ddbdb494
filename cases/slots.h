/* SPDX-License-Identifier: Apache-2.0 */
/* Where the slots of a case lie in its tensors. */
#ifndef MP_CASES_SLOTS_H
#define MP_CASES_SLOTS_H

#include "moeparity/contract.h"
#include "moeparity/graph.h"

/* Row of the caches that holds slot t: t itself, or in sorted layout, where one of them is there, its
 * position; in masked layout expert*max_m + its place among the slots of its expert, and -1 of a filtered
 * one. rows has M*topk entries; a slot that sorted_token_ids does not hold (or where they are absent)
 * gets -1: its stages cannot be judged. */
void mp_trace_slot_rows(const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT], int64_t *rows);

/* Rows of x (slot div topk) and of the caches for every slot, in one allocation; free(map->memory). */
typedef struct mp_slot_map {
    int64_t *x_row, *cache_row;
    void *memory;
} mp_slot_map;
mp_status mp_slot_map_create(const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT] /* NULL: route order */,
                             mp_slot_map *map, mp_error *err);

/* Whether the row of a slot with this expert id, in the output of a stage whose rows are slots, holds what
 * the contract promises: a result, or the zeros of a filtered slot. A shrink has rows without a result among
 * all others, those of slots without an adapter: where they are no zeros nothing is said of any. */
static inline bool mp_row_is_promised(const mp_contract *contract, mp_stage stage, int32_t id) {
    const bool shrinks = stage == MP_SHRINK_GATE_UP || stage == MP_SHRINK_DOWN;
    return (id >= 0 && !shrinks) || contract->filtered[stage] == MP_ROW_ZERO;
}

/* The slot that each of `count` rows holds, -1: none. rows: mp_trace_slot_rows; NULL: row t is slot t. */
void mp_slots_of_rows(const int64_t *rows, int64_t slots, int64_t *slot_of, int64_t count);

#endif
