#include "ref/tensorcore_gemm.h"

#include "base/clones.h"
#include "ref/gemm_f32.h"

#include <stdlib.h>
#include <string.h>

enum { VALUES_AT = 64, PACK_K = 64 };

/* A 16-bit float format: its exponent field begins at `shift`. */
typedef struct layout {
    int shift, largest_field, bias;
} layout;

/* What scaling did to a row of a or a column of w.
 *   exponent  of the power of two taken out: the largest exponent, subnormals counting as the smallest normal number
 *   small     a nonzero number lies more than 31 binary orders below the largest: without one, products at the floor are zeros
 *   special   Inf or NaN: packed as zeros, its results come from mp_tc_dot */
typedef struct scaling {
    int exponent;
    bool small, special;
} scaling;

/* A packed row of a begins with this; then come the scaled values [k], their exponents [k] and the signs [groups]. */
typedef struct packed_row {
    scaling scaled;
    const uint16_t *codes;
} packed_row;
_Static_assert(sizeof(packed_row) <= VALUES_AT, "the header fits in front of the values");

/* A packed panel of w: scaled values [k, columns], exponents [k, columns], signs [groups, columns], then this. */
typedef struct packed_panel {
    scaling scaled[MP_TC_MAX_COLUMNS];
    const uint16_t *codes; /* of the first column; the others follow each other */
    int64_t count;
} packed_panel;

typedef struct tc_engine {
    mp_gemm_f32_engine base;
    const mp_tc_kernel *kernel;
    const mp_tc_model *model;
    layout format;
    int64_t K, padded_k; /* padded_k: a multiple of the group */
    int lowest_sum, highest_sum; /* of the exponents taken out of a row and a column: see mp_tc_gemm_with */
    int64_t *redone;
} tc_engine;

/* exponent field of a code, 1 for subnormals, 0 for zero */
static inline uint16_t field_of(const layout *f, uint16_t code) {
    const uint16_t magnitude = code & 0x7FFF, field = (uint16_t)(magnitude >> f->shift);
    return field ? field : magnitude != 0;
}

/* In 16-bit arithmetic throughout, for the sake of the vectors; a zero's field less one is the largest number, so it is never the smallest. */
MP_CLONES static scaling survey(const layout *f, const uint16_t *codes, int64_t n) {
    uint16_t largest = 0, smallest_less_one = UINT16_MAX;
    for (int64_t i = 0; i < n; i++) {
        const uint16_t field = field_of(f, codes[i]), less_one = (uint16_t)(field - 1);
        largest = field > largest ? field : largest;
        smallest_less_one = less_one < smallest_less_one ? less_one : smallest_less_one;
    }
    const int exponent = largest ? largest - f->bias : 0;
    return (scaling){.exponent = exponent,
                     .small = smallest_less_one + 1 < largest - 31,
                     .special = largest == f->largest_field};
}

