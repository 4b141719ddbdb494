/* SPDX-License-Identifier: Apache-2.0 */
/* quant_x and quant_act inside a span: numbers that are known within radii become codes. */
#include "harness/judge/span.h"

#include "base/threads.h"
#include "cases/graph_tables.h"
#include "cases/scheme.h"
#include "ref/quant.h"

#include <float.h>
#include <math.h>

/* What is quantised: a row a token. */
static mp_status take_x(mp_span *j, mp_balls *b, mp_error *err) {
    const mp_tensor *x = &j->t[MP_X];
    const int64_t tokens = j->part.M, width = x->dim[1];
    const mp_status status = mp_balls_take(&j->pool, b, tokens, width, MP_RADII_NONE, err);
    mp_tensor_make_rows(x, NULL, tokens);
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < (status == MP_OK ? tokens : 0); m++)
        mp_decode_row(x->dtype, x->data, m * width, width, mp_ball_at(&b->value, m * width));
    return status;
}

/* What becomes of a NaN, or of those beside it, by the contract's quantiser. */
static void tell_nan(const mp_contract *contract, mp_dtype input, mp_quant_balls *q) {
    const mp_quantisation by = {.quantiser = (mp_quantiser)contract->quantiser, .input = input};
    const mp_quant_unit unit = {.has_nan = true};
    const float nan = NAN;
    uint8_t low, high;
    q->nan_spreads = true;
    if (contract->quantiser == MP_ANY_QUANTISER) return;
    mp_quant_codes(&by, &unit, (mp_quant_range){1, 1}, 0, &nan, 1, &low, &high);
    q->nan_stays = low == high && isnan(mp_decode_code(mp_quantiser_codes(by.quantiser), low));
    q->nan_spreads = mp_quant_is_open(&by, &unit);
}

/* Of a scale that is made on top of one that is given: half the smallest of its format times the largest
 * code; else 0. */
static double largest_lost(const mp_case *c, const mp_quant_pass *p, double largest) {
    const mp_format *scale = mp_dtype_format(mp_quantiser_scale(p->q.quantiser));
    const double smallest = ldexp(1.0, scale->emin + 1 - scale->precision);
    return mp_scheme_of(c)->made ? smallest / 2 * (double)p->q.given * largest * (1 + 0x1p-21) : 0;
}

static mp_quant_pass pass_of(const mp_span *j, mp_stage stage) {
    const mp_stage_call call = {.c = &j->part, .t = j->t, .map = &j->map};
    return mp_quant_pass_of(&call, stage, mp_scheme_of(&j->part)->quantiser);
}

mp_quant_stage_rule mp_span_quant_rule(const mp_span *j, mp_stage stage) {
    const mp_quant_pass p = pass_of(j, stage);
    const double largest = mp_dtype_format(mp_quantiser_codes(p.q.quantiser))->max_finite,
                 largest_scale = mp_dtype_format(mp_quantiser_scale(p.q.quantiser))->max_finite;
    mp_quant_stage_rule r = {
        .balls = {.spread = mp_quant_spread_of(&p.q, (mp_quant_range){1, 1}, 1, 0),
                  .largest = largest,
                  .lost = largest_lost(&j->part, &p, largest),
                  .made_most = p.q.given > 0 ? largest_scale * (double)p.q.given : (double)INFINITY,
                  .beside = j->beside != NULL},
        .group = p.group};
    tell_nan(j->j->contract, p.q.input, &r.balls);
    return r;
}

/* The scale that the subject shows of the numbers of row r of the slab around `column`; NaN: none. */
static double shown_scale(const mp_span *j, const mp_quant_pass *p, mp_stage stage, int64_t r,
                          int64_t column) {
    const mp_tensor *scale = mp_codes_scale(j->j->c, j->j->t, stage);
    const int64_t row =
        stage == MP_QUANT_X ? j->first_token + r : j->j->map.cache_row[j->first_token * j->part.topk + r];
    if (!(j->shown_scales || stage == j->last) || !scale->data || row < 0) return (double)NAN;
    return mp_decode(scale->dtype, scale->data,
                     mp_tensor_count(scale) == 1 ? 0 : row * mp_tensor_row_length(scale) + column / p->group);
}

