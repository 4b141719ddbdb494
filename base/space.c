/* SPDX-License-Identifier: Apache-2.0 */
#define XXH_INLINE_ALL
#include "moeparity/space.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define DATA_ALIGNMENT 64u

_Static_assert(MP_GUARD_BYTES % DATA_ALIGNMENT == 0, "the data begins right behind the front guard");
_Static_assert((MP_GUARD_PATTERN >> 16) == (MP_GUARD_PATTERN & 0xFFFF), "both halves are equal");

void mp_fill_pattern(void *to, size_t bytes, uint32_t pattern) {
    const size_t whole = bytes / sizeof pattern;
    char *at = to;
    for (size_t i = 0; i < whole; i++) memcpy(at + i * sizeof pattern, &pattern, sizeof pattern);
    memcpy(at + whole * sizeof pattern, &pattern, bytes % sizeof pattern);
}

int64_t mp_guard_first_changed(const void *zone) {
    char expected[MP_GUARD_BYTES];
    mp_fill_pattern(expected, sizeof expected, MP_GUARD_PATTERN);
    if (memcmp(zone, expected, sizeof expected) == 0) return -1;
    const char *bytes = zone;
    int64_t i = 0;
    while (bytes[i] == expected[i]) i++;
    return i;
}

static mp_status host_alloc(void *self, size_t bytes, uint32_t poison, void **data, mp_error *err) {
    (void)self;
    const size_t most =
        PTRDIFF_MAX - 2 * (size_t)MP_GUARD_BYTES - DATA_ALIGNMENT; /* no object can be larger */
    char *block = NULL;
    *data = NULL;
    if (bytes <= most) {
        const size_t total = bytes + 2 * (size_t)MP_GUARD_BYTES;
        block = aligned_alloc(DATA_ALIGNMENT, (total + DATA_ALIGNMENT - 1) / DATA_ALIGNMENT * DATA_ALIGNMENT);
    }
    if (!block) return mp_fail(err, MP_EMEMORY, "cannot allocate %zu bytes", bytes);
    char *content = block + MP_GUARD_BYTES;
    mp_fill_pattern(block, MP_GUARD_BYTES, MP_GUARD_PATTERN);
    mp_fill_pattern(content, bytes, poison);
    mp_fill_pattern(content + bytes, MP_GUARD_BYTES, MP_GUARD_PATTERN);
    *data = content;
    return MP_OK;
}

static void host_free(void *self, void *data) {
    (void)self;
    if (data) free((char *)data - MP_GUARD_BYTES);
}

static mp_status host_copy(void *self, void *to, const void *from, size_t bytes, mp_error *err) {
    (void)self, (void)err;
    memcpy(to, from, bytes);
    return MP_OK;
}

static mp_status host_guards(void *self, const void *data, size_t bytes, bool *intact, int64_t *offset,
                             mp_error *err) {
    (void)self, (void)err;
    const char *content = data;
    const int64_t front = mp_guard_first_changed(content - MP_GUARD_BYTES);
    const int64_t back = mp_guard_first_changed(content + bytes);
    *intact = front < 0 && back < 0;
    if (!*intact) *offset = front >= 0 ? front - MP_GUARD_BYTES : (int64_t)bytes + back;
    return MP_OK;
}

static mp_status host_digest(void *self, const void *data, size_t bytes, uint64_t *digest, mp_error *err) {
    (void)self, (void)err;
    *digest = XXH3_64bits(data, bytes);
    return MP_OK;
}

const mp_space mp_host_space = {.name = "",
                                .alloc = host_alloc,
                                .free = host_free,
                                .write = host_copy,
                                .read = host_copy,
                                .guards = host_guards,
                                .digest = host_digest};
