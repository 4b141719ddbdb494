/* SPDX-License-Identifier: Apache-2.0 */
/* The bounds that elements are held to, against the same bounds written down here once more: one element of
 * an honest trace is made so wrong that it is the worst of its stage, whose bound the verdict then reports. A
 * bound that is too wide passes wrong kernels, and nothing else would show it. */
#include "harness/judge/judge.h"
#include "harness/judge/span.h"
#include "moeparity/config.h"
#include "ref/combine.h"
#include "ref/engine.h"
#include "ref/predict/predict.h"
#include "tests/ref_support.h"

#include <stdio.h>

enum { TOKEN = 2, SLOT = 1, COLUMN = 5 };
static const double U = 0x1p-24; /* of the float32 steps */

static double gamma_of(double n, double u) {
    return n * u / (1 - n * u);
}

/* A case, run by the honest host. */
typedef struct bench {
    fixture f;
    mp_contract contract;
    mp_trace trace;
    mp_verdict v; /* large */
} bench;
static bench b;

static void start(const char *text) {
    mp_error err;
    b.f = made(text);
    b.contract = mp_host_contract(&b.f.c);
    if (mp_host_run(&b.f.c, &b.f.in, 16, MP_POISON_A, &b.trace, &err)) fail_msg("%s", err.text);
}

static const mp_stage_figures *judged(mp_stage stage) {
    mp_error err;
    mp_verdict_free(&b.v);
    if (mp_judge(&b.f.c, &b.contract, NULL, &b.f.in, &b.trace, MP_POISON_A, &mp_engine_plain, &b.v, &err))
        fail_msg("%s", err.text);
    return &b.v.stage[stage];
}

static void stop(void) {
    mp_verdict_free(&b.v);
    mp_trace_destroy(&b.trace);
    mp_inputs_destroy(&b.f.in);
}

/* Makes element `index` of the tensor wrong by far, and returns the bound that its stage reports for it. */
static double reported_bound(mp_stage stage, mp_tensor_id which, int64_t index) {
    mp_tensor *t = &b.trace.t[which];
    mp_encode(t->dtype, t->data, index, mp_decode(t->dtype, t->data, index) + 1e4);
    const mp_stage_figures *f = judged(stage);
    assert_int_equal(f->failed, 1);
    assert_int_equal(f->worst_index, index);
    return f->worst_bound;
}

/* Left out above: second-order terms, underflow, and the reference's own error of K * 2^-53. */
static void assert_near(double got, double expected) {
    if (!(fabs(got - expected) <= 1e-4 * expected)) fail_msg("bound %.9g, expected %.9g", got, expected);
}

/* One sum: value, magnitudes, and the error of its float32 accumulation. */
typedef struct sum {
    double value, mass, error;
} sum;

static sum accumulate(const mp_tensor *a, int64_t a_row, const mp_tensor *w, int64_t w_row,
                      bool tensor_core) {
    const int64_t K = w->dim[2];
    sum s = {0};
    for (int64_t k = 0; k < K; k++) {
        const double p =
            mp_decode(a->dtype, a->data, a_row * K + k) * mp_decode(w->dtype, w->data, w_row * K + k);
        s.value += p;
        s.mass += fabs(p);
    }
    const double steps = ceil((double)K / 16),
                 delta = 17 * 0x1p-25 + 0x1p-23; /* sm_90: L=16, F=25, cut to 23 bits */
    s.error = (tensor_core ? steps * delta : gamma_of((double)K, U)) * s.mass;
    return s;
}

/* + bias, * weight: a rounding each. */
static void epilogue(sum *s, const double *bias, const double *weight) {
    if (bias) {
        s->value += *bias;
        s->error += U * (fabs(s->value) + s->error);
    }
    if (weight) {
        s->value *= *weight;
        s->error *= fabs(*weight);
        s->error += U * (fabs(s->value) + s->error);
    }
}

static double stored(mp_dtype dtype, const sum *s) {
    return s->error + (dtype == MP_FP32 ? 0 : mp_half_ulp(dtype, fabs(s->value) + s->error));
}

