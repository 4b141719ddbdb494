/* SPDX-License-Identifier: Apache-2.0 */
/* The activation against float64. */
#include "harness/judge/screened_rows.h"
#include "base/threads.h"
#include "harness/judge/span.h"
#include "ref/activation.h"
#include "ref/engine.h"

#include <math.h>

/* Where act(gate) of a gate that is not zero is zero within its bound and multiplies Inf, the product is Inf
 * with the signs of both or, if float32 or float64 gave zero, NaN: both are right, whichever float64 came
 * to. */
static bool vanishes_before_inf(const mp_judgement *j, double g, double u, double *value) {
    if (isfinite(*value) || !isinf(u) || !isfinite(g) || g == 0 ||
        !mp_activation_may_vanish(j->c, j->contract, g))
        return false;
    *value = signbit(g) == signbit(u) ? (double)INFINITY : -(double)INFINITY;
    return true;
}

typedef struct act_judge {
    mp_stage_judge s;
    const mp_tensor *cache1;
    mp_act_rule rule;
    mp_nan_clamping nan;
    mp_screened_rows screened;
} act_judge;

/* Columns n0 .. n0+n of slot t's row: cache1 -> expectations -> cache2. */
static void judge_piece(const act_judge *act, int64_t t, int64_t n0, int64_t n, mp_measure *part,
                        double sums[3]) {
    const mp_stage_judge *s = &act->s;
    const mp_tensor *cache1 = act->cache1;
    const mp_judgement *judgement = s->j;
    const mp_case *c = judgement->c;
    const int64_t row = s->got_row[t], width1 = mp_tensor_row_length(cache1);
    const bool gate_rounded = judgement->contract->act_rounding == MP_ACT_GATE_ROUNDED;
    double value[MP_ROW_PIECE], error[MP_ROW_PIECE];
    bool or_nan[MP_ROW_PIECE], open[MP_ROW_PIECE], special = false;
    /* An infinite gate that is rounded before the product may be finite there. */
    const bool saturates = mp_store_overflow(judgement->contract, s->got->dtype) != MP_OVERFLOW_INF &&
                           judgement->contract->act_rounding != MP_ACT_ONE_ROUNDING;
    for (int64_t j = 0; j < n; j++) {
        const int64_t at = row * width1;
        double g = mp_decode(cache1->dtype, cache1->data, at + mp_gate_column(c, n0 + j));
        double u = c->gated ? mp_decode(cache1->dtype, cache1->data, at + mp_up_column(c, n0 + j)) : 1;
        const bool may_be_kept = mp_clamp_nans(act->nan, &g, &u);
        value[j] = mp_activate_within(&act->rule, g, u, gate_rounded ? &s->got->dtype : NULL, &error[j]);
        or_nan[j] = vanishes_before_inf(judgement, g, u, &value[j]) || may_be_kept;
        open[j] = saturates && isinf(g) && !mp_act_clamps(c->act);
        special = special || or_nan[j] || open[j];
    }
    const int64_t position = row * c->N + n0, index = t * c->N + n0;
    if (!special) {
        mp_measure_row(part, s->got->dtype, s->got->data, position, index, n, value, error, s->rounded,
                       judgement->poison, sums);
        return;
    }
    for (int64_t j = 0; j < n; j++) {
        const mp_expectation e = {.value = value[j],
                                  .error = error[j],
                                  .rounded = s->rounded,
                                  .or_nan = or_nan[j],
                                  .open = open[j]};
        mp_measure_element(part, s->got->dtype, s->got->data, position + j, index + j, &e, judgement->poison,
                           sums);
    }
}

static void judge_slot(const void *ctx, int64_t t, mp_measure *part, double sums[3]) {
    const act_judge *act = ctx;
    const int64_t N = act->s.width;
    for (int64_t n = 0; n < N; n += MP_ROW_PIECE)
        judge_piece(act, t, n, N - n < MP_ROW_PIECE ? N - n : MP_ROW_PIECE, part, sums);
}

