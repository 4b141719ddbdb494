/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/tensorcore_gemm.h"

#include "base/bits.h"
#include "base/clones.h"
#include "ref/predict/gemm_f32.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Packed at a time: PIECE terms of a row of a; of a panel of w TILE_K of every column, a mask's worth at
 * most. */
enum { VALUES_AT = 64, PIECE = 64, TILE_K = 16, TILE = TILE_K * MP_TC_MAX_COLUMNS };
_Static_assert((int)PIECE <= (int)MP_TC_MAX_COLUMNS && (int)PIECE <= (int)TILE,
               "a piece is no longer than a row of a tile");

/* An operand's format. Its outline is what decides about scales and signs, in 16 bits for all formats: sign,
 * exponent field from `shift` on, and a fraction that is not zero when the number's is not. */
typedef struct operand {
    mp_dtype dtype;
    uint32_t kept;          /* bits of a code that count: tf32 drops 13 of fp32's */
    int shift, bias;        /* of the outline's exponent field */
    uint16_t first_special; /* outlines of this magnitude or more are Inf or NaN */
} operand;
static const operand OPERANDS[] = {
    [MP_TC_BF16] = {MP_BF16, 0xFFFF, 7, 127, 0x7F80},     [MP_TC_FP16] = {MP_FP16, 0xFFFF, 10, 15, 0x7C00},
    [MP_TC_TF32] = {MP_FP32, 0xFFFFE000, 7, 127, 0x7F80}, [MP_TC_E4M3] = {MP_E4M3, 0xFF, 3, 7, 0x7F},
    [MP_TC_E5M2] = {MP_E5M2, 0xFF, 2, 15, 0x7C},
};

/* What scaling did to a row of a or a column of w.
 *   exponent  of the power of two taken out: the largest exponent, subnormals counting as the smallest normal
 *             number
 *   small     a nonzero number lies more than 31 binary orders below the largest: without one, products at
 *             the floor are zeros
 *   special   Inf or NaN: packed as zeros, its results come from mp_tc_dot */
typedef struct scaling {
    int exponent;
    bool small, special;
} scaling;

/* A packed row of a begins with this; then come the scaled values [k], their exponents [k] and the sign
 * masks. */
typedef struct packed_row {
    scaling scaled;
    const char *codes;
} packed_row;
_Static_assert(sizeof(packed_row) <= VALUES_AT, "the header fits in front of the values");

/* A packed panel of w: scaled values [k, columns], exponents [k, columns], sign masks [masks, columns], then
 * this. */
typedef struct packed_panel {
    scaling scaled[MP_TC_MAX_COLUMNS];
    double power[MP_TC_MAX_COLUMNS]; /* 2^exponent */
    const char *codes;               /* of the first column; the others follow each other */
    int64_t count;
    /* Of all its columns: whether one is, and the range of their exponents. */
    bool small, special;
    int lowest, highest;
} packed_panel;

typedef struct tc_engine {
    mp_gemm_f32_engine base;
    const mp_tc_kernel *kernel; /* NULL: the definition computes everything */
    const mp_tc_model *model;
    const operand *a, *w;
    int64_t K, padded_k;         /* padded_k: a multiple of the group */
    int64_t masks;               /* of a row */
    int lowest_sum, highest_sum; /* of the exponents taken out of a row and a column: see mp_tc_gemm_with */
    int64_t *redone;
} tc_engine;

static const char *codes_at(const operand *o, const void *codes, int64_t index) {
    return (const char *)codes + (size_t)index * mp_dtype_size(o->dtype);
}

