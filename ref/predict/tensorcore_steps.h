/* SPDX-License-Identifier: Apache-2.0 */
/* What the micro-kernels of float64 and of float32 share: where a block's rows lie, and what a step needs to
 * know before it sums, which is read off bytes and sign masks, whatever the numbers are. Included by
 * tensorcore_kernels.c and tensorcore_single.c alone. */
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
    return b->a_sign[(size_t)row * b->row_bytes / sizeof *b->a_sign + (size_t)mask];
}

#if MP_X86
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512bitalg")))
#define AVX2 __attribute__((target("avx2,fma")))

/* field[row, columns]: exponent fields of the products, at least the floor, as a number's whose bias is
 * `bias`; negative[row, columns]: how many products are. Apart from the sums, which need not wait for them
 * then. */
AVX512 INLINE void mp_tc_prepare_avx512(const mp_tc_block *b, int group, int64_t g, int bias, uint16_t *field,
                                        uint16_t *negative) {
    const __m512i floor = _mm512_set1_epi8(MP_TC_FLOOR),
                  rebias = _mm512_set1_epi16((short)(bias - BYTE_BIAS));
    const int8_t *w = b->w_exponent + g * group * AVX512_COLUMNS;
    const int masks = mp_tc_masks(group);
    for (int64_t r = 0; r < b->rows; r++, field += AVX512_COLUMNS, negative += AVX512_COLUMNS) {
        const int32_t *a = mp_tc_exponents_of(b, r) + g * group;
        __m512i e = floor;
#pragma GCC unroll 16
        for (int k = 0; k < group; k++)
            e = _mm512_max_epi8(
                e, _mm512_add_epi8(_mm512_set1_epi32(a[k]), _mm512_loadu_si512(w + k * AVX512_COLUMNS)));
        _mm512_storeu_si512(field, _mm512_add_epi16(rebias, _mm512_cvtepu8_epi16(_mm512_castsi512_si256(e))));
        _mm512_storeu_si512(field + 32,
                            _mm512_add_epi16(rebias, _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(e, 1))));
        __m512i count0 = _mm512_setzero_si512(), count1 = count0;
        for (int64_t mask = g * masks; mask < (g + 1) * masks; mask++) {
            const __m512i sign = _mm512_set1_epi16((short)mp_tc_signs_of(b, r, mask));
            const uint16_t *columns = b->w_sign + mask * AVX512_COLUMNS;
            count0 = _mm512_add_epi16(
                count0, _mm512_popcnt_epi16(_mm512_xor_si512(sign, _mm512_loadu_si512(columns))));
            count1 = _mm512_add_epi16(
                count1, _mm512_popcnt_epi16(_mm512_xor_si512(sign, _mm512_loadu_si512(columns + 32))));
        }
        _mm512_storeu_si512(negative, count0);
        _mm512_storeu_si512(negative + 32, count1);
        const __mmask64 at_floor = _mm512_cmpeq_epi8_mask(e, floor);
        if (at_floor)
            _mm512_mask_storeu_epi8(b->at_floor + r * AVX512_COLUMNS, at_floor, _mm512_set1_epi8(1));
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
                              *columns = (const __m256i *)(b->w_sign + mask * AVX2_COLUMNS);
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
