/* SPDX-License-Identifier: Apache-2.0 */
// Sums of a grouped GEMM with the bits of a tensor core, on ordinary cores: tensorcore_step.h, a tile a
// block.
//
// A block has -DROWS positions of one expert by -DCOLUMNS of its columns, a thread ROWS_EACH by COLUMNS_EACH
// of them; -DBLOCKS of them are to fit a multiprocessor. Chunks of 32 terms are taken apart once, by the
// thread that has loaded them, into what steps are made of: upper halves of float64s, exponents (of rows as
// neighbouring pairs, of columns twice, so that one instruction is the largest of two results' sums), and
// masks of signs. A block's buffers hold a chunk, so that two blocks on a multiprocessor take turns in
// loading.
//
// -DGROUP, -DFRACTION_BITS, -DRESULT_BITS, -DZERO_EXPONENT: the model of a step. -DA_BYTES and so on, and the
// same of W: of a code, and the members of mp_step_format.
#include "offload/device/sums_params.h"
#include "offload/device/sums_parts.cuh"
#include "offload/device/tensorcore_step.h"

#define SIDE 16 // threads of a block along rows, and along columns
#define THREADS (SIDE * SIDE)
#define ROWS_EACH (ROWS / SIDE)
#define COLUMNS_EACH (COLUMNS / SIDE)
#define HALF 16 // terms that a thread takes apart
#define STEPS (CHUNK / GROUP)
static_assert(CHUNK % GROUP == 0, "a chunk is whole steps");

struct chunk {
    unsigned a_high[CHUNK][ROWS], w_high[CHUNK][COLUMNS];
    unsigned short a_exponent[CHUNK][ROWS]; // read as pairs
    unsigned w_exponent[CHUNK][COLUMNS];    // twice in every word
    unsigned short a_sign[ROWS][2], w_sign[COLUMNS][2];
};

