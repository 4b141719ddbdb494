/* SPDX-License-Identifier: Apache-2.0 */
// The grouped GEMM by wgmma (gemm_wgmma.cu): what a warpgroup multiplies.
//
// A warpgroup has 64 rows of one operand for each instruction, and as many of the other as the instruction
// takes. Where w stands first it has GROUPS times 64 columns of out, and all rows; where a does, ROWS_FIRST,
// it has 64 rows and all columns, and the operands are read the fewest times from shared memory.
#pragma once

#include "kernels/device/gemm_wgmma_memory.cuh"

struct warpgroup_tile {
    product_sum sum[SUMS]; // with groups: of the one that is under way
#if GROUP
    float all[SUMS];
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

    // The products of a stage: of the first N rows, or of the warpgroup's rows where a stands first. FRESH:
    // what the sums were is not read.
    template <bool A_FIRST, int N, bool FRESH>
    __device__ __forceinline__ void add_stage(const unsigned char *stage, int warpgroup) {
        const unsigned a = operand_at(stage + (A_FIRST ? warpgroup * (64 * 128) : 0));
        const unsigned w =
            operand_at(stage + SLICES * A_SLICE + (A_FIRST ? 0 : warpgroup * (GROUPS * 64 * 128)));
        begin_products();
#pragma unroll
        for (int i = 0; i < SLICES * 4; i++)
#pragma unroll
            for (int g = 0; g < (A_FIRST ? 1 : GROUPS); g++) {
                const unsigned w_at = w + (i / 4 * W_SLICE + g * 64 * 128 + i % 4 * 32) / 16,
                               a_at = a + (i / 4 * A_SLICE + i % 4 * 32) / 16;
                product_sum *d = sum + g * (BLOCK_M / 2);
                if (FRESH && i == 0)
                    set_products<N>(d, A_FIRST ? a_at : w_at, A_FIRST ? w_at : a_at);
                else
                    add_products<N>(d, A_FIRST ? a_at : w_at, A_FIRST ? w_at : a_at);
            }
        commit_products();
    }

    // Behind a wait for them: nobody has read the sums before.
    template <bool A_FIRST, int N> __device__ __forceinline__ void have_products() {
#pragma unroll
        for (int g = 0; g < (A_FIRST ? 1 : GROUPS); g++)
#pragma unroll
            for (int i = 0; i < N / 2; i++)
                asm volatile("" : "+" WGMMA_SUM(sum[g * (BLOCK_M / 2) + i])::"memory");
    }

#if GROUP
    // Adds the sums of a group to those of all. Scales of w are those of 64 columns each.
    template <bool A_FIRST, int N>
    __device__ __forceinline__ void promote(const float *a_scale, const float *w_scale, int warpgroup,
                                            bool first) {
        const int lane = threadIdx.x % 32;
        if (A_FIRST) {
            const int row = 64 * warpgroup + threadIdx.x / 32 % 4 * 16 + lane / 4;
            const float of_rows[2] = {a_scale[row], a_scale[row + 8]};
#pragma unroll
            for (int c = 0; c < N / 64; c++) {
                const float scale[2] = {of_rows[0] * w_scale[c], of_rows[1] * w_scale[c]};
#pragma unroll
                for (int i = 32 * c; i < 32 * (c + 1); i++)
                    all[i] = fmaf((float)sum[i], scale[i / 2 % 2], first ? 0.0f : all[i]);
            }
        } else {
#pragma unroll
            for (int j = 0; j < N / 8; j++) {
                const float2 scale = *(const float2 *)&a_scale[8 * j + lane % 4 * 2];
#pragma unroll
                for (int g = 0; g < GROUPS; g++)
#pragma unroll
                    for (int i = 4 * j + g * (BLOCK_M / 2); i < 4 * (j + 1) + g * (BLOCK_M / 2); i++)
                        all[i] = fmaf((float)sum[i], (i % 2 ? scale.y : scale.x) * w_scale[g],
                                      first ? 0.0f : all[i]);
            }
        }
    }

    // All of k: each group is added from zero.
    template <bool A_FIRST, int N>
    __device__ __forceinline__ void multiply(shared_memory &shared, ring<STAGES> &stage, int steps,
                                             int warpgroup) {
#pragma unroll 1
        for (int step = 0; step < steps; step++) {
            wait_for(&shared.full[stage.at], stage.parity);
            fence_async();
            add_stage<A_FIRST, N, true>(shared.stages[stage.at], warpgroup);
            wait_products<0>();
            have_products<A_FIRST, N>();
            promote<A_FIRST, N>(shared.a_scale[stage.at],
                                shared.w_scale[stage.at] + (A_FIRST ? 0 : warpgroup * GROUPS), warpgroup,
                                step == 0);
            __syncwarp(); // all lanes have read the scales
            release(&shared.empty[stage.at]);
            stage.next();
        }
    }
    __device__ __forceinline__ float result(int i) const {
        return all[i];
    }
#else
    // All of k. A stage is multiplied while the products of the one before come in.
    template <bool A_FIRST, int N>
    __device__ __forceinline__ void multiply(shared_memory &shared, ring<STAGES> &stage, int steps,
                                             int warpgroup) {
        wait_for(&shared.full[stage.at], stage.parity);
        fence_async();
        add_stage<A_FIRST, N, true>(shared.stages[stage.at], warpgroup);
        int last = stage.at;
        stage.next();
#pragma unroll 1
        for (int step = 1; step < steps; step++) {
            wait_for(&shared.full[stage.at], stage.parity);
            fence_async();
            add_stage<A_FIRST, N, false>(shared.stages[stage.at], warpgroup);
            wait_products<1>();
            release(&shared.empty[last]);
            last = stage.at;
            stage.next();
        }
        wait_products<0>();
        release(&shared.empty[last]);
        have_products<A_FIRST, N>();
    }
    __device__ __forceinline__ float result(int i) const {
        return (float)sum[i];
    }
#endif
};
