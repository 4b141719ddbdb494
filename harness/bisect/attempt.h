/* SPDX-License-Identifier: Apache-2.0 */
/* A row that is tried: in a new worker, which runs it alone, or behind the rows that shall precede it. */
#ifndef MP_HARNESS_ATTEMPT_H
#define MP_HARNESS_ATTEMPT_H

#include "moeparity/suite.h"

/* Runs the rows in order in one new process, which ends with them. *v, which is initialised here and
 * freed by the caller, after an error too, is the verdict of row *at (may be NULL): of the last one, or of
 * an earlier one that its process did not survive. A row that kills its worker is a CRASH, one that is late
 * a TIMEOUT, as in a run; where the subject cannot run here the last row is a SKIP. Of `how` count
 * settings, program, phase and ctx. *info (may be NULL; initialised by the caller): subject, device,
 * versions and blas are filled. MP_EINPUT: what was asked for is wrong, as the subject's name; MP_EDEVICE:
 * no worker could be started. */
mp_status mp_attempt(const mp_matrix *rows, const mp_suite_options *how, mp_verdict *v, size_t *at,
                     mp_run_info *info, mp_error *err);
/* The same, but of the first row that fails, crashes or hangs, whichever it is: those behind it do not
 * run. */
mp_status mp_attempt_until_failure(const mp_matrix *rows, const mp_suite_options *how, mp_verdict *v,
                                   size_t *at, mp_run_info *info, mp_error *err);

#endif
