/* SPDX-License-Identifier: Apache-2.0 */
/* fp32 by fmaf, without a matrix instruction. */
#include "kernels/gemm/kind.h"

bool mp_gemm_fma(const mp_gemm_request *request, const mp_device_limits *limits, mp_gemm *gemm) {
    if (request->codes.present || request->dtype != MP_FP32) return false;
    *gemm = mp_gemm_in_frame("kernels/device/gemm_fma.cu", request, limits);
    return true;
}
