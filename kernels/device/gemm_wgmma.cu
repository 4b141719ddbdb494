/* SPDX-License-Identifier: Apache-2.0 */
// Grouped GEMM of bf16 and fp16 by wgmma, on sm_90a.
#include "kernels/device/gemm_slots.cuh"
#include "kernels/device/gemm_copy.cuh"
#ifdef W_SCALE
#include "kernels/device/gemm_scales.cuh"
#else
#define GROUP 0
#endif
#include "kernels/device/mbarrier.cuh"
#include "kernels/device/wgmma.cuh"

#ifndef MIN_BLOCKS
#define MIN_BLOCKS 1
#endif

#ifndef CLUSTER
#define CLUSTER 1
#endif
constexpr int CONSUMERS = WARPS / 4; // warpgroups that multiply; one more plans and copies
constexpr int PRODUCER_THREADS = 256, COPY_THREADS = 192; // six warps copy rows, one w, and one plans
constexpr int GROUPS = BLOCK_N / (64 * CONSUMERS); // of 64 columns that a warpgroup has
constexpr int SLICE_K = 1024 / bits_of(A_DTYPE);   // elements in 128 bytes
constexpr int SLICES = BLOCK_K / SLICE_K;
constexpr int A_SLICE = BLOCK_M * 128, W_SLICE = BLOCK_N * 128;
static_assert(WARPS % 4 == 0 && BLOCK_N % (64 * CONSUMERS) == 0 && BLOCK_K % SLICE_K == 0 &&
                  STAGE_BYTES == SLICES * (A_SLICE + W_SLICE),
              "whole warpgroups, and whole slices");

