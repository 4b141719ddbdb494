/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of a token are norms of vectors: of errors e = stored - v and of values v. Another float64 pipeline
 * has v' with |v - v'| <= d, element by element; so | |e| - |e'| | <= |d|, | |v| - |v'| | <= |d| and the
 * largest errors differ by no more than the largest d. The radii d are those of a span from the inputs to the
 * output (judge_span.c) under a contract in which everything is float64: sums in any order, the functions of
 * a device. Figures that agree so closely were made of the same stored numbers, all of them, and of values
 * that are right: a norm has all digits of a float64.
 *
 * Where activations are quantised the values are the same (float64 quantises none), and figures have bounds
 * beside them. Radii are sums of magnitudes: in another order they are within `apart` of each other,
 * relatively, with what d makes of them. A quantiser is off by 2^-8 of a magnitude or more, whereas d is made
 * of 2^-53 for each term: it is below 2^-44 terms of any radius that it enters. Half places jump where a
 * magnitude crosses a power of two; that d makes one cross it has odds of 2^-44 terms an element, which are
 * taken. */
#include "harness/judge/check_tokens.h"

#include "cases/graph_tables.h"
#include "harness/judge/judge.h"
#include "harness/judge/span.h"
#include "offload/cross_check.h"
#include "offload/device/activation.h"
#include "ref/engine.h"

#include <math.h>
#include <stdlib.h>

/* The CPU computes all slots of a token, with radii: of few tokens, or of one that reads so many weights, it
 * computes one, and others where nothing can be said of that one. */
enum { FEW_TOKENS = 16 * MP_CROSS_CHECKED };
#define MANY_WEIGHTS 0x1p26

typedef struct check {
    const mp_token_figures *figures;
    const mp_bound_figures *bounds;
    int64_t width, seen;              /* elements of a token; tokens so far */
    int64_t with_values, with_bounds; /* tokens whose comparison said something: one of zeros says nothing */
    double *radius;                   /* [tokens, width] d of those that are checked, in their order */
    mp_bounded_store store;
    double apart;
    mp_status status;
    mp_error *err;
} check;

/* What the pipeline of the device is, apart from the order of its sums: as that of ref/, with CUDA's
 * functions. Of balls it is the contract's in what clamps make of a NaN. */
static mp_contract float64_contract(const mp_judgement *j, bool balls) {
    mp_contract exact = mp_exact_but_for_codes(j->contract);
    exact.act_ulps = MP_ACT64_ULPS;
    exact.act_ulps_per_argument = j->c->act == MP_GELU_TANH ? MP_ACT64_ULPS_PER_ARGUMENT : 0;
    if (!balls) exact.act_clamp_nan = MP_CLAMP_NAN_KEPT;
    return exact;
}

static bool within(double a, double b, double bound) {
    return a == b || fabs(a - b) <= bound;
}

/* A sum of squares is within (width + 3) u of what its terms come to, its root within half of that and
 * another u; squares that underflow lose 2^-1075 each, of the root no more than sqrt(width) 2^-537. */
static void compare(void *ctx, mp_span *span, const mp_balls *out, int64_t first_row) {
    check *k = ctx;
    const mp_tensor *got = &span->j->t[MP_OUT];
    const int64_t token = span->first_token;
    double *const radii = k->radius + k->seen++ * k->width;
    const mp_token_figures *by_device = &k->figures[token];
    mp_token_figures by_cpu = {0};
    double radius2 = 0, radius = 0;
    for (int64_t i = 0; i < k->width; i++) {
        const mp_ball b = mp_ball_get(out, i);
        mp_token_figures_add(&by_cpu, mp_decode(got->dtype, got->data, first_row * out->width + i), b.value);
        radii[i] = b.det >= 0 ? b.det : INFINITY; /* NaN: a weight of zero times a radius of Inf */
        if (!mp_is_finite(b.value)) continue;
        radius = fmax(radius, radii[i]); /* Inf: it is not known how far the values may be apart */
        radius2 += radii[i] * radii[i];
    }
    const double rounding = ((double)k->width + 6) * 0x1p-53, lost = sqrt((double)k->width) * 0x1p-536,
                 errors = sqrt(by_cpu.error2), values = sqrt(by_cpu.value2),
                 apart = sqrt(radius2) * (1 + rounding) + lost;
    if (k->status != MP_OK || !isfinite(radius)) return;
    k->with_values += values > apart;
    if (by_device->odd == by_cpu.odd && by_device->elements == by_cpu.elements &&
        within(by_device->max_abs, by_cpu.max_abs, radius + 0x1p-51 * by_cpu.max_abs) &&
        within(sqrt(by_device->error2), errors, apart + rounding * errors) &&
        within(sqrt(by_device->value2), values, apart + rounding * values))
        return;
    k->status =
        mp_fail(k->err, MP_EDEVICE,
                "the judge on the device is wrong: token %lld of the output: norm of values %.17g, of "
                "errors %.17g, largest error %.17g, %lld odd; by the CPU %.17g, %.17g, %.17g, %lld, "
                "expected within %.3g",
                (long long)token, sqrt(by_device->value2), sqrt(by_device->error2), by_device->max_abs,
                by_device->odd, values, errors, by_cpu.max_abs, by_cpu.odd, apart);
}

