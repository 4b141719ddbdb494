/* SPDX-License-Identifier: Apache-2.0 */
/* quant_x and quant_act: scales from the numbers that were quantised, codes from the scale that the subject
 * has. Each must be one that the contract's quantiser can give, and within its bound of float64. */
#include "base/threads.h"
#include "harness/judge/screened_rows.h"
#include "harness/judge/strangers.h"
#include "ref/engine.h"

#include <math.h>
#include <stdlib.h>

/* What a thread has found. */
typedef struct quant_part {
    mp_measure measure;
    int64_t saturated;
    int64_t open; /* codes and scales of which nothing is known */
} quant_part;

typedef struct quant_judge {
    mp_stage_judge s;
    mp_quant_pass p;
    bool any;          /* the contract names no quantiser */
    mp_quant_unit all; /* of numbers that all share a scale */
    mp_strangers codes, scales;
    mp_screened_rows screened;
    mp_quant_figures *there; /* of all rows, by the engine */
    bool counted_wrongly;    /* it counts other saturated codes than the CPU */
} quant_judge;

/* A row being judged, by one thread. */
typedef struct row_judge {
    quant_judge *g;
    quant_part *part;
    float *x;            /* room for its numbers */
    mp_measure *measure; /* where its codes are measured, with */
    double *sums;
} row_judge;

static void judge_scale(quant_judge *g, quant_part *part, const mp_quant_pass *p, const mp_quant_span *at,
                        double scale) {
    const mp_quant_range may =
        g->any ? mp_any_scale(p->codes->dtype, (double)at->unit->amax) : mp_quant_scales(&p->q, at->unit);
    if (g->any && p->q.given != 0) return; /* of two scales one is given: nobody says how */
    /* Some leave NaN out of the largest magnitude, of others the scale becomes NaN; no ue8m0 is Inf. */
    const bool open = g->any ? at->unit->has_nan || isinf(at->unit->amax) : mp_quant_is_open(&p->q, at->unit);
    if (open) {
        part->open++;
        return;
    }
    if (!mp_scale_fits(may, scale))
        mp_stranger_add(&g->scales, at->r, at->first / p->group, scale, may.low, may.high);
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
            mp_stranger_add(&g->codes, at->r, at->first + k + i, mp_decode_code(p->codes->dtype, code),
                            mp_decode_code(p->codes->dtype, low[i]),
                            mp_decode_code(p->codes->dtype, high[i]));
        }
    }
}

/* Against float64: a code is the number over what codes are multiplied by, to within the quantiser's bound;
 * where it has none (NaN, a scale of 0), nothing is said here. Of no quantiser by name to within a code. */
