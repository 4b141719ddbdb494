/* SPDX-License-Identifier: Apache-2.0 */
// The entry of every grouped GEMM, and its copies to shared memory. What it uses of the kind is told in
// gemm_frame.cuh.
#pragma once

#include "kernels/device/gemm_frame.cuh"

// Copies the chunk of 16 bytes that begins with element k of a row to shared memory; what lies past `length`
// and rows that are not there (row < 0) become zeros. Rows are `stride` elements apart. A packed row has an
// even number of elements.
template <int BITS>
__device__ __forceinline__ void copy_chunk(unsigned char *to, const void *matrix, long long row,
                                           long long stride, int k, int length) {
    const unsigned char *from = (const unsigned char *)matrix + (row < 0 ? 0 : (row * stride + k) * BITS / 8);
#if ALIGNED
    const int bytes = row >= 0 && k < length ? 16 : 0; // rows are whole chunks
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                 "l"(bytes ? from : (const unsigned char *)matrix), "r"(bytes)
                 : "memory");
#else
    constexpr int STEP = BITS > 8 ? BITS / 8 : 1; // bytes that are moved as one
    for (int at = 0; at < 16; at += STEP) {
        const bool there = row >= 0 && k + at * 8 / BITS < length;
        if (STEP == 4)
            *(unsigned *)(to + at) = there ? *(const unsigned *)(from + at) : 0u;
        else if (STEP == 2)
            *(unsigned short *)(to + at) = there ? *(const unsigned short *)(from + at) : (unsigned short)0;
        else
            to[at] = there ? from[at] : (unsigned char)0;
    }
#endif
}

__device__ __forceinline__ void commit_copies() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

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

// A list of sorted slots, and the weights that they are multiplied with.
struct slot_list {
    const int *sorted_token_ids, *expert_ids;
    int blocks_m; // in use
    const void *w;
};

__device__ __forceinline__ slot_list list_of(const mp_gemm_params &p, long long list) {
    return {p.sorted_token_ids + list * p.list_positions, p.expert_ids + list * p.list_blocks,
            p.num_tokens_post_padded[list] / BLOCK_M,
            (const unsigned char *)p.w + list * p.w_list * bits_of(W_DTYPE) / 8};
}

// The first block of rows of this block's expert.
__device__ __forceinline__ long long first_block_of(const slot_list &l, long long block_m) {
    while (block_m > 0 && l.expert_ids[block_m - 1] == l.expert_ids[block_m]) block_m--;
    return block_m;
}

extern "C" __global__ void __launch_bounds__(THREADS, 1) grouped_gemm(const mp_gemm_params p) {
    extern __shared__ __align__(128) unsigned char stages[];
    row_tables &rows = *(row_tables *)(stages + STAGES * STAGE_BYTES);

    const int blocks_n = (p.n + BLOCK_N - 1) / BLOCK_N;
    long long list = 0, index = p.first_block + blockIdx.x;
    if (ADAPTERS) split_index(index, p.list_blocks * blocks_n, &list, &index);
    const slot_list slots = list_of(p, list);

    // Rasterisation: blocks of group_size_m row blocks by all column blocks, rows fastest, so that a wave of
    // blocks shares w in L2.
    const int blocks_m = slots.blocks_m;
    if (index >= (long long)blocks_m * blocks_n) return;
    const int group_size = min(p.group_size_m, blocks_m);
    long long group, inside, column_block, row_block;
    split_index(index, (long long)group_size * blocks_n, &group, &inside);
    const long long first_m = group * group_size;
    split_index(inside, min(blocks_m - first_m, (long long)group_size), &column_block, &row_block);
    const long long block_m = first_m + row_block;
    const int n0 = (int)column_block * BLOCK_N;
    const int expert = slots.expert_ids[block_m];
    const bool no_rows = p.max_m && expert < 0; // filtered slots have none in masked layout
    const long long shift = p.max_m ? expert * p.max_m - first_block_of(slots, block_m) * BLOCK_M : 0;

    for (int r = threadIdx.x; r < BLOCK_M; r += THREADS) {
        const long long position = block_m * BLOCK_M + r;
        const int slot = slots.sorted_token_ids[position];
        const bool present = slot < p.slots;
        rows.a_row[r] = !present ? -1 : p.a_sorted ? position + shift : slot / p.a_divisor;
        rows.out_row[r] = !present || (p.out_sorted && no_rows) ? -1
                          : p.out_sorted                        ? position + shift
                                                                : slot / p.out_divisor;
        rows.weight[r] = present && p.topk_weights ? p.topk_weights[slot] : 1.0f;
    }
    __syncthreads();

    if (expert < 0) { // filtered: zeros for the slots that are there; what is added to needs none
        if (ATOMIC || ADDS) return;
        for (int i = threadIdx.x; i < BLOCK_M * BLOCK_N; i += THREADS) {
            const long long row = rows.out_row[i / BLOCK_N];
            const int n = n0 + i % BLOCK_N;
            if (row >= 0 && n < p.n) ((element *)p.out)[row * p.out_row + n] = 0;
        }
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
