/* SPDX-License-Identifier: Apache-2.0 */
// Grouped GEMM of codes of 8 bits, e4m3 or int8, by mma.sync m16n8k32; weights may be e2m1, all of whose
// numbers e4m3 has. What it is a part of is told in gemm_frame.cuh.
//
// -DGROUP: codes of a row that share a scale; they are added from zero, and the sum enters a float32 sum,
// sum = fma(dot, sa * sb, sum). 0: there is one scale for all of k, and the product of both multiplies the
// dot once, at the end. Sums of int8 are exact in int32, and rounded when they become float32.
#include "kernels/device/gemm_fragments.cuh"
#include "kernels/device/gemm_scales.cuh"

#if A_DTYPE == DTYPE_E4M3 && (W_DTYPE == DTYPE_E4M3 || W_DTYPE == DTYPE_E2M1)
typedef float dot_sum;
#define MMA_TYPES "f32.e4m3.e4m3.f32"
#define MMA_SUM "+f"
#elif A_DTYPE == DTYPE_I8 && W_DTYPE == DTYPE_I8
typedef int dot_sum;
#define MMA_TYPES "s32.s8.s8.s32"
#define MMA_SUM "+r"
#else
#error "this grouped GEMM multiplies e4m3 and int8"
#endif
static_assert(GROUP % 32 == 0, "an instruction's codes have one scale");

__device__ __forceinline__ void multiply_add(dot_sum (&d)[4], const unsigned (&a)[4], unsigned b0,
                                             unsigned b1) {
    asm("mma.sync.aligned.m16n8k32.row.col." MMA_TYPES
        " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : MMA_SUM(d[0]), MMA_SUM(d[1]), MMA_SUM(d[2]), MMA_SUM(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four codes of e2m1, the first in the lowest nibble, as four of e4m3.
__device__ __forceinline__ unsigned widened(unsigned codes) {
    const unsigned signs = codes & 0x8888, magnitudes = __byte_perm(0x3C383000, 0x4C484440, codes & 0x7777);
    return magnitudes | (signs & 0x8) << 4 | (signs & 0x80) << 8 | (signs & 0x800) << 12 |
           (signs & 0x8000) << 16;
}

// Those of tiles t and t + 1 of k at `step`, as mma.sync takes them.
__device__ __forceinline__ void load_weights(unsigned (&w)[4], const unsigned char *stage, int n, int t,
                                             int step) {
#if W_DTYPE == DTYPE_E2M1
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const unsigned char *chunk = stage + TILE_A_BYTES + w_chunk(n + column_of(t + i, lane / 4), step);
        w[2 * i] = widened(*(const unsigned short *)(chunk + 2 * (lane % 4)));
        w[2 * i + 1] = widened(*(const unsigned short *)(chunk + 8 + 2 * (lane % 4)));
    }
#else
    load_columns(w, stage, n, t, step);
#endif
}

struct warp_tile {
    dot_sum dot[WARP_M / 16][WARP_N / 8][4]; // of the group that is under way
#if GROUP
    float sum[WARP_M / 16][WARP_N / 8][4];
#endif
    warp_place at;

    static __device__ __forceinline__ int a_offset(int row, int chunk) {
        return a_chunk(row, chunk);
    }
    static __device__ __forceinline__ int w_offset(int row, int chunk) {
        return w_chunk(row, chunk);
    }

#if GROUP
    // Adds the dots of a group to the sums, and begins anew.
    __device__ __forceinline__ void promote(const block &b, int group) {
        float a_scale[WARP_M / 16][2];
#pragma unroll
        for (int i = 0; i < WARP_M / 16; i++)
#pragma unroll
            for (int half = 0; half < 2; half++)
                a_scale[i][half] = scale_of_row(b, at.m0 + lane_row(i, half), group);
#pragma unroll
        for (int t = 0; t < WARP_N / 8; t++)
#pragma unroll
            for (int odd = 0; odd < 2; odd++) {
                const float w_scale = scale_of_column(b, b.n0 + at.n0 + lane_column(t, odd), group);
#pragma unroll
                for (int i = 0; i < WARP_M / 16; i++)
#pragma unroll
                    for (int half = 0; half < 2; half++) {
                        dot_sum &d = dot[i][t][2 * half + odd];
                        float &s = sum[i][t][2 * half + odd];
                        s = fmaf((float)d, a_scale[i][half] * w_scale, s);
                        d = 0;
                    }
            }
    }
#endif

    __device__ __forceinline__ void add_stage(const block &b, const unsigned char *stage, int k0) {
#pragma unroll 1 // more of it, and 128 sums of 64x128 by four warps do not fit into registers
        for (int step = 0; step < BLOCK_K / 32; step++) {
            const int k = k0 + 32 * step;
            if (k >= b.p.k) break; // a group there has no scale
            unsigned a[WARP_M / 16][4];
#pragma unroll
            for (int i = 0; i < WARP_M / 16; i++) load_rows(a[i], stage, at.m0 + 16 * i, step);
#pragma unroll
            for (int t = 0; t < WARP_N / 8; t += 2) {
                unsigned w[4];
                load_weights(w, stage, at.n0, t, step);
#pragma unroll
                for (int i = 0; i < WARP_M / 16; i++) {
                    multiply_add(dot[i][t], a[i], w[0], w[1]);
                    multiply_add(dot[i][t + 1], a[i], w[2], w[3]);
                }
            }
#if GROUP
            if ((k + 32) % GROUP == 0 || k + 32 >= b.p.k) promote(b, k / GROUP);
#endif
        }
    }

    __device__ __forceinline__ void store(const block &b, const element *bias) const {
        store_tile(b, at, bias, [&](int i, int t, int half, int odd) {
#if GROUP
            return sum[i][t][2 * half + odd];
#else
            const float a_scale = scale_of_row(b, at.m0 + lane_row(i, half), 0);
            const float w_scale = scale_of_column(b, b.n0 + at.n0 + lane_column(t, odd), 0);
            return (float)dot[i][t][2 * half + odd] * (a_scale * w_scale);
#endif
        });
    }
};

#include "kernels/device/gemm_entry.cuh"
