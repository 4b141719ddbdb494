/* SPDX-License-Identifier: Apache-2.0 */
#define XXH_INLINE_ALL
#include "moeparity/space.h"

#include "base/clones.h"
#include "base/host_memory.h"
#include "base/kept_blocks.h"
#include "base/mix.h"

#include <string.h>
#include <xxhash.h>

#define DATA_ALIGNMENT 64u
#define WORTH_THREADS ((size_t)1 << 22) /* bytes: less is written before threads have begun */

_Static_assert(MP_GUARD_BYTES % DATA_ALIGNMENT == 0, "the data begins right behind the front guard");
_Static_assert((MP_GUARD_PATTERN >> 16) == (MP_GUARD_PATTERN & 0xFFFF), "both halves are equal");

void mp_fill_pattern(void *to, size_t bytes, uint32_t pattern) {
    const size_t whole = bytes / sizeof pattern;
    char *at = to;
#pragma omp parallel for schedule(static) if (bytes > WORTH_THREADS)
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

mp_status mp_host_alloc_unfilled(size_t bytes, void **data, mp_error *err) {
    const size_t zones = 2 * (size_t)MP_GUARD_BYTES;
    char *block = bytes <= SIZE_MAX - zones ? mp_block_take(bytes + zones) : NULL;
    *data = NULL;
    if (!block) return mp_fail(err, MP_EMEMORY, "cannot allocate %zu bytes", bytes);
    mp_fill_pattern(block, MP_GUARD_BYTES, MP_GUARD_PATTERN);
    mp_fill_pattern(block + MP_GUARD_BYTES + bytes, MP_GUARD_BYTES, MP_GUARD_PATTERN);
    *data = block + MP_GUARD_BYTES;
    return MP_OK;
}

static mp_status host_alloc(void *self, size_t bytes, uint32_t poison, void **data, mp_error *err) {
    (void)self;
    const mp_status status = mp_host_alloc_unfilled(bytes, data, err);
    if (status == MP_OK) mp_fill_pattern(*data, bytes, poison);
    return status;
}

static void host_free(void *self, void *data) {
    (void)self;
    if (data) mp_block_give((char *)data - MP_GUARD_BYTES);
}

static mp_status host_copy(void *self, void *to, const void *from, size_t bytes, mp_error *err) {
    (void)self, (void)err;
    memcpy(to, from, bytes);
    return MP_OK;
}

static mp_status host_survey(void *self, mp_region *regions, int count, mp_error *err) {
    (void)self, (void)err;
    for (mp_region *r = regions; r < regions + count; r++) {
        const char *content = r->data;
        const int64_t front = mp_guard_first_changed(content - MP_GUARD_BYTES),
                      back = mp_guard_first_changed(content + r->bytes);
        r->intact = front < 0 && back < 0;
        r->offset = front >= 0 ? front - MP_GUARD_BYTES : (int64_t)r->bytes + back;
        if (r->digested) r->digest = XXH3_64bits(content, r->digested);
    }
    return MP_OK;
}

static mp_status host_digest_rows(void *self, const mp_rows_region *regions, int count, mp_error *err) {
    (void)self, (void)err;
    for (const mp_rows_region *r = regions; r < regions + count; r++) {
#pragma omp parallel for schedule(static) if ((size_t)r->rows * r->row_bytes > WORTH_THREADS)
        for (int64_t row = 0; row < r->rows; row++)
            r->digest[row] =
                mp_space_row_digest((const char *)r->data + (size_t)row * r->row_bytes, r->row_bytes);
    }
    return MP_OK;
}

mp_status mp_space_inspect(const mp_space *space, const mp_inspection *what, mp_error *err) {
    mp_status status = MP_OK;
    if (space->inspect) return space->inspect(space->self, what, err);
    if (what->region_count) status = space->survey(space->self, what->regions, what->region_count, err);
    if (status == MP_OK && what->rows_count)
        status = space->digest_rows(space->self, what->rows, what->rows_count, err);
    for (int i = 0; i < what->reading_count && status == MP_OK; i++) {
        const mp_reading *r = &what->readings[i];
        status = space->read(space->self, r->to, r->from, r->bytes, err);
    }
    return status;
}

/* Of words first .. end of a row, in vectors. */
MP_CLONES static uint64_t digest_of_words(const unsigned char *at, size_t first, size_t end) {
    uint64_t sum = 0;
    for (size_t i = first; i < end; i++) {
        uint32_t word;
        memcpy(&word, at + i * sizeof word, sizeof word);
        sum += mp_digest_of_word(word, i);
    }
    return sum;
}

uint64_t mp_space_row_digest(const void *row, size_t bytes) {
    enum { PIECE = 1 << 16 };
    const unsigned char *at = row;
    const size_t words = bytes / sizeof(uint32_t);
    const int rest = (int)(bytes % sizeof(uint32_t));
    uint64_t sum = rest ? mp_digest_of_word(mp_word_of_bytes(at + words * sizeof(uint32_t), rest), words) : 0;
    if (bytes <= WORTH_THREADS) return sum + digest_of_words(at, 0, words);
#pragma omp parallel for schedule(static) reduction(+ : sum)
    for (size_t i = 0; i < words; i += PIECE)
        sum += digest_of_words(at, i, words - i < PIECE ? words : i + PIECE);
    return sum;
}

const mp_space mp_host_space = {.name = "",
                                .keeps = true,
                                .alloc = host_alloc,
                                .free = host_free,
                                .write = host_copy,
                                .read = host_copy,
                                .copy = host_copy,
                                .survey = host_survey,
                                .digest_rows = host_digest_rows};
