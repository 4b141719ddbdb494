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

#define WARP 32
#define PARTS 32 // of a matrix, for a block each

template <int BITS> __device__ __forceinline__ unsigned largest_of_word(const mp_normal &n, unsigned word) {
    unsigned most = 0;
#pragma unroll
    for (int k = 0; k < 32 / BITS; k++)
        most = max(most, mp_normal_magnitude(&n, word >> (k * BITS) & ((1u << BITS) - 1)));
    return most;
}

// This thread's share of a matrix, and of its last bytes, which are less than four words.
template <int BITS>
__device__ __forceinline__ unsigned largest_of(const mp_normal &n, const unsigned char *data,
                                               unsigned long long bytes, unsigned long long first,
                                               unsigned long long step) {
    const unsigned code_bytes = BITS < 8 ? 1 : BITS / 8;
    const bool whole = (unsigned long long)data % 16 == 0;
    const unsigned long long vectors = whole ? bytes / 16 : 0;
    unsigned most = 0;
    for (unsigned long long i = first; i < vectors; i += step) {
        const uint4 v = ((const uint4 *)data)[i];
        most = max(max(most, largest_of_word<BITS>(n, v.x)), largest_of_word<BITS>(n, v.y));
        most = max(max(most, largest_of_word<BITS>(n, v.z)), largest_of_word<BITS>(n, v.w));
    }
    for (unsigned long long i = vectors * 16 / code_bytes + first; i < bytes / code_bytes; i += step) {
        const unsigned unit = code_bytes == 2 ? ((const unsigned short *)data)[i] : data[i];
        for (int k = 0; k < (int)code_bytes * 8 / BITS; k++)
            most = max(most, mp_normal_magnitude(&n, unit >> (k * BITS) & ((1u << BITS) - 1)));
    }
    return most;
}

extern "C" __global__ void largest_codes(const mp_largest_params p) {
    for (long long unit = blockIdx.x; unit < p.matrices * PARTS; unit += gridDim.x) {
        const long long matrix = unit / PARTS;
        const unsigned char *data = p.data + matrix * (long long)p.bytes;
        const unsigned long long first = (unsigned long long)(unit % PARTS) * blockDim.x + threadIdx.x,
                                 step = (unsigned long long)PARTS * blockDim.x;
        unsigned most = 0;
        switch (p.normal.bits) {
        case 4: most = largest_of<4>(p.normal, data, p.bytes, first, step); break;
        case 8: most = largest_of<8>(p.normal, data, p.bytes, first, step); break;
        case 16: most = largest_of<16>(p.normal, data, p.bytes, first, step); break;
        }
        for (int distance = WARP / 2; distance; distance /= 2)
            most = max(most, __shfl_xor_sync(0xFFFFFFFFu, most, distance));
        if (threadIdx.x % WARP == 0) atomicMax(p.largest + matrix, most);
    }
}
