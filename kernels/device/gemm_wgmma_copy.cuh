/* SPDX-License-Identifier: Apache-2.0 */
// The grouped GEMM by wgmma (gemm_wgmma.cu): the warps that copy.
#pragma once

#include "kernels/device/gemm_copy.cuh"
#include "kernels/device/gemm_wgmma_tiles.cuh"

// A stage's tile of w, in boxes of BOX_ROWS. Where the neighbour multiplies the same, each copies its part
// for both.
__device__ __forceinline__ void copy_tile(const mp_gemm_params &p, unsigned char *to, int step, int n0,
                                          int expert, bool share, mbarrier *full) {
#pragma unroll
    for (int slice = 0; slice < SLICES; slice++)
#pragma unroll
        for (int part = 0; part < BLOCK_N / BOX_ROWS; part++) {
            unsigned char *at = to + slice * W_SLICE + part * BOX_ROWS * 128;
            const int k = (step * SLICES + slice) * 128, n = n0 + part * BOX_ROWS;
            if (!share)
                copy_box(at, &p.w_map, k, n, expert, full);
            else if (part % CLUSTER == cluster_rank())
                copy_box_to_all(at, &p.w_map, k, n, expert, full, (1 << CLUSTER) - 1);
        }
}

// A warp, of which one thread copies. It does not wait for tables: of a tile it needs no more than the
// expert, and w, which is the longest on its way where rows are few, is asked for before the rows are known.
__device__ __forceinline__ void copy_weights(const mp_gemm_params &p, shared_memory &shared,
                                             const slot_list &slots, int blocks_n) {
    const int steps = (p.k + BLOCK_K - 1) / BLOCK_K;
    const bool copies = threadIdx.x % 32 == 0;
    ring<STAGES> stage = {0, 0};
    chosen_tile next;
    tile_walk walk(p, slots.blocks_m, blocks_n);
    if (walk.goes_on()) next.read(slots, walk);
    while (walk.goes_on()) {
        const chosen_tile tile = next;
        walk.next();
        if (walk.goes_on()) next.read(slots, walk);
        for (int step = 0; step < steps && (tile.expert >= 0 || tile.neighbour >= 0); step++) {
            if (copies) {
                wait_for(&shared.empty[stage.at], stage.parity ^ 1);
                if (tile.expert >= 0) {
                    arrive_expecting(&shared.full[stage.at], SLICES * W_SLICE);
                    copy_tile(p, shared.stages[stage.at] + SLICES * A_SLICE, step, tile.n0, tile.expert,
                              tile.expert == tile.neighbour, &shared.full[stage.at]);
                } else {
                    arrive(&shared.full[stage.at]);
                }
            }
            stage.next();
        }
        __syncwarp();
    }
}

#if GROUP
// The scales of a stage: of the rows, and of every 64 columns of w. Where there is none, the address is 0.
struct copied_scales {
    const float *of_row[SCALES_COPIED], *of_columns;

    __device__ __forceinline__ copied_scales(const mp_gemm_params &p, const tile_table &t, int count) {
        const int thread = threadIdx.x, n = t.n0 + 64 * thread;
#pragma unroll
        for (int i = 0; i < SCALES_COPIED; i++) {
            const int row = thread + COPY_THREADS * i;
            of_row[i] = row < count ? (const float *)p.a_scale + max(t.rows.a_row[row], 0ll) * p.a_scale_row
                                    : nullptr;
        }
        of_columns = thread < BLOCK_N / 64 && n < p.n && count > 0
                         ? (const float *)p.w_scale + t.expert * p.w_scale_expert +
                               scale_place(n / p.w_scale_rows, 0, p.w_scale_row, p.w_scale_group)
                         : nullptr;
    }
    __device__ __forceinline__ void copy(const mp_gemm_params &p, shared_memory &shared, int stage,
                                         int step) const {
#pragma unroll
        for (int i = 0; i < SCALES_COPIED; i++)
            if (of_row[i])
                copy_4(shared_address(&shared.a_scale[stage][threadIdx.x + COPY_THREADS * i]),
                       of_row[i] + step * p.a_scale_group);
        if (of_columns)
            copy_4(shared_address(&shared.w_scale[stage][threadIdx.x]), of_columns + step * p.w_scale_group);
    }
};
#endif

// Gathers the rows of a. A thread copies one chunk of every ROWS_AT_ONCE-th row, from addresses that it keeps
// and that only grow: one made anew for each copy has to wait until the one before it has been read.
__device__ __forceinline__ void copy_rows(const mp_gemm_params &p, shared_memory &shared,
                                          const slot_list &slots, int blocks_n) {
    const int first_row = threadIdx.x / 8, chunk = threadIdx.x % 8;
    const int steps = (p.k + BLOCK_K - 1) / BLOCK_K;
    const int k_bytes = p.k * bits_of(A_DTYPE) / 8;
    const long long row_bytes = p.a_row * bits_of(A_DTYPE) / 8;
    static_assert(ROWS_AT_ONCE % 8 == 0, "the chunks of a thread lie in one place of their rows");
    const unsigned to_row = first_row * 128 + (chunk ^ first_row % 8) * 16;
    ring<STAGES> stage = {0, 0};
    ring<TABLES> table = {0, 0};
    for (tile_walk walk(p, slots.blocks_m, blocks_n); walk.goes_on(); walk.next()) {
        const tile_table &t = shared.tables[table.at];
        wait_for(&shared.table_full[table.at], table.parity);
        const int expert = t.expert, neighbour = t.neighbour;
        // Rows that are not there are left as they are: what becomes of them is not stored.
        const int rows = expert < 0 ? 0 : t.count, rows_mine = rows - first_row;
        const unsigned char *from[ROWS_COPIED];
#pragma unroll
        for (int i = 0; i < ROWS_COPIED; i++)
            from[i] =
                (const unsigned char *)p.a + chunk * 16 +
                (ROWS_AT_ONCE * i < rows_mine ? max(t.rows.a_row[first_row + ROWS_AT_ONCE * i], 0ll) : 0) *
                    row_bytes;
#if GROUP
        const copied_scales scales(p, t, rows);
#endif
        arrive(&shared.table_empty[table.at]);
        table.next();
        for (int step = 0; step < steps && (expert >= 0 || neighbour >= 0); step++) {
            wait_for(&shared.empty[stage.at], stage.parity ^ 1);
#pragma unroll
            for (int slice = 0; slice < SLICES; slice++) {
                const int bytes = (step * SLICES + slice) * 128 + chunk * 16 < k_bytes ? 16 : 0;
                const unsigned to = shared_address(shared.stages[stage.at]) + slice * A_SLICE + to_row;
#pragma unroll
                for (int i = 0; i < ROWS_COPIED; i++)
                    if (ROWS_AT_ONCE * i < rows_mine)
                        copy_16(to + ROWS_AT_ONCE * i * 128, from[i] + slice * 128, bytes);
            }
#if GROUP
            scales.copy(p, shared, stage.at, step);
#endif
            arrive_behind_copies(&shared.full[stage.at]);
#pragma unroll
            for (int i = 0; i < ROWS_COPIED; i++) from[i] += SLICES * 128;
            stage.next();
        }
    }
}