static void take_outlines(const operand *o, const char *codes, int64_t n, uint16_t *outlines) {
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

static void take_values(const operand *o, const char *codes, int64_t n, float *values) {
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
static inline uint16_t field_of(const operand *o, uint16_t outline) {
    const uint16_t magnitude = outline & 0x7FFF, field = (uint16_t)(magnitude >> o->shift);
    return field ? field : magnitude != 0;
}

typedef struct extent {
    uint16_t largest, smallest_less_one; /* magnitude; exponent field */
} extent;

/* In 16-bit arithmetic throughout, for the sake of the vectors; a zero's field less one is the largest
 * number, so it is never the smallest. */
MP_CLONES static void widen(const operand *o, const uint16_t *outlines, int64_t n, extent *x) {
    uint16_t largest = x->largest, smallest_less_one = x->smallest_less_one;
    for (int64_t i = 0; i < n; i++) {
        const uint16_t magnitude = outlines[i] & 0x7FFF, less_one = (uint16_t)(field_of(o, outlines[i]) - 1);
        largest = magnitude > largest ? magnitude : largest;
        smallest_less_one = less_one < smallest_less_one ? less_one : smallest_less_one;
    }
    *x = (extent){largest, smallest_less_one};
}

static scaling survey(const operand *o, const char *codes, int64_t n) {
    extent x = {0, UINT16_MAX};
    if (mp_dtype_size(o->dtype) == 2) /* codes are outlines */
        widen(o, (const uint16_t *)(const void *)codes, n, &x);
    for (int64_t k = 0; mp_dtype_size(o->dtype) != 2 && k < n; k += PIECE) {
        uint16_t outlines[PIECE];
        const int64_t here = n - k < PIECE ? n - k : PIECE;
        take_outlines(o, codes_at(o, codes, k), here, outlines);
        widen(o, outlines, here, &x);
    }
    const int largest = field_of(o, x.largest);
    return (scaling){.exponent = largest ? largest - o->bias : 0,
                     .small = x.smallest_less_one + 1 < largest - 31,
                     .special = x.largest >= o->first_special};
}

/* What a and w differ in: see ref/predict/tensorcore_kernels.h. */
typedef struct side {
    double factor;
    int16_t exponent_offset, zero_exponent;
} side;
static const side SIDE_A = {1, 0, MP_TC_ZERO_A}, SIDE_W = {1 + 0x1p-30, 127, MP_TC_ZERO_W};

/* The powers of two that are taken out of the columns of a tile; of a piece of one row all are alike. */
typedef struct powers {
    int16_t exponent[MP_TC_MAX_COLUMNS];
    double factor[MP_TC_MAX_COLUMNS]; /* 2^-exponent, times the side's */
} powers;

static void set_power(powers *p, const side *form, int64_t column, int exponent) {
    p->exponent[column] = (int16_t)exponent;
    p->factor[column] = mp_power_of_two(-exponent) * form->factor;
}

/* A tile, [rows, columns], in the kernels' form. outlines, in: of its numbers. Exponents in 16-bit arithmetic
 * and values apart from them, for the sake of the vectors. */
MP_CLONES static void scale(const operand *o, const side *form, const powers *p, int64_t rows,
                            int64_t columns, const uint16_t *outlines, const float *in, double *values,
                            int8_t *exponents) {
    for (int64_t at = 0; at < rows * columns; at += columns) {
        for (int64_t n = 0; n < columns; n++) {
            const uint16_t field = field_of(o, outlines[at + n]);
            const int16_t relative = (int16_t)(field - o->bias - p->exponent[n]),
                          above = relative > MP_TC_LOWEST ? relative : MP_TC_LOWEST,
                          stored = (int16_t)(above + form->exponent_offset);
            exponents[at + n] = (int8_t)(field ? stored : form->zero_exponent);
        }
        for (int64_t n = 0; n < columns; n++) {
            const double value = (double)in[at + n], tiny = copysign(MP_TC_ZERO_VALUE, value);
            values[at + n] = value != 0 ? value * p->factor[n] : tiny;
        }
    }
}

static const tc_engine *tc(const mp_gemm_f32_engine *engine) {
    return (const tc_engine *)engine;
}

static void pack_row(const mp_gemm_f32_engine *engine, const mp_tensor *a, int64_t row, void *packed) {
    const tc_engine *e = tc(engine);
    const int terms = mp_tc_mask_terms(e->model->group);
    packed_row *header = packed;
    double *values = (double *)((char *)packed + VALUES_AT);
    int32_t *exponents = (int32_t *)(values + e->padded_k);
    uint16_t *negative = (uint16_t *)(exponents + e->padded_k);
    powers taken_out;
    header->codes = codes_at(e->a, a->data, row * e->K);
    header->scaled = survey(e->a, header->codes, e->K);
    for (int64_t i = 0; i < PIECE; i++) set_power(&taken_out, &SIDE_A, i, header->scaled.exponent);
    for (int64_t k = 0; k < e->padded_k; k += PIECE) {
        const int64_t here = e->padded_k - k < PIECE ? e->padded_k - k : PIECE,
                      filled = header->scaled.special ? 0
                               : e->K - k < here      ? e->K - k
                                                      : here;
        uint16_t outlines[PIECE] = {0};
        float in[PIECE] = {0};
        int8_t exponent[PIECE];
        take_outlines(e->a, codes_at(e->a, header->codes, k), filled, outlines);
        take_values(e->a, codes_at(e->a, header->codes, k), filled, in);
        scale(e->a, &SIDE_A, &taken_out, 1, here, outlines, in, values + k, exponent);
        for (int64_t i = 0; i < here; i++)
            exponents[k + i] = (int32_t)((uint32_t)(uint8_t)exponent[i] * 0x01010101);
        for (int64_t i = 0; i < here; i += terms) {
            uint16_t mask = 0;
            for (int t = 0; t < terms; t++) mask = (uint16_t)(mask | outlines[i + t] >> 15 << t);
            negative[(k + i) / terms] = mask;
        }
    }
}

/* Bytes of a packed panel in front of its header. */
static size_t panel_data_bytes(const tc_engine *e) {
    const size_t terms = (size_t)(e->padded_k * e->base.columns);
    return terms * (sizeof(double) + 1) + (size_t)(e->masks * e->base.columns) * sizeof(uint16_t);
}

static packed_panel *panel_header(const tc_engine *e, const void *packed) {
    return (packed_panel *)((char *)packed + panel_data_bytes(e));
}

/* tile[k, column] = code k of a row of codes; `size`: of a code, a constant where this is inlined. */
static inline __attribute__((always_inline)) void place_column(size_t size, const char *codes, int64_t n,
                                                               int64_t column, int64_t columns, char *tile) {
    for (int64_t k = 0; k < n; k++)
        memcpy(tile + (size_t)(k * columns + column) * size, codes + (size_t)k * size, size);
}

/* The codes of terms k .. k+rows-1 of every column, [rows, columns]; zeros where there is no term or column,
 * and for a special one. */
static void take_tile(const tc_engine *e, const packed_panel *panel, int64_t k, int64_t rows, char *tile) {
    const int64_t columns = e->base.columns, filled = e->K - k < rows ? e->K - k : rows;
    const size_t size = mp_dtype_size(e->w->dtype);
    memset(tile, 0, (size_t)(rows * columns) * size);
    for (int64_t n = 0; n < panel->count; n++) {
        const char *codes = codes_at(e->w, panel->codes, n * e->K + k);
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

static void pack_panel(const mp_gemm_f32_engine *engine, const mp_tensor *w, int64_t first, int64_t count,
                       float *scratch, void *packed) {
    const tc_engine *e = tc(engine);
    const int64_t K = e->K, columns = e->base.columns;
    const int terms = mp_tc_mask_terms(e->model->group);
    packed_panel *header = panel_header(e, packed);
    double *values = packed;
    int8_t *exponents = (int8_t *)(values + e->padded_k * columns);
    uint16_t *negative = (uint16_t *)(exponents + e->padded_k * columns);
    powers taken_out;
    (void)scratch;
    header->codes = codes_at(e->w, w->data, first * K);
    header->count = count;
    header->small = header->special = false;
    header->lowest = INT_MAX;
    header->highest = INT_MIN;
    for (int64_t n = 0; n < columns; n++) {
        if (n < count) header->scaled[n] = survey(e->w, codes_at(e->w, header->codes, n * K), K);
        set_power(&taken_out, &SIDE_W, n, n < count ? header->scaled[n].exponent : 0);
        header->power[n] = mp_power_of_two(taken_out.exponent[n]);
        if (n >= count) continue;
        const scaling *column = &header->scaled[n];
        header->small = header->small || column->small;
        header->special = header->special || column->special;
        header->lowest = column->exponent < header->lowest ? column->exponent : header->lowest;
        header->highest = column->exponent > header->highest ? column->exponent : header->highest;
    }
    for (int64_t k = 0; k < e->padded_k; k += TILE_K) {
        const int64_t rows = e->padded_k - k < TILE_K ? e->padded_k - k : TILE_K;
        uint32_t tile[TILE];
        uint16_t outlines[TILE];
        float in[TILE];
        take_tile(e, header, k, rows, (char *)tile);
        take_outlines(e->w, (const char *)tile, rows * columns, outlines);
        take_values(e->w, (const char *)tile, rows * columns, in);
        scale(e->w, &SIDE_W, &taken_out, rows, columns, outlines, in, values + k * columns,
              exponents + k * columns);
        for (int64_t i = 0; i < rows; i++)
            add_signs(outlines + i * columns, columns, (int)((k + i) % terms),
                      negative + (k + i) / terms * columns);
    }
}

/* The definition, on the operands as they came. */
static float redo(const tc_engine *e, const char *a, const char *w) {
    const int L = e->model->group;
    const size_t a_size = mp_dtype_size(e->a->dtype), w_size = mp_dtype_size(e->w->dtype);
    uint32_t bits = 0;
    bool nan = false; /* for good: what is left of k changes nothing */
    for (int64_t k = 0; k < e->K && !nan; k += L) {
        uint32_t x[MP_TC_MAX_GROUP] = {0}, y[MP_TC_MAX_GROUP] = {0};
        for (int64_t i = 0; i < L && k + i < e->K; i++) { /* little endian */
            memcpy(&x[i], a + (size_t)(k + i) * a_size, a_size);
            memcpy(&y[i], w + (size_t)(k + i) * w_size, w_size);
        }
        bits = mp_tc_dot_add(e->model, x, y, bits);
        nan = e->model->result == MP_TC_FLOAT16 ? (bits & 0x7FFF) > 0x7C00 : (bits & 0x7FFFFFFF) > 0x7F800000;
    }
    return (float)mp_decode_code(e->model->result == MP_TC_FLOAT16 ? MP_FP16 : MP_FP32, bits);
}

/* The powers of two of a row and of its columns, into its sums. A zero is +0. */
MP_CLONES static void put_back(const double *acc, double row_power, const double *power, int64_t columns,
                               float *result) {
    for (int64_t n = 0; n < columns; n++) result[n] = (float)(acc[n] * (row_power * power[n]) + 0.0);
}

/* Whether the kernel's results of the row are right in every column of the panel, whatever they are: what
 * run() asks of each element, asked of all at once. */
static bool row_needs_no_look(const tc_engine *e, const scaling *row, const packed_panel *panel) {
    return e->kernel && !row->special && !panel->special && !row->small && !panel->small &&
           row->exponent + panel->lowest >= e->lowest_sum && row->exponent + panel->highest <= e->highest_sum;
}

static void run(const mp_gemm_f32_engine *engine, int64_t count, const void *rows, const void *packed,
                float *result) {
    const tc_engine *e = tc(engine);
    const int64_t columns = e->base.columns;
    const packed_panel *panel = panel_header(e, packed);
    const double *a = (const double *)((const char *)rows + VALUES_AT), *w = packed;
    const int32_t *a_exponent = (const int32_t *)(a + e->padded_k);
    const int8_t *w_exponent = (const int8_t *)(w + e->padded_k * columns);
    double acc[MP_TC_MAX_ROWS * MP_TC_MAX_COLUMNS] = {0};
    uint8_t at_floor[MP_TC_MAX_ROWS * MP_TC_MAX_COLUMNS] = {0};
    int64_t redone = 0;
    if (e->kernel)
        e->kernel->run(&(mp_tc_block){.group = e->model->group,
                                      .fraction_bits = e->model->fraction_bits,
                                      .result_bits = e->model->result_fraction_bits,
                                      .groups = e->padded_k / e->model->group,
                                      .rows = count,
                                      .row_bytes = e->base.row_bytes,
                                      .a = a,
                                      .a_exponent = a_exponent,
                                      .a_sign = (const uint16_t *)(a_exponent + e->padded_k),
                                      .w = w,
                                      .w_exponent = w_exponent,
                                      .w_sign = (const uint16_t *)(w_exponent + e->padded_k * columns),
                                      .acc = acc,
                                      .at_floor = at_floor});
    for (int64_t r = 0; r < count; r++) {
        const packed_row *row = (const packed_row *)((const char *)rows + (size_t)r * e->base.row_bytes);
        const double power = mp_power_of_two(row->scaled.exponent);
        put_back(acc + r * columns, power, panel->power, panel->count, result + r * columns);
        if (row_needs_no_look(e, &row->scaled, panel)) continue;
        for (int64_t n = 0; n < panel->count; n++) {
            const scaling *column = &panel->scaled[n];
            const int sum = row->scaled.exponent + column->exponent;
            const bool floor_matters = at_floor[r * columns + n] && (row->scaled.small || column->small);
            const bool scale_matters = sum < e->lowest_sum || sum > e->highest_sum;
            if (e->kernel && !row->scaled.special && !column->special && !scale_matters && !floor_matters)
                continue;
            result[r * columns + n] = redo(e, row->codes, codes_at(e->w, panel->codes, n * e->K));
            redone++;
        }
    }
    if (redone && e->redone) {
#pragma omp atomic
        *e->redone += redone;
    }
}

/* Why scaled results are right. Let s be the sum of the exponents taken out of a row and a column, and F at
 * least 23, but for 8-bit floats, whose s is -28 or more.
 *   Floor: where no operand lies below 2^-31, a nonzero product is at least 2^-62, above the floor of 2^-63.
 *   A step at the floor then has zero products
 *     only, and acc, a multiple of 2^(-62-F) of no more than F+1 bits, passes it unchanged, as it does in the
 *     model.
 *   From below: terms are multiples of 2^(-63-F+s). For s >= F - 86 that is at least 2^-149: no result loses
 *   bits by being subnormal, and no term is as small
 *     as zero_exponent or a subnormal accumulator's exponent of -126 matters: nonzero products have exponents
 *     of s - 62 >= F - 148 > -126.
 *   From above: |acc| < 4*K*2^s never reaches 2^128 for s <= 126 - bits(K). */
static bool kernels_cover(const mp_tc_model *m) {
    return m->method == MP_TC_DIRECT && m->result == MP_TC_FLOAT32 && m->fraction_bits >= 13 &&
           m->fraction_bits <= 25 && m->result_fraction_bits <= 23 &&
           m->result_fraction_bits <= m->fraction_bits && m->group >= 4 && 32 % m->group == 0 &&
           m->zero_exponent == MP_TC_ZERO_EXPONENT;
}

mp_status mp_tc_gemm_with(const mp_tc_kernel *kernel, const mp_tc_model *model, const mp_gemm_problem *p,
                          const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *out,
                          int64_t *redone, mp_error *err) {
    const int64_t K = p->w.codes->dim[2];
    if (model->a == MP_TC_S8 || model->b == MP_TC_S8)
        return mp_fail(err, MP_EUNSUPPORTED,
                       "tensor-core gemm: s8 sums are plain integer sums, they are not computed here");
    const operand *a = &OPERANDS[model->a], *w = &OPERANDS[model->b];
    if (p->a.codes->dtype != a->dtype || p->w.codes->dtype != w->dtype)
        return mp_fail(err, MP_EUNSUPPORTED,
                       "tensor-core gemm: operands %s and %s, the model's are %s and %s",
                       mp_dtype_name(p->a.codes->dtype), mp_dtype_name(p->w.codes->dtype),
                       mp_dtype_name(a->dtype), mp_dtype_name(w->dtype));
    const int lowest_fraction_bits = model->fraction_bits < 23 ? 23 : model->fraction_bits;
    tc_engine engine = {.base = {.name = "tensor-core gemm",
                                 .rows = MP_TC_MAX_ROWS,
                                 .columns = kernel->columns,
                                 .pack_row = pack_row,
                                 .pack_panel = pack_panel,
                                 .run = run},
                        .kernel = kernels_cover(model) ? kernel : NULL,
                        .model = model,
                        .a = a,
                        .w = w,
                        .K = K,
                        .padded_k = (K + model->group - 1) / model->group * model->group,
                        .lowest_sum = lowest_fraction_bits - 86,
                        .highest_sum = 126 - (64 - __builtin_clzll((uint64_t)K | 1)),
                        .redone = redone};
    engine.masks = engine.padded_k / mp_tc_mask_terms(model->group);
    const size_t k = (size_t)engine.padded_k;
    engine.base.row_bytes =
        (VALUES_AT + k * (sizeof(double) + sizeof(int32_t)) + (size_t)engine.masks * sizeof(uint16_t) + 63) /
        64 * 64;
    engine.base.panel_bytes = (panel_data_bytes(&engine) + sizeof(packed_panel) + 63) / 64 * 64;
    if (redone) *redone = 0;
    return mp_gemm_f32(&engine.base, p, epilogue, out_row, out, err);
}

mp_status mp_tc_gemm(const mp_tc_model *model, const mp_gemm_problem *problem, const mp_epilogue *epilogue,
                     const int64_t *out_row, const mp_tensor *out, mp_error *err) {
    const mp_tc_kernel *kernel;
    mp_tc_kernels(&kernel);
    return mp_tc_gemm_with(kernel, model, problem, epilogue, out_row, out, NULL, err);
}
