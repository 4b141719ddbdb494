/* SPDX-License-Identifier: Apache-2.0 */
/* act(gate) as published kernels compute it on an sm_90, bit for bit.
 *
 *   cuda-math          v / (1 + expf(-z))                                       IEEE division
 *                      (v/2) * (1 + erff(v sqrt(1/2)))
 *                      (v/2) * (1 + tanhf(sqrt(2/pi) * fma(v^3, 0.044715, v)))
 *                      max(v,0) * max(v,0)
 *   cuda-math-sigmoid  v * (1 / (1 + expf(-z)))                                 all else as cuda-math
 *   cuda-math-product  (v * factor) / (1 + expf(-z))                            all else as cuda-math
 *   cuda-intrinsics    v / (1 + ex2.approx(z * -log2(e)))                       all else as cuda-math
 *   cuda-fast-math     div.approx.ftz(v, 1 + ex2.approx.ftz(z * -log2(e)))      .ftz throughout
 *                      (v/2) * (1 + erff(v sqrt(1/2)))                          likewise
 *                      v * ((1 + tanh.approx(sqrt(2/pi) * fma(v, v (0.044715 v), v))) / 2)
 *   triton             v * div.full(1, 1 + ex2.approx(z * -log2(e)))
 *                      (v/2) * (1 + tl.erf(v sqrt(1/2)))
 *                      (v/2) * (1 + tanh(sqrt(2/pi) * fma(v, v (0.044715 v), v)))
 *                      with tanh(x) = fma(2, div.full(1, 1 + ex2.approx(2x * -log2(e))), -1)
 *   triton-quotient    div.full(v, 1 + ex2.approx(z * -log2(e)))                all else as triton
 *   torch-compile      div.full(v, 1 + expf(-v))                                swiglu_oai, gelu as triton
 *                      (v/2) * (1 + tanhf(...))                                 as cuda-math
 *
 * z = v, but of swiglu_oai alpha * v, one product. The kernels' source has these forms; which of their sums
 * and products are fused was read off the code that nvcc 13.0 and Triton 3.6 make of it for sm_90.
 * docs/measurements.md, "The special-function unit", has what an H100 gave for every float32. */
#ifndef MP_PREDICT_ACTIVATION_CUDA_H
#define MP_PREDICT_ACTIVATION_CUDA_H

#include "moeparity/contract.h"
#include "ref/predict/special_unit.h"

#include <stdbool.h>

/* Whether `function` is one of those above, which stand last in the contract's list. */
static inline bool mp_activation_cuda_is(mp_act_function function) {
    return function >= MP_ACT_CUDA_MATH && function < MP_ACT_FUNCTION_COUNT;
}
/* Why act(gate) is not known to the bit under `function`; or NULL. */
const char *mp_activation_cuda_unknown(mp_act_function function, mp_activation act);
/* act(gate): v is the gate, clamped by the caller where the activation clamps it; alpha counts for swiglu_oai
 * alone. The clamp of silu_clamp is left to the caller. NaN where it is not known. */
float mp_activation_cuda(const mp_special_unit *unit, mp_act_function function, mp_activation act, float v,
                         float alpha);
/* act(gate) * factor, with nothing rounded or clamped between them; factor: what becomes of up. */
float mp_activation_cuda_gated(const mp_special_unit *unit, mp_act_function function, mp_activation act,
                               float v, float alpha, float factor);
/* Whether that product is made before act(gate) is known, which then has no value of its own. */
bool mp_activation_cuda_product_first(mp_act_function function, mp_activation act);
/* The product with up: flushed by --use_fast_math. */
float mp_activation_cuda_times(mp_act_function function, float a, float up);

#endif
