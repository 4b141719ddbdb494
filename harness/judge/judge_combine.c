/* SPDX-License-Identifier: Apache-2.0 */
/* The sum over topk against float64. */
#include "harness/judge/judge.h"
#include "base/threads.h"
#include "harness/judge/screened_rows.h"
#include "harness/judge/span.h"
#include "ref/combine.h"
#include "ref/engine.h"

#include <math.h>

typedef struct combine_judge {
    mp_stage_judge s;
    mp_combine_terms terms;
    mp_combine_range range;
    mp_screened_rows screened;
} combine_judge;

/* Columns first .. first+n of token m. */
static void judge_piece(const combine_judge *g, int64_t m, int64_t first, int64_t n, mp_measure *part,
                        double sums[3]) {
    const mp_stage_judge *s = &g->s;
    const mp_case *c = s->j->c;
    const mp_contract *contract = s->j->contract;
    double value[MP_COMBINE_PIECE], error[MP_COMBINE_PIECE];
    bool open[MP_COMBINE_PIECE], any = false;
    mp_sum of_slots[MP_COMBINE_PIECE];
    const int64_t at = m * s->width + first;
    mp_combine_sums(&g->terms, m, first, n, of_slots);
    for (int64_t j = 0; j < n; j++) {
        value[j] = mp_combine_value(c, contract->combine, of_slots[j]);
        error[j] = mp_combine_error_of(&g->range.rule, &of_slots[j]);
        open[j] = mp_combine_leaves_range(&g->range, &of_slots[j]);
        any = any || open[j];
    }
    for (int64_t j = 0; j < n && any; j++) {
        const mp_expectation e = {
            .value = value[j], .error = error[j], .rounded = s->rounded, .open = open[j]};
        mp_measure_element(part, s->got->dtype, s->got->data, at + j, at + j, &e, s->j->poison, sums);
    }
    if (!any)
        mp_measure_row(part, s->got->dtype, s->got->data, at, at, n, value, error, s->rounded, s->j->poison,
                       sums);
}

static void judge_token(const void *ctx, int64_t m, mp_measure *part, double sums[3]) {
    const combine_judge *g = ctx;
    const int64_t width = g->s.width;
    for (int64_t k = 0; k < width; k += MP_COMBINE_PIECE)
        judge_piece(g, m, k, width - k < MP_COMBINE_PIECE ? width - k : MP_COMBINE_PIECE, part, sums);
}

/* The engine's figures, where it has any. What is marked in pictures is looked at here. */
static mp_status screen(combine_judge *g, mp_error *err) {
    const mp_judgement *j = g->s.j;
    const mp_combine_screen wanted = {.terms = g->terms,
                                      .got = g->s.got,
                                      .stored = mp_stored_as(g->s.got->dtype, g->s.rounded),
                                      .rule = g->range.rule};
    mp_error own = {0};
    if (!j->engine->measure_combine || g->s.picture) return MP_OK;
    mp_status status = mp_screened_rows_alloc(&g->screened, &g->s, err);
    if (status != MP_OK) return status;
    status = j->engine->measure_combine(j->engine, &wanted, g->screened.figures, &own);
    return mp_screened_rows_take(&g->screened, &g->s, status, (uint64_t)j->c->seed, &own, err);
}

