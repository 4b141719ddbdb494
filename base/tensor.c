#define XXH_INLINE_ALL
#include "base/tensor.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define DATA_ALIGNMENT 64u

static_assert(MP_GUARD_BYTES % DATA_ALIGNMENT == 0, "the data begins right behind the front guard");

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

static size_t row_bytes(const mp_tensor *t) {
    return (size_t)mp_tensor_row_length(t) * mp_dtype_size(t->dtype);
}

void *mp_tensor_row(const mp_tensor *t, int64_t row) {
    return (char *)t->data + (size_t)row * row_bytes(t);
}

/* The pattern starts anew at `to`; a rest of less than four bytes gets its first bytes. */
static void fill_pattern(char *to, size_t bytes, uint32_t pattern) {
    size_t whole = bytes / sizeof pattern;
    for (size_t i = 0; i < whole; i++) memcpy(to + i * sizeof pattern, &pattern, sizeof pattern);
    memcpy(to + whole * sizeof pattern, &pattern, bytes % sizeof pattern);
}

mp_status mp_tensor_alloc(mp_tensor *t, uint32_t poison, mp_error *err) {
    t->data = NULL;
    for (int i = 0; i < t->rank; i++) {
        if (t->dim[i] < 0)
            return mp_fail(err, MP_EINTERNAL, "tensor dimension %d is %lld, expected >= 0", i,
                           (long long)t->dim[i]);
    }
    size_t bytes = mp_tensor_bytes(t);
    size_t most = PTRDIFF_MAX - 2 * (size_t)MP_GUARD_BYTES - DATA_ALIGNMENT; /* no object can be larger */
    char *block = NULL;
    if (bytes <= most) {
        size_t total = bytes + 2 * (size_t)MP_GUARD_BYTES;
        block = aligned_alloc(DATA_ALIGNMENT, (total + DATA_ALIGNMENT - 1) / DATA_ALIGNMENT * DATA_ALIGNMENT);
    }
    if (!block) {
        return mp_fail(err, MP_EMEMORY, "cannot allocate %zu bytes for a tensor %lld x %lld x %lld of %s",
                       bytes, (long long)t->dim[0], (long long)t->dim[1], (long long)t->dim[2],
                       mp_dtype_name(t->dtype));
    }
    char *data = block + MP_GUARD_BYTES;
    fill_pattern(block, MP_GUARD_BYTES, MP_GUARD_PATTERN);
    fill_pattern(data, bytes, poison);
    fill_pattern(data + bytes, MP_GUARD_BYTES, MP_GUARD_PATTERN);
    t->data = data;
    return MP_OK;
}

void mp_tensor_free(mp_tensor *t) {
    if (t->data) free((char *)t->data - MP_GUARD_BYTES);
    t->data = NULL;
}

/* Offset of the first byte of a guard zone that is not the pattern's, or -1. */
static int64_t first_changed(const char *zone) {
    char expected[MP_GUARD_BYTES];
    fill_pattern(expected, sizeof expected, MP_GUARD_PATTERN);
    if (memcmp(zone, expected, sizeof expected) == 0) return -1;
    int64_t i = 0;
    while (zone[i] == expected[i]) i++;
    return i;
}

bool mp_tensor_guards_intact(const mp_tensor *t, int64_t *offset) {
    if (!t->data) return true;
    const char *data = t->data;
    int64_t front = first_changed(data - MP_GUARD_BYTES);
    if (front >= 0) {
        *offset = front - MP_GUARD_BYTES;
        return false;
    }
    size_t bytes = mp_tensor_bytes(t);
    int64_t back = first_changed(data + bytes);
    if (back >= 0) {
        *offset = (int64_t)bytes + back;
        return false;
    }
    return true;
}

uint64_t mp_tensor_digest(const mp_tensor *t) {
    return XXH3_64bits(t->data, mp_tensor_bytes(t));
}

uint64_t mp_tensor_row_digest(const mp_tensor *t, int64_t row) {
    return XXH3_64bits(mp_tensor_row(t, row), row_bytes(t));
}
