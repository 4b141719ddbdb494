/* SPDX-License-Identifier: Apache-2.0 */
// The grouped GEMM by wgmma (gemm_wgmma.cu): the warp that plans which tile comes next, and fills its tables.
#pragma once

#include "kernels/device/gemm_wgmma_tiles.cuh"

// A tile that is planned: what has to be read from memory before its tables can be filled.
struct planned_tile {
    chosen_tile chosen;
    block_slots<32> sorted;

    __device__ __forceinline__ void read(const mp_gemm_params &p, const slot_list &slots,
                                         const tile_walk &walk) {
        chosen.read(slots, walk);
        sorted.read(p, slots, chosen.block_m, threadIdx.x % 32);
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
            0xFFFFFFFF, tile.sorted.fill(p, slots, tile.chosen.block_m, tile.chosen.expert, t.rows, lane));
#if defined(W_SCALE) && !GROUP
        __syncwarp();
        const block b = {p, t.rows, nullptr, tile.chosen.n0, tile.chosen.expert};
        for (int row = lane; row < BLOCK_M; row += 32) t.a_scale[row] = scale_of_row(b, row, 0);
#if ROWS_FIRST
        for (int n = lane; n < BLOCK_N && tile.chosen.expert >= 0; n += 32)
            t.w_scale[n] = scale_of_column(b, tile.chosen.n0 + n, 0);
#endif
#endif
        if (lane == 0) {
            t.expert = tile.chosen.expert;
            t.neighbour = tile.chosen.neighbour;
            t.n0 = tile.chosen.n0;
            t.count = count;
        }
        arrive(&shared.table_full[table.at]);
        table.next();
    }
}
