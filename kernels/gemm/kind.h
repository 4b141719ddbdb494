/* SPDX-License-Identifier: Apache-2.0 */
/* Private to kernels/gemm/: what a kind is, and what those in the frame have in common. */
#ifndef MP_KERNELS_GEMM_KIND_H
#define MP_KERNELS_GEMM_KIND_H

#include "kernels/gemm/gemm.h"

/* Describes itself on the request. False: it does not multiply this dtype. Whether the device can do it is
 * looked at by mp_gemm_find. */
typedef bool mp_gemm_kind(const mp_gemm_request *request, const mp_device_limits *limits, mp_gemm *gemm);
mp_gemm_kind mp_gemm_wgmma, mp_gemm_mma, mp_gemm_fma, mp_gemm_of_codes, mp_gemm_dequant;

/* Why there is no wgmma for the request: MP_EUNSUPPORTED. */
mp_status mp_gemm_no_wgmma(const mp_gemm_request *request, const mp_device_limits *limits, mp_error *err);

/* Whether rows of both operands are made of whole chunks of 16 bytes, and begin on such. */
bool mp_gemm_is_aligned(const mp_gemm_request *request);

/* A kind whose device code is `source`, by so many stages, in one warp for each of num_warps: its options,
 * and neither its costs nor an instruction. */
mp_gemm mp_gemm_of_source(const char *source, const mp_gemm_request *request, int stages);

/* A kind in the frame of gemm_frame.cuh whose warps share the block as in gemm_warps.cuh. `source` is its
 * file; no instruction.
 *
 * Triton keeps num_stages - 1 tiles of a and w in shared memory. Here it is num_stages, so that copies run a
 * stage further ahead, or one less where the block cannot have that much: a tile that Triton can run is not
 * refused for a buffer that it does not need. Results do not depend on it. */
mp_gemm mp_gemm_in_frame(const char *source, const mp_gemm_request *request, const mp_device_limits *limits);

#endif
