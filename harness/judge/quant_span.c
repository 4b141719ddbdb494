/* SPDX-License-Identifier: Apache-2.0 */
/* quant_x and quant_act inside a span: numbers that are known within radii become codes. */
#include "harness/judge/span.h"

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

/* How much further a number that is no larger than `reach` may be off behind the quantiser. */
typedef struct spread {
    const mp_quant_pass *p;
    double scale;         /* that is used, or, where it is not known, one that is no smaller */
    bool known;           /* and the quantiser is the scheme's own: */
    mp_quant_spread made; /* by that scale */
    double lost;          /* the largest number that goes with a scale of zero */
} spread;

/* A number v within `sure` of x becomes code * step. The scale is one that the largest numbers within their
 * radii give, so at most that of the amax and the largest radius; the step's roundings, and what may be
 * clipped for them, are a few of the amax. Rounding v / step to a code costs half the distance of codes,
 * or all of it where the quantiser cuts. A scale that is given clips what it does not reach; one that is
 * made on top of it is 0 where it rounds to that, and `lost` is the largest number that goes with it. */
static double spread_by_bound(const spread *s, double reach) {
    const mp_dtype codes = s->p->codes->dtype;
    const double largest = mp_dtype_format(codes)->max_finite, amax = s->scale * largest,
                 steps = 0x1p-21 * amax,
                 code = 2 * s->scale * mp_half_ulp(codes, fmin(reach / s->scale, largest)),
                 clipped = fmax(reach - amax, 0) + fmin(reach, s->lost);
    return code + steps + clipped;
}

/* A number v within `sure` of x, quantised by the scheme's own quantiser with a scale that is known: its code
 * stands for one within mp_quant_error of v, which grows with |v|, and |v| <= |x| + sure. */
static double spread_by(const spread *s, double reach) {
    return s->known ? mp_quant_spread_at(&s->made, reach) : spread_by_bound(s, reach);
}

static void quantise_group(const mp_span *j, const spread *s, const mp_balls *in, mp_balls *out,
                           int64_t first, int64_t n) {
    for (int64_t i = first; i < first + n; i++) {
        mp_ball x = mp_ball_get(in, i);
        const double by = spread_by(s, fabs(x.value) + x.sure);
        x.det += j->beside && x.det < x.sure ? spread_by(s, fabs(x.value) + x.det) : by;
        x.sure += by;
        mp_ball_put(out, i, x);
    }
}

/* What is known where a number is none, which most quantisers make a code like any other: nothing, but that
 * some keep a NaN. Whether those that share a scale with a NaN are spared depends on the quantiser; an Inf
 * spares none. */
typedef struct no_numbers {
    bool stay, spread; /* NaN */
} no_numbers;

static no_numbers no_numbers_of(const mp_contract *contract, mp_dtype input) {
    const mp_quantisation q = {.quantiser = (mp_quantiser)contract->quantiser, .input = input};
    const mp_quant_unit unit = {.has_nan = true};
    const float nan = NAN;
    uint8_t low, high;
    if (contract->quantiser == MP_ANY_QUANTISER) return (no_numbers){.spread = true};
    mp_quant_codes(&q, &unit, (mp_quant_range){1, 1}, 0, &nan, 1, &low, &high);
    return (no_numbers){.stay = low == high && isnan(mp_decode_code(mp_quantiser_codes(q.quantiser), low)),
                        .spread = mp_quant_is_open(&q, &unit)};
}

static void leave_open(const mp_span *j, no_numbers how, const mp_balls *in, mp_balls *out, int64_t first,
                       int64_t n) {
    bool all = false;
    for (int64_t i = first; i < first + n; i++) {
        const double x = *mp_ball_at(&in->value, i);
        all |= isinf(x) || (how.spread && isnan(x));
    }
    for (int64_t i = first; i < first + n; i++)
        if (all || (!how.stay && isnan(*mp_ball_at(&in->value, i))))
            mp_ball_put(out, i,
                        (mp_ball){.value = j->beside ? *mp_ball_at(&in->value, i) : 0,
                                  .sure = INFINITY,
                                  .det = INFINITY});
}

/* The largest scale that numbers within their radii have: twice the exact one covers powers of two and
 * roundings, 1/(448*512) the floors. On top of one that is given no more than the largest of its format. */
static double largest_scale(const mp_quant_pass *p, const mp_balls *in, int64_t first, int64_t n) {
    double amax = 0;
    for (int64_t i = first; i < first + n; i++) {
        const mp_ball x = mp_ball_get(in, i);
        amax = fmax(amax, fabs(x.value) + x.sure);
    }
    const double made = fmax(2 * amax / mp_dtype_format(p->codes->dtype)->max_finite, 1 / (448 * 512.0)) *
                        (1 + 0x1p-21),
                 most = mp_dtype_format(mp_quantiser_scale(p->q.quantiser))->max_finite * (double)p->q.given;
    return p->q.given > 0 ? fmin(made, most) : made;
}

