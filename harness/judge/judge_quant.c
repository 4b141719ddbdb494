/* SPDX-License-Identifier: Apache-2.0 */
/* quant_x and quant_act: scales from the numbers that were quantised, codes from the scale that the subject
 * has. Each must be one that the contract's quantiser can give, and within its bound of float64. */
#include "harness/judge/strangers.h"

#include "ref/quant.h"

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

static void judge_part(void *ctx, const mp_quant_pass *p, const mp_quant_span *at) {
    quant_judge *g = ctx;
    const double scale =
        p->scale ? mp_decode(p->scale->dtype, p->scale->data, at->scale_at) : (double)p->q.given;
    const mp_quant_range factor = g->any ? (mp_quant_range){0, 0} : mp_quant_factors(&p->q, at->unit, scale);
    quant_part *part = &g->part[omp_get_thread_num()];
    if (p->scale) judge_scale(g, part, p, at, scale);
    if (!g->any) judge_codes(g, part, p, at, factor);
    part->saturated += mp_saturated_codes(p->codes, at->row * g->s.width + at->first, at->n);
    measure_codes(g, p, at, mp_quant_step_of(p, scale), factor, &part->measure);
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
    mp_strangers_tell(&g.s, &g.scales, "scale");
    mp_strangers_tell(&g.s, &g.codes, "code");
    g.s.open_because = "of numbers that are none may be anything";
    if (!any) g.s.measure.open = all.open; /* where a NaN has a code of its own, this was compared */
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