// Codes of a row at places first .. first+16, one in each word; behind the last term they are 0.
template <int BYTES>
__device__ __forceinline__ void load_codes(const unsigned char *row, long long first, long long K,
                                           unsigned code[HALF]) {
    const bool whole = first / CHUNK * CHUNK + CHUNK <= K && K * BYTES % 16 == 0;
    if (whole && ORDER == DIRECT) {
        const uint4 *from = (const uint4 *)(row + first * BYTES);
#pragma unroll
        for (int v = 0; v < BYTES; v++) {
            const uint4 four = __ldg(from + v);
            const unsigned word[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
            for (int i = 0; i < HALF / BYTES; i++)
                code[v * (HALF / BYTES) + i] =
                    BYTES == 4 ? word[i] >> 13
                               : word[i * BYTES / 4] >> i * BYTES % 4 * 8 & ((1u << 8 * (BYTES & 3)) - 1);
        }
    } else if (whole && BYTES < 4) { // pairs of neighbours lie four apart
        const uint4 *from = (const uint4 *)(row + first / CHUNK * CHUNK * BYTES);
        const bool upper = first % CHUNK != 0;
#pragma unroll
        for (int v = 0; v < 2 * BYTES; v++) {
            const uint4 four = __ldg(from + v);
            const unsigned word[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
            for (int i = 0; i < 4 / BYTES; i++) { // quadruples of terms
                const unsigned pair =
                    BYTES == 2 ? (upper ? word[2 * i + 1] : word[2 * i]) : (upper ? word[i] >> 16 : word[i]);
                const int at = 2 * (v * 4 / BYTES + i);
                code[at] = pair & (BYTES == 2 ? 0xFFFF : 0xFF);
                code[at + 1] = BYTES == 2 ? pair >> 16 : pair >> 8 & 0xFF;
            }
        }
    } else {
#pragma unroll
        for (int i = 0; i < HALF; i++) {
            const long long k = taken(first + i);
            code[i] = k >= K       ? 0
                      : BYTES == 1 ? row[k]
                      : BYTES == 2 ? ((const unsigned short *)row)[k]
                                   : ((const unsigned *)row)[k] >> 13;
        }
    }
}

// Sixteen terms of a row of a, or of a column of w. Returns whether one is Inf or NaN.
template <bool OF_A>
__device__ __forceinline__ bool take_apart(chunk &c, int at, int half, const unsigned code[HALF]) {
    const mp_step_format format = OF_A ? mp_step_format{A_EXPONENT_BITS, A_FRACTION_BITS, A_IEEE, A_LOWEST}
                                       : mp_step_format{W_EXPONENT_BITS, W_FRACTION_BITS, W_IEEE, W_LOWEST};
    unsigned sign = 0;
    bool special = false;
#pragma unroll
    for (int i = 0; i < HALF; i++) {
        const mp_step_operand x = mp_step_decode(format, code[i]);
        const int k = half * HALF + i;
        sign |= x.high >> 31 << i;
        special |= x.special;
        if (OF_A) {
            c.a_high[k][at] = x.high;
            c.a_exponent[k][at] = (unsigned short)x.exponent;
        } else {
            const unsigned e = (unsigned)mp_step_w_exponent(x.exponent, FRACTION_BITS) & 0xFFFF;
            c.w_high[k][at] = x.high;
            c.w_exponent[k][at] = e * 0x10001u;
        }
    }
    (OF_A ? c.a_sign : c.w_sign)[at][half] = (unsigned short)sign;
    return special;
}

// COUNT neighbouring words of shared memory.
template <int COUNT> __device__ __forceinline__ void load_words(const unsigned *from, unsigned *to) {
    if (COUNT % 4 == 0) {
#pragma unroll
        for (int i = 0; i < COUNT / 4; i++) {
            const uint4 four = ((const uint4 *)from)[i];
            to[4 * i] = four.x;
            to[4 * i + 1] = four.y;
            to[4 * i + 2] = four.z;
            to[4 * i + 3] = four.w;
        }
    } else if (COUNT == 1) {
        to[0] = from[0];
    } else {
#pragma unroll
        for (int i = 0; i < COUNT / 2; i++) {
            const uint2 two = ((const uint2 *)from)[i];
            to[2 * i] = two.x;
            to[2 * i + 1] = two.y;
        }
    }
}

// A step of all results of a thread.
__device__ __forceinline__ void run_step(const chunk &c, int step, int row, int column,
                                         double acc[ROWS_EACH][COLUMNS_EACH], mp_step_extent *extent) {
    unsigned largest[ROWS_EACH / 2][COLUMNS_EACH], anchor[ROWS_EACH][COLUMNS_EACH];
    double sum[ROWS_EACH][COLUMNS_EACH];
#pragma unroll
    for (int i = 0; i < ROWS_EACH / 2; i++)
#pragma unroll
        for (int j = 0; j < COLUMNS_EACH; j++)
            largest[i][j] = mp_step_floor_pair(ZERO_EXPONENT, FRACTION_BITS);
#pragma unroll
    for (int k = step * GROUP; k < step * GROUP + GROUP; k++) {
        unsigned a[ROWS_EACH / 2], w[COLUMNS_EACH];
        load_words<ROWS_EACH / 2>((const unsigned *)&c.a_exponent[k][row], a);
        load_words<COLUMNS_EACH>(&c.w_exponent[k][column], w);
#pragma unroll
        for (int i = 0; i < ROWS_EACH / 2; i++)
#pragma unroll
            for (int j = 0; j < COLUMNS_EACH; j++)
                largest[i][j] = mp_step_max_pair(a[i], w[j], largest[i][j]);
    }
    const unsigned terms = (GROUP == 32 ? 0xFFFFFFFFu : (1u << GROUP % 32) - 1) << step * GROUP;
#pragma unroll
    for (int i = 0; i < ROWS_EACH; i++)
#pragma unroll
        for (int j = 0; j < COLUMNS_EACH; j++) {
            const unsigned a = *(const unsigned *)c.a_sign[row + i],
                           w = *(const unsigned *)c.w_sign[column + j];
            anchor[i][j] = mp_step_anchor(largest[i / 2][j] << (i % 2 ? 3 : 19), acc[i][j], FRACTION_BITS);
            sum[i][j] = mp_step_begin(anchor[i][j], acc[i][j], (a ^ w) & terms);
        }
#pragma unroll
    for (int k = step * GROUP; k < step * GROUP + GROUP; k++) {
        unsigned a[ROWS_EACH], w[COLUMNS_EACH];
        load_words<ROWS_EACH>(&c.a_high[k][row], a);
        load_words<COLUMNS_EACH>(&c.w_high[k][column], w);
#pragma unroll
        for (int i = 0; i < ROWS_EACH; i++)
#pragma unroll
            for (int j = 0; j < COLUMNS_EACH; j++) sum[i][j] = mp_step_add(sum[i][j], a[i], w[j]);
    }
#pragma unroll
    for (int i = 0; i < ROWS_EACH; i++)
#pragma unroll
        for (int j = 0; j < COLUMNS_EACH; j++) {
            acc[i][j] = mp_step_end(sum[i][j], anchor[i][j], RESULT_BITS);
            mp_step_widen(extent, acc[i][j]);
        }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) sums(const mp_sums_params p) {
    __shared__ __align__(16) chunk c;
    __shared__ unsigned char special[ROWS + COLUMNS];
    const long long column_tiles = (p.n + COLUMNS - 1) / COLUMNS;
    const mp_sums_tile tile = p.tile[blockIdx.x / column_tiles];
    const long long n0 = blockIdx.x % column_tiles * COLUMNS;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int row = (warp / 2 * 4 + lane / 8) * ROWS_EACH, column = (warp % 2 * 8 + lane % 8) * COLUMNS_EACH;
    double acc[ROWS_EACH][COLUMNS_EACH] = {};
    float inner[ROWS_EACH][COLUMNS_EACH] = {}, total[ROWS_EACH][COLUMNS_EACH] = {};
    mp_step_extent extent = mp_step_no_extent();
    for (int i = threadIdx.x; i < ROWS + COLUMNS; i += THREADS) special[i] = 0;

    for (long long k0 = 0; k0 < p.K; k0 += CHUNK) {
        __syncthreads();
        for (int unit = threadIdx.x; unit < 2 * (ROWS + COLUMNS); unit += THREADS) {
            const int half = unit / (ROWS + COLUMNS), at = unit % (ROWS + COLUMNS);
            const bool of_a = at < ROWS;
            const long long w_column = n0 + (at - ROWS);
            unsigned code[HALF] = {};
            if (of_a && at < tile.count)
                load_codes<A_BYTES>(p.a + p.a_row[tile.first + at] * p.K * A_BYTES, k0 + half * HALF, p.K,
                                    code);
            if (!of_a && w_column < p.n)
                load_codes<W_BYTES>(p.w + (tile.expert * p.n + w_column) * p.K * W_BYTES, k0 + half * HALF,
                                    p.K, code);
            const bool found =
                of_a ? take_apart<true>(c, at, half, code) : take_apart<false>(c, at - ROWS, half, code);
            if (found) special[at] = 1;
        }
        __syncthreads();
#pragma unroll 1
        for (int step = 0; step < STEPS; step++) {
            run_step(c, step, row, column, acc, &extent);
            const place at = place_of(p, k0 + (step + 1) * GROUP);
            if (!at.chain_ends) continue;
#pragma unroll
            for (int i = 0; i < ROWS_EACH; i++)
#pragma unroll
                for (int j = 0; j < COLUMNS_EACH; j++) {
                    if (row + i < tile.count && n0 + column + j < p.n)
                        end_chain(p, at, (float)acc[i][j], p.a_row[tile.first + row + i],
                                  tile.expert * p.n + n0 + column + j, &inner[i][j], &total[i][j]);
                    acc[i][j] = 0;
                }
            if (at.last) break;
        }
    }
    const bool left = mp_step_left_float32(extent);
#pragma unroll
    for (int i = 0; i < ROWS_EACH; i++)
#pragma unroll
        for (int j = 0; j < COLUMNS_EACH; j++) {
            if (row + i >= tile.count || n0 + column + j >= p.n) continue;
            const bool redo = left || special[row + i] || special[ROWS + column + j];
            p.sums[(tile.first + row + i - p.first_position) * p.n + n0 + column + j] =
                redo ? __uint_as_float(TO_BE_REDONE) : total[i][j];
        }
}
