/* SPDX-License-Identifier: Apache-2.0 */
/* Private to kernels/gemm/: what a kind is, and what those in the frame have in common. */
#ifndef MP_KERNELS_GEMM_KIND_H
#define MP_KERNELS_GEMM_KIND_H

#include "kernels/gemm/gemm.h"

/* Describes itself on the request. False: it does not multiply this dtype. Whether the device can do it is
 * looked at by mp_gemm_find. */
typedef bool mp_gemm_kind(const mp_gemm_request *request, mp_gemm *gemm);
mp_gemm_kind mp_gemm_mma, mp_gemm_fma;

/* A kind in the frame of gemm_frame.cuh whose warps share the block as in gemm_warps.cuh. `source` is its
 * file; no instruction. */
mp_gemm mp_gemm_in_frame(const char *source, const mp_gemm_request *request);

#endif
