/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/bisect/subset.h"

#include <stdlib.h>
#include <string.h>

/* Where chunk i of `chunks` begins. */
static size_t begin_of(size_t i, size_t chunks, size_t count) {
    return i * (count / chunks) + (i < count % chunks ? i : count % chunks);
}

/* Items without those of chunk i; returns how many. */
static size_t leave_out(const size_t *items, size_t count, size_t i, size_t chunks, size_t *rest) {
    const size_t first = begin_of(i, chunks, count), end = begin_of(i + 1, chunks, count);
    memcpy(rest, items, first * sizeof *rest);
    memcpy(rest + first, items + end, (count - end) * sizeof *rest);
    return count - (end - first);
}

/* One chunk that is enough alone, the last ones first: items become it. */
static bool keep_one(size_t *items, size_t *count, size_t chunks, mp_subset_test *enough, void *ctx) {
    for (size_t i = chunks; i-- > 0;) {
        const size_t first = begin_of(i, chunks, *count), size = begin_of(i + 1, chunks, *count) - first;
        if (!enough(ctx, items + first, size)) continue;
        memmove(items, items + first, size * sizeof *items);
        *count = size;
        return true;
    }
    return false;
}

/* One chunk that is not needed: items lose it. */
static bool drop_one(size_t *items, size_t *count, size_t *rest, size_t chunks, mp_subset_test *enough,
                     void *ctx) {
    for (size_t i = 0; i < chunks; i++) {
        const size_t left = leave_out(items, *count, i, chunks, rest);
        if (!enough(ctx, rest, left)) continue;
        memcpy(items, rest, left * sizeof *items);
        *count = left;
        return true;
    }
    return false;
}

size_t mp_subset_least(size_t *items, size_t count, mp_subset_test *enough, void *ctx) {
    size_t chunks = 2, *rest = malloc((count + 1) * sizeof *rest);
    if (!rest) return 0;
    while (count > 1) {
        if (chunks > count) chunks = count;
        if (keep_one(items, &count, chunks, enough, ctx)) {
            chunks = 2;
        } else if (chunks > 2 && drop_one(items, &count, rest, chunks, enough, ctx)) {
            chunks--; /* those that are left are as large as before */
        } else if (chunks == count) {
            break;
        } else {
            chunks *= 2;
        }
    }
    free(rest);
    return count;
}
