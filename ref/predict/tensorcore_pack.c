/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/tensorcore_pack.h"

#include "base/bits.h"
#include "base/clones.h"
#include "ref/predict/tensorcore_scale.h"
#include "ref/predict/transpose.h"

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define INLINE inline __attribute__((always_inline))

/* Packed at a time: PIECE terms of a row of a; of a panel of w TILE_K of every column, a mask's worth at
 * most. */
enum { NUMBERS_AT = 64, PIECE = 512, TILE_K = 16, TILE = TILE_K * MP_TC_MAX_COLUMNS };
_Static_assert(sizeof(mp_tc_row) <= NUMBERS_AT, "the header fits in front of the numbers");

static void fill_fp16_table(mp_tc_input input, uint16_t table[256]) {
    for (uint32_t code = 0; code < 256; code++)
        table[code] = (uint16_t)mp_encode_code(MP_FP16, mp_decode_code(mp_tc_operands[input].dtype, code));
}

void mp_tc_layout_make(mp_tc_layout *l, const mp_tc_model *m, const mp_tc_form *form, int64_t columns,
                       int64_t K) {
    const mp_tc_model step = mp_tc_step(m);
    const int64_t terms = mp_tc_terms(m);
    l->form = form;
    l->reordered = m->method != MP_TC_DIRECT;
    l->reordered_terms = mp_tc_terms(m);
    l->group = step.group;
    l->fall = form->falls ? mp_tc_fall(step.fraction_bits) : 0;
    l->K = K;
    l->padded_k = (K + terms - 1) / terms * terms;
    l->masks = l->padded_k / mp_tc_mask_terms(l->group);
    l->terms = l->reordered ? l->padded_k : K;
    l->columns = columns;
    l->a = &mp_tc_operands[step.a];
    l->w = &mp_tc_operands[step.b];
    if (m->a != step.a) fill_fp16_table(m->a, l->fp16_of_a);
    if (m->b != step.b) fill_fp16_table(m->b, l->fp16_of_w);
}

/* Two codes at k as one number, little endian; beyond K there are zeros. `bytes`, a constant where this is
 * inlined: fp8, known as fp16. In registers: halves that are stored and read as one wait for each other. */
static INLINE uint32_t code_pair(bool bytes, const uint16_t table[256], const char *codes, int64_t k,
                                 int64_t K) {
    uint16_t low = 0, high = 0;
    if (bytes) {
        if (k < K) low = table[(uint8_t)codes[k]];
        if (k + 1 < K) high = table[(uint8_t)codes[k + 1]];
    } else {
        if (k < K) memcpy(&low, codes + 2 * k, sizeof low);
        if (k + 1 < K) memcpy(&high, codes + 2 * k + 2, sizeof high);
    }
    return (uint32_t)high << 16 | low;
}

/* A row of codes as steps take it: of every four terms two are taken in the first half (mp_tc_taken, the
 * other way round). */
static INLINE void copy_steps(const mp_tc_layout *l, bool bytes, const uint16_t table[256], const char *codes,
                              uint16_t *copy) {
    const int64_t half = l->reordered_terms / 2;
    for (int64_t first = 0; first < l->padded_k; first += 2 * half, copy += 2 * half)
        for (int64_t i = 0; i < half; i += 2) {
            const uint32_t front = code_pair(bytes, table, codes, first + 2 * i, l->K),
                           back = code_pair(bytes, table, codes, first + 2 * i + 2, l->K);
            memcpy(copy + i, &front, sizeof front);
            memcpy(copy + half + i, &back, sizeof back);
        }
}

static void copy_reordered(const mp_tc_layout *l, mp_dtype dtype, const uint16_t table[256],
                           const char *codes, uint16_t *copy) {
    if (mp_dtype_size(dtype) == 1)
        copy_steps(l, true, table, codes, copy);
    else
        copy_steps(l, false, table, codes, copy);
}

