/* SPDX-License-Identifier: Apache-2.0 */
/* Stages between two tensors that a subject exposes, judged as one: float64 through all of them, with bounds
 * composed from stage to stage.
 *
 * Between the stages every element is a ball: its exact value, and how far the subject's own, unseen, value
 * may be from it. Two radii are carried:
 *
 *   sure          nothing is further away: every rounding adds its bound, every sum the magnitudes of its
 *                 terms' errors. A sum of N errors of size e then has N*e, which a real kernel never reaches.
 *   det + random  the same, cut in two: roundings to nearest when a tensor is stored are taken as independent
 *                 and mean-zero (Higham and Mary, A new approach to probabilistic rounding error analysis,
 *                 SIAM J. Sci. Comput. 41, 2019), all else (truncation, accumulation, function evaluation,
 *                 second-order terms) is deterministic.
 *
 * A weighted sum of independent mean-zero errors, each at most b_i, exceeds lambda*sqrt(sum w_i^2 b_i^2) with
 * probability at most 2*exp(-lambda^2/2) (Hoeffding 1963), whatever their distributions. `random` holds
 * lambda*sqrt(...), so that radii of independent errors add in quadrature. With lambda^2 = 2*ln(2n/p), n the
 * elements of the tensor, all of them stay within with probability 1-p, p = 1e-9. Every element must be
 * within `sure`; the rms of every row within that of det + random + the last store's half ulp.
 *
 * What each stage makes of the radii stands with its function, mp_propagate_..., in the judge of the stage.
 *
 * Each store to dtype then adds half an ulp of the largest possible value: to sure, and lambda times that in
 * quadrature to random. What may overflow on the way has no bound: such elements are left out. */
#include "harness/judge/span.h"

#include "base/threads.h"
#include "cases/graph_tables.h"
#include "harness/answers.h"
#include "harness/judge/judge.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define ODDS 1e-9

mp_ball_store mp_span_store_of(const mp_span *j, mp_stage stage, mp_dtype dtype) {
    const mp_contract *contract = j->j->contract;
    const bool last = stage == j->last;
    return (mp_ball_store){.rounds = !last && mp_store_rounds(contract, dtype),
                           .saturates =
                               !last && !j->beside && mp_store_overflow(contract, dtype) != MP_OVERFLOW_INF,
                           .beside = j->beside != NULL,
                           .most = last ? (double)INFINITY : mp_dtype_format(dtype)->max_finite,
                           .lambda = j->lambda,
                           .places = mp_places_of(dtype)};
}

void mp_span_store(const mp_span *j, mp_stage stage, mp_dtype dtype, mp_balls *b, int64_t i, double value,
                   double sure, double det, double random) {
    const mp_ball_store store = mp_span_store_of(j, stage, dtype);
    mp_ball_put(b, i, mp_ball_stored(&store, (mp_ball){value, sure, det, random}));
}

mp_contract mp_exact_but_for_codes(const mp_contract *contract) {
    mp_contract exact = *contract;
    exact.gate_up = exact.down = exact.shrink = exact.expand =
        (mp_gemm_contract){.accumulator = MP_ACC_FLOAT64, .split_k = 1, .scaling = contract->down.scaling};
    exact.float64_steps = true;
    exact.act_function = MP_ACT_IEEE;
    exact.act_rounding = MP_ACT_ONE_ROUNDING;
    exact.combine = MP_COMBINE_SCALE_THEN_ROUND;
    return exact;
}

enum { MOST_TAKEN = 2 }; /* an expand of LoRA takes what it adds to, and the shrunk rows */

/* What the stage takes from those before it, align's integers aside, by the order of tensors; their
 * number. */
static int taken(const mp_case *c, mp_stage stage, mp_tensor_id ids[MOST_TAKEN]) {
    mp_tensor_set made = 0;
    int count = 0;
    for (int s = MP_ALIGN + 1; s < (int)stage; s++)
        if (mp_case_has_stage(c, (mp_stage)s)) made |= MP_IN_SET(mp_stages[s].output);
    /* One stage alone is given what others make. */
    for (int s = MP_ALIGN + 1; s < (int)stage && c->scope != MP_SCOPE_ALL; s++)
        made |= MP_IN_SET(mp_stages[s].output);
    for (int id = 0; id < MP_TENSOR_COUNT && count < MOST_TAKEN; id++)
        if (mp_stage_needs(c, stage) & made & MP_IN_SET(id)) ids[count++] = (mp_tensor_id)id;
    return count;
}