static int64_t expert_of(int64_t slot) {
    return ((const int32_t *)b.f.in.t[MP_TOPK_IDS].data)[slot];
}

static double weight_of(int64_t slot) {
    return (double)((const float *)b.f.in.t[MP_TOPK_WEIGHTS].data)[slot];
}

static double bias_of(mp_tensor_id which, int64_t expert, int64_t column) {
    const mp_tensor *t = &b.f.in.t[which];
    return mp_decode(t->dtype, t->data, expert * t->dim[1] + column);
}

static void gemms(const char *text) {
    start(text);
    const mp_case *c = &b.f.c;
    const bool tensor_core = c->dtype != MP_FP32;
    const int64_t slot = TOKEN * c->topk + SLOT, expert = expert_of(slot), width = 2 * c->N;
    const double weight = weight_of(slot);

    sum up = accumulate(&b.f.in.t[MP_X], TOKEN, &b.f.in.t[MP_W1], expert * width + COLUMN, tensor_core);
    const double up_bias = c->bias ? bias_of(MP_B1, expert, COLUMN) : 0,
                 down_bias = c->bias ? bias_of(MP_B2, expert, COLUMN) : 0;
    epilogue(&up, c->bias ? &up_bias : NULL, c->apply_router_weight_on_input ? &weight : NULL);
    const double up_bound = stored(c->dtype, &up);

    sum down = accumulate(&b.trace.t[MP_CACHE2], slot, &b.f.in.t[MP_W2], expert * c->K + COLUMN, tensor_core);
    epilogue(&down, c->bias ? &down_bias : NULL, c->apply_router_weight_on_input ? NULL : &weight);
    assert_near(reported_bound(MP_DOWN, MP_CACHE3, slot * c->K + COLUMN), stored(c->dtype, &down));
    assert_near(reported_bound(MP_GATE_UP, MP_CACHE1, slot * width + COLUMN), up_bound);
    stop();
}

static void bounds_of_the_gemms(void **state) {
    (void)state;
    gemms(
        "M=4 topk=2 K=200 N=72 dtype=fp32"); /* fp32 copies the accumulator: no store hides a factor of two */
    gemms("M=4 topk=2 K=200 N=72 dtype=fp32 bias=1");
    gemms("M=4 topk=2 K=200 N=72 dtype=fp32 bias=1 apply_router_weight_on_input=1");
    gemms("M=4 topk=2 K=200 N=72");
    gemms("M=4 topk=2 K=200 N=72 dtype=fp16 bias=1");
}

/* Down and combine as one: topk values with an error each, topk - 1 additions that round to dtype, and the
 * scaling's. */
static void bound_of_the_fused_sum(void **state) {
    (void)state;
    start("M=4 topk=4 K=96 N=200 fused_sum=1 rsf=2.5");
    const mp_case *c = &b.f.c;
    double value = 0, error = 0, mass = 0;
    for (int64_t j = 0; j < c->topk; j++) {
        const int64_t slot = TOKEN * c->topk + j;
        const double weight = weight_of(slot);
        sum s =
            accumulate(&b.trace.t[MP_CACHE2], slot, &b.f.in.t[MP_W2], expert_of(slot) * c->K + COLUMN, true);
        epilogue(&s, NULL, &weight);
        s.error = stored(c->dtype, &s);
        value += s.value;
        error += s.error;
        mass += fabs(s.value) + s.error;
    }
    sum total = {.value = 2.5 * value, .error = 2.5 * (error + gamma_of(3, 0x1p-8) * mass)};
    total.error += 0x1p-8 * (fabs(total.value) + total.error);
    assert_near(reported_bound(MP_COMBINE, MP_OUT, TOKEN * c->K + COLUMN), stored(c->dtype, &total));
    stop();
}

/* ---- down and combine as one, under a contract whose combine rounds the sum before it scales it ---- */

