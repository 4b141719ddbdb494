/* SPDX-License-Identifier: Apache-2.0 */
/* Private to buffers*.c: what a set of buffers is, and tensors at their places in them. */
#ifndef MP_HARNESS_BUFFERS_INSIDE_H
#define MP_HARNESS_BUFFERS_INSIDE_H

#include "cases/graph_tables.h"
#include "harness/subjects/buffers.h"
#include "harness/subjects/copies.h"

struct mp_buffers {
    const mp_space *space;
    mp_buffers_use use;
    mp_buffer_sizes sizes;
    uint32_t poison;
    void *buffer[MP_TENSOR_COUNT];  /* NULL where an input is handed over as it lies */
    size_t bytes[MP_TENSOR_COUNT];  /* of the buffers */
    mp_copies *copies;              /* where weights come from, or NULL */
    mp_copy *copy[MP_TENSOR_COUNT]; /* whose buffer this is, or NULL: it is one of ours */
    void *workspace[MP_WORKSPACES];
    /* The case that was loaded last, and where its tensors are. */
    const mp_case *c;
    mp_tensor_set inputs; /* mp_case_inputs, which takes its time */
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
static inline bool mp_is_the_output(const mp_case *c, const mp_offer *offer, int id) {
    return id == MP_X && c->mode == MP_MODE_INPLACE && (offer->exposes & MP_IN_SET(MP_OUT));
}

/* Not packed on the boundary on which buffers begin. */
static inline bool mp_lies_elsewhere(const mp_placement *place) {
    return place->first > 0 || !place->packed;
}

/* Whether it is not handed over as it lies. */
bool mp_has_buffer(const mp_buffers *b, int id);

/* buffers.c: whether a tensor gets its buffer when a case is loaded; a buffer for it, poisoned; what it has,
 * a copy or a buffer, given back; and its place in the buffer, which says if that is too small. */
bool mp_waits_for_content(const mp_buffers *b, int id);
mp_status mp_get_tensor(mp_buffers *b, int id, mp_error *err);
void mp_give_back(mp_buffers *b, int id);
mp_status mp_place(mp_buffers *b, int id, mp_error *err);
/* buffers_inputs.c: all inputs of the case; given: what the subject gets of `in`. */
mp_status mp_place_inputs(mp_buffers *b, const mp_inputs *in, const mp_tensor given[MP_TENSOR_COUNT],
                          mp_error *err);

/* What is looked at of an input that has a buffer: the digest is that of its elements and gaps. */
static inline mp_region mp_region_of_input(const mp_buffers *b, int id) {
    return (mp_region){.data = b->buffer[id], .bytes = b->bytes[id], .digested = b->place[id].bytes};
}

/* buffers_look.c: all that is looked at, tensors and workspaces, and what to say of what was found. */
enum { MP_REGIONS_MAX = MP_TENSOR_COUNT + MP_WORKSPACES };
int mp_buffers_regions(const mp_buffers *b, mp_region regions[MP_REGIONS_MAX]);
mp_status mp_buffers_tell(const mp_buffers *b, const mp_region *found, mp_surroundings_report *report,
                          mp_error *err);

/* Memory for so many bytes of a tensor, on the host. */
mp_status mp_allocate_for(int id, size_t bytes, char **data, mp_error *err);
/* What gaps hold: as a number of the format it is NaN, wherever it begins. */
void mp_fill_gap(mp_dtype dtype, void *to, size_t bytes);
/* What the buffer holds now; to be freed by the caller, after an error too. */
mp_status mp_read_buffer(const mp_buffers *b, int id, char **data, mp_error *err);
/* The elements of a tensor, as the packed tensor `to`. */
mp_status mp_read_placed(const mp_buffers *b, int id, void *to, mp_error *err);
/* Writes the packed tensor `from` to its place in the buffer, gaps and all. */
mp_status mp_write_placed(const mp_buffers *b, int id, void *from, mp_error *err);

#endif
