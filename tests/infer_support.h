/* SPDX-License-Identifier: Apache-2.0 */
/* A subject that keeps a contract; a subject is asked; and what was found is read from the report. Who asks
 * for a stage or a question that is not there fails. */
#ifndef MP_TESTS_INFER_SUPPORT_H
#define MP_TESTS_INFER_SUPPORT_H

#include "moeparity/contract.h"
#include "moeparity/subject.h"

#include <jansson.h>

#define INFER_WIDE "M=48 E=4 topk=4 K=512 N=256 act=silu data=wide"
#define INFER_SMALL "M=16 E=4 topk=4 K=256 N=128 act=silu data=wide "

#define NAN_QUESTION "a NaN under a clamp"
#define ZERO_QUESTION "an up of -0"
enum { GEMMS = 1 << MP_GATE_UP | 1 << MP_DOWN, GATE_UP = 1 << MP_GATE_UP, DOWN = 1 << MP_DOWN };

static inline float rounded(float v) {
    return (float)mp_round_to(MP_BF16, (double)v);
}

extern mp_contract kept;                 /* what the one under test computes by */
extern bool no_scaling, no_single_stage; /* what it does not run */
/* Computes by a contract of that name with some fields of its own, and says nothing of it. */
mp_subject keeping(const char *preset, const char *const fields[][2], int count);

/* The report about the subject, which is closed; cases end with NULL. stages: a bit each. */
json_t *infer(mp_subject *subject, const char *const cases[], unsigned stages);

const json_t *stage_of(const json_t *report, const char *name);
const json_t *question_of(const json_t *report, const char *stage, const char *name);
/* The value that fits best on an axis of the question. */
const char *best_of(const json_t *question, const char *axis);
/* The best of the question fits, and its value on the axis has these words. */
void expect_best(const json_t *report, const char *stage, const char *name, const char *axis,
                 const char *value);
bool fits_nothing(const json_t *report, const char *stage, const char *name);
/* Whether the stage's arithmetic is not told from this value. */
bool is_open(const json_t *report, const char *stage, const char *value);
int64_t number_of(const json_t *object, const char *name);
/* The line of the contract, and what it promises, read as it would be read behind a plug-in. */
const char *contract_of(const json_t *report);
mp_contract promised(const json_t *report, const char *text);

#endif