/* What the CPU has of a token's bounds, and what the device's may be within. */
typedef struct token_bounds {
    mp_bound_figures figures;
    double off;         /* the largest difference of a ratio that d and `apart` explain */
    double ratio_there; /* the ratio of the element that is the device's worst */
    int64_t surely_failed, maybe_failed;
} token_bounds;

/* Element i, of which `got` is stored. */
static void add_element(const check *k, const mp_bound_figures *by_device, int64_t i, double got,
                        const mp_ball *b, double d, token_bounds *t) {
    mp_bound_figures one = mp_no_bound_figures();
    mp_bound_figures_add(&one, &k->store, i, got, b);
    mp_bound_figures_merge(&t->figures, &one);
    if (one.bounded == 0) return;
    const double ratio = one.max_ratio,
                 off = (d == 0 ? 0 : d / one.worst_bound) + k->apart * (1 + fmin(ratio, 0x1p100));
    t->off = off >= 0 ? fmax(t->off, off) : INFINITY;
    t->surely_failed += !(ratio <= 1 + off);
    t->maybe_failed += !(ratio <= 1 - off);
    if (i == by_device->worst && got == by_device->worst_got) t->ratio_there = ratio;
}

static bool are_alike(const check *k, const mp_bound_figures *a, const token_bounds *t) {
    const mp_bound_figures *b = &t->figures;
    if (a->bounded != b->bounded || a->failed < t->surely_failed || a->failed > t->maybe_failed) return false;
    if (!within(a->sure, b->sure, k->apart * b->sure) || !within(a->det, b->det, k->apart * b->det) ||
        !within(a->quant_bound, b->quant_bound, k->apart * b->quant_bound))
        return false;
    if (a->worst < 0 || b->worst < 0) return a->worst < 0 && b->worst < 0;
    if (isnan(b->max_ratio)) return isnan(a->max_ratio);
    return within(a->max_ratio, b->max_ratio, t->off) && within(a->max_ratio, t->ratio_there, t->off);
}

static void compare_bounds(void *ctx, mp_span *span, const mp_balls *out, int64_t first_row) {
    check *k = ctx;
    const mp_tensor *got = &span->j->t[MP_OUT];
    const int32_t *ids = span->j->t[MP_TOPK_IDS].data;
    const bool slots = mp_stage_rows_are_slots(span->last);
    const double *radii = k->radius + k->seen++ * k->width;
    const mp_bound_figures *by_device = &k->bounds[span->first_token];
    token_bounds t = {.figures = mp_no_bound_figures(), .ratio_there = (double)NAN};
    for (int64_t i = 0; i < k->width; i++) {
        const mp_ball b = mp_ball_get(out, i);
        if (slots && ids[first_row + i / out->width] < 0) continue;
        add_element(k, by_device, i, mp_decode(got->dtype, got->data, first_row * out->width + i), &b,
                    radii[i], &t);
    }
    if (k->status != MP_OK || !isfinite(t.off)) return;
    k->with_bounds += t.figures.sure > 0;
    if (are_alike(k, by_device, &t)) return;
    k->status = mp_fail(
        k->err, MP_EDEVICE,
        "the judge on the device is wrong: token %lld of the output: sums of bounds %.17g and, of "
        "codes, %.17g, the largest of these %.17g, of %lld elements %lld beyond, at most %.17g times; by "
        "the CPU %.17g, %.17g, %.17g, %lld, %lld, %.17g, expected within %.3g of each",
        (long long)span->first_token, by_device->sure, by_device->det, by_device->quant_bound,
        by_device->bounded, by_device->failed, by_device->max_ratio, t.figures.sure, t.figures.det,
        t.figures.quant_bound, t.figures.bounded, t.figures.failed, t.figures.max_ratio, k->apart);
}