static double power_of_two(int exponent) {
    const uint64_t bits = (uint64_t)(1023 + exponent) << 52;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* What a and w differ in: see ref/tensorcore_kernels.h. */
typedef struct side {
    double factor;
    int exponent_offset, zero_exponent;
    uint32_t repeat; /* a byte times this */
} side;
static const side SIDE_A = {1, 0, MP_TC_ZERO_A, 0x01010101}, SIDE_W = {1 + 0x1p-30, 127, MP_TC_ZERO_W, 1};

/* n values and exponents in the kernels' form; in: the decoded codes. */
MP_CLONES static void scale(const layout *f, const scaling *s, const side *form, const uint16_t *codes, int64_t n, const float *in, double *values,
                            int32_t *exponents) {
    const double scaled = power_of_two(-s->exponent) * form->factor;
    for (int64_t i = 0; i < n; i++) {
        const int field = field_of(f, codes[i]), relative = field - f->bias - s->exponent;
        const int stored = field ? (relative > MP_TC_LOWEST ? relative : MP_TC_LOWEST) + form->exponent_offset : form->zero_exponent;
        const double tiny = codes[i] & 0x8000 ? -MP_TC_ZERO_VALUE : MP_TC_ZERO_VALUE;
        values[i] = field ? (double)in[i] * scaled : tiny;
        exponents[i] = (int32_t)((uint32_t)(stored & 0xFF) * form->repeat);
    }
}

static const tc_engine *tc(const mp_gemm_f32_engine *engine) {
    return (const tc_engine *)engine;
}

/* masks[0], masks[stride] ...: of L codes each, bit i set where code i is negative. n and 16 are multiples of L. */
MP_CLONES static void sign_masks(const uint16_t codes[PACK_K], int64_t n, int L, uint16_t *masks, int64_t stride) {
    for (int64_t k = 0; k < n; k += 16) {
        uint16_t all = 0;
        for (int i = 0; i < 16; i++) all = (uint16_t)(all | codes[k + i] >> 15 << i);
        for (int i = 0; i < 16 && k + i < n; i += L) masks[(k + i) / L * stride] = (uint16_t)(all >> i & ((1 << L) - 1));
    }
}

/* Behind the last k come zeros. */
static void pack_row(const mp_gemm_f32_engine *engine, const mp_tensor *a, int64_t row, void *packed) {
    const tc_engine *e = tc(engine);
    const int64_t K = e->K;
    const int L = e->model->group;
    packed_row *header = packed;
    double *values = (double *)((char *)packed + VALUES_AT);
    int32_t *exponents = (int32_t *)(values + e->padded_k);
    uint16_t *negative = (uint16_t *)(exponents + e->padded_k);
    header->codes = (const uint16_t *)a->data + row * K;
    header->scaled = survey(&e->format, header->codes, K);
    for (int64_t k = 0; k < e->padded_k; k += PACK_K) {
        const int64_t here = e->padded_k - k < PACK_K ? e->padded_k - k : PACK_K, filled = K - k < here ? K - k : here;
        uint16_t codes[PACK_K] = {0};
        float in[PACK_K] = {0};
        if (!header->scaled.special) {
            memcpy(codes, header->codes + k, (size_t)filled * sizeof *codes);
            mp_decode_row_f32(a->dtype, codes, 0, filled, in);
        }
        scale(&e->format, &header->scaled, &SIDE_A, codes, here, in, values + k, exponents + k);
        sign_masks(codes, here, L, negative + k / L, 1);
    }
}

/* Bytes of a packed panel in front of its header. */
static size_t panel_data_bytes(const tc_engine *e) {
    const size_t terms = (size_t)(e->padded_k * e->base.columns);
    return terms * (sizeof(double) + 1) + terms / (size_t)e->model->group * sizeof(uint16_t);
}

static packed_panel *panel_header(const tc_engine *e, const void *packed) {
    return (packed_panel *)((char *)packed + panel_data_bytes(e));
}

static void pack_panel(const mp_gemm_f32_engine *engine, const mp_tensor *w, int64_t first, int64_t count, float *scratch, void *packed) {
    const tc_engine *e = tc(engine);
    const int64_t K = e->K, columns = e->base.columns;
    const int L = e->model->group;
    packed_panel *header = panel_header(e, packed);
    double *values = packed;
    int8_t *exponents = (int8_t *)(values + e->padded_k * columns);
    uint16_t *negative = (uint16_t *)(exponents + e->padded_k * columns);
    (void)scratch;
    header->codes = (const uint16_t *)w->data + first * K;
    header->count = count;
    for (int64_t n = 0; n < count; n++) header->scaled[n] = survey(&e->format, header->codes + n * K, K);
    for (int64_t k = 0; k < e->padded_k; k += PACK_K) /* a few lines of the panel at a time, so that the transposed stores stay in the cache */
        for (int64_t n = 0; n < columns; n++) {
            const int64_t here = e->padded_k - k < PACK_K ? e->padded_k - k : PACK_K, filled = K - k < here ? K - k : here;
            const scaling none = {0};
            const bool zeros = n >= count || header->scaled[n].special;
            uint16_t codes[PACK_K] = {0};
            float in[PACK_K] = {0};
            double value[PACK_K];
            int32_t exponent[PACK_K];
            if (!zeros) {
                memcpy(codes, header->codes + n * K + k, (size_t)filled * sizeof *codes);
                mp_decode_row_f32(w->dtype, codes, 0, filled, in);
            }
            scale(&e->format, zeros ? &none : &header->scaled[n], &SIDE_W, codes, here, in, value, exponent);
            for (int64_t i = 0; i < here; i++) {
                values[(k + i) * columns + n] = value[i];
                exponents[(k + i) * columns + n] = (int8_t)exponent[i];
            }
            sign_masks(codes, here, L, negative + k / L * columns + n, columns);
        }
}

/* The definition, on the operands as they came. */
static float redo(const tc_engine *e, const uint16_t *a, const uint16_t *w) {
    const int L = e->model->group;
    uint32_t bits = 0;
    for (int64_t k = 0; k < e->K; k += L) {
        uint32_t x[MP_TC_MAX_GROUP] = {0}, y[MP_TC_MAX_GROUP] = {0};
        for (int64_t i = 0; i < L && k + i < e->K; i++) {
            x[i] = a[k + i];
            y[i] = w[k + i];
        }
        bits = mp_tc_dot_add(e->model, x, y, bits);
    }
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void run(const mp_gemm_f32_engine *engine, int64_t count, const void *rows, const void *packed, float *result) {
    const tc_engine *e = tc(engine);
    const int64_t columns = e->base.columns;
    const packed_panel *panel = panel_header(e, packed);
    const double *a = (const double *)((const char *)rows + VALUES_AT), *w = packed;
    const int32_t *a_exponent = (const int32_t *)(a + e->padded_k);
    const int8_t *w_exponent = (const int8_t *)(w + e->padded_k * columns);
    double acc[MP_TC_MAX_ROWS * MP_TC_MAX_COLUMNS] = {0};
    uint8_t at_floor[MP_TC_MAX_ROWS * MP_TC_MAX_COLUMNS] = {0};
    int64_t redone = 0;
    e->kernel->run(&(mp_tc_block){.group = e->model->group,
                                  .fraction_bits = e->model->fraction_bits,
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
        for (int64_t n = 0; n < panel->count; n++) {
            const scaling *column = &panel->scaled[n];
            const int sum = row->scaled.exponent + column->exponent;
            const bool floor_matters = at_floor[r * columns + n] && (row->scaled.small || column->small);
            const bool scale_matters = sum < e->lowest_sum || sum > e->highest_sum;
            if (row->scaled.special || column->special || scale_matters || floor_matters) {
                result[r * columns + n] = redo(e, row->codes, panel->codes + n * e->K);
                redone++;
            } else {
                result[r * columns + n] = (float)(acc[r * columns + n] * power_of_two(sum) + 0.0); /* + 0.0: a zero is +0 */
            }
        }
    }
    if (redone && e->redone) {
#pragma omp atomic
        *e->redone += redone;
    }
}

/* Why scaled results are right. Let s be the sum of the exponents taken out of a row and a column.
 *   Floor: where no operand lies below 2^-31, a nonzero product is at least 2^-62, above the floor of 2^-63. A step at the floor then has zero products
 *     only, and acc, a multiple of 2^(-62-F) of at most 24 bits, passes it unchanged, as it does in the model (F >= 23).
 *   From below: terms are multiples of 2^(-63-F+s). For s >= F - 86 that is at least 2^-149: no result loses bits by being subnormal, and no term is as small
 *     as zero_exponent or a subnormal accumulator's exponent of -126 matters: nonzero products have exponents of s - 62 >= F - 148 > -126.
 *   From above: |acc| < 4*K*2^s never reaches 2^128 for s <= 126 - bits(K). */
mp_status mp_tc_gemm_with(const mp_tc_kernel *kernel, const mp_tc_model *model, const mp_gemm_problem *p, const mp_epilogue *epilogue,
                          const int64_t *out_row, const mp_tensor *out, int64_t *redone, mp_error *err) {
    static const layout bf16 = {7, 255, 127}, fp16 = {10, 31, 15};
    const int64_t K = p->w->dim[2];
    const mp_dtype dtype = model->a == MP_TC_BF16 ? MP_BF16 : MP_FP16;
    if ((model->a != MP_TC_BF16 && model->a != MP_TC_FP16) || model->b != model->a || model->method != MP_TC_DIRECT || model->result_fraction_bits != 23 ||
        model->fraction_bits < 23 || model->fraction_bits > 25 || model->group > 16 || 16 % model->group)
        return mp_fail(err, MP_EUNSUPPORTED, "tensor-core gemm: bf16 or fp16 operands, float32 results, at most 16 terms a step and F=23..25 are computed");
    if (p->a->dtype != dtype || p->w->dtype != dtype)
        return mp_fail(err, MP_EUNSUPPORTED, "tensor-core gemm: operands %s and %s, the model's are %s", mp_dtype_name(p->a->dtype), mp_dtype_name(p->w->dtype),
                       mp_dtype_name(dtype));
    tc_engine engine = {.base = {.name = "tensor-core gemm",
                                 .rows = MP_TC_MAX_ROWS,
                                 .columns = kernel->columns,
                                 .pack_row = pack_row,
                                 .pack_panel = pack_panel,
                                 .run = run},
                        .kernel = kernel,
                        .model = model,
                        .format = dtype == MP_BF16 ? bf16 : fp16,
                        .K = K,
                        .padded_k = (K + model->group - 1) / model->group * model->group,
                        .lowest_sum = model->fraction_bits - 86,
                        .highest_sum = 126 - (64 - __builtin_clzll((uint64_t)K | 1)),
                        .redone = redone};
    const size_t k = (size_t)engine.padded_k;
    engine.base.row_bytes = (VALUES_AT + k * (sizeof(double) + sizeof(int32_t)) + k / (size_t)model->group * sizeof(uint16_t) + 63) / 64 * 64;
    engine.base.panel_bytes = (panel_data_bytes(&engine) + sizeof(packed_panel) + 63) / 64 * 64;
    if (redone) *redone = 0;
    return mp_gemm_f32(&engine.base, p, epilogue, out_row, out, err);
}

mp_status mp_tc_gemm(const mp_tc_model *model, const mp_gemm_problem *problem, const mp_epilogue *epilogue, const int64_t *out_row,
                     const mp_tensor *out, mp_error *err) {
    const mp_tc_kernel *kernel;
    mp_tc_kernels(&kernel);
    return mp_tc_gemm_with(kernel, model, problem, epilogue, out_row, out, NULL, err);
}
