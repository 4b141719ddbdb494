/* SPDX-License-Identifier: Apache-2.0 */
/* The reference on a GPU: an engine (ref/engine.h) that decodes operands and sums in float64 there, by
 * kernels of its own that share nothing with those that are judged.
 *
 * Some rows of every GEMM are computed by the CPU as well. Both are float64 sums of the same terms in
 * different orders: a difference beyond what that explains is MP_EDEVICE, the judge's own failure, and so is
 * every error of the device. Where the device has too little memory the CPU computes the whole GEMM, and the
 * engine's name says so. */
#ifndef MP_OFFLOAD_H
#define MP_OFFLOAD_H

#include "moeparity/contract.h"
#include "moeparity/inputs.h"
#include "ref/engine.h"

typedef struct mp_offload mp_offload;

/* Pinned memory of its landings, for the results of a piece, at most. */
#define MP_OFFLOAD_LANDING_BYTES ((size_t)128 << 20)
#define MP_OFFLOAD_HOST_BYTES (2 * MP_OFFLOAD_LANDING_BYTES)

/* Opens device 0 (of CUDA_VISIBLE_DEVICES). share: a GEMM may take one part in so many of the memory that is
 * free when it begins; at least 1. MP_EUNSUPPORTED with the reason where there is no device that the CUDA
 * kernels could use (mp_cuda_open). */
mp_status mp_offload_open(int share, mp_offload **offload, mp_error *err);
void mp_offload_close(mp_offload *offload); /* takes NULL */
/* Lives as long as the offload, which is used by one thread at a time. */
const mp_engine *mp_offload_engine(mp_offload *offload);
/* Whether the device's float64 is at least half as fast as its float32, as that of servers' GPUs is. */
bool mp_offload_is_fast(const mp_offload *offload);

/* Begins to compile what judging such cases launches, each under its contract, into the cache on disk;
 * without one it does nothing. The first case that begins waits for it. What was left out is compiled when
 * it is launched. */
void mp_offload_prepare(mp_offload *offload, const mp_case *cases, const mp_contract *contracts,
                        size_t count);

/* A case begins. Its inputs, which must not change until another begins, are uploaded once and kept while the
 * offload does not rest. NULL: none, the case has ended. */
void mp_offload_begin(mp_offload *offload, const mp_inputs *in);
/* Until the offload rests, `on_device`, memory of the same device, holds the bytes of the packed tensor
 * `host`, and neither changes: what an engine is given of the one it reads from the other, and uploads
 * nothing. It never writes there. Takes NULL. */
void mp_offload_lend(mp_offload *offload, const mp_tensor *host, const void *on_device);
/* Gives all memory of the device back, what was lent too, so that a subject finds what it would find without
 * a judge. Takes NULL. */
void mp_offload_rest(mp_offload *offload);

#endif
