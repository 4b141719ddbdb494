#include "ref/tensorcore_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define X86 1
#else
#define X86 0
#endif

#include <string.h>

enum { EXPONENT_BIAS = 127, EXPONENT_SHIFT = 23, EXPONENT_MASK = 0x7F800000 };

/* All kernels take a step of all rows before the next step: the panel's part of a step, 5 KiB at most, then stays in the first-level cache. */

enum { PORTABLE_COLUMNS = 16 };

/* sum cut to 24 bits, towards zero */
static float truncated(int64_t sum) {
    uint64_t magnitude = sum < 0 ? -(uint64_t)sum : (uint64_t)sum;
    if (magnitude >> 24) {
        const int surplus = 64 - 24 - __builtin_clzll(magnitude);
        magnitude = magnitude >> surplus << surplus;
    }
    return sum < 0 ? -(float)magnitude : (float)magnitude;
}

static float power_of_two(int biased_exponent) {
    const uint32_t bits = (uint32_t)biased_exponent << EXPONENT_SHIFT;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void step_portable(const mp_tc_block *b, const float *a, const int32_t *a_exponent, const float *w, const int8_t *w_exponent, float *acc, uint8_t *doubt) {
    int e[PORTABLE_COLUMNS];
    float scale[PORTABLE_COLUMNS];
    int32_t sum[PORTABLE_COLUMNS] = {0}; /* of the products alone: at most group * 4 * 2^F in size */
    for (int j = 0; j < PORTABLE_COLUMNS; j++) e[j] = MP_TC_FLOOR;
    for (int k = 0; k < b->group; k++)
        for (int j = 0; j < PORTABLE_COLUMNS; j++) {
            const int product = (int8_t)a_exponent[k] + w_exponent[k * PORTABLE_COLUMNS + j];
            e[j] = product > e[j] ? product : e[j];
        }
    for (int j = 0; j < PORTABLE_COLUMNS; j++) {
        if (e[j] == MP_TC_FLOOR) doubt[j] |= MP_TC_AT_FLOOR;
        uint32_t bits;
        memcpy(&bits, &acc[j], sizeof bits);
        const int accumulator = (int)(bits >> EXPONENT_SHIFT & 0xFF);
        if (accumulator > e[j]) e[j] = accumulator;
        scale[j] = power_of_two(2 * EXPONENT_BIAS + b->fraction_bits - e[j]);
    }
    for (int k = 0; k < b->group; k++)
        for (int j = 0; j < PORTABLE_COLUMNS; j++) sum[j] += (int32_t)(a[k] * w[k * PORTABLE_COLUMNS + j] * scale[j]);
    for (int j = 0; j < PORTABLE_COLUMNS; j++)
        acc[j] = truncated((int64_t)sum[j] + (int32_t)(acc[j] * scale[j])) * power_of_two(e[j] - b->fraction_bits);
}

static void kernel_portable(const mp_tc_block *b) {
    for (int64_t g = 0; g < b->groups; g++)
        for (int64_t r = 0; r < b->rows; r++) {
            const int64_t k = g * b->group, at = r * b->row_stride + k;
            step_portable(b, b->a + at, b->a_exponent + at, b->w + k * PORTABLE_COLUMNS, b->w_exponent + k * PORTABLE_COLUMNS, b->acc + r * PORTABLE_COLUMNS,
                          b->doubt + r * PORTABLE_COLUMNS);
        }
}

#if X86
/* --- AVX-512: panels of 64 columns, whose exponents fill one register ------------------------------------------------------ */

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq")))
#define INLINE static inline __attribute__((always_inline))
enum { AVX512_COLUMNS = 64, AVX512_VECTORS = 4 };

/* e[row, columns]: the products' biased exponents, at least the floor. Apart from the sums, so that these do not wait for it. */
AVX512 INLINE void exponents_avx512(const mp_tc_block *b, int group, int64_t k0, uint8_t *e) {
    const __m512i floor = _mm512_set1_epi8(MP_TC_FLOOR);
    const int8_t *w = b->w_exponent + k0 * AVX512_COLUMNS;
    for (int64_t r = 0; r < b->rows; r++) {
        const int32_t *a = b->a_exponent + r * b->row_stride + k0;
        __m512i largest = floor;
#pragma GCC unroll 16
        for (int k = 0; k < group; k++)
            largest = _mm512_max_epi8(largest, _mm512_add_epi8(_mm512_set1_epi32(a[k]), _mm512_loadu_si512(w + k * AVX512_COLUMNS)));
        _mm512_storeu_si512(e + r * AVX512_COLUMNS, largest);
        const __mmask64 at_floor = _mm512_cmpeq_epi8_mask(largest, floor);
        if (at_floor) {
            uint8_t *doubt = b->doubt + r * AVX512_COLUMNS;
            _mm512_storeu_si512(doubt, _mm512_or_si512(_mm512_loadu_si512(doubt), _mm512_maskz_set1_epi8(at_floor, MP_TC_AT_FLOOR)));
        }
    }
}

AVX512 INLINE void step_avx512(int group, int fraction_bits, const float *a, const float *w, const uint8_t *e, float *acc, uint8_t *doubt) {
    const __m512i scale_origin = _mm512_set1_epi32((int)((uint32_t)(2 * EXPONENT_BIAS + fraction_bits) << EXPONENT_SHIFT));
    const __m512i unit_origin = _mm512_set1_epi32(fraction_bits << EXPONENT_SHIFT), exponent_mask = _mm512_set1_epi32(EXPONENT_MASK);
    __m512i unit[AVX512_VECTORS], sum[AVX512_VECTORS], cut[AVX512_VECTORS];
    __m512 scale[AVX512_VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < AVX512_VECTORS; v++) {
        const __m512 c = _mm512_loadu_ps(acc + 16 * v);
        const __m512i product = _mm512_slli_epi32(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(e + 16 * v))), EXPONENT_SHIFT);
        const __m512i largest = _mm512_max_epi32(product, _mm512_and_si512(_mm512_castps_si512(c), exponent_mask));
        scale[v] = _mm512_castsi512_ps(_mm512_sub_epi32(scale_origin, largest));
        unit[v] = _mm512_sub_epi32(largest, unit_origin);
        cut[v] = _mm512_cvttps_epi32(_mm512_mul_ps(c, scale[v]));
        sum[v] = _mm512_setzero_si512();
    }
