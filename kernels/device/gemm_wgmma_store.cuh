/* SPDX-License-Identifier: Apache-2.0 */
// The grouped GEMM by wgmma (gemm_wgmma.cu): how results leave a warpgroup, in chunks of 16 bytes.
//
// Where w stands first, through shared memory, which transposes them. Where a does, wgmma leaves a thread
// two of every eight columns, of two rows. So with -DROWS_FIRST rows of w lie in shared memory in another
// order: of 64, row 16 j + 2 i + b there is row 8 i + 2 j + b of w, for pairs j < 4 of eights i < 8. By it
// the sums of a thread are whole chunks, which nobody has to move.
#pragma once

#include "kernels/device/gemm_wgmma_tile.cuh"

// Four 8x8 matrices, as wgmma leaves them in a warp, transposed: lane l gives the address of row l % 8 of
// matrix l / 8.
__device__ __forceinline__ void store_matrices(unsigned to, const float *v) {
    const unsigned a = encode_pair(v[0], v[1]), b = encode_pair(v[2], v[3]), c = encode_pair(v[4], v[5]),
                   d = encode_pair(v[6], v[7]);
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(a),
                 "r"(b), "r"(c), "r"(d)
                 : "memory");
}

// Eight columns of a row, of which `left` are there. Where rows of w are interleaved, rows of out are made of
// whole chunks.
__device__ __forceinline__ void store_columns(element *out, const elements<8> &result, int left, bool whole) {
    if (left > 0 && (ROWS_FIRST || whole))
        *(elements<8> *)out = result;
    else if (!ROWS_FIRST)
        for (int e = 0; e < 8 && e < left; e++) out[e] = result.at[e];
}

// Eight columns of a row that is staged, whose first, or first pair, is here.
__device__ __forceinline__ elements<8> staged_chunk(const element *from) {
#if ROWS_FIRST
    union {
        elements<8> chunk;
        unsigned pair[4];
    } result;
#pragma unroll
    for (int j = 0; j < 4; j++) result.pair[j] = *(const unsigned *)(from + 16 * j);
    return result.chunk;
#else
    return *(const elements<8> *)from;
#endif
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
        const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4, second = ROWS_FIRST ? 32 : 8,
                  n = n_group + (ROWS_FIRST ? lane / 8 * 8 + 2 * warp + lane / 4 % 2 : 16 * warp + lane / 4);
        const float2 *weights = (const float2 *)&t.rows.weight[first + lane % 4 * 2];
#pragma unroll
        for (int i = 0; i < STAGED / 2; i++) v[i] = tile.result(g * (BLOCK_M / 2) + first / 2 + i);
#if defined(W_SCALE) && !GROUP
        const float2 *a_scales = (const float2 *)&t.a_scale[first + lane % 4 * 2];
        const float w_scale[2] = {scale_of_column({p, t.rows, nullptr, t.n0, t.expert}, n, 0),
                                  scale_of_column({p, t.rows, nullptr, t.n0, t.expert}, n + second, 0)};
#pragma unroll
        for (int i = 0; i < STAGED / 2; i++)
            v[i] *= (i % 2 ? a_scales[i / 4 * 4].y : a_scales[i / 4 * 4].x) * w_scale[i / 2 % 2];
#endif
        if (bias) {
            const float b[2] = {n < p.n ? decode(bias[n]) : 0.0f,
                                n + second < p.n ? decode(bias[n + second]) : 0.0f};
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
        const element *from = staged + first_row * STAGED_PITCH + (ROWS_FIRST ? chunk / 4 : chunk);
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
                    store_matrices(to + 16 * j * STAGED_PITCH * sizeof(element), v + 8 * j);
                synchronise(barrier, 128);
                const int n = n0 + 64 * g + chunk;
#pragma unroll
                for (int i = 0; i < ROWS; i++)
                    if (out[i])
                        store_columns(out[i] + n, staged_chunk(from + 16 * i * STAGED_PITCH), p.n - n, whole);
            }
        }
    }

#if ROWS_FIRST
    // What `finish` does, to the chunk that the thread has of the 32 columns from `column` on, in `row`: its
    // first or its second.
    __device__ __forceinline__ elements<8> finish_chunk(int column, int second, int row) const {
        const int first = column / 64 * 32 + column % 64 / 32 * 4 + 2 * second,
                  n = column + threadIdx.x % 4 * 8;
        float v[8];
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] = tile.result(first + i / 2 * 8 + i % 2);
#if defined(W_SCALE) && !GROUP
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] *= t.a_scale[row] * t.w_scale[n + i];
#endif
        if (bias && t.n0 + n < p.n) {
#pragma unroll
            for (int i = 0; i < 8; i++) v[i] = v[i] + decode(bias[t.n0 + n + i]);
        }
        if (p.topk_weights) {
#pragma unroll
            for (int i = 0; i < 8; i++) v[i] *= t.rows.weight[row];
        }
        union {
            elements<8> chunk;
            unsigned pair[4];
        } result;
#pragma unroll
        for (int i = 0; i < 4; i++) result.pair[i] = encode_pair(v[2 * i], v[2 * i + 1]);
        return result.chunk;
    }

    // Where a stands first: each thread has chunks of two rows, and waits for no other.
    __device__ __forceinline__ void rows(int warpgroup) const {
        const int lane = threadIdx.x % 32, first = 64 * warpgroup + threadIdx.x / 32 % 4 * 16 + lane / 4;
        element *const out[2] = {row_of_out(first), row_of_out(first + 8)};
#pragma unroll
        for (int c = 0; c < BLOCK_N / 32; c++)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const int n = t.n0 + 32 * c + lane % 4 * 8;
                const elements<8> result = finish_chunk(32 * c, i, first + 8 * i);
                if (out[i]) store_columns(out[i] + n, result, p.n - n, true);
            }
    }
#endif
};
