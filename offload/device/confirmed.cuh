/* SPDX-License-Identifier: Apache-2.0 */
// What was compared of a row, of which each thread of a block has some columns.
#pragma once

#include "offload/device/confirmed.h"

__device__ __forceinline__ void store_confirmed(const mp_confirmed_row &of_thread, mp_confirmed_row *to) {
    __shared__ unsigned long long equal, predicted, got;
    __syncthreads(); // the row before has been written
    if (threadIdx.x == 0) equal = predicted = got = 0;
    __syncthreads();
    atomicAdd(&equal, (unsigned long long)of_thread.equal);
    atomicAdd(&predicted, of_thread.predicted);
    atomicAdd(&got, of_thread.got);
    __syncthreads();
    if (threadIdx.x == 0) {
        const mp_confirmed_row all = {(long long)equal, predicted, got};
        *to = all;
    }
}
