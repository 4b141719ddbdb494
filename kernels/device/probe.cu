/* SPDX-License-Identifier: Apache-2.0 */
// One dot-add by one tensor-core instruction: d[v] = a[v] . b[v] + c[v] for many vectors v, to see what the
// hardware's arithmetic is.
//
// -DWGMMA=0: mma.sync m16n8, 1: wgmma m64n8 (sm_90a). -DTYPE, -DDEPTH, -DRESULT and -DSATURATE: the
// instruction, as mma_instruction.cuh has them. -DSTEPS: instructions chained through the accumulator without
// leaving the registers.
//
// Vector v's a is a row of A and its b is a column of B with the same number, so that its dot-add is on the
// diagonal of the result; the rest of the result is not looked at.
#include "kernels/device/mma_instruction.cuh"
#include "kernels/device/params.h"

#if WGMMA
// What follows the accumulate flag: no operand is negated; 16-bit types also say that B is not transposed.
#define SIGNS_bf16 ", 1, 1, 0"
#define SIGNS_f16 ", 1, 1, 0"
#define SIGNS_tf32 ", 1, 1"
#define SIGNS_e4m3 ", 1, 1"
#define SIGNS_e5m2 ", 1, 1"
#define SIGNS_s8 ""
constexpr int VECTORS = 8; // of a block: all four warps multiply, the first one's rows count

// B in shared memory without swizzle: core matrices of 8 columns by 16 bytes of k, each contiguous; two of
// them, one behind the other, make an instruction's 8 columns by 32 bytes.
constexpr int CORE_BYTES = 128;
struct core_matrix {
    unsigned word[8][4];
};

// Bits 0-13: address / 16; 16-29: distance of core matrices along k / 16; 32-45: along the columns, of which
// there is no second one here; 62-63: 0, no swizzle (PTX ISA, "Matrix descriptor").
__device__ __forceinline__ unsigned long long descriptor(const core_matrix *b) {
    const unsigned long long address = __cvta_generic_to_shared(b), stride = CORE_BYTES >> 4;
    return (address >> 4 & 0x3FFF) | stride << 16 | stride << 32;
}

__device__ __forceinline__ void multiply_add(unsigned (&d)[4], const unsigned (&a)[4], unsigned long long b) {
    asm volatile("{\n.reg .pred accumulate;\nsetp.eq.u32 accumulate, 0, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n8k" TEXT(DEPTH) SATFINITE "." TEXT(RESULT) "." TEXT(
                     TYPE) "." TEXT(TYPE) " " RESULT_REGISTERS
                                          ", {%4, %5, %6, %7}, %8, accumulate" PASTE(SIGNS_, TYPE) ";\n}"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b)
                 : "memory");
}

#else
constexpr int VECTORS = 32; // of a block: eight a warp

#endif

extern "C" __global__ void __launch_bounds__(128) probe(const mp_probe_params p) {
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const long long first = (long long)blockIdx.x * VECTORS;
    const long long v = first + (WGMMA ? 0 : 8 * warp) + g;
    const bool present = v < p.count;
    const bool on_diagonal = present && t == g / 2 && (!WGMMA || warp == 0);
    const int shift = HALF_RESULT ? 16 * (g % 2) : 0;
    unsigned d[4] = {0, 0, 0, 0}, a[STEPS][4];
    if (on_diagonal) d[HALF_RESULT ? 0 : g % 2] = p.c[v] << shift;
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
        const unsigned *row = p.a + (v * STEPS + step) * 8;
        a[step][0] = present ? row[t] : 0;
        a[step][1] = 0;
        a[step][2] = present ? row[t + 4] : 0;
        a[step][3] = 0;
    }
#if WGMMA
    __shared__ __align__(128) core_matrix b[STEPS][2];
    for (int i = threadIdx.x; i < 64 * STEPS; i += 128) {
        const int step = i / 64, column = i % 64 / 8, word = i % 8;
        const long long from = first + column;
        b[step][word / 4].word[column][word % 4] = from < p.count ? p.b[(from * STEPS + step) * 8 + word] : 0;
    }
    asm volatile("fence.proxy.async.shared::cta;" ::
                     : "memory"); // wgmma reads shared memory through the async proxy
    __syncthreads();
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
    for (int step = 0; step < STEPS; step++) multiply_add(d, a[step], descriptor(b[step]));
    asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])::"memory");
#else
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
        const unsigned *column = p.b + (v * STEPS + step) * 8;
        multiply_add(d, a[step], present ? column[t] : 0, present ? column[t + 4] : 0);
    }
#endif
    if (on_diagonal) p.d[v] = HALF_RESULT ? d[0] >> shift & 0xFFFF : d[g % 2];
}
