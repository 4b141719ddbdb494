/* SPDX-License-Identifier: Apache-2.0 */
// Figures of rows of a GEMM. A block takes a row at a time. -DSCALED=1: sums are of codes with scales.
#ifndef SCALED
#define SCALED 0
#endif
#include "offload/device/screen.h"
#include "offload/device/figures.cuh"

extern "C" __global__ void __launch_bounds__(MP_SCREEN_THREADS) screen_gemm(const mp_screen_params p) {
    for (long long i = blockIdx.x; i < p.rows.count; i += gridDim.x) {
        mp_row_figures figures;
        mp_row_figures_start(&figures);
        for (long long j = threadIdx.x; j < p.n; j += MP_SCREEN_THREADS)
            mp_screen_element(&p, SCALED, i, j, &figures);
        merge_figures<MP_SCREEN_THREADS>(figures);
        if (threadIdx.x == 0) p.figures[i] = figures;
    }
}
