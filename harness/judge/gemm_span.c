/* SPDX-License-Identifier: Apache-2.0 */
/* gate_up and down inside a span: sums of numbers that are known within radii. */
#include "harness/judge/span.h"

#include "base/threads.h"
#include "cases/graph_tables.h"
#include "cases/scheme.h"
#include "harness/judge/flushed.h"
#include "harness/judge/gemm_bounds.h"
#include "harness/judge/gemm_operands.h"
#include "harness/judge/gemm_scales.h"
#include "ref/engine.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void collect(void *ctx, const mp_gemm_tile *tile) {
    const mp_span_sums *sums = ctx;
    const mp_balls *acc = &sums->acc;
    const struct {
        double *to;
        const double *from;
    } parts[] = {{acc->value.data, tile->value},
                 {sums->mass, tile->mass},
                 {acc->sure.data, tile->sure},
                 {acc->det.data, tile->det},
                 {acc->random.data, tile->random}};
    for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++)
        for (int64_t i = 0; i < tile->count && parts[p].from; i++)
            memcpy(parts[p].to + tile->slot[i] * acc->width + tile->n0, parts[p].from + i * tile->n,
                   (size_t)tile->n * sizeof(double));
}

/* An upper bound of the magnitudes of what the subject has there. */
static double largest_of_row(const mp_balls *b, int64_t row) {
    double largest = 0;
    for (int64_t i = row * b->width; i < (row + 1) * b->width; i++) {
        const double reach = fabs(*mp_ball_at(&b->value, i)) + (b->exact ? 0 : *mp_ball_at(&b->sure, i));
        if (isfinite(reach) && reach > largest) largest = reach;
    }
    return largest;
}

/* At least those of any result: the largest scales there are; scale_a: of codes of `a` that are not seen, or
 * 0. */
static mp_gemm_scales largest_scales(const mp_gemm_problem *p, int64_t block, double scale_a) {
    if (block == 0) return (mp_gemm_scales){0};
    if (p->a.scale && scale_a == 0)
        scale_a = mp_largest_magnitude(p->a.scale, NULL) * mp_largest_global(&p->a);
    const double a = scale_a > 0 ? scale_a : 1,
                 w = mp_largest_magnitude(p->w.scale, NULL) * mp_largest_global(&p->w),
                 blocks = ceil((double)p->w.codes->dim[2] / (double)block);
    return (mp_gemm_scales){.sum = blocks * a * w,
                            .sum_a = blocks * a,
                            .sum_w = blocks * w,
                            .most = a * w,
                            .most_a = a,
                            .most_w = w};
}

/* The scale that is given on top of those that are made, of codes that are not seen; else 0. */
static double given_scale(const mp_span *j, mp_stage stage, bool coded) {
    const mp_tensor *given = &j->t[stage == MP_GATE_UP ? MP_X_GIVEN_SCALE : MP_CACHE2_GIVEN_SCALE];
    return coded && mp_scheme_of(&j->part)->made && given->data ? mp_largest_magnitude(given, NULL) : 0;
}

/* Of the weights, looked for once: codes where those are scaled, else numbers. */
static double largest_w(mp_span *j, mp_stage stage, const mp_gemm_problem *p, bool scaled) {
    double *largest = &j->largest_w[stage][scaled];
    if (*largest < 0)
        *largest = scaled ? mp_largest_magnitude(p->w.codes, NULL) : mp_largest_number(&p->w, NULL);
    return *largest;
}

/* Scales are made of numbers within reach: of the largest, twice that where they are powers of two, or a
 * floor; of those of e4m3, which are given another, the rounding. Those of rows that nobody reads may be
 * there and be anything. One that all rows share is made of others, too: it is the one that the subject
 * shows. */