/* out of cache3 by that combine, in float32; then cache3 is hidden. */
static mp_tensor combined_and_hidden(void) {
    const mp_case *c = &b.f.c;
    mp_tensor *cache3 = &b.trace.t[MP_CACHE3], *out = &b.trace.t[MP_OUT];
    b.contract.combine = MP_COMBINE_ROUND_THEN_SCALE;
    for (int64_t i = 0; i < c->M * c->K; i++) {
        const int64_t m = i / c->K, k = i % c->K;
        float total = 0;
        for (int64_t j = 0; j < c->topk; j++)
            total += (float)mp_decode(cache3->dtype, cache3->data, (m * c->topk + j) * c->K + k);
        total = (float)mp_round_to(c->dtype, (double)total) * (float)c->rsf;
        mp_encode(c->dtype, out->data, i, (double)total);
    }
    const mp_tensor hidden = *cache3;
    *cache3 = (mp_tensor){0};
    return hidden;
}

/* The value is the rounded sum, scaled; the bound has an ulp for the rounding, to different sides perhaps, of
 * the subject's sum and the exact one. */
static void a_span_ends_in_the_combine_of_the_contract(void **state) {
    (void)state;
    start("M=4 topk=4 K=96 N=200 rsf=2.827");
    const mp_case *c = &b.f.c;
    double value = 0, error = 0, mass = 0;
    for (int64_t j = 0; j < c->topk; j++) {
        const int64_t slot = TOKEN * c->topk + j;
        const double weight = weight_of(slot);
        sum s =
            accumulate(&b.trace.t[MP_CACHE2], slot, &b.f.in.t[MP_W2], expert_of(slot) * c->K + COLUMN, true);
        epilogue(&s, NULL, &weight);
        value += s.value;
        mass += fabs(s.value);
        error += stored(c->dtype, &s);
    }
    error += gamma_of(3, U) * (mass + error);
    error += 2 * mp_half_ulp(c->dtype, fabs(value) + error);
    const double rsf = (double)2.827f;
    sum total = {.value = rsf * mp_round_to(c->dtype, value), .error = rsf * error};
    total.error += U * (fabs(total.value) + total.error);
    mp_tensor cache3 = combined_and_hidden();
    assert_int_equal(judged(MP_COMBINE)->failed, 0);
    assert_int_equal(b.v.check[MP_CHECK_RMS].answer, MP_PASSED);
    assert_near(reported_bound(MP_COMBINE, MP_OUT, TOKEN * c->K + COLUMN), stored(c->dtype, &total));
    assert_true(b.v.stage[MP_COMBINE].worst_expected == total.value);
    b.trace.t[MP_CACHE3] = cache3;
    stop();
}

/* cache2 is such that all terms of one sum are near `term`, and stay below the largest fp16 number. */
static void make_terms(double term) {
    const mp_case *c = &b.f.c;
    mp_tensor *cache2 = &b.trace.t[MP_CACHE2], tensors[MP_TENSOR_COUNT];
    const mp_tensor *w2 = &b.f.in.t[MP_W2];
    for (int64_t slot = TOKEN * c->topk; slot < (TOKEN + 1) * c->topk; slot++) {
        const int64_t row = expert_of(slot) * c->K + COLUMN;
        double mass = 0;
        for (int64_t n = 0; n < c->N; n++) mass += fabs(mp_decode(w2->dtype, w2->data, row * c->N + n));
        for (int64_t n = 0; n < c->N; n++)
            mp_encode(
                cache2->dtype, cache2->data, slot * c->N + n,
                copysign(term / (weight_of(slot) * mass), mp_decode(w2->dtype, w2->data, row * c->N + n)));
    }
    mp_error err;
    mp_slot_map map;
    mp_prediction honest = {.contract = &b.contract};
    mp_all_tensors(&b.f.in, &b.trace, tensors);
    assert_int_equal(mp_slot_map_create(c, tensors, &map, &err), MP_OK);
    const mp_stage_call call = {.c = c, .t = tensors, .block_size_m = 16, .map = &map};
    assert_int_equal(mp_predict_stage_down(&honest, &call, &err), MP_OK);
    free(map.memory);
}

/* A sum that only its scale would bring back into the range has overflowed: nothing is known of it, nor of
 * one that may have. One that cannot have is judged. */
