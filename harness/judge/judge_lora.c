/* SPDX-License-Identifier: Apache-2.0 */
/* LoRA's stages against float64.
 *
 * With u the unit roundoff of a step (2^-24, or 2^-53 with float64 steps) and e = rel * mass + abs the
 * error of an accumulation under the contract (ref/bounds.c):
 *
 *   shrink   |h - h*| <= e. The last rounding is the store's. In q parts that are each rounded to dtype and
 *            added in dtype, 2q - 1 roundings to dtype touch any term, and each part's own error is within e:
 *            gamma_(2q-1)(u_dtype) * (1 + rel) * mass more.
 *   expand   d = w * acc: |d - d*| <= |w| e + u (|d*| + |w| e), the epilogue's; rounded to dtype, half an
 *            ulp of the largest that d may be more. c + d is an addition in float32: u * (|c + d*| + that)
 *            more, and the last rounding is the store's.
 *
 * c, h and in are what the subject has there. Rows without an adapter are c, exactly. */
#include "cases/graph_tables.h"
#include "base/threads.h"
#include "cases/lora.h"
#include "harness/judge/flushed.h"
#include "harness/judge/gemm_operands.h"
#include "harness/judge/judge.h"
#include "harness/judge/span.h"
#include "ref/lora.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct lora_judge {
    mp_stage_judge s;
    mp_lora_gemm g;
    mp_sum_bound accumulation;
} lora_judge;

static bool shrinks(const lora_judge *l) {
    return !l->g.base;
}

/* An element of a stage from its float64 sum. */
static mp_expectation expect(const lora_judge *l, double acc, double mass, int64_t v, int64_t at) {
    const mp_contract *contract = l->s.j->contract;
    const mp_dtype dtype = l->g.out.dtype;
    const double u = mp_step_roundoff(contract), e = l->accumulation.rel * mass + l->accumulation.abs;
    const bool wide = contract->float64_steps;
    mp_expectation x = {.value = acc, .error = e, .rounded = l->s.rounded};
    x.open = !wide && isfinite(mass) && mass + e >= MP_FLOAT32_OVERFLOW;
    if (shrinks(l)) {
        const double parts = contract->shrink.split_k;
        if (contract->shrink_parts_rounded && parts > 1)
            x.error += mp_gamma(2 * parts - 1, mp_unit_roundoff(dtype)) * (1 + l->accumulation.rel) * mass;
        return x;
    }
    const double base = mp_decode(l->g.base->dtype, l->g.base->data, at);
    double d, error;
    mp_epilogue_expect(contract, &l->g.epilogue, acc, e, 0, 0, v, &d, &error);
    if (contract->lora_add == MP_LORA_ADD_ROUNDED && mp_store_rounds(contract, dtype)) {
        error += mp_half_ulp(dtype, fabs(d) + error);
        x.open = x.open || (isfinite(d) && fabs(d) + error > mp_dtype_format(dtype)->max_finite);
    }
    x.value = base + d;
    x.error = error + u * (fabs(x.value) + error);
    return x;
}

static void judge_tile(void *ctx, const mp_gemm_tile *tile) {
    lora_judge *l = ctx;
    mp_stage_judge *s = &l->s;
    mp_measure part;
    mp_stage_judge_part(s, &part);
    for (int64_t i = 0; i < tile->count; i++) {
        const int64_t v = tile->slot[i];
        double sums[3] = {0, 0, 0};
        for (int64_t n = 0; n < tile->n; n++) {
            const int64_t at = mp_lora_element(&l->g, v, tile->n0 + n), k = i * tile->n + n;
            const mp_expectation e = expect(l, tile->value[k], tile->mass[k], v, at);
            mp_measure_element(&part, s->got->dtype, s->got->data, at, at, &e, s->j->poison, sums);
        }
        mp_stage_judge_add_sums(s, v / l->g.slices, sums);
    }
    mp_stage_judge_merge(s, &part);
}

/* Rows of slots without an adapter: what was there before, or of a shrink and of filtered slots zeros,
 * where the contract says so. */
