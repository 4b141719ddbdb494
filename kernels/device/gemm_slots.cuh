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

// The slots of a block of rows, held by so many threads. They are read before what depends on them, so that
// whoever plans several blocks can read those of the next one while the tables of this one are filled.
template <int COUNT> struct block_slots {
    static constexpr int EACH = (BLOCK_M + COUNT - 1) / COUNT;
    int slot[EACH];

    __device__ __forceinline__ void read(const mp_gemm_params &p, const slot_list &slots, long long block_m,
                                         int thread) {
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const int row = thread + COUNT * i;
            const bool there = row < BLOCK_M && block_m < slots.blocks_m; // beyond the list no row is there
            slot[i] = there ? __ldg(slots.sorted_token_ids + block_m * BLOCK_M + row) : (int)p.slots;
        }
    }

    // Fills the tables of the block, of this expert; nobody waits for them here. Gives one more than the last
    // row that this thread found to be there.
    __device__ __forceinline__ int fill(const mp_gemm_params &p, const slot_list &slots, long long block_m,
                                        int expert, row_tables &rows, int thread) const {
        const bool no_rows = p.max_m && expert < 0; // filtered slots have none in masked layout
        const long long shift =
            p.max_m && expert >= 0 ? expert * p.max_m - first_block_of(slots, block_m) * BLOCK_M : 0;
        int count = 0;
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const int r = thread + COUNT * i;
            if (r >= BLOCK_M) break;
            const long long position = block_m * BLOCK_M + r;
            const bool present = slot[i] < p.slots;
            rows.a_row[r] = !present ? -1 : p.a_sorted ? position + shift : slot[i] / p.a_divisor;
            rows.out_row[r] = !present || (p.out_sorted && no_rows) ? -1
                              : p.out_sorted                        ? position + shift
                                                                    : slot[i] / p.out_divisor;
            rows.weight[r] = present && p.topk_weights ? __ldg(p.topk_weights + slot[i]) : 1.0f;
            if (present) count = r + 1;
        }
        return count;
    }
};

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