/* Of a scale that is made on top of one that is given: half the smallest of its format times the largest
 * code; else 0. */
static double largest_lost(const mp_case *c, const mp_quant_pass *p) {
    const mp_format *scale = mp_dtype_format(mp_quantiser_scale(p->q.quantiser));
    const double smallest = ldexp(1.0, scale->emin + 1 - scale->precision),
                 largest = mp_dtype_format(p->codes->dtype)->max_finite;
    return mp_scheme_of(c)->made ? smallest / 2 * (double)p->q.given * largest * (1 + 0x1p-21) : 0;
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

/* An upper bound of the scale of these numbers, which may be shown. One of all rows is not known of a slab,
 * and is any. */
static double scale_bound(const mp_case *c, const mp_quant_pass *p, const mp_balls *in, int64_t first,
                          int64_t n, double shown) {
    if (isfinite(shown) && p->q.given == 0) return shown;
    if (mp_codes_share_a_scale(c)) return INFINITY;
    return mp_scheme_of(c)->made ? largest_scale(p, in, first, n) : (double)p->q.given;
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
static void judge_shown_scale(mp_span *j, mp_quantisation q, mp_dtype codes, const mp_amax *amax,
                              double shown, int64_t row, int64_t group) {
    const int quantiser = j->j->contract->quantiser;
    const bool any = quantiser == MP_ANY_QUANTISER, odd = amax->has_nan || amax->unknown;
    const mp_quant_unit nan = {.has_nan = true}, inf = {.amax = INFINITY};
    mp_quant_unit low = mp_quant_unit_empty, high = mp_quant_unit_empty;
    if (!any) q.quantiser = (mp_quantiser)quantiser;
    /* What is given beside it enters in a way that nobody tells; the other is made of min and max. */
    if (any ? q.given != 0 || odd
            : quantiser == MP_QUANT_VLLM_INT8_TOKEN_ASYM || (odd && mp_quant_is_open(&q, &nan))) {
#pragma omp atomic
        j->open_scales++;
        return;
    }
    low.amax = amax->least > 0 ? nextafterf((float)amax->least, 0) : 0;
    high.amax = amax->unknown ? FLT_MAX : nextafterf((float)amax->most, INFINITY);
    const mp_quant_range may = {
        (any ? mp_any_scale(codes, (double)low.amax) : mp_quant_scales(&q, &low)).low,
        (any ? mp_any_scale(codes, (double)high.amax) : mp_quant_scales(&q, &high)).high};
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
        judge_shown_scale(j, q, s->got->dtype, &j->amax, mp_decode(scale->dtype, scale->data, 0), 0, 0);
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
    const mp_stage_call call = {.c = &j->part, .t = j->t, .map = &j->map};
    mp_tensor codes = {.dtype = mp_case_dtype(&j->part, stage == MP_QUANT_X ? MP_X_CODES : MP_CACHE2_CODES)};
    mp_quant_pass p = mp_quant_pass_of(&call, stage, mp_scheme_of(&j->part)->quantiser);
    const int64_t width = in->width, group = p.group;
    const bool own = j->j->contract->quantiser == (int)mp_scheme_of(&j->part)->quantiser;
    const bool made = mp_scheme_of(&j->part)->made, shared = mp_codes_share_a_scale(&j->part);
    const int64_t first_row = mp_stage_rows_are_slots(stage) ? j->first_token * j->part.topk : j->first_token;
    const no_numbers how = no_numbers_of(j->j->contract, p.q.input);
    const mp_status status = mp_span_balls(j, out, in->rows, width, err);
    p.codes = &codes;
    const double lost = largest_lost(&j->part, &p);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < (status == MP_OK ? in->rows : 0); r++) {
        const bool read = is_read(j, stage, r);
        if (!read) mp_balls_zero_row(out, r);
        for (int64_t g = 0; g < width && read; g += group) {
            const int64_t n = width - g < group ? width - g : group, at = r * width + g;
            const double shown = shown_scale(j, &p, stage, r, g);
            spread s = {.p = &p, .scale = shown, .known = own && isfinite(shown), .lost = lost};
            if (s.known)
                s.made = mp_quant_spread_of(&p.q, mp_quant_factors(&p.q, &mp_quant_unit_empty, shown),
                                            mp_quant_step_of(&p, shown), 0);
            else
                s.scale = scale_bound(&j->part, &p, in, at, n, shown);
            quantise_group(j, &s, in, out, at, n);
            leave_open(j, how, in, out, at, n);
            if (stage != j->last) continue;
            const mp_amax amax = amax_of(in, at, n);
            if (shared)
                merge_amax(&j->amax, &amax);
            else if (made)
                judge_shown_scale(j, p.q, codes.dtype, &amax, shown, first_row + r, g / group);
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
