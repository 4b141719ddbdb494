/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/subjects/buffers_inside.h"

#include "cases/deferred.h"
#include "kernels/cuda.h"
#include "ref/pipeline.h"

#include <stdlib.h>
#include <string.h>

static mp_tensor_set tensors_of(const mp_case *c, const mp_offer *offer) {
    return mp_case_inputs(c) | offer->exposes;
}

void mp_buffer_sizes_add(const mp_case *c, const mp_offer *offer, mp_buffer_sizes *sizes) {
    const mp_tensor_set tensors = tensors_of(c, offer);
    sizes->given |= mp_case_inputs(c) & ~mp_case_derived_inputs(c);
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        if (!(tensors & MP_IN_SET(id)) || mp_is_the_output(c, offer, id)) continue;
        const mp_tensor t = mp_case_shape(c, (mp_tensor_id)id, offer->config.up.block_size_m);
        const mp_placement place = mp_case_placement(c, (mp_tensor_id)id, &t);
        sizes->tensors |= MP_IN_SET(id);
        if (mp_lies_elsewhere(&place)) sizes->placed |= MP_IN_SET(id);
        if (place.bytes > sizes->tensor[id]) sizes->tensor[id] = place.bytes;
    }
    for (int i = 0; i < MP_WORKSPACES; i++)
        if (offer->workspace_bytes[i] > sizes->workspace[i]) sizes->workspace[i] = offer->workspace_bytes[i];
}

/* ---- opening and closing ---- */

bool mp_has_buffer(const mp_buffers *b, int id) {
    const bool handed_over = b->space == &mp_host_space &&
                             (b->sizes.given & ~b->sizes.placed & MP_IN_SET(id)) &&
                             (b->use == MP_BUFFERS_ONCE || mp_tensors[id].rows == MP_ROWS_WHOLE);
    return (b->sizes.tensors & MP_IN_SET(id)) && !handed_over;
}

/* Copies of weights that nobody uses make room. */
static mp_status get_buffer(const mp_buffers *b, size_t bytes, void **buffer, mp_error *err) {
    mp_status status = b->space->alloc(b->space->self, bytes, b->poison, buffer, err);
    if (status == MP_EMEMORY && mp_copies_make_room(b->copies))
        status = b->space->alloc(b->space->self, bytes, b->poison, buffer, err);
    return status;
}

static mp_status get_tensor(mp_buffers *b, int id, mp_error *err) {
    const mp_status status = get_buffer(b, b->sizes.tensor[id], &b->buffer[id], err);
    b->bytes[id] = b->sizes.tensor[id];
    if (status != MP_OK) mp_error_prefix(err, "%s%s", b->space->name, mp_tensor_name((mp_tensor_id)id));
    return status;
}

/* What is read may be there already: that shows when a case is loaded. Where all addresses stay, tensors
 * whose content changes from load to load have a buffer of their own. */
static bool waits_for_content(const mp_buffers *b, int id) {
    return b->copies && (b->sizes.given & MP_IN_SET(id)) &&
           (b->use == MP_BUFFERS_ONCE || mp_tensors[id].rows == MP_ROWS_WHOLE);
}

static mp_status open_all(mp_buffers *b, mp_error *err) {
    const mp_space *space = b->space;
    mp_status status = MP_OK;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++)
        if (mp_has_buffer(b, id) && !waits_for_content(b, id)) status = get_tensor(b, id, err);
    for (int i = 0; i < MP_WORKSPACES && status == MP_OK; i++) {
        const size_t bytes = b->sizes.workspace[i];
        if (bytes) status = get_buffer(b, bytes, &b->workspace[i], err);
        if (status != MP_OK) mp_error_prefix(err, "%sworkspace %d of %zu bytes", space->name, i, bytes);
    }
    return status;
}

mp_status mp_buffers_open(const mp_subject *subject, const mp_buffer_sizes *sizes, mp_buffers_use use,
                          uint32_t poison, mp_buffers **buffers, mp_error *err) {
    mp_buffers *b = *buffers = calloc(1, sizeof *b);
    if (!b) return mp_fail(err, MP_EMEMORY, "no memory for a run's buffers");
    b->space = subject->space ? subject->space : &mp_host_space;
    b->use = use;
    b->sizes = *sizes;
    b->poison = poison;
    b->copies = mp_copies_serve(subject->copies, b->space) ? subject->copies : NULL;
    const mp_status status = open_all(b, err);
    if (status != MP_OK) {
        mp_buffers_close(b);
        *buffers = NULL;
    }
    return status;
}

static void give_back(mp_buffers *b, int id) {
    if (b->copy[id])
        mp_copies_leave(b->copies, b->copy[id]);
    else
        b->space->free(b->space->self, b->buffer[id]);
    b->copy[id] = NULL;
    b->buffer[id] = NULL;
}

