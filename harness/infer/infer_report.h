/* SPDX-License-Identifier: Apache-2.0 */
/* Private to harness/infer/: what is reported of an inference, as JSON; docs/infer.md tells its fields. */
#ifndef MP_HARNESS_INFER_REPORT_H
#define MP_HARNESS_INFER_REPORT_H

#include "harness/infer/evidence.h"
#include "moeparity/contract.h"

#include <jansson.h>

typedef struct mp_infer_report mp_infer_report;
mp_infer_report *mp_infer_report_new(void); /* NULL without memory */
void mp_infer_report_free(mp_infer_report *r);

/* A case was run; or why not. */
void mp_infer_case_done(mp_infer_report *r, const mp_case *c, const char *skipped);
/* Whether a case that has the stage shows both what it reads and what it leaves. */
void mp_infer_stage_seen(mp_infer_report *r, mp_stage stage, bool seen);
bool mp_infer_stage_was_seen(const mp_infer_report *r, mp_stage stage);
/* The tree of the stage's sum, or why there is none. */
void mp_infer_tree(mp_infer_report *r, mp_stage stage, bool revealed, const char *text);
void mp_infer_note(mp_infer_report *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Everything, with what the evidence says. like: a case that was run, whose presets the contract is told
 * by. NULL without memory. */
json_t *mp_infer_report_json(mp_infer_report *r, const mp_evidence *evidence, const mp_case *like);

#endif
