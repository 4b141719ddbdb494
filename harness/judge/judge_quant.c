/* SPDX-License-Identifier: Apache-2.0 */
/* quant_x and quant_act against float64: scales from the amax of what was quantised, codes from the scale that
 * the subject has. */
#include "harness/judge/span.h"

#include "cases/graph_tables.h"
#include "harness/answers.h"
#include "ref/quant.h"

#include <math.h>

/* Of the scale: the amax is a number of the model's, the division (or the product with the rounded 1/448, or
 * an approximate division) makes at most 3 roundings of it; the rest is the store's. Of a code before its
 * rounding: x / scale, or x times an inverse that is within 2 ulp. */
#define SCALE_ROUNDINGS (4 * 0x1p-24)
#define CODE_ROUNDINGS (4 * 0x1p-24)

/* Scales of a row, and what its codes are to be. */
static void judge_row(mp_stage_judge *s, const mp_quantisation *q, int64_t r, int64_t row, mp_measure *part,
                      mp_measure *scales) {
    const int64_t width = s->width, groups = q->scale->dim[1];
    const double largest = mp_dtype_format(q->codes->dtype)->max_finite;
    double none[3] = {0};
    for (int64_t g = 0; g < groups; g++) {
        const int64_t first = g * q->group, end = first + q->group < width ? first + q->group : width,
                      at = row * groups + g;
        const double amax = fmax(mp_quant_amax(q->from, row * width + first, end - first), MP_QUANT_SMALLEST),
                     scale = mp_decode(q->scale->dtype, q->scale->data, at);
        const mp_expectation of_scale = {.value = amax / largest,
                                         .error = amax / largest * SCALE_ROUNDINGS + 0x1p-149};
        mp_measure_element(scales, q->scale->dtype, q->scale->data, at, r * groups + g, &of_scale,
                           s->j->poison, none);
        for (int64_t k = first; k < end; k++) {
            const double x = mp_decode(q->from->dtype, q->from->data, row * width + k), v = x / scale;
            const mp_expectation of_code = {.value = v,
                                            .error = fabs(v) * CODE_ROUNDINGS,
                                            .rounded = true,
                                            .open =
                                                !(scale > 0)}; /* nobody says what codes a scale of 0 has */
            mp_measure_element(part, q->codes->dtype, q->codes->data, row * width + k, r * width + k,
                               &of_code, s->j->poison, s->sums + r * 3);
        }
    }
}

static void tell_scales(const mp_stage_judge *s, const mp_quantisation *q, const mp_measure *m) {
    const int64_t groups = q->scale->dim[1], at = m->f.worst_index;
    char where[MP_WHERE_TEXT_MAX];
    if (m->f.failed == 0) return;
    mp_place_text(&s->where, at / groups, -1, where);
    mp_check_fail(s->j->v, MP_CHECK_BOUND,
                  "%s, scale %lld: %.9g instead of %.9g +- %.3g; %lld of %lld scales fail", where,
                  (long long)(at % groups), m->f.worst_value, m->f.worst_expected, m->f.worst_bound,
                  (long long)m->f.failed, (long long)m->f.compared);
}

static mp_status judge_quant(const mp_judgement *j, mp_stage stage, mp_error *err) {
    const mp_stage_call call = {.c = j->c, .t = j->t, .map = &j->map};
    const mp_quantisation q = mp_quantisation_of(&call, stage);
    mp_stage_judge s;
    mp_measure all_scales;
    const mp_status status = mp_stage_judge_start(j, stage, stage, &s, err);
    if (status != MP_OK) return status;
    mp_measure_start(&all_scales);
#pragma omp parallel
    {
        mp_measure part, scales;
        mp_stage_judge_part(&s, &part);
        mp_measure_start(&scales);
#pragma omp for schedule(static)
        for (int64_t r = 0; r < q.rows; r++) {
            const int64_t row = mp_quantised_row(&q, r);
            if (row >= 0) judge_row(&s, &q, r, row, &part, &scales);
        }
        mp_stage_judge_merge(&s, &part);
#pragma omp critical(mp_judge_scales)
        mp_measure_merge(&all_scales, &scales);
    }
    tell_scales(&s, &q, &all_scales);
    mp_stage_judge_finish(&s);
    return MP_OK;
}

