/* SPDX-License-Identifier: Apache-2.0 */
/* What the micro-kernels of float64 and of float32 share: where a block's rows lie, and what a step needs to
 * know before it sums, which is read off bytes and sign masks, whatever the numbers are. Included by
 * the files of micro-kernels, tensorcore_*.c, alone. */
#ifndef MP_REF_TENSORCORE_STEPS_H
#define MP_REF_TENSORCORE_STEPS_H

#include "ref/predict/tensorcore_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC diagnostic ignored "-Wsign-conversion" /* without optimisation the intrinsics are macros, and \
                                                      write -1 for a mask of eight lanes */
#define MP_X86 1
#else
#define MP_X86 0
#endif
#define INLINE static inline __attribute__((always_inline))

enum { BYTE_BIAS = 127 }; /* of exponents as bytes; float32's too */
enum { PORTABLE_COLUMNS = 16, AVX512_COLUMNS = 64, AVX2_COLUMNS = 32 };

#if MP_X86
void mp_tc_single_avx512(const mp_tc_block *b);
void mp_tc_single_avx2(const mp_tc_block *b);
void mp_tc_bracket_avx512(const mp_tc_bracket_block *b);
void mp_tc_bracket_avx2(const mp_tc_bracket_block *b);
unsigned mp_tc_lanes_avx512(const mp_tc_lanes *l, float result[MP_TC_LANES]);
unsigned mp_tc_lanes_avx2(const mp_tc_lanes *l, float result[MP_TC_LANES]);
uint64_t mp_tc_pairs_avx512(const mp_tc_pairs *p, float result[MP_TC_PAIRS]);
#endif

/* All kernels take a step of all rows before the next step: the panel's part of a step, 9 KiB at most, then
 * stays in the first-level cache. */
INLINE const void *mp_tc_row_of(const mp_tc_block *b, int64_t row) {
    return (const char *)b->a + (size_t)row * b->row_bytes;
}
INLINE const int32_t *mp_tc_exponents_of(const mp_tc_block *b, int64_t row) {
    return b->a_exponent + (size_t)row * b->row_bytes / sizeof *b->a_exponent;
}
INLINE uint16_t mp_tc_signs_of(const mp_tc_block *b, int64_t row, int64_t mask) {
    return ((const uint16_t *)b->a_sign)[(size_t)row * b->row_bytes / sizeof(uint16_t) + (size_t)mask];
}
INLINE int64_t mp_tc_wide_signs_of(const mp_tc_block *b, int64_t row, int64_t mask) {
    return ((const int64_t *)b->a_sign)[(size_t)row * b->row_bytes / sizeof(int64_t) + (size_t)mask];
}

/* Of the next step, on its way into the first-level cache while this one is summed: what belongs to the row,
 * and its share of the panel. More streams than caches foresee. Behind the last step there is nothing, which
 * does no harm. */
INLINE void mp_tc_fetch(const mp_tc_block *b, int group, int64_t columns, size_t number_bytes, int64_t g,
                        int64_t row) {
    enum { LINE = 64, SHARES = MP_TC_MAX_ROWS * LINE };
    const int64_t k = (g + 1) * group, bytes = group * columns * (int64_t)number_bytes;
    const char *a = (const char *)mp_tc_row_of(b, row) + k * (int64_t)number_bytes,
               *w = (const char *)b->w + k * columns * (int64_t)number_bytes,
               *exponents = (const char *)b->w_exponent + k * columns;
    for (int64_t at = 0; at < group * (int64_t)number_bytes; at += LINE) __builtin_prefetch(a + at);
    __builtin_prefetch(mp_tc_exponents_of(b, row) + k);
    for (int64_t at = row * LINE; at < bytes; at += SHARES) __builtin_prefetch(w + at);
    for (int64_t at = row * LINE; at < group * columns; at += SHARES) __builtin_prefetch(exponents + at);
}

#if MP_X86
#define AVX512 \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512bitalg,avx512vpopcntdq")))
#define AVX2 __attribute__((target("avx2,fma,f16c"))) /* no processor has one of them without the others */

enum { AVX512_ROWS = 4 };

