/* SPDX-License-Identifier: Apache-2.0 */
// Grouped GEMM of bf16 and fp16 by wgmma, on sm_90a.
#include "kernels/device/gemm_slots.cuh"
#include "kernels/device/gemm_copy.cuh"
#include "kernels/device/mbarrier.cuh"
#include "kernels/device/wgmma.cuh"

#ifndef MIN_BLOCKS
#define MIN_BLOCKS 1
#endif

constexpr int CONSUMERS = WARPS / 4; // warpgroups that multiply; one more copies
constexpr int PRODUCER_THREADS = 128;
constexpr int GROUPS = BLOCK_N / (64 * CONSUMERS); // of 64 columns that a warpgroup has
constexpr int SLICE_K = 1024 / bits_of(A_DTYPE);   // elements in 128 bytes
constexpr int SLICES = BLOCK_K / SLICE_K;
constexpr int A_SLICE = BLOCK_M * 128, W_SLICE = BLOCK_N * 128;
static_assert(WARPS % 4 == 0 && BLOCK_N % (64 * CONSUMERS) == 0 && BLOCK_K % SLICE_K == 0 &&
                  STAGE_BYTES == SLICES * (A_SLICE + W_SLICE),
              "whole warpgroups, and whole slices");

// Results on their way out: STAGED tokens by the 64 columns of a warpgroup, padded against bank conflicts.
constexpr int STAGED = BLOCK_M < 64 ? BLOCK_M : 64, STAGED_PITCH = 72;
constexpr int TABLES = 2;
constexpr int ROWS_AT_ONCE = PRODUCER_THREADS / 8, ROWS_COPIED = BLOCK_M / ROWS_AT_ONCE; // by a thread

struct tile_table {
    row_tables rows;
    int counts[PRODUCER_THREADS / 32]; // one more than the last row that is there, as each warp saw it
    int expert, n0;
};

struct shared_memory {
    unsigned char stages[STAGES][STAGE_BYTES];
    element staged[CONSUMERS][STAGED * STAGED_PITCH];
    tile_table tables[TABLES];
    mbarrier full[STAGES], empty[STAGES], table_full[TABLES], table_empty[TABLES];
};

static_assert(sizeof(shared_memory) == SHARED_BYTES, "kernels/gemm/wgmma.c counts the same");

// A place in a ring, and the parity of its present round.
template <int COUNT> struct ring {
    int at;
    unsigned parity;
    __device__ __forceinline__ void next() {
        if (++at == COUNT) at = 0, parity ^= 1;
    }
};