#pragma GCC unroll 16
    for (int k = 0; k < group; k++) {
        const __m512 x = _mm512_set1_ps(a[k]);
#pragma GCC unroll 4
        for (int v = 0; v < AVX512_VECTORS; v++) {
            const __m512 product = _mm512_mul_ps(x, _mm512_loadu_ps(w + k * AVX512_COLUMNS + 16 * v));
            sum[v] = _mm512_add_epi32(sum[v], _mm512_cvttps_epi32(_mm512_mul_ps(product, scale[v])));
        }
    }
    __m512i overflow[AVX512_VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < AVX512_VECTORS; v++) {
        const __m512i total = _mm512_add_epi32(sum[v], cut[v]);
        overflow[v] = _mm512_ternarylogic_epi32(sum[v], cut[v], total, 0x42); /* sign set: both terms have the sign that the total has not */
        const __m512 rounded = _mm512_cvt_roundepi32_ps(total, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
        _mm512_storeu_ps(acc + 16 * v, _mm512_mul_ps(rounded, _mm512_castsi512_ps(unit[v])));
    }
    const __m512i any = _mm512_or_si512(_mm512_or_si512(overflow[0], overflow[1]), _mm512_or_si512(overflow[2], overflow[3]));
    if (__builtin_expect(_mm512_movepi32_mask(any) != 0, 0))
        for (int v = 0; v < AVX512_VECTORS; v++) {
            const unsigned lanes = _mm512_movepi32_mask(overflow[v]);
            for (int j = 0; j < 16; j++) doubt[16 * v + j] |= lanes >> j & 1 ? MP_TC_OVERFLOW : 0;
        }
}

AVX512 INLINE void block_avx512(const mp_tc_block *b, int group, int fraction_bits) {
    uint8_t e[MP_TC_MAX_ROWS * AVX512_COLUMNS];
    for (int64_t k = 0; k < b->groups * group; k += group) {
        exponents_avx512(b, group, k, e);
        for (int64_t r = 0; r < b->rows; r++)
            step_avx512(group, fraction_bits, b->a + r * b->row_stride + k, b->w + k * AVX512_COLUMNS, e + r * AVX512_COLUMNS, b->acc + r * AVX512_COLUMNS,
                        b->doubt + r * AVX512_COLUMNS);
    }
}

AVX512 static void kernel_avx512(const mp_tc_block *b) {
    if (b->group == 16) block_avx512(b, 16, b->fraction_bits); /* the loops over k unrolled */
    else block_avx512(b, b->group, b->fraction_bits);
}

/* --- AVX2: panels of 32 columns. The one inexact operation, sum to float32, follows the rounding mode, which is towards zero meanwhile --------- */

#define AVX2 __attribute__((target("avx2")))
enum { AVX2_COLUMNS = 32, AVX2_VECTORS = 4 };

AVX2 INLINE void exponents_avx2(const mp_tc_block *b, int group, int64_t k0, uint8_t *e) {
    const __m256i floor = _mm256_set1_epi8(MP_TC_FLOOR), flag = _mm256_set1_epi8(MP_TC_AT_FLOOR);
    const int8_t *w = b->w_exponent + k0 * AVX2_COLUMNS;
    for (int64_t r = 0; r < b->rows; r++) {
        const int32_t *a = b->a_exponent + r * b->row_stride + k0;
        __m256i *doubt = (__m256i *)(b->doubt + r * AVX2_COLUMNS), largest = floor;
#pragma GCC unroll 16
        for (int k = 0; k < group; k++) {
            const __m256i product = _mm256_add_epi8(_mm256_set1_epi32(a[k]), _mm256_loadu_si256((const __m256i *)(w + k * AVX2_COLUMNS)));
            largest = _mm256_max_epi8(largest, product);
        }
        _mm256_storeu_si256((__m256i *)(e + r * AVX2_COLUMNS), largest);
        const __m256i at_floor = _mm256_cmpeq_epi8(largest, floor);
        if (_mm256_movemask_epi8(at_floor)) _mm256_storeu_si256(doubt, _mm256_or_si256(_mm256_loadu_si256(doubt), _mm256_and_si256(at_floor, flag)));
    }
}

