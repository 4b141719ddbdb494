/* SPDX-License-Identifier: Apache-2.0 */
/* What stands in a file of tuned configurations, and where: keys as Python reads them, places, doubles. */
#include "harness/tune/table_read.h"

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

mp_status mp_table_read_places(mp_table *t, const char *text, mp_error *err) {
    walk w = {.at = text, .line_start = text, .line = 1, .table = t};
    w.seen = json_object();
    w.seen_words = json_object();
    w.failed = !w.seen || !w.seen_words;
    if (!w.failed) walk_value(&w, 0, NULL);
    json_decref(w.seen);
    json_decref(w.seen_words);
    return w.failed ? mp_fail(err, MP_EMEMORY, "%s: no memory for its keys", t->path) : MP_OK;
}
