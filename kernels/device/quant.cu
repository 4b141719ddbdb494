/* SPDX-License-Identifier: Apache-2.0 */
// Numbers become codes and scales, by the formulas of ref/predict/quantise_f32.h. -DDTYPE: of the numbers;
// -DCODES: of the codes, e4m3, int8 or e2m1; -DSCALE: of the scales, fp32, ue8m0 of e4m3 codes, or e4m3 of
// e2m1 codes, which have a global scale and are two to a byte. -DFLOOR=1: scales have a least value, which
// mxfp8's have not. -DLAYOUT (as mp_layout; -1: rows are tokens). -DSWIZZLED=1: scales lie in tiles.
// -DVECTOR: numbers moved at a time, 1 where rows or groups are not multiples of 16 bytes. With -DACT the
// numbers are those that act makes of cache1, rounded as it would store them (activated.cuh).
//
// quantise: -DLANES threads for each group of numbers that share a scale, of a warp, or a block where they
// are more than 32; -DHELD vectors of each stay in its registers, and what is beyond is taken twice. Where
// all rows share a scale, groups are rows: amax, then scale_of_amax, then codes; codes alone where the scale
// is given.
#include "kernels/device/common.cuh"
#include "kernels/device/quotient.cuh"
#include "kernels/device/rows.cuh"
#include "kernels/device/scale_place.cuh"
#ifdef ACT
#include "kernels/device/activated.cuh"
#endif

#if CODES != DTYPE_E2M1
constexpr float LARGEST = CODES == DTYPE_I8 ? 127.0f : 448.0f;
#endif

// Two codes, the first in the lower half: as mp_quant_e4m3_f32 and its like make them, e4m3 by one
// instruction where there is one.
__device__ __forceinline__ unsigned codes_of_pair(float first, float second) {
#if CODES == DTYPE_E2M1
    return mp_quant_e2m1_f32(first) | mp_quant_e2m1_f32(second) << 4;
#elif CODES == DTYPE_I8
    return mp_quant_int8_f32(first) | mp_quant_int8_f32(second) << 8;
#elif __CUDA_ARCH__ >= 890
    unsigned short pair;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(second), "f"(first));
    return pair;
#else
    return mp_quant_e4m3_f32(first) | mp_quant_e4m3_f32(second) << 8;
#endif
}

// As mp_quant_amax_f32, in one instruction.
__device__ __forceinline__ float larger(float amax, float x) {
    return fmaxf(amax, fabsf(x));
}

// Of so many neighbouring lanes of a warp, a power of two.
template <int COUNT> __device__ __forceinline__ float largest_of_lanes(float amax) {
#pragma unroll
    for (int distance = COUNT / 2; distance > 0; distance /= 2)
        amax = larger(amax, __shfl_xor_sync(0xFFFFFFFF, amax, distance));
    return amax;
}

constexpr int RUN = VECTOR == 1 ? 2 : VECTOR; // numbers side by side, at least those of a byte of codes
constexpr int STEP = LANES * RUN;             // from one run of a thread to its next

// Where a thread's first run of a group begins.
__device__ __forceinline__ int first_of_thread(int first) {
    return first + (int)threadIdx.x % LANES * RUN;
}

struct run {
    element at[RUN];
};

// The numbers from `column` on of a row; zeros at `end` and beyond.
__device__ __forceinline__ run take(const mp_quant_params &p, long long row, int column, int end) {
    run r = {};
#pragma unroll
    for (int i = 0; i < RUN; i += VECTOR) {
        if (column + i >= end) continue;
#ifdef ACT
        const elements<VECTOR> v = activated(p.from, p.k, row, (column + i) / VECTOR, p.alpha, p.limit);
#else
        const elements<VECTOR> v = ((const elements<VECTOR> *)p.from)[(row * p.k + column + i) / VECTOR];
#endif
        for (int e = 0; e < VECTOR; e++) r.at[i + e] = v.at[e];
    }
    return r;
}

