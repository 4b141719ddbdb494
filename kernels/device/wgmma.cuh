/* SPDX-License-Identifier: Apache-2.0 */
// wgmma (sm_90a): a warpgroup multiplies 64 rows of one operand by N rows of another, both in shared memory
// in slices of 128 bytes of k with the swizzle of that width, by 32 bytes of k an instruction.
#pragma once

#include "kernels/device/gemm_frame.cuh"

// Where an operand lies: rows of 128 bytes, whose chunks of 16 are XORed with row % 8; eight rows repeat the
// pattern, 1024 bytes further. The tile begins on 1024 bytes; 32 bytes of k further is 2 units of address.
__device__ __forceinline__ unsigned long long operand_at(const unsigned char *tile) {
    const unsigned long long swizzle_128 = 1ull << 62, rows_8 = 1024ull >> 4 << 32, unused = 1ull << 16;
    return swizzle_128 | rows_8 | unused | (shared_address(tile) & 0x3FFFF) >> 4;
}

__device__ __forceinline__ void begin_products() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void commit_products() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int PENDING> __device__ __forceinline__ void wait_products() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

#define WGMMA_REGISTERS_0 "%0, %1, %2, %3, %4, %5, %6, %7"
#define WGMMA_REGISTERS_1 "%8, %9, %10, %11, %12, %13, %14, %15"
#define WGMMA_REGISTERS_2 "%16, %17, %18, %19, %20, %21, %22, %23"
#define WGMMA_REGISTERS_3 "%24, %25, %26, %27, %28, %29, %30, %31"
#define WGMMA_REGISTERS_4 "%32, %33, %34, %35, %36, %37, %38, %39"
#define WGMMA_REGISTERS_5 "%40, %41, %42, %43, %44, %45, %46, %47"
#define WGMMA_REGISTERS_6 "%48, %49, %50, %51, %52, %53, %54, %55"
#define WGMMA_REGISTERS_7 "%56, %57, %58, %59, %60, %61, %62, %63"
#define WGMMA_REGISTERS_8 "%64, %65, %66, %67, %68, %69, %70, %71"
#define WGMMA_REGISTERS_9 "%72, %73, %74, %75, %76, %77, %78, %79"
#define WGMMA_REGISTERS_10 "%80, %81, %82, %83, %84, %85, %86, %87"
#define WGMMA_REGISTERS_11 "%88, %89, %90, %91, %92, %93, %94, %95"
#define WGMMA_REGISTERS_12 "%96, %97, %98, %99, %100, %101, %102, %103"
#define WGMMA_REGISTERS_13 "%104, %105, %106, %107, %108, %109, %110, %111"
#define WGMMA_REGISTERS_14 "%112, %113, %114, %115, %116, %117, %118, %119"
#define WGMMA_REGISTERS_15 "%120, %121, %122, %123, %124, %125, %126, %127"
#define WGMMA_SUMS(g)                                                                               \
    "+f"(d[8 * g]), "+f"(d[8 * g + 1]), "+f"(d[8 * g + 2]), "+f"(d[8 * g + 3]), "+f"(d[8 * g + 4]), \
        "+f"(d[8 * g + 5]), "+f"(d[8 * g + 6]), "+f"(d[8 * g + 7])

#if W_DTYPE == DTYPE_BF16
#define WGMMA_TYPES "k16.f32.bf16.bf16"
#else
#define WGMMA_TYPES "k16.f32.f16.f16"
#endif
#define WGMMA(N, REGISTERS, A, B, KEEP, ...)                                                        \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" KEEP ", 0;\n"                                 \
                 "wgmma.mma_async.sync.aligned.m64n" #N WGMMA_TYPES " {" REGISTERS "}, %" A ", %" B \
                 ", p, 1, 1, 0, 0;\n}"                                                              \
                 : __VA_ARGS__                                                                      \
                 : "l"(a), "l"(b), "r"(keep))

