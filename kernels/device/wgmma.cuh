/* SPDX-License-Identifier: Apache-2.0 */
// wgmma (sm_90a): a warpgroup multiplies 64 rows of one operand by N rows of another, both in shared memory
// in slices of 128 bytes of k with the swizzle of that width, by 32 bytes of k an instruction.
#pragma once

#include "kernels/device/gemm_frame.cuh"

// Where an operand lies: rows of 128 bytes, whose chunks of 16 are XORed with row % 8; eight rows repeat the
// pattern, 1024 bytes further. The tile begins on 1024 bytes; 32 bytes of k further is 2 units of address.
__device__ __forceinline__ unsigned operand_at(const unsigned char *tile) {
    const unsigned unused = 1 << 16;
    return unused | (shared_address(tile) & 0x3FFFF) >> 4;
}
__device__ __forceinline__ unsigned long long descriptor_of(unsigned operand) {
    const unsigned swizzle_128 = 1u << 30, rows_8 = 1024 >> 4;
    return (unsigned long long)(swizzle_128 | rows_8) << 32 | operand;
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

#if W_DTYPE == DTYPE_I8
typedef int product_sum;
#define WGMMA_SUM "r"
#define WGMMA_TYPES "k32.s32.s8.s8"
#define WGMMA_SIGNS ""
#elif W_DTYPE == DTYPE_E4M3
typedef float product_sum;
#define WGMMA_SUM "f"
#define WGMMA_TYPES "k32.f32.e4m3.e4m3"
#define WGMMA_SIGNS ", 1, 1" // both operands as they are
#else
typedef float product_sum;
#define WGMMA_SUM "f"
#if W_DTYPE == DTYPE_BF16
#define WGMMA_TYPES "k16.f32.bf16.bf16"
#else
#define WGMMA_TYPES "k16.f32.f16.f16"
#endif
#define WGMMA_SIGNS ", 1, 1, 0, 0" // and neither transposed
#endif

// The sums of a thread by eights: their numbers as operands, and the operands, read and written ("+") or
// written alone ("=").
#define WGMMA_8_0 "%0, %1, %2, %3, %4, %5, %6, %7"
#define WGMMA_8_1 "%8, %9, %10, %11, %12, %13, %14, %15"
#define WGMMA_8_2 "%16, %17, %18, %19, %20, %21, %22, %23"
#define WGMMA_8_3 "%24, %25, %26, %27, %28, %29, %30, %31"
#define WGMMA_8_4 "%32, %33, %34, %35, %36, %37, %38, %39"
#define WGMMA_8_5 "%40, %41, %42, %43, %44, %45, %46, %47"
#define WGMMA_8_6 "%48, %49, %50, %51, %52, %53, %54, %55"
#define WGMMA_8_7 "%56, %57, %58, %59, %60, %61, %62, %63"
#define WGMMA_8_8 "%64, %65, %66, %67, %68, %69, %70, %71"
#define WGMMA_8_9 "%72, %73, %74, %75, %76, %77, %78, %79"
#define WGMMA_8_10 "%80, %81, %82, %83, %84, %85, %86, %87"
#define WGMMA_8_11 "%88, %89, %90, %91, %92, %93, %94, %95"
#define WGMMA_8_12 "%96, %97, %98, %99, %100, %101, %102, %103"
#define WGMMA_8_13 "%104, %105, %106, %107, %108, %109, %110, %111"
#define WGMMA_8_14 "%112, %113, %114, %115, %116, %117, %118, %119"
#define WGMMA_8_15 "%120, %121, %122, %123, %124, %125, %126, %127"
#define WGMMA_NUMBERS_16 WGMMA_8_0
#define WGMMA_NUMBERS_32 WGMMA_NUMBERS_16 ", " WGMMA_8_1
#define WGMMA_NUMBERS_64 WGMMA_NUMBERS_32 ", " WGMMA_8_2 ", " WGMMA_8_3
#define WGMMA_NUMBERS_96 WGMMA_NUMBERS_64 ", " WGMMA_8_4 ", " WGMMA_8_5
#define WGMMA_NUMBERS_128 WGMMA_NUMBERS_96 ", " WGMMA_8_6 ", " WGMMA_8_7
#define WGMMA_NUMBERS_144 WGMMA_NUMBERS_128 ", " WGMMA_8_8
#define WGMMA_NUMBERS_256                                                                           \
    WGMMA_NUMBERS_128 ", " WGMMA_8_8 ", " WGMMA_8_9 ", " WGMMA_8_10 ", " WGMMA_8_11 ", " WGMMA_8_12 \
                      ", " WGMMA_8_13 ", " WGMMA_8_14 ", " WGMMA_8_15
#define WGMMA_8(io, i)                                                                      \
    io WGMMA_SUM(d[8 * i]), io WGMMA_SUM(d[8 * i + 1]), io WGMMA_SUM(d[8 * i + 2]),         \
        io WGMMA_SUM(d[8 * i + 3]), io WGMMA_SUM(d[8 * i + 4]), io WGMMA_SUM(d[8 * i + 5]), \
        io WGMMA_SUM(d[8 * i + 6]), io WGMMA_SUM(d[8 * i + 7])
#define WGMMA_SUMS_16(io) WGMMA_8(io, 0)
#define WGMMA_SUMS_32(io) WGMMA_SUMS_16(io), WGMMA_8(io, 1)
#define WGMMA_SUMS_64(io) WGMMA_SUMS_32(io), WGMMA_8(io, 2), WGMMA_8(io, 3)
#define WGMMA_SUMS_96(io) WGMMA_SUMS_64(io), WGMMA_8(io, 4), WGMMA_8(io, 5)
#define WGMMA_SUMS_128(io) WGMMA_SUMS_96(io), WGMMA_8(io, 6), WGMMA_8(io, 7)
#define WGMMA_SUMS_144(io) WGMMA_SUMS_128(io), WGMMA_8(io, 8)
#define WGMMA_SUMS_256(io)                                                                                 \
    WGMMA_SUMS_128(io), WGMMA_8(io, 8), WGMMA_8(io, 9), WGMMA_8(io, 10), WGMMA_8(io, 11), WGMMA_8(io, 12), \
        WGMMA_8(io, 13), WGMMA_8(io, 14), WGMMA_8(io, 15)

// For n rows of b; a, b and whether d is read are operands of these numbers.
#define WGMMA(n, io, number_a, number_b, number_keep)                                      \
    if constexpr (N == n)                                                                  \
    asm volatile("{\n.reg .pred keep;\nsetp.ne.b32 keep, %" number_keep ", 0;\n"           \
                 "wgmma.mma_async.sync.aligned.m64n" #n WGMMA_TYPES " {" WGMMA_NUMBERS_##n \
                 "}, %" number_a ", %" number_b ", keep" WGMMA_SIGNS ";\n}"                \
                 : WGMMA_SUMS_##n(io)                                                      \
                 : "l"(descriptor_of(a)), "l"(descriptor_of(b)), "n"(keep))
#define WGMMA_ANY(io)                 \
    WGMMA(16, io, "8", "9", "10");    \
    WGMMA(32, io, "16", "17", "18");  \
    WGMMA(64, io, "32", "33", "34");  \
    WGMMA(96, io, "48", "49", "50");  \
    WGMMA(128, io, "64", "65", "66"); \
    WGMMA(144, io, "72", "73", "74"); \
    WGMMA(256, io, "128", "129", "130")

// d += a b: 64 rows of a by N rows of b, 32 bytes of k. Lane l of warp w holds of
// every eight columns j: rows 16 w + l / 4 (d[4 j], d[4 j + 1]) and 8 more (d[4 j + 2], d[4 j + 3]) of
// columns 8 j + 2 (l % 4) and the next.
template <int N> __device__ __forceinline__ void add_products(product_sum *d, unsigned a, unsigned b) {
    constexpr int keep = 1;
    static_assert(N == 16 || N == 32 || N == 64 || N == 96 || N == 128 || N == 144 || N == 256,
                  "these instructions are written");
    WGMMA_ANY("+");
}

// d = a b. The compiler knows that what d was is not read: where a loop has to bring it along, the
// instructions may have to wait for that.
template <int N> __device__ __forceinline__ void set_products(product_sum *d, unsigned a, unsigned b) {
    constexpr int keep = 0;
    WGMMA_ANY("=");
}
