/* SPDX-License-Identifier: Apache-2.0 */
// For the kinds of GEMM whose warps multiply on their own: how they share the block.
#pragma once

#include "kernels/device/gemm_frame.cuh"

// Warps share the block as a grid of warp tiles as square as possible, whose sides are multiples of 16; warps
// left over only help copying.
struct warp_grid {
    int m, n;
};
__device__ constexpr warp_grid make_warp_grid() {
    warp_grid g = {1, 1};
    while (g.m * g.n < WARPS) {
        const int tile_m = BLOCK_M / g.m, tile_n = BLOCK_N / g.n;
        if (tile_n > 16 && (tile_n > tile_m || tile_m % 32))
            g.n *= 2;
        else if (tile_m % 32 == 0)
            g.m *= 2;
        else
            break;
    }
    return g;
}
constexpr warp_grid GRID = make_warp_grid();
constexpr int WARP_M = BLOCK_M / GRID.m, WARP_N = BLOCK_N / GRID.n;

// One warp's part of the block: its first row and column.
struct warp_place {
    int m0, n0;
};

__device__ __forceinline__ bool has_place(int warp) {
    return warp < GRID.m * GRID.n;
}

__device__ __forceinline__ warp_place place_of(int warp) {
    return {warp % GRID.m * WARP_M, warp / GRID.m * WARP_N};
}
