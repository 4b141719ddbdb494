/* SPDX-License-Identifier: Apache-2.0 */
/* Which rows must run before one that fails only behind others: state left over in the process. */
#ifndef MP_HARNESS_BISECT_ROWS_H
#define MP_HARNESS_BISECT_ROWS_H

#include "harness/bisect/signature.h"
#include "moeparity/suite.h"

typedef struct mp_rows_options {
    size_t target;  /* the row that fails; MP_NO_CASE: the first that does, all in one process */
    int64_t tries;  /* at most so many processes */
    double seconds; /* and none is begun after so many */
    /* Called before each of them: how many rows it runs. May be NULL. */
    void (*trying)(void *ctx, int64_t tries, double seconds, size_t rows);
    /* And when fewer rows before the target have been found to be enough. May be NULL. */
    void (*found)(void *ctx, int64_t tries, double seconds, size_t before);
    void *ctx;
} mp_rows_options;

typedef struct mp_rows_found {
    bool fails;    /* false: no row fails, or the target does not behind all rows before it */
    bool alone;    /* it fails without any of them */
    bool complete; /* none of `before` can be left out; else tries, seconds or Ctrl-C ended the search */
    bool interrupted;
    size_t target, *before, count; /* rows of the matrix: the one that fails, and what must run before it */
    mp_signature signature;
    mp_verdict v;            /* of the target, behind them */
    const char *line;        /* the one command that repeats it; "" where it has no room for them */
    int64_t tries, rows_run; /* processes, and the rows that all of them ran */
    double seconds;
    mp_run_info info;
    mp_texts texts;
} mp_rows_found;

/* Finds the least of the rows before the target, in their order, behind which it fails as behind all of them;
 * `how` as in mp_attempt. For one culprit among n rows 2*log2(n) processes, and 2*n rows in all of them. Free
 * with mp_rows_found_free, after an error too. */
mp_status mp_bisect_rows(const mp_matrix *matrix, const mp_suite_options *how, const mp_rows_options *options,
                         mp_rows_found *found, mp_error *err);
void mp_rows_found_free(mp_rows_found *found);

#endif
