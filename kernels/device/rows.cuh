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

// Calls visit(row) for those of the rows first .. first + count, 32 at most, that hold a slot, one after the
// other. All lanes of a warp look at them together: a row without a slot costs its id, and no time of those
// that have one.
template <class Visit>
__device__ __forceinline__ void for_rows_with_slot(const mp_rows_params &p, long long first, int count,
                                                   Visit visit) {
    const int lane = threadIdx.x % 32;
    const bool has = lane < count && first + lane < p.count && !is_without_slot(p, first + lane);
    for (unsigned left = __ballot_sync(0xFFFFFFFFu, has); left; left &= left - 1)
        visit(first + __ffs((int)left) - 1);
}
