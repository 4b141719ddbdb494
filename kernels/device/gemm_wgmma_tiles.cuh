/* SPDX-License-Identifier: Apache-2.0 */
// The grouped GEMM by wgmma (gemm_wgmma.cu): the tiles that a block goes through, one after the other.
#pragma once

#include "kernels/device/gemm_wgmma_memory.cuh"

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
