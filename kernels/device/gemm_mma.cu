/* SPDX-License-Identifier: Apache-2.0 */
// Grouped GEMM of bf16 and fp16 by mma.sync m16n8k16. What it is a part of is told in gemm_frame.cuh.
#include "kernels/device/gemm_fragments.cuh"
#include "kernels/device/gemm_mma16.cuh"

// Operands of one k16 step: 16x16 tiles of a, and pairs of 8-column tiles of w.
struct operands {
    unsigned a[WARP_M / 16][4], w[WARP_N / 16][4];
};

struct warp_tile {
    float sum[WARP_M / 16][WARP_N / 8][4];
    warp_place at;

    static __device__ __forceinline__ int a_offset(int row, int chunk) {
        return a_chunk(row, chunk);
    }
    static __device__ __forceinline__ int w_offset(int row, int chunk) {
        return w_chunk(row, chunk);
    }

    __device__ __forceinline__ void load(operands &o, const unsigned char *stage, int k16) const {
#pragma unroll
        for (int i = 0; i < WARP_M / 16; i++) load_rows(o.a[i], stage, at.m0 + 16 * i, k16);
#pragma unroll
        for (int j = 0; j < WARP_N / 16; j++) load_columns(o.w[j], stage, at.n0, 2 * j, k16);
    }

    // The operands of the next k16 step are loaded while this step's products are under way.
    __device__ __forceinline__ void add_stage(const block &, const unsigned char *stage, int) {
        operands o[2];
        load(o[0], stage, 0);
#pragma unroll 4
        for (int k16 = 0; k16 < BLOCK_K / 16; k16++) {
            if (k16 + 1 < BLOCK_K / 16) load(o[(k16 + 1) % 2], stage, k16 + 1);
            const operands &now = o[k16 % 2];
#pragma unroll
            for (int i = 0; i < WARP_M / 16; i++)
#pragma unroll
                for (int j = 0; j < WARP_N / 8; j++)
                    multiply_add(sum[i][j], now.a[i], now.w[j / 2][j % 2 * 2], now.w[j / 2][j % 2 * 2 + 1]);
        }
    }

    __device__ __forceinline__ void store(const block &b, const element *bias) const {
        store_tile(b, at, bias, [&](int i, int t, int half, int odd) { return sum[i][t][2 * half + odd]; });
    }
};

#include "kernels/device/gemm_entry.cuh"
