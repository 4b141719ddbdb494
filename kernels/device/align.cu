/* SPDX-License-Identifier: Apache-2.0 */
// moe_align_block_size: a stable counting sort of slots by expert, each expert's run padded to a multiple of
// block_size_m. Of LoRA, such a list for every adapter, in the same steps.
//
// Five steps, none of which depends on the order in which warps run: count keys per segment; turn each key's
// counts into exclusive prefix sums over the segments; lay the padded runs out one after another; fill pads
// and expert_ids; scatter. Inside a segment a warp walks its slots in ascending order, 32 at a time; equal
// keys of those 32 find each other by __match_any_sync, and the number of equal keys in lower lanes is the
// rank. So a slot's position is a function of the ids alone, and ascending slots stay ascending.
//
// Of many slots each step is a launch, and the whole device does it. Of few one block does them all, with
// counts and offsets in shared memory: a launch takes longer than what there is to do.
#include "kernels/device/ids.cuh"
#include "kernels/device/index.cuh"

#define FULL_WARP 0xFFFFFFFFu

__device__ __forceinline__ int keys_of_list(const mp_align_params &p) {
    return p.num_experts + 1;
}

// The number of a slot's key among those of all lists, or -1 where it is in none. A number outside
// [-1, num_experts) that a map holds counts as filtered, and one outside [0, lists) as no adapter, so that no
// write can leave the buffers.
__device__ __forceinline__ int key_of(const mp_align_params &p, long long slot) {
    const int id = local_expert(p.ids, slot), key = id >= 0 && id < p.num_experts ? id + 1 : 0;
    if (!p.token_lora) return key;
    const int adapter = p.token_lora[(unsigned)slot / (unsigned)p.topk];
    const bool has = key > 0 && adapter >= 0 && adapter < p.lists && p.adapter_enabled[adapter];
    return has ? adapter * keys_of_list(p) + key : -1;
}

__device__ __forceinline__ int list_of(const mp_align_params &p, int key) {
    return p.lists == 1 ? 0 : key / keys_of_list(p);
}

// Where offsets holds the first position of a key, and counts what a segment has of it.
__device__ __forceinline__ int *offset_of(const mp_align_params &p, int key) {
    return p.offsets + key + list_of(p, key);
}
__device__ __forceinline__ int *count_of(const mp_align_params &p, int key, long long segment) {
    return p.counts + key * p.count_row + segment;
}

// The threads that do a step together, and which of them this one is.
struct crew {
    long long thread, threads;
};

__device__ __forceinline__ crew whole_grid() {
    return {(long long)blockIdx.x * blockDim.x + threadIdx.x, (long long)gridDim.x * blockDim.x};
}

// Calls visit(slot, key, lanes with an equal key, rank among them) for the slots of a segment.
template <class Visit>
__device__ __forceinline__ void walk_segment(const mp_align_params &p, long long segment, Visit visit) {
    constexpr int AHEAD = 4; // steps whose ids are loaded together
    const int lane = threadIdx.x % 32;
    const long long begin = segment * p.segment_slots;
    const long long end = min(begin + p.segment_slots, p.slots);
    for (long long first = begin; first < end; first += 32 * AHEAD) {
        int keys[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const long long slot = first + 32 * i + lane;
            keys[i] = slot < end ? key_of(p, slot) : -1;
        }
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            if (first + 32 * i >= end) break;
            const unsigned equal = __match_any_sync(FULL_WARP, keys[i]);
            const int rank = __popc(equal & ((1u << lane) - 1));
            if (keys[i] >= 0) visit(first + 32 * i + lane, keys[i], equal, rank);
            __syncwarp(); // the next step's first lane may be another one: it must see this step's count
        }
    }
}

__device__ __forceinline__ void count(const mp_align_params &p, crew c) {
    for (long long segment = c.thread / 32; segment < p.segments; segment += c.threads / 32)
        walk_segment(p, segment, [&](long long, int key, unsigned equal, int rank) {
            if (rank == 0) *count_of(p, key, segment) += __popc(equal);
        });
}

__device__ __forceinline__ int warp_inclusive_sum(int value) {
    for (int distance = 1; distance < 32; distance *= 2) {
        const int lower = __shfl_up_sync(FULL_WARP, value, distance);
        if (threadIdx.x % 32 >= distance) value += lower;
    }
    return value;
}

// So many slots have the key: its padded length goes to its offset.
__device__ __forceinline__ void close_key(const mp_align_params &p, int key, int slots) {
    if (key > 0 && p.masked_m) p.masked_m[key - 1] = slots;
    *offset_of(p, key) = (slots + p.block_size_m - 1) / p.block_size_m * p.block_size_m;
}

// A warp for each key: counts become exclusive prefix sums.
__device__ __forceinline__ void scan_segments(const mp_align_params &p, crew c) {
    const int lane = threadIdx.x % 32;
    const int keys = p.lists * keys_of_list(p), warps = (int)(c.threads / 32);
    for (int key = (int)(c.thread / 32); key < keys; key += warps) {
        int *counts = count_of(p, key, 0);
        int before = 0;
        for (long long first = 0; first < p.segments; first += 32) {
            const long long segment = first + lane;
            const int own = segment < p.segments ? counts[segment] : 0;
            const int sum = warp_inclusive_sum(own);
            if (segment < p.segments) counts[segment] = before + sum - own;
            before += __shfl_sync(FULL_WARP, sum, 31);
        }
        if (lane == 0) close_key(p, key, before);
    }
}

