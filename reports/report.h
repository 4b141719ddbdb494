/* SPDX-License-Identifier: Apache-2.0 */
/* Verdicts -> terminal table, JSON, a page of HTML, JUnit XML, Markdown. */
#ifndef MP_REPORTS_REPORT_H
#define MP_REPORTS_REPORT_H

#include "base/text.h"
#include "moeparity/verdict.h"

#include <stdio.h>

/* One row of the terminal table, as the field's own parity tables read, newline included:
 *   [OK] M=32 topk=2 act=silu   diff=0.00e+00 bits=equal (path=runner)  f64: max-abs=1.95e-03 err/bound=0.43
 *                               worst=down
 * followed, when not OK, by indented lines: the failed checks, the worst element of every stage, the repro.
 * max-abs is the largest difference of any stage from float64; err/bound is that of the worst stage. */
typedef struct mp_row_style {
    int name_width; /* names are padded to it */
    int columns;    /* of the terminal: a longer name is shortened in the middle, and figures that do not fit
                       behind it begin a line of their own. 0: no terminal, nothing is shortened */
    bool color;     /* ANSI colours */
    bool verbose;   /* the figures of every stage under each row */
} mp_row_style;
void mp_report_row(FILE *out, const mp_verdict *v, const mp_row_style *style);
/* Writes text from elsewhere so that it stays on its line and cannot steer the terminal. */
void mp_report_put(FILE *out, const char *text);
/* Appends the text, with `...` for the middle of one that is longer than `most` bytes (at least 5). */
void mp_report_shorten(mp_text *to, const char *text, size_t most);
/* The summary: counts of every outcome, the reasons of the skips with their counts, time; then what was run,
 * where, and beside which reference:
 *   subject cuda on NVIDIA H100 80GB HBM3, driver 13.0, NVRTC 13.0, sm_90, gcc 12.2.0; reference OpenBLAS
 *   0.3.21 SkylakeX */
void mp_report_summary(FILE *out, const mp_run_info *info, const mp_tally *tally, const mp_verdict *verdicts,
                       size_t count);
enum { MP_REPORT_SCHEMA_VERSION = 2 }; /* of the JSON report; 1 had no schema_version, but "version" */
/* All write to `<path>.tmp.<pid>` and rename; on failure nothing is left behind and an old file stays. */
mp_status mp_report_json(const char *path, const mp_run_info *info, const mp_verdict *verdicts, size_t count,
                         mp_error *err);
/* The page that people look at (reports/page.h), of a run. */
mp_status mp_report_html(const char *path, const mp_run_info *info, const mp_verdict *verdicts, size_t count,
                         mp_error *err);
mp_status mp_report_junit(const char *path, const mp_run_info *info, const mp_verdict *verdicts, size_t count,
                          mp_error *err);
/* The same for a summary in Markdown; but a path that is the file of GITHUB_STEP_SUMMARY keeps what others
 * have put there, and gets it behind that. */
mp_status mp_report_markdown(const char *path, const mp_run_info *info, const mp_verdict *verdicts,
                             size_t count, mp_error *err);

#endif
