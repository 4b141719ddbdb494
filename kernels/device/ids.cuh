/* SPDX-License-Identifier: Apache-2.0 */
// The number on this rank of a slot's expert, or -1. A map is never read at a number that is none of its own:
// not at -1, nor at what marks a slot that goes nowhere.
#pragma once
#include "kernels/device/params.h"

__device__ __forceinline__ int local_expert(const mp_ids_params &ids, long long slot) {
    const int id = ids.topk_ids[slot];
    if (id < 0 || id >= ids.counted) return -1;
    return ids.expert_map ? ids.expert_map[id] : id;
}
