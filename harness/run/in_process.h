/* SPDX-License-Identifier: Apache-2.0 */
/* What the run with workers and the run without them share. */
#ifndef MP_HARNESS_IN_PROCESS_H
#define MP_HARNESS_IN_PROCESS_H

#include "moeparity/suite.h"

/* mp_suite_run without workers: what a debugger or a memory checker wants to see. A crash ends the run, and
 * so does a second Ctrl-C; the first one waits for the case that runs. */
mp_status mp_run_in_process(const mp_matrix *matrix, const mp_suite_options *o, mp_verdict *verdicts,
                            mp_run_info *info, mp_error *err);

/* The verdict of a case that no worker lived to give; `after` is what that worker had run before it. *v is
 * freed first. */
void mp_verdict_without_worker(const mp_matrix_row *row, const mp_matrix_row *after,
                               const mp_settings *settings, mp_outcome outcome, const char *reason,
                               mp_verdict *v);
/* The subject cannot run here: every case is a SKIP, and says why. */
void mp_skip_all(const mp_matrix *matrix, const mp_suite_options *o, const char *why, mp_verdict *verdicts);
/* Whether the run ends with this verdict. */
bool mp_ends_run(const mp_suite_options *o, const mp_verdict *v);

#endif
