/* SPDX-License-Identifier: Apache-2.0 */
/* The micro-kernels of 8-bit floats in float32: the steps of tensorcore_kernels.c with twice the numbers in a
 * register. */
#include "ref/predict/tensorcore_steps.h"

#if MP_X86
/* Fields of a float32, whose bias is that of exponents as bytes. */
enum { FIELD_SHIFT = 23, FIELD_MASK = 0x7F800000 };
#define KEPT_MASK(result_bits) (-(INT32_C(1) << (FIELD_SHIFT - (result_bits))))
/* Added to the bits of 2^e: 1.5 * 2^(23+e-F) */
#define ANCHOR(fraction_bits) (((23 - (fraction_bits)) << FIELD_SHIFT) + (1 << 22))
#define ACC_FACTOR (1 + 0x1p-18F)

/* --- AVX-512: four rows at a time, 16 sums that do not wait for each other --- */

enum { AVX512_VECTORS = 4 };

/* field[row, columns]: exponent fields of the largest products; negative[row, columns]: how many products
 * are. Apart from the sums, which need not wait for them then. */
AVX512 INLINE void prepare_avx512(const mp_tc_block *b, int group, int64_t g, uint16_t *field,
                                  uint16_t *negative) {
    const int masks = mp_tc_masks(group);
    for (int64_t r0 = 0; r0 < b->rows; r0 += AVX512_ROWS) {
        __m512i e[AVX512_ROWS];
        mp_tc_largest_avx512(b, group, g, r0, e);
#pragma GCC unroll 4
        for (int r = 0; r < AVX512_ROWS; r++, field += AVX512_COLUMNS, negative += AVX512_COLUMNS) {
            __m512i count0 = _mm512_setzero_si512(), count1 = count0;
            for (int64_t mask = g * masks; mask < (g + 1) * masks; mask++) {
                const __m512i sign = _mm512_set1_epi16((short)mp_tc_signs_of(b, r0 + r, mask));
                const uint16_t *columns = (const uint16_t *)b->w_sign + mask * AVX512_COLUMNS;
                count0 = _mm512_add_epi16(
                    count0, _mm512_popcnt_epi16(_mm512_xor_si512(sign, _mm512_loadu_si512(columns))));
                count1 = _mm512_add_epi16(
                    count1, _mm512_popcnt_epi16(_mm512_xor_si512(sign, _mm512_loadu_si512(columns + 32))));
            }
            _mm512_storeu_si512(field, _mm512_cvtepu8_epi16(_mm512_castsi512_si256(e[r])));
            _mm512_storeu_si512(field + 32, _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(e[r], 1)));
            _mm512_storeu_si512(negative, count0);
            _mm512_storeu_si512(negative + 32, count1);
        }
    }
}

AVX512 INLINE void step_avx512(const mp_tc_block *b, int group, int64_t r0, int64_t g, const uint16_t *field,
                               const uint16_t *negative) {
    const __m512i to_anchor = _mm512_set1_epi32(ANCHOR(b->fraction_bits)),
                  field_mask = _mm512_set1_epi32(FIELD_MASK),
                  kept = _mm512_set1_epi32(KEPT_MASK(b->result_bits));
    const float *w = (const float *)b->w + g * group * AVX512_COLUMNS, *a[AVX512_ROWS];
    __m512 anchor[AVX512_ROWS][AVX512_VECTORS], sum[AVX512_ROWS][AVX512_VECTORS];
#pragma GCC unroll 4
    for (int r = 0; r < AVX512_ROWS; r++) {
        a[r] = (const float *)mp_tc_row_of(b, r0 + r) + g * group;
        const float *acc = (const float *)b->acc + (r0 + r) * AVX512_COLUMNS;
#pragma GCC unroll 4
        for (int v = 0; v < AVX512_VECTORS; v++) {
            const int64_t at = r * AVX512_COLUMNS + 16 * v;
            const __m512 c = _mm512_loadu_ps(acc + 16 * v);
            const __m512i products = _mm512_slli_epi32(
                _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(field + at))), FIELD_SHIFT);
            const __m512i e =
                _mm512_max_epi32(products, _mm512_and_si512(_mm512_castps_si512(c), field_mask));
            anchor[r][v] = _mm512_castsi512_ps(_mm512_add_epi32(e, to_anchor));
            sum[r][v] = _mm512_fmadd_round_ps(c, _mm512_set1_ps(ACC_FACTOR), anchor[r][v],
                                              _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
            const __m512i products_below =
                _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(negative + at)));
            const __m512i count =
                _mm512_add_epi32(products_below, _mm512_srli_epi32(_mm512_castps_si512(c), 31));
            sum[r][v] = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(sum[r][v]), count));
        }
    }
#pragma GCC unroll 2
    for (int k = 0; k < group; k++) {
        __m512 column[AVX512_VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < AVX512_VECTORS; v++) column[v] = _mm512_loadu_ps(w + k * AVX512_COLUMNS + 16 * v);
#pragma GCC unroll 4
        for (int r = 0; r < AVX512_ROWS; r++) {
            const __m512 x = _mm512_set1_ps(a[r][k]);
#pragma GCC unroll 4
            for (int v = 0; v < AVX512_VECTORS; v++)
                sum[r][v] =
                    _mm512_fmadd_round_ps(x, column[v], sum[r][v], _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < AVX512_ROWS; r++) {
        float *acc = (float *)b->acc + (r0 + r) * AVX512_COLUMNS;
#pragma GCC unroll 4
        for (int v = 0; v < AVX512_VECTORS; v++) {
            const __m512 total = _mm512_sub_ps(sum[r][v], anchor[r][v]);
            _mm512_storeu_ps(acc + 16 * v,
                             _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(total), kept)));
        }
    }
}

