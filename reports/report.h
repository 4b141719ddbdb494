/* Verdicts -> terminal table, JSON, JUnit XML. */
#ifndef MP_REPORTS_REPORT_H
#define MP_REPORTS_REPORT_H

#include "harness/verdict.h"

#include <stdio.h>

/* One row of the terminal table, as the field's own parity tables read, newline included:
 *   [OK] M=32 topk=2 act=silu   diff=0.00e+00 bits=equal (path=runner)  f64=1.95e-03 err/bound=0.43 worst=down
 * followed, when not OK, by indented lines: the failed checks, the worst element, the repro. `color` adds ANSI colours; name_width pads the name. */
void mp_report_row(FILE *out, const mp_verdict *v, int name_width, bool color);
/* The summary: counts of every outcome, the reasons of the skips with their counts, time. */
void mp_report_summary(FILE *out, const mp_run_info *info, const mp_tally *tally, const mp_verdict *verdicts, size_t count);
/* Both write to `<path>.tmp.<pid>` and rename; on failure nothing is left behind and an old file stays. */
mp_status mp_report_json(const char *path, const mp_run_info *info, const mp_verdict *verdicts, size_t count, mp_error *err);
mp_status mp_report_junit(const char *path, const mp_run_info *info, const mp_verdict *verdicts, size_t count, mp_error *err);

#endif
