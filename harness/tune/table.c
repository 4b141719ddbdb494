/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tune/table.h"

#include "base/file.h"
#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- keys ---- */

/* Python's int(): blanks around it, a sign, digits with single underscores between them. */
static bool read_number(const char *text, int64_t *number) {
    static const char blanks[] = " \t\n\v\f\r";
    const char *s = text + strspn(text, blanks), *end = text + strlen(text);
    uint64_t value = 0;
    while (end > s && strchr(blanks, end[-1])) end--;
    const bool negative = *s == '-';
    if (s < end && (*s == '-' || *s == '+')) s++;
    if (s == end) return false;
    for (const char *first = s; s < end; s++) {
        if (*s == '_' && s > first && s + 1 < end && s[-1] != '_') continue;
        if (*s < '0' || *s > '9') return false;
        const uint64_t digit = (uint64_t)(*s - '0');
        value = value > (INT64_MAX - digit) / 10 ? INT64_MAX : value * 10 + digit;
    }
    *number = negative ? -(int64_t)value : (int64_t)value;
    return true;
}

static void read_key(mp_table_row *row) {
    char plain[32];
    row->is_number = read_number(row->key, &row->M);
    snprintf(plain, sizeof plain, "%lld", (long long)row->M);
    row->is_plain = row->is_number && strcmp(plain, row->key) == 0;
}

/* ---- places ---- */

/* Walks over a text that is known to be JSON, and tells where names stand. */
typedef struct walk {
    const char *at;
    const char *line_start;
    int line;
    mp_table *table;
    json_t *seen;       /* key -> line, of the whole file */
    json_t *seen_words; /* name -> line, of the entry at hand */
    bool failed;        /* no memory */
} walk;

static void skip_blanks(walk *w) {
    for (; *w->at && strchr(" \t\r\n", *w->at); w->at++)
        if (*w->at == '\n') {
            w->line++;
            w->line_start = w->at + 1;
        }
}

/* Behind the string that begins here. JSON has no line break in strings. */
static void skip_string(walk *w) {
    for (w->at++; *w->at && *w->at != '"'; w->at++)
        if (*w->at == '\\' && w->at[1]) w->at++;
    if (*w->at) w->at++;
}

static char *decode(const char *begin, const char *end) {
    json_t *text = json_loadb(begin, (size_t)(end - begin), JSON_DECODE_ANY, NULL);
    char *copy = text ? strdup(json_string_value(text)) : NULL;
    json_decref(text);
    return copy;
}

/* Room for one more, the array twice as long where it is full: at powers of two. */
static bool grow(void *array, size_t count, size_t size) {
    void **place = array, *longer;
    if (count & (count - 1)) return true;
    if (!(longer = realloc(*place, (count ? 2 * count : 1) * size))) return false;
    *place = longer;
    return true;
}
#define GROW(array, count) grow(&(array), (count), sizeof *(array))

static bool note_double(mp_table *t, const char *key, const char *name, int line, int column, int first) {
    if (!GROW(t->twice, t->twice_count)) return false;
    mp_table_double *d = &t->twice[t->twice_count++];
    *d = (mp_table_double){strdup(key), name ? strdup(name) : NULL, line, column, first};
    return d->key && (d->name || !name);
}

/* The line at which `name` was seen; 0: it is new, and known from now on. */
static int seen_before(json_t *seen, const char *name, int line) {
    const json_t *first = json_object_get(seen, name);
    if (first) return (int)json_integer_value(first);
    json_object_set_new_nocheck(seen, name, json_integer(line));
    return 0;
}

static void take_key(walk *w, char *key, int line, int column) {
    mp_table *t = w->table;
    json_object_clear(w->seen_words);
    const int first = seen_before(w->seen, key, line);
    if (first) {
        w->failed = !note_double(t, key, NULL, line, column, first) || w->failed;
    } else if (strcmp(key, "triton_version") == 0) {
        const json_t *version = json_object_get(t->root, key);
        t->triton_version = json_is_string(version) ? json_string_value(version) : "";
        t->triton_line = line;
    } else if (GROW(t->row, t->count)) {
        mp_table_row *row = &t->row[t->count++];
        *row = (mp_table_row){.key = key,
                              .line = line,
                              .column = column,
                              .entry = json_object_get(t->root, key),
                              .word = t->word_count};
        read_key(row);
        return;
    } else {
        w->failed = true;
    }
    free(key);
}

/* Of a key that occurs twice the entry that counts is the last, and only that one's names are kept. */
static void take_word(walk *w, const char *key, char *name, int line, int column) {
    mp_table *t = w->table;
    const int first = seen_before(w->seen_words, name, line);
    mp_table_row *row = t->count ? &t->row[t->count - 1] : NULL;
    if (first)
        w->failed = !note_double(t, key, name, line, column, first) || w->failed;
    else if (row && strcmp(row->key, key) == 0 && GROW(t->word, t->word_count)) {
        t->word[t->word_count++] = (mp_table_word){name, line, column};
        row->words++;
        return;
    }
    free(name);
}

/* A value at this depth: 0 the file, 1 an entry, 2 and more what is in one. `key` is that of the entry. */
static void walk_value(walk *w, int depth, const char *key) {
    skip_blanks(w);
    if (*w->at == '"') {
        skip_string(w);
        return;
    }
    if (*w->at != '{' && *w->at != '[') {
        w->at += strcspn(w->at, ",]} \t\r\n");
        return;
    }
    const bool object = *w->at == '{';
    w->at++;
    for (;;) {
        char *name = NULL, *kept = NULL;
        skip_blanks(w);
        if (*w->at == ',') {
            w->at++;
            continue;
        }
        if (*w->at == '}' || *w->at == ']' || *w->at == '\0') break;
        if (object) {
            const char *begin = w->at;
            const int line = w->line, column = (int)(begin - w->line_start) + 1;
            skip_string(w);
            if (depth <= 1 && (name = decode(begin, w->at)) == NULL) w->failed = true;
            skip_blanks(w);
            if (*w->at == ':') w->at++;
            if (name && depth == 0) {
                kept = strdup(name);
                take_key(w, name, line, column);
            } else if (name) {
                take_word(w, key, name, line, column);
            }
        }
        walk_value(w, depth + 1, depth == 0 ? kept : key);
        free(kept);
    }
    if (*w->at) w->at++;
}

static mp_status find_places(mp_table *t, const char *text, mp_error *err) {
    walk w = {.at = text, .line_start = text, .line = 1, .table = t};
    w.seen = json_object();
    w.seen_words = json_object();
    w.failed = !w.seen || !w.seen_words;
    if (!w.failed) walk_value(&w, 0, NULL);
    json_decref(w.seen);
    json_decref(w.seen_words);
    return w.failed ? mp_fail(err, MP_EMEMORY, "%s: no memory for its keys", t->path) : MP_OK;
}

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
        status = find_places(t, data, err);
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
            /* Exactly in the middle the order of the file decides; there may be no such M. */
            const int64_t middle = before->M + (step->M - before->M) / 2,
                          last = mp_table_nearest(t, middle) == before->row ? middle : middle - 1;
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
