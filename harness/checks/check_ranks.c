/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks and shards: the case in parts that each hold a share of its own weights. Every part is run, and
 * judged stage by stage like any case; then the sum of their outputs is compared with float64 of the whole.
 *
 * Each part's output is within its own bound of its own float64, that of all its stages as one span; these
 * float64 values sum to that of the whole, for combine is linear and every slot, and every column of w2, is
 * in one part. So the sum is within the sum of the bounds: `sure` for every element; for the rms of a row
 * `det` is added, `random`, of roundings that are independent from part to part, in quadrature, and half an
 * ulp of the output for each part (docs/numerics.md). */
#include "cases/graph_tables.h"
#include "cases/parts.h"
#include "harness/answers.h"
#include "harness/checks/session.h"
#include "harness/judge/span.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* What the parts add up to, [rows, width]. */
typedef struct sums {
    int64_t rows, width;
    double *got, *sure, *det, *random2;
    bool saturates; /* stores may: Inf of the whole is then a number in some part */
} sums;

static mp_status sums_create(const mp_session *s, sums *sum, mp_error *err) {
    const mp_tensor out = mp_case_shape(&s->row->c, MP_OUT, 16);
    const size_t count = (size_t)mp_tensor_count(&out);
    *sum = (sums){.rows = mp_tensor_rows(&out), .width = mp_tensor_row_length(&out)};
    sum->got = calloc(count > 0 ? 4 * count : 1, sizeof *sum->got);
    if (!sum->got) return mp_fail(err, MP_EMEMORY, "ranks: no memory for sums of %zu elements", count);
    sum->sure = sum->got + count;
    sum->det = sum->sure + count;
    sum->random2 = sum->det + count;
    return MP_OK;
}

/* Of a part whose rows are slots, those of other ranks' slots count where the contract says that they are
 * zeros; else they are nobody's result, and are not summed. An output that may have overflowed has no
 * bound. */
static void add_slab(void *ctx, mp_span *span, const mp_balls *out, int64_t first_row) {
    sums *sum = ctx;
    const mp_judgement *j = span->j;
    const mp_tensor *t = &j->t[MP_OUT];
    const int32_t *ids = j->t[MP_TOPK_IDS].data;
    const bool rounds = mp_store_rounds(j->contract, t->dtype),
               skips =
                   mp_stage_rows_are_slots(span->last) && j->contract->filtered[span->last] != MP_ROW_ZERO;
    const double largest = mp_dtype_format(t->dtype)->max_finite;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < out->rows; r++) {
        if (skips && ids[first_row + r] < 0) continue;
        for (int64_t k = 0; k < out->width; k++) {
            const int64_t from = r * out->width + k, at = (first_row + r) * out->width + k;
            const double sure = *mp_ball_at(&out->sure, from), random = *mp_ball_at(&out->random, from),
                         reach = fabs(*mp_ball_at(&out->value, from)) + sure,
                         half = rounds ? mp_half_ulp(t->dtype, reach) : 0;
            sum->got[at] += mp_decode(t->dtype, t->data, at);
            sum->sure[at] += reach + half > largest ? (double)INFINITY : sure + half;
            sum->det[at] += *mp_ball_at(&out->det, from) + half;
            sum->random2[at] += random * random;
        }
    }
}

static mp_stage last_stage(const mp_case *c) {
    return mp_case_has_stage(c, MP_COMBINE) ? MP_COMBINE : MP_DOWN;
}