void mp_buffers_close(mp_buffers *b) {
    if (!b) return;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) give_back(b, id);
    for (int i = 0; i < MP_WORKSPACES; i++) b->space->free(b->space->self, b->workspace[i]);
    free(b);
}

/* ---- a case ---- */

/* Align's tensors where align is no stage of the case: made on the host, then handed over like any input. */
static mp_status derive_inputs(const mp_case *c, int block_size_m, mp_tensor derived[MP_TENSOR_COUNT],
                               mp_error *err) {
    const mp_tensor_set set = mp_case_derived_inputs(c);
    mp_status status = MP_OK;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        if (!(set & MP_IN_SET(id))) continue;
        derived[id] = mp_case_shape(c, (mp_tensor_id)id, block_size_m);
        status = mp_tensor_alloc(&derived[id], MP_POISON_A, err);
    }
    return status == MP_OK && set ? mp_ref_align(c, block_size_m, derived, err) : status;
}

/* Gives the tensor of this shape its buffer, and says so if that is too small. */
static mp_status place(mp_buffers *b, int id, mp_error *err) {
    b->place[id] = mp_case_placement(b->c, (mp_tensor_id)id, &b->t[id]);
    const size_t bytes = b->place[id].bytes;
    if (b->buffer[id]) b->t[id].data = (char *)b->buffer[id] + b->place[id].first;
    if (!b->buffer[id] || bytes > b->bytes[id])
        return mp_fail(err, MP_EINTERNAL, "%s needs %zu bytes of a buffer of %zu",
                       mp_tensor_name((mp_tensor_id)id), bytes, b->buffer[id] ? b->bytes[id] : 0);
    return MP_OK;
}

/* The gaps of an output, however the buffer was used before. Elements keep what they hold; before the first
 * run that is poison, whose bytes follow from their place in the packed tensor. */
static mp_status fill_gaps(const mp_buffers *b, int id, bool first, mp_error *err) {
    enum { MOST = 64 * 8 };
    char gap[MOST], *packed = NULL;
    const mp_placement *place = &b->place[id];
    if (!mp_lies_elsewhere(place)) return MP_OK;
    if (place->packed && !first) {
        const size_t before = place->first < MOST ? place->first : MOST;
        mp_fill_gap(b->t[id].dtype, gap, before);
        return b->space->write(b->space->self, b->buffer[id], gap, before, err);
    }
    mp_status status = mp_allocate_for(id, mp_tensor_bytes(&b->t[id]), &packed, err);
    if (status == MP_OK && first) mp_fill_pattern(packed, mp_tensor_bytes(&b->t[id]), b->poison);
    if (status == MP_OK && !first) status = mp_read_placed(b, id, packed, err);
    if (status == MP_OK) status = mp_write_placed(b, id, packed, err);
    free(packed);
    return status;
}

static mp_status place_outputs(mp_buffers *b, bool first, mp_error *err) {
    mp_status status = MP_OK;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        if (!(b->offer.exposes & MP_IN_SET(id))) continue;
        b->t[id] = mp_case_shape(b->c, (mp_tensor_id)id, b->offer.config.up.block_size_m);
        status = place(b, id, err);
        if (status == MP_OK) status = fill_gaps(b, id, first, err);
    }
    for (int i = 0; i < MP_WORKSPACES && status == MP_OK; i++)
        if (b->offer.workspace_bytes[i] > b->sizes.workspace[i])
            status = mp_fail(err, MP_EINTERNAL, "workspace %d needs %zu bytes of a buffer of %zu", i,
                             b->offer.workspace_bytes[i], b->sizes.workspace[i]);
    return status;
}

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

static mp_copy_key key_of(const mp_buffers *b, int id, uint64_t content) {
    const mp_placement at = mp_case_placement(b->c, (mp_tensor_id)id, &b->t[id]);
    return (mp_copy_key){(mp_tensor_id)id, b->t[id].dtype, content, at};
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
    const mp_copy_key key = key_of(b, id, content);
    mp_status status = MP_OK;
    if (!b->copy[id] || !mp_copy_is(b->copy[id], &key)) {
        give_back(b, id);
        status = mp_copies_take(b->copies, &key, &b->copy[id], err);
        if (status != MP_OK) return status;
        b->buffer[id] = b->copy[id]->data;
        b->bytes[id] = key.place.bytes;
    }
    status = is_still_there(b, id, there, err);
    if (status != MP_OK) return status;
    if (*there) b->digest[id] = b->copy[id]->digest;
    return place(b, id, err);
}