static void judge_other_rows(lora_judge *l) {
    mp_stage_judge *s = &l->s;
    const int32_t *ids = s->j->t[MP_TOPK_IDS].data;
    const bool zeros = s->j->contract->filtered[s->stage] == MP_ROW_ZERO;
    for (int64_t v = 0; v < l->g.problem.slots; v += l->g.slices) {
        const int64_t slot = v / l->g.slices;
        const bool zero = shrinks(l) || ids[slot] < 0;
        if (l->g.problem.topk_ids[v] >= 0 || (zero && !zeros)) continue;
        double sums[3] = {0, 0, 0};
        for (int64_t at = slot * s->width; at < (slot + 1) * s->width; at++) {
            const mp_expectation e = {.value = zero ? 0 : mp_decode(l->g.base->dtype, l->g.base->data, at),
                                      .positive_zero = zero};
            mp_measure_element(&s->measure, s->got->dtype, s->got->data, at, at, &e, s->j->poison, sums);
        }
        mp_stage_judge_add_sums(s, slot, sums);
    }
}

static mp_status judge(const mp_judgement *j, mp_stage stage, mp_error *err) {
    const mp_stage_call call = {.c = j->c, .t = j->t, .map = &j->map};
    lora_judge l;
    mp_status status = mp_lora_gemm_create(&call, stage, &l.g, err);
    if (status != MP_OK) goto out;
    const mp_tensor *a = l.g.problem.a.codes, *w = l.g.problem.w.codes;
    const mp_gemm_contract *contract = mp_stage_gemm_contract(j->contract, stage);
    const double largest = fmax(mp_largest_magnitude(a, NULL), mp_largest_magnitude(w, NULL));
    l.accumulation = mp_gemm_bound(contract, w->dtype, w->dim[2], largest);
    int64_t in_w = -1;
    mp_add_flushed(contract, &l.g.problem, w->dtype, false, true, &in_w, largest, &l.accumulation);
    if (!isfinite(l.accumulation.rel)) {
        mp_stage_has_no_bound(j, stage, "so many terms");
        goto out;
    }
    if ((status = mp_stage_judge_start(j, stage, stage, &l.s, err)) != MP_OK) goto out;
    status = mp_gemm_float64(j->engine, &l.g.problem, true, judge_tile, &l, err);
    if (status == MP_OK) status = mp_stage_judge_expect_all(&l.s, &l.g.problem, err);
    if (status != MP_OK) {
        mp_stage_judge_drop(&l.s);
        goto out;
    }
    judge_other_rows(&l);
    mp_stage_judge_finish(&l.s);
out:
    mp_lora_gemm_free(&l.g);
    return status;
}

mp_status mp_judge_stage_shrink_gate_up(const mp_judgement *j, mp_error *err) {
    return judge(j, MP_SHRINK_GATE_UP, err);
}

mp_status mp_judge_stage_expand_gate_up(const mp_judgement *j, mp_error *err) {
    return judge(j, MP_EXPAND_GATE_UP, err);
}

mp_status mp_judge_stage_shrink_down(const mp_judgement *j, mp_error *err) {
    return judge(j, MP_SHRINK_DOWN, err);
}

mp_status mp_judge_stage_expand_down(const mp_judgement *j, mp_error *err) {
    return judge(j, MP_EXPAND_DOWN, err);
}

/* ---- inside a span ---- */

/* The balls as rows of another length. */
static mp_balls as_rows(const mp_balls *b, int64_t width) {
    mp_balls rows = *b;
    mp_tensor *const parts[] = {&rows.value, &rows.sure, &rows.det, &rows.random};
    rows.rows = b->rows * b->width / width;
    rows.width = width;
    for (int i = 0; i < 4; i++) parts[i]->dim[0] = rows.rows, parts[i]->dim[1] = width;
    return rows;
}

static double with_accumulation(const mp_contract *contract, const mp_span_bound *b, double mass,
                                double handed) {
    const double own = mp_span_accumulated(b, mass, handed);
    const bool overflows = !contract->float64_steps && !(mass + handed + own < MP_FLOAT32_OVERFLOW);
    return overflows ? (double)INFINITY : handed + own;
}

/* Of a GEMM's sums at i: what its errors are with those of the accumulation. */
static mp_ball radii_of(const mp_span *j, const mp_span_sums *sums, const mp_span_bounds *bounds, int64_t i) {
    const double mass = sums->mass[i];
    mp_ball b = mp_ball_get(&sums->acc, i);
    b.det = j->beside ? with_accumulation(j->beside, &bounds->beside, mass, b.det)
                      : b.det + mp_span_accumulated(&bounds->own, mass, b.sure);
    b.sure = with_accumulation(j->j->contract, &bounds->own, mass, b.sure);
    b.random = sqrt(b.random);
    return b;
}

