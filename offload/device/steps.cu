/* SPDX-License-Identifier: Apache-2.0 */
// Between and behind the sums of the float64 pipeline, and its output's figures, a block a token.
#include "offload/device/steps.h"

extern "C" __global__ void __launch_bounds__(MP_ELEMENT_THREADS) epilogue(const mp_epilogue64_params p) {
    const long long all = p.rows * p.n, step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < all; i += step)
        mp_epilogue64_at(&p, p.slots, p.topk_ids, p.weights, p.bias, p.sums[i], i / p.n, i % p.n, p.to);
}

extern "C" __global__ void __launch_bounds__(MP_ELEMENT_THREADS) activate(const mp_act64_params p) {
    const long long all = p.slots * p.N, step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < all; i += step)
        p.to[i] = mp_act64_element(&p, p.from, i / p.N, i % p.N);
}

extern "C" __global__ void __launch_bounds__(MP_ELEMENT_THREADS) measure_tokens(const mp_output64_params p) {
    __shared__ mp_token_figures part[MP_ELEMENT_THREADS];
    const long long width = mp_output64_width(&p);
    for (long long token = blockIdx.x; token < p.tokens; token += gridDim.x) {
        mp_token_figures mine = {0, 0, 0, 0, 0};
        for (long long i = threadIdx.x; i < width; i += blockDim.x)
            mp_token_figures_add(&mine,
                                 mp_number_at(&p.stored_format, p.stored, (p.first + token) * width + i),
                                 mp_output64_at(&p, p.rows, p.topk_ids, p.weights, p.shared, token, i));
        part[threadIdx.x] = mine;
        for (int half = MP_ELEMENT_THREADS / 2; half > 0; half /= 2) {
            __syncthreads();
            if (threadIdx.x < half) mp_token_figures_merge(&part[threadIdx.x], &part[threadIdx.x + half]);
        }
        if (threadIdx.x == 0) p.figures[token] = part[0];
        __syncthreads();
    }
}