/* The same of any other; *there: it is borrowed, and was written before. */
static mp_status take_own(mp_buffers *b, int id, const void *data, bool borrowed, bool *there,
                          mp_error *err) {
    const mp_placement before = b->place[id];
    if (b->copy[id]) give_back(b, id);
    mp_status status = b->buffer[id] ? MP_OK : get_tensor(b, id, err);
    if (status == MP_OK) status = place(b, id, err);
    *there = borrowed && b->borrowed[id] == data && mp_placement_same(&before, &b->place[id]);
    b->borrowed[id] = borrowed ? data : NULL;
    return status;
}

/* Of what the subject gets: experts may have other numbers there. */
static uint64_t content_of(const mp_inputs *in, int id) {
    return mp_inputs_sealed(in, (mp_tensor_id)(mp_inputs_as_given(in, (mp_tensor_id)id) - in->t));
}

static mp_status place_input(mp_buffers *b, int id, const mp_inputs *in, const mp_tensor *from,
                             mp_tensor_set *written, mp_error *err) {
    const uint64_t content = content_of(in, id);
    const bool known = waits_for_content(b, id) && content;
    bool there = false;
    const mp_status status = known ? take_copy(b, id, content, &there, err)
                                   : take_own(b, id, from->data, in->borrowed[id], &there, err);
    if (status != MP_OK || there) return status;
    *written |= MP_IN_SET(id);
    if (b->copies && content) {
        const mp_copy_key key = key_of(b, id, content);
        const mp_copy *copy = mp_copies_find(b->copies, &key);
        if (copy) return b->space->copy(b->space->self, b->buffer[id], copy->data, key.place.bytes, err);
    }
    const mp_normal *normal = mp_deferred_normal(from);
    if (normal && mp_cuda_fills(b->space) && !mp_lies_elsewhere(&b->place[id]))
        return mp_cuda_fill(b->space, &b->t[id], normal, err);
    mp_tensor_make(from, NULL);
    const mp_status wrote = mp_write_placed(b, id, from->data, err);
    if (wrote == MP_OK && note_own_digest(b, id, from->data)) *written &= ~MP_IN_SET(id);
    return wrote;
}

/* given: what the subject gets. */
static mp_status place_inputs(mp_buffers *b, const mp_inputs *in, const mp_tensor given[MP_TENSOR_COUNT],
                              mp_error *err) {
    const mp_space *space = b->space;
    mp_tensor_set written = 0;
    mp_status status = MP_OK;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        if (!(b->inputs & MP_IN_SET(id)) || !given[id].data) continue;
        b->t[id] = given[id];
        if (mp_is_the_output(b->c, &b->offer, id)) {
            b->t[id].data = b->t[MP_OUT].data;
            status =
                space->write(space->self, b->t[id].data, given[id].data, mp_tensor_bytes(&given[id]), err);
        } else if (mp_has_buffer(b, id)) {
            status = place_input(b, id, in, &given[id], &written, err);
        } else {
            mp_tensor_make(&given[id], NULL); /* handed over as it lies */
        }
    }
    return status == MP_OK ? note_digests(b, written, err) : status;
}

mp_status mp_buffers_load(mp_buffers *b, const mp_case *c, const mp_offer *offer, const mp_inputs *in,
                          mp_error *err) {
    mp_tensor inputs[MP_TENSOR_COUNT];
    const bool first = !b->c;
    b->c = c;
    b->inputs = mp_case_inputs(c);
    b->offer = *offer;
    memset(b->t, 0, sizeof b->t);
    memcpy(inputs, in->t, sizeof inputs);
    mp_status status = derive_inputs(c, offer->config.up.block_size_m, inputs, err);
    inputs[MP_TOPK_IDS] = *mp_inputs_as_given(in, MP_TOPK_IDS);
    if (status == MP_OK) status = place_outputs(b, first, err);
    if (status == MP_OK) status = place_inputs(b, in, inputs, err);
    const mp_tensor_set derived = mp_case_derived_inputs(c);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (derived & MP_IN_SET(id)) mp_tensor_free(&inputs[id]);
    return status;
}

mp_execution mp_buffers_execution(mp_buffers *b) {
    memcpy(b->view, b->t, sizeof b->view);
    for (int i = 0; i < MP_WORKSPACES; i++)
        b->workspace_view[i] = b->offer.workspace_bytes[i] ? b->workspace[i] : NULL;
    memset(b->stage_ns, 0, sizeof b->stage_ns);
    b->left = b->offer.exposes;
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (b->copy[id]) b->copy[id]->sure = false; /* until somebody has looked */
    return (mp_execution){.c = b->c,
                          .offer = &b->offer,
                          .t = b->view,
                          .workspace = b->workspace_view,
                          .stage_ns = b->stage_ns,
                          .left = &b->left};
}
