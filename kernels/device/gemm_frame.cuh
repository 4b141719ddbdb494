/* SPDX-License-Identifier: Apache-2.0 */
// The grouped GEMM of both layers: a block computes BLOCK_M sorted rows (one expert) by BLOCK_N columns.
//
// -DBLOCK_M, -DBLOCK_N, -DBLOCK_K, -DWARPS, -DSTAGES: the tile. -DDTYPE: of bias and out, and of a and w
// where -DA_DTYPE and -DW_DTYPE do not say that these are codes of another format. -DALIGNED=1: rows of a and
// w begin on 16-byte boundaries and are whole chunks, so that tiles are copied by cp.async; 0: byte by byte.
// -DATOMIC=1: results are added to `out` instead of stored, in the order in which blocks arrive.
// -DADAPTERS=1: slots are sorted, and weights are there, for each LoRA adapter; with -DADDS=1 results, once
// rounded, are added to what `out` holds.
//
// Which rows a block has, the order of blocks, the copies to shared memory ahead of their use and the
// epilogue are the same for every kind of GEMM: they are in this file and in gemm_entry.cuh. How a warp
// multiplies what lies in shared memory is the kind's own: gemm_<kind>.cu includes this file, defines what
// follows, and includes the entry last.
//   has_place(warp), place_of(warp)   whether the warp has a part of the block to multiply, and which
//   warp_tile                         the warp's sums, zero at first
//     .at                             what place_of gave
//     .a_offset(row, chunk), .w_offset(row, chunk)
//                                     where a stage's tiles of a and w hold a chunk, in bytes
//     .add_stage(block, stage, k0)    adds the products of a stage, which begins at k0
//     .store(block, bias)             gives every sum to `finish`
//
// Every output has one float32 accumulator that takes k in ascending order, whatever the tile. There is no
// split over k. That is what makes bits independent of the tuned config.
//
// Shared memory: STAGES times (tile of a, tile of w), rows of BLOCK_K elements in 16-byte chunks; then the
// row tables. kernels/gemm/gemm.c knows its size.
#pragma once

#include "kernels/device/params.h"
#include "kernels/device/common.cuh"

#ifndef ADAPTERS
#define ADAPTERS 0
#define ADDS 0
#endif

constexpr int THREADS = 32 * WARPS;
constexpr int A_CHUNKS = BLOCK_K * bits_of(A_DTYPE) / 128; // 16-byte chunks in a row of a tile
constexpr int W_CHUNKS = BLOCK_K * bits_of(W_DTYPE) / 128;
constexpr int TILE_A_BYTES = BLOCK_M * A_CHUNKS * 16;
constexpr int STAGE_BYTES = TILE_A_BYTES + BLOCK_N * W_CHUNKS * 16;

// Row tables of the block, behind the tiles.
struct row_tables {
    long long a_row[BLOCK_M];   // row of a, -1 for padding
    long long out_row[BLOCK_M]; // row of out, -1 for padding
    float weight[BLOCK_M];      // router weight, or 1
};

// A chunk's place in its tile, for kinds that read eight rows at once: the chunk index is XORed with bits of
// the row, so that the eight lie in different banks. Banks repeat every 128 bytes: a 64-byte row (4 chunks)
// covers half of them, so there the row's lowest bit picks the half and two other bits permute; longer rows
// permute by three bits, shorter ones by those that they have. The eight rows' numbers differ in bit 0 and in
// bits SPREAD, SPREAD + 1: consecutive ones have SPREAD 1.
template <int SPREAD, int ROW_CHUNKS> __device__ __forceinline__ int chunk_offset(int row, int chunk) {
    const int high = (row >> SPREAD) & 3;
    const int key = ROW_CHUNKS <= 4 ? high & (ROW_CHUNKS - 1) : high << 1 | (row & 1);
    return (row * ROW_CHUNKS + (chunk ^ key)) * 16;
}

__device__ __forceinline__ unsigned shared_address(const void *p) {
    return (unsigned)__cvta_generic_to_shared(p);
}

struct block {
    const mp_gemm_params &p;
    const row_tables &rows;
    const void *w; // of this block's expert
    int n0;        // first column
    int expert;
};

// In the element type: one rounding.
__device__ __forceinline__ element sum_of(element a, element b) {
    return encode(decode(a) + decode(b));
}

// Adds value to *out in the element type. The order in which blocks arrive is not fixed, so neither are the
// bits of the sum.
__device__ __forceinline__ void add_atomically(element *out, element value) {
#if DTYPE == DTYPE_FP32
    atomicAdd(out, value);
#elif DTYPE == DTYPE_FP16
    asm volatile("red.global.add.noftz.f16 [%0], %1;" ::"l"(out), "h"(value) : "memory");
#elif __CUDA_ARCH__ >= 900
    asm volatile("red.global.add.noftz.bf16 [%0], %1;" ::"l"(out), "h"(value) : "memory");
#else
    unsigned short seen = *(volatile unsigned short *)out, expected;
    do {
        expected = seen;
        const unsigned short sum = sum_of(expected, value);
        asm volatile("atom.global.cas.b16 %0, [%1], %2, %3;"
                     : "=h"(seen)
                     : "l"(out), "h"(expected), "h"(sum)
                     : "memory");
    } while (seen != expected);
#endif
}

// Epilogue of COUNT neighbouring columns from n on: + bias, * router weight, one rounding, store or add.
template <int COUNT>
__device__ __forceinline__ void finish(const block &b, int row, int n, const float *sums,
                                       const element *bias) {
    const long long out_row = b.rows.out_row[row];
    if (out_row < 0 || n >= b.p.n) return;
    const int step = ADDS ? b.p.out_step : 1;
    element *out = (element *)b.p.out + out_row * b.p.out_row + (long long)n * step;
    elements<COUNT> result;
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        float v = sums[i];
        if (bias && n + i < b.p.n) v = v + decode(bias[n + i]);
        result.at[i] = encode(v * b.rows.weight[row]);
    }
    if (!ATOMIC && b.p.n % COUNT == 0 && !b.p.out_unaligned) {
        if (ADDS) {
            const elements<COUNT> old = *(elements<COUNT> *)out;
#pragma unroll
            for (int i = 0; i < COUNT; i++) result.at[i] = sum_of(old.at[i], result.at[i]);
        }
        *(elements<COUNT> *)out = result;
        return;
    }
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        if (n + i >= b.p.n) break;
        if (ATOMIC)
            add_atomically(out + i, result.at[i]);
        else if (ADDS)
            out[i * step] = sum_of(out[i * step], result.at[i]);
        else
            out[i] = result.at[i];
    }
}