__device__ __forceinline__ float largest_of_run(float amax, const run &r) {
    for (int i = 0; i < RUN; i++) amax = larger(amax, decode(r.at[i]));
    return amax;
}

// Of the threads that share a scale. All threads of a block call it, where these are one.
__device__ __forceinline__ float largest_of_group(float amax) {
#if LANES <= 32
    return largest_of_lanes<LANES>(amax);
#else
    __shared__ float of_warp[LANES / 32];
    amax = largest_of_lanes<32>(amax);
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = amax;
    __syncthreads();
    for (int warp = 0; warp < LANES / 32; warp++) amax = larger(amax, of_warp[warp]);
    __syncthreads(); // it is written again for the next row
    return amax;
#endif
}

// What numbers that share a scale are divided by, or multiplied by where it is a power of two.
struct scaling {
    divisor by;
    float factor;
};

__device__ __forceinline__ float scaled(float x, const scaling &s) {
#if SCALE == DTYPE_UE8M0
    return x * s.factor;
#elif CODES == DTYPE_E2M1 // whose scales may be 0, or too small for what they are of
    const float q = quotient(x, s.by), infinity = __uint_as_float(0x7F800000);
    if (s.by.reciprocal == infinity) return 0;
    return isnan(q) && s.by.by != 0 ? x * infinity : q;
#else
    return quotient(x, s.by);
#endif
}

// Makes the scale of a group, which one of its threads stores.
__device__ __forceinline__ scaling make_scale(const mp_quant_params &p, float amax, long long at,
                                              bool stores) {
#if CODES == DTYPE_E2M1
    const unsigned byte = mp_quant_nvfp4_scale_f32(amax, *p.given);
    if (stores) ((unsigned char *)p.scale)[at] = (unsigned char)byte;
    const float scale = byte == 0x7F ? __uint_as_float(0x7FFFFFFF) : mp_quant_e4m3_value_f32(byte);
    return {divisor_of(scale * *p.given), 0};
#else
    const float scale = FLOOR ? mp_quant_scale_f32(amax, LARGEST) : amax / LARGEST;
#if SCALE == DTYPE_UE8M0
    const unsigned byte = mp_quant_ue8m0_f32(scale);
    if (stores) ((unsigned char *)p.scale)[at] = (unsigned char)byte;
    return {{}, mp_quant_factor_f32(byte)};
#else
    if (stores) ((float *)p.scale)[at] = scale;
    return {divisor_of(scale), 0};
#endif
#endif
}

template <int BYTES> struct alignas(BYTES) bytes { unsigned char at[BYTES]; };

constexpr int BITS = bits_of(CODES), RUN_BYTES = RUN * BITS / 8;

// Packed rows and groups begin on whole bytes, and zeros are behind the last number.
template <class Scaled>
__device__ __forceinline__ void store_codes(const mp_quant_params &p, long long row, int column, int end,
                                            const run &r, Scaled scaled) {
    unsigned char *to = (unsigned char *)p.codes + (row * p.k + column) * BITS / 8;
    bytes<RUN_BYTES> codes;
#pragma unroll
    for (int i = 0; i < RUN; i += 2) {
        const unsigned pair = codes_of_pair(scaled(decode(r.at[i])), scaled(decode(r.at[i + 1])));
        codes.at[i * BITS / 8] = (unsigned char)pair;
        if (BITS == 8) codes.at[i + 1] = (unsigned char)(pair >> 8);
    }
    if (RUN_BYTES == 1 || VECTOR > 1) {
        if (column < end) *(bytes<RUN_BYTES> *)to = codes;
    } else {
        for (int i = 0; i < RUN; i++)
            if (column + i < end) to[i] = codes.at[i];
    }
}

