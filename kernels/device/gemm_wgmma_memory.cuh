/* SPDX-License-Identifier: Apache-2.0 */
// The grouped GEMM by wgmma (gemm_wgmma.cu): its shared memory.
#pragma once

#include "kernels/device/gemm_slots.cuh"
#include "kernels/device/mbarrier.cuh"
#include "kernels/device/wgmma.cuh"
#ifdef W_SCALE
#include "kernels/device/gemm_scales.cuh"
#else
#define GROUP 0
#endif

constexpr int CONSUMERS = WARPS / 4; // warpgroups that multiply; one more plans and copies
constexpr int PRODUCER_THREADS = 128, COPY_THREADS = 64; // two warps copy rows, one w, and one plans
constexpr int GROUPS = BLOCK_N / (64 * CONSUMERS); // of 64 columns that a warpgroup has where w stands first
constexpr int SUMS = BLOCK_M * BLOCK_N / THREADS;  // of a thread
constexpr int SLICE_K = 1024 / bits_of(A_DTYPE);   // elements in 128 bytes
constexpr int SLICES = BLOCK_K / SLICE_K;
constexpr int A_SLICE = BLOCK_M * 128, W_SLICE = BLOCK_N * 128;
constexpr int BOX_ROWS = ROWS_FIRST ? 64 : BLOCK_N / CLUSTER; // of a box of the tensor map of w
static_assert(WARPS % 4 == 0 && BLOCK_N % (64 * CONSUMERS) == 0 && BLOCK_K % SLICE_K == 0 &&
                  STAGE_BYTES == SLICES * (A_SLICE + W_SLICE),
              "whole warpgroups, and whole slices");

// Results on their way out: STAGED tokens by 64 columns of a warpgroup, padded against bank conflicts.
constexpr int STAGED = BLOCK_M < 64 ? BLOCK_M : BLOCK_M % 64 ? 48 : 64, STAGED_PITCH = 72;
static_assert(BLOCK_M % STAGED == 0, "so many tokens each time");
constexpr int TABLES = 3; // one is read by each of the roles
#if GROUP
static_assert(SLICES == 1 && GROUP == BLOCK_K, "a stage is a group");
#endif
constexpr int SCALES_COPIED = (BLOCK_M + COPY_THREADS - 1) / COPY_THREADS;
constexpr int ROWS_AT_ONCE = COPY_THREADS / 8, ROWS_COPIED = (BLOCK_M + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE;

struct tile_table {
    row_tables rows;
    int expert, n0;
    int neighbour; // the expert of the cluster's other block of rows
    int count;     // one more than the last row that is there
#if defined(W_SCALE) && !GROUP
    float a_scale[BLOCK_M];
#if ROWS_FIRST
    float w_scale[BLOCK_N];
#endif
#endif
};

struct shared_memory {
    unsigned char stages[STAGES][STAGE_BYTES];
#if GROUP
    float a_scale[STAGES][BLOCK_M], w_scale[STAGES][4]; // of the group that the stage is of
#endif
    element staged[CONSUMERS][STAGED * STAGED_PITCH];
    tile_table tables[TABLES];
    mbarrier full[STAGES], empty[STAGES], table_full[TABLES], table_empty[TABLES];
};

static_assert(sizeof(shared_memory) == SHARED_BYTES, "kernels/gemm/wgmma.c counts the same");

// A place in a ring, and the parity of its present round.
template <int COUNT> struct ring {
    int at;
    unsigned parity;
    __device__ __forceinline__ void next() {
        if (++at == COUNT) at = 0, parity ^= 1;
    }
};

__device__ __forceinline__ void synchronise(int barrier, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

// Generic writes of this thread, before asynchronous reads.
__device__ __forceinline__ void fence_async() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
