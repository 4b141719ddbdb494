/* SPDX-License-Identifier: Apache-2.0 */
// The entry of every grouped GEMM, and its copies to shared memory. What it uses of the kind is told in
// gemm_frame.cuh.
#pragma once

#include "kernels/device/gemm_copy.cuh"
#include "kernels/device/gemm_slots.cuh"

// Waits until at most PENDING groups of copies are under way, then for the other warps.
template <int PENDING> __device__ __forceinline__ void wait_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
    __syncthreads();
}

// Partly unrolled: a one-warp tile copies hundreds of chunks, and all their addresses at once would not fit
// in registers.
__device__ __forceinline__ void load_stage(const block &b, unsigned char *stage, int k0) {
#pragma unroll 8
    for (int i = 0; i < (BLOCK_M * A_CHUNKS + THREADS - 1) / THREADS; i++) {
        const int at = i * THREADS + threadIdx.x, row = at / A_CHUNKS, chunk = at % A_CHUNKS;
        if (BLOCK_M * A_CHUNKS % THREADS && row >= BLOCK_M) break;
        copy_chunk<bits_of(A_DTYPE)>(stage + warp_tile::a_offset(row, chunk), b.p.a, b.rows.a_row[row],
                                     b.p.a_row, k0 + chunk * (128 / bits_of(A_DTYPE)), b.p.k);
    }
#pragma unroll 8
    for (int i = 0; i < (BLOCK_N * W_CHUNKS + THREADS - 1) / THREADS; i++) {
        const int at = i * THREADS + threadIdx.x, row = at / W_CHUNKS, chunk = at % W_CHUNKS;
        if (BLOCK_N * W_CHUNKS % THREADS && row >= BLOCK_N) break;
        const int n = b.n0 + row;
        copy_chunk<bits_of(W_DTYPE)>(stage + TILE_A_BYTES + warp_tile::w_offset(row, chunk), b.w,
                                     n < b.p.n ? n : -1, b.p.w_row, k0 + chunk * (128 / bits_of(W_DTYPE)),
                                     b.p.k);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1) grouped_gemm(const mp_gemm_params p) {
    extern __shared__ __align__(128) unsigned char stages[];
    row_tables &rows = *(row_tables *)(stages + STAGES * STAGE_BYTES);

    const int blocks_n = (p.n + BLOCK_N - 1) / BLOCK_N;
    long long list = 0, index = p.first_block + blockIdx.x;
    if (ADAPTERS) split_index(index, p.list_blocks * blocks_n, &list, &index);
    const slot_list slots = list_of(p, list);

    if (index >= (long long)slots.blocks_m * blocks_n) return;
    const tile_place place = place_of_tile(p.group_size_m, slots.blocks_m, blocks_n, index);
    const int n0 = place.n0, expert = slots.expert_ids[place.block_m];
    block_slots<THREADS> sorted;
    sorted.read(p, slots, place.block_m, threadIdx.x);
    sorted.fill(p, slots, place.block_m, expert, rows, threadIdx.x);
    __syncthreads();
    if (expert < 0) {
        store_zeros(p, rows, n0, threadIdx.x, THREADS);
        return;
    }

    const block b = {p, rows, (const unsigned char *)slots.w + expert * p.w_expert * bits_of(W_DTYPE) / 8, n0,
                     expert};
    const element *bias = p.bias ? (const element *)p.bias + (long long)expert * p.n : nullptr;
    const int warp = threadIdx.x / 32;
    const bool computes = has_place(warp);
    warp_tile tile = {};
    tile.at = place_of(warp);

    const int steps = (p.k + BLOCK_K - 1) / BLOCK_K;
    if (STAGES == 1) {
        for (int step = 0; step < steps; step++) {
            load_stage(b, stages, step * BLOCK_K);
            commit_copies();
            wait_copies<0>();
            if (computes) tile.add_stage(b, stages, step * BLOCK_K);
            __syncthreads();
        }
    } else {
        for (int step = 0; step < STAGES - 1; step++) {
            if (step < steps) load_stage(b, stages + step * STAGE_BYTES, step * BLOCK_K);
            commit_copies();
        }
        int now = 0, free = STAGES - 1; // the stage to multiply, and the one to fill
        for (int step = 0; step < steps; step++) {
            wait_copies<STAGES == 1 ? 0 : STAGES - 2>(); // this step's copies have landed, and nobody reads
                                                         // the free stage any more
            const int ahead = step + STAGES - 1;
            if (ahead < steps) load_stage(b, stages + free * STAGE_BYTES, ahead * BLOCK_K);
            commit_copies();
            if (computes) tile.add_stage(b, stages + now * STAGE_BYTES, step * BLOCK_K);
            now = now + 1 == STAGES ? 0 : now + 1;
            free = free + 1 == STAGES ? 0 : free + 1;
        }
    }
    if (computes) tile.store(b, bias);
}
