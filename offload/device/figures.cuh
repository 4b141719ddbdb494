/* SPDX-License-Identifier: Apache-2.0 */
// Figures of a row, of which each thread of a block has those of some columns.
#pragma once

#include "ref/measured.h"

__device__ __forceinline__ mp_row_figures figures_of_lane(const mp_row_figures &f, int lanes_on) {
    constexpr int WORDS = sizeof(mp_row_figures) / sizeof(long long);
    mp_row_figures other;
    const long long *from = (const long long *)&f;
    long long *to = (long long *)&other;
#pragma unroll
    for (int i = 0; i < WORDS; i++) to[i] = __shfl_down_sync(0xFFFFFFFFu, from[i], lanes_on);
    return other;
}

// Of all threads, in thread 0; the order of the additions is always the same.
template <int THREADS> __device__ __forceinline__ void merge_figures(mp_row_figures &f) {
    __shared__ mp_row_figures of_warp[THREADS / 32];
    for (int on = 16; on > 0; on /= 2) {
        const mp_row_figures other = figures_of_lane(f, on);
        mp_row_figures_merge(&f, &other);
    }
    __syncthreads(); // those of the row before have been read
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = f;
    __syncthreads();
    for (int w = 1; w < THREADS / 32 && threadIdx.x == 0; w++) mp_row_figures_merge(&f, &of_warp[w]);
}