/* What the subject exposes of the span's input: codes as the numbers that they stand for. */
static mp_status gather(mp_span *j, mp_tensor_id id, mp_balls *b, mp_error *err) {
    const mp_judgement *judgement = j->j;
    const mp_stage_call call = {.c = judgement->c, .t = judgement->t, .map = &judgement->map};
    const bool codes = id == MP_X_CODES || id == MP_CACHE2_CODES, tokens = id == MP_X_CODES,
               by_a_stage = mp_case_outputs(judgement->c) & MP_IN_SET(mp_tensors[id].as_read), /* no hook's */
        cache = mp_tensors[id].rows == MP_ROWS_CACHE;
    const mp_stage stage = id == MP_X_CODES ? MP_GATE_UP : MP_DOWN;
    mp_operand from = {.codes = by_a_stage ? &judgement->t[id] : mp_as_read(judgement->t, id)};
    if (codes)
        from = mp_gemm_under(&call, stage, mp_stage_gemm_contract(judgement->contract, stage)).problem.a;
    const int64_t topk = j->part.topk, width = mp_tensor_row_length(from.codes),
                  rows = tokens ? j->part.M : mp_case_slots(&j->part),
                  first = tokens ? j->first_token : j->first_token * topk;
    const mp_status status = mp_balls_take(&j->pool, b, rows, width, MP_RADII_NONE, err);
    mp_tensor behind = *from.codes; /* rows from the first one on */
    if (!cache && rows > 0) behind.data = mp_tensor_row(from.codes, first);
    mp_tensor_make_rows(&behind, cache ? judgement->map.cache_row + first : NULL, rows);
#pragma omp parallel for schedule(static) if (mp_worth_threads(rows, 4 * width))
    for (int64_t r = 0; r < (status == MP_OK ? rows : 0); r++) {
        const int64_t row = cache ? judgement->map.cache_row[first + r] : first + r;
        if (row < 0)
            mp_balls_zero_row(b, r);
        else
            mp_operand_decode(&from, row, 0, width, mp_ball_at(&b->value, r * width));
    }
    return status;
}

/* ---- a slab of tokens ---- */

/* One element of the span's output. What is not finite in float64 must not be finite in the subject, of
 * whatever kind: a zero or an overflow on the way decides between Inf and NaN. */
static void measure_one(mp_span *j, const mp_balls *out, int64_t i, int64_t position, int64_t row,
                        int64_t column, mp_measure *part) {
    mp_stage_judge *s = &j->s;
    const double value = *mp_ball_at(&out->value, i), sure = *mp_ball_at(&out->sure, i);
    const double got = mp_decode(s->got->dtype, s->got->data, position);
    if (isfinite(value) && !isfinite(sure)) {
#pragma omp atomic
        j->unbounded++;
        return;
    }
    const bool saturated = isinf(value) && fabs(got) == mp_dtype_format(s->got->dtype)->max_finite &&
                           part->overflow != MP_OVERFLOW_INF;
    const mp_expectation e = {.value = isfinite(value)               ? value
                                       : isfinite(got) && !saturated ? (double)NAN
                                                                     : got,
                              .error = isfinite(value) ? sure : 0,
                              .rounded = s->rounded};
    mp_measure_element(part, s->got->dtype, s->got->data, position, row * s->width + column, &e, j->j->poison,
                       s->sums + row * 3);
    if (!isfinite(value)) return;
    const double half = s->rounded ? mp_half_ulp(s->got->dtype, fabs(value) + sure) : 0;
    const double likely = *mp_ball_at(&out->det, i) + *mp_ball_at(&out->random, i) + half;
    j->statistical[row] += likely * likely;
}

