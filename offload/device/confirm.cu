/* SPDX-License-Identifier: Apache-2.0 */
// Rows of a predicted GEMM beside what was stored. A block takes a row at a time.
#include "offload/device/confirm.h"
#include "offload/device/confirmed.cuh"

extern "C" __global__ void __launch_bounds__(MP_CONFIRM_THREADS) confirm_gemm(const mp_confirm_params p) {
    for (long long i = blockIdx.x; i < p.rows.count; i += gridDim.x) {
        mp_confirmed_row of_thread = {0, 0, 0};
        for (long long j = threadIdx.x; j < p.rows.width; j += MP_CONFIRM_THREADS)
            mp_confirm_element(&p, i, j, &of_thread);
        store_confirmed(of_thread, &p.confirmed[i]);
    }
}
