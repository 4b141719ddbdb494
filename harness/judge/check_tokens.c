/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of a token are norms of vectors: of errors e = stored - v and of values v. Another float64 pipeline
 * has v' with |v - v'| <= d, element by element; so | |e| - |e'| | <= |d|, | |v| - |v'| | <= |d| and the
 * largest errors differ by no more than the largest d. The radii d are those of a span from the inputs to the
 * output (judge_span.c) under a contract in which everything is float64: sums in any order, the functions of
 * a device. Figures that agree so closely were made of the same stored numbers, all of them, and of values
 * that are right: a norm has all digits of a float64. */
#include "harness/judge/check_tokens.h"

#include "cases/graph_tables.h"
#include "harness/judge/judge.h"
#include "harness/judge/span.h"
#include "offload/cross_check.h"
#include "offload/device/activation.h"
#include "ref/engine.h"

#include <math.h>

/* The CPU computes all slots of a token, with radii: of few tokens, or of one that reads so many weights, it
 * computes one. */
enum { FEW_TOKENS = 16 * MP_CROSS_CHECKED };
#define MANY_WEIGHTS 0x1p26

typedef struct check {
    const mp_token_figures *figures;
    int64_t width;
    mp_status status;
    mp_error *err;
} check;

/* What the pipeline of the device is, apart from the order of its sums: as that of ref/, with CUDA's
 * functions. */
static mp_contract float64_contract(const mp_judgement *j) {
    mp_contract exact = mp_exact_but_for_codes(j->contract);
    exact.act_ulps = MP_ACT64_ULPS;
    exact.act_ulps_per_argument = j->c->act == MP_GELU_TANH ? MP_ACT64_ULPS_PER_ARGUMENT : 0;
    exact.act_clamp_nan = MP_CLAMP_NAN_KEPT;
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
    const mp_token_figures *by_device = &k->figures[token];
    mp_token_figures by_cpu = {0};
    double radius2 = 0, radius = 0;
    for (int64_t i = 0; i < k->width; i++) {
        const mp_ball b = mp_ball_get(out, i);
        mp_token_figures_add(&by_cpu, mp_decode(got->dtype, got->data, first_row * out->width + i), b.value);
        if (!mp_is_finite(b.value)) continue;
        radius = fmax(radius, b.det); /* Inf: it is not known how far the values may be apart */
        radius2 += b.det * b.det;
    }
    const double rounding = ((double)k->width + 6) * 0x1p-53, lost = sqrt((double)k->width) * 0x1p-536,
                 errors = sqrt(by_cpu.error2), values = sqrt(by_cpu.value2),
                 apart = sqrt(radius2) * (1 + rounding) + lost;
    if (k->status != MP_OK || !isfinite(radius)) return;
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

mp_status mp_check_tokens(const mp_judgement *j, const mp_token_figures *figures, mp_error *err) {
    const mp_case *c = j->c;
    const mp_contract exact = float64_contract(j);
    const int64_t elements = mp_tensor_count(&j->t[MP_OUT]);
    mp_judgement by_cpu = *j;
    by_cpu.contract = &exact;
    by_cpu.engine = mp_engine_of_cpu();
    int64_t tokens[MP_CROSS_CHECKED];
    const int64_t chosen = mp_cross_check_choose(c->M, (uint64_t)c->seed, MP_CROSS_CHECKED, tokens);
    const double weights = (double)c->topk * mp_case_products(c);
    const bool dear = c->M < FEW_TOKENS || weights >= MANY_WEIGHTS;
    mp_span span = {
        .beside = &exact, .tokens = dear ? tokens + chosen / 2 : tokens, .token_count = dear ? 1 : chosen};
    check k = {.figures = figures, .width = elements / c->M, .err = err};
    mp_stage last = MP_COMBINE;
    while (!mp_case_has_stage(c, last)) last--;
    const mp_status status =
        mp_span_propagate(&span, &by_cpu, MP_ALL_STAGES, last, elements, compare, &k, err);
    return status == MP_OK ? k.status : status;
}
