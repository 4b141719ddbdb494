/* SPDX-License-Identifier: Apache-2.0 */
// The grouped GEMM by wgmma (gemm_wgmma.cu): its shared memory, and the tiles that a block goes through.
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

// The tiles of this block, or of its cluster, whose blocks have neighbouring blocks of rows.
struct tile_walk {
    int group_size_m, groups_m, blocks_n;
    long long index;
    __device__ __forceinline__ tile_walk(const mp_gemm_params &p, int blocks_m, int blocks_n)
        : group_size_m(max(p.group_size_m / CLUSTER, 1)), groups_m((blocks_m + CLUSTER - 1) / CLUSTER),
          blocks_n(blocks_n), index(blockIdx.x / CLUSTER) {}
    __device__ __forceinline__ bool goes_on() const {
        return index < (long long)groups_m * blocks_n;
    }
    __device__ __forceinline__ void next() {
        index += gridDim.x / CLUSTER;
    }
    __device__ __forceinline__ tile_place place() const {
        tile_place place = place_of_tile(group_size_m, groups_m, blocks_n, index);
        if (CLUSTER > 1) place.block_m = place.block_m * CLUSTER + cluster_rank();
        return place;
    }
};

// -1 for filtered slots, and where the list has no such block.
__device__ __forceinline__ int expert_of(const slot_list &slots, long long block_m) {
    return block_m < slots.blocks_m ? slots.expert_ids[block_m] : -1;
}

// Which blocks of rows a cluster has when it is the turn of one of them. An expert with an odd number of
// blocks would part the pairs of all experts behind it, whose weights the cluster then copies twice. So of
// every 32 blocks those that have a partner of their expert come first, by twos, and the others last; not
// at the end of all, for by then their weights have left L2.
struct paired_blocks {
    int block, expert, partners_expert; // -1: of filtered slots, or none

    __device__ __forceinline__ paired_blocks(const slot_list &slots, int at) {
        const int lane = threadIdx.x % 32, first = at & ~31, mine = expert_of(slots, first + lane);
        const bool there = first + lane < slots.blocks_m;
        const int before = __shfl_up_sync(0xFFFFFFFF, mine, 1),
                  behind = __shfl_down_sync(0xFFFFFFFF, mine, 1);
        const unsigned lower = (1u << lane) - 1,
                       begins = __ballot_sync(0xFFFFFFFF, lane == 0 || before != mine);
        const int begin = 31 - __clz(begins & (lower | 1u << lane));
        const bool alone = (lane == 31 || behind != mine) && (lane - begin) % 2 == 0;
        const unsigned twos = __ballot_sync(0xFFFFFFFF, there && !alone),
                       ones = __ballot_sync(0xFFFFFFFF, there && alone);
        const int turn = !there ? lane : alone ? __popc(twos) + __popc(ones & lower) : __popc(twos & lower);
        const int its_lane = __ffs(__ballot_sync(0xFFFFFFFF, turn == at % 32)) - 1,
                  partner = __ffs(__ballot_sync(0xFFFFFFFF, turn == (at % 32 ^ 1))) - 1;
        block = first + its_lane;
        expert = __shfl_sync(0xFFFFFFFF, mine, its_lane);
        partners_expert = __shfl_sync(0xFFFFFFFF, mine, partner);
    }
};

// Which tile a block has, by all lanes of a warp.
struct chosen_tile {
    int block_m, n0, expert, neighbour;

    __device__ __forceinline__ void read(const slot_list &slots, const tile_walk &walk) {
        const tile_place place = walk.place();
        n0 = place.n0;
        if (CLUSTER > 1) {
            const paired_blocks paired(slots, (int)place.block_m);
            block_m = paired.block;
            expert = paired.expert;
            neighbour = paired.partners_expert;
        } else {
            block_m = (int)place.block_m;
            expert = expert_of(slots, block_m);
            neighbour = -1;
        }
    }
};