static double largest_made_scale(const mp_span *j, mp_stage stage, double reach, double largest_code,
                                 double given) {
    const mp_stage quantised = stage == MP_GATE_UP ? MP_QUANT_X : MP_QUANT_ACT;
    if (mp_codes_share_a_scale(&j->part)) {
        const mp_tensor *scale = mp_codes_scale(j->j->c, j->j->t, quantised);
        return scale->data ? fabs(mp_decode(scale->dtype, scale->data, 0)) : (double)INFINITY;
    }
    return fmax(2 * reach / largest_code, 1 / (448 * 512.0)) + 0x1p-9 * given;
}

/* What the contract says of sums over balls, or over the problem's own a. */
static mp_span_bound bound_sums(mp_span *j, const mp_contract *of, mp_stage stage, const mp_gemm_problem *p,
                                bool of_balls, double reach) {
    const mp_case *c = &j->part;
    const mp_scheme *s = mp_scheme_of(c);
    const mp_gemm_contract *contract = mp_stage_gemm_contract(of, stage);
    const int64_t block = mp_scaled_block(c, contract, p);
    const bool scaled = block > 0, coded = of_balls && scaled && s->quantises_activations;
    /* codes are numbers here */
    const double largest_a = coded ? mp_dtype_format(mp_quantiser_codes(s->quantiser))->max_finite : reach;
    /* which float64 sums do not depend on: then nobody looks through all weights */
    const bool of_any = !scaled && contract->accumulator == MP_ACC_FLOAT64;
    const double largest = of_any ? largest_a : fmax(largest_a, largest_w(j, stage, p, scaled)),
                 given = given_scale(j, stage, coded);
    mp_span_bound bound = {.sum = mp_accumulation_bound(c, contract, p, given > 0 ? given : 1, largest)};
    mp_add_flushed(contract, p, mp_multiplied_as(c, p), scaled, !of_balls, &j->flushed_w[stage], largest,
                   &bound.sum);
    const double made = coded && s->made ? largest_made_scale(j, stage, reach, largest_a, given) : 0;
    const mp_gemm_scales scales = largest_scales(p, block, made);
    const mp_scaling_steps steps = mp_scaling_steps_of(contract, block, largest);
    if (scales.sum > 0) bound.sum.abs += bound.sum.per_scale * scales.sum;
    bound.sum.abs += mp_lost_in_scaling(&steps, &scales);
    if (s->quantises_activations) /* of any mass */
        bound.open = mp_may_overflow_in_scaling(&steps, &scales, 0, (double)INFINITY);
    return bound;
}

mp_span_bounds mp_span_bounds_of(mp_span *j, mp_stage stage, const mp_gemm_problem *p, const mp_balls *in) {
    const int64_t rows = in ? in->rows : 0;
    double reach = in ? 0 : mp_largest_number(&p->a, NULL);
    mp_span_bounds bounds = {0};
#pragma omp parallel for reduction(max      \
                                   : reach) \
    schedule(static) if (rows > 0 && mp_worth_threads(rows, in->width))
    for (int64_t r = 0; r < rows; r++) reach = fmax(reach, largest_of_row(in, r));
    bounds.own = bound_sums(j, j->j->contract, stage, p, in != NULL, reach);
    if (j->beside) bounds.beside = bound_sums(j, j->beside, stage, p, in != NULL, reach);
    return bounds;
}

/* What no tile brings: all of slots that are left out, and the radii of exact sums. */
static void zero_what_is_not_summed(const mp_gemm_problem *p, const mp_span_sums *sums) {
    const mp_balls *acc = &sums->acc;
#pragma omp parallel for schedule(static) if (mp_worth_threads(acc->rows, acc->width))
    for (int64_t t = 0; t < acc->rows; t++) {
        if (p->topk_ids[t] >= 0 && p->a_row[t] >= 0) {
            if (!p->radii) mp_balls_zero_radii(acc, t);
            continue;
        }
        mp_balls_zero_row(acc, t);
        memset(sums->mass + t * acc->width, 0, (size_t)acc->width * sizeof *sums->mass);
    }
}

