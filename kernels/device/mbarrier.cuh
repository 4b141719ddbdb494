/* SPDX-License-Identifier: Apache-2.0 */
// Barriers in shared memory that count arrivals and bytes (mbarrier, sm_90), and the copies of tiles that
// report to them.
#pragma once

#include "kernels/device/gemm_frame.cuh"

typedef unsigned long long mbarrier;

__device__ __forceinline__ void init_barrier(mbarrier *b, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(arrivals)
                 : "memory");
}

__device__ __forceinline__ void arrive(mbarrier *b) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(b)) : "memory");
}

// Arrives, and has so many bytes of copies to wait for.
__device__ __forceinline__ void arrive_expecting(mbarrier *b, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)), "r"(bytes)
                 : "memory");
}

// Arrives when the copies of this thread have landed that cp.async began so far.
__device__ __forceinline__ void arrive_behind_copies(mbarrier *b) {
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(shared_address(b)) : "memory");
}

// Waits for the end of the phase of this parity. Of a new barrier, the phase before the first has ended, and
// has parity 1.
__device__ __forceinline__ void wait_for(mbarrier *b, unsigned parity) {
    unsigned done;
    do {
        asm volatile("{\n.reg .pred p;\n"
                     "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                     "selp.u32 %0, 1, 0, p;\n}"
                     : "=r"(done)
                     : "r"(shared_address(b)), "r"(parity)
                     : "memory");
    } while (!done);
}

// The place of this block in its cluster.
__device__ __forceinline__ unsigned cluster_rank() {
    unsigned rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

// Waits for all threads of the cluster.
__device__ __forceinline__ void synchronise_cluster() {
    asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}

// Arrives at the barrier that lies at the same place in block `rank` of the cluster.
__device__ __forceinline__ void arrive_in(mbarrier *b, unsigned rank) {
    asm volatile("{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %0, %1;\n"
                 "mbarrier.arrive.shared::cluster.b64 _, [there];\n}" ::"r"(shared_address(b)),
                 "r"(rank)
                 : "memory");
}

// Reads a tensor map, before the first copy needs it.
__device__ __forceinline__ void prefetch_map(const mp_tensor_map *map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// Where rows of the map's boxes are interleaved (kernels/stage/gemm.c), it has dimensions for the two rows of
// a pair, for eights of rows, and for the pairs of an eight.
#define COPY_OF_TENSOR(d) "cp.async.bulk.tensor." d ".shared::cluster.global.mbarrier::complete_tx::bytes"
#if ROWS_FIRST
#define COPY_OF_MAP COPY_OF_TENSOR("5d")
#define PLACE_IN_MAP "{%2, 0, %3, 0, %4}"
#define ROW_OF_MAP(n) ((n) / 8)
#else
#define COPY_OF_MAP COPY_OF_TENSOR("3d")
#define PLACE_IN_MAP "{%2, %3, %4}"
#define ROW_OF_MAP(n) (n)
#endif

// Copies the box of a tensor map that begins at byte k of row n of matrix e.
__device__ __forceinline__ void copy_box(void *to, const mp_tensor_map *map, int k, int n, int e,
                                         mbarrier *b) {
    asm volatile(COPY_OF_MAP " [%0], [%1, " PLACE_IN_MAP "], [%5];" ::"r"(shared_address(to)), "l"(map),
                 "r"(k), "r"(ROW_OF_MAP(n)), "r"(e), "r"(shared_address(b))
                 : "memory");
}

// The same, into the same place of every block in the mask, and for its barrier.
__device__ __forceinline__ void copy_box_to_all(void *to, const mp_tensor_map *map, int k, int n, int e,
                                                mbarrier *b, unsigned short mask) {
    asm volatile(COPY_OF_MAP ".multicast::cluster [%0], [%1, " PLACE_IN_MAP
                             "], [%5], %6;" ::"r"(shared_address(to)),
                 "l"(map), "r"(k), "r"(ROW_OF_MAP(n)), "r"(e), "r"(shared_address(b)), "h"(mask)
                 : "memory");
}
