/* SPDX-License-Identifier: Apache-2.0 */
// The grouped GEMM by wgmma (gemm_wgmma.cu): what a warpgroup multiplies, and how results leave it.
#pragma once

#include "kernels/device/gemm_wgmma_memory.cuh"

// Four 8x8 matrices, as wgmma leaves them in a warp, transposed: lane l gives the address of row l % 8 of
// matrix l / 8.
__device__ __forceinline__ void store_transposed(unsigned to, unsigned a, unsigned b, unsigned c,
                                                 unsigned d) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(a),
                 "r"(b), "r"(c), "r"(d)
                 : "memory");
}

struct warpgroup_tile {
    product_sum sum[GROUPS][BLOCK_M / 2]; // with groups: of the one that is under way
#if GROUP
    float all[GROUPS][BLOCK_M / 2];
#endif

    // Nobody reads this stage any more: so many arrive in each block that fills it.
    static __device__ __forceinline__ void release(mbarrier *empty) {
        const int lane = threadIdx.x % 32;
        if (CLUSTER > 1 && lane < CLUSTER)
            arrive_in(empty, lane);
        else if (CLUSTER == 1 && lane == 0)
            arrive(empty);
    }

    // Of a block without rows, beside one that has some.
    static __device__ __forceinline__ void pass(shared_memory &shared, ring<STAGES> &stage, int steps) {
#pragma unroll 1
        for (int step = 0; step < steps; step++) {
            wait_for(&shared.full[stage.at], stage.parity);
            release(&shared.empty[stage.at]);
            stage.next();
        }
    }

    // The products of a stage, for the first N rows.
    template <int N>
    __device__ __forceinline__ void add_stage(const unsigned char *stage, int warpgroup, bool keep) {
        const unsigned a = operand_at(stage);
        const unsigned w = operand_at(stage + SLICES * A_SLICE + warpgroup * (GROUPS * 64 * 128));
        begin_products();
#pragma unroll
        for (int i = 0; i < SLICES * 4; i++)
#pragma unroll
            for (int g = 0; g < GROUPS; g++) {
                const unsigned w_at = w + (i / 4 * W_SLICE + g * 64 * 128 + i % 4 * 32) / 16,
                               a_at = a + (i / 4 * A_SLICE + i % 4 * 32) / 16;
                if (GROUP && i == 0)
                    set_products<N>(sum[g], w_at, a_at);
                else
                    add_products<N>(sum[g], w_at, a_at, keep || i > 0);
            }
        commit_products();
    }

    // Behind a wait for them: nobody has read the sums before.
    template <int N> __device__ __forceinline__ void have_products() {
#pragma unroll
        for (int g = 0; g < GROUPS; g++)
#pragma unroll
            for (int i = 0; i < N / 2; i++) asm volatile("" : "+" WGMMA_SUM(sum[g][i])::"memory");
    }

#if GROUP
    // Adds the sums of a group to those of all.
    template <int N>
    __device__ __forceinline__ void promote(const float *a_scale, const float (&w_scale)[GROUPS],
                                            bool first) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int j = 0; j < N / 8; j++) {
            const float2 scale = *(const float2 *)&a_scale[8 * j + lane % 4 * 2];
#pragma unroll
            for (int g = 0; g < GROUPS; g++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    all[g][4 * j + i] =
                        fmaf((float)sum[g][4 * j + i], (i % 2 ? scale.y : scale.x) * w_scale[g],
                             first ? 0.0f : all[g][4 * j + i]);
        }
    }

    // All of k, for the first N rows: each group is added from zero.
    template <int N>
    __device__ __forceinline__ void multiply(const mp_gemm_params &p, const tile_table &t,
                                             shared_memory &shared, ring<STAGES> &stage, int steps,
                                             int warpgroup) {
#pragma unroll 1
        for (int step = 0; step < steps; step++) {
            float w_scale[GROUPS];
#pragma unroll
            for (int g = 0; g < GROUPS; g++)
                w_scale[g] = scale_of_column({p, t.rows, nullptr, t.n0, t.expert},
                                             t.n0 + 64 * (warpgroup * GROUPS + g), step);
            wait_for(&shared.full[stage.at], stage.parity);
            fence_async();
            add_stage<N>(shared.stages[stage.at], warpgroup, false);
            wait_products<0>();
            have_products<N>();
            promote<N>(shared.a_scale[stage.at], w_scale, step == 0);
            __syncwarp(); // all lanes have read the scales
            release(&shared.empty[stage.at]);
            stage.next();
        }
    }
    __device__ __forceinline__ float result(int g, int i) const {
        return all[g][i];
    }
