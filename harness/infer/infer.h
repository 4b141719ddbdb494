/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of a subject, found out: it is run on cases that tell hypotheses about its arithmetic apart,
 * every stage is computed from the subject's own input of it under each hypothesis, and what differs is
 * counted. No hypothesis sees the output that it predicts. docs/infer.md */
#ifndef MP_HARNESS_INFER_H
#define MP_HARNESS_INFER_H

#include "harness/infer/evidence.h"
#include "moeparity/matrix.h"
#include "moeparity/subject.h"

#include <jansson.h>

typedef struct mp_infer_options {
    unsigned stages; /* bit s: stage s is asked about; 0: all */
    int repeat;      /* runs of each case, by the two poisons in turn; 0: 3 */
} mp_infer_options;

/* Runs the cases, and fills *report (the caller's to decref), as docs/infer.md tells it: the cases with why
 * one was not run, the stages with their questions, the trees of sums, the contract in words. A case that the
 * subject does not run is passed over; MP_EUNSUPPORTED, with the first reason, where it runs none. MP_EINPUT
 * where the cases have several dtypes or activations: a contract is of one kind of case. Other errors are the
 * subject's, or memory. */
mp_status mp_infer(mp_subject *subject, const mp_matrix *cases, const mp_infer_options *options,
                   json_t **report, mp_error *err);

/* The cases that tell hypotheses apart, where nobody names others: all stages, then each stage alone, with
 * ragged k, cancellation, filtered slots, sorted rows, every gate of 16 bits. `with` ("dtype=fp16 act=gelu",
 * NULL: nothing) is set over each, as far as the case has the fields; cases that cannot be with it are left
 * out. MP_EINPUT where `with` is wrong, or none is left. */
mp_status mp_infer_cases(const char *with, mp_matrix *cases, mp_error *err);

#endif
