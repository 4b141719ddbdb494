/* SPDX-License-Identifier: Apache-2.0 */
// Grouped GEMM of fp32 by fmaf. What it is a part of is told in gemm_frame.cuh.
#include "kernels/device/gemm_warps.cuh"

#if DTYPE != DTYPE_FP32
#error "this grouped GEMM multiplies fp32"
#endif

constexpr int CHUNK = 4; // floats in 16 bytes

// Thread (lane / 8, lane % 8) of a warp owns every fourth row and every eighth column of the warp tile.
struct warp_tile {
    float sum[WARP_M / 4][WARP_N / 8];
    warp_place at;

    static __device__ __forceinline__ int a_offset(int row, int chunk) {
        return chunk_offset<1, A_CHUNKS>(row, chunk);
    }
    static __device__ __forceinline__ int w_offset(int row, int chunk) {
        return chunk_offset<1, W_CHUNKS>(row, chunk);
    }

    __device__ __forceinline__ void add_stage(const block &b, const unsigned char *stage, int k0) {
        const int k_left = b.p.k - k0;
        const int row = at.m0 + threadIdx.x % 32 / 8, column = at.n0 + threadIdx.x % 8;
        const int chunks =
            min(A_CHUNKS,
                (k_left + CHUNK - 1) / CHUNK); // fmaf(0, 0, -0) is +0: the tail must not be multiplied
#pragma unroll 1
        for (int chunk = 0; chunk < chunks; chunk++) {
            float4 w[WARP_N / 8];
#pragma unroll
            for (int j = 0; j < WARP_N / 8; j++)
                w[j] = *(const float4 *)(stage + TILE_A_BYTES + w_offset(column + 8 * j, chunk));
#pragma unroll
            for (int i = 0; i < WARP_M / 4; i++) {
                const float4 a = *(const float4 *)(stage + a_offset(row + 4 * i, chunk));
#pragma unroll
                for (int j = 0; j < WARP_N / 8; j++) {
                    const int left = ALIGNED ? CHUNK : k_left - chunk * CHUNK;
                    float s = fmaf(a.x, w[j].x, sum[i][j]);
                    if (left > 1) s = fmaf(a.y, w[j].y, s);
                    if (left > 2) s = fmaf(a.z, w[j].z, s);
                    if (left > 3) s = fmaf(a.w, w[j].w, s);
                    sum[i][j] = s;
                }
            }
        }
    }

    __device__ __forceinline__ void store(const block &b, const element *bias) const {
#pragma unroll
        for (int i = 0; i < WARP_M / 4; i++)
#pragma unroll
            for (int j = 0; j < WARP_N / 8; j++)
                finish<1>(b, at.m0 + threadIdx.x % 32 / 8 + 4 * i, b.n0 + at.n0 + threadIdx.x % 8 + 8 * j,
                          &sum[i][j], bias);
    }
};

#include "kernels/device/gemm_entry.cuh"
