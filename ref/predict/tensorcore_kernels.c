/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/tensorcore_kernels.h"

#include "base/bits.h"
#include "ref/predict/tensorcore_steps.h"

#include <stdbool.h>

const mp_tc_form mp_tc_double = {sizeof(double), 1 + 0x1p-30, 0x1p-500, sizeof(uint16_t), 0, false},
                 mp_tc_wide = {sizeof(double),   1 + 0x1p-30,        0x1p-900,
                               sizeof(uint64_t), 0x7FFFFFFFFFFF0000, true},
                 mp_tc_single = {sizeof(float), 1 + 0x1p-19, 0x1p-126, sizeof(uint16_t), 0, false};

/* Fields of a float64; exponents come as bytes biased by 127. */
enum { FIELD_SHIFT = 52, FIELD_BIAS = 1023 };
#define FIELD_MASK 0x7FF0000000000000
/* Fraction bits that are kept: cut towards zero, because a float64 is sign and magnitude. */
#define KEPT_MASK(result_bits) (-(INT64_C(1) << (FIELD_SHIFT - (result_bits))))
/* Added to the bits of 2^e: 1.5 * 2^(52+e-F) */
#define ANCHOR(fraction_bits) (((int64_t)(52 - (fraction_bits)) << FIELD_SHIFT) + (INT64_C(1) << 51))
#define ACC_FACTOR (1 + 0x1p-27)

/* --- portable: the formula itself, truncations by conversion to integers
 * ---------------------------------------------------- */

static int exponent_of(double value) {
    return (int)((mp_bits_of_double(value) & FIELD_MASK) >> FIELD_SHIFT) - FIELD_BIAS;
}

static double cut(double value, int64_t kept) {
    return mp_double_of_bits(mp_bits_of_double(value) & (uint64_t)kept);
}

static void step_portable(const mp_tc_block *b, int64_t r, int64_t k0) {
    const double *a = (const double *)mp_tc_row_of(b, r) + k0,
                 *w = (const double *)b->w + k0 * PORTABLE_COLUMNS;
    double *acc = (double *)b->acc + r * PORTABLE_COLUMNS, scale[PORTABLE_COLUMNS];
    const int32_t *a_exponent = mp_tc_exponents_of(b, r) + k0;
    const int8_t *w_exponent = b->w_exponent + k0 * PORTABLE_COLUMNS;
    uint8_t *at_floor = b->at_floor + r * PORTABLE_COLUMNS;
    int e[PORTABLE_COLUMNS];
    int64_t sum[PORTABLE_COLUMNS] = {0}; /* of products below 2^27 */
    const int64_t kept = KEPT_MASK(b->result_bits);
    for (int j = 0; j < PORTABLE_COLUMNS; j++) e[j] = MP_TC_FLOOR;
    for (int k = 0; k < b->group; k++)
        for (int j = 0; j < PORTABLE_COLUMNS; j++) {
            const int product = (int8_t)a_exponent[k] + w_exponent[k * PORTABLE_COLUMNS + j];
            e[j] = product > e[j] ? product : e[j];
        }
    for (int j = 0; j < PORTABLE_COLUMNS; j++) {
        at_floor[j] |= e[j] == MP_TC_FLOOR;
        e[j] -= BYTE_BIAS;
        if (exponent_of(acc[j]) > e[j]) e[j] = exponent_of(acc[j]);
        scale[j] = mp_power_of_two(b->fraction_bits - e[j]);
    }
    for (int k = 0; k < b->group; k++)
        for (int j = 0; j < PORTABLE_COLUMNS; j++)
            sum[j] += (int32_t)(a[k] * w[k * PORTABLE_COLUMNS + j] * scale[j]);
    for (int j = 0; j < PORTABLE_COLUMNS; j++)
        acc[j] = cut((double)(sum[j] + (int32_t)(acc[j] * scale[j])), kept) *
                 mp_power_of_two(e[j] - b->fraction_bits);
}

static void kernel_portable(const mp_tc_block *b) {
    for (int64_t k = 0; k < b->groups * b->group; k += b->group)
        for (int64_t r = 0; r < b->rows; r++) step_portable(b, r, k);
}

#if MP_X86
/* --- AVX-512: panels of 64 columns, whose exponents fill one register, four rows by half of one at a time.
 * Ports of vectors are what is short here: beside 16 sums of products a result and step has one more for acc,
 * eight instructions around them, and five for its share of the exponents. --- */

enum { AVX512_VECTORS = 4, AVX512_AT_ONCE = 8 * AVX512_VECTORS };