/* What is known of numbers whose scale the subject shows as `shown`. */
static mp_quant_group group_of(const mp_span *j, const mp_quant_pass *p, double shown) {
    const mp_scheme *s = mp_scheme_of(&j->part);
    mp_quant_group g = {.known = j->j->contract->quantiser == (int)s->quantiser && isfinite(shown),
                        .scale = (double)NAN};
    if (g.known) {
        const mp_quant_range factors = mp_quant_factors(&p->q, &mp_quant_unit_empty, shown);
        const mp_quant_spread spread = mp_quant_spread_of(&p->q, factors, mp_quant_step_of(p, shown), 0);
        g.step = spread.step;
        g.off = spread.off;
        g.most = spread.most;
        g.unbounded = spread.unbounded;
        g.scale = shown;
    } else if (isfinite(shown) && p->q.given == 0) {
        g.scale = shown;
    } else if (mp_codes_share_a_scale(&j->part)) {
        g.scale = INFINITY; /* one of all rows is not known of a slab, and is any */
    } else if (!s->made) {
        g.scale = (double)p->q.given;
    }
    return g;
}

void mp_span_quant_groups(const mp_span *j, mp_stage stage, int64_t first, int64_t rows,
                          mp_quant_group *groups) {
    const mp_quant_pass p = pass_of(j, stage);
    const int64_t width = stage == MP_QUANT_X ? j->part.K : j->part.N, count = mp_blocks_of(width, p.group);
#pragma omp parallel for schedule(static) if (mp_worth_threads(rows, 50 * count))
    for (int64_t r = 0; r < rows; r++)
        for (int64_t g = 0; g < count; g++)
            groups[r * count + g] = group_of(j, &p, shown_scale(j, &p, stage, first + r, g * p.group));
}

/* n balls from i on, which share a scale. */
static void quantise_group(const mp_quant_balls *q, mp_quant_group g, const mp_balls *in, mp_balls *out,
                           int64_t first, int64_t n) {
    double amax = 0;
    bool open = false;
    for (int64_t i = first; i < first + n; i++) {
        const mp_ball x = mp_ball_get(in, i);
        amax = mp_larger(fabs(x.value) + x.sure, amax);
        open = open || mp_quant_opens_all(q, x.value);
    }
    if (isnan(g.scale)) g.scale = mp_quant_largest_scale(q, amax);
    for (int64_t i = first; i < first + n; i++)
        mp_ball_put(out, i, mp_quantised_ball(q, &g, open, mp_ball_get(in, i)));
}

static mp_amax amax_of(const mp_balls *in, int64_t first, int64_t n) {
    mp_amax a = {0};
    for (int64_t i = first; i < first + n; i++) {
        const mp_ball x = mp_ball_get(in, i);
        const bool is_nan = isnan(x.value) && !isinf(x.sure), known = isfinite(x.value) && isfinite(x.sure);
        a.has_nan |= is_nan;
        a.unknown |= !is_nan && !known;
        if (!known) continue;
        a.least = fmax(a.least, fabs(x.value) - x.sure);
        a.most = fmax(a.most, fabs(x.value) + x.sure);
    }
    return a;
}

static void merge_amax(mp_amax *into, const mp_amax *from) {
#pragma omp critical(mp_judge_amax)
    *into = (mp_amax){fmax(into->least, from->least), fmax(into->most, from->most),
                      into->has_nan || from->has_nan, into->unknown || from->unknown};
}

/* Whether the scale that is shown of a group can be made of numbers within their radii; row: of the whole
 * output. A number without a radius may be any, which makes the scale no smaller than the others do; Inf, of
 * which quantisers make what they make; or NaN, which most of them leave out. */
static void judge_shown_scale(mp_span *j, mp_quantisation q, const mp_amax *amax, double shown, int64_t row,
                              int64_t group) {
    const int quantiser = j->j->contract->quantiser;
    const bool any = quantiser == MP_ANY_QUANTISER, odd = amax->has_nan || amax->unknown;
    const mp_quant_unit nan = {.has_nan = true}, inf = {.amax = INFINITY};
    mp_quant_unit low = mp_quant_unit_empty, high = mp_quant_unit_empty;
    if (!any) q.quantiser = (mp_quantiser)quantiser; /* else the scheme's, of the same formats */
    /* the asymmetric one is made of min and max */
    if (any ? odd : quantiser == MP_QUANT_VLLM_INT8_TOKEN_ASYM || (odd && mp_quant_is_open(&q, &nan))) {
#pragma omp atomic
        j->open_scales++;
        return;
    }
    low.amax = amax->least > 0 ? nextafterf((float)amax->least, 0) : 0;
    high.amax = amax->unknown ? FLT_MAX : nextafterf((float)amax->most, INFINITY);
    const mp_quant_range may = {
        (any ? mp_any_scale(&q, (double)low.amax) : mp_quant_scales(&q, &low)).low,
        (any ? mp_any_scale(&q, (double)high.amax) : mp_quant_scales(&q, &high)).high};
    if (mp_scale_fits(may, shown) || (amax->unknown && mp_scale_fits(mp_quant_scales(&q, &inf), shown)))
        return;
    mp_stranger_add(&j->scales, row, group, shown, may.low, may.high);
}

