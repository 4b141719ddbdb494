/* SPDX-License-Identifier: Apache-2.0 */
/* The bits oracle: every stage predicted from the subject's own actual input of that stage, and compared bit
 * for bit. */
#ifndef MP_HARNESS_JUDGE_BITS_H
#define MP_HARNESS_JUDGE_BITS_H

#include "moeparity/inputs.h"
#include "moeparity/verdict.h"
#include "moeparity/config.h"
#include "moeparity/contract.h"
#include "ref/gemm.h"

/* Fills predicted, mispredicted and max_ulps of v->stage and v->end_to_end, and the check bits: failed where
 * the contract requires the prediction, reported in its text otherwise. A first difference is given with
 * token, slot, column, expert and tile. When no stage differs, the final output follows from the inputs
 * exactly as predicted: the stages are chained by equal bits. Except with fused_sum: the order of its
 * additions is not fixed, so that gate_up and act alone are predicted, and the check's text says so. The
 * engine predicts what it can, the CPU the rest, and all of a stage in which the subject differs: nothing is
 * said of a subject that the CPU does not say. Errors are the harness's own: memory, or MP_EDEVICE where the
 * engine and the CPU predict different bits. */
mp_status mp_judge_bits(const mp_case *c, const mp_contract *contract, const mp_config *config,
                        const mp_inputs *in, const mp_trace *trace, const mp_engine *engine, mp_verdict *v,
                        mp_error *err);

#endif
