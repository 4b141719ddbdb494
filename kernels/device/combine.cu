/* SPDX-License-Identifier: Apache-2.0 */
// out[m, k] = rnd(rsf * (((0 + c[m,0,k]) + c[m,1,k]) + ...)), ascending j, float32 accumulator (float64 for
// float64 tensors). -DTOPK, -DDTYPE, -DVECTOR. With TOPK=1 `in` may be `out`: a scaling in place.
// -DADDS_SHARED adds shared[m, k] to the scaled sum, before the rounding. -DWEIGHS: c[m,j,k] is
// topk_weights[m,j] * in[m,j,k], rounded, of slots that go to an expert; no other slot's weight is read.
#include "kernels/device/params.h"
#include "kernels/device/common.cuh"
#include "kernels/device/ids.cuh"

extern "C" __global__ void __launch_bounds__(256) combine(const mp_combine_params p) {
    typedef elements<VECTOR> vector;
    const long long columns = p.k / VECTOR;
    const long long total = p.tokens * columns;
    const long long stride = (long long)gridDim.x * blockDim.x;
    const accumulator scale = (accumulator)p.routed_scaling_factor;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        long long token, column;
        split_index(i, columns, &token, &column);
        const vector *in = (const vector *)p.in + token * TOPK * columns + column;
        accumulator sum[VECTOR] = {};
#pragma unroll 8
        for (int j = 0; j < TOPK; j++) {
#ifdef WEIGHS
            const long long slot = token * TOPK + j;
            if (local_expert(p.ids, slot) < 0) continue;
            const accumulator weight = (accumulator)p.topk_weights[slot];
            const vector v = in[j * columns];
            for (int e = 0; e < VECTOR; e++) sum[e] = sum[e] + weight * decode(v.at[e]);
#else
            const vector v = in[j * columns];
            for (int e = 0; e < VECTOR; e++) sum[e] = sum[e] + decode(v.at[e]);
#endif
        }
        vector result;
        for (int e = 0; e < VECTOR; e++) sum[e] = scale * sum[e];
#ifdef ADDS_SHARED
        const vector shared = ((const vector *)p.shared)[i];
        for (int e = 0; e < VECTOR; e++) sum[e] = sum[e] + decode(shared.at[e]);
#endif
        for (int e = 0; e < VECTOR; e++) result.at[e] = encode(sum[e]);
        ((vector *)p.out)[i] = result;
    }
}
