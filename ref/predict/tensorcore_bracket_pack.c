/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/tensorcore_bracket_pack.h"

#include "base/bits.h"
#include "base/clones.h"
#include "ref/predict/tensorcore_lanes.h"
#include "ref/predict/tensorcore_scale.h"
#include "ref/predict/transpose.h"

#include <math.h>
#include <stdlib.h>

#define INLINE static inline __attribute__((always_inline))

enum {
    ROWS = MP_TC_BRACKET_ROWS,
    COLUMNS = MP_TC_BRACKET_COLUMNS,
    TERMS = MP_TC_BRACKET_TERMS,
    AT_ONCE = 8,     /* terms */
    SHORT_CHAIN = 8, /* for fp16, whose codes lie close */
    LARGEST_EXPONENT = 16
};

/* The radius' coefficients, and why: ref/predict/tensorcore_bracket.h. */
static void weigh(mp_tc_bracket_form *f) {
    const int L = f->step.group, chains = L / f->chain;
    const double slack = 1 + 0x1p-8, roundoff = 0x1p-24, cut = 0x1p-23,
                 cut_terms = L * mp_power_of_two(-f->step.fraction_bits);
    for (int t = 0; t < TERMS; t++) {
        const int i = t % f->chain, /* the first two of a chain are in all of its roundings */
            roundings = f->chain - (i > 0 ? i : 1) + (chains - 1);
        const double of_steps = !f->by_pairs ? 0 : t < L ? cut_terms + 2 * cut : cut;
        f->weight[t] = (float)(roundings + of_steps / roundoff);
    }
    f->of_sizes = (float)(slack * (f->by_pairs ? 2 * roundoff : cut_terms + cut + roundoff));
    f->of_least = (float)(slack * (f->by_pairs ? cut_terms : 0));
    f->of_norms = (float)(slack * roundoff);
}

mp_tc_bracket_form mp_tc_bracket_form_of(const mp_tc_model *m, int64_t part_terms, int64_t K, mp_dtype out) {
    mp_tc_bracket_form f = {.step = mp_tc_step(m),
                            .by_pairs = m->method == MP_TC_THROUGH_FP16,
                            .copied = m->method != MP_TC_DIRECT,
                            .from_e4m3 = m->a == MP_TC_E4M3,
                            .K = K,
                            .k = (K + TERMS - 1) / TERMS * TERMS};
    f.dtype = m->a == MP_TC_FP16 ? MP_FP16 : MP_BF16;
    f.step.a = f.step.b = f.dtype == MP_FP16 ? MP_TC_FP16 : MP_TC_BF16;
    f.part = part_terms > 0 && part_terms < f.k ? part_terms : f.k;
    f.chain = out == MP_FP16 && f.step.group > SHORT_CHAIN ? SHORT_CHAIN : f.step.group;
    weigh(&f);
    return f;
}

/* ---- codes ---- */

/* The numbers of e4m3, which bf16 has too. */
MP_CLONES static void take_halves(int64_t n, const float *numbers, uint16_t *codes) {
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &numbers[i], sizeof bits);
        codes[i] = (uint16_t)(bits >> 16);
    }
}

/* A row in the order of the steps, in which neighbours stay neighbours; zeros behind its last term. */
static void copy_row(const mp_tc_bracket_form *f, const void *codes, uint16_t *copy) {
    enum { PIECE = 256 };
    for (int64_t first = 0; first < f->k; first += PIECE) {
        const int64_t end = f->k - first < PIECE ? f->k - first : PIECE,
                      n = f->K - first < end ? f->K - first : end;
        uint16_t piece[PIECE];
        if (f->from_e4m3) {
            float numbers[PIECE];
            mp_decode_row_f32(MP_E4M3, codes, first, n, numbers);
            take_halves(n, numbers, piece);
        } else {
            memcpy(piece, (const uint16_t *)codes + first, (size_t)n * sizeof *piece);
        }
        memset(piece + n, 0, (size_t)(end - n) * sizeof *piece);
        for (int64_t k = 0; k < end; k += TERMS)
            for (int i = 0; i < TERMS; i += 2)
                memcpy(copy + first + k + i, piece + k + mp_tc_taken(i, TERMS / 2), 2 * sizeof *copy);
    }
}

static const uint16_t *codes_of(const mp_tc_bracket_form *f, const mp_tensor *codes, int64_t row,
                                uint16_t *copy) {
    const char *from = (const char *)codes->data + (size_t)(row * f->K) * mp_dtype_size(codes->dtype);
    if (!f->copied) return (const uint16_t *)(const void *)from;
    copy_row(f, from, copy);
    return copy;
}

/* Terms k .. k+7 of sixteen rows of codes, [8, columns] of a tile; zeros behind the last term. */
INLINE void take_tile(const uint16_t *const row[16], int64_t k, int64_t terms, int64_t columns,
                      uint16_t *tile) {
    uint16_t copy[16][AT_ONCE];
    const uint16_t *last[16];
    if (terms - k >= AT_ONCE) {
        mp_transpose_sixteen(row, k, columns, tile);
        return;
    }
    memset(copy, 0, sizeof copy);
    for (int i = 0; i < 16; i++) {
        if (terms > k) memcpy(copy[i], row[i] + k, (size_t)(terms - k) * sizeof **row);
        last[i] = copy[i];
    }
    mp_transpose_sixteen(last, 0, columns, tile);
}

