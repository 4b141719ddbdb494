/* SPDX-License-Identifier: Apache-2.0 */
/* Cases whose tensors come from a file, and are judged as they are. */
#ifndef MP_HARNESS_JUDGE_FILE_H
#define MP_HARNESS_JUDGE_FILE_H

#include "harness/checks/session.h"

/* Reads all of the file, and writes the canonical text of its case: case_text as in mp_trace_file_open,
 * contract in words, NULL for that of the file. Numbers for which there is not enough memory are not read:
 * mp_file_load says so. MP_EINPUT with path and place: anything in it that is wrong, or nothing that can be
 * judged. */
mp_status mp_file_check(const char *path, const char *case_text, const char *contract,
                        char text[MP_CASE_TEXT_MAX], mp_error *err);

/* The tensors of s->row->file: the inputs into *in, the trace into s->first, the contract into s->offer; what
 * is covered is told in the verdict. The caller destroys both, after an error too. MP_EUNSUPPORTED: not
 * enough memory. */
mp_status mp_file_load(mp_session *s, mp_inputs *in, mp_error *err);

/* What mp_file_check says, asked of a worker: libhdf5 may crash or hang on a file that was forged.
 * in_process: it is not. Times out as mp_suite_golden_cases does. */
mp_status mp_suite_file_case(const char *path, const char *case_text, const char *contract, bool in_process,
                             double timeout_seconds, char text[MP_CASE_TEXT_MAX], mp_error *err);

#endif
