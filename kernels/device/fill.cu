/* SPDX-License-Identifier: Apache-2.0 */
// Inputs made where they are read: the same numbers as the CPU's, by the same source. -DBITS: of a code;
// -DKIND: the mp_normal_kind.
#include "kernels/device/fill_params.h"

// Codes of a word, that of the lowest index below.
__device__ __forceinline__ unsigned word_of(const mp_normal &n, unsigned long long word) {
    unsigned codes = 0;
#pragma unroll
    for (int k = 0; k < 32 / BITS; k++) codes |= mp_normal_code(&n, word * (32 / BITS) + k) << (k * BITS);
    return codes;
}

// A thread writes four words at once; what is left is written byte by byte.
extern "C" __global__ void fill_normal(const mp_fill_params p) {
    mp_normal n = p.normal;
    n.kind = KIND;
    n.bits = BITS;
    const unsigned long long bytes = p.count * BITS / 8, step = (unsigned long long)gridDim.x * blockDim.x;
    for (unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; i < bytes / 16;
         i += step) {
        unsigned word[4];
#pragma unroll 1
        for (int w = 0; w < 4; w++) word[w] = word_of(n, 4 * i + w);
        ((uint4 *)p.data)[i] = make_uint4(word[0], word[1], word[2], word[3]);
    }
    const unsigned long long rest = bytes / 16 * 16 + threadIdx.x;
    if (blockIdx.x == 0 && rest < bytes)
        p.data[rest] = (unsigned char)(word_of(n, rest / 4) >> (rest % 4 * 8));
}
