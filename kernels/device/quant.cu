/* SPDX-License-Identifier: Apache-2.0 */
// Numbers become codes and scales, by the formulas of ref/predict/quantise_f32.h. -DDTYPE: of the numbers;
// -DCODES: of the codes, e4m3, int8 or e2m1; -DSCALE: of the scales, fp32, ue8m0 of e4m3 codes, or e4m3 of
// e2m1 codes, which have a global scale and are two to a byte. -DFLOOR=1: scales have a least value, which
// mxfp8's have not. -DLAYOUT (as mp_layout; -1: rows are tokens). -DSWIZZLED=1: scales lie in tiles.
//
// quantise: a warp for each run of numbers that share a scale. Where all rows share one: amax, then
// scale_of_amax, then codes; codes alone where the scale is given.
#include "kernels/device/common.cuh"
#include "kernels/device/rows.cuh"
#include "kernels/device/scale_place.cuh"
#include "ref/predict/float32_math.h"
#include "ref/predict/quantise_f32.h"

constexpr float LARGEST = CODES == DTYPE_I8 ? 127.0f : 448.0f;

__device__ __forceinline__ unsigned char code_of(float v) {
    return (unsigned char)(CODES == DTYPE_I8 ? mp_quant_int8_f32(v) : mp_quant_e4m3_f32(v));
}

__device__ __forceinline__ float largest_of_warp(float amax) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2)
        amax = mp_quant_amax_f32(amax, __shfl_xor_sync(0xFFFFFFFF, amax, distance));
    return amax;
}

extern "C" __global__ void __launch_bounds__(256) quantise(const mp_quant_params p) {
    const long long groups = (p.k + p.group - 1) / p.group, warps = (long long)gridDim.x * (blockDim.x / 32);
    const int lane = threadIdx.x % 32;
    const element *from = (const element *)p.from;
    unsigned char *codes = (unsigned char *)p.codes;
    for (long long i = (long long)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
         i < p.rows.count * groups; i += warps) {
        long long row, group;
        split_index(i, groups, &row, &group);
        if (is_without_slot(p.rows, row)) continue;
        const long long first = row * p.k + group * p.group,
                        end = row * p.k + min(p.k, (group + 1) * p.group),
                        at = scale_place(row, group, p.scale_row, p.scale_group);
        float amax = 0;
        for (long long k = first + lane; k < end; k += 32) amax = mp_quant_amax_f32(amax, decode(from[k]));
        amax = largest_of_warp(amax);
#if CODES == DTYPE_E2M1
        const float global = *(const float *)p.given;
        const unsigned byte = mp_quant_nvfp4_scale_f32(amax, global);
        const float scale = byte == 0x7F ? __uint_as_float(0x7FFFFFFF) : mp_quant_e4m3_value_f32(byte);
        if (lane == 0) ((unsigned char *)p.scale)[at] = (unsigned char)byte;
        for (long long k = first + 2 * lane; k < end; k += 64) { // rows and groups begin on whole bytes
            const unsigned low = mp_quant_nvfp4_code_f32(decode(from[k]), scale, global),
                           high =
                               k + 1 < end ? mp_quant_nvfp4_code_f32(decode(from[k + 1]), scale, global) : 0;
            codes[k / 2] = (unsigned char)(low | high << 4);
        }
#else
        const float scale = FLOOR ? mp_quant_scale_f32(amax, LARGEST) : amax / LARGEST;
#if SCALE == DTYPE_UE8M0
        const unsigned byte = mp_quant_ue8m0_f32(scale);
        const float factor = mp_quant_factor_f32(byte);
        if (lane == 0) ((unsigned char *)p.scale)[at] = (unsigned char)byte;
        for (long long k = first + lane; k < end; k += 32) codes[k] = code_of(decode(from[k]) * factor);
#else
        if (lane == 0) ((float *)p.scale)[at] = scale;
        for (long long k = first + lane; k < end; k += 32) codes[k] = code_of(decode(from[k]) / scale);
#endif
#endif
    }
}

#if CODES != DTYPE_E2M1 // whose scales are of 16 numbers each

// Magnitudes are ordered as their bits are. *scale is 0 at the start.
extern "C" __global__ void __launch_bounds__(256) amax(const mp_quant_params p) {
    const long long total = p.rows.count * p.k, stride = (long long)gridDim.x * blockDim.x;
    float amax = 0;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        long long row, column;
        split_index(i, p.k, &row, &column);
        if (!is_without_slot(p.rows, row))
            amax = mp_quant_amax_f32(amax, decode(((const element *)p.from)[i]));
    }
    amax = largest_of_warp(amax);
    if (threadIdx.x % 32 == 0) atomicMax((unsigned *)p.scale, __float_as_uint(amax));
}

extern "C" __global__ void scale_of_amax(const mp_quant_params p) {
    float *scale = (float *)p.scale;
    *scale = mp_quant_scale_f32(*scale, LARGEST);
}

extern "C" __global__ void __launch_bounds__(256) codes(const mp_quant_params p) {
    const long long total = p.rows.count * p.k, stride = (long long)gridDim.x * blockDim.x;
    const float scale = *(const float *)p.scale;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        long long row, column;
        split_index(i, p.k, &row, &column);
        if (!is_without_slot(p.rows, row))
            ((unsigned char *)p.codes)[i] = code_of(decode(((const element *)p.from)[i]) / scale);
    }
}

#endif
