/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/subjects/buffers.h"

#include "cases/graph_tables.h"
#include "ref/pipeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mp_buffers {
    const mp_space *space;
    mp_buffers_use use;
    mp_buffer_sizes sizes;
    uint32_t poison;
    void *buffer[MP_TENSOR_COUNT]; /* NULL where an input is handed over as it lies */
    void *workspace[MP_WORKSPACES];
    /* The case that was loaded last, and where its tensors are. */
    const mp_case *c;
    mp_offer offer;
    mp_tensor t[MP_TENSOR_COUNT];
    mp_placement place[MP_TENSOR_COUNT];   /* in their buffers */
    uint64_t digest[MP_TENSOR_COUNT];      /* of the inputs that have a buffer */
    const void *borrowed[MP_TENSOR_COUNT]; /* the borrowed memory that a buffer has a copy of */
    /* What its run was given. */
    mp_tensor view[MP_TENSOR_COUNT];
    void *workspace_view[MP_WORKSPACES];
    double stage_ns[MP_STAGE_COUNT];
    mp_tensor_set left;
};

/* In place, x is the output's buffer: it will change. */
static bool is_the_output(const mp_case *c, const mp_offer *offer, int id) {
    return id == MP_X && c->mode == MP_MODE_INPLACE && (offer->exposes & MP_IN_SET(MP_OUT));
}

static mp_tensor_set tensors_of(const mp_case *c, const mp_offer *offer) {
    return mp_case_inputs(c) | offer->exposes;
}

/* Not packed on the boundary on which buffers begin. */
static bool lies_elsewhere(const mp_placement *place) {
    return place->first > 0 || !place->packed;
}

void mp_buffer_sizes_add(const mp_case *c, const mp_offer *offer, mp_buffer_sizes *sizes) {
    sizes->given |= mp_case_inputs(c) & ~mp_case_derived_inputs(c);
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        if (!(tensors_of(c, offer) & MP_IN_SET(id)) || is_the_output(c, offer, id)) continue;
        const mp_tensor t = mp_case_shape(c, (mp_tensor_id)id, offer->config.up.block_size_m);
        const mp_placement place = mp_case_placement(c, (mp_tensor_id)id, &t);
        sizes->tensors |= MP_IN_SET(id);
        if (lies_elsewhere(&place)) sizes->placed |= MP_IN_SET(id);
        if (place.bytes > sizes->tensor[id]) sizes->tensor[id] = place.bytes;
    }
    for (int i = 0; i < MP_WORKSPACES; i++)
        if (offer->workspace_bytes[i] > sizes->workspace[i]) sizes->workspace[i] = offer->workspace_bytes[i];
}

/* ---- opening and closing ---- */

static bool has_buffer(const mp_buffers *b, int id) {
    const bool handed_over = b->space == &mp_host_space &&
                             (b->sizes.given & ~b->sizes.placed & MP_IN_SET(id)) &&
                             (b->use == MP_BUFFERS_ONCE || mp_tensors[id].rows == MP_ROWS_WHOLE);
    return (b->sizes.tensors & MP_IN_SET(id)) && !handed_over;
}

static mp_status open_all(mp_buffers *b, uint32_t poison, mp_error *err) {
    const mp_space *space = b->space;
    mp_status status = MP_OK;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        if (!has_buffer(b, id)) continue;
        status = space->alloc(space->self, b->sizes.tensor[id], poison, &b->buffer[id], err);
        if (status != MP_OK) mp_error_prefix(err, "%s%s", space->name, mp_tensor_name((mp_tensor_id)id));
    }
    for (int i = 0; i < MP_WORKSPACES && status == MP_OK; i++) {
        const size_t bytes = b->sizes.workspace[i];
        if (bytes) status = space->alloc(space->self, bytes, poison, &b->workspace[i], err);
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
    const mp_status status = open_all(b, poison, err);
    if (status != MP_OK) {
        mp_buffers_close(b);
        *buffers = NULL;
    }
    return status;
}

void mp_buffers_close(mp_buffers *b) {
    if (!b) return;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) b->space->free(b->space->self, b->buffer[id]);
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
    if (!b->buffer[id] || bytes > b->sizes.tensor[id])
        return mp_fail(err, MP_EINTERNAL, "%s needs %zu bytes of a buffer of %zu",
                       mp_tensor_name((mp_tensor_id)id), bytes, b->buffer[id] ? b->sizes.tensor[id] : 0);
    return MP_OK;
}

