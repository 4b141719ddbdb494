/* SPDX-License-Identifier: Apache-2.0 */
// Inputs made where they are read: the same numbers as the CPU's, by the same source. -DBITS: of a code;
// -DKIND: the mp_code_kind; -DSTYLE: the mp_rule_style of all rows, or MP_ANY_STYLE.
#include "kernels/device/fill_params.h"
#include "kernels/device/fill_words.h"

// The same, with what the compiler is told of it.
__device__ __forceinline__ mp_code_format formed(mp_code_format f) {
    f.kind = KIND;
    f.bits = BITS;
    return f;
}

// A thread writes four words at once; what is left is written byte by byte.
extern "C" __global__ void fill_numbers(const mp_fill_params p) {
    const unsigned long long bytes = p.count * BITS / 8, step = (unsigned long long)gridDim.x * blockDim.x;
    const mp_u64 rows = p.count / p.numbers.row_length;
    mp_fill_rows_of of = {p.numbers, p.source, STYLE};
    of.n.format = formed(of.n.format);
    for (unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; i < bytes / 16;
         i += step) {
        mp_fill_place at = mp_fill_place_of(&of, i * (128 / BITS));
        unsigned word[4];
#pragma unroll 1
        for (int w = 0; w < 4; w++) word[w] = mp_fill_word(&of, rows, &at);
        ((uint4 *)p.data)[i] = make_uint4(word[0], word[1], word[2], word[3]);
    }
    const unsigned long long rest = bytes / 16 * 16 + threadIdx.x;
    if (blockIdx.x == 0 && rest < bytes) {
        mp_fill_place at = mp_fill_place_of(&of, rest / 4 * (32 / BITS));
        p.data[rest] = (unsigned char)(mp_fill_word(&of, rows, &at) >> (rest % 4 * 8));
    }
}

#define WARP 32
#define CODE (0xFFFFFFFFu >> (32 - BITS))

__device__ __forceinline__ unsigned largest_of_word(const mp_code_format &f, unsigned word) {
    unsigned most = 0;
#pragma unroll
    for (int k = 0; k < 32 / BITS; k++)
        most = max(most, (unsigned)mp_code_magnitude(&f, word >> (k * BITS) & CODE));
    return most;
}

// This thread's share of a matrix, and of its last bytes, which are less than four words.
__device__ __forceinline__ unsigned largest_of(const mp_code_format &f, const unsigned char *data,
                                               unsigned long long bytes, unsigned long long first,
                                               unsigned long long step) {
    const unsigned code_bytes = BITS < 8 ? 1 : BITS / 8;
    const bool whole = (unsigned long long)data % 16 == 0;
    const unsigned long long vectors = whole ? bytes / 16 : 0;
    unsigned most = 0;
    for (unsigned long long i = first; i < vectors; i += step) {
        const uint4 v = ((const uint4 *)data)[i];
        most = max(max(most, largest_of_word(f, v.x)), largest_of_word(f, v.y));
        most = max(max(most, largest_of_word(f, v.z)), largest_of_word(f, v.w));
    }
    for (unsigned long long i = vectors * 16 / code_bytes + first; i < bytes / code_bytes; i += step) {
        const unsigned unit = code_bytes == 4   ? ((const unsigned *)data)[i]
                              : code_bytes == 2 ? ((const unsigned short *)data)[i]
                                                : data[i];
        for (int k = 0; k < (int)code_bytes * 8 / BITS; k++)
            most = max(most, (unsigned)mp_code_magnitude(&f, unit >> (k * BITS) & CODE));
    }
    return most;
}

extern "C" __global__ void largest_codes(const mp_largest_params p) {
    for (long long unit = blockIdx.x; unit < p.matrices * p.parts; unit += gridDim.x) {
        const long long matrix = unit / p.parts;
        const unsigned char *data = p.data + matrix * (long long)p.bytes;
        const unsigned long long first = (unsigned long long)(unit % p.parts) * blockDim.x + threadIdx.x,
                                 step = (unsigned long long)p.parts * blockDim.x;
        unsigned most = largest_of(formed(p.format), data, p.bytes, first, step);
        for (int distance = WARP / 2; distance; distance /= 2)
            most = max(most, __shfl_xor_sync(0xFFFFFFFFu, most, distance));
        if (threadIdx.x % WARP == 0) atomicMax(p.largest + matrix, most);
    }
}