static void store_mask(const mp_tc_form *form, uint16_t mask, int64_t at, void *masks) {
    if (form->sign_bytes == sizeof mask)
        ((uint16_t *)masks)[at] = mask;
    else
        ((uint64_t *)masks)[at] = mask | form->other_signs;
}

/* Where the parts of a packed row and of a panel begin. */
static size_t row_exponents_at(const mp_tc_layout *l) {
    return NUMBERS_AT + (size_t)l->padded_k * l->form->number_bytes;
}
static size_t row_signs_at(const mp_tc_layout *l) {
    return row_exponents_at(l) + (size_t)l->padded_k * sizeof(int32_t);
}
static size_t row_codes_at(const mp_tc_layout *l) {
    return row_signs_at(l) + (size_t)l->masks * l->form->sign_bytes;
}
static size_t panel_exponents_at(const mp_tc_layout *l) {
    return (size_t)(l->padded_k * l->columns) * l->form->number_bytes;
}
static size_t panel_signs_at(const mp_tc_layout *l) {
    return panel_exponents_at(l) + (size_t)(l->padded_k * l->columns);
}
static size_t panel_header_at(const mp_tc_layout *l) {
    return (panel_signs_at(l) + (size_t)(l->masks * l->columns) * l->form->sign_bytes + 7) / 8 * 8;
}
static size_t panel_codes_at(const mp_tc_layout *l) {
    return panel_header_at(l) + sizeof(mp_tc_panel);
}

