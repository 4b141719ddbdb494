/* SPDX-License-Identifier: Apache-2.0 */
/* A grouped GEMM with the bits of a contract's accumulator. */
#ifndef MP_PREDICT_GEMM_H
#define MP_PREDICT_GEMM_H

#include "moeparity/contract.h"
#include "ref/predict/tensorcore_gemm.h"

/* Arguments as mp_gemm_stage, of operands without scales. parts: what becomes of sums over parts of k; NULL:
 * they are promoted as the contract says. MP_EUNSUPPORTED where the accumulator is not predicted, or its
 * model does not know the format. */
mp_status mp_predict_gemm(const mp_gemm_contract *contract, const mp_tc_parts *parts,
                          const mp_gemm_problem *problem, const mp_epilogue *epilogue, const int64_t *out_row,
                          const mp_tensor *out, mp_error *err);
/* The model of a tensor core that the contract says, of operands of these formats; MP_EUNSUPPORTED where it
 * takes none of them. */
mp_status mp_tc_model_of(const mp_gemm_contract *contract, mp_dtype a, mp_dtype w, mp_tc_model *model,
                         mp_error *err);
/* Why it is not, of operands of this format, or NULL. */
const char *mp_unpredictable_gemm(const mp_gemm_contract *contract, mp_dtype operands);

#endif
