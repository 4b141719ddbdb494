/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/scaling.h"

#include "base/clones.h"
#include "base/threads.h"
#include "ref/predict/blockscaled_gemm.h"
#include "ref/predict/gemm.h"
#include "ref/predict/matrixcore_gemm.h"
#include "ref/predict/tensorcore_gemm.h"

#include <math.h>
#include <stdlib.h>

static const char *unpredictable_scaling(const mp_gemm_contract *g, const mp_case *c) {
    const mp_scheme *s = mp_scheme_of(c);
    if (!c->quant || s->enters == MP_SCALES_BEFORE) return NULL;
    if (g->scaling == MP_SCALING_ANY) return "how sums are scaled is not said";
    if (g->accumulator != MP_ACC_TENSOR_CORE && !mp_is_matrix_core(g->accumulator))
        return "scaled sums are predicted of tensor cores and matrix cores alone";
    if (s->enters == MP_SCALES_PER_TILE && (g->promotion == 0 || mp_case_group(c) % g->promotion != 0))
        return "sums are scaled in tiles of k that are no part of a group";
    return NULL;
}

const char *mp_unpredictable_scaled_gemm(const mp_gemm_contract *g, const mp_case *c, int64_t K) {
    if (g->accumulator == MP_ACC_BLOCK_SCALED)
        return g->split_k > 1 ? mp_unpredictable_gemm(g, mp_case_multiplied(c))
                              : mp_unpredictable_block_scaled(g, c, K);
    const char *why = unpredictable_scaling(g, c);
    return why ? why : mp_unpredictable_gemm(g, mp_case_multiplied(c));
}

/* ---- sums that are scaled ---- */

typedef struct scaling {
    const mp_gemm_problem *p; /* with its scales */
    mp_scaling how;
    bool per_tile; /* else the last part is followed by the scaling of the whole */
    int64_t terms; /* of a part */
} scaling;

static inline float add_scaled(mp_scaling how, float sum, float dot, float a, float w) {
    switch (how) {
    case MP_SCALING_PRODUCT_FMA: return fmaf(dot, a * w, sum);
    case MP_SCALING_A_THEN_W_FMA: return fmaf(dot * a, w, sum);
    case MP_SCALING_W_THEN_A_FMA: return fmaf(dot * w, a, sum);
    default: return sum + mp_scaled_sum(how, dot, a, w);
    }
}

MP_CLONES static void add_tile(mp_scaling how, float a, const float *w, const float *dot, float *sum,
                               int64_t n) {
    for (int64_t i = 0; i < n; i++) sum[i] = add_scaled(how, sum[i], dot[i], a, w[i]);
}

MP_CLONES static void scale_row(mp_scaling how, float a, const float *w, float *sum, int64_t n) {
    for (int64_t i = 0; i < n; i++) sum[i] = mp_scaled_sum(how, sum[i], a, w[i]);
}

/* Scales of weights are looked up for COLUMNS at a time, which all rows share. */
enum { COLUMNS = 128 };

static void add(const void *ctx, const mp_tc_part *part) {
    const scaling *s = ctx;
    const mp_gemm_problem *p = s->p;
    const mp_gemm_f32_tile *tile = part->tile;
    const int64_t K = p->w.codes->dim[2], k = part->index * s->terms,
                  w_row = tile->expert * p->w.codes->dim[1] + tile->n0;
    const bool last = k + s->terms >= K, enters = s->per_tile || last;
    float w[COLUMNS];
    for (int64_t first = 0; first < tile->n; first += COLUMNS) {
        const int64_t here = tile->n - first < COLUMNS ? tile->n - first : COLUMNS;
        if (enters) mp_operand_scales(&p->w, w_row + first, here, k, w);
        for (int64_t r = 0; r < tile->count; r++) {
            float a = 0;
            if (enters) mp_operand_scales(&p->a, p->a_row[tile->slot[r]], 1, k, &a);
            const float *dot = part->dot + r * part->stride + first;
            float *sum = part->sum + r * part->stride + first;
            if (s->per_tile) {
                add_tile(s->how, a, w, dot, sum, here);
                continue;
            }
            for (int64_t n = 0; n < here; n++) sum[n] = part->index == 0 ? dot[n] : sum[n] + dot[n];
            if (last) scale_row(s->how, a, w, sum, here);
        }
    }
}

enum { PIECE = 256 };

bool mp_scales_keep_order(const mp_tensor *scales) {
    double scale[PIECE];
    const int64_t count = scales ? mp_tensor_count(scales) : 0;
    for (int64_t at = 0; at < count; at += PIECE) {
        const int64_t here = count - at < PIECE ? count - at : PIECE;
        mp_decode_row(scales->dtype, scales->data, at, here, scale);
        for (int64_t i = 0; i < here; i++)
            if (scale[i] < 0 || isinf(scale[i])) return false;
    }
    return true;
}

