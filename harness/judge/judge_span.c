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

#include "cases/graph_tables.h"
#include "harness/answers.h"
#include "harness/judge/judge.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define ODDS 1e-9

mp_status mp_balls_create(mp_balls *b, int64_t rows, int64_t width, bool exact, mp_error *err) {
    mp_tensor *const parts[] = {&b->value, &b->sure, &b->det, &b->random};
    mp_status status = MP_OK;
    *b = (mp_balls){.rows = rows, .width = width, .exact = exact};
    for (int i = 0; i < (exact ? 1 : 4) && status == MP_OK; i++) {
        *parts[i] = mp_tensor_shape(MP_FP64, 2, rows, width, 1);
        status = mp_tensor_alloc(parts[i], 0, err);
    }
    return status;
}

void mp_balls_destroy(mp_balls *b) {
    mp_tensor_free(&b->value);
    mp_tensor_free(&b->sure);
    mp_tensor_free(&b->det);
    mp_tensor_free(&b->random);
}

void mp_span_store(const mp_span *j, mp_stage stage, mp_dtype dtype, mp_balls *b, int64_t i, double value,
                   double sure, double det, double random) {
    const bool rounds = stage != j->last && !j->exact_stores && mp_store_rounds(j->j->contract, dtype);
    if (isinf(value) && stage != j->last && mp_store_overflow(j->j->contract, dtype) != MP_OVERFLOW_INF) {
        value = copysign(mp_dtype_format(dtype)->max_finite, value); /* or Inf: nothing is known */
        sure = (double)INFINITY;
    }
    const double reach = fabs(value) + sure, half = rounds ? mp_half_ulp(dtype, reach) : 0;
    const bool overflows = stage != j->last && reach + half > mp_dtype_format(dtype)->max_finite;
    *mp_ball_at(&b->value, i) = value;
    *mp_ball_at(&b->sure, i) = overflows ? (double)INFINITY : sure + half;
    *mp_ball_at(&b->det, i) = det;
    *mp_ball_at(&b->random, i) = hypot(random, j->lambda * half);
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

/* Codes of a GEMM's input as the numbers that they stand for, in slots. */
static mp_status gather_codes(const mp_span *j, mp_tensor_id id, int64_t first_slot, int64_t slots,
                              mp_balls *b, mp_error *err) {
    const mp_stage_call call = {.c = j->j->c, .t = j->j->t, .map = &j->j->map};
    const mp_stage stage = id == MP_X_CODES ? MP_GATE_UP : MP_DOWN;
    const mp_stage_gemm g = mp_gemm_under(&call, stage, mp_stage_gemm_contract(j->j->contract, stage));
    const int64_t width = mp_tensor_row_length(g.problem.a.codes);
    const mp_status status = mp_balls_create(b, slots, width, true, err);
    for (int64_t t = 0; status == MP_OK && t < slots; t++) {
        const int64_t row = g.problem.a_row[first_slot + t];
        if (row >= 0) mp_operand_decode(&g.problem.a, row, 0, width, mp_ball_at(&b->value, t * width));
    }
    return status;
}

/* What the subject exposes of the span's input, decoded row by row, in slots. */
static mp_status gather(const mp_span *j, mp_tensor_id id, int64_t first_slot, int64_t slots, mp_balls *b,
                        mp_error *err) {
    if (id == MP_X_CODES || id == MP_CACHE2_CODES) return gather_codes(j, id, first_slot, slots, b, err);
    const bool by_a_stage = mp_case_outputs(j->j->c) & MP_IN_SET(mp_tensors[id].as_read); /* no hook's */
    const mp_tensor *from = by_a_stage ? &j->j->t[id] : mp_as_read(j->j->t, id);
    const int64_t width = mp_tensor_row_length(from);
    const bool cache = mp_tensors[id].rows == MP_ROWS_CACHE;
    const mp_status status = mp_balls_create(b, slots, width, true, err);
    for (int64_t t = 0; status == MP_OK && t < slots; t++) {
        const int64_t row = cache ? j->j->map.cache_row[first_slot + t] : first_slot + t;
        mp_decode_row(from->dtype, from->data, row * width, width, mp_ball_at(&b->value, t * width));
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
#pragma omp parallel
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

static mp_status propagate_slab(mp_span *j, int64_t first, int64_t count, mp_span_take *take, void *ctx,
                                mp_error *err) {
#define PROPAGATE(stage, scope, name) mp_propagate_##name,
    static mp_span_stage *const propagate[MP_STAGE_COUNT] = {MP_STAGES(PROPAGATE)};
#undef PROPAGATE
    const mp_judgement *judgement = j->j;
    const mp_case *c = judgement->c;
    mp_balls left[MP_TENSOR_COUNT] = {0};
    j->first_token = first;
    j->part = *c;
    j->part.M = count;
    j->part.layout = MP_ROUTE;
    j->part.path = c->path == MP_CHUNKED ? MP_FUSED : c->path;
    mp_case whole = *c;
    whole.layout = MP_ROUTE;
    mp_token_window(&whole, first, count, judgement->t, j->t);
    mp_status status = mp_slot_map_create(&j->part, NULL, &j->map, err);
    for (int s = 0; s <= (int)j->last && status == MP_OK; s++) {
        if (!mp_in_stages(j->stages, s) || !mp_case_has_stage(c, (mp_stage)s)) continue;
        mp_tensor_id id[MOST_TAKEN];
        mp_balls in[MOST_TAKEN];
        const int inputs = taken(c, (mp_stage)s, id);
        for (int i = 0; i < inputs && status == MP_OK; i++) {
            if (!left[id[i]].value.data)
                status = gather(j, id[i], first * c->topk, count * c->topk, &left[id[i]], err);
            in[i] = left[id[i]];
        }
        if (status == MP_OK)
            status = propagate[s](j, inputs ? in : NULL, &left[mp_stage_output(c, (mp_stage)s)], err);
    }
    if (status == MP_OK)
        take(ctx, j, &left[mp_stage_output(c, j->last)],
             mp_stage_rows_are_slots(j->last) ? first * c->topk : first);
    for (int id = 0; id < MP_TENSOR_COUNT; id++) mp_balls_destroy(&left[id]);
    free(j->map.memory);
    j->map = (mp_slot_map){0};
    return status;
}

mp_status mp_span_propagate(mp_span *j, const mp_judgement *judgement, mp_stage_set stages, mp_stage last,
                            int64_t elements, mp_span_take *take, void *ctx, mp_error *err) {
    const mp_case *c = judgement->c;
    mp_status status = MP_OK;
    j->j = judgement;
    j->stages = stages;
    j->last = last;
    j->lambda = sqrt(2 * log(2 * (double)elements / ODDS));
    for (int i = 0; i < MP_STAGE_COUNT; i++) j->largest_w[i] = -1;
    enum { PARTS = 6 /* four of a ball, a mass, and codes made of it */ };
    const int64_t slab = mp_slab_tokens(c, (mp_case_w1_rows(c) + c->N + c->K) * PARTS);
    for (int64_t token = 0; token < c->M && status == MP_OK; token += slab)
        status = propagate_slab(j, token, c->M - token < slab ? c->M - token : slab, take, ctx, err);
    return status;
}

/* Intermediate values may overflow within their bounds: of what comes of them nothing is known. */
static void tell_unbounded(const mp_span *j, int64_t measured) {
    char note[160];
    snprintf(note, sizeof note, "%s..%s: %lld of %lld elements have no finite bound", mp_stage_name(j->first),
             mp_stage_name(j->last), (long long)j->unbounded, (long long)(j->unbounded + measured));
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
    j.statistical = calloc((size_t)(j.s.rows > 0 ? j.s.rows : 1), sizeof *j.statistical);
    if (!j.statistical)
        status = mp_fail(err, MP_EMEMORY, "judge: no memory for %lld rows", (long long)j.s.rows);
    if (status == MP_OK)
        status = mp_span_propagate(&j, judgement, mp_span_stages(judgement, last), last, j.s.rows * j.s.width,
                                   measure, &j.s, err);
    if (status == MP_OK) {
        judge_rows(&j);
        const int64_t measured = j.s.measure.f.compared;
        mp_stage_judge_finish(&j.s);
        if (j.unbounded > 0 && measured == 0) mp_stage_has_no_bound(judgement, last, "any element");
        if (j.unbounded > 0 && measured > 0) tell_unbounded(&j, measured);
    } else {
        mp_stage_judge_drop(&j.s);
    }
    free(j.statistical);
    return status;
}
