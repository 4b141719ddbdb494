/* SPDX-License-Identifier: Apache-2.0 */
/* What a run has left: on the host, or as digests of rows while it lies where it is. */
#include "harness/subjects/buffers_inside.h"

#include <stdlib.h>
#include <string.h>

static bool is_left(const mp_buffers *b, int id) {
    return b->left & b->offer.exposes & MP_IN_SET(id);
}

bool mp_is_compared_by_digests(const mp_tensor *t, mp_tensor_id id) {
    enum { SMALLER = 4 };
    return mp_tensors[id].rows != MP_ROWS_CHUNK && mp_tensor_count(t) > 0 &&
           mp_tensor_row_bytes(t) >= SMALLER * sizeof(uint64_t);
}

static bool is_marked(const mp_buffers *b, int id) {
    return is_left(b, id) && b->space != &mp_host_space && b->space->digest_rows && b->place[id].packed &&
           mp_is_compared_by_digests(&b->t[id], (mp_tensor_id)id);
}

static void begin_trace(const mp_buffers *b, mp_trace *trace) {
    *trace = (mp_trace){.block_size_m = b->offer.config.up.block_size_m};
    memcpy(trace->stage_ns, b->stage_ns, sizeof trace->stage_ns);
}

/* What is asked of the space at once. */
typedef struct asked {
    mp_region regions[MP_REGIONS_MAX];
    mp_rows_region rows[MP_TENSOR_COUNT];
    mp_reading readings[MP_TENSOR_COUNT];
    mp_inspection all;
} asked;

static void begin_asking(asked *a) {
    a->all = (mp_inspection){.regions = a->regions, .rows = a->rows, .readings = a->readings};
}

/* Where a tensor goes, and what is to be read of it, if anything is. */
static mp_status ask_for_tensor(mp_buffers *b, int id, asked *a, mp_tensor *to, mp_error *err) {
    mp_tensor t = b->t[id];
    if (b->use == MP_BUFFERS_ONCE && b->space == &mp_host_space && !mp_lies_elsewhere(&b->place[id])) {
        b->buffer[id] = NULL; /* given away */
        *to = t;
        return MP_OK;
    }
    mp_status status = mp_tensor_alloc_unfilled(&t, err);
    if (status == MP_OK && b->place[id].packed)
        a->readings[a->all.reading_count++] = (mp_reading){t.data, b->t[id].data, mp_tensor_bytes(&t)};
    else if (status == MP_OK)
        status = mp_read_placed(b, id, t.data, err);
    *to = t;
    return status;
}

/* All that is not on the host yet; `marked`: that of which there are digests too. */
static mp_status ask_for_tensors(mp_buffers *b, bool marked, asked *a, mp_trace *trace, mp_error *err) {
    mp_status status = MP_OK;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++)
        if (is_left(b, id) && !trace->t[id].data && (marked || !trace->row_digest[id]))
            status = ask_for_tensor(b, id, a, &trace->t[id], err);
    return status;
}

static mp_status fetch_all(mp_buffers *b, mp_trace *trace, mp_error *err) {
    asked a;
    begin_asking(&a);
    const mp_status status = ask_for_tensors(b, true, &a, trace, err);
    return status == MP_OK && a.all.reading_count > 0 ? mp_space_inspect(b->space, &a.all, err) : status;
}

mp_status mp_buffers_collect(mp_buffers *b, mp_trace *trace, mp_error *err) {
    begin_trace(b, trace);
    return fetch_all(b, trace, err);
}

mp_status mp_buffers_fetch(mp_buffers *b, mp_trace *trace, mp_error *err) {
    return fetch_all(b, trace, err);
}

static mp_status ask_for_digests(const mp_buffers *b, asked *a, mp_trace *trace, mp_error *err) {
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const mp_tensor *t = &b->t[id];
        if (!is_marked(b, id)) continue;
        trace->row_digest[id] = malloc((size_t)mp_tensor_rows(t) * sizeof **trace->row_digest);
        if (!trace->row_digest[id])
            return mp_fail(err, MP_EMEMORY, "no memory for digests of %lld rows",
                           (long long)mp_tensor_rows(t));
        a->rows[a->all.rows_count++] =
            (mp_rows_region){t->data, mp_tensor_row_bytes(t), mp_tensor_rows(t), trace->row_digest[id]};
        trace->t[id] = *t;
        trace->t[id].data = NULL;
    }
    return MP_OK;
}

mp_status mp_buffers_mark(mp_buffers *b, mp_surroundings_report *report, mp_trace *trace, mp_error *err) {
    asked a;
    begin_asking(&a);
    begin_trace(b, trace);
    *report = (mp_surroundings_report){0};
    a.all.region_count = mp_buffers_regions(b, a.regions);
    mp_status status = ask_for_digests(b, &a, trace, err);
    if (status == MP_OK) status = ask_for_tensors(b, false, &a, trace, err);
    if (status == MP_OK) status = mp_space_inspect(b->space, &a.all, err);
    return status == MP_OK ? mp_buffers_tell(b, a.regions, report, err) : status;
}
