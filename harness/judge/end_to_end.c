/* SPDX-License-Identifier: Apache-2.0 */
/* The final output against float64 from the inputs. Each stage's own figures do not add up to this one.
 *
 * Float64 quantises no activation. Where the case does, a bound of the difference is composed from stage to
 * stage (judge_span.c), all of them one span from the inputs on:
 *
 *   quant_x    a code stands for a number within q(x) = mp_quant_error of x, at the scale that was used;
 *   gate_up    a sum over k of numbers that are off by q(x_k) is off by at most sum q(x_k) |w_k|, and the
 *              accumulation by its own bound of the magnitudes there are;
 *   act        the worst that the activation makes of gate and up within these radii;
 *   quant_act  a number v within r of its float64 value becomes one within r + q(|v| + r): q grows with |v|;
 *   down, combine  as gate_up; and each store of a tensor adds its rounding.
 *
 * A right subject is never beyond it: max_ratio is at most 1. With every accumulation and store exact,
 * quantising activations alone is left: quant_bound. Scales are those that the subject shows, which quant_x
 * and quant_act are judged by; of scales that it does not show, the largest possible. Errors of many terms
 * never all have their worst sign: max_ratio of a right subject is far below 1, a hundredth is usual. */
#include "harness/judge/judge.h"
#include "base/threads.h"
#include "harness/judge/check_tokens.h"
#include "harness/judge/span.h"
#include "harness/phases.h"
#include "harness/progress.h"
#include "cases/scheme.h"
#include "ref/engine.h"
#include "ref/pipeline.h"

#include <math.h>
#include <stdlib.h>

/* What rows come to, found by one thread of them or by all. */
typedef struct part {
    double max_abs, max_rms;
    bool odd; /* an error that is no number, or a number where none is right */
    mp_bound_figures bound;
} part;

static part nothing(void) {
    return (part){.bound = mp_no_bound_figures()};
}

static void add_part(part *all, const part *p) {
    all->max_abs = fmax(all->max_abs, p->max_abs);
    all->max_rms = fmax(all->max_rms, p->max_rms);
    all->odd = all->odd || p->odd;
    mp_bound_figures_merge(&all->bound, &p->bound);
}

static void add_token(part *p, const mp_token_figures *token) {
    p->max_abs = fmax(p->max_abs, token->max_abs);
    p->odd = p->odd || token->odd > 0;
    if (token->error2 > 0) p->max_rms = fmax(p->max_rms, sqrt(token->error2 / token->value2));
}

/* A token's elements of the output beside their float64 values; `at` is the first of them in the output. */
static mp_token_figures measure_token(const mp_tensor *got, int64_t at, const double *value, int64_t width) {
    mp_token_figures figures = {0};
    for (int64_t i = 0; i < width; i++)
        mp_token_figures_add(&figures, mp_decode(got->dtype, got->data, at + i), value[i]);
    return figures;
}

static mp_stage_figures figures_of(const part *p, int64_t compared) {
    const mp_bound_figures *b = &p->bound;
    return (mp_stage_figures){.compared = compared,
                              .failed = b->failed,
                              .max_abs = p->odd ? (double)NAN : p->max_abs,
                              .max_row_rms = p->odd ? (double)NAN : p->max_rms,
                              .max_ratio = b->max_ratio,
                              .quant_bound = b->quant_bound,
                              .worst_index = b->worst,
                              .worst_value = b->worst_got,
                              .worst_expected = b->worst_value,
                              .worst_bound = b->worst_bound};
}

