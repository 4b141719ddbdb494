/* SPDX-License-Identifier: Apache-2.0 */
/* The f64 oracle: a trace judged stage by stage, each from the subject's own actual input of that stage.
 * Stages between two tensors that the subject exposes are judged as one span. */
#ifndef MP_HARNESS_JUDGE_H
#define MP_HARNESS_JUDGE_H

#include "harness/phases.h"
#include "moeparity/inputs.h"
#include "harness/judge/where.h"
#include "moeparity/verdict.h"
#include "moeparity/contract.h"
#include "ref/gemm.h"

/* Fills v->stage and the checks bound, rms, nan, integer and poison (unwritten elements) of
 * *v. Checks keep their first failure. `config` tells tiles in messages; NULL: it does not. `poison` is the
 * pattern the trace's buffers were filled with. Errors are the harness's own (memory), never the subject's.
 */
mp_status mp_judge(const mp_case *c, const mp_contract *contract, const mp_config *config,
                   const mp_inputs *in, const mp_trace *trace, uint32_t poison, const mp_engine *engine,
                   mp_verdict *v, mp_error *err);

/* Fills v->end_to_end: the final output against the float64 pipeline, which is computed from the inputs. It
 * is reported and decides nothing. Of more than MP_END_TO_END_TOKENS tokens that many are measured where the
 * engine has no end_to_end of its own and activations are not quantised: in equal windows from the first
 * token to the last, and compared is what they have. Without an output, or where an input or the rows of
 * slots are not known, nothing is measured: compared stays 0. Errors are the harness's own. */
mp_status mp_measure_end_to_end(const mp_case *c, const mp_contract *contract, const mp_inputs *in,
                                const mp_trace *trace, const mp_engine *engine, mp_verdict *v, mp_error *err);

/* Integer check of align alone. */
void mp_judge_align(const mp_case *c, const mp_contract *contract, const mp_inputs *in, const mp_trace *trace,
                    mp_verdict *v);

#endif
