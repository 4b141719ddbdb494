/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/int8_gemm.h"

#include "base/clones.h"

#include <string.h>

/* Operands are widened to 16 bits, rows and columns alike of `stride` terms, zeros behind the last: pairs of
 * products then are one instruction (pmaddwd). TERMS are summed in int32 without wrapping around. */
enum { ROWS = 16, COLUMNS = 64, AT_ONCE = 4, PAD = 64, TERMS = 65536 };

typedef struct int8_engine {
    mp_gemm_f32_engine base;
    const mp_tc_parts *parts; /* NULL: k is one */
    int64_t K, stride;
} int8_engine;

static const int8_engine *of(const mp_gemm_f32_engine *engine) {
    return (const int8_engine *)engine;
}

static void widen(const int8_engine *e, const mp_tensor *t, int64_t row, int16_t *packed) {
    const int8_t *codes = (const int8_t *)t->data + row * e->K;
    for (int64_t k = 0; k < e->K; k++) packed[k] = codes[k];
    memset(packed + e->K, 0, (size_t)(e->stride - e->K) * sizeof *packed);
}

static void pack_row(const mp_gemm_f32_engine *engine, const mp_tensor *a, int64_t row, void *packed) {
    widen(of(engine), a, row, packed);
}

static void pack_panel(const mp_gemm_f32_engine *engine, const mp_tensor *w, int64_t first, int64_t count,
                       float *scratch, void *packed) {
    const int64_t stride = of(engine)->stride;
    (void)scratch;
    for (int64_t n = 0; n < count; n++) widen(of(engine), w, first + n, (int16_t *)packed + n * stride);
    memset((int16_t *)packed + count * stride, 0, (size_t)((COLUMNS - count) * stride) * sizeof(int16_t));
}

/* A row by four columns: n terms, at most TERMS. */
MP_CLONES static void dots(int64_t n, const int16_t *a, const int16_t *w, int64_t stride,
                           int32_t dot[AT_ONCE]) {
    const int16_t *w1 = w + stride, *w2 = w1 + stride, *w3 = w2 + stride;
    int32_t d0 = 0, d1 = 0, d2 = 0, d3 = 0;
    for (int64_t k = 0; k < n; k++) {
        d0 += a[k] * w[k];
        d1 += a[k] * w1[k];
        d2 += a[k] * w2[k];
        d3 += a[k] * w3[k];
    }
    dot[0] = d0;
    dot[1] = d1;
    dot[2] = d2;
    dot[3] = d3;
}

static void run_part(const int8_engine *e, int64_t count, const int16_t *rows, const int16_t *columns,
                     int64_t first, int64_t end, float *result) {
    for (int64_t r = 0; r < count; r++)
        for (int64_t n = 0; n < COLUMNS; n += AT_ONCE) {
            uint32_t sum[AT_ONCE] = {0}; /* wraps around, as the instruction does */
            for (int64_t k = first; k < end; k += TERMS) {
                int32_t dot[AT_ONCE];
                dots(end - k < TERMS ? end - k : TERMS, rows + r * e->stride + k, columns + n * e->stride + k,
                     e->stride, dot);
                for (int i = 0; i < AT_ONCE; i++) sum[i] += (uint32_t)dot[i];
            }
            for (int i = 0; i < AT_ONCE; i++) result[r * COLUMNS + n + i] = (float)(int32_t)sum[i];
        }
}

static void run(const mp_gemm_f32_engine *engine, const mp_gemm_f32_tile *tile, const void *rows,
                const void *panel, float *result) {
    const int8_engine *e = of(engine);
    if (!e->parts) {
        run_part(e, tile->count, rows, panel, 0, e->K, result);
        return;
    }
    float dot[ROWS * COLUMNS];
    mp_tc_part part = {.tile = tile, .stride = COLUMNS, .dot = dot, .sum = result};
    memset(result, 0, (size_t)(tile->count * COLUMNS) * sizeof *result);
    for (int64_t k = 0; k < e->K; k += e->parts->terms, part.index++) {
        run_part(e, tile->count, rows, panel, k, e->K - k < e->parts->terms ? e->K : k + e->parts->terms,
                 dot);
        e->parts->add(e->parts->ctx, &part);
    }
}

mp_status mp_int8_gemm(const mp_tc_model *model, const mp_tc_parts *parts, const mp_gemm_problem *p,
                       const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *out,
                       mp_error *err) {
    const int64_t K = p->w.codes->dim[2], terms = parts && parts->terms < K ? parts->terms : K;
    if (p->a.codes->dtype != MP_I8 || p->w.codes->dtype != MP_I8)
        return mp_fail(err, MP_EUNSUPPORTED, "int8 gemm: operands %s and %s, expected int8",
                       mp_dtype_name(p->a.codes->dtype), mp_dtype_name(p->w.codes->dtype));
    if (parts && parts->terms <= 0)
        return mp_fail(err, MP_EUNSUPPORTED, "int8 gemm: parts of %lld terms", (long long)parts->terms);
    if (model->result == MP_TC_INT32_SATURATED && terms > MP_INT8_EXACT_TERMS)
        return mp_fail(err, MP_EUNSUPPORTED,
                       "int8 gemm: sums of %lld terms may be held at a limit; of up to %d none is",
                       (long long)terms, MP_INT8_EXACT_TERMS);
    int8_engine engine = {.base = {.name = "int8 gemm",
                                   .rows = ROWS,
                                   .columns = COLUMNS,
                                   .pack_row = pack_row,
                                   .pack_panel = pack_panel,
                                   .run = run},
                          .parts = parts,
                          .K = K,
                          .stride = (K + PAD - 1) / PAD * PAD};
    engine.base.row_bytes = (size_t)engine.stride * sizeof(int16_t);
    engine.base.panel_bytes = COLUMNS * engine.base.row_bytes;
    return mp_gemm_f32(&engine.base, p, epilogue, out_row, out, err);
}