/* Balls of n numbers from i on in units of codes, as they are measured where the span ends. */
static void in_codes(mp_balls *out, int64_t i, int64_t n, double step) {
    const bool known = isfinite(step) && step > 0;
    for (int64_t at = i; at < i + n; at++) {
        mp_ball x = mp_ball_get(out, at);
        x.value = known ? x.value / step : 0;
        x.sure = known ? x.sure / step : (double)INFINITY;
        x.det = known ? x.det / step : (double)INFINITY;
        x.random = known ? x.random / step : 0;
        mp_ball_put(out, at, x);
    }
}

void mp_span_tell_codes(mp_span *j) {
    const mp_stage_judge *s = &j->s;
    const int32_t *ids = j->j->t[MP_TOPK_IDS].data;
    const bool slots = mp_stage_rows_are_slots(j->last);
    int64_t count = 0;
    for (int64_t r = 0; r < s->rows; r++)
        if (!(slots && ids[r] < 0))
            count += mp_saturated_codes(s->got, (s->got_row ? s->got_row[r] : r) * s->width, s->width);
    j->j->v->stage[s->stage].saturated = count;
    if (mp_codes_share_a_scale(j->j->c) && s->rows > 0) {
        const mp_tensor *scale = mp_codes_scale(j->j->c, j->j->t, j->last);
        const mp_quantisation q = {.quantiser = mp_scheme_of(j->j->c)->quantiser, .input = j->j->c->dtype};
        judge_shown_scale(j, q, &j->amax, mp_decode(scale->dtype, scale->data, 0), 0, 0);
    }
    mp_strangers_tell(s, &j->scales, "scale");
    mp_strangers_count(s, j->scales.count);
}

/* Whether anybody reads row r: a token that goes nowhere, or a filtered slot. */
static bool is_read(const mp_span *j, mp_stage stage, int64_t r) {
    const int64_t topk = j->part.topk;
    const int32_t *ids = j->t[MP_TOPK_IDS].data;
    if (stage == MP_QUANT_ACT) return ids[r] >= 0;
    for (int64_t slot = r * topk; slot < (r + 1) * topk; slot++)
        if (ids[slot] >= 0) return true;
    return false;
}

static mp_status propagate(mp_span *j, mp_stage stage, const mp_balls *in, mp_balls *out, mp_error *err) {
    const mp_quant_pass p = pass_of(j, stage);
    const mp_quant_stage_rule rule = mp_span_quant_rule(j, stage);
    const int64_t width = in->width, group = p.group;
    const bool made = mp_scheme_of(&j->part)->made, shared = mp_codes_share_a_scale(&j->part);
    const int64_t first_row = mp_stage_rows_are_slots(stage) ? j->first_token * j->part.topk : j->first_token;
    const mp_status status = mp_span_balls(j, out, in->rows, width, err);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < (status == MP_OK ? in->rows : 0); r++) {
        const bool read = is_read(j, stage, r);
        if (!read) mp_balls_zero_row(out, r);
        for (int64_t g = 0; g < width && read; g += group) {
            const int64_t n = width - g < group ? width - g : group, at = r * width + g;
            const double shown = shown_scale(j, &p, stage, r, g);
            if (j->numbers_stay) {
                for (int64_t i = at; i < at + n; i++) mp_ball_put(out, i, mp_ball_get(in, i));
                continue;
            }
            quantise_group(&rule.balls, group_of(j, &p, shown), in, out, at, n);
            if (stage != j->last) continue;
            const mp_amax amax = amax_of(in, at, n);
            if (shared)
                merge_amax(&j->amax, &amax);
            else if (made)
                judge_shown_scale(j, p.q, &amax, shown, first_row + r, g / group);
            in_codes(out, at, n, mp_quant_step_of(&p, shown));
        }
    }
    return status;
}

mp_status mp_propagate_quant_x(mp_span *j, const mp_balls *in, mp_balls *out, mp_error *err) {
    mp_balls x = {0};
    (void)in;
    mp_status status = take_x(j, &x, err);
    if (status == MP_OK) status = propagate(j, MP_QUANT_X, &x, out, err);
    mp_balls_drop(&j->pool, &x);
    return status;
}

mp_status mp_propagate_quant_act(mp_span *j, const mp_balls *in, mp_balls *out, mp_error *err) {
    return propagate(j, MP_QUANT_ACT, in, out, err);
}