static void an_inner_rounding_may_overflow(void **state) {
    (void)state;
    static const struct {
        double term;
        bool overflows, measured;
    } sums[] = {{25000, true, false}, {16376, false, false}, {15000, false, true}};
    for (size_t i = 0; i < COUNT(sums); i++) {
        start("M=4 topk=4 K=96 N=200 dtype=fp16 rsf=0.5");
        const mp_case *c = &b.f.c;
        make_terms(sums[i].term);
        mp_tensor cache3 = combined_and_hidden();
        const double got = mp_decode(c->dtype, b.trace.t[MP_OUT].data, TOKEN * c->K + COLUMN);
        assert_int_equal(isinf(got) != 0, sums[i].overflows);
        const mp_stage_figures *f = judged(MP_COMBINE);
        assert_int_equal(f->failed, 0);
        assert_int_equal(f->compared, c->M * c->K - !sums[i].measured);
        assert_int_equal(b.v.check[MP_CHECK_NAN].answer, MP_PASSED);
        b.trace.t[MP_CACHE3] = cache3;
        stop();
    }
}

/* Radii through a combine: scaled by |rsf| as the sum is, det and random apart, and the stage's own roundings
 * in det, where nothing averages out. Those of a sum of four terms with errors are five of the float32 steps
 * at most: three additions, the scaling, and the reference's own. */
static void a_combine_scales_the_radii_it_is_given(void **state) {
    (void)state;
    static const double factors[] = {-0.5, 1, 3};
    start("M=3 E=4 topk=4 K=40 N=16");
    const int64_t K = b.f.c.K, topk = b.f.c.topk, rows = b.f.c.M * topk;
    int32_t *ids = b.f.in.t[MP_TOPK_IDS].data;
    mp_judgement judgement = {.c = &b.f.c, .contract = &b.contract, .in = &b.f.in};
    mp_span span = {.j = &judgement, .part = b.f.c};
    mp_balls in, out;
    mp_error err;
    rng r = {31};
    ids[1] = -1; /* a slot that is not added, whatever its radii are */
    span.t[MP_TOPK_IDS] = b.f.in.t[MP_TOPK_IDS];
    assert_int_equal(mp_span_balls(&span, &in, rows, K, &err), MP_OK);
    for (size_t i = 0; i < COUNT(factors); i++)
        for (int zero = 0; zero < 2; zero++) {
            const double rsf = fabs(factors[i]), scale = zero ? 0 : 1;
            span.part.rsf = factors[i];
            for (int64_t e = 0; e < rows * K; e++) {
                *mp_ball_at(&in.value, e) = random_unit(&r);
                *mp_ball_at(&in.sure, e) = scale * (0.3 + 0.1 * random_unit(&r));
                *mp_ball_at(&in.det, e) = scale * (0.01 + 0.005 * random_unit(&r));
                *mp_ball_at(&in.random, e) = scale * (0.05 + 0.02 * random_unit(&r));
            }
            assert_int_equal(mp_propagate_combine(&span, &in, &out, &err), MP_OK);
            for (int64_t m = 0; m < b.f.c.M; m++)
                for (int64_t k = 0; k < K; k++) {
                    mp_sum exact = {0};
                    double sure = 0, det = 0, random = 0, mass = 0;
                    for (int64_t slot = m * topk; slot < (m + 1) * topk; slot++) {
                        if (slot == 1) continue;
                        const double value = *mp_ball_at(&in.value, slot * K + k);
                        exact.value += value;
                        exact.mass += fabs(value);
                        exact.terms++;
                        mass += fabs(value);
                        sure += *mp_ball_at(&in.sure, slot * K + k);
                        det += *mp_ball_at(&in.det, slot * K + k);
                        random += *mp_ball_at(&in.random, slot * K + k);
                    }
                    const int64_t e = m * K + k;
                    const double tiny = 1e-14 * (1 + rsf),
                                 least = mp_combine_bound(&span.part, &b.contract, exact);
                    const double own = *mp_ball_at(&out.det, e) - rsf * det;
                    assert_true(least > 0 && own >= least - tiny);
                    assert_true(own <= 5 * U * rsf * (mass + sure));
                    assert_true(fabs(*mp_ball_at(&out.random, e) - rsf * random) <= tiny);
                    assert_true(fabs(*mp_ball_at(&out.sure, e) - (rsf * sure + own)) <= tiny);
                    assert_true(fabs(*mp_ball_at(&out.value, e) - factors[i] * (double)exact.value) <= tiny);
                }
            mp_balls_drop(&span.pool, &out);
        }
    mp_ball_pool_free(&span.pool);
    stop();
}

