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
 *   gate_up, down  acc = sum v*w: sure = sum s|w| + rel*(mass + sum s|w|) + abs, det the same from det,
 *                  random = sqrt(sum (r w)^2). Errors of different k belong to different columns:
 *                  independent. The epilogue adds its roundings (det) and scales by the router weight.
 *   act            Lipschitz on the interval: ref/activation.h
 *   combine        errors of a token's slots may be the same (an expert twice in a token): their random radii
 *                  are added, not squared.
 *
 * Each store to dtype then adds half an ulp of the largest possible value: to sure, and lambda times that in
 * quadrature to random. What may overflow on the way has no bound: such elements are left out. */
#include "harness/judge/judge_gemm.h"

#include "cases/graph_tables.h"
#include "harness/answers.h"
#include "harness/judge/judge.h"
#include "ref/activation.h"
#include "ref/combine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ODDS 1e-9
enum { SLAB_BYTES = 128 << 20 };

/* A tensor of balls, float64, [rows, width]. exact: all radii are zero, and value alone is there. */
typedef struct balls {
    mp_tensor value, sure, det, random;
    int64_t rows, width;
    bool exact;
} balls;

typedef struct span_judge {
    const mp_judgement *j;
    mp_stage first, last;
    double lambda;
    mp_case part; /* the tokens of the slab */
    mp_tensor t[MP_TENSOR_COUNT];
    mp_slot_map map;                  /* route order: nobody sees these rows */
    double largest_w[MP_STAGE_COUNT]; /* of the weights of each GEMM; < 0: not known yet */
    mp_stage_judge s;
    int64_t unbounded;   /* elements of which no finite bound is known */
    double *statistical; /* [rows of the whole output]: sum of squares of det + random + half an ulp */
} span_judge;

static mp_status balls_create(balls *b, int64_t rows, int64_t width, bool exact, mp_error *err) {
    mp_tensor *const parts[] = {&b->value, &b->sure, &b->det, &b->random};
    mp_status status = MP_OK;
    *b = (balls){.rows = rows, .width = width, .exact = exact};
    for (int i = 0; i < (exact ? 1 : 4) && status == MP_OK; i++) {
        *parts[i] = mp_tensor_shape(MP_FP64, 2, rows, width, 1);
        status = mp_tensor_alloc(parts[i], 0, err);
    }
    return status;
}

static void balls_destroy(balls *b) {
    mp_tensor_free(&b->value);
    mp_tensor_free(&b->sure);
    mp_tensor_free(&b->det);
    mp_tensor_free(&b->random);
}

static double *at(const mp_tensor *t, int64_t i) {
    return (double *)t->data + i;
}

/* Stores the element: the radii grow by the rounding to dtype, the value stays exact. The last stage's own
 * store is left to the measurement. */
static void store(const span_judge *j, mp_stage stage, mp_dtype dtype, balls *b, int64_t i, double value,
                  double sure, double det, double random) {
    const bool rounds = stage != j->last && mp_store_rounds(j->j->contract, dtype);
    const double reach = fabs(value) + sure, half = rounds ? mp_half_ulp(dtype, reach) : 0;
    const bool overflows = stage != j->last && reach + half > mp_dtype_format(dtype)->max_finite;
    *at(&b->value, i) = value;
    *at(&b->sure, i) = overflows ? (double)INFINITY : sure + half;
    *at(&b->det, i) = det;
    *at(&b->random, i) = hypot(random, j->lambda * half);
}

/* What the subject exposes of the span's input, decoded row by row, in slots. */
static mp_status gather(const span_judge *j, mp_tensor_id id, int64_t first_slot, int64_t slots, balls *b,
                        mp_error *err) {
    const mp_tensor *from = mp_as_read(j->j->t, id);
    const int64_t width = mp_tensor_row_length(from);
    const mp_status status = balls_create(b, slots, width, true, err);
    for (int64_t t = 0; status == MP_OK && t < slots; t++)
        mp_decode_row(from->dtype, from->data, j->j->map.cache_row[first_slot + t] * width, width,
                      at(&b->value, t * width));
    return status;
}

/* ---- the GEMMs ---- */

typedef struct gemm_pass {
    const span_judge *j;
    mp_stage stage;
    mp_stage_gemm gemm;
    mp_sum_bound bound;
    const balls *in;
    balls *out;
    enum pass { VALUES, SURE, DET, RANDOM } pass;
    double *mass; /* [rows, width]: of the values */
} gemm_pass;