#define WGMMA_LIST_16 WGMMA_REGISTERS_0
#define WGMMA_LIST_32 WGMMA_LIST_16 ", " WGMMA_REGISTERS_1
#define WGMMA_LIST_64 WGMMA_LIST_32 ", " WGMMA_REGISTERS_2 ", " WGMMA_REGISTERS_3
#define WGMMA_LIST_128                                                                     \
    WGMMA_LIST_64 ", " WGMMA_REGISTERS_4 ", " WGMMA_REGISTERS_5 ", " WGMMA_REGISTERS_6 "," \
                  " " WGMMA_REGISTERS_7
#define WGMMA_LIST_256                                                                     \
    WGMMA_LIST_128 ", " WGMMA_REGISTERS_8 ", " WGMMA_REGISTERS_9 ", " WGMMA_REGISTERS_10   \
                   ", " WGMMA_REGISTERS_11 ", " WGMMA_REGISTERS_12 ", " WGMMA_REGISTERS_13 \
                   ", " WGMMA_REGISTERS_14 ", " WGMMA_REGISTERS_15
#define WGMMA_LIST_96 WGMMA_LIST_64 ", " WGMMA_REGISTERS_4 ", " WGMMA_REGISTERS_5
#define WGMMA_LIST_192                                                                   \
    WGMMA_LIST_128 ", " WGMMA_REGISTERS_8 ", " WGMMA_REGISTERS_9 ", " WGMMA_REGISTERS_10 \
                   ", " WGMMA_REGISTERS_11
#define WGMMA_SUMS_16 WGMMA_SUMS(0)
#define WGMMA_SUMS_32 WGMMA_SUMS_16, WGMMA_SUMS(1)
#define WGMMA_SUMS_64 WGMMA_SUMS_32, WGMMA_SUMS(2), WGMMA_SUMS(3)
#define WGMMA_SUMS_128 WGMMA_SUMS_64, WGMMA_SUMS(4), WGMMA_SUMS(5), WGMMA_SUMS(6), WGMMA_SUMS(7)
#define WGMMA_SUMS_256                                                                            \
    WGMMA_SUMS_128, WGMMA_SUMS(8), WGMMA_SUMS(9), WGMMA_SUMS(10), WGMMA_SUMS(11), WGMMA_SUMS(12), \
        WGMMA_SUMS(13), WGMMA_SUMS(14), WGMMA_SUMS(15)

#define WGMMA_SUMS_96 WGMMA_SUMS_64, WGMMA_SUMS(4), WGMMA_SUMS(5)
#define WGMMA_SUMS_192 WGMMA_SUMS_128, WGMMA_SUMS(8), WGMMA_SUMS(9), WGMMA_SUMS(10), WGMMA_SUMS(11)

// d = a b, or d += a b where `keep`: 64 rows of a by N rows of b, 32 bytes of k. Lane l of warp w holds of
// every eight columns j: rows 16 w + l / 4 (d[4 j], d[4 j + 1]) and 8 more (d[4 j + 2], d[4 j + 3]) of
// columns 8 j + 2 (l % 4) and the next.
template <int N>
__device__ __forceinline__ void multiply_rows(float *d, unsigned long long a, unsigned long long b,
                                              int keep) {
    static_assert(N == 16 || N == 32 || N == 64 || N == 96 || N == 128 || N == 192 || N == 256,
                  "these instructions are written");
    if constexpr (N == 16) WGMMA(16, WGMMA_LIST_16, "8", "9", "10", WGMMA_SUMS_16);
    if constexpr (N == 32) WGMMA(32, WGMMA_LIST_32, "16", "17", "18", WGMMA_SUMS_32);
    if constexpr (N == 64) WGMMA(64, WGMMA_LIST_64, "32", "33", "34", WGMMA_SUMS_64);
    if constexpr (N == 96) WGMMA(96, WGMMA_LIST_96, "48", "49", "50", WGMMA_SUMS_96);
    if constexpr (N == 128) WGMMA(128, WGMMA_LIST_128, "64", "65", "66", WGMMA_SUMS_128);
    if constexpr (N == 192) WGMMA(192, WGMMA_LIST_192, "96", "97", "98", WGMMA_SUMS_192);
    if constexpr (N == 256) WGMMA(256, WGMMA_LIST_256, "128", "129", "130", WGMMA_SUMS_256);
}
