/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/tensorcore_gemm.h"

#include "base/bits.h"
#include "base/clones.h"
#include "ref/predict/gemm_f32.h"
#include "ref/predict/int8_gemm.h"
#include "ref/predict/tensorcore_bracket.h"
#include "ref/predict/tensorcore_pack.h"

#include <string.h>

enum { BLOCK = MP_TC_MAX_ROWS * MP_TC_MAX_COLUMNS, NAN_BITS = 0x7FFFFFFF };

typedef struct tc_engine {
    mp_gemm_f32_engine base;
    mp_tc_layout layout;
    mp_tc_model step;                       /* of layout.group terms */
    void (*run_block)(const mp_tc_block *); /* NULL: the definition computes everything */
    int64_t chain; /* terms that share an accumulator: of fp8 through fp16 those of one instruction */
    const mp_tc_parts *parts;    /* NULL: k is one */
    int lowest_sum, highest_sum; /* of the exponents taken out of a row and a column: see covers below */
    const mp_tc_kernel *kernel;
    const mp_tc_model *model;
    mp_tc_counts *counts;
} tc_engine;

static const tc_engine *tc(const mp_gemm_f32_engine *engine) {
    return (const tc_engine *)engine;
}

static void pack_row(const mp_gemm_f32_engine *engine, const mp_tensor *a, int64_t row, void *packed) {
    mp_tc_pack_row(&tc(engine)->layout, a, row, packed);
}

static void pack_panel(const mp_gemm_f32_engine *engine, const mp_tensor *w, int64_t first, int64_t count,
                       float *scratch, void *packed) {
    (void)scratch;
    mp_tc_pack_panel(&tc(engine)->layout, w, first, count, packed);
}

/* In IEEE float32; a NaN is a GPU's. */
static inline float added(float sum, float dot) {
    const float total = sum + dot;
    return total != total ? mp_float_of_bits(NAN_BITS) : total;
}

MP_CLONES static void add_rows(int64_t n, const float *dot, float *sum) {
    for (int64_t i = 0; i < n; i++) sum[i] = added(sum[i], dot[i]);
}

static void promote(const void *ctx, const mp_tc_part *part) {
    (void)ctx;
    for (int64_t r = 0; r < part->tile->count; r++)
        add_rows(part->tile->n, part->dot + r * part->stride, part->sum + r * part->stride);
}

mp_tc_parts mp_tc_promotion(int64_t terms) {
    return (mp_tc_parts){.terms = terms, .add = promote, .monotone = true};
}

/* The definition, on the codes of terms first .. end of a row and a column. */
static float redo(const tc_engine *e, const char *a, const char *w, int64_t first, int64_t end) {
    const int L = e->step.group;
    const size_t a_size = mp_dtype_size(e->layout.a->dtype), w_size = mp_dtype_size(e->layout.w->dtype);
    const int64_t terms = end < e->layout.terms ? end : e->layout.terms;
    uint32_t bits = 0;
    bool nan = false; /* for good: what is left of k changes nothing */
    for (int64_t k = first; k < terms && !nan; k += L) {
        uint32_t x[MP_TC_MAX_GROUP] = {0}, y[MP_TC_MAX_GROUP] = {0};
        for (int64_t i = 0; i < L && k + i < terms; i++) { /* little endian */
            memcpy(&x[i], a + (size_t)(k + i) * a_size, a_size);
            memcpy(&y[i], w + (size_t)(k + i) * w_size, w_size);
        }
        bits = mp_tc_dot_add(&e->step, x, y, bits);
        nan = e->step.result == MP_TC_FLOAT16 ? (bits & 0x7FFF) > 0x7C00 : (bits & 0x7FFFFFFF) > 0x7F800000;
    }
    return (float)mp_decode_code(e->step.result == MP_TC_FLOAT16 ? MP_FP16 : MP_FP32, bits);
}

/* The powers of two of a row and of its columns, into its sums. A zero is +0. */
MP_CLONES static void put_back(const double *acc, double row_power, const double *power, int64_t columns,
                               float *result) {
    for (int64_t n = 0; n < columns; n++) result[n] = (float)(acc[n] * (row_power * power[n]) + 0.0);
}

MP_CLONES static void put_back_single(const float *acc, double row_power, const double *power,
                                      int64_t columns, float *result) {
    for (int64_t n = 0; n < columns; n++) result[n] = (float)((double)acc[n] * (row_power * power[n]) + 0.0);
}

/* put_back, added to what is there. */
MP_CLONES static void add_back(const double *acc, double row_power, const double *power, int64_t columns,
                               float *sum) {
    for (int64_t n = 0; n < columns; n++)
        sum[n] = added(sum[n], (float)(acc[n] * (row_power * power[n]) + 0.0));
}

/* result[rows, columns] = the dot products of terms first .. end, one accumulator from zero; `adds`: + these,
 * in float32. */