static void measure(void *ctx, mp_span *j, const mp_balls *out, int64_t first_row) {
    mp_stage_judge *s = ctx;
    const int32_t *ids = j->j->t[MP_TOPK_IDS].data;
    const bool slots = mp_stage_rows_are_slots(j->last);
#pragma omp parallel if (mp_worth_threads(out->rows, 20 * out->width))
    {
        mp_measure part;
        mp_stage_judge_part(s, &part);
#pragma omp for schedule(static)
        for (int64_t r = 0; r < out->rows; r++) {
            const int64_t row = first_row + r, got_row = s->got_row ? s->got_row[row] : row;
            for (int64_t k = 0; k < out->width && !(slots && ids[row] < 0); k++)
                measure_one(j, out, r * out->width + k, got_row * s->width + k, row, k, &part);
        }
        mp_stage_judge_merge(s, &part);
    }
}

/* Whether a stage of the span behind `stage` takes the tensor too. */
static bool is_taken_after(const mp_span *j, mp_stage stage, mp_tensor_id id) {
    for (int s = (int)stage + 1; s <= (int)j->last; s++) {
        mp_tensor_id ids[MOST_TAKEN];
        if (!mp_in_stages(j->stages, s) || !mp_case_has_stage(j->j->c, (mp_stage)s)) continue;
        const int count = taken(j->j->c, (mp_stage)s, ids);
        for (int i = 0; i < count; i++)
            if (ids[i] == id) return true;
    }
    return false;
}

void mp_span_begin(mp_span *j, const mp_judgement *judgement, mp_stage_set stages, mp_stage last,
                   int64_t elements) {
    j->j = judgement;
    j->stages = stages;
    j->last = last;
    j->lambda = sqrt(2 * log(2 * (double)elements / ODDS));
    for (int i = 0; i < MP_STAGE_COUNT; i++) {
        j->largest_w[i][0] = j->largest_w[i][1] = -1;
        j->flushed_w[i] = -1;
    }
}

mp_status mp_span_window(mp_span *j, int64_t first, int64_t count, mp_error *err) {
    const mp_case *c = j->j->c;
    mp_case whole = *c;
    j->first_token = first;
    j->part = *c;
    j->part.M = count;
    whole.layout = j->part.layout = MP_ROUTE;
    j->part.path = c->path == MP_CHUNKED ? MP_FUSED : c->path;
    mp_token_window(&whole, first, count, j->j->t, j->t);
    return mp_slot_map_create(&j->part, NULL, &j->map, err);
}

static mp_status propagate_slab(mp_span *j, int64_t first, int64_t count, mp_span_take *take, void *ctx,
                                mp_error *err) {
#define PROPAGATE(stage, scope, name) mp_propagate_##name,
    static mp_span_stage *const propagate[MP_STAGE_COUNT] = {MP_STAGES(PROPAGATE)};
#undef PROPAGATE
    const mp_case *c = j->j->c;
    mp_balls left[MP_TENSOR_COUNT] = {0};
    mp_tensor_set made = 0; /* by stages of the span: no others are gathered */
    mp_status status = mp_span_window(j, first, count, err);
    for (int s = 0; s <= (int)j->last && status == MP_OK; s++) {
        if (!mp_in_stages(j->stages, s) || !mp_case_has_stage(c, (mp_stage)s)) continue;
        mp_tensor_id id[MOST_TAKEN];
        mp_balls in[MOST_TAKEN];
        const int inputs = taken(c, (mp_stage)s, id);
        for (int i = 0; i < inputs && status == MP_OK; i++) {
            if (!left[id[i]].value.data && made & MP_IN_SET(id[i]))
                status = mp_fail(err, MP_EINTERNAL, "judge: %s was dropped before %s", mp_tensors[id[i]].name,
                                 mp_stage_name((mp_stage)s));
            else if (!left[id[i]].value.data)
                status = gather(j, id[i], &left[id[i]], err);
            in[i] = left[id[i]];
        }
        const mp_tensor_id output = mp_stage_output(c, (mp_stage)s);
        if (status == MP_OK) status = propagate[s](j, inputs ? in : NULL, &left[output], err);
        made |= MP_IN_SET(output);
        for (int i = 0; i < inputs; i++)
            if (!is_taken_after(j, (mp_stage)s, id[i])) mp_balls_drop(&j->pool, &left[id[i]]);
    }
    if (status == MP_OK)
        take(ctx, j, &left[mp_stage_output(c, j->last)],
             mp_stage_rows_are_slots(j->last) ? first * c->topk : first);
    for (int id = 0; id < MP_TENSOR_COUNT; id++) mp_balls_drop(&j->pool, &left[id]);
    free(j->map.memory);
    j->map = (mp_slot_map){0};
    return status;
}

