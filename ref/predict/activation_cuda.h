/* SPDX-License-Identifier: Apache-2.0 */
/* act(gate) as published kernels compute it on an sm_90, bit for bit.
 *
 *   cuda-math        v / (1 + expf(-v))                                         IEEE division
 *                    (v/2) * (1 + erff(v sqrt(1/2)))
 *                    (v/2) * (1 + tanhf(sqrt(2/pi) * fma(0.044715, v^3, v)))
 *                    max(v,0) * max(v,0)
 *   cuda-intrinsics  v / (1 + ex2.approx(v * -log2(e)))                         IEEE division
 *   cuda-fast-math   div.approx.ftz(v, 1 + ex2.approx.ftz(v * -log2(e)))        .ftz throughout
 *                    (v/2) * (1 + erff(v sqrt(1/2)))                            likewise
 *   triton           v * div.full(1, 1 + ex2.approx(v * -log2(e)))
 *                    (v/2) * (1 + tl.erf(v sqrt(1/2)))
 *   triton-quotient  div.full(v, 1 + ex2.approx(v * -log2(e)))                  all else as triton
 *
 * The kernels' source has these forms; which of their sums and products are fused was read off the PTX that
 * nvcc 13.0 and Triton 3.6 make of it. docs/measurements.md, "The special-function unit", has what an H100
 * gave for every float32. */
#ifndef MP_PREDICT_ACTIVATION_CUDA_H
#define MP_PREDICT_ACTIVATION_CUDA_H

#include "moeparity/contract.h"
#include "ref/predict/special_unit.h"

#include <stdbool.h>

/* Why act(gate) is not known to the bit under `function`, one of the CUDA and Triton ones; or NULL. */
const char *mp_activation_cuda_unknown(mp_act_function function, mp_activation act);
/* act(gate), the clamps of silu_clamp and clamp_silu left to the caller. NaN where it is not known. */
float mp_activation_cuda(const mp_special_unit *unit, mp_act_function function, mp_activation act, float v);
/* The product with up: flushed by --use_fast_math. */
float mp_activation_cuda_times(mp_act_function function, float a, float up);

#endif
