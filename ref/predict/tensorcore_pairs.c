/* SPDX-License-Identifier: Apache-2.0 */
/* A step: products in float32, which are exact; each in units of the step, cut towards zero to an integer;
 * their sum, cut to 24 bits. Exponents are picked for all pairs at once, one a byte. */
#include "ref/predict/tensorcore_pairs.h"

#include "ref/predict/tensorcore_steps.h"

#if MP_X86

/* Exponents that are seen are -94 or more, others HIDDEN at most. 2^(FLOOR-25) is a normal number, and so is
 * the scale of 2^(25-FLOOR). */
enum { BIAS = 127, SHIFT = 23, FIELD = 0xFF << SHIFT, FLOOR = -96, HIDDEN = 16 + MP_TC_LEAST_SEEN - 1 };

enum { LANES = 16, BATCHES = MP_TC_PAIRS / LANES, AT_ONCE = 2, SUMS = 4 };

/* Exponents of a step's largest products. */
AVX512 INLINE __m512i largest(const mp_tc_pairs *p, int group, int64_t g, __m512i rows, __m512i columns) {
    const int8_t *a = p->a_exponent + g * group * MP_TC_PAIRS_COLUMNS,
                 *w = p->w_exponent + g * group * MP_TC_PAIRS_COLUMNS;
    __m512i e = _mm512_set1_epi8(MP_TC_NO_EXPONENT);
#pragma GCC unroll 16
    for (int k = 0; k < group; k++) {
        const __m512i of_a = _mm512_permutexvar_epi8(rows, _mm512_loadu_si512(a + k * MP_TC_PAIRS_COLUMNS)),
                      of_w =
                          _mm512_permutexvar_epi8(columns, _mm512_loadu_si512(w + k * MP_TC_PAIRS_COLUMNS));
        e = _mm512_max_epi8(e, _mm512_adds_epi8(of_a, of_w));
    }
    return e;
}

/* The sum of both, cut to the accumulator's 24 bits. Each is 2^30 + 2^26 at most: their sum may not fit into
 * 32 bits. */
AVX512 INLINE __m512 cut(__m512i first, __m512i second) {
    enum { BOTH_DIFFER_FROM_C = 0x42 };
    const __m512i total = _mm512_add_epi32(first, second);
    if (__builtin_expect(
            _mm512_movepi32_mask(_mm512_ternarylogic_epi32(first, second, total, BOTH_DIFFER_FROM_C)) == 0,
            1))
        return _mm512_cvt_roundepi32_ps(total, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
    const __m512d low = _mm512_add_pd(_mm512_cvtepi32_pd(_mm512_castsi512_si256(first)),
                                      _mm512_cvtepi32_pd(_mm512_castsi512_si256(second))),
                  high = _mm512_add_pd(_mm512_cvtepi32_pd(_mm512_extracti64x4_epi64(first, 1)),
                                       _mm512_cvtepi32_pd(_mm512_extracti64x4_epi64(second, 1)));
    return _mm512_insertf32x8(
        _mm512_castps256_ps512(_mm512_cvt_roundpd_ps(low, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC)),
        _mm512_cvt_roundpd_ps(high, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC), 1);
}

/* Sixteen pairs, which a vector holds. */
typedef struct batch {
    __m512i row, column;
    __m512 acc, sum;
} batch;

/* Of two of them: what they pick from is loaded once. */
AVX512 INLINE void step(const mp_tc_pairs *p, int group, int64_t g, const int8_t *exponents, batch *b) {
    const int64_t first = g * group;
    const float *low = p->a[0] + first * MP_TC_PAIRS_ROWS, *high = p->a[1] + first * MP_TC_PAIRS_ROWS,
                *w = p->w + first * MP_TC_PAIRS_COLUMNS;
    __m512 unit[AT_ONCE], to_units[AT_ONCE];
    __m512i sum[AT_ONCE][SUMS];
#pragma GCC unroll 2
    for (int i = 0; i < AT_ONCE; i++) {
        const __m512i of_products = _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtepi8_epi32(_mm_loadu_si128(
                                                                           (const __m128i *)exponents + i)),
                                                                       _mm512_set1_epi32(BIAS)),
                                                      SHIFT),
                      e = _mm512_max_epi32(of_products, _mm512_and_si512(_mm512_castps_si512(b[i].acc),
                                                                         _mm512_set1_epi32(FIELD)));
        unit[i] = _mm512_castsi512_ps(_mm512_sub_epi32(e, _mm512_set1_epi32(p->fraction_bits << SHIFT)));
        to_units[i] = _mm512_castsi512_ps(
            _mm512_sub_epi32(_mm512_set1_epi32((int)((uint32_t)(2 * BIAS + p->fraction_bits) << SHIFT)), e));
        sum[i][0] = _mm512_cvttps_epi32(_mm512_mul_ps(b[i].acc, to_units[i]));
    }
