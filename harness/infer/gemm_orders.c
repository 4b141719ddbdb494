/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/infer/gemm_orders.h"

#include "base/clones.h"
#include "ref/predict/gemm_f32.h"

#include <math.h>
#include <string.h>

#define MOST_LANES 32
enum { ROWS = 4, COLUMNS = 16 };

const mp_gemm_order mp_gemm_orders[] = {
    {"float32, product and sum rounded, k ascending", 1, false, false, false},
    {"float32, product and sum rounded, k descending", 1, true, false, false},
    {"float32 fma, k descending", 1, true, true, false},
    {"float32, product and sum rounded, pairwise", 0, false, false, true},
    {"float32, product and sum rounded, 2 lanes", 2, false, false, true},
    {"float32, product and sum rounded, 4 lanes, then a tree", 4, false, false, true},
    {"float32, product and sum rounded, 8 lanes, then a tree", 8, false, false, true},
    {"float32, product and sum rounded, 16 lanes, then a tree", 16, false, false, true},
    {"float32, product and sum rounded, 32 lanes, then a tree", 32, false, false, true},
    {"float32, product and sum rounded, 4 lanes, then in order", 4, false, false, false},
    {"float32, product and sum rounded, 8 lanes, then in order", 8, false, false, false},
    {"float32 fma, 2 lanes", 2, false, true, true},
    {"float32 fma, 4 lanes, then a tree", 4, false, true, true},
    {"float32 fma, 8 lanes, then a tree", 8, false, true, true},
    {"float32 fma, 16 lanes, then a tree", 16, false, true, true},
    {"float32 fma, 32 lanes, then a tree", 32, false, true, true},
    {"float32 fma, 4 lanes, then in order", 4, false, true, false},
    {"float32 fma, 8 lanes, then in order", 8, false, true, false},
};
const int mp_gemm_order_count = sizeof mp_gemm_orders / sizeof *mp_gemm_orders;

typedef struct engine {
    mp_gemm_f32_engine base;
    const mp_gemm_order *order;
    int64_t K;
} engine;

static const engine *of(const mp_gemm_f32_engine *e) {
    return (const engine *)e;
}

static void pack_row(const mp_gemm_f32_engine *e, const mp_tensor *a, int64_t row, void *packed) {
    mp_decode_row_f32(a->dtype, a->data, row * of(e)->K, of(e)->K, packed);
}

static void pack_panel(const mp_gemm_f32_engine *e, const mp_tensor *w, int64_t first, int64_t count,
                       float *scratch, void *packed) {
    const int64_t K = of(e)->K;
    memset(packed, 0, e->panel_bytes);
    for (int64_t n = 0; n < count; n++) {
        mp_decode_row_f32(w->dtype, w->data, (first + n) * K, K, scratch);
        for (int64_t k = 0; k < K; k++) ((float *)packed)[k * COLUMNS + n] = scratch[k];
    }
}

/* One row against COLUMNS columns: lane l of the sums is sum[l]. */
MP_CLONES_FMA static void run_lanes(const mp_gemm_order *o, int64_t K, const float *a, const float *w,
                                    float *result) {
    float sum[MOST_LANES][COLUMNS] = {0};
    for (int64_t i = 0; i < K; i++) {
        const int64_t k = o->descending ? K - 1 - i : i;
        float *s = sum[k % o->lanes];
        if (o->fused)
            for (int n = 0; n < COLUMNS; n++) s[n] = fmaf(a[k], w[k * COLUMNS + n], s[n]);
        else
            for (int n = 0; n < COLUMNS; n++) s[n] += a[k] * w[k * COLUMNS + n];
    }
    for (int half = o->lanes / 2; o->tree && half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            for (int n = 0; n < COLUMNS; n++) sum[l][n] += sum[l + half][n];
    for (int l = 1; !o->tree && l < o->lanes; l++)
        for (int n = 0; n < COLUMNS; n++) sum[0][n] += sum[l][n];
    memcpy(result, sum[0], sizeof sum[0]);
}

/* The first half, rounded up to a power of two, and the rest. */
static void run_pairwise(int64_t K, const float *a, const float *w, float *result) {
    if (K <= 1) {
        for (int n = 0; n < COLUMNS; n++) result[n] = K ? a[0] * w[n] : 0;
        return;
    }
    int64_t half = 1;
    while (2 * half < K) half *= 2;
    float rest[COLUMNS];
    run_pairwise(half, a, w, result);
    run_pairwise(K - half, a + half, w + half * COLUMNS, rest);
    for (int n = 0; n < COLUMNS; n++) result[n] += rest[n];
}

static void run(const mp_gemm_f32_engine *e, const mp_gemm_f32_tile *tile, const void *rows,
                const void *panel, float *result) {
    const int64_t K = of(e)->K;
    for (int64_t r = 0; r < tile->count; r++) {
        const float *a = (const float *)rows + r * K;
        if (of(e)->order->lanes)
            run_lanes(of(e)->order, K, a, panel, result + r * COLUMNS);
        else
            run_pairwise(K, a, panel, result + r * COLUMNS);
    }
}

mp_status mp_gemm_in_order(const mp_gemm_order *order, const mp_gemm_problem *p, const mp_tensor *out,
                           mp_error *err) {
    const int64_t K = p->w.codes->dim[2];
    const mp_epilogue none = {0};
    const engine e = {.base = {.name = order->name,
                               .rows = ROWS,
                               .columns = COLUMNS,
                               .row_bytes = (size_t)K * sizeof(float),
                               .panel_bytes = (size_t)(K * COLUMNS) * sizeof(float),
                               .pack_row = pack_row,
                               .pack_panel = pack_panel,
                               .run = run},
                      .order = order,
                      .K = K};
    return mp_gemm_f32(&e.base, p, &none, NULL, out, err);
}