static void run_chain(const tc_engine *e, int64_t count, const void *rows, const void *packed, int64_t first,
                      int64_t end, bool adds, float *result) {
    const mp_tc_layout *l = &e->layout;
    const int64_t columns = l->columns;
    const mp_tc_panel *panel = mp_tc_panel_of(l, packed);
    const bool single = l->form == &mp_tc_single;
    union {
        _Alignas(64) double number[BLOCK]; /* a vector's loads and stores cross no line */
        float single[BLOCK];
    } acc;
    _Alignas(64) uint8_t at_floor[BLOCK];
    int64_t redone = 0;
    int fallen = 0; /* sums are left as the last step has them */
    if (e->run_block) {
        mp_tc_block block = mp_tc_block_of(l, rows, packed, first, (end - first) / l->group);
        memset(&acc, 0, (size_t)(MP_TC_MAX_ROWS * columns) * l->form->number_bytes);
        memset(at_floor, 0, (size_t)(MP_TC_MAX_ROWS * columns));
        block.fraction_bits = e->step.fraction_bits;
        block.result_bits = e->step.result_fraction_bits;
        block.rows = count;
        block.acc = &acc;
        block.at_floor = at_floor;
        e->run_block(&block);
        fallen = (int)((block.first_group + block.groups - 1) % MP_TC_FALLS) * l->fall;
    }
    for (int64_t r = 0; r < count; r++) {
        const mp_tc_row *row =
            (const mp_tc_row *)(const void *)((const char *)rows + (size_t)r * e->base.row_bytes);
        const int exponent = row->scaled.exponent;
        const double power = mp_power_of_two(exponent + fallen);
        const bool all = e->run_block && !row->scaled.special && !panel->special && !row->scaled.small &&
                         !panel->small && exponent + panel->lowest >= e->lowest_sum &&
                         exponent + panel->highest <= e->highest_sum;
        float dot[MP_TC_MAX_COLUMNS], *out = adds ? dot : result + r * columns;
        if (all && adds && !single) {
            add_back(acc.number + r * columns, power, panel->power, columns, result + r * columns);
            continue;
        }
        if (e->run_block && single)
            put_back_single(acc.single + r * columns, power, panel->power, columns, out);
        if (e->run_block && !single) put_back(acc.number + r * columns, power, panel->power, columns, out);
        for (int64_t n = 0; n < panel->count && !all; n++) {
            const mp_tc_scaling *column = &panel->scaled[n];
            const int sum = exponent + column->exponent;
            const bool floor_matters =
                e->run_block && at_floor[r * columns + n] && (row->scaled.small || column->small);
            const bool scale_matters = sum < e->lowest_sum || sum > e->highest_sum;
            if (e->run_block && !row->scaled.special && !column->special && !scale_matters && !floor_matters)
                continue;
            out[n] = redo(e, row->codes, mp_tc_codes_at(l->w, panel->codes, n * l->terms), first, end);
            redone++;
        }
        if (adds) add_rows(panel->count, dot, result + r * columns);
    }
    if (redone && e->counts) {
#pragma omp atomic
        e->counts->redone += redone;
    }
}

/* The same of a part: chains are added in float32. */
static void run_part(const tc_engine *e, int64_t count, const void *rows, const void *packed, int64_t first,
                     int64_t end, float *result) {
    for (int64_t k = first; k == first || k < end; k += e->chain)
        run_chain(e, count, rows, packed, k, end - k < e->chain ? end : k + e->chain, k > first, result);
}

static void run(const mp_gemm_f32_engine *engine, const mp_gemm_f32_tile *tile, const void *rows,
                const void *packed, float *result) {
    const tc_engine *e = tc(engine);
    const int64_t columns = e->layout.columns, end = e->layout.padded_k;
    if (!e->parts) {
        run_part(e, tile->count, rows, packed, 0, end, result);
        return;
    }
    float dot[BLOCK] = {0};
    mp_tc_part part = {.tile = tile, .stride = columns, .dot = dot, .sum = result};
    memset(result, 0, (size_t)(tile->count * columns) * sizeof *result);
    for (int64_t k = 0; k < end; k += e->parts->terms, part.index++) {
        run_part(e, tile->count, rows, packed, k, end - k < e->parts->terms ? end : k + e->parts->terms, dot);
        e->parts->add(e->parts->ctx, &part);
    }
}

