/* SPDX-License-Identifier: Apache-2.0 */
// Grouped GEMM of bf16 and fp16 by mma.sync m16n8k16. What it is a part of is told in gemm_frame.cuh.
#include "kernels/device/gemm_warps.cuh"

#if DTYPE != DTYPE_BF16 && DTYPE != DTYPE_FP16
#error "this grouped GEMM multiplies bf16 and fp16"
#endif

// Which column of the warp tile column j of the mma's n8 tile t holds: OCTETS tiles interleave so that a
// thread, which owns columns 2q and 2q+1 of each, owns 2*OCTETS neighbours in memory and stores them at once.
constexpr int OCTETS = WARP_N % 32 == 0 ? 4 : 2;
// Of `a`, ldmatrix reads eight consecutive rows; of w, those of eight columns j of a tile t.
constexpr int A_SPREAD = 1, B_SPREAD = OCTETS == 4 ? 3 : 2;
__device__ __forceinline__ int column_of(int t, int j) {
    return t / OCTETS * (8 * OCTETS) + j / 2 * (2 * OCTETS) + t % OCTETS * 2 + j % 2;
}

__device__ __forceinline__ void load_matrices(unsigned (&r)[4], const unsigned char *at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(at))
                 : "memory");
}

#if DTYPE == DTYPE_BF16
#define MMA_TYPE "bf16"
#else
#define MMA_TYPE "f16"
#endif
__device__ __forceinline__ void multiply_add(float (&d)[4], const unsigned (&a)[4], unsigned b0,
                                             unsigned b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32." MMA_TYPE "." MMA_TYPE
        ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Operands of one k16 step: 16x16 tiles of a, and pairs of 8-column tiles of w.
struct operands {
    unsigned a[WARP_M / 16][4], w[WARP_N / 16][4];
};

struct warp_tile {
    float sum[WARP_M / 16][WARP_N / 8][4];
    warp_place at;

    static __device__ __forceinline__ int a_offset(int row, int chunk) {
        return chunk_offset<A_SPREAD>(row, chunk);
    }
    static __device__ __forceinline__ int w_offset(int row, int chunk) {
        return chunk_offset<B_SPREAD>(row, chunk);
    }

    // Lane l gives ldmatrix the address of row l % 8 of its matrix l / 8: of a, the matrices are (rows 0-7,
    // 8-15) by (k 0-7, 8-15) with rows first, as the mma's registers want them; of w, (tile t, t + 1) by k
    // with k first.
    __device__ __forceinline__ void load(operands &o, const unsigned char *stage, int k16) const {
        const int lane = threadIdx.x % 32, matrix = lane / 8, row = lane % 8;
#pragma unroll
        for (int i = 0; i < WARP_M / 16; i++)
            load_matrices(o.a[i],
                          stage + a_offset(at.m0 + 16 * i + matrix % 2 * 8 + row, 2 * k16 + matrix / 2));
#pragma unroll
        for (int j = 0; j < WARP_N / 16; j++)
            load_matrices(o.w[j],
                          stage + TILE_A_BYTES +
                              w_offset(at.n0 + column_of(2 * j + matrix / 2, row), 2 * k16 + matrix % 2));
    }

    // The operands of the next k16 step are loaded while this step's products are under way.
    __device__ __forceinline__ void add_stage(const unsigned char *stage, int) {
        operands o[2];
        load(o[0], stage, 0);
#pragma unroll 4
        for (int k16 = 0; k16 < BLOCK_K / 16; k16++) {
            if (k16 + 1 < BLOCK_K / 16) load(o[(k16 + 1) % 2], stage, k16 + 1);
            const operands &now = o[k16 % 2];
#pragma unroll
            for (int i = 0; i < WARP_M / 16; i++)
#pragma unroll
                for (int j = 0; j < WARP_N / 8; j++)
                    multiply_add(sum[i][j], now.a[i], now.w[j / 2][j % 2 * 2], now.w[j / 2][j % 2 * 2 + 1]);
        }
    }

    // Lane l holds rows l / 4 and l / 4 + 8, columns 2 * (l % 4) and the next, of each 16x8 tile.
    __device__ __forceinline__ void store(const block &b, const element *bias) const {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int i = 0; i < WARP_M / 16; i++)
#pragma unroll
            for (int half = 0; half < 2; half++)
#pragma unroll
                for (int group = 0; group < WARP_N / 8 / OCTETS; group++) {
                    float v[2 * OCTETS];
#pragma unroll
                    for (int t = 0; t < OCTETS; t++) {
                        v[2 * t] = sum[i][group * OCTETS + t][2 * half];
                        v[2 * t + 1] = sum[i][group * OCTETS + t][2 * half + 1];
                    }
                    finish<2 * OCTETS>(b, at.m0 + 16 * i + 8 * half + lane / 4,
                                       b.n0 + at.n0 + column_of(group * OCTETS, 2 * (lane % 4)), v, bias);
                }
    }
};

#include "kernels/device/gemm_entry.cuh"
