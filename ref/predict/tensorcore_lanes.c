/* SPDX-License-Identifier: Apache-2.0 */
/* A step: products in float32, which are exact; each in units of the step, cut towards zero to an integer;
 * sums of eight of those, which fit into 31 bits, for each is below 2^27 and the accumulator, which joins the
 * first, below 2^26; both together in float64, cut to 24 bits. */
#include "ref/predict/tensorcore_lanes.h"

#include "base/clones.h"
#include "ref/predict/tensorcore_steps.h"

#include <string.h>

/* Exponents of 16 bits are a float32's upper half: a field, and 7 bits that are 0. A product's is the sum of
 * w's field, as its code has it, and a's exponent; a zero of a has one that brings every sum below the floor.
 * Nonzero products of bf16 that are not small are at least 2^(2*(-16-31)) = 2^-94: a step whose largest
 * product is not above the floor has none but zeros, or small ones. 2^(floor-25) is a normal number, and so
 * are the scales of 2^(25-floor). */
enum { BIAS = 127, SHIFT = 23, HALF_SHIFT = 7, FIELD = 0xFF << SHIFT, FLOOR = (BIAS - 96) << SHIFT };

/* fp16's field is three bits higher, its bias 15. Subnormals have exponent -14; the code of one, as that of a
 * zero, looks like -15. Beside a product that is above both nothing is hidden. */
enum { FP16_FIELD = 0x1F << 10, FP16_LOWER = 3, FP16_BIAS = 15, FP16_LEAST = -14, OF_ZEROS = -BIAS };

MP_CLONES void mp_tc_lanes_prepare(bool fp16, int group, int64_t k, const float *a, int32_t *exponent,
                                   int32_t *hidden) {
    const int least = fp16 ? FP16_LEAST : OF_ZEROS;
    for (int64_t g = 0; g < k / group; g++) {
        uint32_t any = 0;
        int largest = OF_ZEROS;
        for (int64_t i = g * group; i < (g + 1) * group; i++) {
            uint32_t bits;
            memcpy(&bits, &a[i], sizeof bits);
            const int e = (int)(bits >> SHIFT & 0xFF) - BIAS, seen = e > least || e == OF_ZEROS ? e : least;
            any |= bits << 1;
            largest = seen > largest ? seen : largest;
            exponent[i] = seen * (1 << HALF_SHIFT) * (1 << 16) + (seen * (1 << HALF_SHIFT) & 0xFFFF);
        }
        const int32_t below = fp16 ? (largest + FP16_LEAST - 1 + BIAS) * (1 << SHIFT) : FLOOR;
        hidden[g] = any ? below : 0; /* products of zeros hide nothing */
    }
}

#if MP_X86

/* --- AVX-512 --- */

AVX512 INLINE __m512 numbers_avx512(bool fp16, const uint16_t *w) {
    const __m256i codes = _mm256_loadu_si256((const __m256i *)w);
    return fp16 ? _mm512_cvtph_ps(codes)
                : _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(codes), 16));
}

/* What is cut to the accumulator's 24 bits, of eight lanes. */
AVX512 INLINE __m256 cut_avx512(__m256i first, __m256i second) {
    const __m512i kept = _mm512_set1_epi64(-(INT64_C(1) << 29));
    const __m512d total = _mm512_add_pd(_mm512_cvtepi32_pd(first), _mm512_cvtepi32_pd(second));
    return _mm512_cvtpd_ps(_mm512_castsi512_pd(_mm512_and_si512(_mm512_castpd_si512(total), kept)));
}

