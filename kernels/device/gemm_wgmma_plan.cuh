/* SPDX-License-Identifier: Apache-2.0 */
// The grouped GEMM by wgmma (gemm_wgmma.cu): the warp that plans which tile comes next, and fills its tables.
#pragma once

#include "kernels/device/gemm_wgmma_memory.cuh"

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

// A tile that is planned: what has to be read from memory before its tables can be filled.
struct planned_tile {
    int block_m, n0, expert, neighbour;
    block_slots<32> sorted;

    __device__ __forceinline__ void read(const mp_gemm_params &p, const slot_list &slots,
                                         const tile_walk &walk) {
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
        sorted.read(p, slots, block_m, threadIdx.x % 32);
    }
};

// Fills the tables of tiles, ahead of those who read them. Where tiles take a microsecond, what they need is
// longer on its way: of the next one it is read before this one is waited for.
__device__ __forceinline__ void plan(const mp_gemm_params &p, shared_memory &shared, const slot_list &slots,
                                     int blocks_n) {
    const int lane = threadIdx.x % 32;
    ring<TABLES> table = {0, 0};
    planned_tile next;
    tile_walk walk(p, slots.blocks_m, blocks_n);
    if (walk.goes_on()) next.read(p, slots, walk);
    while (walk.goes_on()) {
        const planned_tile tile = next;
        walk.next();
        if (walk.goes_on()) next.read(p, slots, walk);
        tile_table &t = shared.tables[table.at];
        wait_for(&shared.table_empty[table.at], table.parity ^ 1);
        const int count = __reduce_max_sync(
            0xFFFFFFFF, tile.sorted.fill(p, slots, tile.block_m, tile.expert, t.rows, lane));
#if defined(W_SCALE) && !GROUP
        __syncwarp();
        const block b = {p, t.rows, nullptr, tile.n0, tile.expert};
        for (int row = lane; row < BLOCK_M; row += 32) t.a_scale[row] = scale_of_row(b, row, 0);
#if ROWS_FIRST
        for (int n = lane; n < BLOCK_N && tile.expert >= 0; n += 32)
            t.w_scale[n] = scale_of_column(b, tile.n0 + n, 0);
#endif
#endif
        if (lane == 0) {
            t.expert = tile.expert;
            t.neighbour = tile.neighbour;
            t.n0 = tile.n0;
            t.count = count;
        }
        arrive(&shared.table_full[table.at]);
        table.next();
    }
}
