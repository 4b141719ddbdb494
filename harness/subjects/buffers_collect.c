/* SPDX-License-Identifier: Apache-2.0 */
/* What a run has left: on the host, or as digests of rows while it lies where it is. */
#include "harness/subjects/buffers_inside.h"

#include <stdlib.h>
#include <string.h>

static bool is_left(const mp_buffers *b, int id) {
    return b->left & b->offer.exposes & MP_IN_SET(id);
}

/* Rows by slot or token are compared by their digests, where these are much smaller and can be made; what has
 * a row a chunk tells which rows those are. */
static bool is_marked(const mp_buffers *b, int id) {
    enum { SMALLER = 4 };
    return is_left(b, id) && b->space != &mp_host_space && b->space->digest_rows && b->place[id].packed &&
           mp_tensors[id].rows != MP_ROWS_CHUNK && mp_tensor_count(&b->t[id]) > 0 &&
           mp_tensor_row_bytes(&b->t[id]) >= SMALLER * sizeof(uint64_t);
}

static void begin_trace(const mp_buffers *b, mp_trace *trace) {
    *trace = (mp_trace){.block_size_m = b->offer.config.up.block_size_m};
    memcpy(trace->stage_ns, b->stage_ns, sizeof trace->stage_ns);
}

/* Where the tensor goes; *reading: what is to be read of it then, if anything is. */
static mp_status fetch(mp_buffers *b, int id, mp_tensor *to, mp_reading *reading, mp_error *err) {
    mp_tensor t = b->t[id];
    *reading = (mp_reading){0};
    if (b->use == MP_BUFFERS_ONCE && b->space == &mp_host_space && !mp_lies_elsewhere(&b->place[id])) {
        b->buffer[id] = NULL; /* given away */
        *to = t;
        return MP_OK;
    }
    mp_status status = mp_tensor_alloc_unfilled(&t, err);
    if (status == MP_OK && b->place[id].packed)
        *reading = (mp_reading){t.data, b->t[id].data, mp_tensor_bytes(&t)};
    else if (status == MP_OK)
        status = mp_read_placed(b, id, t.data, err);
    *to = t;
    return status;
}

static mp_status read_all(const mp_space *space, const mp_reading *readings, int count, mp_error *err) {
    mp_status status = MP_OK;
    if (space->read_all) return space->read_all(space->self, readings, count, err);
    for (const mp_reading *r = readings; r < readings + count && status == MP_OK; r++)
        status = space->read(space->self, r->to, r->from, r->bytes, err);
    return status;
}

/* All that is not on the host yet; `marked`: that of which there are digests too. */
static mp_status fetch_all(mp_buffers *b, bool marked, mp_trace *trace, mp_error *err) {
    mp_reading readings[MP_TENSOR_COUNT];
    mp_status status = MP_OK;
    int count = 0;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        if (!is_left(b, id) || trace->t[id].data || (!marked && trace->row_digest[id])) continue;
        status = fetch(b, id, &trace->t[id], &readings[count], err);
        count += status == MP_OK && readings[count].bytes > 0;
    }
    return status == MP_OK && count > 0 ? read_all(b->space, readings, count, err) : status;
}

mp_status mp_buffers_collect(mp_buffers *b, mp_trace *trace, mp_error *err) {
    begin_trace(b, trace);
    return fetch_all(b, true, trace, err);
}

mp_status mp_buffers_fetch(mp_buffers *b, mp_trace *trace, mp_error *err) {
    return fetch_all(b, true, trace, err);
}

mp_status mp_buffers_mark(mp_buffers *b, mp_trace *trace, mp_error *err) {
    mp_rows_region regions[MP_TENSOR_COUNT];
    int count = 0;
    begin_trace(b, trace);
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const mp_tensor *t = &b->t[id];
        if (!is_marked(b, id)) continue;
        trace->row_digest[id] = malloc((size_t)mp_tensor_rows(t) * sizeof **trace->row_digest);
        if (!trace->row_digest[id])
            return mp_fail(err, MP_EMEMORY, "no memory for digests of %lld rows",
                           (long long)mp_tensor_rows(t));
        regions[count++] =
            (mp_rows_region){t->data, mp_tensor_row_bytes(t), mp_tensor_rows(t), trace->row_digest[id]};
        trace->t[id] = *t;
        trace->t[id].data = NULL;
    }
    const mp_status status = count ? b->space->digest_rows(b->space->self, regions, count, err) : MP_OK;
    return status == MP_OK ? fetch_all(b, false, trace, err) : status;
}
