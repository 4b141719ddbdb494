/* SPDX-License-Identifier: Apache-2.0 */
/* Grouped GEMM with the bits of a block-scaled unit (ref/predict/blockscaled.h). */
#ifndef MP_PREDICT_BLOCKSCALED_GEMM_H
#define MP_PREDICT_BLOCKSCALED_GEMM_H

#include "moeparity/contract.h"
#include "ref/predict/tensorcore_gemm.h"

/* Why the bits of such a GEMM of the case over K terms are not predicted, or NULL. */
const char *mp_unpredictable_block_scaled(const mp_gemm_contract *contract, const mp_case *c, int64_t K);
/* Arguments as mp_gemm_stage, of codes with the scales of their blocks. Global scales, where operands have
 * them, meet the sum as contract->scaling says. MP_EUNSUPPORTED for operands that the unit does not take. */
mp_status mp_block_scaled_gemm(const mp_gemm_contract *contract, const mp_gemm_problem *problem,
                               const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *out,
                               mp_error *err);

#endif
