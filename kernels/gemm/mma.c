/* SPDX-License-Identifier: Apache-2.0 */
/* bf16 and fp16 by mma.sync m16n8k16. */
#include "kernels/gemm/kind.h"

bool mp_gemm_mma(const mp_gemm_request *request, const mp_device_limits *limits, mp_gemm *gemm) {
    if (request->codes.present || (request->dtype != MP_BF16 && request->dtype != MP_FP16)) return false;
    *gemm = mp_gemm_in_frame("kernels/device/gemm_mma.cu", request, limits);
    gemm->instruction = mp_mma_of(false, request->dtype);
    return true;
}
