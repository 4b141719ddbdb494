/* SPDX-License-Identifier: Apache-2.0 */
/* Speed of the CUDA pipeline's stages, and the copy speed they are compared with. */
#ifndef MP_KERNELS_BENCH_H
#define MP_KERNELS_BENCH_H

#include "kernels/cuda.h"

typedef struct mp_cuda_bench_result {
    double stage_ms[MP_STAGE_COUNT]; /* median over the repeats; 0: the case has no such stage */
    double gemm_tflops; /* both GEMMs: 2 * slots * (w1 rows * K + N * K) operations in their time together, of
                           slots that go to an expert */
    double act_gbs, combine_gbs;           /* bytes read and written, 1e9 a second; of the same slots */
    double quant_gbs[2];                   /* the same of quant_x and quant_act; 0: no such stage */
    double copy_gbs;                       /* the same of a device-to-device copy */
    char config[MP_CONFIG_TEXT_MAX + 160]; /* both tiles as they were built, and their source */
} mp_cuda_bench_result;

/* Runs the case `repeats` times after one warm-up, on random data made on the device: ids uniform over the
 * experts, but for a share of -1 as filter and ep_size have it, elements uniform in [-1, 1) (w1 and w2 scaled
 * by 1/sqrt of their row length), all codes equally likely, scales and zeros as data=normal has them.
 * scope=all and not chunked; else MP_EINPUT. copy_bytes: of the copy, a multiple of 4. */
mp_status mp_cuda_bench(mp_cuda *cuda, const mp_case *c, const mp_config *config, int repeats,
                        size_t copy_bytes, mp_cuda_bench_result *result, mp_error *err);

#endif