/* ---- numbers made of codes ---- */

/* All of an operand's numbers in `dtype`, which holds them. */
static mp_status make_numbers(const mp_operand *o, mp_dtype dtype, mp_tensor *made, mp_error *err) {
    *made = *o->codes;
    made->data = NULL;
    made->dtype = dtype;
    mp_tensor_make(o->codes, NULL);
    const int64_t rows = mp_tensor_rows(made), length = mp_tensor_row_length(made);
    const mp_status status = mp_tensor_alloc(made, 0, err);
#pragma omp parallel for schedule(static) if (mp_worth_threads(rows, 4 * length))
    for (int64_t r = 0; r < (status == MP_OK ? rows : 0); r++)
        for (int64_t k = 0; k < length; k += PIECE) {
            const int64_t here = length - k < PIECE ? length - k : PIECE;
            double number[PIECE];
            float same[PIECE]; /* no format that codes become holds more */
            mp_operand_decode(o, r, k, here, number);
            for (int64_t i = 0; i < here; i++) same[i] = (float)number[i];
            mp_encode_row_f32(dtype, made->data, r * length + k, here, same);
        }
    return status;
}

mp_status mp_multiplied_create(const mp_gemm_contract *contract, const mp_scheme *scheme, mp_dtype dtype,
                               const mp_gemm_problem *problem, mp_multiplied *m, mp_error *err) {
    const int64_t K = problem->w.codes->dim[2];
    *m = (mp_multiplied){.plain = *problem};
    if (scheme == &mp_schemes[MP_SCHEME_NONE]) return MP_OK;
    const bool before = scheme->enters == MP_SCALES_BEFORE;
    mp_status status = MP_OK;
    m->scaled = !before;
    m->per_tile = scheme->enters == MP_SCALES_PER_TILE;
    m->terms = contract->promotion > 0 ? contract->promotion : (K + 63) / 64 * 64; /* whole steps */
    m->plain.a = (mp_operand){.codes = problem->a.codes};
    m->plain.w = (mp_operand){.codes = problem->w.codes};
    if (before && problem->a.scale) {
        status = make_numbers(&problem->a, dtype, &m->a, err);
        m->plain.a.codes = &m->a;
    }
    /* Codes that are numbers of the other operand's format. */
    const mp_dtype multiplied = m->plain.a.codes->dtype;
    if (status == MP_OK && (before || m->plain.w.codes->dtype != multiplied)) {
        status = make_numbers(before ? &problem->w : &m->plain.w, multiplied, &m->w, err);
        m->plain.w.codes = &m->w;
    }
    return status;
}

void mp_multiplied_destroy(mp_multiplied *m) {
    mp_tensor_free(&m->a);
    mp_tensor_free(&m->w);
}

mp_status mp_predict_multiplied(const mp_gemm_contract *contract, const mp_multiplied *m,
                                const mp_gemm_problem *problem, const mp_epilogue *epilogue,
                                const int64_t *out_row, const mp_tensor *out, mp_error *err) {
    const scaling s = {.p = problem, .how = contract->scaling, .per_tile = m->per_tile, .terms = m->terms};
    const mp_tc_parts parts = {.terms = m->terms,
                               .add = add,
                               .ctx = &s,
                               .monotone = mp_scales_keep_order(problem->a.scale) &&
                                           mp_scales_keep_order(problem->w.scale)};
    mp_gemm_problem plain = *problem;
    plain.a = m->plain.a;
    plain.w = m->plain.w;
    return mp_predict_gemm(contract, m->scaled ? &parts : NULL, &plain, epilogue, out_row, out, err);
}

mp_status mp_predict_scaled_gemm(const mp_gemm_contract *contract, const mp_scheme *scheme, mp_dtype dtype,
                                 const mp_gemm_problem *problem, const mp_epilogue *epilogue,
                                 const int64_t *out_row, const mp_tensor *out, mp_error *err) {
    mp_gemm_make_operands(problem);
    if (contract->accumulator == MP_ACC_BLOCK_SCALED)
        return mp_block_scaled_gemm(contract, problem, epilogue, out_row, out, err);
    mp_multiplied m;
    mp_status status = mp_multiplied_create(contract, scheme, dtype, problem, &m, err);
    if (status == MP_OK) status = mp_predict_multiplied(contract, &m, problem, epilogue, out_row, out, err);
    mp_multiplied_destroy(&m);
    return status;
}
