/* SPDX-License-Identifier: Apache-2.0 */
#define XXH_INLINE_ALL
#include "moeparity/tensor.h"

#include "base/host_memory.h"
#include "base/maker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

mp_tensor mp_tensor_shape(mp_dtype dtype, int rank, int64_t d0, int64_t d1, int64_t d2) {
    assert(rank >= 1 && rank <= MP_MAX_RANK);
    return (mp_tensor){.dtype = dtype, .rank = rank, .dim = {d0, rank > 1 ? d1 : 1, rank > 2 ? d2 : 1}};
}

/* Sizes saturate instead of wrapping around: a plan for an absurd shape stays absurdly large, and its
 * allocation fails. */
int64_t mp_tensor_count(const mp_tensor *t) {
    int64_t count = t->rank > 0; /* a zeroed tensor has no elements */
    bool overflow = false;
    for (int i = 0; i < t->rank; i++) {
        if (t->dim[i] == 0) return 0;
        overflow |= __builtin_mul_overflow(count, t->dim[i], &count);
    }
    return overflow ? INT64_MAX : count;
}

size_t mp_tensor_bytes(const mp_tensor *t) {
    size_t bytes;
    if (mp_dtype_is_packed(t->dtype)) return mp_dtype_bytes(t->dtype, mp_tensor_count(t));
    return __builtin_mul_overflow(mp_tensor_count(t), mp_dtype_size(t->dtype), &bytes) ? SIZE_MAX : bytes;
}

int64_t mp_tensor_row_length(const mp_tensor *t) {
    return t->dim[t->rank - 1];
}

int64_t mp_tensor_rows(const mp_tensor *t) {
    mp_tensor leading = *t;
    leading.dim[t->rank - 1] = 1;
    return mp_tensor_count(&leading);
}

size_t mp_tensor_row_bytes(const mp_tensor *t) {
    return mp_dtype_bytes(t->dtype, mp_tensor_row_length(t));
}

void *mp_tensor_row(const mp_tensor *t, int64_t row) {
    return (char *)t->data + (size_t)row * mp_tensor_row_bytes(t);
}

mp_status mp_tensor_alloc_unfilled(mp_tensor *t, mp_error *err) {
    t->data = NULL;
    t->maker = NULL;
    for (int i = 0; i < t->rank; i++) {
        if (t->dim[i] < 0)
            return mp_fail(err, MP_EINTERNAL, "tensor dimension %d is %lld, expected >= 0", i,
                           (long long)t->dim[i]);
    }
    if (mp_dtype_is_packed(t->dtype) && mp_tensor_row_length(t) % 2 != 0)
        return mp_fail(err, MP_EINTERNAL,
                       "rows of %lld elements of %s, expected an even number: two share a byte",
                       (long long)mp_tensor_row_length(t), mp_dtype_name(t->dtype));
    const mp_status status = mp_host_alloc_unfilled(mp_tensor_bytes(t), &t->data, err);
    if (status == MP_OK) return MP_OK;
    return mp_fail(err, status, "cannot allocate %zu bytes for a tensor %lld x %lld x %lld of %s",
                   mp_tensor_bytes(t), (long long)t->dim[0], (long long)t->dim[1], (long long)t->dim[2],
                   mp_dtype_name(t->dtype));
}

mp_status mp_tensor_alloc(mp_tensor *t, uint32_t poison, mp_error *err) {
    const mp_status status = mp_tensor_alloc_unfilled(t, err);
    if (status == MP_OK) mp_fill_pattern(t->data, mp_tensor_bytes(t), poison);
    return status;
}

void mp_tensor_free(mp_tensor *t) {
    if (t->maker)
        t->maker->destroy(t->maker);
    else
        mp_host_space.free(NULL, t->data);
    t->maker = NULL;
    t->data = NULL;
}

/* Marks of the maker's units, none yet, and the first of its rows that t has; NULL: no memory. */
static bool *units_of(const mp_tensor *t, int64_t *first) {
    *first = (int64_t)((size_t)((const char *)t->data - t->maker->data) / mp_tensor_row_bytes(t));
    return calloc((size_t)t->maker->units, sizeof(bool));
}

void mp_tensor_make(const mp_tensor *t, const bool *matrices) {
    mp_maker *maker = t->maker;
    int64_t first = 0;
    if (!maker) return;
    bool *wanted = matrices ? units_of(t, &first) : NULL;
    const int64_t rows = mp_tensor_rows(t), each = t->dim[0] > 0 ? rows / t->dim[0] : 1;
    for (int64_t r = 0; r < rows && wanted; r++)
        if (matrices[r / each]) wanted[(first + r) / maker->unit_rows] = true;
    maker->make(maker, wanted); /* without memory for marks: all of them */
    free(wanted);
}

void mp_tensor_make_rows(const mp_tensor *t, const int64_t *rows, int64_t count) {
    mp_maker *maker = t->maker;
    int64_t first = 0;
    if (!maker || count <= 0) return;
    bool *wanted = units_of(t, &first);
    for (int64_t i = 0; i < count && wanted; i++) {
        const int64_t row = rows ? rows[i] : i;
        if (row >= 0) wanted[(first + row) / maker->unit_rows] = true;
    }
    maker->make(maker, wanted);
    free(wanted);
}

bool mp_tensor_guards_intact(const mp_tensor *t, int64_t *offset) {
    mp_region region = {.data = t->data, .bytes = mp_tensor_bytes(t), .intact = true};
    if (t->data) mp_host_space.survey(NULL, &region, 1, NULL);
    if (!region.intact) *offset = region.offset;
    return region.intact;
}

uint64_t mp_digest(const void *data, size_t bytes) {
    return XXH3_64bits(data, bytes);
}

uint64_t mp_tensor_digest(const mp_tensor *t) {
    mp_tensor_make(t, NULL);
    return XXH3_64bits(t->data, mp_tensor_bytes(t));
}

uint64_t mp_tensor_row_digest(const mp_tensor *t, int64_t row) {
    return XXH3_64bits(mp_tensor_row(t, row), mp_tensor_row_bytes(t));
}
