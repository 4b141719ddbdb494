/* SPDX-License-Identifier: Apache-2.0 */
/* Weights that are codes, and activations of e2m1, made bf16 or fp16 before mma.sync m16n8k16 multiplies
 * them. */
#include "kernels/gemm/kind.h"

bool mp_gemm_dequant(const mp_gemm_request *request, const mp_device_limits *limits, mp_gemm *gemm) {
    const mp_gemm_codes *codes = &request->codes;
    const bool known = codes->w == MP_I8 || codes->w == MP_U8 || codes->w == MP_U4 || codes->w == MP_E2M1;
    const bool both = codes->a == MP_E2M1 && codes->w == MP_E2M1 && codes->group == 16;
    if (!codes->present || (codes->a != request->dtype && !both) || !known) return false;
    if (request->dtype != MP_BF16 && request->dtype != MP_FP16) return false;
    *gemm = mp_gemm_in_frame("kernels/device/gemm_dequant.cu", request, limits);
    gemm->instruction = mp_mma_of(false, request->dtype);
    return true;
}