/* Sums that are exact whatever the order have no error at all: one step of the format is a failure. */
static void exact_sums_have_no_error(void **state) {
    (void)state;
    static const char *const texts[] = {"M=4 topk=2 K=96 N=64 dtype=fp32 data=integer",
                                        "M=4 topk=2 K=96 N=64 dtype=fp32 data=onehot"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        start(texts[i]);
        assert_int_equal(judged(MP_GATE_UP)->failed, 0);
        float *cache1 = b.trace.t[MP_CACHE1].data;
        int64_t at = 0;
        while (cache1[at] == 0) at++;
        cache1[at] = nextafterf(cache1[at], INFINITY);
        assert_int_equal(judged(MP_GATE_UP)->failed, 1);
        stop();
    }
    start("M=4 topk=2 K=96 N=64 dtype=fp32"); /* where they are not, a step passes */
    float *cache1 = b.trace.t[MP_CACHE1].data;
    cache1[7] = nextafterf(cache1[7], INFINITY);
    assert_int_equal(judged(MP_GATE_UP)->failed, 0);
    stop();
}

/* The plain loops, but for one tile, of which nothing is shown. */
typedef struct lossy {
    mp_gemm_visit visit;
    void *ctx;
    bool lost;
} lossy;

static void all_but_one(void *ctx, const mp_gemm_tile *tile) {
    lossy *l = ctx;
    bool first;
#pragma omp critical(lossy)
    {
        first = !l->lost;
        l->lost = true;
    }
    if (!first) l->visit(l->ctx, tile);
}

static mp_status lossy_gemm(const mp_engine *self, const mp_gemm_problem *problem, bool with_mass,
                            mp_gemm_visit visit, void *ctx, mp_error *err) {
    lossy l = {visit, ctx, false};
    (void)self;
    return mp_engine_plain.gemm_float64(&mp_engine_plain, problem, with_mass, all_but_one, &l, err);
}

/* What an engine does not show of a GEMM passed nothing: wrong or right, nobody has looked at it. */
static void an_engine_shows_all_of_a_gemm(void **state) {
    (void)state;
    static const char *const texts[] = {
        "M=8 topk=2 E=4 K=16 N=8 scope=gate_up", "M=8 topk=2 E=4 K=16 N=8 scope=down filter=0.3",
        "M=8 topk=2 E=4 K=16 lora_rank=4 lora_adapters=2 scope=shrink_gate_up",
        "M=8 topk=2 E=4 N=8 lora_rank=4 lora_adapters=2 scope=expand_gate_up"};
    mp_engine engine = mp_engine_plain;
    engine.gemm_float64 = lossy_gemm;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        mp_error err = {0};
        start(texts[i]);
        judged(MP_ALIGN);
        assert_int_equal(b.v.check[MP_CHECK_BOUND].answer, MP_PASSED);
        mp_verdict_free(&b.v);
        assert_int_equal(
            mp_judge(&b.f.c, &b.contract, NULL, &b.f.in, &b.trace, MP_POISON_A, &engine, &b.v, &err),
            MP_EINTERNAL);
        if (!strstr(err.text, " elements")) fail_msg("%s: %s", texts[i], err.text);
        assert_int_equal(b.v.check[MP_CHECK_BOUND].answer, MP_NOT_JUDGED);
        stop();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_of_the_gemms),
        cmocka_unit_test(bound_of_the_fused_sum),
        cmocka_unit_test(a_span_ends_in_the_combine_of_the_contract),
        cmocka_unit_test(an_inner_rounding_may_overflow),
        cmocka_unit_test(a_combine_scales_the_radii_it_is_given),
        cmocka_unit_test(exact_sums_have_no_error),
        cmocka_unit_test(an_engine_shows_all_of_a_gemm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
