/* SPDX-License-Identifier: Apache-2.0 */
// Between and behind the sums of the float64 pipeline where activations are quantised. A warp takes a group
// of numbers that share a scale, a block a token of the output, and a thread any other element.
#include "offload/device/balls.h"

#define WARP 32

extern "C" __global__ void __launch_bounds__(MP_BALL_THREADS) quantise_balls(const mp_quant_balls_params p) {
    const long long groups = mp_groups_of_row(&p), all = p.rows * groups,
                    step = (long long)gridDim.x * (MP_BALL_THREADS / WARP);
    const int lane = threadIdx.x % WARP;
    for (long long at = (long long)blockIdx.x * (MP_BALL_THREADS / WARP) + threadIdx.x / WARP; at < all;
         at += step) {
        const long long row = at / groups, first = at % groups * p.group, rest = p.to.width - first,
                        n = rest < p.group ? rest : p.group, begin = row * p.to.width + first;
        if (!mp_row_is_read(&p, p.topk_ids, row)) {
            const mp_ball zero = {0, 0, 0, 0};
            for (long long k = lane; k < n; k += WARP) mp_ball_write(&p.to, begin + k, zero);
            continue;
        }
        mp_group_look look = {0, 0};
        for (long long k = lane; k < n; k += WARP)
            mp_group_look_add(&look, &p.rule, mp_ball_to_quantise(&p, p.x, begin + k));
        for (int on = WARP / 2; on > 0; on /= 2)
            look.amax = mp_larger(__shfl_xor_sync(0xFFFFFFFFu, look.amax, on), look.amax);
        look.open = __any_sync(0xFFFFFFFFu, look.open);
        double reach = 0;
        for (long long k = lane; k < n; k += WARP)
            reach = mp_larger(mp_quantise_ball_at(&p, p.groups[at], &look,
                                                  mp_ball_to_quantise(&p, p.x, begin + k), begin + k),
                              reach);
        for (int on = WARP / 2; on > 0; on /= 2)
            reach = mp_larger(__shfl_xor_sync(0xFFFFFFFFu, reach, on), reach);
        if (lane == 0)
            atomicMax(p.reach + row, mp_bits_of_number(reach)); // which have the order of positive numbers
    }
}

extern "C" __global__ void __launch_bounds__(MP_BALL_THREADS) sum_balls(const mp_sum_balls_params p) {
    const long long all = p.rows * p.n, step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < all; i += step)
        mp_sum_ball_at(&p, p.sums, p.slots, p.topk_ids, p.weights, p.bias, p.rules, i);
}

extern "C" __global__ void __launch_bounds__(MP_BALL_THREADS) activate_balls(const mp_act_balls_params p) {
    const long long all = p.slots * p.to.width, step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < all; i += step)
        mp_act_ball_at(&p, i);
}

extern "C" __global__ void __launch_bounds__(MP_BALL_THREADS) bound_tokens(const mp_output_balls_params p) {
    __shared__ mp_token_figures figures[MP_BALL_THREADS];
    __shared__ mp_bound_figures bounds[MP_BALL_THREADS];
    const long long width = mp_output_balls_width(&p);
    for (long long token = blockIdx.x; token < p.tokens; token += gridDim.x) {
        mp_token_figures mine = {0, 0, 0, 0, 0};
        mp_bound_figures bound = mp_no_bound_figures();
        for (long long i = threadIdx.x; i < width; i += blockDim.x)
            mp_output_ball_at(&p, p.topk_ids, p.weights, p.shared, p.stored, token, i, &mine, &bound);
        figures[threadIdx.x] = mine;
        bounds[threadIdx.x] = bound;
        for (int half = MP_BALL_THREADS / 2; half > 0; half /= 2) {
            __syncthreads();
            if (threadIdx.x < half) {
                mp_token_figures_merge(&figures[threadIdx.x], &figures[threadIdx.x + half]);
                mp_bound_figures_merge(&bounds[threadIdx.x], &bounds[threadIdx.x + half]);
            }
        }
        if (threadIdx.x == 0) {
            p.figures[token] = figures[0];
            p.bounds[token] = bounds[0];
        }
        __syncthreads();
    }
}
