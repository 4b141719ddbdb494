/* SPDX-License-Identifier: Apache-2.0 */
/* Grouped GEMM of int8 operands: exact int32 sums, whatever the instruction, the order of k and the
 * architecture; one rounding, RNE, to the float32 that an epilogue or a part begins with. */
#ifndef MP_REF_INT8_GEMM_H
#define MP_REF_INT8_GEMM_H

#include "ref/predict/tensorcore_gemm.h"

/* Sums of as many terms fit into int32: 131071 * 2^14 < 2^31. Longer ones wrap around, unless the instruction
 * holds them at the limit. */
enum { MP_INT8_EXACT_TERMS = 131071 };

/* Arguments as mp_tc_gemm, to which models of s8 come here; parts may have any length. MP_EUNSUPPORTED for
 * operands of another dtype, and where sums of MP_TC_INT32_SATURATED may reach the limit. */
mp_status mp_int8_gemm(const mp_tc_model *model, const mp_tc_parts *parts, const mp_gemm_problem *problem,
                       const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *out,
                       mp_error *err);

#endif
