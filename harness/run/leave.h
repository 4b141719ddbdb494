/* SPDX-License-Identifier: Apache-2.0 */
/* What a subject leaves of a case, beside what was expected, in a file for other programs. */
#ifndef MP_HARNESS_LEAVE_H
#define MP_HARNESS_LEAVE_H

#include "harness/run/setup.h"

#include <jansson.h>

typedef struct mp_leave_options {
    const char *path; /* ends as mp_export_format_of_path knows it */
    int stage;        /* whose output is also computed; -1: the last one of the case */
    /* Without what the subject leaves: it was run in place of one that did not survive. */
    bool expected_only;
} mp_leave_options;

/* Runs the case once, and writes a file of: the inputs, with ids of this rank's experts; what the
 * subject left, under the tensors' names; expected_NAME, the stage's output in float64, computed from the
 * subject's own input of the stage, or from the last tensor before it that it shows; predicted_NAME, its
 * bits under the subject's contract, where those follow from it. Errors: those of the subject, MP_EIO,
 * MP_EMEMORY; the file is written whole or not at all. */
mp_status mp_leave_case(mp_setup *setup, const mp_matrix_row *row, const mp_leave_options *options,
                        mp_error *err);

/* {"leave": {...}}, and back; *row is appended to *m. Texts point into the message. */
json_t *mp_json_leave(const mp_matrix_row *row, const mp_leave_options *options);
mp_status mp_json_to_leave(const json_t *json, mp_matrix *m, mp_leave_options *options, mp_error *err);

/* In a worker: runs `rows` as a run does, and then has the last of them left. `how` as in mp_ask_worker. */
mp_status mp_leave_run(const mp_matrix *rows, const mp_suite_options *how, const mp_leave_options *options,
                       mp_error *err);

#endif
