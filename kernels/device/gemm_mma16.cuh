/* SPDX-License-Identifier: Apache-2.0 */
// mma.sync m16n8k16 of bf16 and fp16.
#pragma once

#if DTYPE == DTYPE_BF16
#define MMA_TYPE "bf16"
#elif DTYPE == DTYPE_FP16
#define MMA_TYPE "f16"
#else
#error "this grouped GEMM multiplies bf16 and fp16"
#endif
__device__ __forceinline__ void multiply_add(float (&d)[4], const unsigned (&a)[4], unsigned b0,
                                             unsigned b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32." MMA_TYPE "." MMA_TYPE
        ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