__device__ __forceinline__ void synchronise(int barrier, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

// Generic writes of this thread, before asynchronous reads.
__device__ __forceinline__ void fence_async() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ __forceinline__ int rows_in(const tile_table &t) {
    return max(max(t.counts[0], t.counts[1]), max(t.counts[2], t.counts[3]));
}

// Rows that wgmma is given for so many.
__device__ __forceinline__ int rows_multiplied(int rows) {
    return BLOCK_M > 192 && rows > 192   ? 256
           : BLOCK_M > 128 && rows > 128 ? 192
           : BLOCK_M > 96 && rows > 96   ? 128
           : BLOCK_M > 64 && rows > 64   ? 96
           : BLOCK_M > 32 && rows > 32   ? 64
           : BLOCK_M > 16 && rows > 16   ? 32
                                         : 16;
}

// ---- the warpgroup that copies ----

__device__ __forceinline__ void produce(const mp_gemm_params &p, shared_memory &shared,
                                        const slot_list &slots, int blocks_n) {
    const int thread = threadIdx.x;
    const int steps = (p.k + BLOCK_K - 1) / BLOCK_K;
    ring<STAGES> stage = {0, 0};
    ring<TABLES> table = {0, 0};
    for (long long index = blockIdx.x; index < (long long)slots.blocks_m * blocks_n; index += gridDim.x) {
        const tile_place place = place_of_tile(p, slots.blocks_m, blocks_n, index);
        tile_table &t = shared.tables[table.at];
        wait_for(&shared.table_empty[table.at], table.parity ^ 1);
        const int count = fill_rows(p, slots, place.block_m, t.rows, thread, PRODUCER_THREADS);
        const int most = __reduce_max_sync(0xFFFFFFFF, count);
        if (thread % 32 == 0) t.counts[thread / 32] = most;
        const int expert = slots.expert_ids[place.block_m];
        if (thread == 0) t.expert = expert, t.n0 = place.n0;
        arrive(&shared.table_full[table.at]);
        synchronise(1, PRODUCER_THREADS);
        table.next();
        if (expert < 0) continue;
        // A thread copies one chunk of every 16th row. Rows that are not there it leaves as they are: what
        // becomes of them is not stored.
        const int first_row = thread / 8, chunk = thread % 8, rows = rows_in(t);
        const unsigned char *from[ROWS_COPIED];
#pragma unroll
        for (int i = 0; i < ROWS_COPIED; i++)
            from[i] = (const unsigned char *)p.a +
                      max(t.rows.a_row[first_row + ROWS_AT_ONCE * i], 0ll) * p.a_row * bits_of(A_DTYPE) / 8 +
                      chunk * 16;
        const unsigned to_row = first_row * 128 + (chunk ^ first_row % 8) * 16;
        for (int step = 0; step < steps; step++) {
            unsigned char *to = shared.stages[stage.at];
            wait_for(&shared.empty[stage.at], stage.parity ^ 1);
            if (thread == 0) {
                arrive_expecting(&shared.full[stage.at], SLICES * W_SLICE);
#pragma unroll
                for (int slice = 0; slice < SLICES; slice++)
                    copy_box(to + SLICES * A_SLICE + slice * W_SLICE, &p.w_map, (step * SLICES + slice) * 128,
                             place.n0, expert, &shared.full[stage.at]);
            }
#pragma unroll
            for (int slice = 0; slice < SLICES; slice++) {
                const long long k = (step * SLICES + slice) * 128;
                const int bytes = k + chunk * 16 < (long long)p.k * bits_of(A_DTYPE) / 8 ? 16 : 0;
                const unsigned at = shared_address(to) + slice * A_SLICE + to_row;
#pragma unroll
                for (int i = 0; i < ROWS_COPIED; i++)
                    if (first_row + ROWS_AT_ONCE * i < rows)
                        copy_16(at + ROWS_AT_ONCE * i * 128, from[i] + k, bytes);
            }
            arrive_behind_copies(&shared.full[stage.at]);
            stage.next();
        }
    }
}

// ---- the warpgroups that multiply ----

struct warpgroup_tile {
    float sum[GROUPS][BLOCK_M / 2];

    // All of k, for the first N rows.
    template <int N>
    __device__ __forceinline__ void multiply(shared_memory &shared, ring<STAGES> &stage, int steps,
                                             int warpgroup) {
        int last = 0;
        for (int step = 0; step < steps; step++) {
            wait_for(&shared.full[stage.at], stage.parity);
            fence_async();
            const unsigned char *at = shared.stages[stage.at];
            const unsigned long long a = operand_at(at);
            const unsigned long long w = operand_at(at + SLICES * A_SLICE + warpgroup * (GROUPS * 64 * 128));
            begin_products();
#pragma unroll
            for (int i = 0; i < SLICES * 4; i++)
#pragma unroll
                for (int g = 0; g < GROUPS; g++)
                    multiply_rows<N>(sum[g], w + (i / 4 * W_SLICE + g * 64 * 128 + i % 4 * 32) / 16,
                                     a + (i / 4 * A_SLICE + i % 4 * 32) / 16, step > 0 || i > 0);
            commit_products();
            wait_products<1>();
            if (step > 0 && threadIdx.x % 32 == 0) arrive(&shared.empty[last]);
            last = stage.at;
            stage.next();
        }
        wait_products<0>();
        if (threadIdx.x % 32 == 0) arrive(&shared.empty[last]);
#pragma unroll
        for (int g = 0; g < GROUPS; g++)
#pragma unroll
            for (int i = 0; i < N / 2; i++) asm volatile("" : "+f"(sum[g][i])::"memory");
    }

    // STAGED rows from `first` on, by the 64 columns of a group: through shared memory, transposed.
    __device__ __forceinline__ void store(const mp_gemm_params &p, const tile_table &t, element *staged,
                                          const element *bias, int g, int first, int n_group) const {
        const int warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32, barrier = 1 + threadIdx.x / 128;
        float b[2] = {0.0f, 0.0f};
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int n = n_group + 16 * warp + 8 * half + lane / 4;
            if (bias && n < p.n) b[half] = decode(bias[n]);
        }
        synchronise(barrier, 128);
#pragma unroll
        for (int j = 0; j < STAGED / 16; j++) {
            unsigned packed[4];
#pragma unroll
            for (int m = 0; m < 4; m++) {
                const int octet = 2 * j + m / 2, half = m % 2;
                const float *v = &sum[g][(first / 8 + octet) * 4 + 2 * half];
                const float2 weight = *(const float2 *)&t.rows.weight[first + 8 * octet + lane % 4 * 2];
                const element low = encode((bias ? v[0] + b[half] : v[0]) * weight.x),
                              high = encode((bias ? v[1] + b[half] : v[1]) * weight.y);
                packed[m] = low | (unsigned)high << 16;
            }
            const unsigned at = shared_address(staged + (16 * j + lane / 16 * 8 + lane % 8) * STAGED_PITCH +
                                               16 * warp + lane / 8 % 2 * 8);
            asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(at),
                         "r"(packed[0]), "r"(packed[1]), "r"(packed[2]), "r"(packed[3])
                         : "memory");
        }
        synchronise(barrier, 128);
        const int n = n_group + lane % 8 * 8;
#pragma unroll
        for (int i = 0; i < STAGED / 16; i++) {
            const int row = 16 * i + threadIdx.x % 128 / 8;
            const long long out_row = t.rows.out_row[first + row];
            if (out_row < 0 || n >= p.n) continue;
            element *out = (element *)p.out + out_row * p.out_row + n;
            const elements<8> result = *(const elements<8> *)(staged + row * STAGED_PITCH + lane % 8 * 8);
            if (p.n % 8 == 0 && !p.out_unaligned)
                *(elements<8> *)out = result;
            else
                for (int e = 0; e < 8 && n + e < p.n; e++) out[e] = result.at[e];
        }
    }
};

