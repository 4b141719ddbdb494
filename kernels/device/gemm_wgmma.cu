/* SPDX-License-Identifier: Apache-2.0 */
// Grouped GEMM by wgmma, on sm_90a: bf16, fp16, and codes of 8 bits, e4m3 or int8.
//
// -DBLOCK_M, -DBLOCK_N, -DBLOCK_K, -DWARPS, -DSTAGES, -DDTYPE, -DA_DTYPE, -DW_DTYPE as in gemm_frame.cuh,
// of which it uses row tables and formats; -DWARPS warps multiply. -DA_SCALE, -DW_SCALE, -DGROUP as in
// gemm_codes.cu; GROUP is 0 or 128. -DCLUSTER: blocks that have blocks of rows together. -DROWS_FIRST: a
// block of many rows is multiplied with a first, and n is a multiple of 8.
//
// The 64 rows of an instruction are rows of w, and sorted rows of a are its columns, of which it takes 16 to
// 144. So a block of few rows costs what it has, and what tokens leave together, columns of out, lies in
// different rows of the sums: they are transposed on their way out. Blocks of 128 rows, by eight warps, have
// a first as soon as more than 64 are there: an instruction then takes all columns of the tile, so that the
// operands are read the fewest times from shared memory, which takes power too.
//
// Blocks stay on their multiprocessor and go through tiles, each warp on its own, in step by barriers in
// shared memory: one warp fills the tables of the next tiles (which rows, which expert), one copies w by a
// tensor map, two gather rows of a by cp.async, and the others multiply and store. Blocks of a cluster that
// multiply with the same expert copy a part of w each, for all of them.
//
// Every output has one accumulator that takes k in ascending order, as in gemm_frame.cuh, and the bits of
// bf16, fp16 and int8 are those of mma.sync. Of e4m3 they are those of the unit for fp8, with groups of 32.
#include "kernels/device/gemm_wgmma_copy.cuh"
#include "kernels/device/gemm_wgmma_plan.cuh"
#include "kernels/device/gemm_wgmma_store.cuh"

// Rows that wgmma is given for so many, where w stands first.
__device__ __forceinline__ int rows_multiplied(int rows) {
    return BLOCK_M > 128 && rows > 128 ? 144
           : BLOCK_M > 96 && rows > 96 ? 128
           : BLOCK_M > 64 && rows > 64 ? 96
           : BLOCK_M > 32 && rows > 32 ? 64
           : BLOCK_M > 16 && rows > 16 ? 32
                                       : 16;
}

// What the warpgroups do with a tile. Each way has sums of its own: where ways meet with them, the compiler
// lacks registers, and lets instructions wait for one another.
template <bool A_FIRST, int N>
__device__ __forceinline__ void multiply_tile(const mp_gemm_params &p, const tile_table &t,
                                              shared_memory &shared, ring<STAGES> &stage, int steps,
                                              int warpgroup) {
    warpgroup_tile tile;
    tile.multiply<A_FIRST, N>(shared, stage, steps, warpgroup);
    const tile_store store = {p,
                              t,
                              tile,
                              shared.staged[warpgroup],
                              p.bias ? (const element *)p.bias + (long long)t.expert * p.n : nullptr,
                              p.n % 8 == 0 && !p.out_unaligned};
#if ROWS_FIRST
    if constexpr (A_FIRST)
        store.rows(warpgroup);
    else
#endif
        store.columns(warpgroup);
}

__device__ __forceinline__ void consume(const mp_gemm_params &p, shared_memory &shared,
                                        const slot_list &slots, int blocks_n) {
    const int warpgroup = (threadIdx.x - PRODUCER_THREADS) / 128;
    const int steps = (p.k + BLOCK_K - 1) / BLOCK_K;
    ring<STAGES> stage = {0, 0};
    ring<TABLES> table = {0, 0};
    for (tile_walk walk(p, slots.blocks_m, blocks_n); walk.goes_on(); walk.next()) {
        const tile_table &t = shared.tables[table.at];
        wait_for(&shared.table_full[table.at], table.parity);
        const int multiplied = rows_multiplied(t.count);
#define MULTIPLY(a_first, n) multiply_tile<a_first, n>(p, t, shared, stage, steps, warpgroup)
        if (t.expert < 0) {
            store_zeros(p, t.rows, t.n0, threadIdx.x - PRODUCER_THREADS, THREADS);
            if (t.neighbour >= 0) warpgroup_tile::pass(shared, stage, steps);
        }
#if ROWS_FIRST
        else if (multiplied > 64)
            MULTIPLY(true, BLOCK_N);
#elif BLOCK_M > 64
#if BLOCK_M > 128
        else if (multiplied == 144)
            MULTIPLY(false, 144);
#endif
        else if (multiplied == 128)
            MULTIPLY(false, 128);
        else if (multiplied == 96)
            MULTIPLY(false, 96);
#endif
#if BLOCK_M > 32
        else if (multiplied == 64)
            MULTIPLY(false, 64);
#endif
#if BLOCK_M > 16
        else if (multiplied == 32)
            MULTIPLY(false, 32);
#endif
        else
            MULTIPLY(false, 16);
#undef MULTIPLY
        arrive(&shared.table_empty[table.at]);
        table.next();
    }
}

#if CLUSTER > 1
#define BLOCKS_OF_A_CLUSTER __cluster_dims__(CLUSTER, 1, 1)
#else
#define BLOCKS_OF_A_CLUSTER
#endif
extern "C" __global__ void BLOCKS_OF_A_CLUSTER __launch_bounds__(PRODUCER_THREADS + THREADS, 1)
    grouped_gemm(const __grid_constant__ mp_gemm_params p) {
    extern __shared__ __align__(1024) unsigned char memory[];
    shared_memory &shared = *(shared_memory *)memory;
    const int blocks_n = (p.n + BLOCK_N - 1) / BLOCK_N;
    const slot_list slots = list_of(p, 0);

    if (threadIdx.x == 0) prefetch_map(&p.w_map);
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            init_barrier(&shared.full[i], 1 + COPY_THREADS);
            init_barrier(&shared.empty[i], CLUSTER * WARPS);
        }
        for (int i = 0; i < TABLES; i++) {
            init_barrier(&shared.table_full[i], 32);
            init_barrier(&shared.table_empty[i], COPY_THREADS + THREADS);
        }
        fence_async();
    }
    if (CLUSTER > 1)
        synchronise_cluster();
    else
        __syncthreads();

    if (threadIdx.x < PRODUCER_THREADS) {
#if WARPS == 8
        asm volatile("setmaxnreg.dec.sync.aligned.u32 88;");
#endif
        if (threadIdx.x < COPY_THREADS)
            copy_rows(p, shared, slots, blocks_n);
        else if (threadIdx.x < COPY_THREADS + 32)
            copy_weights(p, shared, slots, blocks_n);
        else
            plan(p, shared, slots, blocks_n);
    } else {
#if WARPS == 8
        asm volatile("setmaxnreg.inc.sync.aligned.u32 208;");
#endif
        consume(p, shared, slots, blocks_n);
    }
    if (CLUSTER > 1) synchronise_cluster(); // nobody leaves while others copy into its memory
}