/* Returns the largest product's exponent, or the floor, above what may be hidden. */
AVX512 INLINE __m512i step_avx512(const mp_tc_lanes *l, bool fp16, int group, int64_t g, __m512 *acc) {
    enum { TERMS_OF_A_SUM = 8 };
    const float *a = l->a + g * group;
    const uint16_t *w = l->w + g * group * MP_TC_LANES;
    const int32_t *exponent = l->exponent + g * group;
    const __m512i field = _mm512_set1_epi16(fp16 ? FP16_FIELD : FIELD >> 16);
    const __mmask16 upper = 0xFF00;
    __m512i largest = _mm512_set1_epi16(INT16_MIN), sum[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    __m512 product[16];
#pragma GCC unroll 8
    for (int k = 0; k < group; k += 2) {
        __m512i of_w = _mm512_and_si512(field, _mm512_loadu_si512(w + k * MP_TC_LANES));
        if (fp16) of_w = _mm512_srli_epi16(of_w, FP16_LOWER);
        const __m512i of_a = _mm512_mask_set1_epi32(_mm512_set1_epi32(exponent[k]), upper, exponent[k + 1]);
        largest = _mm512_max_epi16(largest, _mm512_add_epi16(of_w, of_a));
        product[k] = _mm512_mul_ps(_mm512_set1_ps(a[k]), numbers_avx512(fp16, w + k * MP_TC_LANES));
        product[k + 1] =
            _mm512_mul_ps(_mm512_set1_ps(a[k + 1]), numbers_avx512(fp16, w + (k + 1) * MP_TC_LANES));
    }
    __m512i e =
        _mm512_slli_epi32(_mm512_cvtepi16_epi32(_mm256_max_epi16(_mm512_castsi512_si256(largest),
                                                                 _mm512_extracti64x4_epi64(largest, 1))),
                          16);
    if (fp16) e = _mm512_add_epi32(e, _mm512_set1_epi32((BIAS - FP16_BIAS) << SHIFT));
    e = _mm512_max_epi32(e, _mm512_set1_epi32(FLOOR));
    const __m512i above = _mm512_sub_epi32(e, _mm512_set1_epi32(l->hidden[g]));
    e = _mm512_max_epi32(e, _mm512_and_si512(_mm512_castps_si512(*acc), _mm512_set1_epi32(FIELD)));
    const __m512 unit =
                     _mm512_castsi512_ps(_mm512_sub_epi32(e, _mm512_set1_epi32(l->fraction_bits << SHIFT))),
                 to_units = _mm512_castsi512_ps(_mm512_sub_epi32(
                     _mm512_set1_epi32((int)((uint32_t)(2 * BIAS + l->fraction_bits) << SHIFT)), e));
    sum[0] = _mm512_cvttps_epi32(_mm512_mul_ps(*acc, to_units));
#pragma GCC unroll 16
    for (int k = 0; k < group; k++)
        sum[k / TERMS_OF_A_SUM] = _mm512_add_epi32(sum[k / TERMS_OF_A_SUM],
                                                   _mm512_cvttps_epi32(_mm512_mul_ps(product[k], to_units)));
    const __m256 low = cut_avx512(_mm512_castsi512_si256(sum[0]), _mm512_castsi512_si256(sum[1])),
                 high =
                     cut_avx512(_mm512_extracti64x4_epi64(sum[0], 1), _mm512_extracti64x4_epi64(sum[1], 1));
    *acc = _mm512_mul_ps(unit, _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1));
    return above;
}

AVX512 INLINE unsigned lanes_avx512(const mp_tc_lanes *l, bool fp16, int group, float *result) {
    __m512 acc = _mm512_setzero_ps(), sum = acc;
    __m512i lowest = _mm512_set1_epi32(FIELD);
    for (int64_t g = 0; g < l->groups; g++) {
        lowest = _mm512_min_epi32(lowest, step_avx512(l, fp16, group, g, &acc));
        if (!l->by_pairs || g % 2 == 0) continue;
        sum = _mm512_add_ps(sum, acc);
        acc = _mm512_setzero_ps();
    }
    _mm512_storeu_ps(result, l->by_pairs ? sum : acc);
    return _mm512_cmpgt_epi32_mask(lowest, _mm512_setzero_si512());
}

AVX512 unsigned mp_tc_lanes_avx512(const mp_tc_lanes *l, float result[MP_TC_LANES]) {
    if (l->fp16) return l->group == 16 ? lanes_avx512(l, true, 16, result) : lanes_avx512(l, true, 8, result);
    return l->group == 16 ? lanes_avx512(l, false, 16, result) : lanes_avx512(l, false, 8, result);
}

/* --- AVX2: eight lanes at a time --- */

enum { AT_ONCE = 8 };

AVX2 INLINE __m256 numbers_avx2(bool fp16, const uint16_t *w) {
    const __m128i codes = _mm_loadu_si128((const __m128i *)w);
    return fp16 ? _mm256_cvtph_ps(codes)
                : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(codes), 16));
}

AVX2 INLINE __m128 cut_avx2(__m128i first, __m128i second) {
    const __m256d kept = _mm256_castsi256_pd(_mm256_set1_epi64x(-(INT64_C(1) << 29)));
    return _mm256_cvtpd_ps(
        _mm256_and_pd(kept, _mm256_add_pd(_mm256_cvtepi32_pd(first), _mm256_cvtepi32_pd(second))));
}

