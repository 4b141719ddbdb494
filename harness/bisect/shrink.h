/* SPDX-License-Identifier: Apache-2.0 */
/* A case that fails, made as small as it goes while it still fails in the same check and stage. */
#ifndef MP_HARNESS_SHRINK_H
#define MP_HARNESS_SHRINK_H

#include "harness/bisect/signature.h"
#include "moeparity/suite.h"

enum { MP_SHRINK_BEFORE_MAX = 32 }; /* rows before the case; more than a repro's line has room for */

/* What is left of the rows: the case, its pairs, what it runs after, which of the rows before it still
 * run, and the edits of its inputs. Texts are borrowed. */
typedef struct mp_small {
    mp_case c;
    const char *pair[MP_MATRIX_MAX_PAIRS], *after[MP_MATRIX_MAX_AFTERS], *edit; /* edit: NULL: none */
    size_t pairs, afters, before[MP_SHRINK_BEFORE_MAX], befores;
} mp_small;

typedef struct mp_shrink_options {
    int64_t tries;  /* at most so many cases are tried */
    double seconds; /* and none is begun after so many */
    bool values;    /* numbers of the inputs become 0 or 1 at the end */
    /* Called when a smaller one has been found, with the line that repeats it. May be NULL. */
    void (*found)(void *ctx, int64_t tries, double seconds, const mp_small *small, const char *line);
    void *ctx;
} mp_shrink_options;

typedef struct mp_shrunk {
    bool fails;    /* false: the case as it is given does not fail; nothing else was tried */
    bool complete; /* no single step makes it smaller; else tries, seconds or Ctrl-C ended the search */
    bool interrupted;
    mp_signature signature; /* of the failure */
    mp_verdict given, v;    /* as it was given; of the smallest, empty where that is the given one */
    mp_small small;
    mp_matrix rows;   /* of the smallest: what runs before it, and the case */
    const char *edit; /* of the smallest; NULL: none */
    const char *line; /* the one command that repeats it */
    int64_t tries;
    double seconds;
    mp_run_info info; /* initialised here: subject, device, versions, blas */
    mp_texts texts;   /* what these point into */
} mp_shrunk;

/* Shrinks the last of the rows; the others run before it in the same process. `how` as in mp_attempt:
 * its settings.edit are the first of the edits. Tried in this order, each step kept that fails as before,
 * until no step is left: rows before, pairs and what it runs after are dropped; one stage alone; options to
 * their defaults, all at once and one by one; M, E, topk, N, K to their least, then down by powers of two;
 * data becomes `normal` or `integer`; last numbers of the inputs become 0 or 1. Every try is in a process
 * of its own, and the same rows are never tried twice. The same rows and subject come to the same end,
 * unless the seconds end it. Free with mp_shrunk_free, after an error too. An error is that of the first
 * try: later ones count as tries that do not fail. */
mp_status mp_shrink_case(const mp_matrix *rows, const mp_suite_options *how, const mp_shrink_options *options,
                         mp_shrunk *result, mp_error *err);
/* The verdict of the smallest. */
const mp_verdict *mp_shrunk_verdict(const mp_shrunk *result);
void mp_shrunk_free(mp_shrunk *result);

#endif
