/* SPDX-License-Identifier: Apache-2.0 */
/* Grouped GEMM with the bits of AMD's matrix cores (ref/predict/matrixcore.h). */
#ifndef MP_PREDICT_MATRIXCORE_GEMM_H
#define MP_PREDICT_MATRIXCORE_GEMM_H

#include "moeparity/contract.h"
#include "ref/predict/tensorcore_gemm.h"

/* Whether it is the accumulator of a matrix core. */
bool mp_is_matrix_core(mp_accumulator accumulator);
/* Why the bits of such a GEMM on operands of this format are not predicted, or NULL. */
const char *mp_unpredictable_matrix_core(const mp_gemm_contract *contract, mp_dtype operands);
/* Arguments as mp_tc_gemm. MP_EUNSUPPORTED for operands that the unit does not take. */
mp_status mp_matrix_core_gemm(const mp_gemm_contract *contract, const mp_tc_parts *parts,
                              const mp_gemm_problem *problem, const mp_epilogue *epilogue,
                              const int64_t *out_row, const mp_tensor *out, mp_error *err);

#endif