/* At most, of what is there at a time: what a stage takes and leaves, four parts of each ball, or five, and
 * the masses of a GEMM, or what an expand adds to. */
static int64_t numbers_of_slot(const mp_span *j) {
    const mp_case *c = j->j->c;
    const int64_t w1 = mp_case_w1_rows(c), wide = w1 > c->K ? w1 : c->K,
                  x = (c->K + c->topk - 1) / c->topk; /* of a token */
    return (j->beside ? 4 : 5) * (wide + (mp_case_has_lora(c) ? wide : c->N) + x);
}

mp_status mp_span_propagate(mp_span *j, const mp_judgement *judgement, mp_stage_set stages, mp_stage last,
                            int64_t elements, mp_span_take *take, void *ctx, mp_error *err) {
    const mp_case *c = judgement->c;
    mp_status status = MP_OK;
    mp_span_begin(j, judgement, stages, last, elements);
    const int64_t slab = j->slab > 0 ? j->slab : mp_slab_tokens(c, numbers_of_slot(j));
    for (int64_t token = 0; token < c->M && !j->tokens && status == MP_OK; token += slab)
        status = propagate_slab(j, token, c->M - token < slab ? c->M - token : slab, take, ctx, err);
    for (int64_t i = 0; i < j->token_count && status == MP_OK; i++)
        status = propagate_slab(j, j->tokens[i], 1, take, ctx, err);
    mp_ball_pool_free(&j->pool);
    return status;
}

/* Intermediate values may overflow within their bounds: of what comes of them nothing is known. */
static void tell_unbounded(const mp_span *j, int64_t measured) {
    char note[200], scales[64] = "";
    if (j->open_scales > 0)
        snprintf(scales, sizeof scales, ", and %lld scales may be any", (long long)j->open_scales);
    snprintf(note, sizeof note, "%s..%s: %lld of %lld elements have no finite bound%s",
             mp_stage_name(j->first), mp_stage_name(j->last), (long long)j->unbounded,
             (long long)(j->unbounded + measured), scales);
    mp_check_pass_partly(j->j->v, MP_CHECK_BOUND, note);
}

static void judge_rows(const mp_span *j) {
    for (int64_t r = 0; r < j->s.rows; r++) {
        const double error = sqrt(j->s.sums[r * 3]), likely = sqrt(j->statistical[r]);
        if (error <= likely * (1 + 0x1p-40)) continue;
        mp_check_fail(j->j->v, MP_CHECK_RMS,
                      "%s..%s: row %lld has an rms error of %.3g; roundings that are independent stay below "
                      "%.3g, but for "
                      "odds of 1e-9",
                      mp_stage_name(j->first), mp_stage_name(j->last), (long long)r, error, likely);
        return;
    }
}

mp_status mp_judge_span(const mp_judgement *judgement, mp_stage first, mp_stage last, mp_error *err) {
    mp_span j = {.j = judgement, .first = first, .last = last};
    mp_status status = mp_stage_judge_start(judgement, first, last, &j.s, err);
    if (status != MP_OK) return status;
    if (mp_stage_makes_codes(last)) j.s.rounded = false; /* what rounds them is in the radii */
    j.statistical = calloc((size_t)(j.s.rows > 0 ? j.s.rows : 1), sizeof *j.statistical);
    if (!j.statistical)
        status = mp_fail(err, MP_EMEMORY, "judge: no memory for %lld rows", (long long)j.s.rows);
    if (status == MP_OK)
        status = mp_span_propagate(&j, judgement, mp_span_stages(judgement, last), last, j.s.rows * j.s.width,
                                   measure, &j.s, err);
    if (status == MP_OK) {
        const int64_t measured = j.s.measure.f.compared;
        mp_stage_judge_zero_rows(&j.s);
        judge_rows(&j);
        mp_stage_judge_finish(&j.s);
        if (mp_stage_makes_codes(last)) mp_span_tell_codes(&j);
        if (j.unbounded > 0 && measured == 0) mp_stage_has_no_bound(judgement, last, "any element");
        if (j.unbounded + j.open_scales > 0 && measured > 0) tell_unbounded(&j, measured);
    } else {
        mp_stage_judge_drop(&j.s);
    }
    free(j.statistical);
    return status;
}