/* How many terms are negative, acc among them: of bits a^w, where both have a 1 none, and where both have a 0
 * acc's own, which are 0 but for the sign: below 2^29, because acc has 24 bits. Truth table of a, w, acc. */
AVX512 INLINE __m512i count_negative(__m512i a, const int64_t *w, __m512i acc) {
    enum { A_XOR_W_OR_ACC = 0x3E };
    return _mm512_popcnt_epi64(_mm512_ternarylogic_epi64(a, _mm512_loadu_si512(w), acc, A_XOR_W_OR_ACC));
}

/* Columns j0 .. j0+31 of four rows. field: of the largest products, as the upper 16 bits of a float64. */
AVX512 INLINE void step_avx512(const mp_tc_block *b, int group, int64_t r0, int64_t g, int64_t j0,
                               const uint16_t *field) {
    enum { LARGER_MAGNITUDE = 0xB, A_AND_B_OR_C = 0xEA };
    const __m512d acc_factor = _mm512_set1_pd(mp_power_of_two(-mp_tc_fall(b->fraction_bits)) * ACC_FACTOR);
    const __m512i half = _mm512_set1_epi64(INT64_C(1) << 51), field_mask = _mm512_set1_epi64(FIELD_MASK),
                  kept = _mm512_set1_epi64(KEPT_MASK(b->result_bits)),
                  spread = _mm512_set_epi64(0x0F0E808080808080, 0x0D0C808080808080, 0x0B0A808080808080,
                                            0x0908808080808080, 0x0706808080808080, 0x0504808080808080,
                                            0x0302808080808080, 0x0100808080808080);
    const int masks = mp_tc_masks(group);
    const int64_t *w_sign = (const int64_t *)b->w_sign + g * masks * AVX512_COLUMNS + j0;
    const double *w = (const double *)b->w + g * group * AVX512_COLUMNS + j0, *a[AVX512_ROWS];
    double *acc[AVX512_ROWS];
    __m512d anchor[AVX512_ROWS][AVX512_VECTORS], sum[AVX512_ROWS][AVX512_VECTORS];
#pragma GCC unroll 4
    for (int r = 0; r < AVX512_ROWS; r++) {
        a[r] = (const double *)mp_tc_row_of(b, r0 + r) + g * group;
        acc[r] = (double *)b->acc + (r0 + r) * AVX512_COLUMNS + j0;
#pragma GCC unroll 4
        for (int v = 0; v < AVX512_VECTORS; v++) {
            const int64_t at = r * AVX512_COLUMNS + j0 + 8 * v;
            const __m512d c = _mm512_loadu_pd(acc[r] + 8 * v);
            const __m512i bits = _mm512_castpd_si512(c);
            const __m512i products = _mm512_shuffle_epi8(
                _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(field + at))), spread);
            const __m512d larger = _mm512_range_pd(c, _mm512_castsi512_pd(products), LARGER_MAGNITUDE);
            anchor[r][v] = _mm512_castsi512_pd(_mm512_ternarylogic_epi64(
                _mm512_castpd_si512(larger), field_mask, half, A_AND_B_OR_C)); /* 1.5 * 2^e */
            __m512i s = _mm512_castpd_si512(_mm512_fmadd_round_pd(c, acc_factor, anchor[r][v],
                                                                  _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC));
            for (int m = 0; m < masks; m++) {
                const __m512i signs = _mm512_set1_epi64(mp_tc_wide_signs_of(b, r0 + r, g * masks + m));
                s = _mm512_add_epi64(s, count_negative(signs, w_sign + m * AVX512_COLUMNS + 8 * v,
                                                       m == 0 ? bits : _mm512_setzero_si512()));
            } /* one more in the last place of S is one more u */
            sum[r][v] = _mm512_castsi512_pd(s);
        }
    }