static void collect(void *ctx, const mp_gemm_tile *tile) {
    const gemm_pass *g = ctx;
    const int64_t width = g->out->width;
    mp_tensor *const to[] = {&g->out->value, &g->out->sure, &g->out->det, &g->out->random};
    for (int64_t i = 0; i < tile->count; i++)
        for (int64_t n = 0; n < tile->n; n++) {
            const int64_t from = i * tile->n + n, index = tile->slot[i] * width + tile->n0 + n;
            /* Radii are not negative: their products' magnitudes are the sums wanted. */
            const bool magnitudes = g->pass == SURE || g->pass == DET;
            *at(to[g->pass], index) = magnitudes ? tile->mass[from] : tile->value[from];
            if (g->pass == VALUES) g->mass[index] = tile->mass[from];
        }
}

/* Sums of squares are sums of products of squares: w^2 is w scaled by itself. */
static mp_status run_pass(gemm_pass *g, enum pass pass, const mp_tensor *a, mp_error *err) {
    mp_gemm_problem p = g->gemm.problem;
    p.a = (mp_operand){.codes = a};
    p.a_row = g->j->map.cache_row;
    if (g->stage == MP_GATE_UP) { /* x is exposed: it has a row a token */
        p.a = g->gemm.problem.a;
        p.a_row = g->gemm.problem.a_row;
    }
    g->pass = pass;
    if (pass == RANDOM)
        p.w = (mp_operand){.codes = p.w.codes, .scale = p.w.codes, .block_rows = 1, .block_columns = 1};
    return mp_gemm_float64(g->j->j->engine, &p, pass != RANDOM, collect, g, err);
}

static mp_status radii_of_gemm(gemm_pass *g, mp_error *err) {
    const balls *in = g->in;
    balls squares = {0};
    if (!in || in->exact) return MP_OK; /* zeros, as allocated */
    mp_status status = run_pass(g, SURE, &in->sure, err);
    if (status == MP_OK) status = run_pass(g, DET, &in->det, err);
    if (status == MP_OK) status = balls_create(&squares, in->rows, in->width, true, err);
    for (int64_t i = 0; status == MP_OK && i < in->rows * in->width; i++)
        *at(&squares.value, i) = *at(&in->random, i) * *at(&in->random, i);
    if (status == MP_OK) status = run_pass(g, RANDOM, &squares.value, err);
    balls_destroy(&squares);
    return status;
}

/* An upper bound of the magnitudes of what the subject has there. */
static double largest_ball(const balls *b) {
    double largest = 0;
    for (int64_t i = 0; i < b->rows * b->width; i++) {
        const double reach = fabs(*at(&b->value, i)) + (b->exact ? 0 : *at(&b->sure, i));
        if (isfinite(reach) && reach > largest) largest = reach;
    }
    return largest;
}

static mp_status propagate_gemm(span_judge *j, mp_stage stage, const balls *in, balls *out, mp_error *err) {
    const mp_stage_call call = {.c = &j->part, .t = j->t, .map = &j->map};
    gemm_pass g = {.j = j, .stage = stage, .gemm = mp_gemm_of_stage(&call, stage), .in = in, .out = out};
    const mp_tensor_id id = mp_stage_output(&j->part, stage);
    const mp_dtype dtype = mp_case_dtype(&j->part, id);
    const mp_gemm_problem *p = &g.gemm.problem;
    if (j->largest_w[stage] < 0) j->largest_w[stage] = mp_largest_magnitude(p->w.codes);
    const double largest_a = in ? largest_ball(in) : mp_largest_magnitude(p->a.codes);
    g.bound = mp_gemm_bound(mp_stage_gemm_contract(j->j->contract, stage), p->w.codes->dtype,
                            p->w.codes->dim[2], fmax(largest_a, j->largest_w[stage]));
    const int64_t rows = mp_case_slots(&j->part), width = g.gemm.problem.w.codes->dim[1];
    mp_status status = balls_create(out, rows, width, false, err);
    g.mass = calloc((size_t)(rows * width), sizeof *g.mass);
    if (status == MP_OK && !g.mass) status = mp_fail(err, MP_EMEMORY, "judge: no memory for a span's sums");
    if (status == MP_OK) status = run_pass(&g, VALUES, in ? &in->value : NULL, err);
    if (status == MP_OK) status = radii_of_gemm(&g, err);
    const int32_t *ids = j->t[MP_TOPK_IDS].data;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < (status == MP_OK ? rows : 0); t++)
        for (int64_t n = 0; n < width && ids[t] >= 0; n++) {
            const int64_t i = t * width + n;
            const double acc = *at(&out->value, i), handed = *at(&out->sure, i),
                         accumulation = g.bound.rel * (g.mass[i] + handed) + g.bound.abs;
            const double factor = mp_epilogue_factor(&g.gemm.epilogue, ids[t], t);
            double value, sure, det;
            mp_epilogue_expect(j->j->contract, &g.gemm.epilogue, acc, handed + accumulation, ids[t], n, t,
                               &value, &sure);
            mp_epilogue_expect(j->j->contract, &g.gemm.epilogue, acc, *at(&out->det, i) + accumulation,
                               ids[t], n, t, &value, &det);
            store(j, stage, dtype, out, i, value, sure, det, factor * sqrt(*at(&out->random, i)));
        }
    free(g.mass);
    return status;
}

