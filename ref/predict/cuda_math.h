/* SPDX-License-Identifier: Apache-2.0 */
/* expf, tanhf and erff of the CUDA mathematical library (libdevice of CUDA 13.0) on sm_90, bit for bit: the
 * operations of the PTX that nvcc and NVRTC make of them, around the special-function unit.
 *
 * Errors are NVIDIA's own figures for float32 (CUDA C++ Programming Guide, "Mathematical Functions"): expf 1
 * ulp, tanhf 2, erff 2. tests/test_cuda_math.c measures them. */
#ifndef MP_PREDICT_CUDA_MATH_H
#define MP_PREDICT_CUDA_MATH_H

#include "ref/predict/special_unit.h"

float mp_cuda_expf(const mp_special_unit *unit, float x);
/* 1 + expf(x), as it is compiled: the last product of expf and the sum are one fma. */
float mp_cuda_one_plus_expf(const mp_special_unit *unit, float x);
float mp_cuda_tanhf(const mp_special_unit *unit, float x);
float mp_cuda_erff(const mp_special_unit *unit, float x);
/* erff with --ftz=true: subnormals are zeros. */
float mp_cuda_erff_ftz(const mp_special_unit *unit, float x);

#endif