// The same by a thread for each key, where there are no more segments than a warp has lanes.
__device__ __forceinline__ void scan_few_segments(const mp_align_params &p, crew c) {
    const int keys = p.lists * keys_of_list(p);
    for (int key = (int)c.thread; key < keys; key += (int)c.threads) {
        int before = 0;
        for (int segment = 0; segment < (int)p.segments; segment++) {
            int *count = count_of(p, key, segment);
            const int own = *count;
            *count = before;
            before += own;
        }
        close_key(p, key, before);
    }
}

// By a block of 1024 threads: padded lengths of a list become first positions, in place.
__device__ __forceinline__ void scan_keys(const mp_align_params &p, int list) {
    __shared__ int warp_sum[32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, keys = keys_of_list(p);
    int *offsets = p.offsets + list * (keys + 1);
    int before = 0;
    for (int first = 0; first < keys; first += 1024) {
        const int key = first + threadIdx.x;
        const int own = key < keys ? offsets[key] : 0;
        const int sum = warp_inclusive_sum(own);
        if (lane == 31) warp_sum[warp] = sum;
        __syncthreads();
        if (warp == 0) warp_sum[lane] = warp_inclusive_sum(warp_sum[lane]);
        __syncthreads();
        const int lower = warp ? warp_sum[warp - 1] : 0;
        if (key < keys) offsets[key] = before + lower + sum - own;
        before += warp_sum[31];
        __syncthreads(); // warp_sum is written again by the next round, or list
    }
    if (threadIdx.x == 0) {
        offsets[keys] = before;
        p.num_tokens_post_padded[list] = before;
    }
}

// The last key of a list whose run begins at or before `position`; empty runs begin where the next one does,
// so the last is the one that owns it.
__device__ __forceinline__ int expert_at(const mp_align_params &p, const int *offsets, unsigned position) {
    int low = 0, high = keys_of_list(p); // offsets[low] <= position < offsets[high]
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if ((unsigned)offsets[middle] <= position)
            low = middle;
        else
            high = middle;
    }
    return low - 1;
}

__device__ __forceinline__ void fill(const mp_align_params &p, crew c) {
    const unsigned blocks = ((unsigned)p.capacity + p.block_size_m - 1) / p.block_size_m; // below 2^31
    for (long long i = c.thread; i < p.lists * p.capacity; i += c.threads) {
        long long list = 0, at = i;
        if (p.lists > 1) split_index(i, p.capacity, &list, &at);
        p.sorted_token_ids[i] = (int)p.slots;
        if (at >= blocks) continue;
        const int *offsets = p.offsets + list * (keys_of_list(p) + 1);
        const unsigned position = (unsigned)at * p.block_size_m;
        p.expert_ids[list * blocks + at] =
            position < (unsigned)offsets[keys_of_list(p)] ? expert_at(p, offsets, position) : -1;
    }
}

__device__ __forceinline__ void scatter(const mp_align_params &p, crew c) {
    for (long long segment = c.thread / 32; segment < p.segments; segment += c.threads / 32)
        walk_segment(p, segment, [&](long long slot, int key, unsigned equal, int rank) {
            int *count = count_of(p, key, segment);
            const int before = __shfl_sync(equal, rank == 0 ? *count : 0, __ffs(equal) - 1);
            p.sorted_token_ids[list_of(p, key) * p.capacity + *offset_of(p, key) + before + rank] = (int)slot;
            if (rank == 0) *count = before + __popc(equal);
        });
}

extern "C" __global__ void align_count(const mp_align_params p) {
    count(p, whole_grid());
}
extern "C" __global__ void align_scan_segments(const mp_align_params p) {
    scan_segments(p, whole_grid());
}
extern "C" __global__ void align_scan_keys(const mp_align_params p) {
    scan_keys(p, (int)blockIdx.x);
}
extern "C" __global__ void align_fill(const mp_align_params p) {
    fill(p, whole_grid());
}
extern "C" __global__ void align_scatter(const mp_align_params p) {
    scatter(p, whole_grid());
}

extern "C" __global__ void __launch_bounds__(1024, 1) align_in_one_block(const mp_align_params given) {
    __shared__ int counts[MP_ALIGN_COUNTS_IN_BLOCK];
    __shared__ int offsets[MP_ALIGN_OFFSETS_IN_BLOCK];
    mp_align_params p = given;
    p.counts = counts;
    p.offsets = offsets;
    const crew block = {threadIdx.x, 1024};
    for (int i = threadIdx.x; i < p.lists * keys_of_list(p) * (int)p.count_row; i += 1024) counts[i] = 0;
    __syncthreads();
    count(p, block);
    __syncthreads();
    scan_few_segments(p, block);
    __syncthreads();
    for (int list = 0; list < p.lists; list++) scan_keys(p, list);
    __syncthreads();
    fill(p, block);
    __syncthreads();
    scatter(p, block);
}
