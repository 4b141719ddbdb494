/* SPDX-License-Identifier: Apache-2.0 */
// cache2 = act(gate) * up in float32, one rounding to the element type. -DACT (numbered as mp_activation),
// -DGATED, -DINTERLEAVED, -DLAYOUT (as mp_layout), -DDTYPE, -DVECTOR: elements a thread computes, 1 when rows
// are not multiples of 16 bytes.
//
// Memory-bound: the loads of a thread do not wait for the filter, only its store does.
#include "kernels/device/common.cuh"
#include "kernels/device/rows.cuh"
#include "ref/predict/float32_math.h"
#include "ref/predict/activation_f32.h"

extern "C" __global__ void __launch_bounds__(256) activation(const mp_activation_params p) {
    typedef elements<VECTOR> vector;
    const long long columns = p.n / VECTOR; // vectors in a row of cache2
    const long long total = p.rows.count * columns;
    const long long stride = (long long)gridDim.x * blockDim.x;
    const vector *cache1 = (const vector *)p.cache1;
    vector *cache2 = (vector *)p.cache2;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        long long row, column;
        split_index(i, columns, &row, &column);
        element gate[VECTOR], up[VECTOR];
#if !GATED
        const vector v = cache1[i];
        for (int e = 0; e < VECTOR; e++) gate[e] = v.at[e], up[e] = v.at[e];
#else
#if INTERLEAVED
        const vector first = cache1[2 * i], second = cache1[2 * i + 1];
        element both[2 * VECTOR];
        for (int e = 0; e < VECTOR; e++) both[e] = first.at[e], both[VECTOR + e] = second.at[e];
        for (int e = 0; e < VECTOR; e++) gate[e] = both[2 * e], up[e] = both[2 * e + 1];
#else
        const vector first = cache1[row * 2 * columns + column],
                     second = cache1[(row * 2 + 1) * columns + column];
        for (int e = 0; e < VECTOR; e++) gate[e] = first.at[e], up[e] = second.at[e];
#endif
#endif
        const bool skip = is_without_slot(p.rows, row);
        vector result;
        for (int e = 0; e < VECTOR; e++)
            result.at[e] =
                encode(mp_activate_f32(ACT, GATED, decode(gate[e]), decode(up[e]), p.alpha, p.limit));
        if (!skip) cache2[i] = result;
    }
}
