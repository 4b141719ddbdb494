/* SPDX-License-Identifier: Apache-2.0 */
// The grouped GEMM by wgmma (gemm_wgmma.cu): how results leave a warpgroup, through shared memory, in chunks
// of 16 bytes.
#pragma once

#include "kernels/device/gemm_wgmma_tile.cuh"

// Four 8x8 matrices, as wgmma leaves them in a warp: lane l gives the address of row l % 8 of matrix l / 8.
__device__ __forceinline__ void store_matrices(unsigned to, const float *v, bool transposed) {
    const unsigned a = encode_pair(v[0], v[1]), b = encode_pair(v[2], v[3]), c = encode_pair(v[4], v[5]),
                   d = encode_pair(v[6], v[7]);
    if (transposed)
        asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to),
                     "r"(a), "r"(b), "r"(c), "r"(d)
                     : "memory");
    else
        asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(a),
                     "r"(b), "r"(c), "r"(d)
                     : "memory");
}

// Eight columns of a row, of which `left` are there.
__device__ __forceinline__ void store_columns(element *out, const element *from, int left, bool whole) {
    const elements<8> result = *(const elements<8> *)from;
    if (left > 0 && whole)
        *(elements<8> *)out = result;
    else
        for (int e = 0; e < 8 && e < left; e++) out[e] = result.at[e];
}

struct tile_store {
    const mp_gemm_params &p;
    const tile_table &t;
    const warpgroup_tile &tile;
    element *staged;
    const element *bias;
    bool whole; // rows of out are made of chunks

    __device__ __forceinline__ element *row_of_out(int row) const {
        const long long at = t.rows.out_row[row];
        return at < 0 ? nullptr : (element *)p.out + at * p.out_row;
    }

    // What `finish` of gemm_frame.cuh does, to the STAGED rows from `first` on and the 64 columns of a group.
    __device__ __forceinline__ void finish_columns(int g, int first, int n_group,
                                                   float (&v)[STAGED / 2]) const {
        const int lane = threadIdx.x % 32, n = n_group + threadIdx.x / 32 % 4 * 16 + lane / 4;
        const float2 *weights = (const float2 *)&t.rows.weight[first + lane % 4 * 2];
#pragma unroll
        for (int i = 0; i < STAGED / 2; i++) v[i] = tile.result(g * (BLOCK_M / 2) + first / 2 + i);
#if defined(W_SCALE) && !GROUP
        const float2 *a_scales = (const float2 *)&t.a_scale[first + lane % 4 * 2];
        const float w_scale[2] = {scale_of_column({p, t.rows, nullptr, t.n0, t.expert}, n, 0),
                                  scale_of_column({p, t.rows, nullptr, t.n0, t.expert}, n + 8, 0)};
#pragma unroll
        for (int i = 0; i < STAGED / 2; i++)
            v[i] *= (i % 2 ? a_scales[i / 4 * 4].y : a_scales[i / 4 * 4].x) * w_scale[i / 2 % 2];
#endif
        if (bias) {
            const float b[2] = {n < p.n ? decode(bias[n]) : 0.0f, n + 8 < p.n ? decode(bias[n + 8]) : 0.0f};
#pragma unroll
            for (int i = 0; i < STAGED / 2; i++) v[i] = v[i] + b[i / 2 % 2];
        }
        if (p.topk_weights) {
#pragma unroll
            for (int i = 0; i < STAGED / 2; i++) v[i] *= i % 2 ? weights[i / 4 * 4].y : weights[i / 4 * 4].x;
        }
    }

