/* SPDX-License-Identifier: Apache-2.0 */
/* Inputs on their way into a run's buffers: found there, copied from where they lie in the same space, made
 * by the device, or written from the host; and the digests by which they are known again. */
#include "harness/subjects/buffers_inside.h"

#include "cases/deferred.h"
#include "kernels/cuda.h"

#include <stdlib.h>

static void note_digest(mp_buffers *b, int id, const mp_region *region) {
    b->digest[id] = region->digest;
    if (!b->copy[id]) return;
    b->copy[id]->digest = region->digest;
    b->copy[id]->sure = region->intact;
}

/* Of inputs that have just been written. */
static mp_status note_digests(mp_buffers *b, mp_tensor_set written, mp_error *err) {
    mp_region regions[MP_TENSOR_COUNT];
    int count = 0;
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (written & MP_IN_SET(id)) regions[count++] = mp_region_of_input(b, id);
    const mp_status status = b->space->survey(b->space->self, regions, count, err);
    for (int id = MP_TENSOR_COUNT - 1; id >= 0; id--)
        if (written & MP_IN_SET(id)) note_digest(b, id, &regions[--count]);
    return status;
}

/* Of what has just been written from there, if it is small, by the host: nobody waits for the device. */
static bool note_own_digest(mp_buffers *b, int id, const void *written) {
    enum { SMALL = 64 << 10 };
    const mp_placement *place = &b->place[id];
    if (!b->space->one_digest || mp_lies_elsewhere(place) || place->bytes > SMALL) return false;
    const mp_region region = {.intact = true, .digest = mp_space_row_digest(written, place->bytes)};
    note_digest(b, id, &region);
    return true;
}

/* Whether a copy that was in a subject's hands, and that nobody has looked at since, is what it was. Of less
 * than this the look takes longer than writing it anew. */
static mp_status is_still_there(mp_buffers *b, int id, bool *there, mp_error *err) {
    mp_copy *copy = b->copy[id];
    const size_t worth_a_look = (size_t)1 << 20;
    *there = copy->sure;
    if (copy->sure || copy->digest == 0 || copy->key.place.bytes < worth_a_look) return MP_OK;
    mp_region region = {
        .data = copy->data, .bytes = copy->key.place.bytes, .digested = copy->key.place.bytes};
    const mp_status status = b->space->survey(b->space->self, &region, 1, err);
    *there = copy->sure = status == MP_OK && region.intact && region.digest == copy->digest;
    return status;
}

/* Gets an input of known content its buffer: one in which it is already (*there), or may be kept. */
static mp_status take_copy(mp_buffers *b, int id, uint64_t content, bool *there, mp_error *err) {
    const mp_copy_key key = mp_copy_key_of(b->c, (mp_tensor_id)id, &b->t[id], content);
    mp_status status = MP_OK;
    if (!b->copy[id] || !mp_copy_is(b->copy[id], &key)) {
        mp_give_back(b, id);
        status = mp_copies_take(b->copies, &key, &b->copy[id], err);
        if (status != MP_OK) return status;
        b->buffer[id] = b->copy[id]->data;
        b->bytes[id] = key.place.bytes;
    }
    status = is_still_there(b, id, there, err);
    if (status != MP_OK) return status;
    if (*there) b->digest[id] = b->copy[id]->digest;
    return mp_place(b, id, err);
}

/* The same of any other; *there: it is borrowed, and was written before. */
static mp_status take_own(mp_buffers *b, int id, const void *data, bool borrowed, bool *there,
                          mp_error *err) {
    const mp_placement before = b->place[id];
    if (b->copy[id]) mp_give_back(b, id);
    mp_status status = b->buffer[id] ? MP_OK : mp_get_tensor(b, id, err);
    if (status == MP_OK) status = mp_place(b, id, err);
    *there = borrowed && b->borrowed[id] == data && mp_placement_same(&before, &b->place[id]);
    b->borrowed[id] = borrowed ? data : NULL;
    return status;
}

/* Of what the subject gets: experts may have other numbers there. */
static uint64_t content_of(const mp_inputs *in, int id) {
    return mp_inputs_sealed(in, (mp_tensor_id)(mp_inputs_as_given(in, (mp_tensor_id)id) - in->t));
}