// Results on their way out: STAGED tokens by the 64 columns of a warpgroup, padded against bank conflicts.
constexpr int STAGED = BLOCK_M < 64 ? BLOCK_M : 64, STAGED_PITCH = 72;
constexpr int TABLES = 3; // one is read by each of the roles
#if GROUP
static_assert(SLICES == 1 && GROUP == BLOCK_K && BLOCK_M <= COPY_THREADS, "a stage is a group");
#endif
constexpr int ROWS_AT_ONCE = COPY_THREADS / 8, ROWS_COPIED = (BLOCK_M + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE;

struct tile_table {
    row_tables rows;
    int expert, n0;
    int neighbour; // the expert of the cluster's other block of rows
    int count;     // one more than the last row that is there
#if defined(W_SCALE) && !GROUP
    float a_scale[BLOCK_M];
#endif
};

struct shared_memory {
    unsigned char stages[STAGES][STAGE_BYTES];
#if GROUP
    float a_scale[STAGES][BLOCK_M]; // of the group that the stage is of
#endif
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

// Rows that wgmma is given for so many.
__device__ __forceinline__ int rows_multiplied(int rows) {
    return BLOCK_M > 96 && rows > 96   ? 128
           : BLOCK_M > 64 && rows > 64 ? 96
           : BLOCK_M > 32 && rows > 32 ? 64
           : BLOCK_M > 16 && rows > 16 ? 32
                                       : 16;
}

// The tiles of this block, or of its cluster, whose blocks have neighbouring blocks of rows.
struct tile_walk {
    int group_size_m, groups_m, blocks_n;
    long long index;
    __device__ __forceinline__ tile_walk(const mp_gemm_params &p, int blocks_m, int blocks_n)
        : group_size_m(max(p.group_size_m / CLUSTER, 1)), groups_m((blocks_m + CLUSTER - 1) / CLUSTER),
          blocks_n(blocks_n), index(blockIdx.x / CLUSTER) {
    }
    __device__ __forceinline__ bool goes_on() const {
        return index < (long long)groups_m * blocks_n;
    }
    __device__ __forceinline__ void next() {
        index += gridDim.x / CLUSTER;
    }
    __device__ __forceinline__ tile_place place() const {
        tile_place place = place_of_tile(group_size_m, groups_m, blocks_n, index);
        if (CLUSTER > 1) place.block_m = place.block_m * CLUSTER + cluster_rank();
        return place;
    }
};

// -1 for filtered slots, and where the list has no such block.
__device__ __forceinline__ int expert_of(const slot_list &slots, long long block_m) {
    return block_m < slots.blocks_m ? slots.expert_ids[block_m] : -1;
}

// ---- the warp that plans ----

// Fills the tables of tiles, ahead of those who read them.
__device__ __forceinline__ void plan(const mp_gemm_params &p, shared_memory &shared, const slot_list &slots,
                                     int blocks_n) {
    const int lane = threadIdx.x % 32;
    ring<TABLES> table = {0, 0};
    for (tile_walk walk(p, slots.blocks_m, blocks_n); walk.goes_on(); walk.next()) {
        const tile_place place = walk.place();
        tile_table &t = shared.tables[table.at];
        wait_for(&shared.table_empty[table.at], table.parity ^ 1);
        const int count =
            __reduce_max_sync(0xFFFFFFFF, fill_rows(p, slots, place.block_m, t.rows, lane, 32));
#if defined(W_SCALE) && !GROUP
        __syncwarp();
        for (int row = lane; row < BLOCK_M; row += 32)
            t.a_scale[row] = scale_of_row({p, t.rows, nullptr, place.n0, 0}, row, 0);
#endif
        if (lane == 0) {
            t.expert = expert_of(slots, place.block_m);
            t.neighbour = CLUSTER > 1 ? expert_of(slots, place.block_m ^ 1) : -1;
            t.n0 = place.n0;
            t.count = count;
        }
        arrive(&shared.table_full[table.at]);
        table.next();
    }
}

// ---- the warps that copy ----

// A stage's tile of w. Where the neighbour multiplies the same, each copies its part for both.
__device__ __forceinline__ void copy_tile(const mp_gemm_params &p, unsigned char *to, int step, int n0,
                                          int expert, bool share, mbarrier *full) {
    constexpr int ROWS = BLOCK_N / CLUSTER;
#pragma unroll
    for (int slice = 0; slice < SLICES; slice++)
#pragma unroll
        for (int part = 0; part < CLUSTER; part++) {
            unsigned char *at = to + slice * W_SLICE + part * ROWS * 128;
            const int k = (step * SLICES + slice) * 128, n = n0 + part * ROWS;
            if (!share)
                copy_box(at, &p.w_map, k, n, expert, full);
            else if (part == cluster_rank())
                copy_box_to_all(at, &p.w_map, k, n, expert, full, (1 << CLUSTER) - 1);
        }
}

__device__ __forceinline__ void copy_weights(const mp_gemm_params &p, shared_memory &shared,
                                             const slot_list &slots, int blocks_n) {
    const int steps = (p.k + BLOCK_K - 1) / BLOCK_K;
    ring<STAGES> stage = {0, 0};
    ring<TABLES> table = {0, 0};
    for (tile_walk walk(p, slots.blocks_m, blocks_n); walk.goes_on(); walk.next()) {
        const tile_table &t = shared.tables[table.at];
        wait_for(&shared.table_full[table.at], table.parity);
        const int expert = t.expert, neighbour = t.neighbour, n0 = t.n0;
        arrive(&shared.table_empty[table.at]);
        table.next();
        for (int step = 0; step < steps && (expert >= 0 || neighbour >= 0); step++) {
            wait_for(&shared.empty[stage.at], stage.parity ^ 1);
            if (expert >= 0) {
                arrive_expecting(&shared.full[stage.at], SLICES * W_SLICE);
                copy_tile(p, shared.stages[stage.at] + SLICES * A_SLICE, step, n0, expert,
                          expert == neighbour, &shared.full[stage.at]);
            } else {
                arrive(&shared.full[stage.at]);
            }
            stage.next();
        }
    }
}

__device__ __forceinline__ void copy_rows(const mp_gemm_params &p, shared_memory &shared,
                                          const slot_list &slots, int blocks_n) {
    const int thread = threadIdx.x, first_row = thread / 8, chunk = thread % 8;
    const int steps = (p.k + BLOCK_K - 1) / BLOCK_K;
    const int k_bytes = p.k * bits_of(A_DTYPE) / 8;
    const unsigned row_bytes = p.a_row * bits_of(A_DTYPE) / 8;
    const unsigned to_row = first_row * 128 + (chunk ^ first_row % 8) * 16; // of every 24th the same
    ring<STAGES> stage = {0, 0};
    ring<TABLES> table = {0, 0};
    for (tile_walk walk(p, slots.blocks_m, blocks_n); walk.goes_on(); walk.next()) {
        const tile_table &t = shared.tables[table.at];
        wait_for(&shared.table_full[table.at], table.parity);
        const int expert = t.expert, neighbour = t.neighbour;
        // Rows that are not there are left as they are: what becomes of them is not stored.
        const int rows = expert < 0 ? 0 : t.count, rows_mine = rows - first_row;
        unsigned a_row[ROWS_COPIED];
#pragma unroll
        for (int i = 0; i < ROWS_COPIED; i++)
            a_row[i] = ROWS_AT_ONCE * i < rows_mine ? max((int)t.rows.a_row[first_row + ROWS_AT_ONCE * i], 0) : 0;
#if GROUP
        const long long scale_row = thread < rows ? max(t.rows.a_row[thread], 0ll) * p.a_scale_row : 0;
#endif
        arrive(&shared.table_empty[table.at]);
        table.next();
        for (int step = 0; step < steps && (expert >= 0 || neighbour >= 0); step++) {
            wait_for(&shared.empty[stage.at], stage.parity ^ 1);
#pragma unroll
            for (int slice = 0; slice < SLICES; slice++) {
                const int k = (step * SLICES + slice) * 128 + chunk * 16;
                const int bytes = k < k_bytes ? 16 : 0;
                const unsigned to = shared_address(shared.stages[stage.at]) + slice * A_SLICE + to_row;
#pragma unroll
                for (int i = 0; i < ROWS_COPIED; i++) {
                    if (ROWS_AT_ONCE * i < rows_mine)
                        copy_16(to + ROWS_AT_ONCE * i * 128, (const unsigned char *)p.a + k, a_row[i], row_bytes, bytes);
                }
            }
#if GROUP
            if (thread < rows)
                copy_4(shared_address(&shared.a_scale[stage.at][thread]),
                       (const float *)p.a_scale + scale_row + step * p.a_scale_group);
#endif
            arrive_behind_copies(&shared.full[stage.at]);
            stage.next();
        }
    }
}

// ---- the warpgroups that multiply ----

struct warpgroup_tile {
    product_sum sum[GROUPS][BLOCK_M / 2]; // with groups: of the one that is under way
#if GROUP
    float all[GROUPS][BLOCK_M / 2];
#endif

    // Nobody reads this stage any more: so many arrive in each block that fills it.
    static __device__ __forceinline__ void release(mbarrier *empty) {
        const int lane = threadIdx.x % 32;
        if (CLUSTER > 1 && lane < CLUSTER)
            arrive_in(empty, lane);
        else if (CLUSTER == 1 && lane == 0)
            arrive(empty);
    }

    // Of a block without rows, beside one that has some.
    static __device__ __forceinline__ void pass(shared_memory &shared, ring<STAGES> &stage, int steps) {
#pragma unroll 1
        for (int step = 0; step < steps; step++) {
            wait_for(&shared.full[stage.at], stage.parity);
            release(&shared.empty[stage.at]);
            stage.next();
        }
    }

    // The products of a stage, for the first N rows.
    template <int N>
    __device__ __forceinline__ void add_stage(const unsigned char *stage, int warpgroup, bool keep) {
        const unsigned a = operand_at(stage);
        const unsigned w = operand_at(stage + SLICES * A_SLICE + warpgroup * (GROUPS * 64 * 128));
        begin_products();
#pragma unroll
        for (int i = 0; i < SLICES * 4; i++)
#pragma unroll
            for (int g = 0; g < GROUPS; g++) {
                const unsigned w_at = w + (i / 4 * W_SLICE + g * 64 * 128 + i % 4 * 32) / 16,
                               a_at = a + (i / 4 * A_SLICE + i % 4 * 32) / 16;
                if (GROUP && i == 0)
                    set_products<N>(sum[g], w_at, a_at);
                else
                    add_products<N>(sum[g], w_at, a_at, keep || i > 0);
            }
        commit_products();
    }

    // Behind a wait for them: nobody has read the sums before.
    template <int N> __device__ __forceinline__ void have_products() {
#pragma unroll
        for (int g = 0; g < GROUPS; g++)
#pragma unroll
            for (int i = 0; i < N / 2; i++) asm volatile("" : "+" WGMMA_SUM(sum[g][i])::"memory");
    }

#if GROUP
    // Adds the sums of a group to those of all.
    template <int N>
    __device__ __forceinline__ void promote(const float *a_scale, const float (&w_scale)[GROUPS], bool first) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int j = 0; j < N / 8; j++) {
            const float2 scale = *(const float2 *)&a_scale[8 * j + lane % 4 * 2];
#pragma unroll
            for (int g = 0; g < GROUPS; g++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    all[g][4 * j + i] = fmaf((float)sum[g][4 * j + i], (i % 2 ? scale.y : scale.x) * w_scale[g],
                                             first ? 0.0f : all[g][4 * j + i]);
        }
    }

    // All of k, for the first N rows: each group is added from zero.
    template <int N>
    __device__ __forceinline__ void multiply(const mp_gemm_params &p, const tile_table &t,
                                             shared_memory &shared, ring<STAGES> &stage, int steps,
                                             int warpgroup) {
#pragma unroll 1
        for (int step = 0; step < steps; step++) {
            float w_scale[GROUPS];
#pragma unroll
            for (int g = 0; g < GROUPS; g++)
                w_scale[g] = scale_of_column({p, t.rows, nullptr, t.n0, t.expert},
                                             t.n0 + 64 * (warpgroup * GROUPS + g), step);
            wait_for(&shared.full[stage.at], stage.parity);
            fence_async();
            add_stage<N>(shared.stages[stage.at], warpgroup, false);
            wait_products<0>();
            have_products<N>();
            promote<N>(shared.a_scale[stage.at], w_scale, step == 0);
            __syncwarp(); // all lanes have read the scales
            release(&shared.empty[stage.at]);
            stage.next();
        }
    }
    __device__ __forceinline__ float result(int g, int i) const {
        return all[g][i];
    }
#else
    // All of k, for the first N rows. A stage is multiplied while the products of the one before come in.
    template <int N>
    __device__ __forceinline__ void multiply(const mp_gemm_params &, const tile_table &, shared_memory &shared,
                                             ring<STAGES> &stage, int steps, int warpgroup) {
        int last = 0;
#pragma unroll 1
        for (int step = 0; step < steps; step++) {
            wait_for(&shared.full[stage.at], stage.parity);
            fence_async();
            add_stage<N>(shared.stages[stage.at], warpgroup, step > 0);
            wait_products<1>();
            if (step > 0) release(&shared.empty[last]);
            last = stage.at;
            stage.next();
        }
        wait_products<0>();
        release(&shared.empty[last]);
        have_products<N>();
    }
    __device__ __forceinline__ float result(int g, int i) const {
        return (float)sum[g][i];
    }
#endif

    // STAGED rows from `first` on, by the 64 columns of a group: through shared memory, transposed.
    __device__ __forceinline__ void store(const mp_gemm_params &p, const tile_table &t, element *staged,
                                          const element *bias, int g, int first, int n_group) const {
        const int warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32, barrier = threadIdx.x / 128;
        float b[2] = {0.0f, 0.0f};
#if defined(W_SCALE) && !GROUP
        float w_scale[2];
#endif
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int n = n_group + 16 * warp + 8 * half + lane / 4;
            if (bias && n < p.n) b[half] = decode(bias[n]);
#if defined(W_SCALE) && !GROUP
            w_scale[half] = scale_of_column({p, t.rows, nullptr, t.n0, t.expert}, n, 0);
#endif
        }
        synchronise(barrier, 128);
#pragma unroll
        for (int j = 0; j < STAGED / 16; j++) {
            unsigned packed[4];
#pragma unroll
            for (int m = 0; m < 4; m++) {
                const int octet = 2 * j + m / 2, half = m % 2;
                const int row = first + 8 * octet + lane % 4 * 2, at = (first / 8 + octet) * 4 + 2 * half;
                float low = result(g, at), high = result(g, at + 1);
#if defined(W_SCALE) && !GROUP
                const float2 a_scale = *(const float2 *)&t.a_scale[row];
                low *= a_scale.x * w_scale[half], high *= a_scale.y * w_scale[half];
#endif
                const float2 weight = *(const float2 *)&t.rows.weight[row];
                packed[m] = encode_pair((bias ? low + b[half] : low) * weight.x,
                                        (bias ? high + b[half] : high) * weight.y);
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
    const int warpgroup = (threadIdx.x - PRODUCER_THREADS) / 128;
    const int steps = (p.k + BLOCK_K - 1) / BLOCK_K;
    ring<STAGES> stage = {0, 0};
    ring<TABLES> table = {0, 0};
    warpgroup_tile tile;
    for (tile_walk walk(p, slots.blocks_m, blocks_n); walk.goes_on(); walk.next()) {
        const tile_table &t = shared.tables[table.at];
        wait_for(&shared.table_full[table.at], table.parity);
        const int rows = t.count, multiplied = rows_multiplied(rows);
        if (t.expert < 0) {
            store_zeros(p, t.rows, t.n0, threadIdx.x - PRODUCER_THREADS, THREADS);
            if (t.neighbour >= 0) warpgroup_tile::pass(shared, stage, steps);
        } else {
            const element *bias = p.bias ? (const element *)p.bias + (long long)t.expert * p.n : nullptr;
#define MULTIPLY(n)                      \
    if (n <= BLOCK_M && multiplied == n) \
        tile.multiply<(n <= BLOCK_M ? n : BLOCK_M)>(p, t, shared, stage, steps, warpgroup)
            MULTIPLY(128);
            MULTIPLY(96);
            MULTIPLY(64);
            MULTIPLY(32);
            MULTIPLY(16);
#undef MULTIPLY
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

#if CLUSTER > 1
#define BLOCKS_OF_A_CLUSTER __cluster_dims__(CLUSTER, 1, 1)
#else
#define BLOCKS_OF_A_CLUSTER
#endif
extern "C" __global__ void BLOCKS_OF_A_CLUSTER __launch_bounds__(PRODUCER_THREADS + THREADS, MIN_BLOCKS)
    grouped_gemm(const __grid_constant__ mp_gemm_params p) {
    extern __shared__ __align__(1024) unsigned char memory[];
    shared_memory &shared = *(shared_memory *)memory;
    const int blocks_n = (p.n + BLOCK_N - 1) / BLOCK_N;
    const slot_list slots = list_of(p, 0);

    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            init_barrier(&shared.full[i], 1 + COPY_THREADS);
            init_barrier(&shared.empty[i], CLUSTER * WARPS);
        }
        for (int i = 0; i < TABLES; i++) {
            init_barrier(&shared.table_full[i], 32);
            init_barrier(&shared.table_empty[i], COPY_THREADS + 1 + THREADS);
        }
        fence_async();
    }
    if (CLUSTER > 1)
        synchronise_cluster();
    else
        __syncthreads();

    if (threadIdx.x < PRODUCER_THREADS) {
#if WARPS == 8
        asm volatile("setmaxnreg.dec.sync.aligned.u32 48;");
#endif
        if (threadIdx.x < COPY_THREADS)
            copy_rows(p, shared, slots, blocks_n);
        else if (threadIdx.x == COPY_THREADS)
            copy_weights(p, shared, slots, blocks_n);
        else if (threadIdx.x >= COPY_THREADS + 32)
            plan(p, shared, slots, blocks_n);
    } else {
#if WARPS == 8
        asm volatile("setmaxnreg.inc.sync.aligned.u32 208;");
#endif
        consume(p, shared, slots, blocks_n);
    }
    if (CLUSTER > 1) synchronise_cluster(); // nobody leaves while others copy into its memory
}