MP_CLONES void mp_tc_bracket_fill_lanes(const mp_tc_bracket_form *f, const uint16_t *const codes[],
                                        uint16_t *lanes) {
    for (int64_t k = 0; k < f->k; k += AT_ONCE)
        take_tile(codes, k, mp_tc_bracket_terms(f), MP_TC_LANES, lanes + k * MP_TC_LANES);
}

/* ---- numbers ---- */

void mp_tc_bracket_numbers(const mp_tc_bracket_form *f, const uint16_t *codes, float *numbers) {
    const int64_t terms = mp_tc_bracket_terms(f);
    mp_decode_row_f32(f->dtype, codes, 0, terms, numbers);
    memset(numbers + terms, 0, (size_t)(f->k - terms) * sizeof *numbers);
}

/* Squares of eight terms of `width` rows, a constant where this is inlined, by the terms' weights. */
INLINE void add_squares(const float weight[AT_ONCE], int width, const float *numbers, float *sum) {
    for (int t = 0; t < AT_ONCE; t++)
        for (int n = 0; n < width; n++)
            sum[n] += weight[t] * (numbers[t * width + n] * numbers[t * width + n]);
}

MP_CLONES static void add_weighted_squares(const float weight[AT_ONCE], int width, const float *numbers,
                                           float *sum) {
    if (width == COLUMNS)
        add_squares(weight, COLUMNS, numbers, sum);
    else
        add_squares(weight, ROWS, numbers, sum);
}

/* `least` is that of subnormals: float32, which has none here, has a smaller one of them. */
MP_CLONES static void take_exponents(int least, int64_t n, const float *restrict numbers,
                                     int8_t *restrict exponents) {
    enum { SHIFT = 23, FIELD = 0xFF, BIAS = 127 };
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &numbers[i], sizeof bits);
        const int own = (int)(bits >> SHIFT & FIELD) - BIAS, exponent = own > least ? own : least;
        exponents[i] = (int8_t)(own == -BIAS || exponent < MP_TC_LEAST_SEEN ? MP_TC_NO_EXPONENT : exponent);
    }
}

void mp_tc_bracket_exponents(const mp_tc_bracket_form *f, int width, const float *numbers,
                             int8_t *exponents) {
    const int least = f->dtype == MP_FP16 ? -14 : -126;
    if (width == COLUMNS) {
        take_exponents(least, f->k * COLUMNS, numbers, exponents);
        return;
    }
    for (int64_t k = 0; k < f->k; k += AT_ONCE) {
        int8_t some[AT_ONCE * COLUMNS];
        take_exponents(least, AT_ONCE * width, numbers + k * width, some);
        for (int t = 0; t < AT_ONCE; t++)
            memcpy(exponents + (k + t) * COLUMNS, some + t * width, (size_t)width);
    }
}

/* Whether some fp16 is zero or subnormal. */
MP_CLONES static bool has_no_field(int64_t n, const uint16_t *codes) {
    uint16_t found = 0;
    for (int64_t i = 0; i < n; i++) found = (uint16_t)(found | ((codes[i] & 0x7C00) == 0));
    return found != 0;
}

/* Squares that are lost, of numbers below 2^-63, are not alone in an ordinary side: without squares all its
 * numbers are zero. */
static bool survey(const mp_tc_bracket_form *f, const uint16_t *codes, bool has_squares,
                   mp_tc_bracket_side *side) {
    const mp_tc_scaling scaled =
        mp_tc_survey(&mp_tc_operands[f->step.a], (const char *)codes, mp_tc_bracket_terms(f));
    *side = (mp_tc_bracket_side){.codes = codes,
                                 .power = has_squares ? (float)mp_power_of_two(scaled.exponent) : 0,
                                 .small = f->dtype == MP_FP16 ? has_no_field(mp_tc_bracket_terms(f), codes)
                                                              : scaled.small};
    return !scaled.special && abs(scaled.exponent) <= LARGEST_EXPONENT;
}

bool mp_tc_bracket_pack(const mp_tc_bracket_form *f, const mp_tensor *tensor, const int64_t *row,
                        int64_t count, const mp_tc_bracket_panel *p) {
    const int width = p->width;
    _Alignas(64) float squares[COLUMNS] = {0};
    float *numbers = p->numbers, *norms = p->norms;
    bool has_squares[COLUMNS] = {false}, ordinary = true;
    const uint16_t *codes[COLUMNS];
    for (int n = 0; n < width; n++)
        codes[n] = n < count ? codes_of(f, tensor, row[n], p->copies + n * f->k) : codes[n - 1];
    for (int64_t k = 0; k < f->k; k += AT_ONCE, numbers += AT_ONCE * width) {
        _Alignas(64) uint16_t tile[AT_ONCE * COLUMNS];
        for (int n = 0; n < width; n += 16) take_tile(codes + n, k, mp_tc_bracket_terms(f), width, tile + n);
        mp_decode_row_f32(f->dtype, tile, 0, AT_ONCE * width, numbers);
        add_weighted_squares(f->weight + k % TERMS, width, numbers, squares);
        if ((k + AT_ONCE) % f->part != 0 && k + AT_ONCE < f->k) continue;
        for (int n = 0; n < width; n++) {
            norms[n] = sqrtf(squares[n]);
            has_squares[n] |= squares[n] > 0;
            squares[n] = 0;
        }
        norms += p->norms_stride;
    }
    for (int n = 0; n < width; n++)
        if (n < count)
            ordinary &= survey(f, codes[n], has_squares[n], &p->sides[n]);
        else
            p->sides[n] = p->sides[n - 1];
    return ordinary;
}