/* Runs a part, judges it, and adds its output. */
static mp_status add_part(mp_session *s, const char *text, const mp_case *c, const mp_inputs *in, sums *sum,
                          mp_error *err) {
    const mp_offer *offer;
    mp_left left = {0};
    mp_judgement j = {0};
    mp_status status = mp_session_offer(s, s->options->subject, c, &offer, err);
    if (status == MP_OK)
        status = mp_session_run(s, text, s->options->subject, c, in, MP_POISON_B, &left, err);
    if (status == MP_OK) status = mp_left_fetch(&left, err);
    if (status == MP_OK && !left.trace.t[MP_OUT].data)
        status = mp_fail(err, MP_EUNSUPPORTED, "the subject leaves no output to sum");
    if (status == MP_OK)
        status = mp_judgement_open(c, &offer->contract, &offer->config, in, &left.trace, MP_POISON_B,
                                   s->engine, s->v, &j, err);
    /* A part that is wrong for itself is told as such: the sum would only say that some part is. */
    const mp_other_run part = {c, offer, in, &left.trace, MP_POISON_B};
    if (status == MP_OK) status = mp_session_judge(s, &part, MP_JUDGE_ALL, MP_CHECK_RANKS, text, NULL, err);
    if (status == MP_OK) {
        mp_span span = {0};
        status = mp_span_propagate(&span, &j, MP_ALL_STAGES, last_stage(c), sum->rows * sum->width, add_slab,
                                   sum, err);
    }
    mp_offload_rest(s->offload);
    mp_judgement_close(&j);
    mp_left_destroy(&left);
    return status;
}

/* The sums against float64 of the whole. */
typedef struct found {
    mp_where where;
    mp_pattern failures;
    int64_t unbounded, worst_index, bad_row;
    double worst_ratio, worst_expected, worst_bound, row_error, row_bound;
} found;

/* float64 of the whole is a sum of its own, in float64: it errs by no more than a part that accumulates so, a
 * part for each shard of N. A bound of float32 sums is 2^29 times that. */
static double own_error(const mp_contract *contract, int64_t shards) {
    const bool float64 = contract->float64_steps || contract->gate_up.accumulator == MP_ACC_FLOAT64 ||
                         contract->down.accumulator == MP_ACC_FLOAT64;
    return (double)shards * (float64 ? 1 : 0x1p-28);
}

static void measure_row(const sums *sum, int64_t row, const double *expected, double own, found *f) {
    double error2 = 0, likely2 = 0;
    for (int64_t k = 0; k < sum->width; k++) {
        const int64_t i = row * sum->width + k;
        const double got = sum->got[i], bound = sum->sure[i] + own * sum->det[i];
        if (isfinite(expected[k]) ? !isfinite(bound) : sum->saturates) {
            f->unbounded++;
            continue;
        }
        const bool finite = isfinite(expected[k]) && isfinite(got);
        const double error = finite ? fabs(got - expected[k]) : 0,
                     ratio = finite                                   ? error == 0 ? 0 : error / bound
                             : isfinite(expected[k]) != isfinite(got) ? (double)INFINITY
                                                                      : 0;
        if (!(ratio <= 1)) mp_pattern_add(&f->failures, row, k);
        if (f->worst_index < 0 || ratio > f->worst_ratio) {
            f->worst_index = i;
            f->worst_ratio = ratio;
            f->worst_expected = expected[k];
            f->worst_bound = bound;
        }
        if (!finite) continue;
        const double likely = (1 + own) * sum->det[i] + sqrt(sum->random2[i]);
        error2 += error * error;
        likely2 += likely * likely;
    }
    if (f->bad_row >= 0 || sqrt(error2) <= sqrt(likely2) * (1 + 0x1p-40)) return;
    f->bad_row = row;
    f->row_error = sqrt(error2);
    f->row_bound = sqrt(likely2);
}

static mp_status measure(const mp_session *s, const sums *sum, double own, found *f, mp_error *err) {
    const mp_case *c = &s->row->c;
    const int64_t rows_of_token = c->M > 0 ? sum->rows / c->M : 0,
                  slab = mp_slab_tokens(c, mp_case_w1_rows(c) + c->N + 2 * c->K);
    mp_tensor exact = mp_case_shape(c, MP_OUT, 16);
    exact.dtype = MP_FP64;
    exact.dim[0] = slab;
    mp_status status = mp_tensor_alloc(&exact, MP_POISON_A, err);
    for (int64_t first = 0; status == MP_OK && first < c->M; first += slab) {
        mp_tensor window = exact;
        window.dim[0] = c->M - first < slab ? c->M - first : slab;
        status = mp_ref_exact(c, s->in, s->engine, first, window.dim[0], &window, err);
        for (int64_t r = 0; r < window.dim[0] * rows_of_token && status == MP_OK; r++)
            measure_row(sum, first * rows_of_token + r, mp_tensor_row(&window, r), own, f);
    }
    mp_tensor_free(&exact);
    return status;
}

