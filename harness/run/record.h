/* SPDX-License-Identifier: Apache-2.0 */
/* Recording a golden file out of a run. */
#ifndef MP_HARNESS_RECORD_H
#define MP_HARNESS_RECORD_H

#include "golden/golden.h"
#include "harness/subjects/subject.h"

typedef struct mp_record_options {
    const char *path;
    size_t digest_above; /* larger tensors become one digest a row */
    bool inputs;         /* store the inputs too */
    /* version, commit, date; device: that of a subject without one (the CPU); versions: what is added to
     * those of the subject (the compiler). The rest is filled from the subject. */
    mp_provenance who;
} mp_record_options;

/* Begins the file in memory: mp_golden_create. */
mp_status mp_record_begin(const mp_record_options *options, const mp_subject *subject, mp_golden **golden,
                          mp_error *err);
/* Stores the run that was judged. */
mp_status mp_record_case(mp_golden *golden, const mp_case *c, const mp_offer *offer, const mp_inputs *in,
                         const mp_trace *trace, mp_error *err);

#endif
