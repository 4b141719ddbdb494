/* SPDX-License-Identifier: Apache-2.0 */
// Inputs made where they are read: the same numbers as the CPU's, by the same source.
#include "kernels/device/fill_params.h"

#define CODES 8 // of 16 bits, that a thread writes at once

// Two codes in a word, that of the even index below.
__device__ __forceinline__ unsigned two_codes(const mp_normal &n, unsigned long long index) {
    return mp_normal_code(&n, index) | mp_normal_code(&n, index + 1) << 16;
}

extern "C" __global__ void fill_normal(const mp_fill_params p) {
    const mp_normal n = p.normal;
    const unsigned long long step = (unsigned long long)gridDim.x * blockDim.x;
    for (unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
         i < p.count / CODES; i += step) {
        const unsigned long long first = i * CODES;
        ((uint4 *)p.data)[i] = make_uint4(two_codes(n, first), two_codes(n, first + 2),
                                          two_codes(n, first + 4), two_codes(n, first + 6));
    }
    const unsigned long long rest = p.count / CODES * CODES + threadIdx.x;
    if (blockIdx.x == 0 && rest < p.count) p.data[rest] = (unsigned short)mp_normal_code(&n, rest);
}
