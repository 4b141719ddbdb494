/* SPDX-License-Identifier: Apache-2.0 */
#include "golden/left_out.h"

#include "cases/graph_tables.h"
#include "cases/slots.h"

#include <stdlib.h>

/* The stage that writes a tensor, what a hook then makes of it too; MP_STAGE_COUNT: none. */
static int writer_of(const mp_case *c, mp_tensor_id id) {
    for (int s = MP_STAGE_COUNT - 1; s >= 0; s--) {
        if (!mp_case_has_stage(c, (mp_stage)s)) continue;
        const mp_tensor_id output = mp_stage_output(c, (mp_stage)s);
        if (mp_stage_writes(c, (mp_stage)s) & MP_IN_SET(id) || mp_tensors[output].as_read == id) return s;
    }
    return MP_STAGE_COUNT;
}

static bool has_its_shape(const mp_case *c, const mp_trace *trace, mp_tensor_id id) {
    const mp_tensor plan = mp_case_shape(c, id, trace->block_size_m), *t = &trace->t[id];
    for (int axis = 0; axis < MP_MAX_RANK; axis++)
        if (plan.dim[axis] != t->dim[axis]) return false;
    return plan.rank == t->rank;
}

mp_status mp_rows_left_out(const mp_case *c, const mp_contract *contract, const mp_trace *trace,
                           const mp_inputs *inputs, mp_tensor_id id, uint8_t **left_out, mp_error *err) {
    const int64_t rows = mp_tensor_rows(&trace->t[id]), slots = mp_case_slots(c);
    const int stage = writer_of(c, id);
    const bool cache = mp_tensors[id].rows == MP_ROWS_CACHE, sorted = cache && c->layout != MP_ROUTE;
    const int32_t *ids = inputs ? inputs->t[MP_TOPK_IDS].data : NULL;
    *left_out = NULL;
    if (rows <= MP_TREE_GROUP || mp_tensors[id].rows == MP_ROWS_CHUNK || stage == MP_STAGE_COUNT ||
        !mp_stage_rows_are_slots((mp_stage)stage) || !has_its_shape(c, trace, id) ||
        (sorted && !trace->t[MP_SORTED_TOKEN_IDS].data))
        return MP_OK;
    int64_t *row_of_slot = malloc((size_t)(slots ? slots : 1) * sizeof *row_of_slot),
            *slot_of = malloc((size_t)rows * sizeof *slot_of);
    uint8_t *bits = calloc((size_t)(rows + 7) / 8, 1);
    bool any = false;
    if (row_of_slot && slot_of && bits) {
        mp_trace_slot_rows(c, trace->t, row_of_slot);
        mp_slots_of_rows(sorted ? row_of_slot : NULL, slots, slot_of, rows);
        for (int64_t r = 0; r < rows; r++) {
            const int64_t slot = slot_of[r];
            if (slot >= 0 && (!ids || mp_row_is_promised(contract, (mp_stage)stage, ids[slot]))) continue;
            bits[r / 8] = (uint8_t)(bits[r / 8] | 1 << (r % 8));
            any = true;
        }
    }
    const bool there = row_of_slot && slot_of && bits;
    free(row_of_slot);
    free(slot_of);
    if (there && any)
        *left_out = bits;
    else
        free(bits);
    return there ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory to mark %lld rows", (long long)rows);
}
