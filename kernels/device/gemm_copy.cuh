/* SPDX-License-Identifier: Apache-2.0 */
// Copies of rows to shared memory, in chunks of 16 bytes.
#pragma once

#include "kernels/device/gemm_frame.cuh"

// Copies so many bytes, 16 or none, and zeros behind them, to a shared address; reads nothing where it is
// none.
__device__ __forceinline__ void copy_16(unsigned to, const unsigned char *from, int bytes) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes)
                 : "memory");
}

__device__ __forceinline__ void copy_4(unsigned to, const void *from) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(from) : "memory");
}

// Copies the chunk of 16 bytes that begins with element k of a row to shared memory; what lies past `length`
// and rows that are not there (row < 0) become zeros. Rows are `stride` elements apart. A packed row has an
// even number of elements.
template <int BITS>
__device__ __forceinline__ void copy_chunk(unsigned char *to, const void *matrix, long long row,
                                           long long stride, int k, int length) {
    const unsigned char *from = (const unsigned char *)matrix + (row < 0 ? 0 : (row * stride + k) * BITS / 8);
#if ALIGNED
    const int bytes = row >= 0 && k < length ? 16 : 0; // rows are whole chunks
    copy_16(shared_address(to), bytes ? from : (const unsigned char *)matrix, bytes);
#else
    constexpr int STEP = BITS > 8 ? BITS / 8 : 1; // bytes that are moved as one
    for (int at = 0; at < 16; at += STEP) {
        const bool there = row >= 0 && k + at * 8 / BITS < length;
        if (STEP == 4)
            *(unsigned *)(to + at) = there ? *(const unsigned *)(from + at) : 0u;
        else if (STEP == 2)
            *(unsigned short *)(to + at) = there ? *(const unsigned short *)(from + at) : (unsigned short)0;
        else
            to[at] = there ? from[at] : (unsigned char)0;
    }
#endif
}

__device__ __forceinline__ void commit_copies() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}
