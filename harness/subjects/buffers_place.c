/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors at their places in a buffer: behind its beginning, or with gaps between their rows. */
#include "harness/subjects/buffers_inside.h"

#include <stdlib.h>
#include <string.h>

void mp_fill_gap(mp_dtype dtype, void *to, size_t bytes) {
    if (dtype == MP_UE8M0 || dtype == MP_E4M3)
        memset(to, dtype == MP_UE8M0 ? 0xFF : 0x7F, bytes);
    else
        mp_fill_pattern(to, bytes, MP_GUARD_PATTERN);
}

typedef struct image {
    char *buffer;
    char *packed;
} image;

static void put_row(void *ctx, size_t at, size_t row, size_t bytes) {
    const image *i = ctx;
    memcpy(i->buffer + at, i->packed + row, bytes);
}

static void get_row(void *ctx, size_t at, size_t row, size_t bytes) {
    const image *i = ctx;
    memcpy(i->packed + row, i->buffer + at, bytes);
}

mp_status mp_allocate_for(int id, size_t bytes, char **data, mp_error *err) {
    *data = malloc(bytes + 1);
    return *data ? MP_OK
                 : mp_fail(err, MP_EMEMORY, "no memory for %zu bytes of %s", bytes,
                           mp_tensor_name((mp_tensor_id)id));
}

mp_status mp_read_buffer(const mp_buffers *b, int id, char **data, mp_error *err) {
    const size_t bytes = b->place[id].bytes;
    const mp_status status = mp_allocate_for(id, bytes, data, err);
    return status == MP_OK ? b->space->read(b->space->self, *data, b->buffer[id], bytes, err) : status;
}

mp_status mp_read_placed(const mp_buffers *b, int id, void *to, mp_error *err) {
    image i = {NULL, to};
    if (b->place[id].packed)
        return b->space->read(b->space->self, to, b->t[id].data, mp_tensor_bytes(&b->t[id]), err);
    const mp_status status = mp_read_buffer(b, id, &i.buffer, err);
    if (status == MP_OK) mp_placement_rows(&b->place[id], &b->t[id], get_row, &i);
    free(i.buffer);
    return status;
}

mp_status mp_write_placed(const mp_buffers *b, int id, void *from, mp_error *err) {
    const mp_placement *place = &b->place[id];
    if (!mp_lies_elsewhere(place))
        return b->space->write(b->space->self, b->t[id].data, from, place->bytes, err);
    image i = {NULL, from};
    mp_status status = mp_allocate_for(id, place->bytes, &i.buffer, err);
    if (status == MP_OK) {
        mp_fill_gap(b->t[id].dtype, i.buffer, place->bytes);
        mp_placement_rows(place, &b->t[id], put_row, &i);
        status = b->space->write(b->space->self, b->buffer[id], i.buffer, place->bytes, err);
    }
    free(i.buffer);
    return status;
}