AVX512 INLINE void block_avx512(const mp_tc_block *block, int group) {
    const mp_tc_block b = *block; /* which no store of a vector can change */
    _Alignas(64) uint16_t field[MP_TC_MAX_ROWS * AVX512_COLUMNS], negative[MP_TC_MAX_ROWS * AVX512_COLUMNS];
    for (int64_t g = 0; g < b.groups; g++) {
        prepare_avx512(&b, group, g, field, negative);
        for (int64_t r = 0; r < b.rows; r += AVX512_ROWS)
            step_avx512(&b, group, r, g, field + r * AVX512_COLUMNS, negative + r * AVX512_COLUMNS);
    }
}

AVX512 void mp_tc_single_avx512(const mp_tc_block *b) {
    if (b->group == 32)
        block_avx512(b, 32); /* the loops over k unrolled */
    else
        block_avx512(b, b->group);
}

/* --- AVX2: the rounding mode is a state, and a zero difference is -0 in it: see tensorcore_kernels.c --- */

enum { AVX2_VECTORS = 4, AVX2_ROWS = 2 };

AVX2 INLINE void step_avx2(const mp_tc_block *b, int group, int64_t r0, int64_t g, const uint16_t *field,
                           const uint16_t *negative) {
    const __m256i to_anchor = _mm256_set1_epi32(ANCHOR(b->fraction_bits)),
                  field_mask = _mm256_set1_epi32(FIELD_MASK);
    const __m256 kept = _mm256_castsi256_ps(_mm256_set1_epi32(KEPT_MASK(b->result_bits)));
    const float *w = (const float *)b->w + g * group * AVX2_COLUMNS, *a[AVX2_ROWS];
    float *acc[AVX2_ROWS];
    __m256 anchor[AVX2_ROWS][AVX2_VECTORS], sum[AVX2_ROWS][AVX2_VECTORS];
#pragma GCC unroll 2
    for (int r = 0; r < AVX2_ROWS; r++) {
        a[r] = (const float *)mp_tc_row_of(b, r0 + r) + g * group;
        acc[r] = (float *)b->acc + (r0 + r) * AVX2_COLUMNS;
#pragma GCC unroll 4
        for (int v = 0; v < AVX2_VECTORS; v++) {
            const int64_t at = r * AVX2_COLUMNS + 8 * v;
            const __m256 c = _mm256_loadu_ps(acc[r] + 8 * v);
            const __m256i products = _mm256_slli_epi32(
                _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(field + at))), FIELD_SHIFT);
            const __m256i e =
                _mm256_max_epi32(products, _mm256_and_si256(_mm256_castps_si256(c), field_mask));
            anchor[r][v] = _mm256_castsi256_ps(_mm256_add_epi32(e, to_anchor));
            const __m256 s = _mm256_fmadd_ps(c, _mm256_set1_ps(ACC_FACTOR), anchor[r][v]);
            const __m256i below =
                _mm256_castps_si256(_mm256_cmp_ps(c, _mm256_setzero_ps(), _CMP_LT_OQ)); /* -1 where it is */
            const __m256i count = _mm256_sub_epi32(
                _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(negative + at))), below);
            sum[r][v] = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(s), count));
        }
    }
#pragma GCC unroll 4
    for (int k = 0; k < group; k++) {
        const __m256 x = _mm256_set1_ps(a[0][k]), y = _mm256_set1_ps(a[1][k]);
#pragma GCC unroll 4
        for (int v = 0; v < AVX2_VECTORS; v++) {
            const __m256 column = _mm256_loadu_ps(w + k * AVX2_COLUMNS + 8 * v);
            sum[0][v] = _mm256_fmadd_ps(x, column, sum[0][v]);
            sum[1][v] = _mm256_fmadd_ps(y, column, sum[1][v]);
        }
    }
#pragma GCC unroll 2
    for (int r = 0; r < AVX2_ROWS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < AVX2_VECTORS; v++)
            _mm256_storeu_ps(acc[r] + 8 * v, _mm256_and_ps(_mm256_sub_ps(sum[r][v], anchor[r][v]), kept));
}

AVX2 INLINE void block_avx2(const mp_tc_block *block, int group) {
    const mp_tc_block b = *block; /* which no store of a vector can change */
    _Alignas(64) uint16_t field[MP_TC_MAX_ROWS * AVX2_COLUMNS] = {0},
                                                 negative[MP_TC_MAX_ROWS * AVX2_COLUMNS] = {0};
    for (int64_t g = 0; g < b.groups; g++) {
        mp_tc_prepare_avx2(&b, group, g, BYTE_BIAS, field, negative);
        for (int64_t r = 0; r < b.rows; r += AVX2_ROWS)
            step_avx2(&b, group, r, g, field + r * AVX2_COLUMNS, negative + r * AVX2_COLUMNS);
    }
}

/* Not inlined: no arithmetic moves across the calls that set the mode. */
AVX2 static __attribute__((noinline)) void blocks_avx2(const mp_tc_block *b) {
    if (b->group == 32)
        block_avx2(b, 32);
    else
        block_avx2(b, b->group);
}

void mp_tc_single_avx2(const mp_tc_block *b) {
    const unsigned mode = _mm_getcsr();
    _mm_setcsr((mode & ~(unsigned)_MM_ROUND_MASK) | _MM_ROUND_DOWN);
    blocks_avx2(b);
    _mm_setcsr(mode);
}
#endif
