/* SPDX-License-Identifier: Apache-2.0 */
/* The GEMMs, gate_up and down, against float64. */
#include "harness/judge/judge_stage.h"

#include "base/clones.h"
#include "base/threads.h"
#include "cases/graph_tables.h"
#include "cases/scheme.h"
#include "harness/judge/flushed.h"
#include "harness/judge/gemm_bounds.h"
#include "harness/judge/gemm_operands.h"
#include "harness/judge/gemm_scales.h"
#include "harness/judge/judge.h"
#include "harness/judge/screened.h"
#include "ref/engine.h"

#include <math.h>
#include <stdlib.h>

/* An upper bound of the magnitudes of what a unit multiplies: numbers, or codes. */
static double largest_multiplied(int64_t block, const mp_gemm_problem *p, const bool *experts) {
    if (block == 0) return fmax(mp_largest_number(&p->a, NULL), mp_largest_number(&p->w, experts));
    return fmax(mp_largest_magnitude(p->a.codes, NULL), mp_largest_magnitude(p->w.codes, experts));
}

/* The rule of its sums; exact: every one is exact in float32 in any order, so that the result is one
 * determined number. */
static mp_gemm_rule rule_of(const mp_judgement *j, mp_stage stage, const mp_gemm_problem *p) {
    bool *experts = mp_experts_read(p);
    const mp_gemm_contract *contract = mp_stage_gemm_contract(j->contract, stage);
    const int64_t block = mp_scaled_block(j->c, contract, p);
    const double largest = largest_multiplied(block, p, experts);
    mp_sum_bound sum = mp_accumulation_bound(j->c, contract, p, 1, largest);
    bool exact = mp_sums_are_exact(j->c, p, experts) && !j->contract->float64_steps;
    int64_t in_w = -1;
    if (mp_add_flushed(contract, p, mp_multiplied_as(j->c, p), block > 0, true, &in_w, largest, &sum))
        exact = false;
    free(experts);
    return (mp_gemm_rule){.rel = sum.rel,
                          .abs = sum.abs,
                          .per_scale = sum.per_scale,
                          .scaling = mp_scaling_steps_of(contract, block, largest),
                          .block = block,
                          .step = mp_step_roundoff(j->contract),
                          .overflow =
                              mp_sums_are_wide(j->contract, stage) ? (double)INFINITY : MP_FLOAT32_OVERFLOW,
                          .exact = exact};
}

/* One GEMM being judged. */
typedef struct gemm_judge {
    mp_stage_judge s;
    mp_stage_gemm gemm;
    mp_gemm_rule rule;
    mp_screened screened;
    bool measured; /* by the engine, which visits what the CPU is to measure */
} gemm_judge;

static void expect(const gemm_judge *g, double acc, double mass, const mp_gemm_scales *s, int64_t expert,
                   int64_t column, int64_t slot, double *value, double *error) {
    const mp_epilogue_terms terms = mp_epilogue_at(&g->gemm.epilogue, expert, column, slot);
    mp_expect_sum(&g->rule, &terms, acc, mass, mp_sum_error(&g->rule, mass, s), value, error);
}

/* With a scale that is Inf or NaN no result is a number. Which of both it is float64 does not tell: there the
 * scale meets each code, a zero too, and in a kernel their sum. */
static double any_but_a_number(const mp_tensor *t, int64_t position, mp_overflow overflow) {
    const double got = mp_decode(t->dtype, t->data, position);
    const bool saturated = fabs(got) == mp_dtype_format(t->dtype)->max_finite && overflow != MP_OVERFLOW_INF;
    return isfinite(got) && !saturated ? (double)NAN : got;
}

/* The same of inexact sums without scales, all behind the same epilogue, in vectors. False: the range of
 * float32 may matter to one of them, and nothing here is what is expected. */
MP_CLONES static bool expect_alike(const mp_gemm_rule *r, const mp_epilogue_terms *terms, int64_t n,
                                   const double *restrict acc, const double *restrict mass,
                                   double *restrict value, double *restrict error) {
    const double rel = r->rel, least = r->abs, step = r->step, overflow = r->overflow;
    int64_t beyond = 0;
    for (int64_t k = 0; k < n; k++) {
        mp_expect_behind(terms, step, acc[k], rel * mass[k] + least, &value[k], &error[k]);
        beyond += mass[k] + rel * mass[k] >= overflow;
    }
    return beyond == 0;
}