/* A span from the inputs to the output, of some tokens, by the CPU. */
static mp_status propagate(const mp_judgement *j, const mp_contract *contract, mp_span *span,
                           mp_span_take *take, check *k, mp_error *err) {
    mp_judgement by_cpu = *j;
    mp_stage last = MP_COMBINE;
    while (!mp_case_has_stage(j->c, last)) last--;
    by_cpu.contract = contract;
    by_cpu.engine = mp_engine_of_cpu();
    k->seen = 0;
    return mp_span_propagate(span, &by_cpu, MP_ALL_STAGES, last, k->width * j->c->M, take, k, err);
}

static mp_status check_some(const mp_judgement *j, const int64_t *tokens, int64_t count, check *k,
                            mp_error *err) {
    const mp_contract float64 = float64_contract(j, k->bounds != NULL),
                      exact = mp_exact_but_for_codes(j->contract);
    mp_span values = {.beside = &float64, .numbers_stay = true, .tokens = tokens, .token_count = count},
            balls = {.beside = &exact, .shown_scales = true, .tokens = tokens, .token_count = count};
    mp_status status = propagate(j, &float64, &values, compare, k, err);
    if (status == MP_OK && k->status == MP_OK && k->bounds)
        status = propagate(j, j->contract, &balls, compare_bounds, k, err);
    return status;
}

/* Something was compared of all that there is. */
static bool says_something(const check *k) {
    return k->with_values > 0 && (!k->bounds || k->with_bounds > 0);
}

static bool is_routed(const void *ctx, int64_t token) {
    const mp_judgement *j = ctx;
    return mp_judgement_routes(j, token * j->c->topk, j->c->topk);
}

/* Tokens that go to some expert, spread over all of them; returns how many. Others are zeros: taken where
 * there are no others. */
static int64_t choose(const mp_judgement *j, int64_t tokens[MP_CROSS_CHECKED]) {
    const uint64_t which = (uint64_t)j->c->seed;
    const int64_t chosen =
        mp_cross_check_choose_those(j->c->M, is_routed, j, which, MP_CROSS_CHECKED, tokens);
    return chosen > 0 ? chosen : mp_cross_check_choose(j->c->M, which, MP_CROSS_CHECKED, tokens);
}

mp_status mp_check_tokens(const mp_judgement *j, const mp_token_figures *figures,
                          const mp_bound_figures *bounds, mp_error *err) {
    const mp_case *c = j->c;
    const mp_dtype stored = j->t[MP_OUT].dtype;
    int64_t tokens[MP_CROSS_CHECKED];
    const int64_t chosen = choose(j, tokens);
    const double weights = (double)c->topk * mp_case_products(c);
    const bool dear = c->M < FEW_TOKENS || weights >= MANY_WEIGHTS;
    check k = {.figures = figures,
               .bounds = bounds,
               .width = mp_tensor_count(&j->t[MP_OUT]) / c->M,
               .store = {mp_places_of(stored), mp_store_rounds(j->contract, stored)},
               .apart = 0x1p-43 * (double)(c->K + c->N + c->topk),
               .err = err};
    k.radius = calloc((size_t)(chosen * k.width), sizeof *k.radius);
    mp_status status = k.radius ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for radii of tokens");
    if (status == MP_OK && !dear) status = check_some(j, tokens, chosen, &k, err);
    for (int64_t i = 0; i < chosen && dear && status == MP_OK && k.status == MP_OK; i++)
        if (!says_something(&k)) status = check_some(j, &tokens[(chosen / 2 + i) % chosen], 1, &k, err);
    free(k.radius);
    if (status == MP_OK) status = k.status;
    if (status == MP_OK && !says_something(&k))
        status = mp_fail(err, MP_EUNSUPPORTED, "radii of %lld tokens say nothing", (long long)chosen);
    return status;
}