/* All tokens, by the engine where it has a pipeline for itself; rules: with bounds, NULL: without. */
static mp_status measure_by_engine(const mp_judgement *j, const mp_ball_rules *rules, part *all,
                                   mp_error *err) {
    const int64_t M = j->c->M, width = mp_tensor_count(&j->t[MP_OUT]) / M;
    mp_token_figures *figures = calloc((size_t)M, sizeof *figures);
    mp_bound_figures *bounds = rules ? calloc((size_t)M, sizeof *bounds) : NULL;
    mp_status status = MP_EUNSUPPORTED;
    if (!figures || (rules && !bounds)) {
        status = mp_fail(err, MP_EMEMORY, "no memory for figures of %lld tokens", (long long)M);
    } else if (j->engine->end_to_end) {
        mp_error own = {0};
        status = j->engine->end_to_end(j->engine, j->c, j->in, &j->t[MP_OUT], rules, figures, bounds, &own);
        if (status == MP_OK) status = mp_check_tokens(j, figures, bounds, &own);
        if (status != MP_OK && status != MP_EUNSUPPORTED && err) *err = own;
    }
    for (int64_t m = 0; m < M && status == MP_OK; m++) {
        add_token(all, &figures[m]);
        if (!rules) continue;
        if (bounds[m].worst >= 0) bounds[m].worst += m * width;
        mp_bound_figures_merge(&all->bound, &bounds[m]);
    }
    free(figures);
    free(bounds);
    return status;
}

/* Of many tokens the pipeline of ref/ measures these windows, the first and the last token among them. No
 * check reads the figures; those of 70000 tokens took a seventh of all the time of the case. */
enum { WINDOWS = 4, WINDOW_TOKENS = MP_END_TO_END_TOKENS / WINDOWS };

/* Tokens first .. first+count, a slab at a time; exact: room for one. */
static mp_status measure_window(const mp_judgement *j, const mp_tensor *exact, int64_t first, int64_t count,
                                mp_token_figures *figures, mp_error *err) {
    const mp_tensor *got = &j->t[MP_OUT];
    const int64_t slab = exact->dim[0], width = mp_tensor_count(got) / j->c->M; /* elements of a token */
    for (int64_t at = first; at < first + count; at += slab) {
        mp_tensor window = *exact;
        window.dim[0] = first + count - at < slab ? first + count - at : slab;
        const mp_status status = mp_ref_exact(j->c, j->in, j->engine, at, window.dim[0], &window, err);
        if (status != MP_OK) return status;
        const double *value = exact->data;
#pragma omp parallel for schedule(static) if (mp_worth_threads(window.dim[0], 4 * width))
        for (int64_t m = 0; m < window.dim[0]; m++)
            figures[at + m] = measure_token(got, (at + m) * width, value + m * width, width);
    }
    return MP_OK;
}

static mp_status measure_tokens(const mp_judgement *j, mp_token_figures *figures, int64_t *measured,
                                mp_error *err) {
    const mp_case *c = j->c;
    const int64_t slab = mp_slab_tokens(c, mp_case_w1_rows(c) + c->N + 2 * c->K);
    mp_tensor exact = c->mode == MP_MODE_NO_COMBINE ? mp_tensor_shape(MP_FP64, 3, slab, c->topk, c->K)
                                                    : mp_tensor_shape(MP_FP64, 2, slab, c->K, 1);
    const int windows = c->M > MP_END_TO_END_TOKENS ? WINDOWS : 1;
    const int64_t count = windows > 1 ? WINDOW_TOKENS : c->M;
    mp_status status = mp_tensor_alloc(&exact, MP_POISON_A, err);
    for (int w = 0; w < windows && status == MP_OK; w++)
        status = measure_window(j, &exact, windows > 1 ? w * (c->M - count) / (windows - 1) : 0, count,
                                figures, err);
    mp_tensor_free(&exact);
    *measured = windows * count;
    return status;
}

/* Final output against the exact pipeline. */
static mp_status measure(const mp_judgement *j, mp_error *err) {
    const int64_t M = j->c->M, elements = mp_tensor_count(&j->t[MP_OUT]);
    int64_t measured = M;
    part all = nothing();
    mp_status status = measure_by_engine(j, NULL, &all, err);
    if (status == MP_EUNSUPPORTED) {
        mp_token_figures *figures = calloc((size_t)M, sizeof *figures);
        status = figures ? measure_tokens(j, figures, &measured, err)
                         : mp_fail(err, MP_EMEMORY, "no memory for figures of %lld tokens", (long long)M);
        for (int64_t m = 0; m < M && status == MP_OK; m++) add_token(&all, &figures[m]);
        free(figures);
    }
    if (status == MP_OK) j->v->end_to_end = figures_of(&all, elements / M * measured);
    return status;
}

/* ---- with the bound of what quantises activations ---- */