mp_status mp_judge_stage_quant_x(const mp_judgement *j, mp_error *err) {
    return judge_quant(j, MP_QUANT_X, err);
}

mp_status mp_judge_stage_quant_act(const mp_judgement *j, mp_error *err) {
    return judge_quant(j, MP_QUANT_ACT, err);
}

/* ---- inside a span ---- */

/* What is quantised, in slots: x has a row a token. */
static mp_status take_x(const mp_span *j, mp_balls *b, mp_error *err) {
    const mp_tensor *x = &j->t[MP_X];
    const int64_t slots = mp_case_slots(&j->part), width = x->dim[1];
    const mp_status status = mp_balls_create(b, slots, width, true, err);
    for (int64_t t = 0; status == MP_OK && t < slots; t++)
        mp_decode_row(x->dtype, x->data, j->map.x_row[t] * width, width, mp_ball_at(&b->value, t * width));
    return status;
}

/* A number v within `sure` of x becomes code * scale: v / scale is rounded to a code, so by half an ulp of
 * that times the scale; the scale is at most (amax + the largest radius) / largest code, up to its roundings,
 * which may also clip as much of the amax. The code's rounding is to nearest: random. */
static void quantise_group(const mp_span *j, mp_dtype codes, const mp_balls *in, mp_balls *out, int64_t first,
                           int64_t n) {
    const double largest = mp_dtype_format(codes)->max_finite;
    double amax = MP_QUANT_SMALLEST;
    for (int64_t i = first; i < first + n; i++) {
        const double reach = fabs(*mp_ball_at(&in->value, i)) + (in->exact ? 0 : *mp_ball_at(&in->sure, i));
        amax = fmax(amax, reach);
    }
    const double scale = amax / largest * (1 + SCALE_ROUNDINGS) + 0x1p-149,
                 steps = (SCALE_ROUNDINGS + CODE_ROUNDINGS) * amax;
    for (int64_t i = first; i < first + n; i++) {
        const double x = *mp_ball_at(&in->value, i), sure = in->exact ? 0 : *mp_ball_at(&in->sure, i),
                     half = scale * mp_half_ulp(codes, (fabs(x) + sure) / scale);
        *mp_ball_at(&out->value, i) = x;
        *mp_ball_at(&out->sure, i) = sure + half + steps;
        *mp_ball_at(&out->det, i) = (in->exact ? 0 : *mp_ball_at(&in->det, i)) + steps;
        *mp_ball_at(&out->random, i) = hypot(in->exact ? 0 : *mp_ball_at(&in->random, i), j->lambda * half);
    }
}

static mp_status propagate(const mp_span *j, mp_stage stage, const mp_balls *in, mp_balls *out,
                           mp_error *err) {
    const mp_stage_call call = {.c = &j->part, .t = j->t, .map = &j->map};
    const int64_t group = mp_quantisation_of(&call, stage).group, width = in->width;
    const mp_dtype codes = mp_case_dtype(&j->part, stage == MP_QUANT_X ? MP_X_CODES : MP_CACHE2_CODES);
    const int32_t *ids = j->t[MP_TOPK_IDS].data;
    const mp_status status = mp_balls_create(out, in->rows, width, false, err);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < (status == MP_OK ? in->rows : 0); t++)
        for (int64_t g = 0; g < width && ids[t] >= 0; g += group)
            quantise_group(j, codes, in, out, t * width + g, width - g < group ? width - g : group);
    return status;
}

mp_status mp_propagate_quant_x(mp_span *j, const mp_balls *in, mp_balls *out, mp_error *err) {
    mp_balls x = {0};
    (void)in;
    mp_status status = take_x(j, &x, err);
    if (status == MP_OK) status = propagate(j, MP_QUANT_X, &x, out, err);
    mp_balls_destroy(&x);
    return status;
}

mp_status mp_propagate_quant_act(mp_span *j, const mp_balls *in, mp_balls *out, mp_error *err) {
    return propagate(j, MP_QUANT_ACT, in, out, err);
}