/* ---- the activation ---- */

static mp_status propagate_act(span_judge *j, mp_stage stage, const balls *in, balls *out, mp_error *err) {
    const mp_case *c = &j->part;
    const int64_t rows = in->rows, N = c->N;
    const mp_dtype dtype = mp_case_dtype(c, MP_CACHE2);
    const int32_t *ids = j->t[MP_TOPK_IDS].data;
    const mp_status status = balls_create(out, rows, N, false, err);
    if (status != MP_OK) return status;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < rows; t++)
        for (int64_t n = 0; n < N && ids[t] >= 0; n++) {
            const int64_t g = t * in->width + mp_gate_column(c, n), u = t * in->width + mp_up_column(c, n);
            const bool gated = c->gated, exact = in->exact;
            mp_activation_span span;
            mp_activation_propagate(c, j->j->contract, *at(&in->value, g), exact ? 0 : *at(&in->det, g),
                                    exact ? 0 : *at(&in->random, g), gated ? *at(&in->value, u) : 1,
                                    gated && !exact ? *at(&in->det, u) : 0,
                                    gated && !exact ? *at(&in->random, u) : 0, &span);
            const double sure = mp_activation_interval_bound(
                c, j->j->contract, *at(&in->value, g), exact ? 0 : *at(&in->sure, g),
                gated ? *at(&in->value, u) : 1, gated && !exact ? *at(&in->sure, u) : 0);
            store(j, stage, dtype, out, t * N + n, span.value, sure, span.sure, span.random);
        }
    return MP_OK;
}

/* ---- combine ---- */

static mp_status propagate_combine(span_judge *j, mp_stage stage, const balls *in, balls *out,
                                   mp_error *err) {
    (void)stage;
    const mp_case *c = &j->part;
    const int64_t K = c->K, topk = c->topk;
    const int32_t *ids = j->t[MP_TOPK_IDS].data;
    const double rsf = fabs(mp_combine_rsf(c));
    const mp_status status = balls_create(out, c->M, K, false, err);
    if (status != MP_OK) return status;
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < c->M; m++)
        for (int64_t k = 0; k < K; k++) {
            mp_sum sum = {0};
            double det = 0, random = 0;
            for (int64_t slot = m * topk; slot < (m + 1) * topk; slot++) {
                if (ids[slot] < 0) continue; /* zeros, exactly; or not read */
                const int64_t i = slot * K + k;
                sum.value += (long double)*at(&in->value, i);
                sum.mass += (long double)fabs(*at(&in->value, i));
                sum.terms++;
                if (in->exact) continue;
                sum.error += *at(&in->sure, i);
                det += *at(&in->det, i);
                random += *at(&in->random, i);
            }
            const double sure = mp_combine_bound(c, j->j->contract, sum);
            const double own = sure - rsf * sum.error; /* this stage's own roundings */
            const int64_t i = m * K + k;
            *at(&out->value, i) = mp_combine_value(c, MP_COMBINE_SCALE_THEN_ROUND, sum);
            *at(&out->sure, i) = sure;
            *at(&out->det, i) = rsf * det + own;
            *at(&out->random, i) = rsf * random;
        }
    return MP_OK;
}

/* ---- a slab of tokens ---- */

/* One element of the span's output. What is not finite in float64 must not be finite in the subject, of
 * whatever kind: a zero or an overflow on the way decides between Inf and NaN. */
static void measure_one(span_judge *j, const balls *out, int64_t i, int64_t position, int64_t row,
                        int64_t column, mp_measure *part) {
    mp_stage_judge *s = &j->s;
    const double value = *at(&out->value, i), sure = *at(&out->sure, i);
    const double got = mp_decode(s->got->dtype, s->got->data, position);
    if (isfinite(value) && !isfinite(sure)) {
#pragma omp atomic
        j->unbounded++;
        return;
    }
    const mp_expectation e = {.value = isfinite(value) ? value
                                       : isfinite(got) ? (double)NAN
                                                       : got,
                              .error = sure,
                              .rounded = s->rounded};
    mp_measure_element(part, s->got->dtype, s->got->data, position, row * s->width + column, &e, j->j->poison,
                       s->sums + row * 3);
    if (!isfinite(value)) return;
    const double half = s->rounded ? mp_half_ulp(s->got->dtype, fabs(value) + sure) : 0;
    const double likely = *at(&out->det, i) + *at(&out->random, i) + half;
    j->statistical[row] += likely * likely;
}