// Columns first .. end of a row share a scale.
__device__ __forceinline__ void quantise_group(const mp_quant_params &p, long long row, int group, int first,
                                               int end) {
    const int begin = first_of_thread(first), rest = begin + HELD * STEP;
    run held[HELD];
    float amax = 0;
#pragma unroll
    for (int i = 0; i < HELD; i++) held[i] = take(p, row, begin + i * STEP, end);
#pragma unroll
    for (int i = 0; i < HELD; i++) amax = largest_of_run(amax, held[i]);
    for (int at = rest; at < end; at += STEP) amax = largest_of_run(amax, take(p, row, at, end));
    amax = largest_of_group(amax);
    const scaling s = make_scale(p, amax, scale_place(row, group, p.scale_row, p.scale_group),
                                 threadIdx.x % LANES == 0 && first < end);
    const auto by_scale = [&](float x) { return scaled(x, s); };
#pragma unroll
    for (int i = 0; i < HELD; i++) store_codes(p, row, begin + i * STEP, end, held[i], by_scale);
    for (int at = rest; at < end; at += STEP) store_codes(p, row, at, end, take(p, row, at, end), by_scale);
}

// Calls visit(row, group, first column, its end) for all groups of rows with a slot, by the threads of each.
template <class Visit> __device__ __forceinline__ void for_groups(const mp_quant_params &p, Visit visit) {
    constexpr int TOGETHER = LANES > 32 ? LANES : 32; // threads that have the same rows
    constexpr int GROUPS = TOGETHER / LANES;          // of a row, that they do at a time
    const int k = (int)p.k, size = (int)p.group, groups = (k + size - 1) / size,
              pieces = (groups + GROUPS - 1) / GROUPS;
    const long long batches = (p.rows.count + p.rows_at_a_time - 1) / p.rows_at_a_time,
                    teams = (long long)gridDim.x * (blockDim.x / TOGETHER);
    for (long long i = (long long)blockIdx.x * (blockDim.x / TOGETHER) + threadIdx.x / TOGETHER;
         i < batches * pieces; i += teams) {
        long long batch, piece;
        split_index(i, pieces, &batch, &piece);
        const int group = (int)piece * GROUPS + (int)threadIdx.x % TOGETHER / LANES, first = group * size,
                  end = min(k, first + size);
        for_rows_with_slot(p.rows, batch * p.rows_at_a_time, p.rows_at_a_time,
                           [&](long long row) { visit(row, group, first, end); });
    }
}

constexpr int THREADS = LANES > 32 ? LANES : 256; // of a block

extern "C" __global__ void __launch_bounds__(THREADS, 1) quantise(const mp_quant_params p) {
    for_groups(
        p, [&](long long row, int group, int first, int end) { quantise_group(p, row, group, first, end); });
}

#if SCALE == DTYPE_FP32 // others are of groups

// Magnitudes are ordered as their bits are. *scale is 0 at the start.
extern "C" __global__ void __launch_bounds__(THREADS) amax(const mp_quant_params p) {
    float amax = 0;
    for_groups(p, [&](long long row, int, int first, int end) {
        for (int at = first_of_thread(first); at < end; at += STEP)
            amax = largest_of_run(amax, take(p, row, at, end));
    });
    amax = largest_of_lanes<32>(amax);
    if (threadIdx.x % 32 == 0) atomicMax((unsigned *)p.scale, __float_as_uint(amax));
}

extern "C" __global__ void scale_of_amax(const mp_quant_params p) {
    float *scale = (float *)p.scale;
    *scale = mp_quant_scale_f32(*scale, LARGEST);
}

// By a division: a scale that is given says nothing of the largest number.
extern "C" __global__ void __launch_bounds__(THREADS) codes(const mp_quant_params p) {
    const float scale = *(const float *)p.scale;
    for_groups(p, [&](long long row, int, int first, int end) {
        for (int at = first_of_thread(first); at < end; at += STEP)
            store_codes(p, row, at, end, take(p, row, at, end), [&](float x) { return x / scale; });
    });
}

#endif
