/* SPDX-License-Identifier: Apache-2.0 */
// Rows that hold no slot: kernels of a cache neither read nor write them. -DLAYOUT (numbered as mp_layout).
#pragma once
#include "kernels/device/ids.cuh"

#define LAYOUT_TOKENS -1 // every row is a token's
#define LAYOUT_SORTED 1
#define LAYOUT_MASKED 2

__device__ __forceinline__ bool is_without_slot(const mp_rows_params &p, long long row) {
#if LAYOUT == LAYOUT_TOKENS
    return false;
#elif LAYOUT == LAYOUT_MASKED
    return row % p.max_m >= p.masked_m[row / p.max_m];
#elif LAYOUT == LAYOUT_SORTED
    return row >= *p.num_tokens_post_padded || p.sorted_token_ids[row] >= p.slots ||
           p.expert_ids[row / p.block_size_m] < 0;
#else
    return local_expert(p.ids, row) < 0;
#endif
}
