/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/goldens/marks.h"

#include "cases/fill.h"
#include "golden/files.h"
#include "golden/left_out.h"
#include "ref/pipeline.h"

#include <stdlib.h>

/* What align leaves of a case, and the shapes of all else: enough to tell which slot a row holds. Where the
 * slots of an expert lie among its rows is not known, but they are all alike. */
typedef struct layout {
    mp_trace trace;
    mp_inputs inputs; /* topk_ids alone */
} layout;

static const mp_tensor_id aligned[] = {MP_SORTED_TOKEN_IDS, MP_EXPERT_IDS, MP_NUM_TOKENS_POST_PADDED};
enum { ALIGNED = sizeof aligned / sizeof *aligned };

static void free_layout(layout *l) {
    for (int i = 0; i < ALIGNED; i++) mp_tensor_free(&l->trace.t[aligned[i]]);
    mp_tensor_free(&l->inputs.t[MP_TOPK_IDS]);
}

static mp_status make_layout(const mp_golden_entry *entry, layout *l, mp_error *err) {
    static char somewhere; /* rows are looked for in a cache that is there; nobody reads it */
    const mp_case *c = &entry->c;
    mp_tensor *ids = &l->inputs.t[MP_TOPK_IDS], t[MP_TENSOR_COUNT] = {0};
    *l = (layout){.trace.block_size_m = entry->block_size_m};
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        l->trace.t[id] = mp_golden_planned(entry, (mp_tensor_id)id);
        if (l->trace.t[id].rank > 0) l->trace.t[id].data = &somewhere;
    }
    for (int i = 0; i < ALIGNED; i++) l->trace.t[aligned[i]] = (mp_tensor){0};
    *ids = mp_case_shape(c, MP_TOPK_IDS, entry->block_size_m);
    mp_status status = mp_tensor_alloc(ids, MP_POISON_A, err);
    if (status == MP_OK) status = mp_fill_topk_ids(c, false, ids, err);
    for (int i = 0; i < ALIGNED && status == MP_OK && c->layout != MP_ROUTE; i++) {
        l->trace.t[aligned[i]] = mp_case_shape(c, aligned[i], entry->block_size_m);
        status = mp_tensor_alloc(&l->trace.t[aligned[i]], MP_POISON_A, err);
    }
    if (status != MP_OK || c->layout == MP_ROUTE) return status;
    t[MP_TOPK_IDS] = *ids;
    for (int i = 0; i < ALIGNED; i++) t[aligned[i]] = l->trace.t[aligned[i]];
    return mp_ref_align(c, entry->block_size_m, t, err);
}

/* marks: those of the file. */
static mp_status check_tensor(const mp_golden_entry *entry, const layout *l, mp_tensor_id id,
                              const uint8_t *marks, mp_error *err) {
    const mp_contract weakest = mp_contract_weakest(); /* it lets leave out most */
    uint8_t *may = NULL;
    mp_status status = mp_rows_left_out(&entry->c, &weakest, &l->trace, &l->inputs, id, &may, err);
    for (int64_t row = 0; status == MP_OK && row < mp_tensor_rows(&l->trace.t[id]); row++)
        if (mp_is_left_out(marks, row) && !mp_is_left_out(may, row))
            status =
                mp_fail(err, MP_EINPUT,
                        "%s.left_out marks row %lld, which holds a result by the case: expected marks at "
                        "padding and filtered slots alone",
                        mp_tensor_name(id), (long long)row);
    free(may);
    return status;
}

static mp_status check_case(mp_golden *golden, const mp_golden_entry *entry, mp_error *err) {
    layout l = {0};
    bool made = false;
    mp_status status = MP_OK;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        uint8_t *marks;
        status = mp_golden_left_out(golden, entry->name, (mp_tensor_id)id, &marks, err);
        if (!marks) continue;
        if (!made) status = make_layout(entry, &l, err);
        made = true;
        if (status == MP_OK) status = check_tensor(entry, &l, (mp_tensor_id)id, marks, err);
        if (status != MP_OK) mp_error_prefix(err, "%s: %s", mp_golden_path(golden), entry->name);
        free(marks);
    }
    free_layout(&l);
    return status;
}

mp_status mp_golden_check_marks(mp_golden *golden, mp_error *err) {
    mp_status status = MP_OK;
    if (mp_golden_fill_version(golden) != MP_FILL_VERSION) return MP_OK;
    for (size_t i = 0; i < mp_golden_count(golden) && status == MP_OK; i++) {
        const mp_golden_entry *entry = mp_golden_at(golden, i);
        if (entry->c.data != MP_FROM_FILE) status = check_case(golden, entry, err);
    }
    return status;
}