mp_status mp_judge_stage_combine(const mp_judgement *j, mp_error *err) {
    combine_judge g = {.terms =
                           mp_combine_terms_of(j->c, j->t, j->contract->filtered[MP_DOWN] != MP_ROW_ZERO),
                       .range = mp_combine_range_of(j->c, j->contract)};
    mp_stage_judge *s = &g.s;
    if (!isfinite(
            mp_combine_bound(j->c, j->contract, (mp_sum){.value = 1, .mass = 1, .terms = j->c->topk}))) {
        mp_stage_has_no_bound(j, MP_COMBINE, "so many additions");
        return MP_OK;
    }
    mp_status status = mp_stage_judge_start(j, MP_COMBINE, MP_COMBINE, s, err);
    if (status != MP_OK) return status;
    status = screen(&g, err);
    if (status == MP_OK) {
        mp_screened_rows_make(&g.screened, s, g.terms.cache3, NULL, j->c->topk);
#pragma omp parallel if (mp_worth_threads(j->c->M, 4 * j->c->topk * j->c->K))
        {
            mp_measure part;
            mp_stage_judge_part(s, &part);
#pragma omp for schedule(static)
            for (int64_t m = 0; m < s->rows; m++)
                mp_screened_rows_judge(&g.screened, s, m, judge_token, &g, &part);
            mp_stage_judge_merge(s, &part);
        }
        status = mp_screened_rows_end(&g.screened, s, err);
    }
    mp_screened_rows_free(&g.screened);
    if (status == MP_OK)
        mp_stage_judge_finish(s);
    else
        mp_stage_judge_drop(s);
    return status;
}

/* ---- inside a span ---- */

/* Errors of a token's slots may be the same (an expert twice in a token): their random radii are added, not
 * squared.
 *
 * The value is the contract's, with the inner rounding of ROUND_THEN_SCALE: of the exact sum S, where the
 * subject rounds its own, S'. With |S' - S| <= d, the terms' errors and the additions', mp_combine_bound has
 * |rnd(S') - rnd(S)| <= d + half an ulp at S' + half an ulp at S, neither above that at |S| + d: it holds for
 * any d, while no rounding overflows. Where one may, the value before it stands without a bound, as after
 * every other store on the way. */
mp_status mp_propagate_combine(mp_span *j, const mp_balls *in, mp_balls *out, mp_error *err) {
    const mp_case *c = &j->part;
    const int64_t K = c->K, topk = c->topk;
    const int32_t *ids = j->t[MP_TOPK_IDS].data;
    const float *weights = mp_stage_weighs(c, MP_COMBINE) ? j->t[MP_TOPK_WEIGHTS].data : NULL;
    const double rsf = fabs(mp_combine_rsf(c));
    const mp_contract *contract = j->j->contract;
    const mp_combine_range range = mp_combine_range_of(c, contract),
                           beside = mp_combine_range_of(c, j->beside ? j->beside : contract);
    const mp_status status = mp_span_balls(j, out, c->M, K, err);
    if (status != MP_OK) return status;
#pragma omp parallel for schedule(static) if (mp_worth_threads(c->M, 4 * topk * K))
    for (int64_t m = 0; m < c->M; m++)
        for (int64_t k = 0; k < K; k++) {
            mp_sum sum = {.shared = mp_combine_shared(&j->t[MP_SHARED_OUTPUT], m, k)};
            double det = 0, random = 0;
            for (int64_t slot = m * topk; slot < (m + 1) * topk; slot++) {
                if (ids[slot] < 0) continue; /* zeros, exactly; or not read */
                const int64_t i = slot * K + k;
                const double w = weights ? (double)weights[slot] : 1;
                mp_sum_add_weighed(&sum, w, *mp_ball_at(&in->value, i));
                if (in->exact) continue;
                sum.error += fabs(w) * *mp_ball_at(&in->sure, i);
                det += fabs(w) * *mp_ball_at(&in->det, i);
                if (!j->beside) random += fabs(w) * *mp_ball_at(&in->random, i);
            }
            mp_ball ball;
            if (j->beside) {
                ball = mp_combined_ball(&range, &beside, &sum, det);
            } else {
                const bool overflows = mp_combine_leaves_range(&range, &sum);
                const double sure = mp_combine_radius(&range, &sum),
                             own = sure - rsf * sum.error; /* this stage's own roundings */
                ball = (mp_ball){
                    mp_combine_value(c, overflows ? MP_COMBINE_SCALE_THEN_ROUND : contract->combine, sum),
                    sure, rsf * det + own, rsf * random};
            }
            mp_ball_put(out, m * K + k, ball);
        }
    return MP_OK;
}