/* The engine's figures, where it has any. What is marked in pictures is looked at here. */
static mp_status screen(act_judge *act, mp_error *err) {
    const mp_judgement *j = act->s.j;
    const mp_act_screen wanted = {.cache1 = act->cache1,
                                  .topk_ids = j->t[MP_TOPK_IDS].data,
                                  .row = act->s.got_row,
                                  .slots = act->s.rows,
                                  .interleaved = j->c->interleaved,
                                  .rounds_gate = j->contract->act_rounding == MP_ACT_GATE_ROUNDED,
                                  .got = act->s.got,
                                  .stored = mp_stored_as(act->s.got->dtype, act->s.rounded),
                                  .rule = act->rule};
    mp_error own = {0};
    if (!j->engine->measure_act || act->s.picture) return MP_OK;
    mp_status status = mp_screened_rows_alloc(&act->screened, &act->s, err);
    if (status != MP_OK) return status;
    status = j->engine->measure_act(j->engine, &wanted, act->screened.figures, &own);
    return mp_screened_rows_take(&act->screened, &act->s, status, (uint64_t)j->c->seed, &own, err);
}

mp_status mp_judge_stage_act(const mp_judgement *j, mp_error *err) {
    const int32_t *topk_ids = j->t[MP_TOPK_IDS].data;
    act_judge act = {.cache1 = mp_as_read(j->t, MP_CACHE1),
                     .rule = mp_act_rule_of(j->c, j->contract),
                     .nan = mp_nan_clamping_of(j->c, j->contract)};
    mp_stage_judge *s = &act.s;
    mp_status status = mp_stage_judge_start(j, MP_ACT, MP_ACT, s, err);
    if (status != MP_OK) return status;
    status = screen(&act, err);
    if (status == MP_OK) {
        mp_screened_rows_make(&act.screened, s, act.cache1, s->got_row, 1);
#pragma omp parallel if (mp_worth_threads(mp_case_slots(j->c), 20 * j->c->N))
        {
            mp_measure part;
            mp_stage_judge_part(s, &part);
#pragma omp for schedule(static)
            for (int64_t t = 0; t < s->rows; t++)
                if (topk_ids[t] >= 0) mp_screened_rows_judge(&act.screened, s, t, judge_slot, &act, &part);
            mp_stage_judge_merge(s, &part);
        }
        status = mp_screened_rows_end(&act.screened, s, err);
    }
    mp_screened_rows_free(&act.screened);
    if (status != MP_OK) {
        mp_stage_judge_drop(s);
        return status;
    }
    mp_stage_judge_zero_rows(s);
    mp_stage_judge_finish(s);
    return MP_OK;
}

/* ---- inside a span ---- */

/* Lipschitz on the interval: ref/activation.h. */
mp_status mp_propagate_act(mp_span *j, const mp_balls *in, mp_balls *out, mp_error *err) {
    const mp_case *c = &j->part;
    const int64_t rows = in->rows, N = c->N;
    const mp_dtype dtype = mp_case_dtype(c, MP_CACHE2);
    const int32_t *ids = j->t[MP_TOPK_IDS].data;
    const mp_act_rule rule = mp_act_rule_of(c, j->j->contract),
                      beside = mp_act_rule_of(c, j->beside ? j->beside : j->j->contract);
    const mp_ball_store store = mp_span_store_of(j, MP_ACT, dtype);
    const mp_nan_clamping nan = mp_nan_clamping_of(c, j->j->contract);
    const mp_status status = mp_span_balls(j, out, rows, N, err);
    if (status != MP_OK) return status;
#pragma omp parallel for schedule(static) if (mp_worth_threads(rows, 50 * N))
    for (int64_t t = 0; t < rows; t++) {
        if (ids[t] < 0) mp_balls_zero_row(out, t);
        for (int64_t n = 0; n < N && ids[t] >= 0; n++) {
            mp_ball g = mp_ball_get(in, t * in->width + mp_gate_column(c, n)),
                    u = c->gated ? mp_ball_get(in, t * in->width + mp_up_column(c, n))
                                 : (mp_ball){.value = 1};
            const bool may_be_kept = mp_clamp_nans(nan, &g.value, &u.value);
            const mp_act_point at = mp_activation_at(&rule, g.value);
            mp_ball ball;
            if (j->beside) {
                ball = mp_activated_ball(&rule, &beside, &at, g, u, may_be_kept);
            } else {
                mp_activation_span span = {0};
                mp_activation_propagate(&rule, &at, g.det, g.random, u.value, u.det, u.random, &span);
                ball = (mp_ball){span.value, INFINITY, span.sure, span.random};
                if (!may_be_kept) /* else a number or a NaN: nothing is known */
                    ball.sure = mp_activation_interval_bound(&rule, &at, g.sure, u.value, u.sure);
            }
            mp_ball_put(out, t * N + n, mp_ball_stored(&store, ball));
        }
    }
    return MP_OK;
}
