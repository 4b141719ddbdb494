/* SPDX-License-Identifier: Apache-2.0 */
/* Codes of 8 bits on both sides, e4m3 or int8, by mma.sync m16n8k32; or e4m3 with weights of e2m1. */
#include "kernels/gemm/kind.h"

bool mp_gemm_of_codes(const mp_gemm_request *request, const mp_device_limits *limits, mp_gemm *gemm) {
    const mp_gemm_codes *codes = &request->codes;
    const bool widened = codes->a == MP_E4M3 && codes->w == MP_E2M1;
    if (!codes->present || (codes->a != codes->w && !widened)) return false;
    if (codes->a != MP_E4M3 && codes->a != MP_I8) return false;
    *gemm = mp_gemm_in_frame("kernels/device/gemm_codes.cu", request, limits);
    gemm->instruction = mp_mma_of(false, codes->a);
    if (codes->group) gemm->accumulators *= 2; /* of a group, and of all */
    return true;
}
