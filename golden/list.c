/* SPDX-License-Identifier: Apache-2.0 */
/* What is in a golden. */
#include "golden/files.h"
#include "golden/store.h"

#include <stdio.h>
#include <string.h>

typedef struct stored_counts {
    int full, digests;
    unsigned long long bytes;
    bool inputs;
} stored_counts;

static mp_status count_stored(hid_t group, const mp_golden_entry *entry, stored_counts *n, mp_error *err) {
    mp_status status = MP_OK;
    for (int t = 0; status == MP_OK && t < MP_TENSOR_COUNT; t++) {
        mp_stored stored;
        const mp_tensor plan = mp_golden_planned(entry, (mp_tensor_id)t);
        status = mp_stored_open(group, mp_tensor_name((mp_tensor_id)t), &plan, &stored, err);
        if (status != MP_OK || stored.dataset < 0) continue;
        *(stored.digest ? &n->digests : &n->full) += 1;
        n->bytes += H5Dget_storage_size(stored.dataset);
        mp_stored_close(&stored);
    }
    return status == MP_OK ? mp_h5_find(group, MP_INPUTS_GROUP, &n->inputs, err) : status;
}

mp_status mp_golden_list(mp_golden *golden, void (*report)(void *ctx, const char *line), void *ctx,
                         mp_error *err) {
    char line[MP_CASE_TEXT_MAX + 256 + sizeof(mp_provenance)];
    for (size_t i = 0; i < golden->count; i++) {
        const char *name = golden->entries[i].name; /* the text of a case: it can be printed as it is */
        stored_counts n = {0};
        hid_t group = mp_golden_open_case(golden, name, err);
        if (group < 0) return MP_EINPUT;
        const mp_status status = count_stored(group, &golden->entries[i], &n, err);
        H5Gclose(group);
        if (status != MP_OK) {
            mp_error_prefix(err, "%s: %s", golden->path, name);
            return status;
        }
        size_t used =
            (size_t)snprintf(line, sizeof line, "%s: %d tensors in full, %d as digests, %llu bytes%s", name,
                             n.full, n.digests, n.bytes, n.inputs ? ", with inputs" : "");
        const mp_provenance *who = golden->entries[i].who;
        if (who != &golden->who)
            snprintf(line + used, sizeof line - used,
                     "; made by moeparity %s (%s), subject %s on %s %s, %s, origin %s", who->version,
                     who->commit, who->subject, who->device, who->versions, who->date, who->origin);
        report(ctx, line);
    }
    return MP_OK;
}