__device__ __forceinline__ void consume(const mp_gemm_params &p, shared_memory &shared,
                                        const slot_list &slots, int blocks_n) {
    const int warpgroup = threadIdx.x / 128 - 1;
    const int steps = (p.k + BLOCK_K - 1) / BLOCK_K;
    ring<STAGES> stage = {0, 0};
    ring<TABLES> table = {0, 0};
    warpgroup_tile tile;
    for (long long index = blockIdx.x; index < (long long)slots.blocks_m * blocks_n; index += gridDim.x) {
        const tile_table &t = shared.tables[table.at];
        wait_for(&shared.table_full[table.at], table.parity);
        const int rows = rows_in(t), multiplied = rows_multiplied(rows);
        if (t.expert < 0) {
            store_zeros(p, t.rows, t.n0, threadIdx.x - PRODUCER_THREADS, THREADS);
        } else {
            const element *bias = p.bias ? (const element *)p.bias + (long long)t.expert * p.n : nullptr;
            switch (multiplied) {
#define MULTIPLY(n) \
    case n: tile.multiply<(n <= BLOCK_M ? n : BLOCK_M)>(shared, stage, steps, warpgroup); break;
                MULTIPLY(256)
                MULTIPLY(192)
                MULTIPLY(128)
                MULTIPLY(96)
                MULTIPLY(64)
                MULTIPLY(32)
                MULTIPLY(16)
#undef MULTIPLY
            }
#pragma unroll
            for (int g = 0; g < GROUPS; g++)
#pragma unroll
                for (int first = 0; first < BLOCK_M; first += STAGED)
                    if (first < rows)
                        tile.store(p, t, shared.staged[warpgroup], bias, g, first,
                                   t.n0 + 64 * (warpgroup * GROUPS + g));
        }
        arrive(&shared.table_empty[table.at]);
        table.next();
    }
}

extern "C" __global__ void __launch_bounds__(PRODUCER_THREADS + THREADS, MIN_BLOCKS)
    grouped_gemm(const __grid_constant__ mp_gemm_params p) {
    extern __shared__ __align__(1024) unsigned char memory[];
    shared_memory &shared = *(shared_memory *)memory;
    const int blocks_n = (p.n + BLOCK_N - 1) / BLOCK_N;
    const slot_list slots = list_of(p, 0);

    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            init_barrier(&shared.full[i], 1 + PRODUCER_THREADS);
            init_barrier(&shared.empty[i], WARPS);
        }
        for (int i = 0; i < TABLES; i++) {
            init_barrier(&shared.table_full[i], PRODUCER_THREADS);
            init_barrier(&shared.table_empty[i], THREADS);
        }
        fence_async();
    }
    __syncthreads();

    if (threadIdx.x < PRODUCER_THREADS) {
#if WARPS == 8 && MIN_BLOCKS == 1
        asm volatile("setmaxnreg.dec.sync.aligned.u32 56;");
#endif
        produce(p, shared, slots, blocks_n);
    } else {
#if WARPS == 8 && MIN_BLOCKS == 1
        asm volatile("setmaxnreg.inc.sync.aligned.u32 224;");
#endif
        consume(p, shared, slots, blocks_n);
    }
}
