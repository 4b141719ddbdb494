/* SPDX-License-Identifier: Apache-2.0 */
// The sums that tensorcore.cu has left to the definition: those of rows and columns with Inf or NaN, and
// those whose accumulator left float32's normal numbers. A thread a sum, in the integers of
// ref/predict/terms.h. Options are those of tensorcore.cu, and its tiles: -DROWS by -DCOLUMNS.
#include "offload/device/sums_params.h"
#include "offload/device/sums_parts.cuh"
#include "offload/device/tensorcore_step.h"
#include "ref/predict/terms.h"

#define THREADS 256

template <int BYTES> __device__ unsigned code_at(const unsigned char *row, long long k) {
    return BYTES == 1   ? row[k]
           : BYTES == 2 ? ((const unsigned short *)row)[k]
                        : ((const unsigned *)row)[k] >> 13;
}

// The operand in the step's format: its exponent is no less than that format's lowest.
__device__ mp_term term_of(mp_step_format f, unsigned code) {
    const mp_step_operand x = mp_step_decode(f, code);
    const unsigned fraction = code & ((1u << f.fraction_bits) - 1);
    const int exponent = (int)(x.high >> 20 & 0x7FF) - 1023;
    const bool zero = x.exponent == MP_STEP_ZERO_EXPONENT;
    mp_term t;
    t.kind = !x.special ? MP_TERM_FINITE : f.ieee && fraction == 0 ? MP_TERM_INFINITE : MP_TERM_NAN;
    t.negative = x.high >> 31;
    t.exponent = zero ? 0 : x.exponent / 2;
    t.fraction_bits = 20 + t.exponent - exponent;
    t.significand = zero ? 0 : (x.high & 0xFFFFF) | 1 << 20;
    return t;
}

// Places first .. first+GROUP of k, from accumulator c.
__device__ unsigned run_step(const mp_sums_params &p, const unsigned char *a, const unsigned char *w,
                             long long first, unsigned c) {
    const mp_step_format a_format = {A_EXPONENT_BITS, A_FRACTION_BITS, A_IEEE, A_LOWEST},
                         w_format = {W_EXPONENT_BITS, W_FRACTION_BITS, W_IEEE, W_LOWEST};
    const mp_term_format float32 = {8, 23, MP_SPECIALS_IEEE};
    mp_term terms[GROUP + 1];
    for (int i = 0; i < GROUP; i++) {
        const long long k = taken(first + i);
        const mp_term x = term_of(a_format, k < p.K ? code_at<A_BYTES>(a, k) : 0),
                      y = term_of(w_format, k < p.K ? code_at<W_BYTES>(w, k) : 0);
        terms[i] = mp_term_multiply(&x, &y);
    }
    terms[GROUP] = mp_term_decode(&float32, c);
    return mp_terms_step(&float32, GROUP + 1, terms, ZERO_EXPONENT, FRACTION_BITS, false, RESULT_BITS);
}

extern "C" __global__ void redo(const mp_sums_params p) {
    const long long column_tiles = (p.n + COLUMNS - 1) / COLUMNS;
    const mp_sums_tile tile = p.tile[blockIdx.x / column_tiles];
    const long long n0 = blockIdx.x % column_tiles * COLUMNS;
    for (int i = threadIdx.x; i < ROWS * COLUMNS; i += THREADS) {
        const long long position = tile.first + i / COLUMNS, column = n0 + i % COLUMNS;
        if (i / COLUMNS >= tile.count || column >= p.n) continue;
        float *sum = &p.sums[(position - p.first_position) * p.n + column];
        if (__float_as_uint(*sum) != TO_BE_REDONE) continue;
        const long long a_row = p.a_row[position], w_row = tile.expert * p.n + column;
        float inner = 0, total = 0;
        unsigned acc = 0;
        place at;
        for (long long k = 0; k < padded(p.K); k += GROUP) {
            acc = run_step(p, p.a + a_row * p.K * A_BYTES, p.w + w_row * p.K * W_BYTES, k, acc);
            at = place_of(p, k + GROUP);
            if (!at.chain_ends) continue;
            end_chain(p, at, __uint_as_float(acc), a_row, w_row, &inner, &total);
            acc = 0;
        }
        *sum = total;
    }
}
