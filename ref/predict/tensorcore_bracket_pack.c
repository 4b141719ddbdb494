/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/tensorcore_bracket_pack.h"

#include "base/bits.h"
#include "base/clones.h"
#include "ref/predict/tensorcore_lanes.h"
#include "ref/predict/tensorcore_scale.h"
#include "ref/predict/transpose.h"

#include <math.h>
#include <stdlib.h>

enum { COLUMNS = MP_TC_BRACKET_COLUMNS, TERMS = MP_TC_BRACKET_TERMS, LARGEST_EXPONENT = 16 };

/* The radius' coefficients, and why: ref/predict/tensorcore_bracket.h. */
static void weigh(mp_tc_bracket_form *f) {
    const int L = f->step.group;
    const double slack = 1 + 0x1p-8, roundoff = 0x1p-24, cut = 0x1p-23,
                 cut_terms = (L + 1) * mp_power_of_two(-f->step.fraction_bits);
    for (int t = 0; t < TERMS; t++) {
        const int i = t % L, roundings = L - (i > 0 ? i : 1); /* the first two are in all */
        const double of_steps = !f->by_pairs ? 0 : t < L ? cut_terms + 2 * cut : cut;
        f->weight[t] = (float)(roundings + of_steps / roundoff);
    }
    f->of_sizes = (float)(slack * (f->by_pairs ? 2 * roundoff : cut_terms + cut + roundoff));
    f->of_least = (float)(slack * (f->by_pairs ? cut_terms : 0));
    f->of_norms = (float)(slack * roundoff);
}

mp_tc_bracket_form mp_tc_bracket_form_of(const mp_tc_model *m, int64_t part_terms, int64_t K) {
    mp_tc_bracket_form f = {.step = mp_tc_step(m),
                            .by_pairs = m->method == MP_TC_THROUGH_FP16,
                            .copied = m->method != MP_TC_DIRECT,
                            .from_e4m3 = m->a == MP_TC_E4M3,
                            .K = K,
                            .k = (K + TERMS - 1) / TERMS * TERMS};
    f.dtype = m->a == MP_TC_FP16 ? MP_FP16 : MP_BF16;
    f.step.a = f.step.b = f.dtype == MP_FP16 ? MP_TC_FP16 : MP_TC_BF16;
    f.part = part_terms > 0 && part_terms < f.k ? part_terms : f.k;
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
static inline __attribute__((always_inline)) void take_tile(const uint16_t *const row[16], int64_t k,
                                                            int64_t terms, int64_t columns, uint16_t *tile) {
    uint16_t copy[16][8];
    const uint16_t *last[16];
    if (terms - k >= 8) {
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
    for (int64_t k = 0; k < f->k; k += 8)
        take_tile(codes, k, mp_tc_bracket_terms(f), MP_TC_LANES, lanes + k * MP_TC_LANES);
}

/* ---- numbers ---- */

/* As many sums as weights, so that they are vectors. */
MP_CLONES static float weighted_squares(const float weight[TERMS], int64_t k, const float *numbers) {
    float part[TERMS] = {0}, sum = 0;
    for (int64_t i = 0; i < k; i += TERMS)
        for (int t = 0; t < TERMS; t++) part[t] += weight[t] * (numbers[i + t] * numbers[i + t]);
    for (int t = 0; t < TERMS; t++) sum += part[t];
    return sum;
}

/* The same of eight terms of all columns of a panel, [8, COLUMNS]. */
MP_CLONES static void add_weighted_squares(const float weight[8], const float *numbers, float *sum) {
    for (int t = 0; t < 8; t++)
        for (int n = 0; n < COLUMNS; n++)
            sum[n] += weight[t] * (numbers[t * COLUMNS + n] * numbers[t * COLUMNS + n]);
}

/* Whether some fp16 is zero or subnormal. */
MP_CLONES static bool has_no_field(int64_t n, const uint16_t *codes) {
    uint16_t found = 0;
    for (int64_t i = 0; i < n; i++) found = (uint16_t)(found | ((codes[i] & 0x7C00) == 0));
    return found != 0;
}

/* Squares that are lost, of numbers below 2^-63, are not alone
 * in an ordinary side: without squares all its numbers are zero. */
static bool survey(const mp_tc_bracket_form *f, const uint16_t *codes, bool has_squares,
                   mp_tc_bracket_side *side) {
    const mp_tc_scaling scaled =
        mp_tc_survey(&mp_tc_operands[f->step.a], (const char *)codes, mp_tc_bracket_terms(f));
    *side = (mp_tc_bracket_side){.codes = codes,
                                 .power = has_squares ? (float)mp_power_of_two(scaled.exponent) : 0,
                                 .small = scaled.small};
    return !scaled.special && abs(scaled.exponent) <= LARGEST_EXPONENT;
}

bool mp_tc_bracket_pack_row(const mp_tc_bracket_form *f, const mp_tensor *tensor, int64_t row, uint16_t *copy,
                            float *numbers, float *norms, int64_t stride, mp_tc_bracket_side *side) {
    const uint16_t *codes = codes_of(f, tensor, row, copy);
    const int64_t terms = mp_tc_bracket_terms(f);
    bool has_squares = false;
    mp_decode_row_f32(f->dtype, codes, 0, terms, numbers);
    memset(numbers + terms, 0, (size_t)(f->k - terms) * sizeof *numbers);
    for (int64_t k = 0; k < f->k; k += f->part, norms += stride) {
        *norms = sqrtf(weighted_squares(f->weight, f->k - k < f->part ? f->k - k : f->part, numbers + k));
        has_squares |= *norms > 0;
    }
    return survey(f, codes, has_squares, side);
}

bool mp_tc_bracket_pack_panel(const mp_tc_bracket_form *f, const mp_tensor *tensor, int64_t first,
                              int64_t count, uint16_t *copies, float *numbers, float *norms, int64_t stride,
                              mp_tc_bracket_side *sides) {
    float squares[COLUMNS] = {0};
    bool has_squares[COLUMNS] = {false}, ordinary = true;
    const uint16_t *codes[COLUMNS];
    for (int64_t n = 0; n < COLUMNS; n++) /* columns behind the last are copies of it */
        codes[n] = n < count ? codes_of(f, tensor, first + n, copies + n * f->k) : codes[n - 1];
    for (int64_t k = 0; k < f->k; k += 8, numbers += 8 * COLUMNS) {
        uint16_t tile[8 * COLUMNS];
        for (int n = 0; n < COLUMNS; n += 16)
            take_tile(codes + n, k, mp_tc_bracket_terms(f), COLUMNS, tile + n);
        mp_decode_row_f32(f->dtype, tile, 0, 8 * COLUMNS, numbers);
        add_weighted_squares(f->weight + k % TERMS, numbers, squares);
        if ((k + 8) % f->part != 0 && k + 8 < f->k) continue;
        for (int n = 0; n < COLUMNS; n++) {
            norms[n] = sqrtf(squares[n]);
            has_squares[n] |= squares[n] > 0;
            squares[n] = 0;
        }
        norms += stride;
    }
    for (int n = 0; n < COLUMNS; n++) {
        ordinary &= survey(f, codes[n], has_squares[n], &sides[n]);
        if (f->dtype == MP_FP16) sides[n].small = has_no_field(mp_tc_bracket_terms(f), codes[n]);
    }
    return ordinary;
}
