/* SPDX-License-Identifier: Apache-2.0 */
// Grouped GEMM by wgmma, on sm_90a: bf16, fp16, and codes of 8 bits, e4m3 or int8.
//
// -DBLOCK_M, -DBLOCK_N, -DBLOCK_K, -DWARPS, -DSTAGES, -DDTYPE, -DA_DTYPE, -DW_DTYPE as in gemm_frame.cuh, of
// which it uses row tables and formats; -DWARPS warps multiply. -DA_SCALE, -DW_SCALE, -DGROUP as in
// gemm_codes.cu; GROUP is 0 or 128. -DCLUSTER: blocks that have neighbouring blocks of rows.
//
// w stands first in the products: its rows are the 64 of an instruction, sorted rows of a are the columns, of
// which an instruction takes 16 to 128. So a block of few rows costs what it has, and what tokens leave
// together, columns of out, lies in different rows of the sums: they are transposed on their way out.
//
// Blocks stay on their multiprocessor and go through tiles, each warp on its own, in step by barriers in
// shared memory: one warp fills the tables of the next tiles (which rows, which expert), one copies w by a
// tensor map, six gather rows of a by cp.async, and the others multiply and store. Blocks of a cluster that
// multiply with the same expert copy a part of w each, for all of them.
//
// Every output has one accumulator that takes k in ascending order, as in gemm_frame.cuh, and the bits of
// bf16, fp16 and int8 are those of mma.sync. Of e4m3 they are those of the unit for fp8, with groups of 32.
#include "kernels/device/gemm_wgmma_copy.cuh"
#include "kernels/device/gemm_wgmma_tile.cuh"

// Rows that wgmma is given for so many.
__device__ __forceinline__ int rows_multiplied(int rows) {
    return BLOCK_M > 96 && rows > 96   ? 128
           : BLOCK_M > 64 && rows > 64 ? 96
           : BLOCK_M > 32 && rows > 32 ? 64
           : BLOCK_M > 16 && rows > 16 ? 32
                                       : 16;
}

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
        const int multiplied = rows_multiplied(t.count);
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
            tile.store(p, t, shared.staged[warpgroup], bias, warpgroup);
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
extern "C" __global__ void BLOCKS_OF_A_CLUSTER __launch_bounds__(PRODUCER_THREADS + THREADS, 1)
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
