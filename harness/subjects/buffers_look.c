/* SPDX-License-Identifier: Apache-2.0 */
/* What a run did around its outputs: guard zones, gaps and inputs. */
#include "harness/subjects/buffers_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first that was found is told. */
static void tell_guard(const mp_buffers *b, const char *kind, const char *name, const mp_region *r,
                       mp_surroundings_report *report) {
    if (!r->intact && !report->guard[0])
        snprintf(report->guard, sizeof report->guard, "%s%s%s: byte %lld of a buffer of %zu was written",
                 b->space->name, kind, name, (long long)r->offset, r->bytes);
}

static void tell_gap(const mp_buffers *b, int id, const char *kind, size_t at,
                     mp_surroundings_report *report) {
    const mp_placement *place = &b->place[id];
    const bool weights = id == MP_W1 || id == MP_W2;
    const int64_t element = ((int64_t)at - (int64_t)place->first) / (int64_t)mp_dtype_size(b->t[id].dtype);
    const int64_t expert = place->stride[0] > 0 ? element / place->stride[0] : 0,
                  row = place->stride[1] > 0 ? element % place->stride[0] / place->stride[1] : 0;
    char where[96];
    if (at < place->first)
        snprintf(where, sizeof where, "before its first element");
    else if (!weights)
        snprintf(where, sizeof where, "in a gap between scales");
    else if (row < b->t[id].dim[1])
        snprintf(where, sizeof where, "behind row %lld of expert %lld", (long long)row, (long long)expert);
    else
        snprintf(where, sizeof where, "behind expert %lld", (long long)expert);
    snprintf(report->guard, sizeof report->guard, "%s%s%s: byte %zu of a buffer of %zu, %s, was written",
             b->space->name, kind, mp_tensor_name((mp_tensor_id)id), at, place->bytes, where);
}

typedef struct images {
    char *to;
    const char *from;
} images;

/* An element, from one image of the buffer to another. */
static void keep_row(void *ctx, size_t at, size_t row, size_t bytes) {
    const images *i = ctx;
    (void)row;
    memcpy(i->to + at, i->from + at, bytes);
}

/* Whether all that is no element of the tensor still holds the pattern: *intact, or the report says where. */
static mp_status check_gaps(const mp_buffers *b, int id, const char *kind, bool *intact,
                            mp_surroundings_report *report, mp_error *err) {
    const mp_placement *place = &b->place[id];
    char *held = NULL, *gaps = NULL;
    mp_status status = mp_read_buffer(b, id, &held, err);
    if (status == MP_OK) status = mp_allocate_for(id, place->bytes, &gaps, err);
    if (status == MP_OK) {
        size_t at = 0;
        mp_fill_gap(b->t[id].dtype, gaps, place->bytes);
        mp_placement_rows(place, &b->t[id], keep_row, &(images){gaps, held});
        while (at < place->bytes && held[at] == gaps[at]) at++;
        *intact = at == place->bytes;
        if (!*intact && !report->guard[0]) tell_gap(b, id, kind, at, report);
    }
    free(held);
    free(gaps);
    return status;
}

static void tell_input(const mp_buffers *b, int id, uint64_t after, mp_surroundings_report *report) {
    if (after != b->digest[id] && !report->input[0])
        snprintf(report->input, sizeof report->input, "%s%s changed: digest %016llx before, %016llx after",
                 b->space->name, mp_tensor_name((mp_tensor_id)id), (unsigned long long)b->digest[id],
                 (unsigned long long)after);
}

static bool is_input(const mp_buffers *b, int id) {
    return b->inputs & MP_IN_SET(id);
}

static mp_region region_of(const mp_buffers *b, int id) {
    if (!mp_has_buffer(b, id)) /* handed over: who owns it looks after its contents */
        return (mp_region){.data = b->t[id].data, .bytes = mp_tensor_bytes(&b->t[id])};
    if (is_input(b, id)) return mp_region_of_input(b, id);
    return (mp_region){.data = b->buffer[id], .bytes = b->bytes[id]};
}

static bool is_looked_at(const mp_buffers *b, int id) {
    return b->t[id].data && !mp_is_the_output(b->c, &b->offer, id);
}

int mp_buffers_regions(const mp_buffers *b, mp_region regions[MP_REGIONS_MAX]) {
    int count = 0;
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (is_looked_at(b, id)) regions[count++] = region_of(b, id);
    for (int i = 0; i < MP_WORKSPACES; i++)
        if (b->workspace[i])
            regions[count++] = (mp_region){.data = b->workspace[i], .bytes = b->sizes.workspace[i]};
    return count;
}

static mp_status tell_tensor(const mp_buffers *b, int id, const mp_region *r, mp_surroundings_report *report,
                             mp_error *err) {
    const bool input = is_input(b, id), own = mp_has_buffer(b, id);
    const char *kind = input ? "input " : "";
    const bool fills = !input && b->place[id].swizzled; /* padding of tiles is the tensor's own */
    mp_status status = MP_OK;
    bool intact = true;
    tell_guard(b, kind, mp_tensor_name((mp_tensor_id)id), r, report);
    if (own && mp_lies_elsewhere(&b->place[id]) && !fills)
        status = check_gaps(b, id, kind, &intact, report, err);
    if (status == MP_OK && input && own && intact) tell_input(b, id, r->digest, report);
    if (b->copy[id]) b->copy[id]->sure = r->intact && r->digest == b->digest[id];
    return status;
}

mp_status mp_buffers_tell(const mp_buffers *b, const mp_region *r, mp_surroundings_report *report,
                          mp_error *err) {
    mp_status status = MP_OK;
    *report = (mp_surroundings_report){0};
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++)
        if (is_looked_at(b, id)) status = tell_tensor(b, id, r++, report, err);
    for (int i = 0; i < MP_WORKSPACES && status == MP_OK; i++) {
        char name[32];
        snprintf(name, sizeof name, "workspace %d", i);
        if (b->workspace[i]) tell_guard(b, "", name, r++, report);
    }
    return status;
}

mp_status mp_buffers_look(const mp_buffers *b, mp_surroundings_report *report, mp_error *err) {
    mp_region regions[MP_REGIONS_MAX];
    const int count = mp_buffers_regions(b, regions);
    *report = (mp_surroundings_report){0};
    const mp_status status = b->space->survey(b->space->self, regions, count, err);
    return status == MP_OK ? mp_buffers_tell(b, regions, report, err) : status;
}
