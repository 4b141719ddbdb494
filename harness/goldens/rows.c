/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/goldens/rows.h"

#include "cases/case_tools.h"
#include "cases/fill.h"
#include "cases/slots.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool mp_lies_by_alignment(const mp_case *c, mp_tensor_id id) {
    return mp_tensors[id].rows == MP_ROWS_CHUNK ||
           (mp_tensors[id].rows == MP_ROWS_CACHE && c->layout != MP_ROUTE);
}

static mp_status load_if_whole(const mp_golden_side *side, bool input, mp_tensor_id id, mp_row_map *layout,
                               mp_error *err) {
    mp_golden_look look;
    const mp_status status = mp_golden_look_at(side->golden, side->entry, input, id, &look, err);
    if (status != MP_OK) return status;
    layout->has_inputs = layout->has_inputs || (input && look.there);
    if (!look.there || look.digest) return MP_OK;
    return mp_golden_load(side->golden, side->entry, input, id, &layout->t[id], err);
}

/* Ids of a family follow from the case, where the file was filled as this program fills. */
static mp_status make_ids(const mp_golden_side *side, mp_row_map *layout, mp_error *err) {
    mp_inputs plan;
    mp_inputs_plan(&layout->c, &plan);
    mp_tensor *ids = &layout->t[MP_TOPK_IDS];
    if (ids->data || layout->c.data == MP_FROM_FILE || plan.t[MP_TOPK_IDS].rank == 0 ||
        mp_golden_fill_version(side->golden) != MP_FILL_VERSION)
        return MP_OK;
    *ids = plan.t[MP_TOPK_IDS];
    const mp_status status = mp_tensor_alloc(ids, MP_POISON_A, err);
    return status == MP_OK ? mp_fill_topk_ids(&layout->c, false, ids, err) : status;
}

/* An id from a file may be anything. */
static void drop_wrong_ids(mp_row_map *layout) {
    mp_tensor *ids = &layout->t[MP_TOPK_IDS];
    const int32_t *id = ids->data;
    bool right = true;
    for (int64_t i = 0; id && i < mp_tensor_count(ids); i++)
        right = right && id[i] >= -1 && id[i] < layout->c.E;
    if (!right) mp_tensor_free(ids);
}

/* "TILE TILE" of gate_up and down, as recordings have it; another maker's text need not be one. */
static void read_config(const char *config, mp_row_map *layout) {
    char up[128], down[128], text[320];
    mp_case c = layout->c;
    mp_error ignored;
    int end = 0;
    if (sscanf(config, "%127s %127s %n", up, down, &end) != 2 || config[end] != '\0') return;
    snprintf(text, sizeof text, "tile=%s tile_down=%s", up, down);
    if (mp_case_apply(&c, text, &ignored) != MP_OK || c.tile.block_size_m < 1 ||
        c.tile_down.block_size_m < 1 || c.tile.block_size_n < 1 || c.tile_down.block_size_n < 1)
        return;
    layout->config.up = c.tile;
    layout->config.down = c.tile_down;
    layout->has_config = true;
}

/* Rows of the caches, of which any one stands for all. */
static mp_status map_rows(const mp_golden_entry *entry, mp_row_map *layout, mp_error *err) {
    const mp_tensor cache = mp_golden_planned(entry, MP_CACHE1), second = mp_golden_planned(entry, MP_CACHE2),
                    *any = cache.rank > 0 ? &cache : &second;
    layout->slots = mp_case_slots(&layout->c);
    layout->cache_rows = any->rank > 0 ? mp_tensor_rows(any) : layout->slots;
    layout->row_of_slot = malloc((size_t)(layout->slots + 1) * sizeof *layout->row_of_slot);
    layout->slot_of_row = malloc((size_t)(layout->cache_rows + 1) * sizeof *layout->slot_of_row);
    if (!layout->row_of_slot || !layout->slot_of_row)
        return mp_fail(err, MP_EMEMORY, "no memory to map %lld rows", (long long)layout->slots);
    const bool sorted = layout->t[MP_SORTED_TOKEN_IDS].data != NULL;
    layout->rows_known = layout->c.layout == MP_ROUTE ||
                         (sorted && (layout->c.layout != MP_MASKED || layout->t[MP_EXPERT_IDS].data));
    mp_tensor t[MP_TENSOR_COUNT];
    memcpy(t, layout->t, sizeof t);
    if (any->rank > 0) {
        t[MP_CACHE1] = *any; /* its shape is looked at, and that it is there */
        t[MP_CACHE1].data = t;
    }
    mp_trace_slot_rows(&layout->c, t, layout->row_of_slot);
    for (int64_t s = 0; s < layout->slots; s++)
        if (layout->row_of_slot[s] >= layout->cache_rows) layout->row_of_slot[s] = -1;
    mp_slots_of_rows(layout->row_of_slot, layout->slots, layout->slot_of_row, layout->cache_rows);
    return MP_OK;
}

mp_status mp_row_map_read(const mp_golden_side *side, mp_row_map *layout, mp_error *err) {
    *layout = (mp_row_map){.c = side->entry->c};
    mp_status status = load_if_whole(side, true, MP_TOPK_IDS, layout, err);
    if (status == MP_OK) status = load_if_whole(side, false, MP_SORTED_TOKEN_IDS, layout, err);
    if (status == MP_OK) status = load_if_whole(side, false, MP_EXPERT_IDS, layout, err);
    if (status == MP_OK) status = make_ids(side, layout, err);
    drop_wrong_ids(layout);
    read_config(side->entry->config, layout);
    return status == MP_OK ? map_rows(side->entry, layout, err) : status;
}

void mp_row_map_free(mp_row_map *layout) {
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (layout->t[id].data) mp_tensor_free(&layout->t[id]);
    free(layout->row_of_slot);
    free(layout->slot_of_row);
}
