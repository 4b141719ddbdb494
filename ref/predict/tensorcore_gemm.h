/* SPDX-License-Identifier: Apache-2.0 */
/* Grouped GEMM with the bits of a tensor core: the fast twin of mp_tc_dot (ref/predict/tensorcore.h), from a
 * zero accumulator over all of k.
 *
 * The bits depend on nothing but the operands: not on the machine, the micro-kernel, the threads or the
 * batch. Whatever the micro-kernels do not cover (Inf, NaN, extreme exponents; float16 accumulators, and fp8
 * through fp16) is computed by mp_tc_dot itself. */
#ifndef MP_REF_TENSORCORE_GEMM_H
#define MP_REF_TENSORCORE_GEMM_H

#include "ref/gemm.h"
#include "ref/predict/tensorcore.h"
#include "ref/predict/tensorcore_kernels.h"

/* Arguments as mp_gemm_stage; a and w have the formats of the model's operands, tf32 being fp32; bias and out
 * are bf16, fp16 or fp32. Epilogue in float32: + bias, * router weight; then one RNE to out's dtype. Slots
 * whose id is -1 get zeros; other rows of out are not touched. MP_EUNSUPPORTED when the tensors have other
 * formats, and for s8. */
mp_status mp_tc_gemm(const mp_tc_model *model, const mp_gemm_problem *problem, const mp_epilogue *epilogue,
                     const int64_t *out_row, const mp_tensor *out, mp_error *err);

/* The same with a given micro-kernel, for tests and measurements. *redone (may be NULL) counts the outputs
 * that mp_tc_dot had to compute. */
mp_status mp_tc_gemm_with(const mp_tc_kernel *kernel, const mp_tc_model *model,
                          const mp_gemm_problem *problem, const mp_epilogue *epilogue, const int64_t *out_row,
                          const mp_tensor *out, int64_t *redone, mp_error *err);

#endif
