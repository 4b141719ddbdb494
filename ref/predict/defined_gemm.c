/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/defined_gemm.h"

#include <string.h>

enum { ROWS = 16, COLUMNS = 16 };

typedef struct defined_engine {
    mp_gemm_f32_engine base;
    const mp_definition *unit;
    const mp_gemm_problem *problem; /* with its scales */
    const mp_tc_parts *parts;       /* NULL: k is one */
    int64_t K, padded;
} defined_engine;

static const defined_engine *of(const mp_gemm_f32_engine *engine) {
    return (const defined_engine *)engine;
}

static size_t row_bytes(const mp_definition *unit, int64_t padded) {
    const size_t scales = unit->block ? (size_t)(padded / unit->block) : 0;
    return ((size_t)padded * sizeof(uint32_t) + scales + 63) / 64 * 64;
}

static mp_defined_row row_at(const defined_engine *e, const void *packed, int64_t i) {
    const char *at = (const char *)packed + (size_t)i * e->base.row_bytes;
    const uint32_t *code = (const uint32_t *)(const void *)at;
    return (mp_defined_row){.code = code, .scale = (const uint8_t *)(code + e->padded)};
}

static void pack(const defined_engine *e, const mp_operand *o, int64_t row, void *packed) {
    const mp_definition *unit = e->unit;
    uint32_t *code = packed;
    uint8_t *scale = (uint8_t *)(code + e->padded);
    memset(packed, 0, e->base.row_bytes);
    for (int64_t k = 0; k < e->K; k++) {
        code[k] = (uint32_t)mp_code_at(o->codes->dtype, o->codes->data, row * e->K + k);
        if (unit->operand) code[k] = unit->operand(code[k]);
    }
    for (int64_t k = 0; unit->block && k < e->K; k += unit->block)
        scale[k / unit->block] = (uint8_t)mp_code_at(o->scale->dtype, o->scale->data,
                                                     mp_operand_scale_row(o, row) + k / o->block_columns);
}

static void pack_row(const mp_gemm_f32_engine *engine, const mp_tensor *a, int64_t row, void *packed) {
    (void)a;
    pack(of(engine), &of(engine)->problem->a, row, packed);
}

static void pack_panel(const mp_gemm_f32_engine *engine, const mp_tensor *w, int64_t first, int64_t count,
                       float *scratch, void *packed) {
    (void)w, (void)scratch;
    for (int64_t n = 0; n < count; n++)
        pack(of(engine), &of(engine)->problem->w, first + n, (char *)packed + (size_t)n * engine->row_bytes);
}

static void run_part(const defined_engine *e, const mp_gemm_f32_tile *tile, const void *rows,
                     const void *panel, int64_t first, int64_t end, float *result) {
    for (int64_t r = 0; r < tile->count; r++)
        for (int64_t n = 0; n < tile->n; n++) {
            const mp_defined_row a = row_at(e, rows, r), w = row_at(e, panel, n);
            result[r * COLUMNS + n] = e->unit->dot(e->unit->model, &a, &w, first, end);
        }
}

static void run(const mp_gemm_f32_engine *engine, const mp_gemm_f32_tile *tile, const void *rows,
                const void *panel, float *result) {
    const defined_engine *e = of(engine);
    if (!e->parts) {
        run_part(e, tile, rows, panel, 0, e->padded, result);
        return;
    }
    float dot[ROWS * COLUMNS];
    mp_tc_part part = {.tile = tile, .stride = COLUMNS, .dot = dot, .sum = result};
    memset(result, 0, (size_t)(tile->count * COLUMNS) * sizeof *result);
    for (int64_t k = 0; k < e->padded; k += e->parts->terms, part.index++) {
        const int64_t end = e->padded - k < e->parts->terms ? e->padded : k + e->parts->terms;
        run_part(e, tile, rows, panel, k, end, dot);
        e->parts->add(e->parts->ctx, &part);
    }
}

mp_status mp_defined_gemm(const mp_definition *unit, const mp_tc_parts *parts, const mp_gemm_problem *p,
                          const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *out,
                          mp_error *err) {
    const int64_t K = p->w.codes->dim[2];
    if (parts && (parts->terms <= 0 || parts->terms % unit->terms != 0))
        return mp_fail(err, MP_EUNSUPPORTED,
                       "%s: parts of %lld terms, expected a multiple of the %d of a step", unit->name,
                       (long long)parts->terms, unit->terms);
    if (unit->block && (!p->a.scale || !p->w.scale || p->a.block_columns % unit->block != 0 ||
                        p->w.block_columns % unit->block != 0))
        return mp_fail(err, MP_EUNSUPPORTED, "%s: expected scales of both operands, of multiples of %d terms",
                       unit->name, unit->block);
    defined_engine engine = {.base = {.name = unit->name,
                                      .rows = ROWS,
                                      .columns = COLUMNS,
                                      .pack_row = pack_row,
                                      .pack_panel = pack_panel,
                                      .run = run},
                             .unit = unit,
                             .problem = p,
                             .parts = parts,
                             .K = K,
                             .padded = (K + unit->terms - 1) / unit->terms * unit->terms};
    engine.base.row_bytes = row_bytes(unit, engine.padded);
    engine.base.panel_bytes = COLUMNS * engine.base.row_bytes;
    mp_gemm_problem codes = *p; /* what the frame packs: the scales are the engine's */
    if (unit->block) {
        codes.a = (mp_operand){.codes = p->a.codes};
        codes.w = (mp_operand){.codes = p->w.codes};
    }
    return mp_gemm_f32(&engine.base, &codes, epilogue, out_row, out, err);
}
