/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/tensorcore_pack.h"

#include "base/bits.h"
#include "base/clones.h"

#include <math.h>
#include <string.h>

/* Packed at a time: PIECE terms of a row of a; of a panel of w TILE_K of every column, a mask's worth at
 * most. */
enum { NUMBERS_AT = 64, PIECE = 64, TILE_K = 16, TILE = TILE_K * MP_TC_MAX_COLUMNS };
_Static_assert((int)PIECE <= (int)MP_TC_MAX_COLUMNS && (int)PIECE <= (int)TILE,
               "a piece is no longer than a row of a tile");
_Static_assert(sizeof(mp_tc_row) <= NUMBERS_AT, "the header fits in front of the numbers");

const mp_tc_operand mp_tc_operands[] = {
    [MP_TC_BF16] = {MP_BF16, 0xFFFF, 7, 127, 0x7F80},     [MP_TC_FP16] = {MP_FP16, 0xFFFF, 10, 15, 0x7C00},
    [MP_TC_TF32] = {MP_FP32, 0xFFFFE000, 7, 127, 0x7F80}, [MP_TC_E4M3] = {MP_E4M3, 0xFF, 3, 7, 0x7F},
    [MP_TC_E5M2] = {MP_E5M2, 0xFF, 2, 15, 0x7C},          [MP_TC_E2M1] = {MP_E2M1, 0xF, 1, 1, 0x10},
};

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
static inline __attribute__((always_inline)) uint32_t code_pair(bool bytes, const uint16_t table[256],
                                                                const char *codes, int64_t k, int64_t K) {
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
static inline __attribute__((always_inline)) void
copy_steps(const mp_tc_layout *l, bool bytes, const uint16_t table[256], const char *codes, uint16_t *copy) {
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

static void take_outlines(const mp_tc_operand *o, const char *codes, int64_t n, uint16_t *outlines) {
    switch (mp_dtype_size(o->dtype)) {
    case 1:
        for (int64_t i = 0; i < n; i++) outlines[i] = (uint16_t)((codes[i] & 0x80) << 8 | (codes[i] & 0x7F));
        break;
    case 2: memcpy(outlines, codes, (size_t)n * sizeof *outlines); break;
    default:
        for (int64_t i = 0; i < n; i++) {
            uint32_t code;
            memcpy(&code, codes + 4 * i, sizeof code);
            outlines[i] = (uint16_t)((code & o->kept) >> 16 | ((code & o->kept & 0xFFFF) != 0));
        }
    }
}

static void take_values(const mp_tc_operand *o, const char *codes, int64_t n, float *values) {
    mp_decode_row_f32(o->dtype, codes, 0, n, values);
    if (o->dtype != MP_FP32) return;
    for (int64_t i = 0; i < n; i++) {
        uint32_t code;
        memcpy(&code, &values[i], sizeof code);
        code &= o->kept;
        memcpy(&values[i], &code, sizeof code);
    }
}

/* exponent field of an outline, 1 for subnormals, 0 for zero */
static inline uint16_t field_of(const mp_tc_operand *o, uint16_t outline) {
    const uint16_t magnitude = outline & 0x7FFF, field = (uint16_t)(magnitude >> o->shift);
    return field ? field : magnitude != 0;
}

typedef struct extent {
    uint16_t largest, smallest_less_one; /* magnitude; exponent field */
} extent;

/* In 16-bit arithmetic throughout, for the sake of the vectors; a zero's field less one is the largest
 * number, so it is never the smallest. */
MP_CLONES static void widen(const mp_tc_operand *o, const uint16_t *outlines, int64_t n, extent *x) {
    uint16_t largest = x->largest, smallest_less_one = x->smallest_less_one;
    for (int64_t i = 0; i < n; i++) {
        const uint16_t magnitude = outlines[i] & 0x7FFF, less_one = (uint16_t)(field_of(o, outlines[i]) - 1);
        largest = magnitude > largest ? magnitude : largest;
        smallest_less_one = less_one < smallest_less_one ? less_one : smallest_less_one;
    }
    *x = (extent){largest, smallest_less_one};
}

static mp_tc_scaling survey(const mp_tc_operand *o, const char *codes, int64_t n) {
    extent x = {0, UINT16_MAX};
    if (mp_dtype_size(o->dtype) == 2) /* codes are outlines */
        widen(o, (const uint16_t *)(const void *)codes, n, &x);
    for (int64_t k = 0; mp_dtype_size(o->dtype) != 2 && k < n; k += PIECE) {
        uint16_t outlines[PIECE];
        const int64_t here = n - k < PIECE ? n - k : PIECE;
        take_outlines(o, mp_tc_codes_at(o, codes, k), here, outlines);
        widen(o, outlines, here, &x);
    }
    const int largest = field_of(o, x.largest);
    return (mp_tc_scaling){.exponent = largest ? largest - o->bias : 0,
                           .small = x.smallest_less_one + 1 < largest - 31,
                           .special = x.largest >= o->first_special};
}

/* What a and w differ in: see ref/predict/tensorcore_kernels.h. */
typedef struct side {
    int16_t exponent_offset, zero_exponent;
} side;
static const side SIDE_A = {0, MP_TC_ZERO_A}, SIDE_W = {127, MP_TC_ZERO_W};

/* The powers of two that are taken out of the columns of a tile; of a piece of one row all are alike. */
typedef struct powers {
    int16_t exponent[MP_TC_MAX_COLUMNS];
    double factor[MP_TC_MAX_COLUMNS]; /* 2^-exponent, times the side's */
} powers;

static void set_power(powers *p, double factor, int64_t column, int exponent) {
    p->exponent[column] = (int16_t)exponent;
    p->factor[column] = mp_power_of_two(-exponent) * factor;
}

/* A tile, [rows, columns], in the kernels' form, but in float64. outlines, in: of its numbers. Exponents in
 * 16-bit arithmetic and values apart from them, for the sake of the vectors. */
MP_CLONES static void scale(const mp_tc_operand *o, const side *form, const powers *p, int64_t rows,
                            int64_t columns, const uint16_t *outlines, const float *in, double zero,
                            double *values, int8_t *exponents) {
    for (int64_t at = 0; at < rows * columns; at += columns) {
        for (int64_t n = 0; n < columns; n++) {
            const uint16_t field = field_of(o, outlines[at + n]);
            const int16_t relative = (int16_t)(field - o->bias - p->exponent[n]),
                          above = relative > MP_TC_LOWEST ? relative : MP_TC_LOWEST,
                          stored = (int16_t)(above + form->exponent_offset);
            exponents[at + n] = (int8_t)(field ? stored : form->zero_exponent);
        }
        for (int64_t n = 0; n < columns; n++) {
            const double value = (double)in[at + n], tiny = copysign(zero, value);
            values[at + n] = value != 0 ? value * p->factor[n] : tiny;
        }
    }
}

/* Numbers first .. first+n of a packed array; exact, as the form is chosen so. */
MP_CLONES static void store_numbers(const mp_tc_form *form, const double *values, int64_t first, int64_t n,
                                    void *numbers) {
    if (form->number_bytes == sizeof(double)) {
        memcpy((double *)numbers + first, values, (size_t)n * sizeof *values);
        return;
    }
    float *single = (float *)numbers + first;
    for (int64_t i = 0; i < n; i++) single[i] = (float)values[i];
}

/* Where the parts of a packed row and of a panel begin. */
static size_t row_exponents_at(const mp_tc_layout *l) {
    return NUMBERS_AT + (size_t)l->padded_k * l->form->number_bytes;
}
static size_t row_signs_at(const mp_tc_layout *l) {
    return row_exponents_at(l) + (size_t)l->padded_k * sizeof(int32_t);
}
static size_t row_codes_at(const mp_tc_layout *l) {
    return row_signs_at(l) + (size_t)l->masks * sizeof(uint16_t);
}
static size_t panel_exponents_at(const mp_tc_layout *l) {
    return (size_t)(l->padded_k * l->columns) * l->form->number_bytes;
}
static size_t panel_signs_at(const mp_tc_layout *l) {
    return panel_exponents_at(l) + (size_t)(l->padded_k * l->columns);
}
static size_t panel_header_at(const mp_tc_layout *l) {
    return (panel_signs_at(l) + (size_t)(l->masks * l->columns) * sizeof(uint16_t) + 7) / 8 * 8;
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
        .groups = groups,
        .row_bytes = mp_tc_row_bytes(l),
        .a = row + NUMBERS_AT + (size_t)first * l->form->number_bytes,
        .a_exponent = (const int32_t *)(const void *)(row + row_exponents_at(l)) + first,
        .a_sign = (const uint16_t *)(const void *)(row + row_signs_at(l)) + mask,
        .w = columns + (size_t)(first * l->columns) * l->form->number_bytes,
        .w_exponent = (const int8_t *)columns + panel_exponents_at(l) + first * l->columns,
        .w_sign = (const uint16_t *)(const void *)(columns + panel_signs_at(l)) + mask * l->columns,
    };
}

void mp_tc_pack_row(const mp_tc_layout *l, const mp_tensor *a, int64_t row, void *packed) {
    const int terms = mp_tc_mask_terms(l->group);
    char *bytes = packed;
    mp_tc_row *header = packed;
    int32_t *exponents = (int32_t *)(void *)(bytes + row_exponents_at(l));
    uint16_t *negative = (uint16_t *)(void *)(bytes + row_signs_at(l));
    powers taken_out;
    header->codes = (const char *)a->data + (size_t)(row * l->K) * mp_dtype_size(a->dtype);
    if (l->reordered) {
        copy_reordered(l, a->dtype, l->fp16_of_a, header->codes,
                       (uint16_t *)(void *)(bytes + row_codes_at(l)));
        header->codes = bytes + row_codes_at(l);
    }
    header->scaled = survey(l->a, header->codes, l->terms);
    for (int64_t i = 0; i < PIECE; i++) set_power(&taken_out, 1, i, header->scaled.exponent);
    for (int64_t k = 0; k < l->padded_k; k += PIECE) {
        const int64_t here = l->padded_k - k < PIECE ? l->padded_k - k : PIECE,
                      filled = header->scaled.special ? 0
                               : l->terms - k < here  ? l->terms - k
                                                      : here;
        uint16_t outlines[PIECE] = {0};
        float in[PIECE] = {0};
        double values[PIECE];
        int8_t exponent[PIECE];
        take_outlines(l->a, mp_tc_codes_at(l->a, header->codes, k), filled, outlines);
        take_values(l->a, mp_tc_codes_at(l->a, header->codes, k), filled, in);
        scale(l->a, &SIDE_A, &taken_out, 1, here, outlines, in, l->form->zero, values, exponent);
        store_numbers(l->form, values, k, here, bytes + NUMBERS_AT);
        for (int64_t i = 0; i < here; i++)
            exponents[k + i] = (int32_t)((uint32_t)(uint8_t)exponent[i] * 0x01010101);
        for (int64_t i = 0; i < here; i += terms) {
            uint16_t mask = 0;
            for (int t = 0; t < terms; t++) mask = (uint16_t)(mask | outlines[i + t] >> 15 << t);
            negative[(k + i) / terms] = mask;
        }
    }
}

/* tile[k, column] = code k of a row of codes; `size`: of a code, a constant where this is inlined. */
static inline __attribute__((always_inline)) void place_column(size_t size, const char *codes, int64_t n,
                                                               int64_t column, int64_t columns, char *tile) {
    for (int64_t k = 0; k < n; k++)
        memcpy(tile + (size_t)(k * columns + column) * size, codes + (size_t)k * size, size);
}

/* The codes of terms k .. k+rows-1 of every column, [rows, columns]; zeros where there is no term or column,
 * and for a special one. */
static void take_tile(const mp_tc_layout *l, const mp_tc_panel *panel, int64_t k, int64_t rows, char *tile) {
    const int64_t columns = l->columns, filled = l->terms - k < rows ? l->terms - k : rows;
    const size_t size = mp_dtype_size(l->w->dtype);
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

/* Bit `bit` of a column's mask: is the outline's number negative? */
MP_CLONES static void add_signs(const uint16_t *outlines, int64_t columns, int bit, uint16_t *masks) {
    for (int64_t n = 0; n < columns; n++)
        masks[n] = (uint16_t)((bit ? masks[n] : 0) | outlines[n] >> 15 << bit);
}

/* Scales of the panel's columns, and what they have in common. */
static void survey_panel(const mp_tc_layout *l, mp_tc_panel *panel, powers *taken_out) {
    panel->small = panel->special = false;
    for (int64_t n = 0; n < l->columns; n++) {
        mp_tc_scaling *scaled = &panel->scaled[n];
        *scaled = (mp_tc_scaling){0};
        if (n < panel->count)
            *scaled = survey(l->w, mp_tc_codes_at(l->w, panel->codes, n * l->terms), l->terms);
        set_power(taken_out, l->form->column_factor, n, scaled->exponent);
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
    uint16_t *negative = (uint16_t *)(void *)(bytes + panel_signs_at(l));
    powers taken_out;
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
        uint16_t outlines[TILE];
        float in[TILE];
        double values[TILE];
        take_tile(l, header, k, rows, (char *)tile);
        take_outlines(l->w, (const char *)tile, rows * columns, outlines);
        take_values(l->w, (const char *)tile, rows * columns, in);
        scale(l->w, &SIDE_W, &taken_out, rows, columns, outlines, in, l->form->zero, values,
              exponents + k * columns);
        store_numbers(l->form, values, k * columns, rows * columns, packed);
        for (int64_t i = 0; i < rows; i++)
            add_signs(outlines + i * columns, columns, (int)((k + i) % terms),
                      negative + (k + i) / terms * columns);
    }
}