#else
    // All of k, for the first N rows. A stage is multiplied while the products of the one before come in.
    template <int N>
    __device__ __forceinline__ void multiply(const mp_gemm_params &, const tile_table &,
                                             shared_memory &shared, ring<STAGES> &stage, int steps,
                                             int warpgroup) {
        int last = 0;
#pragma unroll 1
        for (int step = 0; step < steps; step++) {
            wait_for(&shared.full[stage.at], stage.parity);
            fence_async();
            add_stage<N>(shared.stages[stage.at], warpgroup, step > 0);
            wait_products<1>();
            if (step > 0) release(&shared.empty[last]);
            last = stage.at;
            stage.next();
        }
        wait_products<0>();
        release(&shared.empty[last]);
        have_products<N>();
    }
    __device__ __forceinline__ float result(int g, int i) const {
        return (float)sum[g][i];
    }
#endif

    // What `finish` of gemm_frame.cuh does, to the STAGED rows from `first` on and the 64 columns of a group.
    __device__ __forceinline__ void finish_sums(const mp_gemm_params &p, const tile_table &t,
                                                const element *bias, int g, int first, int n_group,
                                                float (&v)[STAGED / 2]) const {
        const int lane = threadIdx.x % 32, n = n_group + threadIdx.x / 32 % 4 * 16 + lane / 4;
        const float2 *weights = (const float2 *)&t.rows.weight[first + lane % 4 * 2];
#pragma unroll
        for (int i = 0; i < STAGED / 2; i++) v[i] = result(g, first / 2 + i);
#if defined(W_SCALE) && !GROUP
        const float2 *a_scales = (const float2 *)&t.a_scale[first + lane % 4 * 2];
        const float w_scale[2] = {scale_of_column({p, t.rows, nullptr, t.n0, t.expert}, n, 0),
                                  scale_of_column({p, t.rows, nullptr, t.n0, t.expert}, n + 8, 0)};
#pragma unroll
        for (int i = 0; i < STAGED / 2; i++)
            v[i] *= (i % 2 ? a_scales[i / 4 * 4].y : a_scales[i / 4 * 4].x) * w_scale[i / 2 % 2];
#endif
        if (bias) {
            const float b[2] = {n < p.n ? decode(bias[n]) : 0.0f, n + 8 < p.n ? decode(bias[n + 8]) : 0.0f};
#pragma unroll
            for (int i = 0; i < STAGED / 2; i++) v[i] = v[i] + b[i / 2 % 2];
        }
        if (p.topk_weights) {
#pragma unroll
            for (int i = 0; i < STAGED / 2; i++) v[i] *= i % 2 ? weights[i / 4 * 4].y : weights[i / 4 * 4].x;
        }
    }

    // Through shared memory, where rows of w become columns of out.
    __device__ __forceinline__ void store(const mp_gemm_params &p, const tile_table &t, element *staged,
                                          const element *bias, int warpgroup) const {
        constexpr int ROWS = STAGED / 16; // that a thread stores, 16 apart, of those that are staged
        const int warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32, barrier = threadIdx.x / 128;
        const int first_row = threadIdx.x % 128 / 8, chunk = lane % 8 * 8,
                  n0 = t.n0 + warpgroup * GROUPS * 64;
        const bool whole = p.n % 8 == 0 && !p.out_unaligned;
        const element *from = staged + first_row * STAGED_PITCH + chunk;
        const unsigned to =
            shared_address(staged + (lane / 16 * 8 + lane % 8) * STAGED_PITCH + 16 * warp + lane / 8 % 2 * 8);
#pragma unroll
        for (int first = 0; first < BLOCK_M; first += STAGED) {
            if (first >= t.count) break;
            element *out[ROWS];
#pragma unroll
            for (int i = 0; i < ROWS; i++) {
                const long long row = t.rows.out_row[first + first_row + 16 * i];
                out[i] = row < 0 ? nullptr : (element *)p.out + row * p.out_row + n0 + chunk;
            }
#pragma unroll
            for (int g = 0; g < GROUPS; g++) {
                float v[STAGED / 2];
                finish_sums(p, t, bias, g, first, n0 + 64 * g, v);
                synchronise(barrier, 128); // the rows before are on their way
#pragma unroll
                for (int j = 0; j < STAGED / 16; j++)
                    store_transposed(
                        to + 16 * j * STAGED_PITCH * sizeof(element), encode_pair(v[8 * j], v[8 * j + 1]),
                        encode_pair(v[8 * j + 2], v[8 * j + 3]), encode_pair(v[8 * j + 4], v[8 * j + 5]),
                        encode_pair(v[8 * j + 6], v[8 * j + 7]));
                synchronise(barrier, 128);
                const int left = p.n - (n0 + 64 * g + chunk); // columns
#pragma unroll
                for (int i = 0; i < ROWS; i++) {
                    const elements<8> result = *(const elements<8> *)(from + 16 * i * STAGED_PITCH);
                    if (out[i] && left > 0 && whole)
                        *(elements<8> *)(out[i] + 64 * g) = result;
                    else if (out[i])
                        for (int e = 0; e < 8 && e < left; e++) out[i][64 * g + e] = result.at[e];
                }
            }
        }
    }
};
