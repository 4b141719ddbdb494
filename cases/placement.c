/* SPDX-License-Identifier: Apache-2.0 */
/* Where the tensors of a case lie for its subject. */
#include "cases/graph_tables.h"
#include "cases/scale_layout.h"
#include "cases/scheme.h"

#include <string.h>

static bool lies_by(const mp_case *c, mp_tensor_id id, mp_scale_layout layout) {
    return c->scale_layout == layout && mp_is_matrix_of_scales(id);
}

/* Scales in rows, or columns, that each begin a multiple of this behind the first, with a gap in between. */
enum { SCALES_APART = 16 };
static int64_t apart(int64_t length) {
    return (length / SCALES_APART + 1) * SCALES_APART;
}

/* The shape that the subject sees: that of the tensor, or of tiles with their padding. */
static void shape_seen(const mp_case *c, mp_tensor_id id, const mp_tensor *t, int64_t dim[MP_MAX_RANK]) {
    memcpy(dim, t->dim, sizeof t->dim);
    if (!lies_by(c, id, MP_SWIZZLED)) return;
    dim[t->rank - 2] = mp_swizzled_rows(t->dim[t->rank - 2]);
    dim[t->rank - 1] = mp_swizzled_columns(t->dim[t->rank - 1]);
}

void mp_case_strides(const mp_case *c, mp_tensor_id id, const mp_tensor *t, int64_t stride[MP_MAX_RANK]) {
    const bool weights = id == MP_W1 || id == MP_W2;
    int64_t step = 1, dim[MP_MAX_RANK];
    shape_seen(c, id, t, dim);
    for (int axis = MP_MAX_RANK - 1; axis >= 0; axis--) {
        stride[axis] = axis < t->rank ? step : 0;
        if (axis >= t->rank) continue;
        step *= dim[axis];
        if (weights && axis == 2) step += c->weight_row_gap;
        if (weights && axis == 1) step += c->weight_expert_gap;
        if (axis == t->rank - 1 && lies_by(c, id, MP_ROW_MAJOR_PADDED)) step = apart(step);
    }
    const bool padded = lies_by(c, id, MP_COLUMN_MAJOR_PADDED);
    if (!padded && !lies_by(c, id, MP_COLUMN_MAJOR)) return;
    const int64_t rows = dim[t->rank - 2], columns = dim[t->rank - 1];
    stride[t->rank - 2] = 1;
    stride[t->rank - 1] = padded ? apart(rows) : rows;
    if (t->rank > 2) stride[0] = columns * stride[t->rank - 1];
}

bool mp_placement_same(const mp_placement *a, const mp_placement *b) {
    return a->first == b->first && a->bytes == b->bytes && a->swizzled == b->swizzled &&
           memcmp(a->dim, b->dim, sizeof a->dim) == 0 && memcmp(a->stride, b->stride, sizeof a->stride) == 0;
}

bool mp_case_places(const mp_case *c) {
    return c->weight_row_gap > 0 || c->weight_expert_gap > 0 || c->buffer_offset > 0 || c->scale_layout;
}

/* Whether the strides are those of a packed tensor; of an axis of one element any stride is. */
static bool is_packed(const mp_tensor *t, const int64_t stride[MP_MAX_RANK]) {
    int64_t step = 1;
    for (int axis = t->rank - 1; axis >= 0; axis--) {
        if (t->dim[axis] > 1 && stride[axis] != step) return false;
        step *= t->dim[axis];
    }
    return true;
}

mp_placement mp_case_placement(const mp_case *c, mp_tensor_id id, const mp_tensor *t) {
    const int64_t count = mp_tensor_count(t);
    mp_placement p = {.first = mp_dtype_bytes(t->dtype, c->buffer_offset),
                      .swizzled = lies_by(c, id, MP_SWIZZLED)};
    int64_t last = 0;
    shape_seen(c, id, t, p.dim);
    mp_case_strides(c, id, t, p.stride);
    for (int axis = 0; axis < t->rank; axis++) last += (p.dim[axis] - 1) * p.stride[axis];
    p.bytes = p.first + (count > 0 ? mp_dtype_bytes(t->dtype, last + 1) : 0);
    p.packed = count == 0 || (is_packed(t, p.stride) && !p.swizzled);
    return p;
}

void mp_placement_rows(const mp_placement *p, const mp_tensor *t, mp_placed_row *visit, void *ctx) {
    if (p->packed) {
        visit(ctx, p->first, 0, mp_tensor_bytes(t));
        return;
    }
    const size_t size = mp_dtype_size(t->dtype); /* packed formats have no gaps */
    const int64_t count = mp_tensor_count(t), rows = t->dim[t->rank - 2], columns = t->dim[t->rank - 1],
                  across = p->stride[t->rank - 1],
                  run = p->swizzled || across != 1 ? 1 : columns; /* elements side by side */
    for (int64_t i = 0; i < count; i += run) {
        const int64_t matrix = i / columns / rows, r = i / columns % rows, k = i % columns;
        const int64_t at =
            p->swizzled ? mp_swizzled_index(r, k, columns) : r * p->stride[t->rank - 2] + k * across;
        visit(ctx, p->first + (size_t)(matrix * p->stride[0] + at) * size, (size_t)i * size,
              (size_t)run * size);
    }
}
