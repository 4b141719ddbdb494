/* SPDX-License-Identifier: Apache-2.0 */
// Quantised rows: what their groups have in common, a warp a group, and figures of their codes, a block a
// row.
#include "offload/device/screen_quant.h"
#include "offload/device/figures.cuh"

#define WARP 32

extern "C" __global__ void __launch_bounds__(MP_QUANT_THREADS) see_groups(const mp_see_groups_params p) {
    const int lane = threadIdx.x % WARP;
    for (long long i = blockIdx.x; i < p.rows.count; i += gridDim.x) {
        const long long row = p.rows.row[i];
        for (long long g = threadIdx.x / WARP; g < p.rows.groups && row >= 0; g += MP_QUANT_THREADS / WARP) {
            const long long first = g * p.rows.group, rest = p.rows.width - first,
                            n = rest < p.rows.group ? rest : p.rows.group;
            mp_quant_seen seen = {0, 0};
            for (long long k = lane; k < n; k += WARP)
                mp_see_number(&seen, mp_quantised_at(&p.rows, row * p.rows.width + first + k));
            for (int on = WARP / 2; on > 0; on /= 2) {
                const float other = __shfl_xor_sync(0xFFFFFFFFu, seen.amax, on);
                seen.amax = other > seen.amax ? other : seen.amax;
            }
            seen.odd = __any_sync(0xFFFFFFFFu, seen.odd);
            if (lane == 0) p.seen[i * p.rows.groups + g] = seen;
        }
    }
}

extern "C" __global__ void __launch_bounds__(MP_QUANT_THREADS) screen_quant(const mp_screen_quant_params p) {
    __shared__ unsigned long long saturated;
    for (long long i = blockIdx.x; i < p.rows.count; i += gridDim.x) {
        mp_quant_figures figures;
        mp_row_figures_start(&figures.row);
        figures.saturated = 0;
        if (threadIdx.x == 0) saturated = 0;
        for (long long k = threadIdx.x; k < p.rows.width && p.rows.row[i] >= 0; k += MP_QUANT_THREADS)
            mp_screen_quant_element(&p, i, k, &figures);
        merge_figures<MP_QUANT_THREADS>(figures.row); // in which all threads wait for each other
        atomicAdd(&saturated, (unsigned long long)figures.saturated);
        __syncthreads();
        figures.saturated = (long long)saturated;
        if (threadIdx.x == 0) p.figures[i] = figures;
        __syncthreads();
    }
}
