/* SPDX-License-Identifier: Apache-2.0 */
// Rows of a prediction beside what was stored. A block takes a row at a time.
#include "offload/device/confirm.h"

extern "C" __global__ void __launch_bounds__(MP_SCREEN_THREADS) confirm_gemm(const mp_confirm_params p) {
    __shared__ unsigned long long equal, predicted, got;
    for (long long i = blockIdx.x; i < p.rows; i += gridDim.x) {
        mp_confirmed_row of_thread = {0, 0, 0};
        for (long long j = threadIdx.x; j < p.n; j += MP_SCREEN_THREADS)
            mp_confirm_element(&p, i, j, &of_thread);
        __syncthreads(); // the row before has been written
        if (threadIdx.x == 0) equal = predicted = got = 0;
        __syncthreads();
        atomicAdd(&equal, (unsigned long long)of_thread.equal);
        atomicAdd(&predicted, of_thread.predicted);
        atomicAdd(&got, of_thread.got);
        __syncthreads();
        if (threadIdx.x == 0) {
            const mp_confirmed_row all = {(long long)equal, predicted, got};
            p.confirmed[i] = all;
        }
    }
}
