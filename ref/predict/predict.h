/* SPDX-License-Identifier: Apache-2.0 */
/* The pipeline in the arithmetic of a contract, bit for bit: what a kernel that keeps the contract must
 * compute. The bits are the same on every machine. */
#ifndef MP_PREDICT_PREDICT_H
#define MP_PREDICT_PREDICT_H

#include "moeparity/contract.h"
#include "ref/activation.h"
#include "ref/combine.h"
#include "ref/quant.h"

#define MP_HOST_ARCHITECTURE 90 /* whose bits the subject `host` predicts */

/* Whether the stage's bits follow from the contract at all; else false, with the reason: no order is fixed, a
 * function is not IEEE, an accumulator has no model. */
bool mp_predictable(const mp_contract *contract, const mp_case *c, mp_stage stage, const char **why);

typedef struct mp_prediction {
    const mp_contract *contract;
    const mp_engine *engine; /* of gate_up and down, as far as it predicts; NULL: the CPU alone */
    double *stage_ns;        /* [MP_STAGE_COUNT] added to; NULL: not timed */
} mp_prediction;
mp_executor mp_predict_executor(mp_prediction *prediction);
/* Its stages, mp_predict_stage_align, ...; self is the mp_prediction. MP_EUNSUPPORTED where a GEMM's
 * accumulator is not predicted, or its model does not know the format. And, mp_unpredictable_align, ..., why
 * a stage is not predicted under the contract, or NULL. */
typedef const char *mp_stage_refusal(const mp_contract *contract, const mp_case *c);
#define MP_PREDICT_STAGE(stage, scope, name) \
    mp_stage_run mp_predict_stage_##name;    \
    mp_stage_refusal mp_unpredictable_##name;
MP_STAGES(MP_PREDICT_STAGE)
#undef MP_PREDICT_STAGE

/* After quant_x or quant_act of a call: codes that the contract's quantiser leaves open, for what becomes of
 * a NaN is not told, are made what `got` has, the subject's codes. *count of them; got NULL: they are
 * counted. */
mp_status mp_predict_open_codes(const mp_contract *contract, const mp_stage_call *call, mp_stage stage,
                                const mp_tensor *got, int64_t *count, mp_error *err);

/* The contract of the subject `host`: sm_90's, deterministic throughout. Nothing is promised of its bits: it
 * is the prediction. */
mp_contract mp_host_contract(const mp_case *c);
/* Creates a trace of all outputs (to be destroyed by the caller, after an error too) and fills it. */
mp_status mp_host_predict(const mp_contract *contract, const mp_case *c, const mp_inputs *in,
                          int block_size_m, uint32_t poison, mp_trace *trace, mp_error *err);
/* The same under mp_host_contract. */
mp_status mp_host_run(const mp_case *c, const mp_inputs *in, int block_size_m, uint32_t poison,
                      mp_trace *trace, mp_error *err);

/* act, combine and the codes of our own quantisers, each on tensors that are given: what the stages above
 * store, but for rows of filtered slots, which keep what they had. MP_EMEMORY, or MP_EUNSUPPORTED without
 * the tables of an act function. */
mp_status mp_predict_activated(const mp_act_bits *bits, const mp_tensor *out, mp_error *err);
mp_status mp_predict_combined(const mp_combine_bits *bits, const mp_tensor *out, mp_error *err);
mp_status mp_predict_quantised(const mp_quant_bits *bits, const mp_tensor *codes, mp_error *err);

/* Whether a GEMM, quantiser, activation or combine has left what it would predict, by an engine that looks at
 * it itself; rows of filtered slots aside. MP_EUNSUPPORTED: it does not. */
mp_status mp_confirm_stage(const mp_engine *engine, const mp_contract *contract, const mp_stage_call *call,
                           mp_stage stage, bool *equal, mp_error *err);
/* The same of one of them, called by it. */
mp_status mp_confirm_gemm_stage(const mp_engine *engine, const mp_contract *contract,
                                const mp_stage_call *call, mp_stage stage, bool *equal, mp_error *err);
mp_status mp_confirm_act_stage(const mp_engine *engine, const mp_contract *contract,
                               const mp_stage_call *call, bool *equal, mp_error *err);
mp_status mp_confirm_combine_stage(const mp_engine *engine, const mp_contract *contract,
                                   const mp_stage_call *call, bool *equal, mp_error *err);

mp_status mp_confirm_quant_stage(const mp_engine *engine, const mp_contract *contract,
                                 const mp_stage_call *call, mp_stage stage, bool *equal, mp_error *err);

#endif
