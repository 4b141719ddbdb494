/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tune/prove/changes.h"

#include "cases/case_tools.h"
#include "harness/tune/prove/points.h"
#include "harness/tune/prove/verify.h"

#include <stdlib.h>

static int by_size(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static size_t add_starts(const mp_tuned_file *file, int64_t *starts) {
    int64_t last;
    if (!file) return 0;
    for (size_t i = 0; i < file->count; i++) mp_point_range(file, &file->entries[i], &starts[i], &last);
    return file->count;
}

static bool goes_on(const mp_tune_change *a, const mp_tune_change *b) {
    return a->last == b->first - 1 && mp_tile_same(&a->old_up, &b->old_up) &&
           mp_tile_same(&a->old_down, &b->old_down) && mp_tile_same(&a->new_up, &b->new_up) &&
           mp_tile_same(&a->new_down, &b->new_down);
}

mp_status mp_tune_changes(const mp_tune_target *old, const mp_tune_target *new, mp_tune_change **changes,
                          size_t *count, mp_error *err) {
    const mp_tuned_file *files[] = {old->up, old->down, new->up, new->down};
    size_t most = 0, starts = 0;
    mp_status status = MP_OK;
    *count = 0;
    for (int i = 0; i < 4; i++) most += files[i] ? files[i]->count : 0;
    int64_t *start = malloc((most + 1) * sizeof *start);
    mp_tune_change *list = malloc((most + 1) * sizeof *list);
    *changes = list;
    if (!start || !list) status = mp_fail(err, MP_EMEMORY, "no memory for %zu ranges", most);
    for (int i = 0; i < 4 && status == MP_OK; i++) starts += add_starts(files[i], start + starts);
    if (status == MP_OK) qsort(start, starts, sizeof *start, by_size);
    for (size_t i = 0; i < starts && status == MP_OK; i++) {
        if (i + 1 < starts && start[i + 1] == start[i]) continue;
        if (start[i] > INT32_MAX) break; /* a case has no more tokens */
        mp_tune_change c = {.first = start[i], .last = i + 1 < starts ? start[i + 1] - 1 : INT64_MAX};
        status = mp_tune_tiles(old, c.first, &c.old_up, &c.old_down, err);
        if (status == MP_OK) status = mp_tune_tiles(new, c.first, &c.new_up, &c.new_down, err);
        if (status != MP_OK ||
            (mp_tile_same(&c.old_up, &c.new_up) && mp_tile_same(&c.old_down, &c.new_down) &&
             mp_tune_same_beside_tiles(old, new, c.first)))
            continue;
        if (*count && goes_on(&list[*count - 1], &c))
            list[*count - 1].last = c.last;
        else
            list[(*count)++] = c;
    }
    free(start);
    if (status != MP_OK) {
        free(list);
        *changes = NULL;
        *count = 0;
    }
    return status;
}