    // Where w stands first: rows of w become columns of out.
    __device__ __forceinline__ void columns(int warpgroup) const {
        constexpr int ROWS = STAGED / 16; // that a thread stores, 16 apart, of those that are staged
        const int warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32, barrier = threadIdx.x / 128;
        const int first_row = threadIdx.x % 128 / 8, chunk = lane % 8 * 8,
                  n0 = t.n0 + warpgroup * GROUPS * 64;
        const element *from = staged + first_row * STAGED_PITCH + chunk;
        const unsigned to =
            shared_address(staged + (lane / 16 * 8 + lane % 8) * STAGED_PITCH + 16 * warp + lane / 8 % 2 * 8);
#pragma unroll
        for (int first = 0; first < BLOCK_M; first += STAGED) {
            if (first >= t.count) break;
            element *out[ROWS];
#pragma unroll
            for (int i = 0; i < ROWS; i++) out[i] = row_of_out(first + first_row + 16 * i);
#pragma unroll
            for (int g = 0; g < GROUPS; g++) {
                float v[STAGED / 2];
                finish_columns(g, first, n0 + 64 * g, v);
                synchronise(barrier, 128); // the rows before are on their way
#pragma unroll
                for (int j = 0; j < STAGED / 16; j++)
                    store_matrices(to + 16 * j * STAGED_PITCH * sizeof(element), v + 8 * j, true);
                synchronise(barrier, 128);
                const int n = n0 + 64 * g + chunk;
#pragma unroll
                for (int i = 0; i < ROWS; i++)
                    if (out[i]) store_columns(out[i] + n, from + 16 * i * STAGED_PITCH, p.n - n, whole);
            }
        }
        if (ROWS_FIRST) synchronise(barrier, 128); // rows of the next tile wait for nobody
    }

#if ROWS_FIRST
    // What `finish` does, to the 64 columns from n on of the warp's 16 rows.
    __device__ __forceinline__ void finish_rows(int row, int c, float (&v)[32]) const {
        const int n = t.n0 + 64 * c + threadIdx.x % 4 * 2;
#pragma unroll
        for (int i = 0; i < 32; i++) v[i] = tile.result(32 * c + i);
#if defined(W_SCALE) && !GROUP
        const float a_scale[2] = {t.a_scale[row], t.a_scale[row + 8]};
#pragma unroll
        for (int i = 0; i < 32; i++)
            v[i] *= a_scale[i / 2 % 2] * t.w_scale[64 * c + i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2];
#endif
        if (bias) {
#pragma unroll
            for (int i = 0; i < 32; i++) {
                const int column = n + i / 4 * 8 + i % 2;
                v[i] = v[i] + (column < p.n ? decode(bias[column]) : 0.0f);
            }
        }
        if (p.topk_weights) {
            const float weight[2] = {t.rows.weight[row], t.rows.weight[row + 8]};
#pragma unroll
            for (int i = 0; i < 32; i++) v[i] *= weight[i / 2 % 2];
        }
    }

    // Where a stands first: each warp has rows of its own, and waits for no other.
    __device__ __forceinline__ void rows(int warpgroup) const {
        const int warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32, chunk = lane % 8 * 8;
        const int first = 64 * warpgroup + 16 * warp;
        element *const mine = staged + 16 * warp * STAGED_PITCH;
        const element *from = mine + lane / 8 * STAGED_PITCH + chunk;
        const unsigned to = shared_address(mine + lane % 16 * STAGED_PITCH + lane / 16 * 8);
        element *out[4];
#pragma unroll
        for (int i = 0; i < 4; i++) out[i] = row_of_out(first + lane / 8 + 4 * i);
#pragma unroll
        for (int c = 0; c < BLOCK_N / 64; c++) {
            float v[32];
            finish_rows(first + lane / 4, c, v);
            __syncwarp(); // the columns before are on their way
#pragma unroll
            for (int j = 0; j < 4; j++) store_matrices(to + 16 * j * sizeof(element), v + 8 * j, false);
            __syncwarp();
            const int n = t.n0 + 64 * c + chunk;
#pragma unroll
            for (int i = 0; i < 4; i++)
                if (out[i]) store_columns(out[i] + n, from + 4 * i * STAGED_PITCH, p.n - n, whole);
        }
    }
#endif
};
