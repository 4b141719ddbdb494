/* SPDX-License-Identifier: Apache-2.0 */
// The grouped GEMM by wgmma (gemm_wgmma.cu): the warp that plans, and those that copy.
#pragma once

#include "kernels/device/gemm_copy.cuh"
#include "kernels/device/gemm_wgmma_memory.cuh"

// Fills the tables of tiles, ahead of those who read them.
__device__ __forceinline__ void plan(const mp_gemm_params &p, shared_memory &shared, const slot_list &slots,
                                     int blocks_n) {
    const int lane = threadIdx.x % 32;
    ring<TABLES> table = {0, 0};
    for (tile_walk walk(p, slots.blocks_m, blocks_n); walk.goes_on(); walk.next()) {
        const tile_place place = walk.place();
        tile_table &t = shared.tables[table.at];
        wait_for(&shared.table_empty[table.at], table.parity ^ 1);
        const int count = __reduce_max_sync(0xFFFFFFFF, fill_rows(p, slots, place.block_m, t.rows, lane, 32));
#if defined(W_SCALE) && !GROUP
        __syncwarp();
        for (int row = lane; row < BLOCK_M; row += 32)
            t.a_scale[row] = scale_of_row({p, t.rows, nullptr, place.n0, 0}, row, 0);
#endif
        if (lane == 0) {
            t.expert = expert_of(slots, place.block_m);
            t.neighbour = CLUSTER > 1 ? expert_of(slots, place.block_m ^ 1) : -1;
            t.n0 = place.n0;
            t.count = count;
        }
        arrive(&shared.table_full[table.at]);
        table.next();
    }
}

// A stage's tile of w. Where the neighbour multiplies the same, each copies its part for both.
__device__ __forceinline__ void copy_tile(const mp_gemm_params &p, unsigned char *to, int step, int n0,
                                          int expert, bool share, mbarrier *full) {
    constexpr int ROWS = BLOCK_N / CLUSTER;
#pragma unroll
    for (int slice = 0; slice < SLICES; slice++)
#pragma unroll
        for (int part = 0; part < CLUSTER; part++) {
            unsigned char *at = to + slice * W_SLICE + part * ROWS * 128;
            const int k = (step * SLICES + slice) * 128, n = n0 + part * ROWS;
            if (!share)
                copy_box(at, &p.w_map, k, n, expert, full);
            else if (part == cluster_rank())
                copy_box_to_all(at, &p.w_map, k, n, expert, full, (1 << CLUSTER) - 1);
        }
}

__device__ __forceinline__ void copy_weights(const mp_gemm_params &p, shared_memory &shared,
                                             const slot_list &slots, int blocks_n) {
    const int steps = (p.k + BLOCK_K - 1) / BLOCK_K;
    ring<STAGES> stage = {0, 0};
    ring<TABLES> table = {0, 0};
    for (tile_walk walk(p, slots.blocks_m, blocks_n); walk.goes_on(); walk.next()) {
        const tile_table &t = shared.tables[table.at];
        wait_for(&shared.table_full[table.at], table.parity);
        const int expert = t.expert, neighbour = t.neighbour, n0 = t.n0;
        arrive(&shared.table_empty[table.at]);
        table.next();
        for (int step = 0; step < steps && (expert >= 0 || neighbour >= 0); step++) {
            wait_for(&shared.empty[stage.at], stage.parity ^ 1);
            if (expert >= 0) {
                arrive_expecting(&shared.full[stage.at], SLICES * W_SLICE);
                copy_tile(p, shared.stages[stage.at] + SLICES * A_SLICE, step, n0, expert,
                          expert == neighbour, &shared.full[stage.at]);
            } else {
                arrive(&shared.full[stage.at]);
            }
            stage.next();
        }
    }
}

__device__ __forceinline__ void copy_rows(const mp_gemm_params &p, shared_memory &shared,
                                          const slot_list &slots, int blocks_n) {
    const int thread = threadIdx.x, first_row = thread / 8, chunk = thread % 8;
    const int steps = (p.k + BLOCK_K - 1) / BLOCK_K;
    const int k_bytes = p.k * bits_of(A_DTYPE) / 8;
    const unsigned row_bytes = p.a_row * bits_of(A_DTYPE) / 8;
    const unsigned to_row = first_row * 128 + (chunk ^ first_row % 8) * 16; // of every 24th the same
    ring<STAGES> stage = {0, 0};
    ring<TABLES> table = {0, 0};
    for (tile_walk walk(p, slots.blocks_m, blocks_n); walk.goes_on(); walk.next()) {
        const tile_table &t = shared.tables[table.at];
        wait_for(&shared.table_full[table.at], table.parity);
        const int expert = t.expert, neighbour = t.neighbour;
        // Rows that are not there are left as they are: what becomes of them is not stored.
        const int rows = expert < 0 ? 0 : t.count, rows_mine = rows - first_row;
        unsigned a_row[ROWS_COPIED];
#pragma unroll
        for (int i = 0; i < ROWS_COPIED; i++)
            a_row[i] = ROWS_AT_ONCE * i < rows_mine
                           ? (unsigned)max(t.rows.a_row[first_row + ROWS_AT_ONCE * i], 0ll)
                           : 0;
#if GROUP
        const long long scale_row = thread < rows ? max(t.rows.a_row[thread], 0ll) * p.a_scale_row : 0;
#endif
        arrive(&shared.table_empty[table.at]);
        table.next();
        for (int step = 0; step < steps && (expert >= 0 || neighbour >= 0); step++) {
            wait_for(&shared.empty[stage.at], stage.parity ^ 1);
#pragma unroll
            for (int slice = 0; slice < SLICES; slice++) {
                const int k = (step * SLICES + slice) * 128 + chunk * 16;
                const int bytes = k < k_bytes ? 16 : 0;
                const unsigned to = shared_address(shared.stages[stage.at]) + slice * A_SLICE + to_row;
#pragma unroll
                for (int i = 0; i < ROWS_COPIED; i++) {
                    if (ROWS_AT_ONCE * i < rows_mine)
                        copy_16(to + ROWS_AT_ONCE * i * 128, (const unsigned char *)p.a + k, a_row[i],
                                row_bytes, bytes);
                }
            }
#if GROUP
            if (thread < rows)
                copy_4(shared_address(&shared.a_scale[stage.at][thread]),
                       (const float *)p.a_scale + scale_row + step * p.a_scale_group);
#endif
            arrive_behind_copies(&shared.full[stage.at]);
            stage.next();
        }
    }
}
