/* SPDX-License-Identifier: Apache-2.0 */
/* The micro-kernels of brackets: float32 sums of products, and how large they became on the way. Beside the
 * multiply-adds a step takes three instructions a result. All rows take a step before the next one: the
 * panel's part of it, and the block's sums, stay in the first-level cache. */
#include "ref/predict/tensorcore_steps.h"

#if MP_X86
enum { COLUMNS = MP_TC_BRACKET_COLUMNS, STRIDE = MP_TC_BRACKET_ROWS, ROWS = 4 };

/* --- AVX-512: four rows by a whole panel, or by half of one where there are two chains --- */

AVX512 INLINE void step_avx512(const mp_tc_bracket_block *b, int group, int chain, int64_t g, int64_t r0,
                               int64_t j0, int vectors) {
    enum { MOST_VECTORS = COLUMNS / 16, LARGER_MAGNITUDE = 0xB };
    const float *a = b->a + g * group * STRIDE + r0, *w = b->w + g * group * COLUMNS + j0;
    __m512 first[ROWS][MOST_VECTORS], sum[ROWS][MOST_VECTORS];
#pragma GCC unroll 16
    for (int k = 0; k < group; k++) {
        __m512 column[MOST_VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) column[v] = _mm512_loadu_ps(w + k * COLUMNS + 16 * v);
#pragma GCC unroll 4
        for (int r = 0; r < ROWS; r++) {
            const __m512 x = _mm512_set1_ps(a[k * STRIDE + r]);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) {
                if (k == chain) first[r][v] = sum[r][v];
                sum[r][v] =
                    k % chain == 0 ? _mm512_mul_ps(x, column[v]) : _mm512_fmadd_ps(x, column[v], sum[r][v]);
            }
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            const int64_t at = (r0 + r) * COLUMNS + j0 + 16 * v;
            if (chain < group) sum[r][v] = _mm512_add_ps(first[r][v], sum[r][v]);
            sum[r][v] = _mm512_add_ps(_mm512_loadu_ps(b->sum + at), sum[r][v]);
            _mm512_storeu_ps(b->sum + at, sum[r][v]);
            _mm512_storeu_ps(
                b->sizes + at,
                _mm512_add_ps(_mm512_loadu_ps(b->sizes + at),
                              _mm512_range_ps(sum[r][v], _mm512_loadu_ps(b->least + at), LARGER_MAGNITUDE)));
        }
}

AVX512 INLINE void block_avx512(const mp_tc_bracket_block *block, int group, int chain, int vectors) {
    const mp_tc_bracket_block b = *block; /* which no store of a vector can change */
    for (int64_t g = 0; g < b.groups; g++)
        for (int64_t r = 0; r < b.rows; r += ROWS)
            for (int64_t j = 0; j < COLUMNS; j += 16 * vectors)
                step_avx512(&b, group, chain, g, r, j, vectors);
}

AVX512 void mp_tc_bracket_avx512(const mp_tc_bracket_block *b) {
    if (b->group == 8)
        block_avx512(b, 8, 8, 4);
    else if (b->chain == 8)
        block_avx512(b, 16, 8, 2);
    else
        block_avx512(b, 16, 16, 4);
}

/* --- AVX2: four rows by a quarter of a panel, eight sums that do not wait for each other --- */

AVX2 INLINE void step_avx2(const mp_tc_bracket_block *b, int group, int chain, int64_t g, int64_t r0,
                           int64_t j0) {
    enum { VECTORS = 2 };
    const __m256 sign = _mm256_set1_ps(-0.0F);
    const float *a = b->a + g * group * STRIDE + r0, *w = b->w + g * group * COLUMNS + j0;
    __m256 first[ROWS][VECTORS], sum[ROWS][VECTORS];
#pragma GCC unroll 16
    for (int k = 0; k < group; k++) {
        const __m256 column[VECTORS] = {_mm256_loadu_ps(w + k * COLUMNS),
                                        _mm256_loadu_ps(w + k * COLUMNS + 8)};
#pragma GCC unroll 4
        for (int r = 0; r < ROWS; r++) {
            const __m256 x = _mm256_set1_ps(a[k * STRIDE + r]);
#pragma GCC unroll 2
            for (int v = 0; v < VECTORS; v++) {
                if (k == chain) first[r][v] = sum[r][v];
                sum[r][v] =
                    k % chain == 0 ? _mm256_mul_ps(x, column[v]) : _mm256_fmadd_ps(x, column[v], sum[r][v]);
            }
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; v++) {
            const int64_t at = (r0 + r) * COLUMNS + j0 + 8 * v;
            if (chain < group) sum[r][v] = _mm256_add_ps(first[r][v], sum[r][v]);
            sum[r][v] = _mm256_add_ps(_mm256_loadu_ps(b->sum + at), sum[r][v]);
            const __m256 size =
                _mm256_max_ps(_mm256_andnot_ps(sign, sum[r][v]), _mm256_loadu_ps(b->least + at));
            _mm256_storeu_ps(b->sum + at, sum[r][v]);
            _mm256_storeu_ps(b->sizes + at, _mm256_add_ps(_mm256_loadu_ps(b->sizes + at), size));
        }
}

AVX2 INLINE void block_avx2(const mp_tc_bracket_block *block, int group, int chain) {
    const mp_tc_bracket_block b = *block;
    for (int64_t g = 0; g < b.groups; g++)
        for (int64_t r = 0; r < b.rows; r += ROWS)
            for (int64_t j = 0; j < COLUMNS; j += 16) step_avx2(&b, group, chain, g, r, j);
}

AVX2 void mp_tc_bracket_avx2(const mp_tc_bracket_block *b) {
    if (b->group == 8)
        block_avx2(b, 8, 8);
    else if (b->chain == 8)
        block_avx2(b, 16, 8);
    else
        block_avx2(b, 16, 16);
}
#endif
