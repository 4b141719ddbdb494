/* SPDX-License-Identifier: Apache-2.0 */
// Sums of a grouped GEMM that an instruction of ordinary cores has the bits of: int8, exact in int32, which
// wraps around, and float32 by fused multiply-adds over ascending k. -DINT8: four terms to a word; else
// -DA_DTYPE and -DW_DTYPE say what becomes float32, a term to a word.
//
// A block has -DROWS positions of one expert by -DCOLUMNS of its columns, and buffers for CHUNK terms of
// them.
#include "offload/device/sums_params.h"
#include "offload/device/sums_parts.cuh"

#define SIDE 16 // threads of a block along rows, and along columns
#define THREADS (SIDE * SIDE)
#define ROWS_EACH (ROWS / SIDE)
#define COLUMNS_EACH (COLUMNS / SIDE)
#define WORDS (INT8 ? CHUNK / 4 : CHUNK)

#define BF16 0 // of an mp_dtype
#define FP16 1
#define FP32 2

#if INT8
typedef int number;
__device__ __forceinline__ number add(number sum, number a, number w) {
    return __dp4a(a, w, sum);
}
#else
typedef float number;
__device__ __forceinline__ number add(number sum, number a, number w) {
    return __fmaf_rn(a, w, sum);
}
template <int DTYPE> __device__ __forceinline__ float number_at(const unsigned char *row, long long k) {
    if (DTYPE == FP32) return ((const float *)row)[k];
    const unsigned short code = ((const unsigned short *)row)[k];
    if (DTYPE == BF16) return __uint_as_float((unsigned)code << 16);
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(code));
    return x;
}
#endif

// Word i of the terms from k0 on; behind the last term there are zeros.
template <bool OF_A>
__device__ __forceinline__ number word_at(const unsigned char *row, long long k0, int i, long long K) {
#if INT8
    unsigned word = 0;
    for (int t = 0; t < 4; t++)
        if (k0 + 4 * i + t < K) word |= (unsigned)row[k0 + 4 * i + t] << 8 * t;
    return (int)word;
#else
    return k0 + i < K ? number_at < OF_A ? A_DTYPE : W_DTYPE > (row, k0 + i) : 0;
#endif
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) sums(const mp_sums_params p) {
    __shared__ number a[WORDS][ROWS + 1], w[WORDS][COLUMNS + 1]; // the rest of a row keeps banks apart
    const long long column_tiles = (p.n + COLUMNS - 1) / COLUMNS;
    const mp_sums_tile tile = p.tile[blockIdx.x / column_tiles];
    const long long n0 = blockIdx.x % column_tiles * COLUMNS;
    const int row = threadIdx.x / SIDE, column = threadIdx.x % SIDE; // and every SIDE-th behind them
    number acc[ROWS_EACH][COLUMNS_EACH] = {};
    float inner[ROWS_EACH][COLUMNS_EACH] = {}, total[ROWS_EACH][COLUMNS_EACH] = {};

    for (long long k0 = 0; k0 < p.K; k0 += CHUNK) {
        __syncthreads();
        for (int i = threadIdx.x; i < WORDS * (ROWS + COLUMNS); i += THREADS) {
            const int word = i % WORDS, at = i / WORDS;
            const long long w_column = n0 + (at - ROWS);
            if (at < ROWS)
                a[word][at] = at < tile.count ? word_at<true>(p.a + p.a_row[tile.first + at] * p.K * A_BYTES,
                                                              k0, word, p.K)
                                              : 0;
            else
                w[word][at - ROWS] =
                    w_column < p.n
                        ? word_at<false>(p.w + (tile.expert * p.n + w_column) * p.K * W_BYTES, k0, word, p.K)
                        : 0;
        }
        __syncthreads();
        // A zero behind the last term would make a sum of -0 a +0.
        const int words = !INT8 && p.K - k0 < CHUNK ? (int)(p.K - k0) : WORDS;
#pragma unroll 8
        for (int k = 0; k < words; k++)
#pragma unroll
            for (int i = 0; i < ROWS_EACH; i++)
#pragma unroll
                for (int j = 0; j < COLUMNS_EACH; j++)
                    acc[i][j] = add(acc[i][j], a[k][row + i * SIDE], w[k][column + j * SIDE]);
        const place at = place_of(p, k0 + CHUNK);
        if (!at.chain_ends) continue;
#pragma unroll
        for (int i = 0; i < ROWS_EACH; i++)
#pragma unroll
            for (int j = 0; j < COLUMNS_EACH; j++) {
                const int position = row + i * SIDE;
                const long long w_column = n0 + column + j * SIDE;
                if (position < tile.count && w_column < p.n)
                    end_chain(p, at, (float)acc[i][j], p.a_row[tile.first + position],
                              tile.expert * p.n + w_column, &inner[i][j], &total[i][j]);
                acc[i][j] = 0;
            }
    }
#pragma unroll
    for (int i = 0; i < ROWS_EACH; i++)
#pragma unroll
        for (int j = 0; j < COLUMNS_EACH; j++) {
            const int position = row + i * SIDE;
            const long long w_column = n0 + column + j * SIDE;
            if (position < tile.count && w_column < p.n)
                p.sums[(tile.first + position - p.first_position) * p.n + w_column] = total[i][j];
        }
}
