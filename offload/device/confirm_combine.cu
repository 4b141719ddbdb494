/* SPDX-License-Identifier: Apache-2.0 */
// The output's tokens beside what was stored. A block takes a token at a time.
#include "offload/device/confirm_combine.h"
#include "offload/device/confirmed.cuh"

extern "C" __global__ void __launch_bounds__(MP_CONFIRM_COMBINE_THREADS)
    confirm_combine(const mp_confirm_combine_params p) {
    for (long long token = blockIdx.x; token < p.rows.tokens; token += gridDim.x) {
        mp_confirmed_row of_thread = {0, 0, 0};
        for (long long k = threadIdx.x; k < p.rows.K; k += MP_CONFIRM_COMBINE_THREADS)
            mp_confirm_combine_element(&p, token, k, &of_thread);
        store_confirmed(of_thread, &p.confirmed[token]);
    }
}
