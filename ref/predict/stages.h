/* SPDX-License-Identifier: Apache-2.0 */
/* The stages in the arithmetic of a contract, bit for bit: what a kernel that keeps the contract must
 * produce.
 *
 * gate_up and down accumulate as a tensor core does (ref/predict/tensorcore.h) or by fused multiply-adds over
 * ascending k (ref/predict/gemm_fma.h). The activation is the source that the CUDA kernels are compiled from
 * (ref/predict/activation_f32.h), combine adds in ascending j. One rounding to dtype at the end of each. Bits
 * do not depend on machine or threads. */
#ifndef MP_PREDICT_STAGES_H
#define MP_PREDICT_STAGES_H

#include "moeparity/contract.h"
#include "ref/gemm.h"

/* Arguments as mp_gemm_stage; accumulation as the contract says: by fma over ascending k, or by a tensor
 * core. MP_EUNSUPPORTED for any other, and for formats that the tensor core's model does not know. */
mp_status mp_predict_gemm(const mp_gemm_contract *contract, const mp_gemm_problem *problem,
                          const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *out,
                          mp_error *err);

/* cache1 row -> cache2 row for every slot that is not filtered; row [slots] is the row of both caches. */
mp_status mp_predict_activation(const mp_case *c, const int32_t *topk_ids, const int64_t *row,
                                const mp_tensor *cache1, const mp_tensor *cache2, mp_error *err);

/* cache3 [M,topk,K] -> out [M,K]: fp32 accumulator (fp64 for fp64), ascending j, scale after the sum, one
 * rounding. With fused_sum every addition rounds to dtype, as atomic additions do. topk_ids: slots whose id
 * is -1 are left out; NULL: every slot is added, the rows of those are zeros. */
mp_status mp_predict_combine(const mp_case *c, const int32_t *topk_ids, const mp_tensor *cache3,
                             const mp_tensor *out, mp_error *err);

#endif