mp_status mp_span_gemm(mp_span *j, const mp_gemm_problem *p, const mp_balls *in, mp_span_sums *sums,
                       mp_error *err) {
    const int64_t width = p->w.codes->dim[1];
    const mp_gemm_radii radii =
        in ? (mp_gemm_radii){&in->sure, &in->det, j->beside ? NULL : &in->random} : (mp_gemm_radii){0};
    mp_gemm_problem problem = *p;
    if (in) problem.a = (mp_operand){.codes = &in->value};
    if (in && !in->exact) problem.radii = &radii;
    *sums = (mp_span_sums){0};
    mp_status status = mp_span_balls(j, &sums->acc, p->slots, width, err);
    if (status == MP_OK) status = mp_ball_pool_take(&j->pool, p->slots * width, &sums->mass, err);
    if (status != MP_OK) return status;
    zero_what_is_not_summed(&problem, sums);
    return mp_gemm_float64(j->j->engine, &problem, true, collect, sums, err);
}

static mp_ball_sum_rule sum_rule_of(const mp_contract *contract, const mp_span_bound *bound, mp_stage stage,
                                    const mp_epilogue *epilogue) {
    return (mp_ball_sum_rule){.rel = bound->sum.rel,
                              .abs = bound->sum.abs,
                              .step = mp_step_roundoff(contract),
                              .open = bound->open,
                              .wide = mp_sums_are_wide(contract, stage),
                              .plain = mp_epilogue_is_empty(epilogue)};
}

static mp_stage_gemm gemm_of(const mp_span *j, mp_stage stage) {
    const mp_stage_call call = {.c = &j->part, .t = j->t, .map = &j->map};
    return mp_gemm_under(&call, stage, mp_stage_gemm_contract(j->j->contract, stage));
}

/* The power of two that is not below it. */
static double binade_above(double reach) {
    int e;
    const double part = frexp(reach, &e);
    return reach > 0 ? fmin(part == 0.5 ? reach : ldexp(1, e), DBL_MAX) : 0;
}

void mp_span_sum_rules(mp_span *j, mp_stage stage, double reach, mp_ball_sum_rule rules[2]) {
    const mp_contract *const contracts[] = {j->j->contract, j->beside};
    const double binade = binade_above(reach);
    for (int i = 0; i < j->known_count; i++)
        if (j->known[i].stage == stage && j->known[i].reach == binade) {
            memcpy(rules, j->known[i].rules, sizeof j->known[i].rules);
            return;
        }
    const mp_stage_gemm gemm = gemm_of(j, stage);
    for (int i = 0; i < 2 && contracts[i]; i++) {
        const mp_span_bound bound = bound_sums(j, contracts[i], stage, &gemm.problem, true, binade);
        rules[i] = sum_rule_of(contracts[i], &bound, stage, &gemm.epilogue);
    }
    if (j->known_count == MP_KNOWN_RULES) return;
    j->known[j->known_count].stage = stage;
    j->known[j->known_count].reach = binade;
    memcpy(j->known[j->known_count++].rules, rules, sizeof j->known->rules);
}

/* Those of each row of a GEMM's a; without balls one for all. What is found of a row stands in its rule until
 * that is made. */
static mp_status rules_of_rows(mp_span *j, mp_stage stage, const mp_stage_gemm *gemm, const mp_balls *in,
                               mp_ball_sum_rule (**rules)[2], mp_error *err) {
    const int64_t rows = in ? in->rows : 1;
    *rules = calloc((size_t)rows, sizeof **rules);
    if (!*rules) return mp_fail(err, MP_EMEMORY, "judge: no memory for rules of %lld rows", (long long)rows);
#pragma omp parallel for schedule(static) if (in && mp_worth_threads(rows, in->width))
    for (int64_t r = 0; r < (in ? rows : 0); r++) (*rules)[r][0].rel = largest_of_row(in, r);
    for (int64_t r = 0; r < rows && in; r++) mp_span_sum_rules(j, stage, (*rules)[r][0].rel, (*rules)[r]);
    if (in) return MP_OK;
    const mp_span_bounds bounds = mp_span_bounds_of(j, stage, &gemm->problem, NULL);
    (*rules)[0][0] = sum_rule_of(j->j->contract, &bounds.own, stage, &gemm->epilogue);
    if (j->beside) (*rules)[0][1] = sum_rule_of(j->beside, &bounds.beside, stage, &gemm->epilogue);
    return MP_OK;
}

