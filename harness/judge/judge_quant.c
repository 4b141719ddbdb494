/* SPDX-License-Identifier: Apache-2.0 */
/* quant_x and quant_act: scales from the numbers that were quantised, codes from the scale that the subject
 * has. Each must be one that the contract's quantiser can give, and within its bound of float64. */
#include "harness/judge/span.h"

#include "cases/graph_tables.h"
#include "harness/answers.h"
#include "ref/quant.h"

#include <float.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>

/* What a thread has found. */
typedef struct quant_part {
    mp_measure measure;
    int64_t saturated;
    int64_t open; /* codes and scales of which nothing is known */
} quant_part;

typedef struct quant_judge {
    mp_stage_judge s;
    bool any;         /* the contract names no quantiser */
    quant_part *part; /* of each thread */
    mp_strangers codes, scales;
} quant_judge;

static void add_stranger(mp_strangers *of, int64_t row, int64_t column, double got, double low, double high) {
#pragma omp critical(mp_judge_quant)
    if (of->count++ == 0 || row < of->first || (row == of->first && column < of->column)) {
        const int64_t count = of->count;
        *of = (mp_strangers){count, row, column, got, low, high};
    }
}

/* Of no quantiser by name. A scale is not so small that the amax is clipped, but for 4 roundings, and at most
 * a power of two above; those that have a floor have one of 1/(448*512) or less, and a range of e4m3 that is
 * not used to its end is taken for clipped by who has 1 of 448. */
static mp_quant_range any_scale(mp_dtype codes, double amax) {
    const double exact = amax / mp_dtype_format(codes)->max_finite, floor = 1 / (448 * 512.0);
    return (mp_quant_range){exact * (1 - 0x1p-21), fmax(2 * exact, floor) * (1 + 0x1p-21)};
}

static bool scale_fits(mp_quant_range may, double scale) {
    return isnan(may.low) || isnan(may.high) ? isnan(scale) : scale >= may.low && scale <= may.high;
}

static void judge_scale(quant_judge *g, quant_part *part, const mp_quant_pass *p, const mp_quant_span *at,
                        double scale) {
    const mp_quant_range may =
        g->any ? any_scale(p->codes->dtype, (double)at->unit->amax) : mp_quant_scales(&p->q, at->unit);
    if (g->any && p->q.given != 0) return; /* of two scales one is given: nobody says how */
    /* Some leave NaN out of the largest magnitude, of others the scale becomes NaN; no ue8m0 is Inf. */
    const bool open = g->any ? at->unit->has_nan || isinf(at->unit->amax) : mp_quant_is_open(&p->q, at->unit);
    if (open) {
        part->open++;
        return;
    }
    if (!scale_fits(may, scale))
        add_stranger(&g->scales, at->r, at->first / p->group, scale, may.low, may.high);
}

static void judge_codes(quant_judge *g, quant_part *part, const mp_quant_pass *p, const mp_quant_span *at,
                        mp_quant_range factor) {
    uint8_t low[MP_ROW_PIECE], high[MP_ROW_PIECE];
    const int64_t first = at->row * g->s.width + at->first;
    for (int64_t k = 0; k < at->n; k += MP_ROW_PIECE) {
        const int64_t here = at->n - k < MP_ROW_PIECE ? at->n - k : MP_ROW_PIECE;
        mp_quant_codes(&p->q, at->unit, factor, 0, at->x + k, here, low, high);
        for (int64_t i = 0; i < here; i++) {
            const uint64_t code = mp_code_at(p->codes->dtype, p->codes->data, first + k + i);
            part->open += mp_quant_code_is_open(p->codes->dtype, low[i], high[i]);
            if (mp_quant_code_fits(p->codes->dtype, code, low[i], high[i])) continue;
            add_stranger(&g->codes, at->r, at->first + k + i, mp_decode_code(p->codes->dtype, code),
                         mp_decode_code(p->codes->dtype, low[i]), mp_decode_code(p->codes->dtype, high[i]));
        }
    }
}

/* Against float64: a code is the number over what codes are multiplied by, to within the quantiser's bound;
 * where it has none (NaN, a scale of 0), nothing is said here. Of no quantiser by name to within a code. */
