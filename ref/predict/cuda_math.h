/* SPDX-License-Identifier: Apache-2.0 */
/* expf, tanhf and erff of the CUDA mathematical library (libdevice of CUDA 13.0) on sm_90, bit for bit: the
 * operations of the PTX that nvcc and NVRTC make of them, around the special-function unit.
 *
 * An H100 gave the predicted bits for every float32 (docs/measurements.md). */
#ifndef MP_PREDICT_CUDA_MATH_H
#define MP_PREDICT_CUDA_MATH_H

#include "ref/predict/special_unit.h"

/* No result is further from the exact one, in ulps of it: tests/test_cuda_math.c measures them. expf: 1.931
 * of all floats, as good as ex2, whose argument is cut to 23 fraction bits. tanhf and erff: NVIDIA's figures
 * (CUDA C++ Programming Guide, "Mathematical Functions"). */
#define MP_CUDA_EXPF_ULPS 2.0
#define MP_CUDA_TANHF_ULPS 2.0
#define MP_CUDA_ERFF_ULPS 2.0

/* The last product, with a power of two, is exact where it counts: a sum fused with it is the same. */
float mp_cuda_expf(const mp_special_unit *unit, float x);
float mp_cuda_tanhf(const mp_special_unit *unit, float x);
float mp_cuda_erff(const mp_special_unit *unit, float x);
/* erff with --ftz=true: subnormals are zeros. */
float mp_cuda_erff_ftz(const mp_special_unit *unit, float x);
/* tl.erf: erff of the older libdevice that Triton 3.6 brings along. A subnormal x may be flushed, which 1 +
 * erf(x) does not show. */
float mp_triton_erff(const mp_special_unit *unit, float x);

#endif
