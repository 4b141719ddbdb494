/* Verdicts -> terminal table, JSON, JUnit XML. */
#ifndef MP_REPORTS_REPORT_H
#define MP_REPORTS_REPORT_H

#include "harness/verdict.h"

#include <stdio.h>

/* One row of the terminal table, as the field's own parity tables read, newline included:
 *   [OK] M=32 topk=2 act=silu   diff=0.00e+00 bits=equal (path=runner)  f64: max-abs=1.95e-03 err/bound=0.43
 *                               worst=down
 * followed, when not OK, by indented lines: the failed checks, the worst element, the repro. `color` adds
 * ANSI colours; name_width pads the name. */
void mp_report_row(FILE *out, const mp_verdict *v, int name_width, bool color);
/* The summary: counts of every outcome, the reasons of the skips with their counts, time; then what was run,
 * where, and beside which reference:
 *   subject cuda on NVIDIA H100 80GB HBM3, driver 13.0, NVRTC 13.0, sm_90, gcc 12.2.0; reference OpenBLAS
 *   0.3.21 SkylakeX */
void mp_report_summary(FILE *out, const mp_run_info *info, const mp_tally *tally, const mp_verdict *verdicts,
                       size_t count);
/* Exit code of a run, as it ends with it and as the JSON report holds it: that of the tally, but an
 * interrupted run without a failure is 3, for the rest was not judged, and so is one of skips alone where
 * MOEPARITY_REQUIRE_GPU is set: absence of a GPU must not look like success there. */
int mp_report_exit_code(const mp_run_info *info, const mp_tally *tally);
/* Both write to `<path>.tmp.<pid>` and rename; on failure nothing is left behind and an old file stays. */
mp_status mp_report_json(const char *path, const mp_run_info *info, const mp_verdict *verdicts, size_t count,
                         mp_error *err);
mp_status mp_report_junit(const char *path, const mp_run_info *info, const mp_verdict *verdicts, size_t count,
                          mp_error *err);

#endif