static void measure_codes(const quant_judge *g, const mp_quant_pass *p, const mp_quant_span *at, double step,
                          mp_quant_range factor, mp_measure *part) {
    const mp_stage_judge *s = &g->s;
    const mp_dtype dtype = p->codes->dtype;
    const mp_quant_spread spread = mp_quant_spread_of(&p->q, factor, step, 0);
    double *sums = s->sums + at->r * 3, value[MP_ROW_PIECE], error[MP_ROW_PIECE];
    for (int64_t first = 0; first < at->n; first += MP_ROW_PIECE) {
        const int64_t here = at->n - first < MP_ROW_PIECE ? at->n - first : MP_ROW_PIECE,
                      position = at->row * s->width + at->first + first,
                      index = at->r * s->width + at->first + first;
        bool known = true;
        for (int64_t k = 0; k < here; k++) {
            const double x = (double)at->x[first + k];
            value[k] = x / step;
            error[k] = g->any ? 2 * mp_half_ulp(dtype, value[k]) + fabs(value[k]) * 0x1p-21
                              : mp_quant_spread_at(&spread, x) / step;
            known = known && isfinite(error[k]) && isfinite(value[k]);
        }
        if (known)
            mp_measure_row(part, dtype, p->codes->data, position, index, here, value, error, false,
                           s->j->poison, sums);
        for (int64_t k = 0; k < here && !known; k++) {
            const mp_expectation e = {
                .value = value[k], .error = error[k], .open = !isfinite(error[k]) || !isfinite(value[k])};
            mp_measure_element(part, dtype, p->codes->data, position + k, index + k, &e, s->j->poison, sums);
        }
    }
}

/* Of n codes from `first` on. int8 has one code more below zero than above: both ends count. */
static int64_t saturated(const mp_tensor *codes, int64_t first, int64_t n) {
    const double largest = mp_dtype_format(codes->dtype)->max_finite;
    double v[MP_ROW_PIECE];
    int64_t count = 0;
    for (int64_t k = 0; k < n; k += MP_ROW_PIECE) {
        const int64_t here = n - k < MP_ROW_PIECE ? n - k : MP_ROW_PIECE;
        mp_decode_row(codes->dtype, codes->data, first + k, here, v);
        for (int64_t i = 0; i < here; i++) count += fabs(v[i]) >= largest;
    }
    return count;
}

static void judge_part(void *ctx, const mp_quant_pass *p, const mp_quant_span *at) {
    quant_judge *g = ctx;
    const double scale =
        p->scale ? mp_decode(p->scale->dtype, p->scale->data, at->scale_at) : (double)p->q.given;
    const mp_quant_range factor = g->any ? (mp_quant_range){0, 0} : mp_quant_factors(&p->q, at->unit, scale);
    quant_part *part = &g->part[omp_get_thread_num()];
    if (p->scale) judge_scale(g, part, p, at, scale);
    if (!g->any) judge_codes(g, part, p, at, factor);
    part->saturated += saturated(p->codes, at->row * g->s.width + at->first, at->n);
    measure_codes(g, p, at, mp_quant_step_of(p, scale), factor, &part->measure);
}

static void tell(const mp_stage_judge *s, const mp_strangers *of, const char *what) {
    const int quantiser = s->j->contract->quantiser;
    char where[MP_WHERE_TEXT_MAX];
    if (of->count == 0) return;
    mp_place_text(&s->where, of->first, what[0] == 'c' ? of->column : -1, where);
    mp_begins(s->j->v, s->first, s->stage, what);
    mp_check_fail(s->j->v, MP_CHECK_BOUND,
                  "%s: %s %lld is %.9g instead of %.9g .. %.9g; %lld are none that %s gives", where, what,
                  (long long)of->column, of->got, of->low, of->high, (long long)of->count,
                  quantiser == MP_ANY_QUANTISER ? "a quantiser" : mp_quantiser_name((mp_quantiser)quantiser));
}