#pragma GCC unroll 16
    for (int k = 0; k < group; k++) {
        const __m512 of_a[2] = {_mm512_loadu_ps(low + k * MP_TC_PAIRS_ROWS),
                                _mm512_loadu_ps(high + k * MP_TC_PAIRS_ROWS)},
                     of_w[2] = {_mm512_loadu_ps(w + k * MP_TC_PAIRS_COLUMNS),
                                _mm512_loadu_ps(w + k * MP_TC_PAIRS_COLUMNS + LANES)};
#pragma GCC unroll 2
        for (int i = 0; i < AT_ONCE; i++) {
            const __m512 product = _mm512_mul_ps(_mm512_permutex2var_ps(of_a[0], b[i].row, of_a[1]),
                                                 _mm512_permutex2var_ps(of_w[0], b[i].column, of_w[1]));
            const __m512i units = _mm512_cvttps_epi32(_mm512_mul_ps(product, to_units[i]));
            sum[i][k % SUMS] = k > 0 && k < SUMS ? units : _mm512_add_epi32(sum[i][k % SUMS], units);
        }
    }
#pragma GCC unroll 2
    for (int i = 0; i < AT_ONCE; i++)
        b[i].acc = _mm512_mul_ps(
            unit[i], cut(_mm512_add_epi32(sum[i][0], sum[i][1]), _mm512_add_epi32(sum[i][2], sum[i][3])));
}

AVX512 INLINE uint64_t steps(const mp_tc_pairs *p, int group, float *result) {
    const __m512i rows = _mm512_loadu_si512(p->row), columns = _mm512_loadu_si512(p->column),
                  floor = _mm512_set1_epi8(FLOOR);
    __m512i lowest = _mm512_set1_epi8(INT8_MAX);
    batch b[BATCHES];
    for (int i = 0; i < BATCHES; i++)
        b[i] = (batch){.row = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p->row + i)),
                       .column = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p->column + i)),
                       .acc = _mm512_setzero_ps(),
                       .sum = _mm512_setzero_ps()};
    for (int64_t g = 0; g < p->groups; g++) {
        _Alignas(64) int8_t exponents[MP_TC_PAIRS];
        const __m512i e = largest(p, group, g, rows, columns);
        lowest = _mm512_min_epi8(lowest, e);
        _mm512_storeu_si512(exponents, _mm512_max_epi8(e, floor));
        for (int i = 0; i * LANES < p->count; i += AT_ONCE) step(p, group, g, exponents + i * LANES, b + i);
        if (!p->by_pairs || g % 2 == 0) continue;
        for (int i = 0; i < BATCHES; i++) {
            b[i].sum = _mm512_add_ps(b[i].sum, b[i].acc);
            b[i].acc = _mm512_setzero_ps();
        }
    }
    for (int i = 0; i < BATCHES; i++) _mm512_storeu_ps(result + i * LANES, p->by_pairs ? b[i].sum : b[i].acc);
    return _mm512_cmpgt_epi8_mask(lowest, _mm512_set1_epi8(HIDDEN));
}

AVX512 uint64_t mp_tc_pairs_avx512(const mp_tc_pairs *p, float result[MP_TC_PAIRS]) {
    return p->group == 16 ? steps(p, 16, result) : steps(p, 8, result);
}
#endif