static size_t aligned(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

size_t mp_tc_row_bytes(const mp_tc_layout *l) {
    return aligned(row_codes_at(l) + (l->reordered ? (size_t)l->terms * sizeof(uint16_t) : 0));
}

size_t mp_tc_panel_bytes(const mp_tc_layout *l) {
    return aligned(panel_codes_at(l) +
                   (l->reordered ? (size_t)(l->columns * l->terms) * sizeof(uint16_t) : 0));
}

const mp_tc_panel *mp_tc_panel_of(const mp_tc_layout *l, const void *packed) {
    return (const mp_tc_panel *)(const void *)((const char *)packed + panel_header_at(l));
}

mp_tc_block mp_tc_block_of(const mp_tc_layout *l, const void *rows, const void *panel, int64_t first,
                           int64_t groups) {
    const char *row = rows, *columns = panel;
    const int64_t mask = first / mp_tc_mask_terms(l->group);
    return (mp_tc_block){
        .group = l->group,
        .first_group = first / l->group,
        .groups = groups,
        .row_bytes = mp_tc_row_bytes(l),
        .a = row + NUMBERS_AT + (size_t)first * l->form->number_bytes,
        .a_exponent = (const int32_t *)(const void *)(row + row_exponents_at(l)) + first,
        .a_sign = row + row_signs_at(l) + (size_t)mask * l->form->sign_bytes,
        .w = columns + (size_t)(first * l->columns) * l->form->number_bytes,
        .w_exponent = (const int8_t *)columns + panel_exponents_at(l) + first * l->columns,
        .w_sign = columns + panel_signs_at(l) + (size_t)(mask * l->columns) * l->form->sign_bytes,
    };
}

/* Bit i: is the i-th outline's number negative? */
static uint16_t signs_of(const uint16_t *outlines, int terms) {
    uint16_t mask = 0;
#if defined(__SSE2__)
    if (terms == 16) {
        const __m128i *eight = (const __m128i *)(const void *)outlines;
        return (uint16_t)_mm_movemask_epi8(
            _mm_packs_epi16(_mm_loadu_si128(eight), _mm_loadu_si128(eight + 1)));
    }
#endif
    for (int t = 0; t < terms; t++) mask = (uint16_t)(mask | outlines[t] >> 15 << t);
    return mask;
}

void mp_tc_pack_row(const mp_tc_layout *l, const mp_tensor *a, int64_t row, void *packed) {
    const int terms = mp_tc_mask_terms(l->group);
    char *bytes = packed;
    mp_tc_row *header = packed;
    int32_t *exponents = (int32_t *)(void *)(bytes + row_exponents_at(l));
    header->codes = (const char *)a->data + (size_t)(row * l->K) * mp_dtype_size(a->dtype);
    if (l->reordered) {
        copy_reordered(l, a->dtype, l->fp16_of_a, header->codes,
                       (uint16_t *)(void *)(bytes + row_codes_at(l)));
        header->codes = bytes + row_codes_at(l);
    }
    header->scaled = mp_tc_survey(l->a, header->codes, l->terms);
    const mp_tc_power taken_out = mp_tc_power_of(l->a, header->scaled.exponent, 1);
    for (int64_t k = 0; k < l->padded_k; k += PIECE) {
        const int64_t here = l->padded_k - k < PIECE ? l->padded_k - k : PIECE,
                      left = l->terms - k < here ? l->terms - k : here,
                      filled = header->scaled.special ? 0 : left;
        uint16_t outlines[PIECE];
        float in[PIECE];
        mp_tc_take_outlines(l->a, mp_tc_codes_at(l->a, header->codes, k), filled, outlines);
        mp_tc_take_values(l->a, mp_tc_codes_at(l->a, header->codes, k), filled, in);
        memset(outlines + filled, 0, (size_t)(here - filled) * sizeof *outlines);
        memset(in + filled, 0, (size_t)(here - filled) * sizeof *in);
        mp_tc_scale_row(l, taken_out, here, outlines, in,
                        bytes + NUMBERS_AT + (size_t)k * l->form->number_bytes, exponents + k);
        for (int64_t i = 0; i < here; i += terms)
            store_mask(l->form, signs_of(outlines + i, terms), (k + i) / terms, bytes + row_signs_at(l));
    }
}

/* tile[k, column] = code k of a row of codes; `size`: of a code, a constant where this is inlined. */
static INLINE void place_column(size_t size, const char *codes, int64_t n, int64_t column, int64_t columns,
                                char *tile) {
    for (int64_t k = 0; k < n; k++)
        memcpy(tile + (size_t)(k * columns + column) * size, codes + (size_t)k * size, size);
}

static void place_all_of_16_bits(const mp_tc_layout *l, const uint16_t *codes, uint16_t *tile) {
    enum { AT_ONCE = 16 };
    for (int64_t n = 0; n < l->columns; n += AT_ONCE)
        for (int64_t k = 0; k < TILE_K; k += 8) {
            const uint16_t *column[AT_ONCE];
            for (int i = 0; i < AT_ONCE; i++) column[i] = codes + (n + i) * l->terms;
            mp_transpose_sixteen(column, k, l->columns, tile + k * l->columns + n);
        }
}

/* The codes of terms k .. k+rows-1 of every column, [rows, columns]; zeros where there is no term or column,
 * and for a special one. */
static void take_tile(const mp_tc_layout *l, const mp_tc_panel *panel, int64_t k, int64_t rows, char *tile) {
    const int64_t columns = l->columns, filled = l->terms - k < rows ? l->terms - k : rows;
    const size_t size = mp_dtype_size(l->w->dtype);
    if (size == 2 && filled == TILE_K && panel->count == columns && !panel->special) {
        place_all_of_16_bits(l, (const uint16_t *)(const void *)panel->codes + k, (uint16_t *)(void *)tile);
        return;
    }
    memset(tile, 0, (size_t)(rows * columns) * size);
    for (int64_t n = 0; n < panel->count; n++) {
        const char *codes = mp_tc_codes_at(l->w, panel->codes, n * l->terms + k);
        if (panel->scaled[n].special) continue;
        switch (size) {
        case 1: place_column(1, codes, filled, n, columns, tile); break;
        case 2: place_column(2, codes, filled, n, columns, tile); break;
        default: place_column(4, codes, filled, n, columns, tile);
        }
    }
}

/* Masks of all columns from [terms, columns] outlines: bit i is set where the i-th number is negative. */
MP_CLONES static void signs_of_columns(const uint16_t *restrict outlines, int terms, int64_t columns,
                                       uint16_t *restrict masks) {
    memset(masks, 0, (size_t)columns * sizeof *masks);
    for (int i = 0; i < terms; i++)
        for (int64_t n = 0; n < columns; n++)
            masks[n] = (uint16_t)(masks[n] | outlines[i * columns + n] >> 15 << i);
}

/* Scales of the panel's columns, and what they have in common. */
static void survey_panel(const mp_tc_layout *l, mp_tc_panel *panel, mp_tc_powers *taken_out) {
    panel->small = panel->special = false;
    for (int64_t n = 0; n < l->columns; n++) {
        mp_tc_scaling *scaled = &panel->scaled[n];
        *scaled = (mp_tc_scaling){0};
        if (n < panel->count)
            *scaled = mp_tc_survey(l->w, mp_tc_codes_at(l->w, panel->codes, n * l->terms), l->terms);
        const mp_tc_power column = mp_tc_power_of(l->w, scaled->exponent, l->form->column_factor);
        taken_out->field[n] = column.field;
        taken_out->factor[n] = column.factor;
        panel->power[n] = mp_power_of_two(scaled->exponent);
        panel->small |= scaled->small;
        panel->special |= scaled->special;
        if (n == 0) panel->lowest = panel->highest = scaled->exponent;
        if (n < panel->count && scaled->exponent < panel->lowest) panel->lowest = scaled->exponent;
        if (n < panel->count && scaled->exponent > panel->highest) panel->highest = scaled->exponent;
    }
}

void mp_tc_pack_panel(const mp_tc_layout *l, const mp_tensor *w, int64_t first, int64_t count, void *packed) {
    const int64_t columns = l->columns;
    const int terms = mp_tc_mask_terms(l->group);
    char *bytes = packed;
    mp_tc_panel *header = (mp_tc_panel *)(void *)(bytes + panel_header_at(l));
    int8_t *exponents = (int8_t *)bytes + panel_exponents_at(l);
    mp_tc_powers taken_out;
    header->codes = (const char *)w->data + (size_t)(first * l->K) * mp_dtype_size(w->dtype);
    header->count = count;
    if (l->reordered) {
        uint16_t *copy = (uint16_t *)(void *)(bytes + panel_codes_at(l));
        for (int64_t n = 0; n < count; n++)
            copy_reordered(l, w->dtype, l->fp16_of_w,
                           header->codes + (size_t)(n * l->K) * mp_dtype_size(w->dtype), copy + n * l->terms);
        header->codes = (const char *)copy;
    }
    survey_panel(l, header, &taken_out);
    for (int64_t k = 0; k < l->padded_k; k += TILE_K) {
        const int64_t rows = l->padded_k - k < TILE_K ? l->padded_k - k : TILE_K;
        uint32_t tile[TILE];
        uint16_t outlines[TILE], masks[MP_TC_MAX_COLUMNS];
        float in[TILE];
        take_tile(l, header, k, rows, (char *)tile);
        mp_tc_take_outlines(l->w, (const char *)tile, rows * columns, outlines);
        mp_tc_take_values(l->w, (const char *)tile, rows * columns, in);
        mp_tc_scale_tile(l, &taken_out, k, rows, outlines, in,
                         bytes + (size_t)(k * columns) * l->form->number_bytes, exponents + k * columns);
        for (int64_t i = 0; i < rows; i += terms) {
            signs_of_columns(outlines + i * columns, terms, columns, masks);
            for (int64_t n = 0; n < columns; n++)
                store_mask(l->form, masks[n], (k + i) / terms * columns + n, bytes + panel_signs_at(l));
        }
    }
}