#pragma GCC unroll 16
    for (int k = 0; k < group; k++) {
        __m512d x[AVX512_ROWS];
#pragma GCC unroll 4
        for (int r = 0; r < AVX512_ROWS; r++) x[r] = _mm512_set1_pd(a[r][k]);
#pragma GCC unroll 4
        for (int v = 0; v < AVX512_VECTORS; v++) {
            const __m512d column = _mm512_loadu_pd(w + k * AVX512_COLUMNS + 8 * v);
#pragma GCC unroll 4
            for (int r = 0; r < AVX512_ROWS; r++)
                sum[r][v] =
                    _mm512_fmadd_round_pd(x[r], column, sum[r][v], _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < AVX512_ROWS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < AVX512_VECTORS; v++) {
            const __m512d total = _mm512_sub_pd(sum[r][v], anchor[r][v]);
            _mm512_storeu_pd(acc[r] + 8 * v,
                             _mm512_castsi512_pd(_mm512_and_si512(_mm512_castpd_si512(total), kept)));
        }
}

/* Exponents as bytes become the upper 16 bits of float64s. */
AVX512 INLINE __m512i upper_bits(__m256i exponents, int bias) {
    return _mm512_slli_epi16(
        _mm512_add_epi16(_mm512_cvtepu8_epi16(exponents), _mm512_set1_epi16((short)(bias - BYTE_BIAS))),
        FIELD_SHIFT - 48);
}

AVX512 INLINE void raise_all(const mp_tc_block *b, int exponent) {
    double *acc = b->acc;
    const __m512d power = _mm512_set1_pd(mp_power_of_two(exponent));
    for (int64_t at = 0; at < b->rows * AVX512_COLUMNS; at += 8)
        _mm512_storeu_pd(acc + at, _mm512_mul_pd(_mm512_loadu_pd(acc + at), power));
}

AVX512 INLINE void block_avx512(const mp_tc_block *block, int group) {
    const mp_tc_block b = *block; /* which no store of a vector can change */
    const int fall = mp_tc_fall(b.fraction_bits);
    _Alignas(64) uint16_t field[MP_TC_MAX_ROWS * AVX512_COLUMNS];
    for (int64_t g = 0; g < b.groups; g++) {
        const int step = (int)((b.first_group + g) % MP_TC_FALLS), bias = FIELD_BIAS - (step - 1) * fall;
        if (step == 0 && g > 0) raise_all(&b, MP_TC_FALLS * fall);
        for (int64_t r = 0; r < b.rows; r += AVX512_ROWS) { /* all, so that no sum waits for them */
            __m512i e[AVX512_ROWS];
            mp_tc_largest_avx512(&b, group, g, r, e);
#pragma GCC unroll 4
            for (int i = 0; i < AVX512_ROWS; i++) {
                uint16_t *to = field + (r + i) * AVX512_COLUMNS;
                _mm512_storeu_si512(to, upper_bits(_mm512_castsi512_si256(e[i]), bias));
                _mm512_storeu_si512(to + 32, upper_bits(_mm512_extracti64x4_epi64(e[i], 1), bias));
            }
        }
        for (int64_t r = 0; r < b.rows; r += AVX512_ROWS) {
            for (int64_t i = r; i < r + AVX512_ROWS; i++)
                mp_tc_fetch(&b, group, AVX512_COLUMNS, sizeof(double), g, i);
            for (int64_t j = 0; j < AVX512_COLUMNS; j += AVX512_AT_ONCE)
                step_avx512(&b, group, r, g, j, field + r * AVX512_COLUMNS);
        }
    }
}

AVX512 static void kernel_avx512(const mp_tc_block *b) {
    switch (b->group) { /* constants, for loops without branches */
    case 16: block_avx512(b, 16); break;
    case 8: block_avx512(b, 8); break;
    default: block_avx512(b, b->group);
    }
}

/* --- AVX2: panels of 32 columns, 16 at a time. The rounding mode is a state here: downwards in the whole
 * kernel, where nothing else is inexact. A zero difference is -0 in this mode, so a negative acc is asked for
 * by comparison. --------------------------------------------------- */

enum { AVX2_VECTORS = 4, AVX2_ROWS = 2 };

/* Columns j0 .. j0+15 of two rows. */
AVX2 INLINE void step_avx2(const mp_tc_block *b, int group, int64_t r0, int64_t g, int64_t j0,
                           const uint16_t *field, const uint16_t *negative) {
    const __m256i to_anchor = _mm256_set1_epi64x(ANCHOR(b->fraction_bits)),
                  field_mask = _mm256_set1_epi64x(FIELD_MASK);
    const __m256d kept = _mm256_castsi256_pd(_mm256_set1_epi64x(KEPT_MASK(b->result_bits)));
    const double *w = (const double *)b->w + g * group * AVX2_COLUMNS + j0, *a[AVX2_ROWS];
    double *acc[AVX2_ROWS];
    __m256d anchor[AVX2_ROWS][AVX2_VECTORS], sum[AVX2_ROWS][AVX2_VECTORS];
#pragma GCC unroll 2
    for (int r = 0; r < AVX2_ROWS; r++) {
        a[r] = (const double *)mp_tc_row_of(b, r0 + r) + g * group;
        acc[r] = (double *)b->acc + (r0 + r) * AVX2_COLUMNS + j0;
#pragma GCC unroll 4
        for (int v = 0; v < AVX2_VECTORS; v++) {
            const int64_t at = r * AVX2_COLUMNS + j0 + 4 * v;
            const __m256d c = _mm256_loadu_pd(acc[r] + 4 * v);
            const __m256i products = _mm256_slli_epi64(
                _mm256_cvtepu16_epi64(_mm_loadl_epi64((const __m128i *)(field + at))), FIELD_SHIFT);
            const __m256i e = _mm256_max_epi32(
                products, _mm256_and_si256(_mm256_castpd_si256(c), field_mask)); /* the low halves are 0 */
            anchor[r][v] = _mm256_castsi256_pd(_mm256_add_epi64(e, to_anchor));
            const __m256d s = _mm256_fmadd_pd(c, _mm256_set1_pd(ACC_FACTOR), anchor[r][v]);
            const __m256i below =
                _mm256_castpd_si256(_mm256_cmp_pd(c, _mm256_setzero_pd(), _CMP_LT_OQ)); /* -1 where it is */
            const __m256i count = _mm256_sub_epi64(
                _mm256_cvtepu16_epi64(_mm_loadl_epi64((const __m128i *)(negative + at))), below);
            sum[r][v] = _mm256_castsi256_pd(_mm256_add_epi64(_mm256_castpd_si256(s), count));
        }
    }
#pragma GCC unroll 4
    for (int k = 0; k < group; k++) {
        const __m256d x = _mm256_set1_pd(a[0][k]), y = _mm256_set1_pd(a[1][k]);
#pragma GCC unroll 4
        for (int v = 0; v < AVX2_VECTORS; v++) {
            const __m256d column = _mm256_loadu_pd(w + k * AVX2_COLUMNS + 4 * v);
            sum[0][v] = _mm256_fmadd_pd(x, column, sum[0][v]);
            sum[1][v] = _mm256_fmadd_pd(y, column, sum[1][v]);
        }
    }
#pragma GCC unroll 2
    for (int r = 0; r < AVX2_ROWS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < AVX2_VECTORS; v++)
            _mm256_storeu_pd(acc[r] + 4 * v, _mm256_and_pd(_mm256_sub_pd(sum[r][v], anchor[r][v]), kept));
}

AVX2 INLINE void block_avx2(const mp_tc_block *block, int group) {
    const mp_tc_block b = *block; /* which no store of a vector can change */
    _Alignas(64) uint16_t field[MP_TC_MAX_ROWS * AVX2_COLUMNS] = {0},
                                                 negative[MP_TC_MAX_ROWS * AVX2_COLUMNS] = {0};
    for (int64_t g = 0; g < b.groups; g++) {
        mp_tc_prepare_avx2(&b, group, g, FIELD_BIAS, field, negative);
        for (int64_t r = 0; r < b.rows; r += AVX2_ROWS)
            for (int64_t j = 0; j < AVX2_COLUMNS; j += 16)
                step_avx2(&b, group, r, g, j, field + r * AVX2_COLUMNS, negative + r * AVX2_COLUMNS);
    }
}

/* Not inlined: no arithmetic moves across the calls that set the mode. */
AVX2 static __attribute__((noinline)) void blocks_avx2(const mp_tc_block *b) {
    switch (b->group) {
    case 16: block_avx2(b, 16); break;
    case 8: block_avx2(b, 8); break;
    default: block_avx2(b, b->group);
    }
}

static void kernel_avx2(const mp_tc_block *b) {
    const unsigned mode = _mm_getcsr();
    _mm_setcsr((mode & ~(unsigned)_MM_ROUND_MASK) | _MM_ROUND_DOWN);
    blocks_avx2(b);
    _mm_setcsr(mode);
}
#endif

int mp_tc_kernels(const mp_tc_kernel **kernels) {
    static const mp_tc_kernel all[] = {
#if MP_X86
        {"avx512", AVX512_COLUMNS, &mp_tc_wide, kernel_avx512, mp_tc_single_avx512, mp_tc_bracket_avx512,
         mp_tc_lanes_avx512, mp_tc_pairs_avx512, 4},
        {"avx2", AVX2_COLUMNS, &mp_tc_double, kernel_avx2, mp_tc_single_avx2, mp_tc_bracket_avx2,
         mp_tc_lanes_avx2, NULL, 4},
#endif
        {"portable", PORTABLE_COLUMNS, &mp_tc_double, kernel_portable, NULL, NULL, NULL, NULL, 0},
    };
    int first = 0;
#if MP_X86
    __builtin_cpu_init();
    const bool avx512 = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") &&
                        __builtin_cpu_supports("avx512bitalg") && __builtin_cpu_supports("avx512vpopcntdq");
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    first = avx512 ? 0 : avx2 ? 1 : 2;
#endif
    *kernels = all + first;
    return (int)(sizeof all / sizeof *all) - first;
}
