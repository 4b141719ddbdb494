/* SPDX-License-Identifier: Apache-2.0 */
// Figures of the output's tokens. A block takes a token at a time.
#include "offload/device/screen_combine.h"
#include "offload/device/figures.cuh"

extern "C" __global__ void __launch_bounds__(MP_COMBINE_THREADS)
    screen_combine(const mp_screen_combine_params p) {
    for (long long token = blockIdx.x; token < p.rows.tokens; token += gridDim.x) {
        mp_row_figures figures;
        mp_row_figures_start(&figures);
        for (long long k = threadIdx.x; k < p.rows.K; k += MP_COMBINE_THREADS)
            mp_screen_combine_element(&p, token, k, &figures);
        merge_figures<MP_COMBINE_THREADS>(figures);
        if (threadIdx.x == 0) p.figures[token] = figures;
    }
}