/* Strangers are off by something, where nothing is allowed. */
static void count_strangers(const mp_stage_judge *s, int64_t strange) {
    if (strange == 0) return;
    s->j->v->stage[s->stage].failed += strange;
    s->j->v->stage[s->stage].max_ratio = (double)INFINITY;
}

/* Judges all of it; counts of all threads into *all, and their measures into the judge's. */
static mp_status each_part(quant_judge *g, const mp_quant_pass *p, quant_part *all, mp_error *err) {
    const int threads = omp_get_max_threads();
    g->part = calloc((size_t)threads, sizeof *g->part);
    if (!g->part) return mp_fail(err, MP_EMEMORY, "judge: no memory for what %d threads find", threads);
    for (int i = 0; i < threads; i++) mp_stage_judge_part(&g->s, &g->part[i].measure);
    const mp_status status = mp_quant_for_each(p, judge_part, g, err);
    for (int i = 0; i < threads; i++) {
        mp_stage_judge_merge(&g->s, &g->part[i].measure);
        all->saturated += g->part[i].saturated;
        all->open += g->part[i].open;
    }
    free(g->part);
    return status;
}

static mp_status judge_quant(const mp_judgement *j, mp_stage stage, mp_error *err) {
    const mp_stage_call call = {.c = j->c, .t = j->t, .map = &j->map};
    const bool any = j->contract->quantiser == MP_ANY_QUANTISER;
    const mp_quant_pass p = mp_quant_pass_of(
        &call, stage, any ? mp_scheme_of(j->c)->quantiser : (mp_quantiser)j->contract->quantiser);
    quant_judge g = {.any = any};
    quant_part all = {0};
    mp_status status = mp_stage_judge_start(j, stage, stage, &g.s, err);
    if (status != MP_OK) return status;
    status = each_part(&g, &p, &all, err);
    if (status != MP_OK) {
        mp_stage_judge_drop(&g.s);
        return status;
    }
    tell(&g.s, &g.scales, "scale");
    tell(&g.s, &g.codes, "code");
    g.s.open_because = "of numbers that are none may be anything";
    if (!any) g.s.measure.open = all.open; /* where a NaN has a code of its own, this was compared */
    mp_stage_judge_finish(&g.s);
    j->v->stage[stage].saturated = all.saturated;
    count_strangers(&g.s, g.scales.count + g.codes.count);
    return MP_OK;
}

mp_status mp_judge_stage_quant_x(const mp_judgement *j, mp_error *err) {
    return judge_quant(j, MP_QUANT_X, err);
}

mp_status mp_judge_stage_quant_act(const mp_judgement *j, mp_error *err) {
    return judge_quant(j, MP_QUANT_ACT, err);
}

/* ---- inside a span ---- */

/* What is quantised: a row a token. */
static mp_status take_x(mp_span *j, mp_balls *b, mp_error *err) {
    const mp_tensor *x = &j->t[MP_X];
    const int64_t tokens = j->part.M, width = x->dim[1];
    const mp_status status = mp_balls_take(&j->pool, b, tokens, width, MP_RADII_NONE, err);
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
        (any ? any_scale(codes, (double)low.amax) : mp_quant_scales(&q, &low)).low,
        (any ? any_scale(codes, (double)high.amax) : mp_quant_scales(&q, &high)).high};
    if (scale_fits(may, shown) || (amax->unknown && scale_fits(mp_quant_scales(&q, &inf), shown))) return;
    add_stranger(&j->scales, row, group, shown, may.low, may.high);
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
            count += saturated(s->got, (s->got_row ? s->got_row[r] : r) * s->width, s->width);
    j->j->v->stage[s->stage].saturated = count;
    if (mp_codes_share_a_scale(j->j->c) && s->rows > 0) {
        const mp_tensor *scale = mp_codes_scale(j->j->c, j->j->t, j->last);
        const mp_quantisation q = {.quantiser = mp_scheme_of(j->j->c)->quantiser, .input = j->j->c->dtype};
        judge_shown_scale(j, q, s->got->dtype, &j->amax, mp_decode(scale->dtype, scale->data, 0), 0, 0);
    }
    tell(s, &j->scales, "scale");
    count_strangers(s, j->scales.count);
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
