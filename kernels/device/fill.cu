/* SPDX-License-Identifier: Apache-2.0 */
// Inputs made where they are read: the same numbers as the CPU's, by the same source.
#include "kernels/device/fill_params.h"

// BITS of each code: those of a word and of a byte, that of the lower index below.
template <int BITS> __device__ __forceinline__ unsigned word_of(const mp_normal &n, unsigned long long word) {
    unsigned codes = 0;
#pragma unroll
    for (int k = 0; k < 32 / BITS; k++) codes |= mp_normal_code(&n, word * (32 / BITS) + k) << (k * BITS);
    return codes;
}

// A thread writes four words at once; what is left is written byte by byte.
template <int BITS>
__device__ __forceinline__ void fill(const mp_normal &n, unsigned char *data, unsigned long long bytes) {
    const unsigned long long step = (unsigned long long)gridDim.x * blockDim.x;
    for (unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; i < bytes / 16;
         i += step)
        ((uint4 *)data)[i] = make_uint4(word_of<BITS>(n, 4 * i), word_of<BITS>(n, 4 * i + 1),
                                        word_of<BITS>(n, 4 * i + 2), word_of<BITS>(n, 4 * i + 3));
    const unsigned long long rest = bytes / 16 * 16 + threadIdx.x;
    if (blockIdx.x == 0 && rest < bytes)
        data[rest] = (unsigned char)(word_of<BITS>(n, rest / 4) >> (rest % 4 * 8));
}

extern "C" __global__ void fill_normal(const mp_fill_params p) {
    const mp_normal n = p.normal;
    const unsigned long long bytes = p.count * n.bits / 8;
    switch (n.bits) {
    case 4: fill<4>(n, p.data, bytes); break;
    case 8: fill<8>(n, p.data, bytes); break;
    case 16: fill<16>(n, p.data, bytes); break;
    }
}
