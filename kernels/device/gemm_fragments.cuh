/* SPDX-License-Identifier: Apache-2.0 */
// For the kinds of GEMM that multiply by mma.sync: which lane of a warp holds what. In bytes it is the same
// for operands of 16 and of 8 bits: an instruction takes 16 rows of a and 8 columns of w, by 32 bytes of k.
#pragma once

#include "kernels/device/gemm_warps.cuh"

// Which column of the warp tile column j of the mma's n8 tile t holds: OCTETS tiles interleave so that a
// thread, which owns columns 2q and 2q+1 of each, owns 2*OCTETS neighbours in memory and stores them at once.
constexpr int OCTETS = WARP_N % 32 == 0 ? 4 : 2;
// Of `a`, ldmatrix reads eight consecutive rows; of w, those of eight columns j of a tile t.
constexpr int A_SPREAD = 1, W_SPREAD = OCTETS == 4 ? 3 : 2;
__device__ __forceinline__ int column_of(int t, int j) {
    return t / OCTETS * (8 * OCTETS) + j / 2 * (2 * OCTETS) + t % OCTETS * 2 + j % 2;
}

// Where a stage's tile holds a chunk of 16 bytes.
__device__ __forceinline__ int a_chunk(int row, int chunk) {
    return chunk_offset<A_SPREAD, A_CHUNKS>(row, chunk);
}
__device__ __forceinline__ int w_chunk(int row, int chunk) {
    return chunk_offset<W_SPREAD, W_CHUNKS>(row, chunk);
}

__device__ __forceinline__ void load_matrices(unsigned (&r)[4], const unsigned char *at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(at))
                 : "memory");
}

// Lane l gives ldmatrix the address of row l % 8 of its matrix l / 8. Of 32 bytes of k at `step`: of a, the
// matrices are (rows 0-7, 8-15) by (first, second 16 bytes) with rows first, as the mma's registers want
// them; of w, (tile t, t + 1) by (first, second 16 bytes) with those first.
__device__ __forceinline__ void load_rows(unsigned (&r)[4], const unsigned char *stage, int m, int step) {
    const int lane = threadIdx.x % 32, matrix = lane / 8, row = lane % 8;
    load_matrices(r, stage + a_chunk(m + matrix % 2 * 8 + row, 2 * step + matrix / 2));
}
__device__ __forceinline__ void load_columns(unsigned (&r)[4], const unsigned char *stage, int n, int t,
                                             int step) {
    const int lane = threadIdx.x % 32, matrix = lane / 8, row = lane % 8;
    load_matrices(r,
                  stage + TILE_A_BYTES + w_chunk(n + column_of(t + matrix / 2, row), 2 * step + matrix % 2));
}

// Lane l holds rows l / 4 and l / 4 + 8, columns 2 * (l % 4) and the next, of each 16x8 tile. A row of the
// warp tile's 16-row group i, and a column of its tile t.
__device__ __forceinline__ int lane_row(int i, int half) {
    return 16 * i + 8 * half + threadIdx.x % 32 / 4;
}
__device__ __forceinline__ int lane_column(int t, int odd) {
    return column_of(t, 2 * (threadIdx.x % 4) + odd);
}

// Stores the warp tile: value(i, t, half, odd) gives the number of those.
template <typename Value>
__device__ __forceinline__ void store_tile(const block &b, const warp_place &at, const element *bias,
                                           Value value) {
#pragma unroll
    for (int i = 0; i < WARP_M / 16; i++)
#pragma unroll
        for (int half = 0; half < 2; half++)
#pragma unroll
            for (int group = 0; group < WARP_N / 8 / OCTETS; group++) {
                float v[2 * OCTETS];
#pragma unroll
                for (int t = 0; t < OCTETS; t++) {
                    v[2 * t] = value(i, group * OCTETS + t, half, 0);
                    v[2 * t + 1] = value(i, group * OCTETS + t, half, 1);
                }
                finish<2 * OCTETS>(b, at.m0 + lane_row(i, half),
                                   b.n0 + at.n0 + lane_column(group * OCTETS, 0), v, bias);
            }
}
