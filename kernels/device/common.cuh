/* SPDX-License-Identifier: Apache-2.0 */
// What every kernel shares: the element type chosen by -DDTYPE (numbered as mp_dtype), its conversions, and
// short vectors of it. No toolkit header is included anywhere in device code, so NVRTC needs none at run
// time.
#pragma once

#include "kernels/device/index.cuh"

#define DTYPE_BF16 0
#define DTYPE_FP16 1
#define DTYPE_FP32 2
#define DTYPE_FP64 3
#define DTYPE_E4M3 5
#define DTYPE_I8 7
#define DTYPE_U8 8
#define DTYPE_U4 10
#define DTYPE_E2M1 11
#define DTYPE_UE8M0 12

// Of an element; of packed formats two lie in a byte.
__device__ constexpr int bits_of(int dtype) {
    return dtype == DTYPE_FP64                          ? 64
           : dtype == DTYPE_FP32                        ? 32
           : dtype == DTYPE_BF16 || dtype == DTYPE_FP16 ? 16
           : dtype == DTYPE_U4 || dtype == DTYPE_E2M1   ? 4
                                                        : 8;
}

#ifndef DTYPE
#error "DTYPE must be given"
#endif
// The operands of a GEMM, where they are codes.
#ifndef A_DTYPE
#define A_DTYPE DTYPE
#endif
#ifndef W_DTYPE
#define W_DTYPE DTYPE
#endif
#if DTYPE == DTYPE_BF16 || DTYPE == DTYPE_FP16
typedef unsigned short element;
typedef float accumulator;
#elif DTYPE == DTYPE_FP32
typedef float element;
typedef float accumulator;
#elif DTYPE == DTYPE_FP64
typedef double element;
typedef double accumulator;
#else
#error "DTYPE must name a format that these kernels have"
#endif

// Exact.
__device__ __forceinline__ accumulator decode(element v) {
#if DTYPE == DTYPE_BF16
    return __uint_as_float((unsigned)v << 16);
#elif DTYPE == DTYPE_FP16
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(v));
    return f;
#else
    return v;
#endif
}

// One rounding to nearest even; NaN becomes 7FFF.
__device__ __forceinline__ element encode(accumulator v) {
#if DTYPE == DTYPE_BF16
    element r;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(v));
    return r;
#elif DTYPE == DTYPE_FP16
    element r;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(v));
    return r;
#else
    return v;
#endif
}

#if DTYPE == DTYPE_BF16 || DTYPE == DTYPE_FP16
// Two of them, the first in the lower half.
__device__ __forceinline__ unsigned encode_pair(float low, float high) {
    unsigned r;
#if DTYPE == DTYPE_BF16
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
#else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
#endif
    return r;
}
#endif

// COUNT elements moved by one memory instruction; the address must be a multiple of the size.
template <int COUNT> struct alignas(COUNT * sizeof(element)) elements { element at[COUNT]; };