AVX2 INLINE void step_avx2(int group, int fraction_bits, const float *a, const float *w, const uint8_t *e, float *acc, uint8_t *doubt) {
    const __m256i scale_origin = _mm256_set1_epi32((int)((uint32_t)(2 * EXPONENT_BIAS + fraction_bits) << EXPONENT_SHIFT));
    const __m256i unit_origin = _mm256_set1_epi32(fraction_bits << EXPONENT_SHIFT), exponent_mask = _mm256_set1_epi32(EXPONENT_MASK);
    __m256i sum[AVX2_VECTORS], largest[AVX2_VECTORS];
    __m256 scale[AVX2_VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < AVX2_VECTORS; v++) {
        const __m256i c = _mm256_castps_si256(_mm256_loadu_ps(acc + 8 * v));
        const __m256i product = _mm256_slli_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(e + 8 * v))), EXPONENT_SHIFT);
        largest[v] = _mm256_max_epi32(product, _mm256_and_si256(c, exponent_mask));
        scale[v] = _mm256_castsi256_ps(_mm256_sub_epi32(scale_origin, largest[v]));
        sum[v] = _mm256_setzero_si256();
    }
#pragma GCC unroll 16
    for (int k = 0; k < group; k++) {
        const __m256 x = _mm256_set1_ps(a[k]);
#pragma GCC unroll 4
        for (int v = 0; v < AVX2_VECTORS; v++) {
            const __m256 product = _mm256_mul_ps(x, _mm256_loadu_ps(w + k * AVX2_COLUMNS + 8 * v));
            sum[v] = _mm256_add_epi32(sum[v], _mm256_cvttps_epi32(_mm256_mul_ps(product, scale[v])));
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < AVX2_VECTORS; v++) {
        const __m256i cut = _mm256_cvttps_epi32(_mm256_mul_ps(_mm256_loadu_ps(acc + 8 * v), scale[v])), total = _mm256_add_epi32(sum[v], cut);
        const __m256i overflow = _mm256_andnot_si256(_mm256_xor_si256(sum[v], cut), _mm256_xor_si256(sum[v], total)); /* as above */
        const __m256 unit = _mm256_castsi256_ps(_mm256_sub_epi32(largest[v], unit_origin));
        _mm256_storeu_ps(acc + 8 * v, _mm256_mul_ps(_mm256_cvtepi32_ps(total), unit));
        const int lanes = _mm256_movemask_ps(_mm256_castsi256_ps(overflow));
        if (__builtin_expect(lanes != 0, 0))
            for (int j = 0; j < 8; j++) doubt[8 * v + j] |= lanes >> j & 1 ? MP_TC_OVERFLOW : 0;
    }
}

AVX2 INLINE void block_avx2(const mp_tc_block *b, int group, int fraction_bits) {
    uint8_t e[MP_TC_MAX_ROWS * AVX2_COLUMNS];
    for (int64_t k = 0; k < b->groups * group; k += group) {
        exponents_avx2(b, group, k, e);
        for (int64_t r = 0; r < b->rows; r++)
            step_avx2(group, fraction_bits, b->a + r * b->row_stride + k, b->w + k * AVX2_COLUMNS, e + r * AVX2_COLUMNS, b->acc + r * AVX2_COLUMNS,
                      b->doubt + r * AVX2_COLUMNS);
    }
}

/* Not inlined: the rounding mode is set around the call. */
AVX2 static __attribute__((noinline)) void blocks_avx2(const mp_tc_block *b) {
    if (b->group == 16) block_avx2(b, 16, b->fraction_bits);
    else block_avx2(b, b->group, b->fraction_bits);
}

static void kernel_avx2(const mp_tc_block *b) {
    const unsigned mode = _mm_getcsr();
    _mm_setcsr((mode & ~(unsigned)_MM_ROUND_MASK) | _MM_ROUND_TOWARD_ZERO);
    blocks_avx2(b);
    _mm_setcsr(mode);
}
#endif

int mp_tc_kernels(const mp_tc_kernel **kernels) {
    static const mp_tc_kernel all[] = {
#if X86
        {"avx512", AVX512_COLUMNS, kernel_avx512},
        {"avx2", AVX2_COLUMNS, kernel_avx2},
#endif
        {"portable", PORTABLE_COLUMNS, kernel_portable},
    };
    int first = 0;
#if X86
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))) first = 1;
    if (first == 1 && !__builtin_cpu_supports("avx2")) first = 2;
#endif
    *kernels = all + first;
    return (int)(sizeof all / sizeof *all) - first;
}
