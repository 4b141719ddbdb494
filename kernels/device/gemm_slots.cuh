/* SPDX-License-Identifier: Apache-2.0 */
// Which rows of a and out a block of sorted slots has, and in which order blocks are computed.
#pragma once

#include "kernels/device/gemm_frame.cuh"

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

// A tile of the list: its block of rows, and its first column.
struct tile_place {
    long long block_m;
    int n0;
};

// Rasterisation: blocks of group_size_m row blocks by all column blocks, rows fastest, so that a wave of
// blocks shares w in L2.
__device__ __forceinline__ tile_place place_of_tile(int group_size_m, int blocks_m, int blocks_n,
                                                    long long index) {
    const int group_size = min(group_size_m, blocks_m);
    long long group, inside, column_block, row_block;
    split_index(index, (long long)group_size * blocks_n, &group, &inside);
    const long long first_m = group * group_size;
    split_index(inside, min(blocks_m - first_m, (long long)group_size), &column_block, &row_block);
    return {first_m + row_block, (int)column_block * BLOCK_N};
}

// Fills the tables of a block of rows, by so many threads; nobody waits for them here. Gives one more than
// the last row that this thread found to be there.
__device__ __forceinline__ int fill_rows(const mp_gemm_params &p, const slot_list &slots, long long block_m,
                                         row_tables &rows, int thread, int threads) {
    const bool is_block = block_m < slots.blocks_m; // beyond the list no row is there
    const int expert = is_block ? slots.expert_ids[block_m] : -1;
    const bool no_rows = p.max_m && expert < 0; // filtered slots have none in masked layout
    const long long shift =
        p.max_m && is_block ? expert * p.max_m - first_block_of(slots, block_m) * BLOCK_M : 0;
    int count = 0;
#pragma unroll 2
    for (int r = thread; r < BLOCK_M; r += threads) {
        const long long position = block_m * BLOCK_M + r;
        const int slot = is_block ? __ldg(slots.sorted_token_ids + position) : 0;
        const bool present = is_block && slot < p.slots;
        rows.a_row[r] = !present ? -1 : p.a_sorted ? position + shift : slot / p.a_divisor;
        rows.out_row[r] = !present || (p.out_sorted && no_rows) ? -1
                          : p.out_sorted                        ? position + shift
                                                                : slot / p.out_divisor;
        rows.weight[r] = present && p.topk_weights ? __ldg(p.topk_weights + slot) : 1.0f;
        if (present) count = r + 1;
    }
    return count;
}

// Filtered: zeros for the slots that are there; what is added to needs none.
__device__ __forceinline__ void store_zeros(const mp_gemm_params &p, const row_tables &rows, int n0,
                                            int thread, int threads) {
    if (ATOMIC || ADDS) return;
    for (int i = thread; i < BLOCK_M * BLOCK_N; i += threads) {
        const long long row = rows.out_row[i / BLOCK_N];
        const int n = n0 + i % BLOCK_N;
        if (row >= 0 && n < p.n) ((element *)p.out)[row * p.out_row + n] = 0;
    }
}