static bool settle_task(const mp_gemm_f32_engine *engine, const mp_gemm_f32_call *call,
                        const mp_gemm_task *task, void *scratch) {
    const tc_engine *e = tc(engine);
    return mp_tc_bracket_task(e->kernel, e->model, e->parts, call, task, scratch, e->counts);
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
 *     of s - 62 >= F - 148 > -126, and an accumulator alone, a multiple of 2^-149, loses none of its bits
 *     above a unit of 2^(-126-F).
 *   From above: |acc| < 4*K*2^s never reaches 2^128 for s <= 126 - bits(K). */
static bool covers(const mp_tc_model *step) {
    return step->method == MP_TC_DIRECT && step->result == MP_TC_FLOAT32 && step->fraction_bits >= 13 &&
           step->fraction_bits <= 25 && step->result_fraction_bits <= 23 &&
           step->result_fraction_bits <= step->fraction_bits && step->group >= 4 && 32 % step->group == 0 &&
           step->zero_exponent <= -126;
}

/* Whether float32 does, too. */
static bool covers_in_single(const mp_tc_model *step) {
    const bool bytes = mp_dtype_size(mp_tc_operands[step->a].dtype) == 1 &&
                       mp_dtype_size(mp_tc_operands[step->b].dtype) == 1;
    return covers(step) && bytes && step->fraction_bits <= 13;
}

/* Why the model's order of terms is not known of these operands; NULL: it is. */
static const char *unknown_order(const mp_tc_model *m) {
    const size_t a = mp_dtype_size(mp_tc_operands[m->a].dtype), w = mp_dtype_size(mp_tc_operands[m->b].dtype);
    if (m->method == MP_TC_THROUGH_FP16 && (a > 1 || w > 1)) return "do not go through fp16, fp8 does";
    if (m->method == MP_TC_PERMUTED && (a > 2 || w > 2)) return "are not permuted, 16 bits and fp8 are";
    return NULL;
}

mp_status mp_tc_gemm_with(const mp_tc_kernel *kernel, const mp_tc_model *model, const mp_tc_parts *parts,
                          const mp_gemm_problem *p, const mp_epilogue *epilogue, const int64_t *out_row,
                          const mp_tensor *out, mp_tc_counts *counts, mp_error *err) {
    const int64_t K = p->w.codes->dim[2];
    if (model->a == MP_TC_S8) return mp_int8_gemm(model, parts, p, epilogue, out_row, out, err);
    const mp_tc_operand *a = &mp_tc_operands[model->a], *w = &mp_tc_operands[model->b];
    const int terms = mp_tc_terms(model);
    if (p->a.codes->dtype != a->dtype || p->w.codes->dtype != w->dtype)
        return mp_fail(err, MP_EUNSUPPORTED,
                       "tensor-core gemm: operands %s and %s, the model's are %s and %s",
                       mp_dtype_name(p->a.codes->dtype), mp_dtype_name(p->w.codes->dtype),
                       mp_dtype_name(a->dtype), mp_dtype_name(w->dtype));
    if (mp_dtype_is_packed(a->dtype) || mp_dtype_is_packed(w->dtype))
        return mp_fail(err, MP_EUNSUPPORTED, "tensor-core gemm: %s operands are not computed here",
                       mp_dtype_name(MP_E2M1));
    if (unknown_order(model))
        return mp_fail(err, MP_EUNSUPPORTED, "tensor-core gemm: %s and %s %s", mp_dtype_name(a->dtype),
                       mp_dtype_name(w->dtype), unknown_order(model));
    if (terms % mp_tc_step(model).group != 0)
        return mp_fail(err, MP_EUNSUPPORTED,
                       "tensor-core gemm: k permuted in steps of %d terms, expected a divisor of %d",
                       model->group, terms);
    if (parts && (parts->terms <= 0 || parts->terms % terms != 0))
        return mp_fail(err, MP_EUNSUPPORTED,
                       "tensor-core gemm: parts of %lld terms, expected a multiple of the %d of a step",
                       (long long)parts->terms, terms);
    tc_engine engine = {.base = {.name = "tensor-core gemm",
                                 .rows = MP_TC_MAX_ROWS,
                                 .columns = kernel->columns,
                                 .pack_row = pack_row,
                                 .pack_panel = pack_panel,
                                 .run = run},
                        .step = mp_tc_step(model),
                        .parts = parts,
                        .highest_sum = 126 - (64 - __builtin_clzll((uint64_t)K | 1)),
                        .kernel = kernel,
                        .model = model,
                        .counts = counts};
    const bool single = kernel->run_single && covers_in_single(&engine.step);
    const int lowest_fraction_bits = engine.step.fraction_bits < 23 ? 23 : engine.step.fraction_bits;
    mp_tc_layout_make(&engine.layout, model, single ? &mp_tc_single : kernel->form, kernel->columns, K);
    engine.run_block = !covers(&engine.step) ? NULL : single ? kernel->run_single : kernel->run;
    engine.lowest_sum = lowest_fraction_bits - 86;
    engine.chain =
        model->method == MP_TC_THROUGH_FP16 || engine.layout.padded_k == 0 ? terms : engine.layout.padded_k;
    engine.base.row_bytes = mp_tc_row_bytes(&engine.layout);
    engine.base.panel_bytes = mp_tc_panel_bytes(&engine.layout);
    if (counts) *counts = (mp_tc_counts){0};
    if (kernel->run_bracket && mp_tc_bracket_covers(model, parts, K, out->dtype)) {
        engine.base.shortcut = settle_task;
        engine.base.shortcut_bytes = mp_tc_bracket_bytes(parts, K);
    }
    return mp_gemm_f32(&engine.base, p, epilogue, out_row, out, err);
}

mp_status mp_tc_gemm(const mp_tc_model *model, const mp_tc_parts *parts, const mp_gemm_problem *problem,
                     const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *out,
                     mp_error *err) {
    const mp_tc_kernel *kernel;
    mp_tc_kernels(&kernel);
    return mp_tc_gemm_with(kernel, model, parts, problem, epilogue, out_row, out, NULL, err);
}
