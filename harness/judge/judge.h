/* SPDX-License-Identifier: Apache-2.0 */
/* The f64 oracle: a trace judged stage by stage, each from the subject's own actual input of that stage.
 * Stages between two tensors that the subject exposes are judged as one span. */
#ifndef MP_HARNESS_JUDGE_H
#define MP_HARNESS_JUDGE_H

#include "moeparity/inputs.h"
#include "harness/judge/where.h"
#include "moeparity/verdict.h"
#include "moeparity/contract.h"
#include "ref/gemm.h"

/* Fills v->stage, v->end_to_end and the checks bound, rms, nan, integer and poison (unwritten elements) of
 * *v. Checks keep their first failure. `config` tells tiles in messages; NULL: it does not. `poison` is the
 * pattern the trace's buffers were filled with. Errors are the harness's own (memory), never the subject's.
 */
mp_status mp_judge(const mp_case *c, const mp_contract *contract, const mp_config *config,
                   const mp_inputs *in, const mp_trace *trace, uint32_t poison, mp_engine engine,
                   mp_verdict *v, mp_error *err);

/* Integer check of align alone. */
void mp_judge_align(const mp_case *c, const mp_contract *contract, const mp_inputs *in, const mp_trace *trace,
                    mp_verdict *v);

/* Says where a failure begins: `begins in gate_up: expert 3 only, 7 of its 7 rows, columns 64..127`. The
 * earliest stage that fails is kept, whichever check finds it; first..last: a span that was judged as one. */
void mp_begins(mp_verdict *v, mp_stage first, mp_stage last, const char *what);
/* Once all is judged: `; later stages follow from it`, or those that are wrong by their own input as well. */
void mp_begins_conclude(mp_verdict *v, const mp_case *c);

/* Records an answer of a part. A failure counts and keeps the first text; else the check is not judged where
 * a part was not, whatever comes before or after it; else it has passed. */
void mp_check_fail(mp_verdict *v, mp_check check, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void mp_check_pass(mp_verdict *v, mp_check check);
void mp_check_pass_partly(mp_verdict *v, mp_check check,
                          const char *note); /* passed, with a text that says what it does not cover */
void mp_check_not_judged(mp_verdict *v, mp_check check, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
