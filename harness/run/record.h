/* SPDX-License-Identifier: Apache-2.0 */
/* Recording a golden file out of a run. */
#ifndef MP_HARNESS_RECORD_H
#define MP_HARNESS_RECORD_H

#include "moeparity/suite.h"

/* Begins the file in memory: mp_golden_create. */
mp_status mp_record_begin(const mp_record_options *options, const mp_subject *subject, mp_golden **golden,
                          mp_error *err);
/* Runs a case that has passed once more, and takes its trace. */
mp_status mp_record_case(mp_subject *subject, mp_golden *golden, const mp_case *c, mp_error *err);

#endif