static void measure(span_judge *j, const balls *out, int64_t first_row) {
    mp_stage_judge *s = &j->s;
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

/* Every stage through which balls go. */
static mp_status (*const propagate[MP_STAGE_COUNT])(span_judge *, mp_stage, const balls *, balls *,
                                                    mp_error *) = {[MP_GATE_UP] = propagate_gemm,
                                                                   [MP_ACT] = propagate_act,
                                                                   [MP_DOWN] = propagate_gemm,
                                                                   [MP_SUM] = propagate_combine};

static mp_status judge_slab(span_judge *j, int64_t first, int64_t count, mp_error *err) {
    const mp_judgement *judgement = j->j;
    const mp_case *c = judgement->c;
    balls now = {0}, next = {0};
    bool started = false;
    j->part = *c;
    j->part.M = count;
    j->part.layout = MP_ROUTE;
    j->part.path = c->path == MP_CHUNKED ? MP_FUSED : c->path;
    mp_case whole = *c;
    whole.layout = MP_ROUTE;
    mp_token_window(&whole, first, count, judgement->t, j->t);
    mp_status status = mp_slot_map_create(&j->part, NULL, &j->map, err);
    for (int s = (int)j->first; s <= (int)j->last && status == MP_OK; s++) {
        if (!mp_case_has_stage(c, (mp_stage)s)) continue;
        if (!started && s != MP_GATE_UP)
            status =
                gather(j, s == MP_ACT ? MP_CACHE1 : MP_CACHE2, first * c->topk, count * c->topk, &now, err);
        const balls *in = started || s != MP_GATE_UP ? &now : NULL;
        started = true;
        if (status != MP_OK) break;
        status = propagate[s](j, (mp_stage)s, in, &next, err);
        balls_destroy(&now);
        now = next;
        next = (balls){0};
    }
    if (status == MP_OK) measure(j, &now, mp_stage_rows_are_slots(j->last) ? first * c->topk : first);
    balls_destroy(&now);
    free(j->map.memory);
    j->map = (mp_slot_map){0};
    return status;
}

/* Intermediate values may overflow within their bounds: of what comes of them nothing is known. */
static void tell_unbounded(const span_judge *j, int64_t measured) {
    char note[160];
    snprintf(note, sizeof note, "%s..%s: %lld of %lld elements have no finite bound", mp_stage_name(j->first),
             mp_stage_name(j->last), (long long)j->unbounded, (long long)(j->unbounded + measured));
    mp_check_pass_partly(j->j->v, MP_CHECK_BOUND, note);
}

static void judge_rows(const span_judge *j) {
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
    const mp_case *c = judgement->c;
    span_judge j = {.j = judgement, .first = first, .last = last};
    for (int s = (int)first; s <= (int)last; s++) {
        if (!mp_case_has_stage(c, (mp_stage)s) || propagate[s]) continue;
        mp_check_not_judged(judgement->v, MP_CHECK_BOUND, "no bounds are carried through %s",
                            mp_stage_name((mp_stage)s));
        return MP_OK;
    }
    for (int i = 0; i < MP_STAGE_COUNT; i++) j.largest_w[i] = -1;
    mp_status status = mp_stage_judge_start(judgement, first, last, &j.s, err);
    if (status != MP_OK) return status;
    j.lambda = sqrt(2 * log(2 * (double)j.s.rows * (double)j.s.width / ODDS));
    j.statistical = calloc((size_t)(j.s.rows > 0 ? j.s.rows : 1), sizeof *j.statistical);
    if (!j.statistical)
        status = mp_fail(err, MP_EMEMORY, "judge: no memory for %lld rows", (long long)j.s.rows);
    const int64_t per_token = c->topk * (mp_case_w1_rows(c) + c->N + c->K) * 6 * (int64_t)sizeof(double);
    int64_t slab = SLAB_BYTES / per_token;
    slab = slab < 1 ? 1 : slab > c->M ? c->M : slab;
    for (int64_t token = 0; token < c->M && status == MP_OK; token += slab)
        status = judge_slab(&j, token, c->M - token < slab ? c->M - token : slab, err);
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
