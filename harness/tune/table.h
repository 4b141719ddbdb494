/* SPDX-License-Identifier: Apache-2.0 */
/* A file of tuned configurations as it stands: everything that is in it, right or wrong, with its places.
 * kernels/tuned.h has the strict reader, which takes a file only where all of it is right. */
#ifndef MP_HARNESS_TUNE_TABLE_H
#define MP_HARNESS_TUNE_TABLE_H

#include "kernels/loader.h"

#include <jansson.h>

typedef struct mp_table_row {
    char *key;        /* as it stands */
    int line, column; /* from 1; of its first occurrence */
    int64_t M;        /* what Python's int() makes of it, at most INT64_MAX; 0 where is_number is not set */
    bool is_number;   /* int() takes it */
    bool is_plain;    /* and it is spelt as a number is printed: no blank, sign, zero or underscore more */
    const json_t *entry; /* of the last occurrence, as parsers have it */
    size_t word, words;  /* names of its entry: table->word[word .. word + words - 1] */
} mp_table_row;

/* A name in an entry. */
typedef struct mp_table_word {
    char *name;
    int line, column;
} mp_table_word;

/* A number of tokens that the file has an entry for. Of keys that are one number, as "8" and "08", the first
 * gives the place, and the last the entry, as in Python's dictionaries. */
typedef struct mp_table_step {
    int64_t M;
    size_t first; /* place in the file */
    const mp_table_row *row;
} mp_table_step;

/* What occurs a second time. */
typedef struct mp_table_double {
    char *key, *name; /* name: of a value in the entry of `key`; NULL: the key itself */
    int line, column, first_line;
} mp_table_double;

typedef struct mp_table {
    char *path;
    const char *file; /* the last part of it */
    bool named;       /* the name could be read: */
    mp_tuned_parts name;
    char *broken;    /* why there are no rows: no JSON, no object; NULL: there may be */
    int broken_line; /* 0: nowhere in particular */
    json_t *root;
    mp_table_row *row; /* in the file's order, without triton_version; each key once */
    size_t count;
    mp_table_step *step; /* by M */
    size_t step_count;
    mp_table_word *word;
    size_t word_count;
    mp_table_double *twice;
    size_t twice_count;
    const char *triton_version; /* its text, "" where it is no text; NULL: not in the file */
    int triton_line;
} mp_table;

enum { MP_TABLE_MOST_BYTES = 4 << 20 }; /* published files have some kB */

/* MP_EIO where it cannot be read; MP_EMEMORY. A file whose contents are wrong is MP_OK, and says so. Free by
 * mp_table_free, after an error too. */
mp_status mp_table_load(const char *path, mp_table *table, mp_error *err);
void mp_table_free(mp_table *table);

/* The row that serves M tokens, as the loaders choose: the nearest key, of two equally near the one first in
 * the file. NULL: there is none. Rows that are no number are passed over. O(log keys). */
const mp_table_row *mp_table_nearest(const mp_table *table, int64_t M);

/* A number of an entry; `usual` where it is not there or no integer. */
int64_t mp_table_number(const mp_table_row *row, const char *name, int64_t usual);
bool mp_table_true(const mp_table_row *row, const char *name);
/* Where the entry has a name; the row's own line where it does not. */
int mp_table_line(const mp_table *table, const mp_table_row *row, const char *name, int *column);

/* The M's at which a file can be wrong in its own way: every key, both sides of every M at which another key
 * takes over, one below the first key and one above the last. Ascending, each once; the caller frees. NULL
 * with *count 0: no memory, or no keys. */
int64_t *mp_table_sides(const mp_table *table, size_t *count);

#endif
