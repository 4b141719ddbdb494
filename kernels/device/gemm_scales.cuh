/* SPDX-License-Identifier: Apache-2.0 */
// The scales of codes: where they lie (scale_place.cuh), and what they are. -DA_SCALE, -DW_SCALE: their
// formats.
#pragma once

#include "kernels/device/gemm_frame.cuh"
#include "kernels/device/scale_place.cuh"

// ue8m0, e4m3 and the 16-bit formats are parts of a float32: exact. NaN is 255 and 7F.
template <int FORMAT> __device__ __forceinline__ float decode_scale(const void *scales, long long index) {
    if (FORMAT == DTYPE_FP32) return ((const float *)scales)[index];
    if (FORMAT == DTYPE) return decode(((const element *)scales)[index]);
    const unsigned code = ((const unsigned char *)scales)[index], magnitude = code & 0x7F;
    if (FORMAT == DTYPE_UE8M0)
        return __uint_as_float(code == 255 ? 0x7FFFFFFF : code == 0 ? 0x00400000 : code << 23);
    const float value =
        magnitude == 0x7F ? __uint_as_float(0x7FFFFFFF) : __uint_as_float(magnitude << 20) * 0x1p120f;
    return code & 0x80 ? -value : value;
}

// Of a row of the block; 0 where the row is padding.
__device__ __forceinline__ float scale_of_row(const block &b, int row, int group) {
    const long long a_row = b.rows.a_row[row];
    return a_row < 0 ? 0.0f
                     : decode_scale<A_SCALE>(b.p.a_scale,
                                             scale_place(a_row, group, b.p.a_scale_row, b.p.a_scale_group));
}

// The global scales: of all rows, and of both parts of the columns of the block's expert, which share one
// where there is one.
struct global_scales {
    float of_rows, first, second;
    // Even columns and odd ones, as gate and up that are interleaved; else the first half and the second.
    bool alternate;
    int half;

    __device__ __forceinline__ float of_column(int n) const {
        return (alternate ? n % 2 : n >= half) ? second : first;
    }
};
__device__ __forceinline__ global_scales globals_of(const block &b) {
    const float *of_expert = b.p.w_global + b.expert * b.p.w_globals;
    return {*b.p.a_global, of_expert[0], of_expert[b.p.w_globals - 1], b.p.w_globals_alternate != 0,
            b.p.n / 2};
}

// Of column n in the block's expert; 0 beyond the last.
__device__ __forceinline__ float scale_of_column(const block &b, int n, int group) {
    if (n >= b.p.n) return 0.0f;
    return decode_scale<W_SCALE>(
        b.p.w_scale, b.expert * b.p.w_scale_expert +
                         scale_place(n / b.p.w_scale_rows, group, b.p.w_scale_row, b.p.w_scale_group));
}