/* Exponents of the largest products of four rows by all columns, at least the floor, as bytes. */
AVX512 INLINE void mp_tc_largest_avx512(const mp_tc_block *b, int group, int64_t g, int64_t r0,
                                        __m512i e[AVX512_ROWS]) {
    const __m512i floor = _mm512_set1_epi8(MP_TC_FLOOR);
    const int8_t *w = b->w_exponent + g * group * AVX512_COLUMNS;
    const int32_t *a[AVX512_ROWS];
#pragma GCC unroll 4
    for (int r = 0; r < AVX512_ROWS; r++) {
        a[r] = mp_tc_exponents_of(b, r0 + r) + g * group;
        e[r] = floor;
    }
#pragma GCC unroll 16
    for (int k = 0; k < group; k++) {
        const __m512i column = _mm512_loadu_si512(w + k * AVX512_COLUMNS);
#pragma GCC unroll 4
        for (int r = 0; r < AVX512_ROWS; r++)
            e[r] = _mm512_max_epi8(e[r], _mm512_add_epi8(_mm512_set1_epi32(a[r][k]), column));
    }
#pragma GCC unroll 4
    for (int r = 0; r < AVX512_ROWS; r++) {
        const __mmask64 at_floor = _mm512_cmpeq_epi8_mask(e[r], floor);
        if (at_floor)
            _mm512_mask_storeu_epi8(b->at_floor + (r0 + r) * AVX512_COLUMNS, at_floor, _mm512_set1_epi8(1));
    }
}

/* Population counts of 16-bit lanes: those of the four digits, looked up, then the two bytes added. */
AVX2 INLINE __m256i mp_tc_popcount_epi16(__m256i x) {
    const __m256i digit = _mm256_set1_epi8(15), counts = _mm256_broadcastsi128_si256(_mm_setr_epi8(
                                                    0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m256i low = _mm256_shuffle_epi8(counts, _mm256_and_si256(x, digit));
    const __m256i high = _mm256_shuffle_epi8(counts, _mm256_and_si256(_mm256_srli_epi16(x, 4), digit));
    return _mm256_maddubs_epi16(_mm256_add_epi8(low, high), _mm256_set1_epi8(1));
}

/* field[row, columns]: exponent fields of the largest products, as a number's whose bias is `bias`;
 * negative[row, columns]: how many products are. Apart from the sums, which need not wait for them then. */
AVX2 INLINE void mp_tc_prepare_avx2(const mp_tc_block *b, int group, int64_t g, int bias, uint16_t *field,
                                    uint16_t *negative) {
    const __m256i floor = _mm256_set1_epi8(MP_TC_FLOOR),
                  rebias = _mm256_set1_epi16((short)(bias - BYTE_BIAS));
    const __m256i *w = (const __m256i *)(b->w_exponent + g * group * AVX2_COLUMNS);
    const int masks = mp_tc_masks(group);
    for (int64_t r = 0; r < b->rows; r++, field += AVX2_COLUMNS, negative += AVX2_COLUMNS) {
        const int32_t *a = mp_tc_exponents_of(b, r) + g * group;
        __m256i *at_floor = (__m256i *)(b->at_floor + r * AVX2_COLUMNS), e = floor;
#pragma GCC unroll 16
        for (int k = 0; k < group; k++)
            e = _mm256_max_epi8(e, _mm256_add_epi8(_mm256_set1_epi32(a[k]), _mm256_loadu_si256(w + k)));
        for (int half = 0; half < 2; half++) {
            __m256i count = _mm256_setzero_si256();
            for (int64_t mask = g * masks; mask < (g + 1) * masks; mask++) {
                const __m256i sign = _mm256_set1_epi16((short)mp_tc_signs_of(b, r, mask)),
                              *columns = (const __m256i *)((const uint16_t *)b->w_sign + mask * AVX2_COLUMNS);
                count = _mm256_add_epi16(
                    count, mp_tc_popcount_epi16(_mm256_xor_si256(sign, _mm256_loadu_si256(columns + half))));
            }
            const __m128i bytes = half ? _mm256_extracti128_si256(e, 1) : _mm256_castsi256_si128(e);
            _mm256_storeu_si256((__m256i *)field + half,
                                _mm256_add_epi16(rebias, _mm256_cvtepu8_epi16(bytes)));
            _mm256_storeu_si256((__m256i *)negative + half, count);
        }
        const __m256i found = _mm256_and_si256(_mm256_cmpeq_epi8(e, floor), _mm256_set1_epi8(1));
        _mm256_storeu_si256(at_floor, _mm256_or_si256(_mm256_loadu_si256(at_floor), found));
    }
}

#endif

#endif