/* Roundings of the parts of a shrink, as a share of the magnitudes. */
static double share_of_parts(const mp_contract *contract, mp_dtype stored) {
    const double parts = contract->shrink.split_k;
    return contract->shrink_parts_rounded && parts > 1 ? mp_gamma(2 * parts - 1, mp_unit_roundoff(stored))
                                                       : 0;
}

/* The sums are the result, but for their rounding; rows of slots without an adapter stay zeros. Shrunk
 * rows that are not stored are float32. */
static mp_status propagate_shrink(mp_span *j, mp_stage stage, const mp_balls *in, mp_balls *out,
                                  mp_error *err) {
    const mp_contract *contract = j->j->contract;
    const mp_dtype stored = mp_case_dtype(&j->part, mp_stages[stage].output),
                   dtype = contract->lora_input == MP_LORA_FLOAT32 ? MP_FP32 : stored;
    const double rounded = share_of_parts(contract, stored),
                 beside = j->beside ? share_of_parts(j->beside, stored) : 0;
    mp_lora_gemm g;
    mp_span_sums sums = {0};
    mp_span_bounds bounds = {0};
    mp_tensor shown =
        mp_case_shape(&j->part, mp_stages[stage].output, 16); /* a shape: nothing is stored in it */
    mp_tensor t[MP_TENSOR_COUNT];
    memcpy(t, j->t, sizeof t);
    t[mp_stages[stage].output] = shown;
    mp_status status =
        mp_lora_gemm_create(&(mp_stage_call){.c = &j->part, .t = t, .map = &j->map}, stage, &g, err);
    if (status == MP_OK) status = mp_span_gemm(j, &g.problem, in, &sums, err);
    if (status == MP_OK) bounds = mp_span_bounds_of(j, stage, &g.problem, in);
#pragma omp parallel for schedule(static)
    for (int64_t v = 0; v < (status == MP_OK ? g.problem.slots : 0); v++)
        for (int64_t n = 0; n < g.width && g.problem.topk_ids[v] >= 0; n++) {
            const int64_t i = v * g.width + n;
            const mp_ball r = radii_of(j, &sums, &bounds, i), handed = mp_ball_get(&sums.acc, i);
            const double extra = rounded * (1 + bounds.own.sum.rel) * (sums.mass[i] + handed.sure),
                         extra_det = j->beside
                                         ? beside * (1 + bounds.beside.sum.rel) * (sums.mass[i] + handed.det)
                                         : extra;
            mp_span_store(j, stage, dtype, &sums.acc, i, r.value, r.sure + extra, r.det + extra_det,
                          r.random);
        }
    *out = as_rows(&sums.acc, g.slices * g.width);
    mp_ball_pool_give(&j->pool, sums.mass);
    mp_lora_gemm_free(&g);
    return status;
}

/* What an expand makes of a sum that is within a radius, and adds to what is within one of its own. */
typedef struct addition {
    double d;     /* what is added, behind the epilogue */
    double half;  /* its rounding to dtype, to nearest as a store's, or 0 */
    double error; /* of all that is added; with */
    double step;  /* that of the addition itself */
} addition;

static addition add_within(const mp_contract *contract, const mp_lora_gemm *g, mp_dtype stored, int64_t v,
                           int64_t n, double sum, double radius, double base, double base_radius) {
    const bool rounds = contract->lora_add == MP_LORA_ADD_ROUNDED && mp_store_rounds(contract, stored);
    addition a = {0};
    mp_epilogue_expect(contract, &g->epilogue, sum, radius, 0, n, v, &a.d, &a.error);
    a.half = rounds ? mp_half_ulp(stored, fabs(a.d) + a.error) : 0;
    if (rounds && !(fabs(a.d) + a.error + a.half <= mp_dtype_format(stored)->max_finite))
        a.error = (double)INFINITY;
    a.error += a.half + base_radius;
    a.step = mp_step_roundoff(contract) * (fabs(base + a.d) + a.error);
    return a;
}

/* Element n of row v, which lies at `at`. Its own bits, which are stored already, of slots without an
 * adapter. */
