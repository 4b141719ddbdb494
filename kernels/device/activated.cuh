/* SPDX-License-Identifier: Apache-2.0 */
// act(gate) * up in float32, one rounding to the element type. -DACT (numbered as mp_activation), -DGATED,
// -DINTERLEAVED, -DDTYPE, -DVECTOR: elements at a time, 1 where rows are not multiples of 16 bytes.
#pragma once
#include "kernels/device/common.cuh"
#include "ref/predict/float32_math.h"
#include "ref/predict/activation_f32.h"

// Columns column * VECTOR ... of a row of cache2, which has n columns.
__device__ __forceinline__ elements<VECTOR> activated(const void *cache1, long long n, long long row,
                                                      long long column, float alpha, float limit) {
    typedef elements<VECTOR> vector;
    const vector *rows = (const vector *)cache1;
    const long long columns = n / VECTOR; // vectors in a row of cache2
    element gate[VECTOR], up[VECTOR];
#if !GATED
    const vector v = rows[row * columns + column];
    for (int e = 0; e < VECTOR; e++) gate[e] = v.at[e], up[e] = v.at[e];
#elif INTERLEAVED
    const vector first = rows[2 * (row * columns + column)], second = rows[2 * (row * columns + column) + 1];
    element both[2 * VECTOR];
    for (int e = 0; e < VECTOR; e++) both[e] = first.at[e], both[VECTOR + e] = second.at[e];
    for (int e = 0; e < VECTOR; e++) gate[e] = both[2 * e], up[e] = both[2 * e + 1];
#else
    const vector first = rows[row * 2 * columns + column], second = rows[(row * 2 + 1) * columns + column];
    for (int e = 0; e < VECTOR; e++) gate[e] = first.at[e], up[e] = second.at[e];
#endif
    vector result;
    for (int e = 0; e < VECTOR; e++)
        result.at[e] = encode(mp_activate_f32(ACT, GATED, decode(gate[e]), decode(up[e]), alpha, limit));
    return result;
}
