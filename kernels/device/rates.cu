/* SPDX-License-Identifier: Apache-2.0 */
// What a device computes at best in a second: work that waits for no memory.
//
// -DNUMBER=float or double: fused multiply-adds, eight chains a thread. Without it matrix products:
// -DBY_WGMMA=1 with -DDTYPE, -DA_DTYPE and -DW_DTYPE as GEMMs have them, two warpgroups a block with 64 rows
// by 256 columns each; -DBY_WGMMA=0 with the options of mma_instruction.cuh, eight warps a block with eight
// results each. The operands are random numbers of moderate size, for zeros would draw less power than
// numbers do.
#include "kernels/device/params.h"

#ifdef NUMBER
enum { THREADS = 256, CHAINS = 8 };

extern "C" __global__ void __launch_bounds__(THREADS) multiply_adds(const mp_rate_params p) {
    NUMBER sum[CHAINS];
    const NUMBER a = (NUMBER)0.5, b = (NUMBER)threadIdx.x;
#pragma unroll
    for (int i = 0; i < CHAINS; i++) sum[i] = (NUMBER)i;
    for (int step = 0; step < p.steps; step++)
#pragma unroll
        for (int i = 0; i < CHAINS; i++) sum[i] = fma(sum[i], a, b);
    NUMBER all = 0;
#pragma unroll
    for (int i = 0; i < CHAINS; i++) all += sum[i];
    if (all < 0) p.out[threadIdx.x] = (float)all; // never: all that is added is positive
}

#else
// Two numbers of 16 bits, 0.5 to 2 and either sign, or four of 8, of which none is a NaN.
__device__ __forceinline__ unsigned random_word(unsigned i) {
    i *= 0x9E3779B9u;
    i = (i ^ i >> 15) * 0x85EBCA6Bu;
    return ((i ^ i >> 13) & 0x807B807Bu) | 0x3F003F00u;
}

#if BY_WGMMA
#define BLOCK_M 64
#define BLOCK_N 256
#define BLOCK_K 64
#define WARPS 8
#define STAGES 1
#include "kernels/device/wgmma.cuh"

enum { SLICE_BYTES = 128, INSTRUCTIONS = SLICE_BYTES / 32, ADDRESSES = 32 >> 4 };

extern "C" __global__ void __launch_bounds__(THREADS, 1) products(const mp_rate_params p) {
    __shared__ __align__(1024) unsigned memory[(BLOCK_M + BLOCK_N) * SLICE_BYTES / 4];
    for (int i = threadIdx.x; i < (BLOCK_M + BLOCK_N) * SLICE_BYTES / 4; i += THREADS)
        memory[i] = random_word(i);
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncthreads();
    const unsigned a = operand_at((const unsigned char *)memory), b = a + (BLOCK_M * SLICE_BYTES >> 4);
    product_sum d[BLOCK_N / 2];
#pragma unroll
    for (int i = 0; i < BLOCK_N / 2; i++) d[i] = 0;
    for (int step = 0; step < p.steps; step++) {
        begin_products();
#pragma unroll
        for (int i = 0; i < INSTRUCTIONS; i++) add_products<BLOCK_N>(d, a + i * ADDRESSES, b + i * ADDRESSES);
        commit_products();
        wait_products<0>();
    }
    product_sum all = 0;
#pragma unroll
    for (int i = 0; i < BLOCK_N / 2; i++) all += d[i];
    if (p.steps == 0) p.out[threadIdx.x] = (float)all;
}

#else
#include "kernels/device/mma_instruction.cuh"

enum { THREADS = 256, RESULTS = 8 };

extern "C" __global__ void __launch_bounds__(THREADS) products(const mp_rate_params p) {
    unsigned d[RESULTS][4] = {}, a[4], b[2];
#pragma unroll
    for (int i = 0; i < 4; i++) a[i] = random_word(4 * threadIdx.x + i);
#pragma unroll
    for (int i = 0; i < 2; i++) b[i] = random_word(4 * THREADS + 2 * threadIdx.x + i);
    for (int step = 0; step < p.steps; step++)
#pragma unroll
        for (int i = 0; i < RESULTS; i++) multiply_add(d[i], a, b[0], b[1]);
    unsigned all = 0;
#pragma unroll
    for (int i = 0; i < RESULTS; i++) all ^= d[i][0] ^ d[i][1] ^ d[i][2] ^ d[i][3];
    if (p.steps == 0) p.out[threadIdx.x] = (float)all;
}
#endif
#endif