static void expand_one(mp_span *j, mp_stage stage, mp_dtype dtype, const mp_lora_gemm *g,
                       const mp_span_sums *sums, const mp_span_bounds *bounds, const mp_balls *base,
                       mp_balls *out, int64_t v, int64_t n) {
    const mp_contract *contract = j->j->contract;
    const mp_dtype stored = mp_case_dtype(&j->part, mp_stages[stage].output);
    const int64_t at = mp_lora_element(g, v, n);
    const mp_ball b = mp_ball_get(base, at);
    if (g->problem.topk_ids[v] < 0) {
        mp_ball_put(out, at, b);
        return;
    }
    const mp_ball r = radii_of(j, sums, bounds, v * g->width + n);
    const addition a = add_within(contract, g, stored, v, n, r.value, r.sure, b.value, b.sure);
    double d, det, random = 0;
    if (j->beside) {
        const addition other = add_within(j->beside, g, stored, v, n, r.value, r.det, b.value, b.det);
        det = other.error + other.step;
    } else {
        mp_epilogue_expect(contract, &g->epilogue, r.value, r.det, 0, n, v, &d, &det);
        det += b.det + a.step;
        random =
            hypot(hypot(mp_epilogue_factor(&g->epilogue, 0, v) * r.random, j->lambda * a.half), b.random);
    }
    mp_span_store(j, stage, dtype, out, at, b.value + a.d, a.error + a.step, det, random);
}

/* in: what is added to, and the shrunk rows. */
static mp_status propagate_expand(mp_span *j, mp_stage stage, const mp_balls *in, mp_balls *out,
                                  mp_error *err) {
    const bool unstored = stage == MP_EXPAND_GATE_UP && mp_contract_fuses_act(j->j->contract, j->j->c);
    const mp_dtype dtype = unstored ? MP_FP32 : mp_case_dtype(&j->part, mp_stages[stage].output);
    mp_lora_gemm g;
    mp_span_sums sums = {0};
    mp_span_bounds bounds = {0};
    mp_tensor t[MP_TENSOR_COUNT];
    memcpy(t, j->t, sizeof t);
    t[mp_stage_output(&j->part, stage)] = mp_case_shape(&j->part, mp_stage_output(&j->part, stage), 16);
    t[stage == MP_EXPAND_GATE_UP ? MP_LORA_H1 : MP_LORA_H2] =
        mp_case_shape(&j->part, stage == MP_EXPAND_GATE_UP ? MP_LORA_H1 : MP_LORA_H2, 16);
    mp_status status =
        mp_lora_gemm_create(&(mp_stage_call){.c = &j->part, .t = t, .map = &j->map}, stage, &g, err);
    const mp_balls base = in[0], h = as_rows(&in[1], j->part.lora_rank);
    if (status == MP_OK) status = mp_span_gemm(j, &g.problem, &h, &sums, err);
    if (status == MP_OK) bounds = mp_span_bounds_of(j, stage, &g.problem, &h);
    if (status == MP_OK) status = mp_span_balls(j, out, base.rows, base.width, err);
#pragma omp parallel for schedule(static)
    for (int64_t v = 0; v < (status == MP_OK ? g.problem.slots : 0); v++)
        for (int64_t n = 0; n < g.width; n++)
            expand_one(j, stage, dtype, &g, &sums, &bounds, &base, out, v, n);
    mp_balls_drop(&j->pool, &sums.acc);
    mp_ball_pool_give(&j->pool, sums.mass);
    mp_lora_gemm_free(&g);
    return status;
}

mp_status mp_propagate_shrink_gate_up(mp_span *j, const mp_balls *in, mp_balls *out, mp_error *err) {
    return propagate_shrink(j, MP_SHRINK_GATE_UP, in, out, err);
}

mp_status mp_propagate_expand_gate_up(mp_span *j, const mp_balls *in, mp_balls *out, mp_error *err) {
    return propagate_expand(j, MP_EXPAND_GATE_UP, in, out, err);
}

mp_status mp_propagate_shrink_down(mp_span *j, const mp_balls *in, mp_balls *out, mp_error *err) {
    return propagate_shrink(j, MP_SHRINK_DOWN, in, out, err);
}

mp_status mp_propagate_expand_down(mp_span *j, const mp_balls *in, mp_balls *out, mp_error *err) {
    return propagate_expand(j, MP_EXPAND_DOWN, in, out, err);
}
