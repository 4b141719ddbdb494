/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

// Quotient and remainder of a flat index. 64-bit division costs some hundred instructions, so the usual small
// case has its own way.
__device__ __forceinline__ void split_index(long long index, long long length, long long *row,
                                            long long *column) {
    if (((unsigned long long)index | (unsigned long long)length) >> 32) {
        *row = index / length;
        *column = index - *row * length;
    } else {
        const unsigned quotient = (unsigned)index / (unsigned)length;
        *row = quotient;
        *column = (unsigned)index - quotient * (unsigned)length;
    }
}
