/* SPDX-License-Identifier: Apache-2.0 */
/* What a run holds open while it judges its cases: the subject, the one it is compared with, the golden, the
 * recording. In a worker, or in the process of a run without workers. */
#ifndef MP_HARNESS_SETUP_H
#define MP_HARNESS_SETUP_H

#include "base/text.h"
#include "harness/run/engine_choice.h"
#include "harness/run/kept_weights.h"
#include "moeparity/run_case.h"
#include "moeparity/suite.h"

typedef struct mp_setup {
    const mp_suite_options *options; /* borrowed */
    mp_subject subject, against;
    mp_engine_choice engine;
    mp_golden *golden;    /* compared with */
    mp_golden *recording; /* being made, where cases are not kept one by one */
    mp_provenance who;    /* records */
    /* What verdicts depend on beside the line, by digests of contents: "golden 0123456789abcdef, ...". Of a
     * golden that is its root, of plug-ins and a tuned file that is named the file's; what a program is made
     * of nobody can tell. */
    mp_text files;
    mp_kept_weights weights;
    mp_run_options run; /* of the next case */
} mp_setup;

/* Opens it all and compiles the kernels of the cases. check_golden: every number of the golden is read first,
 * so that one that is damaged is bad input, not a failure of some case. Says what it is at (mp_progress):
 * "golden", "subject", "tiles", "kernels". MP_EINPUT for a wrong name, golden or tuned file. MP_EUNSUPPORTED
 * where the subject, or the device that is to judge, is not there. Close it after an error too. */
mp_status mp_setup_open(const mp_suite_options *options, const mp_matrix *matrix, bool check_golden,
                        mp_setup *s, mp_error *err);
/* Bytes of the host's memory that the row takes beside what its case says: what the subject, and the one that
 * it is compared with, say of the largest of the row's cases, and what a judge on a device takes. */
size_t mp_setup_host_bytes(mp_setup *s, const mp_matrix_row *row);
/* Judges a case. One that passes is recorded, where there is a recording: the error is the recording's. What
 * ran before it the caller says in `run`. */
mp_status mp_setup_judge(mp_setup *s, const mp_matrix_row *row, mp_verdict *v, mp_error *err);
/* Writes the recording. */
mp_status mp_setup_commit(mp_setup *s, mp_error *err);
void mp_setup_close(mp_setup *s);

#endif