/* Makes an input that nobody has made yet: where the subject reads it, or on the host, from where it is to be
 * written (*on_host), as all others are. The tensor b->t[id] lies as `place` says. */
static mp_status make_there(mp_buffers *b, int id, const mp_placement *place, const mp_tensor *from,
                            bool *on_host, mp_error *err) {
    const mp_numbers *numbers = mp_deferred_numbers(from);
    *on_host = !numbers || !mp_cuda_fills(b->space) || mp_lies_elsewhere(place);
    if (!*on_host) return mp_cuda_fill(b->space, &b->t[id], numbers, mp_deferred_source(from), err);
    mp_tensor_make(from, NULL);
    return MP_OK;
}

static mp_status place_input(mp_buffers *b, int id, const mp_inputs *in, const mp_tensor *from,
                             mp_tensor_set *written, mp_error *err) {
    const uint64_t content = content_of(in, id);
    const bool known = mp_waits_for_content(b, id) && content;
    bool there = false;
    const mp_status status = known ? take_copy(b, id, content, &there, err)
                                   : take_own(b, id, from->data, in->borrowed[id], &there, err);
    if (status != MP_OK || there) return status;
    *written |= MP_IN_SET(id);
    if (b->copies && content) {
        const mp_copy_key key = mp_copy_key_of(b->c, (mp_tensor_id)id, &b->t[id], content);
        const mp_copy *copy = mp_copies_find(b->copies, &key);
        if (copy) return b->space->copy(b->space->self, b->buffer[id], copy->data, key.place.bytes, err);
    }
    bool on_host;
    const mp_status made = make_there(b, id, &b->place[id], from, &on_host, err);
    if (made != MP_OK || !on_host) return made;
    const mp_status wrote = mp_write_placed(b, id, from->data, err);
    if (wrote == MP_OK && note_own_digest(b, id, from->data)) *written &= ~MP_IN_SET(id);
    return wrote;
}

/* A judge bounds sums by the largest numbers of what is multiplied, which the host has not got: they are
 * looked for where the subject reads them. */
static mp_status find_largest(const mp_buffers *b, int id, const mp_tensor *from, mp_error *err) {
    if (!mp_deferred_lacks_largest(from) || !mp_cuda_fills(b->space) || mp_lies_elsewhere(&b->place[id]))
        return MP_OK;
    const int64_t matrices = mp_deferred_matrices(from);
    unsigned *magnitude = malloc((size_t)matrices * sizeof *magnitude);
    if (!magnitude) return mp_fail(err, MP_EMEMORY, "no memory for %lld numbers", (long long)matrices);
    mp_status status =
        mp_cuda_largest(b->space, &b->t[id], &mp_deferred_numbers(from)->format, matrices, magnitude, err);
    if (status == MP_OK) status = mp_deferred_take_largest(from, magnitude, err);
    free(magnitude);
    return status;
}

mp_status mp_place_inputs(mp_buffers *b, const mp_inputs *in, const mp_tensor given[MP_TENSOR_COUNT],
                          mp_error *err) {
    const mp_space *space = b->space;
    mp_tensor_set written = 0;
    mp_status status = MP_OK;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        if (!(b->inputs & MP_IN_SET(id)) || !given[id].data) continue;
        b->t[id] = given[id];
        b->t[id].maker = NULL; /* of what the subject gets all is there */
        if (mp_is_the_output(b->c, &b->offer, id)) {
            bool on_host;
            b->t[id].data = b->t[MP_OUT].data;
            status = make_there(b, id, &b->place[MP_OUT], &given[id], &on_host, err);
            if (status == MP_OK && !on_host) status = find_largest(b, id, &given[id], err);
            if (status == MP_OK && on_host)
                status = space->write(space->self, b->t[id].data, given[id].data, mp_tensor_bytes(&given[id]),
                                      err);
        } else if (mp_has_buffer(b, id)) {
            status = place_input(b, id, in, &given[id], &written, err);
            if (status == MP_OK) status = find_largest(b, id, &given[id], err);
        } else {
            mp_tensor_make(&given[id], NULL); /* handed over as it lies */
        }
    }
    return status == MP_OK ? note_digests(b, written, err) : status;
}