static bool is_unstored(const mp_span *j, mp_stage stage) {
    return stage == MP_GATE_UP && mp_contract_fuses_act(j->j->contract, j->j->c) &&
           !mp_case_has_lora(j->j->c);
}

mp_ball_store mp_span_gemm_store(const mp_span *j, mp_stage stage) {
    const mp_tensor_id id = mp_stage_output(&j->part, stage);
    return mp_span_store_of(j, stage, is_unstored(j, stage) ? MP_FP32 : mp_case_dtype(&j->part, id));
}

/* acc = sum v*w: sure = sum s|w| + rel*(mass + sum s|w|) + abs, det the same from det, random = sqrt(sum (r
 * w)^2). Errors of different k belong to different columns: independent. The epilogue adds its roundings
 * (det) and scales by the router weight. Gate and up that are not stored are float32: nothing is rounded. */
static mp_status propagate(mp_span *j, mp_stage stage, const mp_balls *in, mp_balls *out, mp_error *err) {
    const mp_stage_gemm gemm = gemm_of(j, stage);
    mp_gemm_problem p = gemm.problem;
    if (in) p.a_row = stage == MP_GATE_UP ? j->map.x_row : j->map.cache_row;
    mp_span_sums sums;
    mp_ball_sum_rule(*rules)[2] = NULL;
    mp_status status = mp_span_gemm(j, &p, in, &sums, err);
    if (status == MP_OK) status = rules_of_rows(j, stage, &gemm, in, &rules, err);
    const int64_t rows = sums.acc.rows, width = sums.acc.width;
    const int32_t *ids = j->t[MP_TOPK_IDS].data;
    const mp_ball_store store = mp_span_gemm_store(j, stage);
    *out = sums.acc;
#pragma omp parallel for schedule(static) if (mp_worth_threads(rows, 20 * width))
    for (int64_t t = 0; t < (status == MP_OK ? rows : 0); t++) {
        if (ids[t] < 0) continue;
        const mp_ball_sum_rule *rule = rules[in ? p.a_row[t] : 0];
        for (int64_t n = 0; n < width; n++) {
            const int64_t i = t * width + n;
            const mp_epilogue_terms terms = mp_epilogue_at(&gemm.epilogue, ids[t], n, t);
            const mp_ball sum = mp_ball_get(out, i);
            const double mass = sums.mass[i];
            mp_ball ball = {0};
            ball.sure = mp_ball_sum_radius(&rule[0], &terms, sum.value, mass, sum.sure, &ball.value);
            if (j->beside) {
                ball.det = mp_ball_sum_radius(&rule[1], &terms, sum.value, mass, sum.det, &ball.value);
            } else {
                mp_expect_behind(&terms, rule->step, sum.value,
                                 sum.det + mp_ball_accumulated(rule, mass, sum.sure), &ball.value, &ball.det);
                ball.random = mp_epilogue_factor(&gemm.epilogue, ids[t], t) * sqrt(sum.random);
            }
            mp_ball_put(out, i, mp_ball_stored(&store, ball));
        }
    }
    free(rules);
    mp_ball_pool_give(&j->pool, sums.mass);
    return status;
}

mp_status mp_propagate_gate_up(mp_span *j, const mp_balls *in, mp_balls *out, mp_error *err) {
    return propagate(j, MP_GATE_UP, in, out, err);
}

mp_status mp_propagate_down(mp_span *j, const mp_balls *in, mp_balls *out, mp_error *err) {
    return propagate(j, MP_DOWN, in, out, err);
}