AVX2 INLINE __m256i step_avx2(const mp_tc_lanes *l, bool fp16, int group, int64_t g, int first, __m256 *acc) {
    enum { TERMS_OF_A_SUM = 8 };
    const float *a = l->a + g * group;
    const uint16_t *w = l->w + g * group * MP_TC_LANES + first;
    const int32_t *exponent = l->exponent + g * group;
    const __m128i field = _mm_set1_epi16(fp16 ? FP16_FIELD : FIELD >> 16);
    __m128i largest = _mm_set1_epi16(INT16_MIN);
    __m256i sum[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    __m256 product[16];
#pragma GCC unroll 16
    for (int k = 0; k < group; k++) {
        __m128i of_w = _mm_and_si128(field, _mm_loadu_si128((const __m128i *)(w + k * MP_TC_LANES)));
        if (fp16) of_w = _mm_srli_epi16(of_w, FP16_LOWER);
        largest = _mm_max_epi16(largest, _mm_add_epi16(of_w, _mm_set1_epi32(exponent[k])));
        product[k] = _mm256_mul_ps(_mm256_set1_ps(a[k]), numbers_avx2(fp16, w + k * MP_TC_LANES));
    }
    __m256i e = _mm256_slli_epi32(_mm256_cvtepi16_epi32(largest), 16);
    if (fp16) e = _mm256_add_epi32(e, _mm256_set1_epi32((BIAS - FP16_BIAS) << SHIFT));
    e = _mm256_max_epi32(e, _mm256_set1_epi32(FLOOR));
    const __m256i above = _mm256_sub_epi32(e, _mm256_set1_epi32(l->hidden[g]));
    e = _mm256_max_epi32(e, _mm256_and_si256(_mm256_castps_si256(*acc), _mm256_set1_epi32(FIELD)));
    const __m256 unit =
                     _mm256_castsi256_ps(_mm256_sub_epi32(e, _mm256_set1_epi32(l->fraction_bits << SHIFT))),
                 to_units = _mm256_castsi256_ps(_mm256_sub_epi32(
                     _mm256_set1_epi32((int)((uint32_t)(2 * BIAS + l->fraction_bits) << SHIFT)), e));
    sum[0] = _mm256_cvttps_epi32(_mm256_mul_ps(*acc, to_units));
#pragma GCC unroll 16
    for (int k = 0; k < group; k++)
        sum[k / TERMS_OF_A_SUM] = _mm256_add_epi32(sum[k / TERMS_OF_A_SUM],
                                                   _mm256_cvttps_epi32(_mm256_mul_ps(product[k], to_units)));
    const __m128 low = cut_avx2(_mm256_castsi256_si128(sum[0]), _mm256_castsi256_si128(sum[1])),
                 high = cut_avx2(_mm256_extracti128_si256(sum[0], 1), _mm256_extracti128_si256(sum[1], 1));
    *acc = _mm256_mul_ps(unit, _mm256_set_m128(high, low));
    return above;
}

AVX2 INLINE unsigned lanes_avx2(const mp_tc_lanes *l, bool fp16, int group, float *result) {
    unsigned certain = 0;
    for (int first = 0; first < MP_TC_LANES; first += AT_ONCE) {
        __m256 acc = _mm256_setzero_ps(), sum = acc;
        __m256i lowest = _mm256_set1_epi32(FIELD);
        for (int64_t g = 0; g < l->groups; g++) {
            lowest = _mm256_min_epi32(lowest, step_avx2(l, fp16, group, g, first, &acc));
            if (!l->by_pairs || g % 2 == 0) continue;
            sum = _mm256_add_ps(sum, acc);
            acc = _mm256_setzero_ps();
        }
        _mm256_storeu_ps(result + first, l->by_pairs ? sum : acc);
        certain |= (unsigned)_mm256_movemask_ps(
                       _mm256_castsi256_ps(_mm256_cmpgt_epi32(lowest, _mm256_setzero_si256())))
                   << first;
    }
    return certain;
}

AVX2 unsigned mp_tc_lanes_avx2(const mp_tc_lanes *l, float result[MP_TC_LANES]) {
    if (l->fp16) return l->group == 16 ? lanes_avx2(l, true, 16, result) : lanes_avx2(l, true, 8, result);
    return l->group == 16 ? lanes_avx2(l, false, 16, result) : lanes_avx2(l, false, 8, result);
}
#endif
