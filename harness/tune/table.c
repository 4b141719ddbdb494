/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tune/table_read.h"

#include "base/file.h"
#include "kernels/tuned.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- by number ---- */

static int by_number(const void *a, const void *b) {
    const mp_table_step *x = a, *y = b;
    return x->M != y->M ? (x->M < y->M ? -1 : 1) : x->first < y->first ? -1 : x->first > y->first;
}

static mp_status sort_steps(mp_table *t, mp_error *err) {
    size_t kept = 0;
    if (!(t->step = calloc(t->count + 1, sizeof *t->step)))
        return mp_fail(err, MP_EMEMORY, "%s: no memory for its keys", t->path);
    for (size_t i = 0; i < t->count; i++)
        if (t->row[i].is_number) t->step[t->step_count++] = (mp_table_step){t->row[i].M, i, &t->row[i]};
    qsort(t->step, t->step_count, sizeof *t->step, by_number);
    for (size_t i = 0; i < t->step_count; i++) {
        if (kept && t->step[kept - 1].M == t->step[i].M)
            t->step[kept - 1].row = t->step[i].row;
        else
            t->step[kept++] = t->step[i];
    }
    t->step_count = kept;
    return MP_OK;
}

/* ---- the file ---- */

static void break_it(mp_table *t, int line, const char *why) {
    t->broken = strdup(why);
    t->broken_line = line;
}

mp_status mp_table_load(const char *path, mp_table *t, mp_error *err) {
    char *data = NULL, why[256];
    size_t size = 0;
    json_error_t where;
    *t = (mp_table){.path = strdup(path)};
    if (!t->path) return mp_fail(err, MP_EMEMORY, "%s: no memory for a table", path);
    const char *slash = strrchr(t->path, '/');
    t->file = slash ? slash + 1 : t->path;
    t->named = mp_tuned_parse(t->file, &t->name);
    mp_status status = mp_file_read_at_most(path, MP_TABLE_MOST_BYTES, &data, &size, err);
    if (status != MP_OK) return status;
    t->root = json_loadb(data, size, 0, &where);
    if (!t->root) {
        snprintf(why, sizeof why, "not JSON: %.200s", where.text);
        break_it(t, where.line > 0 ? where.line : 1, why);
    } else if (!json_is_object(t->root)) {
        break_it(t, 1, "not a JSON object");
    } else {
        status = mp_table_read_places(t, data, err);
        if (status == MP_OK) status = sort_steps(t, err);
    }
    if (status == MP_OK && !t->root && !t->broken) status = mp_fail(err, MP_EMEMORY, "%s: no memory", path);
    free(data);
    return status;
}

void mp_table_free(mp_table *t) {
    for (size_t i = 0; i < t->count; i++) free(t->row[i].key);
    for (size_t i = 0; i < t->word_count; i++) free(t->word[i].name);
    for (size_t i = 0; i < t->twice_count; i++) {
        free(t->twice[i].key);
        free(t->twice[i].name);
    }
    free(t->row);
    free(t->step);
    free(t->word);
    free(t->twice);
    free(t->broken);
    free(t->path);
    json_decref(t->root);
    *t = (mp_table){0};
}

/* ---- questions ---- */

/* Both may be far below zero: their distance needs more than 63 bits. */
static uint64_t distance(int64_t a, int64_t b) {
    return a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a;
}

const mp_table_row *mp_table_nearest(const mp_table *t, int64_t M) {
    size_t low = 0, high = t->step_count; /* the first step from M on */
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (t->step[middle].M < M)
            low = middle + 1;
        else
            high = middle;
    }
    const mp_table_step *above = low < t->step_count ? &t->step[low] : NULL,
                        *below = low > 0 ? &t->step[low - 1] : NULL;
    if (!above || !below) return above ? above->row : below ? below->row : NULL;
    const uint64_t up = distance(above->M, M), down = distance(below->M, M);
    if (up == down) return above->first < below->first ? above->row : below->row;
    return up < down ? above->row : below->row;
}

int64_t mp_table_number(const mp_table_row *row, const char *name, int64_t usual) {
    const json_t *value = json_object_get(row->entry, name);
    return json_is_integer(value) ? json_integer_value(value) : usual;
}

bool mp_table_true(const mp_table_row *row, const char *name) {
    return json_is_true(json_object_get(row->entry, name));
}

int mp_table_line(const mp_table *t, const mp_table_row *row, const char *name, int *column) {
    for (size_t i = 0; name && i < row->words; i++) {
        const mp_table_word *word = &t->word[row->word + i];
        if (strcmp(word->name, name) != 0) continue;
        *column = word->column;
        return word->line;
    }
    *column = row->column;
    return row->line;
}

static int ascending(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int64_t *mp_table_sides(const mp_table *t, size_t *count) {
    int64_t *m = calloc(3 * t->step_count + 4, sizeof *m);
    size_t used = 0, unique = 0;
    const mp_table_step *before = NULL;
    for (size_t i = 0; m && i < t->step_count; i++) {
        const mp_table_step *step = &t->step[i];
        if (step->M < 1) continue;
        if (!before && step->M > 1) m[used++] = step->M - 1;
        if (before && step->M - before->M > 1) {
            const int64_t last = mp_tuned_last_of_smaller(before->M, step->M, step->first < before->first);
            m[used++] = last;
            m[used++] = last + 1;
        }
        m[used++] = step->M;
        before = step;
    }
    if (before && before->M < INT64_MAX) m[used++] = before->M + 1;
    if (m) qsort(m, used, sizeof *m, ascending);
    for (size_t i = 0; i < used; i++)
        if (unique == 0 || m[i] != m[unique - 1]) m[unique++] = m[i];
    *count = unique;
    if (unique) return m;
    free(m);
    return NULL;
}
