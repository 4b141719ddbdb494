/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tune/prove/points.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mp_point_range(const mp_tuned_file *file, const mp_tuned_entry *entry, int64_t *first, int64_t *last) {
    *first = 1;
    *last = INT64_MAX;
    for (size_t i = 0; i < file->count; i++) {
        const mp_tuned_entry *other = &file->entries[i];
        if (other->key < entry->key) {
            const int64_t from = mp_tuned_last_of_smaller(other->key, entry->key, entry < other) + 1;
            if (from > *first) *first = from;
        } else if (other->key > entry->key) {
            const int64_t to = mp_tuned_last_of_smaller(entry->key, other->key, other < entry);
            if (to < *last) *last = to;
        }
    }
}

typedef struct list {
    mp_point *point;
    size_t count, left_out;
    int64_t most;
} list;

/* There is room: at most MOST_OF_A_KEY points a key are added, and one is dropped only when it is there. */
static void add(list *l, int64_t M, unsigned why) {
    for (size_t i = 0; i < l->count; i++)
        if (l->point[i].M == M) {
            l->point[i].why |= why;
            return;
        }
    if (M > l->most)
        l->left_out++;
    else
        l->point[l->count++] = (mp_point){.M = M, .why = why};
}

enum { MOST_OF_A_KEY = 5 };

static void add_file(list *l, const mp_tuned_file *file) {
    for (size_t i = 0; i < file->count; i++) {
        const mp_tuned_entry *entry = &file->entries[i];
        const int64_t key = entry->key, block = entry->tile.block_size_m;
        int64_t first, last;
        mp_point_range(file, entry, &first, &last);
        const bool smallest = key == file->first, largest = key == file->last;
        add(l, key, MP_POINT_KEY);
        if (!smallest) add(l, first, MP_POINT_FIRST);
        if (smallest && key > 1) add(l, 1, MP_POINT_BELOW);
        if (!largest) add(l, last, MP_POINT_LAST);
        if (largest && key < INT64_MAX) add(l, key + 1, MP_POINT_ABOVE);
        const bool has_tail = key % block || (!smallest && first % block) || (!largest && last % block) ||
                              (smallest && key > 1) || (largest && (key + 1) % block);
        if (has_tail) continue;
        /* first == last where a key has but itself: there is no other M to take */
        if (key < last)
            add(l, key + 1, MP_POINT_TAIL);
        else if (key > first)
            add(l, key - 1, MP_POINT_TAIL);
    }
}

static int by_tokens(const void *a, const void *b) {
    const int64_t x = ((const mp_point *)a)->M, y = ((const mp_point *)b)->M;
    return (x > y) - (x < y);
}

mp_status mp_points_of(const mp_tuned_file *up, const mp_tuned_file *down, int64_t most, mp_point **points,
                       size_t *count, size_t *left_out, mp_error *err) {
    const size_t keys = up->count + (down ? down->count : 0);
    list l = {.most = most};
    *points = NULL;
    *count = *left_out = 0;
    if (keys > MP_POINT_KEYS_MAX)
        return mp_fail(err, MP_EINPUT, "%zu keys: expected at most %d, published files have 18", keys,
                       MP_POINT_KEYS_MAX);
    if (!(l.point = calloc(keys * MOST_OF_A_KEY, sizeof *l.point)))
        return mp_fail(err, MP_EMEMORY, "no memory for the batch sizes of %zu keys", keys);
    add_file(&l, up);
    if (down) add_file(&l, down);
    for (size_t i = 0; i < l.count; i++) l.point[i].entry = mp_tuned_nearest(up, l.point[i].M);
    qsort(l.point, l.count, sizeof *l.point, by_tokens);
    *points = l.point;
    *count = l.count;
    *left_out = l.left_out;
    return MP_OK;
}

void mp_point_text(unsigned why, char text[96]) {
    static const char *const names[] = {
        "key", "last before a change", "first behind a change", "below all keys", "above all keys", "tail"};
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (why >> i & 1)
            used += (size_t)snprintf(text + used, 96 - used, "%s%s", used ? ", " : "", names[i]);
}
