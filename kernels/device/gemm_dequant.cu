/* SPDX-License-Identifier: Apache-2.0 */
// Grouped GEMM of bf16 or fp16 activations, or e2m1 codes of such, with weights that are codes, by mma.sync
// m16n8k16. What it is a part of is told in gemm_frame.cuh.
//
// -DGROUP: codes of a row of w that share a scale s, and -DZEROS=1 a zero point z of their own; else -DZERO
// is that of all. What is multiplied is rnd((q - z) * s) in the element type; of e2m1 on both sides
// rnd(q * s * g) with the global scales g, where q * s is exact. 0: there is one scale for all of k, int8
// codes are multiplied as they are, and the scale multiplies the sum at the end.
#include "kernels/device/gemm_fragments.cuh"
#include "kernels/device/gemm_mma16.cuh"
#include "kernels/device/gemm_scales.cuh"

constexpr bool A_IS_CODES = A_DTYPE == DTYPE_E2M1;
static_assert(A_IS_CODES ? GROUP == 16 : GROUP % 16 == 0, "an instruction's codes have one scale");
constexpr int GROUP_LENGTH = GROUP ? GROUP : 16;
constexpr int W_PER_CHUNK = 128 / bits_of(W_DTYPE);

__device__ __forceinline__ float decode_e2m1(unsigned code) { // twice the magnitudes, a digit each
    const float magnitude = (float)(0xC8643210u >> 4 * (code & 7) & 15) * 0.5f;
    return code & 8 ? -magnitude : magnitude;
}

// The number of a code without its scale and zero: exact.
__device__ __forceinline__ float decode_code(unsigned code) {
#if W_DTYPE == DTYPE_I8
    return (float)(signed char)code;
#elif W_DTYPE == DTYPE_U8 || W_DTYPE == DTYPE_U4
    return (float)code;
#elif W_DTYPE == DTYPE_E2M1
    return decode_e2m1(code);
#else
#error "weights are int8, uint8, uint4 or e2m1 codes"
#endif
}

// Packed zeros: that of an even column in the low nibble.
__device__ __forceinline__ float zero_of_column(const block &b, int n, int group) {
#if ZEROS
    if (n >= b.p.n) return 0.0f;
    const unsigned char *zeros = (const unsigned char *)b.p.w_zero + b.expert * b.p.w_zero_expert;
    if (bits_of(W_DTYPE) == 4) return (float)(zeros[n / 2 * b.p.w_zero_row + group] >> n % 2 * 4 & 15);
    return (float)zeros[n * b.p.w_zero_row + group];
#else
    return ZERO;
#endif
}

struct warp_tile {
    float sum[WARP_M / 16][WARP_N / 8][4];
    warp_place at;

    static __device__ __forceinline__ int a_offset(int row, int chunk) {
        return a_chunk(row, chunk);
    }
    static __device__ __forceinline__ int w_offset(int row, int chunk) {
        return w_chunk(row, chunk);
    }

    // Sixteen rows of codes from m on at k16 become numbers, as ldmatrix gives them.
    __device__ __forceinline__ void make_rows(const block &b, unsigned (&r)[4], const unsigned char *stage,
                                              int m, int k16, int group, float global) const {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = m + lane / 4 + 8 * half;
            const unsigned char *chunk = stage + a_chunk(row, k16 / 2);
            const float scale = scale_of_row(b, row, group);
#pragma unroll
            for (int high = 0; high < 2; high++) {
                const unsigned both = chunk[k16 % 2 * 8 + lane % 4 + 4 * high];
                r[2 * high + half] = encode(decode_e2m1(both & 15) * scale * global) |
                                     (unsigned)encode(decode_e2m1(both >> 4) * scale * global) << 16;
            }
        }
    }

    // Two neighbouring weights of a column of the tile, packed: those of k and k + 1 of the stage.
    __device__ __forceinline__ unsigned weights(const unsigned char *stage, int column, int k, float scale,
                                                float zero, float global) const {
        const unsigned char *chunk = stage + TILE_A_BYTES + w_chunk(column, k / W_PER_CHUNK);
        const int inside = k % W_PER_CHUNK;
        unsigned low, high;
        if (bits_of(W_DTYPE) == 8) {
            const unsigned both = *(const unsigned short *)(chunk + inside);
            low = both & 255, high = both >> 8;
        } else {
            const unsigned both = chunk[inside / 2];
            low = both & 15, high = both >> 4;
        }
        if (!GROUP) return encode(decode_code(low)) | (unsigned)encode(decode_code(high)) << 16;
        return encode((decode_code(low) - zero) * scale * global) |
               (unsigned)encode((decode_code(high) - zero) * scale * global) << 16;
    }

    __device__ __forceinline__ void add_stage(const block &b, const unsigned char *stage, int k0) {
        const int lane = threadIdx.x % 32;
        const global_scales globals = A_IS_CODES ? globals_of(b) : global_scales{1.0f, 1.0f, 1.0f};
        float scale[WARP_N / 8], zero[WARP_N / 8];
#pragma unroll 2
        for (int k16 = 0; k16 < BLOCK_K / 16; k16++) {
            const int k = k0 + 16 * k16;
            if (k >= b.p.k) break; // its group has no scale
            if (GROUP && (k16 == 0 || k % GROUP_LENGTH == 0)) {
#pragma unroll
                for (int t = 0; t < WARP_N / 8; t++) {
                    const int n = b.n0 + at.n0 + column_of(t, lane / 4);
                    scale[t] = scale_of_column(b, n, k / GROUP_LENGTH);
                    zero[t] = zero_of_column(b, n, k / GROUP_LENGTH);
                }
            }
            unsigned a[WARP_M / 16][4];
#pragma unroll
            for (int i = 0; i < WARP_M / 16; i++)
                if (A_IS_CODES)
                    make_rows(b, a[i], stage, at.m0 + 16 * i, k16, k / GROUP_LENGTH, globals.of_rows);
                else
                    load_rows(a[i], stage, at.m0 + 16 * i, k16);
#pragma unroll
            for (int t = 0; t < WARP_N / 8; t++) {
                const int column = at.n0 + column_of(t, lane / 4), first = 16 * k16 + 2 * (lane % 4);
                const float global = globals.of_column(b.n0 + column);
                const unsigned w0 = weights(stage, column, first, scale[t], zero[t], global);
                const unsigned w1 = weights(stage, column, first + 8, scale[t], zero[t], global);
#pragma unroll
                for (int i = 0; i < WARP_M / 16; i++) multiply_add(sum[i][t], a[i], w0, w1);
            }
        }
    }

    __device__ __forceinline__ void store(const block &b, const element *bias) const {
        store_tile(b, at, bias, [&](int i, int t, int half, int odd) {
            const float v = sum[i][t][2 * half + odd];
            return GROUP ? v : v * scale_of_column(b, b.n0 + at.n0 + lane_column(t, odd), 0);
        });
    }
};

#include "kernels/device/gemm_entry.cuh"
