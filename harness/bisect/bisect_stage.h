/* SPDX-License-Identifier: Apache-2.0 */
/* The first stage in which a subject parts from what is expected of it, or from another subject. */
#ifndef MP_HARNESS_BISECT_STAGE_H
#define MP_HARNESS_BISECT_STAGE_H

#include "moeparity/suite.h"

#include <jansson.h>

/* Runs the one row of `row` once, in a new process. Without settings.against each stage is judged by its
 * bound, and by predicted bits where the contract has any, from the subject's own input of it; with it the
 * tensors that both leave are compared bit for bit, stage by stage. `how` as for mp_attempt. *info is filled,
 * and *v, which is initialised here and freed by the caller, after an error too: its pictures show where.
 * *report, a new reference, is what was found, in the terms of docs/bisect.md; "found" is false where they do
 * not part. MP_EUNSUPPORTED: a subject cannot run it here; MP_EDEVICE: it crashes, or hangs, or nothing could
 * be compared. */
mp_status mp_bisect_stage(const mp_matrix *row, const mp_suite_options *how, mp_run_info *info, mp_verdict *v,
                          json_t **report, mp_error *err);

/* Whether the stage parts, as far as the verdict of such a run tells. */
bool mp_stage_parts(const mp_verdict *v, mp_stage stage, bool against);

#endif