static void measure_codes(const quant_judge *g, const mp_quant_pass *p, const mp_quant_span *at, double step,
                          mp_quant_range factor, mp_measure *part, double sums[3]) {
    const mp_stage_judge *s = &g->s;
    const mp_dtype dtype = p->codes->dtype;
    const mp_quant_spread spread = mp_quant_spread_of(&p->q, factor, step, 0);
    double value[MP_ROW_PIECE], error[MP_ROW_PIECE];
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

static void judge_part(void *ctx, const mp_quant_pass *p, const mp_quant_span *at) {
    const row_judge *row = ctx;
    quant_judge *g = row->g;
    const double scale =
        p->scale ? mp_decode(p->scale->dtype, p->scale->data, at->scale_at) : (double)p->q.given;
    const mp_quant_range factor = g->any ? (mp_quant_range){0, 0} : mp_quant_factors(&p->q, at->unit, scale);
    if (p->scale) judge_scale(g, row->part, p, at, scale);
    if (!g->any) judge_codes(g, row->part, p, at, factor);
    row->part->saturated += mp_saturated_codes(p->codes, at->row * g->s.width + at->first, at->n);
    measure_codes(g, p, at, mp_quant_step_of(p, scale), factor, row->measure, row->sums);
}

/* Row r here. What the engine counts of one that it has measured as well must be the same. */
static void judge_row(const void *ctx, int64_t r, mp_measure *measure, double sums[3]) {
    row_judge row = *(const row_judge *)ctx;
    quant_judge *g = row.g;
    const int64_t before = row.part->saturated;
    row.measure = measure;
    row.sums = sums;
    mp_quant_for_row(&g->p, &g->all, r, row.x, judge_part, &row);
    if (!g->screened.measured || g->there[r].row.passed != g->s.width) return;
    if (g->there[r].saturated == row.part->saturated - before) return;
#pragma omp atomic write
    g->counted_wrongly = true;
}

/* ---- by the engine ---- */

/* A group beside the scale that the subject has. */
static mp_quant_stored_group stored_group(const mp_quant_pass *p, const mp_quant_seen *seen, double scale) {
    const mp_quant_unit unit = {.amax = seen->amax};
    const mp_quant_range factor = mp_quant_factors(&p->q, &unit, scale);
    const double step = mp_quant_step_of(p, scale);
    const mp_quant_spread spread = mp_quant_spread_of(&p->q, factor, step, 0);
    const bool fits = !p->scale || mp_scale_fits(mp_quant_scales(&p->q, &unit), scale);
    return (mp_quant_stored_group){.factor = factor.low,
                                   .step = step,
                                   .off = spread.off,
                                   .most = spread.most,
                                   .plain = seen->odd == 0 && fits && factor.low == factor.high && step > 0 &&
                                            !spread.unbounded};
}

static void make_groups(const mp_quant_pass *p, const mp_quant_seen *seen, mp_quant_stored_group *groups) {
    const int64_t count = mp_quant_groups(p);
#pragma omp parallel for schedule(static) if (mp_worth_threads(p->rows, 50 * count))
    for (int64_t r = 0; r < p->rows; r++) {
        const int64_t row = mp_quant_row(p, r);
        for (int64_t g = 0; g < count && row >= 0; g++) {
            const double scale =
                p->scale ? mp_decode(p->scale->dtype, p->scale->data, mp_quant_scale_at(p, row, g))
                         : (double)p->q.given;
            groups[r * count + g] = stored_group(p, &seen[r * count + g], scale);
        }
    }
}

static bool is_screened(const quant_judge *g, bool *divides) {
    return g->s.j->engine->measure_quant && !g->any && !g->s.picture &&
           mp_quant_is_one_step(g->p.q.quantiser, divides);
}

/* The engine's figures of some rows. */
static mp_status screen_part(const quant_judge *g, const mp_quant_pass *p, bool divides,
                             mp_quant_figures *figures, mp_error *err) {
    const mp_engine *engine = g->s.j->engine;
    const size_t groups = (size_t)(p->rows * mp_quant_groups(p));
    mp_quant_seen *seen = malloc(groups * sizeof *seen);
    mp_quant_stored_group *stored = malloc(groups * sizeof *stored);
    mp_quant_screen wanted = {.pass = p,
                              .groups = stored,
                              .rule = {.spread = mp_quant_spread_of(&p->q, (mp_quant_range){1, 1}, 1, 0),
                                       .stored = mp_stored_as(p->codes->dtype, false),
                                       .largest = mp_dtype_format(p->codes->dtype)->max_finite,
                                       .divides = divides}};
    wanted.rule.stored.large = (double)INFINITY; /* codes are held within their range */
    mp_status status =
        seen && stored ? MP_OK : mp_fail(err, MP_EMEMORY, "judge: no memory for %zu groups", groups);
    if (status == MP_OK) status = engine->see_groups(engine, p, seen, err);
    if (status == MP_OK) {
        mp_quant_share(p, seen);
        make_groups(p, seen, stored);
        status = engine->measure_quant(engine, &wanted, figures, err);
    }
    free(seen);
    free(stored);
    return status;
}

/* The engine's figures, where it has any. What is marked in pictures is looked at here. */
static mp_status screen(quant_judge *g, mp_error *err) {
    const mp_quant_pass *p = &g->p;
    mp_error own = {0};
    int64_t *places = NULL;
    bool divides;
    if (p->rows == 0 || !is_screened(g, &divides)) return MP_OK;
    g->there = malloc((size_t)p->rows * sizeof *g->there);
    mp_status status = mp_screened_rows_alloc(&g->screened, &g->s, err);
    if (status == MP_OK && !g->there)
        status = mp_fail(err, MP_EMEMORY, "judge: no memory for figures of %lld rows", (long long)p->rows);
    if (status == MP_OK) status = mp_quant_places(p, &places, err);
    if (status != MP_OK) return status;
    for (int64_t first = 0; first < p->rows && status == MP_OK;) {
        const mp_quant_pass part = mp_quant_part(p, places, first);
        status = screen_part(g, &part, divides, g->there + first, &own);
        first += part.rows;
    }
    for (int64_t r = 0; r < p->rows && status == MP_OK; r++) g->screened.figures[r] = g->there[r].row;
    free(places);
    return mp_screened_rows_take(&g->screened, &g->s, status, (uint64_t)g->s.j->c->seed, &own, err);
}

/* ---- all of it ---- */

/* Judges every row; counts of all threads into *all, and their measures into the judge's. */
static mp_status each_row(quant_judge *g, quant_part *all, mp_error *err) {
    mp_stage_judge *s = &g->s;
    bool failed = false;
    g->all = mp_quant_unit_of_all(&g->p);
    mp_screened_rows_make(&g->screened, s, g->p.from, g->p.row, 1);
#pragma omp parallel if (mp_worth_threads(g->p.rows, 20 * s->width))
    {
        quant_part part = {0};
        row_judge row = {.g = g, .part = &part, .x = malloc((size_t)s->width * sizeof *row.x)};
        mp_stage_judge_part(s, &part.measure);
        if (!row.x) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(static)
        for (int64_t r = 0; r < g->p.rows; r++) {
            if (!row.x || mp_quant_row(&g->p, r) < 0) continue;
            if (!mp_screened_rows_judge(&g->screened, s, r, judge_row, &row, &part.measure))
                part.saturated += g->there[r].saturated;
        }
        free(row.x);
        mp_stage_judge_merge(s, &part.measure);
#pragma omp critical(mp_judge_quant_parts)
        {
            all->saturated += part.saturated;
            all->open += part.open;
        }
    }
    if (failed)
        return mp_fail(err, MP_EMEMORY, "judge: no memory for rows of %lld numbers", (long long)s->width);
    const mp_status status = g->screened.measured ? mp_screened_rows_end(&g->screened, s, err) : MP_OK;
    if (status == MP_OK && g->counted_wrongly)
        return mp_fail(err, MP_EDEVICE, "%s counts other codes that are the last of their format",
                       s->j->engine->name(s->j->engine));
    return status;
}

static mp_status judge_quant(const mp_judgement *j, mp_stage stage, mp_error *err) {
    const mp_stage_call call = {.c = j->c, .t = j->t, .map = &j->map};
    const bool any = j->contract->quantiser == MP_ANY_QUANTISER;
    quant_judge g = {
        .any = any,
        .p = mp_quant_pass_of(&call, stage,
                              any ? mp_scheme_of(j->c)->quantiser : (mp_quantiser)j->contract->quantiser)};
    quant_part all = {0};
    mp_status status = mp_stage_judge_start(j, stage, stage, &g.s, err);
    if (status != MP_OK) return status;
    status = screen(&g, err);
    if (status == MP_OK) status = each_row(&g, &all, err);
    mp_screened_rows_free(&g.screened);
    free(g.there);
    if (status != MP_OK) {
        mp_stage_judge_drop(&g.s);
        return status;
    }
    mp_strangers_tell(&g.s, &g.scales, "scale");
    mp_strangers_tell(&g.s, &g.codes, "code");
    g.s.open_because = "of numbers that are none may be anything";
    if (!any) g.s.measure.open = all.open; /* where a NaN has a code of its own, this was compared */
    mp_stage_judge_zero_rows(&g.s);
    mp_stage_judge_finish(&g.s);
    j->v->stage[stage].saturated = all.saturated;
    mp_strangers_count(&g.s, g.scales.count + g.codes.count);
    return MP_OK;
}

mp_status mp_judge_stage_quant_x(const mp_judgement *j, mp_error *err) {
    return judge_quant(j, MP_QUANT_X, err);
}

mp_status mp_judge_stage_quant_act(const mp_judgement *j, mp_error *err) {
    return judge_quant(j, MP_QUANT_ACT, err);
}
