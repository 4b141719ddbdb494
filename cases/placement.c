/* SPDX-License-Identifier: Apache-2.0 */
/* Where the tensors of a case lie for its subject. */
#include "cases/graph_tables.h"

void mp_case_strides(const mp_case *c, mp_tensor_id id, const mp_tensor *t, int64_t stride[MP_MAX_RANK]) {
    const bool weights = id == MP_W1 || id == MP_W2;
    int64_t step = 1;
    for (int axis = MP_MAX_RANK - 1; axis >= 0; axis--) {
        stride[axis] = axis < t->rank ? step : 0;
        if (axis >= t->rank) continue;
        step *= t->dim[axis];
        if (weights && axis == 2) step += c->weight_row_gap;
        if (weights && axis == 1) step += c->weight_expert_gap;
    }
}

bool mp_case_places(const mp_case *c) {
    return c->weight_row_gap > 0 || c->weight_expert_gap > 0 || c->buffer_offset > 0;
}

mp_placement mp_case_placement(const mp_case *c, mp_tensor_id id, const mp_tensor *t) {
    const int64_t count = mp_tensor_count(t);
    mp_placement p = {.first = mp_dtype_bytes(t->dtype, c->buffer_offset)};
    int64_t last = 0;
    mp_case_strides(c, id, t, p.stride);
    for (int axis = 0; axis < t->rank; axis++) last += (t->dim[axis] - 1) * p.stride[axis];
    p.bytes = p.first + (count > 0 ? mp_dtype_bytes(t->dtype, last + 1) : 0);
    p.packed = p.bytes == p.first + mp_tensor_bytes(t);
    return p;
}

void mp_placement_rows(const mp_placement *p, const mp_tensor *t, mp_placed_row *visit, void *ctx) {
    if (p->packed) {
        visit(ctx, p->first, 0, mp_tensor_bytes(t));
        return;
    }
    const size_t size = mp_dtype_size(t->dtype);       /* packed formats have no gaps */
    const size_t row_bytes = (size_t)t->dim[2] * size; /* weights have three axes */
    for (int64_t e = 0; e < t->dim[0]; e++)
        for (int64_t r = 0; r < t->dim[1]; r++)
            visit(ctx, p->first + (size_t)(e * p->stride[0] + r * p->stride[1]) * size,
                  (size_t)(e * t->dim[1] + r) * row_bytes, row_bytes);
}
