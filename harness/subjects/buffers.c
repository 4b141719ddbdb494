/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/subjects/buffers_inside.h"

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

mp_status mp_get_tensor(mp_buffers *b, int id, mp_error *err) {
    const mp_status status = get_buffer(b, b->sizes.tensor[id], &b->buffer[id], err);
    b->bytes[id] = b->sizes.tensor[id];
    if (status != MP_OK) mp_error_prefix(err, "%s%s", b->space->name, mp_tensor_name((mp_tensor_id)id));
    return status;
}

/* What is read may be there already: that shows when a case is loaded. Where all addresses stay, tensors
 * whose content changes from load to load have a buffer of their own. */
bool mp_waits_for_content(const mp_buffers *b, int id) {
    return b->copies && (b->sizes.given & MP_IN_SET(id)) &&
           (b->use == MP_BUFFERS_ONCE || mp_tensors[id].rows == MP_ROWS_WHOLE);
}

static mp_status open_all(mp_buffers *b, mp_error *err) {
    const mp_space *space = b->space;
    mp_status status = MP_OK;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++)
        if (mp_has_buffer(b, id) && !mp_waits_for_content(b, id)) status = mp_get_tensor(b, id, err);
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

void mp_give_back(mp_buffers *b, int id) {
    if (b->copy[id])
        mp_copies_leave(b->copies, b->copy[id]);
    else
        b->space->free(b->space->self, b->buffer[id]);
    b->copy[id] = NULL;
    b->buffer[id] = NULL;
}

void mp_buffers_close(mp_buffers *b) {
    if (!b) return;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) mp_give_back(b, id);
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
mp_status mp_place(mp_buffers *b, int id, mp_error *err) {
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
        status = mp_place(b, id, err);
        if (status == MP_OK) status = fill_gaps(b, id, first, err);
    }
    for (int i = 0; i < MP_WORKSPACES && status == MP_OK; i++)
        if (b->offer.workspace_bytes[i] > b->sizes.workspace[i])
            status = mp_fail(err, MP_EINTERNAL, "workspace %d needs %zu bytes of a buffer of %zu", i,
                             b->offer.workspace_bytes[i], b->sizes.workspace[i]);
    return status;
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
    if (status == MP_OK) status = mp_place_inputs(b, in, inputs, err);
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
