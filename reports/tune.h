/* SPDX-License-Identifier: Apache-2.0 */
/* What came of proving a tuned file, for people. */
#ifndef MP_REPORTS_TUNE_H
#define MP_REPORTS_TUNE_H

#include "harness/tune/prove/changes.h"
#include "harness/tune/prove/prove.h"

#include <stdio.h>

/* A head that says what the file is for; for each shape a line for every key: its tile, the range of M that
 * it serves, what the compiler says of it, at which M it ran, and what came of that; under it every launch
 * that is not proven, with the reason (verbose: every launch). Then the counts, what they prove, and what
 * not. */
void mp_report_tune(FILE *to, const mp_tune_result *result, const mp_run_info *info, bool verbose);
/* The rows that would run, one repro a line, and the ranges that they stand for. */
void mp_report_tune_plan(FILE *to, const mp_tune_result *result);
/* For `tune diff`: each range of M in which the new file has other tiles than the old one. */
void mp_report_tune_changes(FILE *to, const mp_tune_target *old, const mp_tune_target *new,
                            const mp_tune_change *changes, size_t count);

#endif