static void answer(mp_session *s, const char *text, const sums *sum, const found *f) {
    char place[MP_WHERE_TEXT_MAX], pattern[MP_WHERE_TEXT_MAX];
    const int64_t compared = sum->rows * sum->width - f->unbounded;
    if (f->failures.count > 0) {
        mp_place_text(&f->where, f->worst_index / sum->width, f->worst_index % sum->width, place);
        mp_pattern_text(&f->where, &f->failures, pattern);
        mp_check_fail(s->v, MP_CHECK_RANKS,
                      "%s: the parts sum to %.9g in %s instead of %.9g +- %.3g; %lld of %lld sums fail: %s",
                      text, sum->got[f->worst_index], place, f->worst_expected, f->worst_bound,
                      (long long)f->failures.count, (long long)compared, pattern);
    } else if (f->bad_row >= 0) {
        mp_place_text(&f->where, f->bad_row, -1, place);
        mp_check_fail(s->v, MP_CHECK_RANKS,
                      "%s: the sums of %s have an rms error of %.3g; roundings that are independent stay "
                      "below %.3g, but for odds of 1e-9",
                      text, place, f->row_error, f->row_bound);
    } else if (compared == 0) {
        mp_check_not_judged(s->v, MP_CHECK_RANKS, "%s: %s", text,
                            f->unbounded ? "no element has a finite bound" : "there is nothing to sum");
    } else if (f->unbounded > 0) {
        char note[160];
        snprintf(note, sizeof note, "%s: %lld of %lld sums have no finite bound", text,
                 (long long)f->unbounded, (long long)(sum->rows * sum->width));
        mp_check_pass_partly(s->v, MP_CHECK_RANKS, note);
    } else {
        mp_check_pass(s->v, MP_CHECK_RANKS);
    }
}

/* All parts of one kind. */
static mp_status check_kind(mp_session *s, const mp_case *part, const char *text, mp_error *err) {
    const mp_case *whole = &s->row->c;
    const int64_t parts = mp_case_parts(whole, part);
    sums sum;
    found f = {.where = mp_where_of(whole, s->in->t, NULL, MP_GATE_UP, last_stage(whole)),
               .worst_index = -1,
               .bad_row = -1};
    mp_status status = sums_create(s, &sum, err);
    f.where.width = sum.width;
    sum.saturates = mp_store_overflow(&s->offer.contract, whole->dtype) != MP_OVERFLOW_INF;
    if (status == MP_OK) status = mp_pattern_start(&f.failures, sum.rows, err);
    for (int64_t i = 0; i < parts && status == MP_OK; i++) {
        const mp_case c = mp_case_part(whole, part, i);
        char name[MP_PART_NAME_MAX], what[160];
        mp_inputs in = {0};
        mp_case_part_name(whole, part, i, name);
        snprintf(what, sizeof what, "%.80s: %s", text, name);
        status = mp_inputs_part(whole, s->in, part, i, &in, err);
        if (status == MP_OK) status = add_part(s, what, &c, &in, &sum, err);
        mp_inputs_destroy(&in);
    }
    if (status == MP_OK)
        status = measure(s, &sum, own_error(&s->offer.contract, whole->N / part->N), &f, err);
    mp_offload_rest(s->offload);
    if (status == MP_OK) answer(s, text, &sum, &f);
    mp_pattern_free(&f.failures);
    free(sum.got);
    return status;
}

mp_status mp_check_ranks(mp_session *s, mp_error *err) {
    bool asked = false;
    for (size_t i = 0; i < s->row->pair_count; i++) {
        mp_error why = {0};
        if (!mp_case_is_part(&s->row->c, &s->row->pairs[i])) continue;
        asked = true;
        const mp_status status = check_kind(s, &s->row->pairs[i], s->row->pair_text[i], &why);
        if (status == MP_EUNSUPPORTED) {
            mp_check_not_judged(s->v, MP_CHECK_RANKS, "%s: %s", s->row->pair_text[i], why.text);
        } else if (status != MP_OK) {
            if (err) *err = why;
            mp_error_prefix(err, "%s", s->row->pair_text[i]);
            return status;
        }
    }
    if (!asked) mp_check_not_judged(s->v, MP_CHECK_RANKS, "no ranks or shards given");
    return MP_OK;
}
