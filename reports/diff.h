/* SPDX-License-Identifier: Apache-2.0 */
/* Two JSON reports, case by case: what changed from the first to the second. */
#ifndef MP_REPORTS_DIFF_H
#define MP_REPORTS_DIFF_H

#include "reports/stored.h"

#include <stdio.h>

/* The gravest thing that changed of a case, gravest first. */
typedef enum mp_change {
    MP_CHANGE_WORSE,  /* its outcome: PASS, SKIP, TIMEOUT or CRASH, FAIL, each worse than the one before */
    MP_CHANGE_GONE,   /* it is in the first report alone */
    MP_CHANGE_LOST,   /* a stage that was judged, or a check that had passed, is not judged any more */
    MP_CHANGE_BETTER, /* its outcome is better */
    MP_CHANGE_BITS,   /* how many elements of a stage have the predicted bits, or how far the others are */
    MP_CHANGE_RATIO,  /* error/bound of a stage */
    MP_CHANGE_DRIFT,  /* drift of a stage */
    MP_CHANGE_CHECKS, /* another answer of a check */
    MP_CHANGE_TEXTS,  /* contract, tiles, subject */
    MP_CHANGE_NEW,    /* it is in the second report alone */
    MP_CHANGE_NONE,
    MP_CHANGE_COUNT
} mp_change;
const char *mp_change_name(mp_change change); /* "worse" ... */

typedef struct mp_case_change {
    mp_change change;
    const mp_verdict *first, *second; /* NULL: there is none */
    double by;                        /* by how much, to sort by: NaN most of all */
} mp_case_change;

typedef struct mp_report_diff {
    const mp_stored_report *first, *second;
    double threshold;
    mp_case_change
        *cases; /* all of them: the gravest change first, then the largest, then as in the reports */
    size_t case_count, count[MP_CHANGE_COUNT];
} mp_report_diff;

/* Compares; both reports must outlive the result. A case is the same in both by its name; of several cases of
 * a name the n-th is the n-th. Of error/bound and drift, whose unit is the bound, differences up to
 * `threshold` do not count. A figure that a report of an older version lacks is not compared. Free with
 * mp_report_diff_free, after an error too. MP_EMEMORY. */
mp_status mp_report_compare(const mp_stored_report *first, const mp_stored_report *second, double threshold,
                            mp_report_diff *diff, mp_error *err);
void mp_report_diff_free(mp_report_diff *diff);

/* Whether the second is worse: an outcome is, or a case is gone. */
bool mp_report_diff_is_worse(const mp_report_diff *diff);

/* Whether there is something to tell: of a check that both reports know, of a stage, of a figure of it. */
bool mp_changed_answer(const mp_check_result *a, const mp_check_result *b);
bool mp_changed_bits(const mp_stage_figures *a, const mp_stage_figures *b);
bool mp_changed_figure(const mp_report_diff *diff, double a, double b);
/* Whether the reports are of a version that has drifts. */
bool mp_report_diff_has_drift(const mp_report_diff *diff);

/* For people, with `names` for both reports: what runs they are, each case that changed with all that changed
 * of it, counts. Only the counts if quiet. */
void mp_report_diff_print(FILE *out, const mp_report_diff *diff, const char *const names[2], bool quiet);
/* The same for scripts: a new reference, NULL where memory ran out. */
json_t *mp_report_diff_to_json(const mp_report_diff *diff, const char *const names[2]);

#endif