/* What gaps hold: as a number of the format it is NaN, wherever it begins. */
static void fill_gap(mp_dtype dtype, void *to, size_t bytes) {
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

static mp_status allocate(int id, size_t bytes, char **data, mp_error *err) {
    *data = malloc(bytes + 1);
    return *data ? MP_OK
                 : mp_fail(err, MP_EMEMORY, "no memory for %zu bytes of %s", bytes,
                           mp_tensor_name((mp_tensor_id)id));
}

/* What the buffer holds now; to be freed by the caller, after an error too. */
static mp_status read_buffer(const mp_buffers *b, int id, char **data, mp_error *err) {
    const size_t bytes = b->place[id].bytes;
    const mp_status status = allocate(id, bytes, data, err);
    return status == MP_OK ? b->space->read(b->space->self, *data, b->buffer[id], bytes, err) : status;
}

/* The elements of a tensor, as the packed tensor `to`. */
static mp_status read_placed(const mp_buffers *b, int id, void *to, mp_error *err) {
    image i = {NULL, to};
    if (b->place[id].packed)
        return b->space->read(b->space->self, to, b->t[id].data, mp_tensor_bytes(&b->t[id]), err);
    const mp_status status = read_buffer(b, id, &i.buffer, err);
    if (status == MP_OK) mp_placement_rows(&b->place[id], &b->t[id], get_row, &i);
    free(i.buffer);
    return status;
}

/* Writes the packed tensor `from` to its place in the buffer, gaps and all. */
static mp_status write_placed(const mp_buffers *b, int id, void *from, mp_error *err) {
    const mp_placement *place = &b->place[id];
    if (!lies_elsewhere(place))
        return b->space->write(b->space->self, b->t[id].data, from, place->bytes, err);
    image i = {NULL, from};
    mp_status status = allocate(id, place->bytes, &i.buffer, err);
    if (status == MP_OK) {
        fill_gap(b->t[id].dtype, i.buffer, place->bytes);
        mp_placement_rows(place, &b->t[id], put_row, &i);
        status = b->space->write(b->space->self, b->buffer[id], i.buffer, place->bytes, err);
    }
    free(i.buffer);
    return status;
}

/* The gaps of an output, however the buffer was used before. Elements keep what they hold; before the first
 * run that is poison, whose bytes follow from their place in the packed tensor. */
static mp_status fill_gaps(const mp_buffers *b, int id, bool first, mp_error *err) {
    enum { MOST = 64 * 8 };
    char gap[MOST], *packed = NULL;
    const mp_placement *place = &b->place[id];
    if (!lies_elsewhere(place)) return MP_OK;
    if (place->packed && !first) {
        const size_t before = place->first < MOST ? place->first : MOST;
        fill_gap(b->t[id].dtype, gap, before);
        return b->space->write(b->space->self, b->buffer[id], gap, before, err);
    }
    mp_status status = allocate(id, mp_tensor_bytes(&b->t[id]), &packed, err);
    if (status == MP_OK && first) mp_fill_pattern(packed, mp_tensor_bytes(&b->t[id]), b->poison);
    if (status == MP_OK && !first) status = read_placed(b, id, packed, err);
    if (status == MP_OK) status = write_placed(b, id, packed, err);
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

static bool is_same_place(const mp_placement *a, const mp_placement *b) {
    return a->first == b->first && a->bytes == b->bytes && a->swizzled == b->swizzled &&
           memcmp(a->stride, b->stride, sizeof a->stride) == 0;
}

static mp_status place_inputs(mp_buffers *b, const mp_tensor in[MP_TENSOR_COUNT],
                              const bool borrowed[MP_TENSOR_COUNT], mp_error *err) {
    const mp_space *space = b->space;
    mp_status status = MP_OK;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        if (!(mp_case_inputs(b->c) & MP_IN_SET(id)) || !in[id].data) continue;
        b->t[id] = in[id];
        if (is_the_output(b->c, &b->offer, id)) {
            b->t[id].data = b->t[MP_OUT].data;
            status = space->write(space->self, b->t[id].data, in[id].data, mp_tensor_bytes(&in[id]), err);
        } else if (has_buffer(b, id)) {
            const mp_placement before = b->place[id];
            status = place(b, id, err);
            if (borrowed[id] && b->borrowed[id] == in[id].data && is_same_place(&before, &b->place[id]))
                continue;
            b->borrowed[id] = borrowed[id] ? in[id].data : NULL;
            if (status == MP_OK) status = write_placed(b, id, in[id].data, err);
            if (status == MP_OK)
                status = space->digest(space->self, b->buffer[id], b->place[id].bytes, &b->digest[id], err);
        }
    }
    return status;
}

mp_status mp_buffers_load(mp_buffers *b, const mp_case *c, const mp_offer *offer, const mp_inputs *in,
                          mp_error *err) {
    mp_tensor inputs[MP_TENSOR_COUNT];
    const bool first = !b->c;
    b->c = c;
    b->offer = *offer;
    memset(b->t, 0, sizeof b->t);
    memcpy(inputs, in->t, sizeof inputs);
    mp_status status = derive_inputs(c, offer->config.up.block_size_m, inputs, err);
    inputs[MP_TOPK_IDS] = *mp_inputs_as_given(in, MP_TOPK_IDS);
    if (status == MP_OK) status = place_outputs(b, first, err);
    if (status == MP_OK) status = place_inputs(b, inputs, in->borrowed, err);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (mp_case_derived_inputs(c) & MP_IN_SET(id)) mp_tensor_free(&inputs[id]);
    return status;
}

mp_execution mp_buffers_execution(mp_buffers *b) {
    memcpy(b->view, b->t, sizeof b->view);
    for (int i = 0; i < MP_WORKSPACES; i++)
        b->workspace_view[i] = b->offer.workspace_bytes[i] ? b->workspace[i] : NULL;
    memset(b->stage_ns, 0, sizeof b->stage_ns);
    b->left = b->offer.exposes;
    return (mp_execution){.c = b->c,
                          .offer = &b->offer,
                          .t = b->view,
                          .workspace = b->workspace_view,
                          .stage_ns = b->stage_ns,
                          .left = &b->left};
}

/* ---- after the run ---- */

static mp_status check_buffer(const mp_buffers *b, const char *kind, const char *name, const void *data,
                              size_t bytes, mp_surroundings_report *report, mp_error *err) {
    bool intact = true;
    int64_t offset = 0;
    const mp_status status = b->space->guards(b->space->self, data, bytes, &intact, &offset, err);
    if (status == MP_OK && !intact && !report->guard[0])
        snprintf(report->guard, sizeof report->guard, "%s%s%s: byte %lld of a buffer of %zu was written",
                 b->space->name, kind, name, (long long)offset, bytes);
    return status;
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
    mp_status status = read_buffer(b, id, &held, err);
    if (status == MP_OK) status = allocate(id, place->bytes, &gaps, err);
    if (status == MP_OK) {
        size_t at = 0;
        fill_gap(b->t[id].dtype, gaps, place->bytes);
        mp_placement_rows(place, &b->t[id], keep_row, &(images){gaps, held});
        while (at < place->bytes && held[at] == gaps[at]) at++;
        *intact = at == place->bytes;
        if (!*intact && !report->guard[0]) tell_gap(b, id, kind, at, report);
    }
    free(held);
    free(gaps);
    return status;
}

static mp_status check_input(const mp_buffers *b, int id, mp_surroundings_report *report, mp_error *err) {
    uint64_t after = 0;
    const mp_status status = b->space->digest(b->space->self, b->buffer[id], b->place[id].bytes, &after, err);
    if (status == MP_OK && after != b->digest[id] && !report->input[0])
        snprintf(report->input, sizeof report->input, "%s%s changed: digest %016llx before, %016llx after",
                 b->space->name, mp_tensor_name((mp_tensor_id)id), (unsigned long long)b->digest[id],
                 (unsigned long long)after);
    return status;
}

mp_status mp_buffers_look(const mp_buffers *b, mp_surroundings_report *report, mp_error *err) {
    mp_status status = MP_OK;
    *report = (mp_surroundings_report){0};
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        const mp_tensor *t = &b->t[id];
        if (!t->data || is_the_output(b->c, &b->offer, id)) continue;
        const bool input = mp_case_inputs(b->c) & MP_IN_SET(id), own = has_buffer(b, id);
        const char *kind = input ? "input " : "";
        bool intact = true;
        status = check_buffer(b, kind, mp_tensor_name((mp_tensor_id)id), own ? b->buffer[id] : t->data,
                              own ? b->sizes.tensor[id] : mp_tensor_bytes(t), report, err);
        const bool fills = !input && b->place[id].swizzled; /* padding of tiles is the tensor's own */
        if (status == MP_OK && own && lies_elsewhere(&b->place[id]) && !fills)
            status = check_gaps(b, id, kind, &intact, report, err);
        if (status == MP_OK && input && own && intact) status = check_input(b, id, report, err);
    }
    for (int i = 0; i < MP_WORKSPACES && status == MP_OK; i++) {
        char name[32];
        snprintf(name, sizeof name, "workspace %d", i);
        if (b->workspace[i])
            status = check_buffer(b, "", name, b->workspace[i], b->sizes.workspace[i], report, err);
    }
    return status;
}

mp_status mp_buffers_collect(mp_buffers *b, mp_trace *trace, mp_error *err) {
    const bool give_away = b->use == MP_BUFFERS_ONCE && b->space == &mp_host_space;
    mp_status status = MP_OK;
    *trace = (mp_trace){.block_size_m = b->offer.config.up.block_size_m};
    memcpy(trace->stage_ns, b->stage_ns, sizeof trace->stage_ns);
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        if (!(b->left & b->offer.exposes & MP_IN_SET(id))) continue;
        mp_tensor t = b->t[id];
        if (give_away && !lies_elsewhere(&b->place[id])) {
            b->buffer[id] = NULL;
        } else {
            status = mp_tensor_alloc(&t, MP_POISON_A, err);
            if (status == MP_OK) status = read_placed(b, id, t.data, err);
        }
        trace->t[id] = t;
    }
    return status;
}
