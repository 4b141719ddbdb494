/* SPDX-License-Identifier: Apache-2.0 */
/* What the device does at best in a second, measured: the roof that the time of its work is seen under. */
#ifndef MP_KERNELS_RATES_H
#define MP_KERNELS_RATES_H

#include "kernels/cuda.h"

/* Bytes: read and written by a copy within the device, both counted; carried to and from memory of the host
 * that the device reaches by itself. Operations, two a multiply-add: of float32 and float64 on the ordinary
 * cores; of matrix products by operands, by wgmma on sm_90 and mma.sync elsewhere, as the kernels have it, 0
 * where there is no such instruction or no kernel of it. */
typedef struct mp_cuda_rates {
    double copied_bytes, up_bytes, down_bytes, float32, float64;
    double products[MP_DTYPE_COUNT]; /* of bf16, fp16, e4m3 and int8 */
} mp_cuda_rates;

/* The best of some rounds of each; takes half a GiB of the device, and the first time the seconds of a
 * compiler. MP_EMEMORY, MP_EDEVICE. */
mp_status mp_cuda_rates_measure(mp_cuda *cuda, mp_cuda_rates *rates, mp_error *err);
/* copied_bytes alone, of `bytes`, a multiple of 4. */
mp_status mp_cuda_rate_of_copies(mp_cuda *cuda, size_t bytes, double *rate, mp_error *err);

#endif
