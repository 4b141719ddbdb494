/* SPDX-License-Identifier: Apache-2.0 */
/* Which conditions a list of cases produces. A condition is something that a case must have for a class of
 * faults to show at all: a kernel that drops the last of an odd number of k groups is right wherever their
 * number is even. docs/coverage.md lists them. */
#ifndef MP_CASES_COVERAGE_H
#define MP_CASES_COVERAGE_H

#include "cases/figures.h"
#include "moeparity/matrix.h"

typedef struct mp_condition {
    const char *name, *meaning;
    bool full; /* costs too much for tier ci: of the stock matrices only rows of tier full produce it */
    const char *match; /* a match expression that must hold, or NULL */
    bool (*holds)(const mp_case *c, const mp_figures *f, int64_t n); /* and this, or NULL */
    int64_t n;                                                       /* what `holds` is asked with */
    /* And this, or NULL, of the case and one that runs before it (matrix.h, afters). */
    bool (*follows)(const mp_case *c, const mp_figures *f, const mp_case *before, const mp_figures *earlier);
} mp_condition;

/* In the order of docs/coverage.md. */
int mp_condition_count(void);
const mp_condition *mp_condition_at(int i);
/* -1: there is none of that name. */
int mp_condition_find(const char *name);

/* How many cases produce one condition, and the first of them. */
typedef struct mp_coverage {
    size_t cases;
    const mp_matrix_row *first; /* NULL: none does */
} mp_coverage;

/* One for each condition, in the order of the table. A case produces what it or one of its pairs produces. No
 * tensor but the ids is filled. */
mp_status mp_coverage_of(const mp_matrix *matrix, mp_coverage coverage[], mp_error *err);

#endif