static mp_bounded_store store_of(const mp_judgement *j) {
    const mp_dtype dtype = j->t[MP_OUT].dtype;
    return (mp_bounded_store){mp_places_of(dtype), mp_store_rounds(j->contract, dtype)};
}

/* Row `row` of balls beside the elements of the output from `at` on. */
static void bound_row(const mp_tensor *got, const mp_bounded_store *store, const mp_balls *out, int64_t row,
                      int64_t at, mp_bound_figures *figures) {
    enum { PIECE = 256 };
    double stored[PIECE];
    for (int64_t k = 0; k < out->width; k++) {
        const int64_t rest = out->width - k;
        if (k % PIECE == 0) mp_decode_row(got->dtype, got->data, at + k, rest < PIECE ? rest : PIECE, stored);
        const mp_ball b = mp_ball_get(out, row * out->width + k);
        mp_bound_figures_add(figures, store, at + k, stored[k % PIECE], &b);
    }
}

/* Rows of the output are measured by tokens: with no_combine of topk slots each. */
static void take_slab(void *ctx, mp_span *span, const mp_balls *out, int64_t first_row) {
    const mp_tensor *got = &span->j->t[MP_OUT];
    const int32_t *ids = span->j->t[MP_TOPK_IDS].data;
    const bool slots = mp_stage_rows_are_slots(span->last);
    const int64_t rows = slots ? span->part.topk : 1, width = rows * out->width;
    const mp_bounded_store store = store_of(span->j);
    part *all = ctx;
#pragma omp parallel
    {
        part mine = nothing();
#pragma omp for schedule(static)
        for (int64_t m = 0; m < out->rows / rows; m++) {
            const int64_t first = first_row + m * rows;
            const mp_token_figures token =
                measure_token(got, first * out->width, mp_ball_at(&out->value, m * width), width);
            add_token(&mine, &token);
            for (int64_t r = 0; r < rows; r++)
                if (!slots || ids[first + r] >= 0)
                    bound_row(got, &store, out, m * rows + r, (first + r) * out->width, &mine.bound);
        }
#pragma omp critical(mp_end_to_end)
        add_part(all, &mine);
    }
}

static mp_status measure_within_bounds(const mp_judgement *j, mp_error *err) {
    const int64_t elements = mp_tensor_count(&j->t[MP_OUT]);
    const mp_contract exact = mp_exact_but_for_codes(j->contract);
    mp_span span = {.shown_scales = true, .beside = &exact}, whole = span;
    part all = nothing();
    mp_stage last = MP_COMBINE;
    while (!mp_case_has_stage(j->c, last)) last--;
    mp_span_begin(&whole, j, MP_ALL_STAGES, last, elements);
    mp_status status = mp_span_window(&whole, 0, j->c->M, err);
    if (status == MP_OK) {
        const mp_ball_rules rules = mp_span_ball_rules(&whole);
        status = measure_by_engine(j, &rules, &all, err);
    }
    free(whole.map.memory);
    if (status == MP_EUNSUPPORTED)
        status = mp_span_propagate(&span, j, MP_ALL_STAGES, last, elements, take_slab, &all, err);
    if (status == MP_OK) j->v->end_to_end = figures_of(&all, elements);
    return status;
}

mp_status mp_measure_end_to_end(const mp_case *c, const mp_contract *contract, const mp_inputs *in,
                                const mp_trace *trace, const mp_engine *engine, mp_verdict *v,
                                mp_error *err) {
    mp_judgement j;
    if (c->scope != MP_SCOPE_ALL || !trace->t[MP_OUT].data) return MP_OK;
    const mp_phase before = mp_phase_enter(MP_PHASE_MODEL);
    mp_status status = mp_judgement_open(c, contract, NULL, in, trace, MP_POISON_A, engine, v, &j, err);
    if (status == MP_OK && !mp_judgement_lacks(&j, MP_ALL_STAGES) && mp_judgement_lost_slots(&j) == 0) {
        mp_progress("", "judge");
        if (c->M > 0)
            status =
                mp_scheme_of(c)->quantises_activations ? measure_within_bounds(&j, err) : measure(&j, err);
    }
    mp_judgement_close(&j);
    mp_phase_enter(before);
    return status;
}