/* Slot i of a tile, against its sums. */
static void judge_slot(gemm_judge *g, const mp_gemm_tile *tile, int64_t i, mp_measure *part, double sums[3]) {
    mp_stage_judge *s = &g->s;
    const mp_gemm_problem *p = &g->gemm.problem;
    const bool scaled = g->rule.block > 0, wide = mp_sums_are_wide(s->j->contract, s->stage),
               plain = mp_epilogue_is_empty(&g->gemm.epilogue);
    const int64_t slot = tile->slot[i], row = s->got_row ? s->got_row[slot] : slot;
    double value[MP_ROW_PIECE], error[MP_ROW_PIECE];
    const mp_gemm_scales none = {0};
    mp_gemm_scales of[MP_ROW_PIECE];
    bool open[MP_ROW_PIECE];
    for (int64_t first = 0; first < tile->n; first += MP_ROW_PIECE) {
        const int64_t here = tile->n - first < MP_ROW_PIECE ? tile->n - first : MP_ROW_PIECE,
                      column = tile->n0 + first, from = i * tile->n + first;
        const int64_t position = row * s->width + column, index = slot * s->width + column;
        const mp_epilogue_terms terms = mp_epilogue_at(&g->gemm.epilogue, tile->expert, column, slot);
        bool any = false;
        if (!scaled && !g->rule.exact && !terms.has_bias &&
            expect_alike(&g->rule, &terms, here, tile->value + from, tile->mass + from, value, error)) {
            mp_measure_row(part, s->got->dtype, s->got->data, position, index, here, value, error, s->rounded,
                           s->j->poison, sums);
            continue;
        }
        if (scaled)
            mp_gemm_scales_of(p, g->rule.block, p->a_row[slot], tile->expert * p->w.codes->dim[1] + column,
                              here, of);
        for (int64_t k = 0; k < here; k++) {
            const double acc = tile->value[from + k], mass = tile->mass[from + k];
            const mp_gemm_scales *scales = scaled ? &of[k] : &none;
            expect(g, acc, mass, scales, tile->expert, column + k, slot, &value[k], &error[k]);
            open[k] = mp_may_overflow_inside(wide, plain, acc, mass, g->rule.rel * mass);
            open[k] |= scaled && !scales->infinite &&
                       mp_may_overflow_in_scaling(&g->rule.scaling, scales, acc, mass);
            any = any || open[k] || scales->infinite;
        }
        if (!any)
            mp_measure_row(part, s->got->dtype, s->got->data, position, index, here, value, error, s->rounded,
                           s->j->poison, sums);
        for (int64_t k = 0; k < here && any; k++) {
            mp_expectation e = {.value = value[k], .error = error[k], .rounded = s->rounded, .open = open[k]};
            if (scaled && of[k].infinite) {
                e.value = any_but_a_number(s->got, position + k, part->overflow);
                e.error = 0;
            }
            mp_measure_element(part, s->got->dtype, s->got->data, position + k, index + k, &e, s->j->poison,
                               sums);
        }
    }
}

/* Where the engine measured it too, by itself, so that both can be compared. */
static void judge_tile(void *ctx, const mp_gemm_tile *tile) {
    gemm_judge *g = ctx;
    mp_stage_judge *s = &g->s;
    mp_measure part, own;
    mp_stage_judge_part(s, &part);
    for (int64_t i = 0; i < tile->count; i++) {
        const int64_t slot = tile->slot[i], index = slot * s->width;
        double sums[3] = {0, 0, 0};
        if (!tile->value) {
            mp_screened_take(&g->screened, &part, index, tile->n, &tile->figures[i], sums);
        } else if (!tile->figures) {
            judge_slot(g, tile, i, &part, sums);
        } else {
            mp_stage_judge_part(s, &own);
            judge_slot(g, tile, i, &own, sums);
            mp_screened_compare(&g->screened, &own, sums, index, tile->n, &tile->figures[i]);
            mp_measure_merge(&part, &own);
        }
        mp_stage_judge_add_sums(s, slot, sums);
    }
    if (!tile->value) mp_screened_count(&g->screened, tile->count);
    if (tile->value && g->measured) part.f.by_cpu += tile->count * tile->n;
    mp_stage_judge_merge(s, &part);
}

/* By the engine's own measure where it has one for this GEMM. What is marked in pictures the CPU looks at. */
static mp_status measure(gemm_judge *g, mp_error *err) {
    const mp_engine *engine = g->s.j->engine;
    const mp_gemm_problem *p = &g->gemm.problem;
    const mp_gemm_screen screen = {.got = g->s.got,
                                   .got_row = g->s.got_row,
                                   .epilogue = &g->gemm.epilogue,
                                   .stored = mp_stored_as(g->s.got->dtype, g->s.rounded),
                                   .rule = g->rule};
    mp_status status = MP_EUNSUPPORTED;
    g->measured = engine->measure_gemm && !g->s.picture;
    if (g->measured) status = engine->measure_gemm(engine, p, &screen, judge_tile, g, err);
    g->measured = false;
    if (status == MP_EUNSUPPORTED) return mp_gemm_float64(engine, p, true, judge_tile, g, err);
    return status == MP_OK ? mp_screened_end(&g->screened, engine->name(engine), err) : status;
}

static mp_status judge_gemm(const mp_judgement *j, mp_stage stage, mp_error *err) {
    const mp_stage_call call = {.c = j->c, .t = j->t, .map = &j->map};
    gemm_judge g = {.gemm = mp_gemm_under(&call, stage, mp_stage_gemm_contract(j->contract, stage))};
    g.rule = rule_of(j, stage, &g.gemm.problem);
    if (!isfinite(g.rule.rel)) {
        mp_stage_has_no_bound(j, stage, "so many terms");
        return MP_OK;
    }
    mp_status status = mp_stage_judge_start(j, stage, stage, &g.s, err);
    if (status != MP_OK) return status;
    status = measure(&g, err);
    if (status == MP_OK) status = mp_stage_judge_expect_all(&g.s, &g.gemm.problem, err);
    if (status != MP_OK) {
        mp_stage_judge_drop(&g.s);
        return status;
    }
    mp_stage_judge_zero_rows(&g.s);
    mp_stage_judge_finish(&g.s);
    return MP_OK;
}

mp_status mp_judge_stage_gate_up(const mp_judgement *j, mp_error *err) {
    return judge_gemm(j, MP_GATE_UP, err);
}

mp_status mp_judge_stage_down(const mp_judgement *j, mp_error *err) {
    return judge_gemm(j, MP_DOWN, err);
}
