/* SPDX-License-Identifier: Apache-2.0 */
/* ref/activation.c: the activation of uncertain inputs. Whatever gate and up in their intervals a subject
 * has, its result is within the bound; and the bound is not much more than that. */
#include "tests/activation_support.h"

#include <float.h>

static const struct {
    mp_activation act;
    bool gated;
} kinds[] = {{MP_SILU, true},       {MP_SILU, false},      {MP_GELU, true},
             {MP_GELU, false},      {MP_GELU_TANH, true},  {MP_RELU2, false},
             {MP_SWIGLU_OAI, true}, {MP_SILU_CLAMP, true}, {MP_CLAMP_SILU, true}};

enum { SAMPLES = 100000 };

/* An uncertain input of a case, and what the subject has. */
typedef struct sample {
    double gate, gate_sure, gate_random, up, up_sure, up_random; /* what is known */
    double true_gate, true_up;
} sample;

/* 10^-9 .. 10^2; now and then nothing. */
static double random_radius(rng *r) {
    return random_unit(r) > 0.8 ? 0 : pow(10, 5.5 * random_unit(r) - 3.5);
}

/* The ends of the interval as often as its inside. */
static double inside_of(rng *r, double x, double radius) {
    const double t = 2 * random_unit(r);
    const double there = x + radius * (t > 1 ? 1 : t < -1 ? -1 : t);
    return fabs(there - x) <= radius ? there : nextafter(there, x); /* the sum was rounded */
}

/* Gates of every size, and close to the bends at 0 and at the limit; sometimes negligible radii. */
static sample random_sample(rng *r) {
    static const double scales[] = {1, 4, 12, 40, 120};
    static const double centres[] = {0, 0, 0, 7, -7};
    sample s = {0};
    s.gate = centres[(int)(2.5 + 2.5 * random_unit(r)) % 5] +
             scales[(int)(2.5 + 2.5 * random_unit(r)) % 5] * random_unit(r);
    s.up = centres[(int)(2.5 + 2.5 * random_unit(r)) % 5] + 4 * random_unit(r);
    s.gate_sure = random_radius(r), s.gate_random = random_radius(r);
    s.up_sure = random_radius(r), s.up_random = random_radius(r);
    s.true_gate = inside_of(r, s.gate, s.gate_sure + s.gate_random);
    s.true_up = inside_of(r, s.up, s.up_sure + s.up_random);
    return s;
}

static void propagate_from(const mp_act_rule *rule, double gate, double gate_sure, double gate_random,
                           double up, double up_sure, double up_random, mp_activation_span *result) {
    const mp_act_point at = mp_activation_at(rule, gate);
    mp_activation_propagate(rule, &at, gate_sure, gate_random, up, up_sure, up_random, result);
}

static double bound_from(const mp_act_rule *rule, double gate, double gate_radius, double up,
                         double up_radius) {
    const mp_act_point at = mp_activation_at(rule, gate);
    return mp_activation_interval_bound(rule, &at, gate_radius, up, up_radius);
}

static mp_activation_span propagate(const mp_case *c, const mp_contract *contract, const sample *s) {
    const mp_act_rule rule = mp_act_rule_of(c, contract);
    mp_activation_span span;
    propagate_from(&rule, s->gate, s->gate_sure, s->gate_random, s->up, s->up_sure, s->up_random, &span);
    return span;
}

/* sure, and the random parts of gate and up at their full radius. */
static double full_bound(const mp_case *c, const mp_contract *contract, const sample *s) {
    sample gate_alone = *s, up_alone = *s;
    gate_alone.up_random = up_alone.gate_random = 0;
    const mp_activation_span span = propagate(c, contract, s);
    return span.sure + propagate(c, contract, &gate_alone).random + propagate(c, contract, &up_alone).random;
}

static double interval_bound(const mp_case *c, const mp_contract *contract, const sample *s) {
    const mp_act_rule rule = mp_act_rule_of(c, contract);
    return bound_from(&rule, s->gate, s->gate_sure + s->gate_random, s->up, s->up_sure + s->up_random);
}

static void check_covered(const mp_case *c, const mp_contract *contract, const sample *s, long double got,
                          const char *what) {
    const double value = propagate(c, contract, s).value, full = full_bound(c, contract, s),
                 interval = interval_bound(c, contract, s);
    const long double error = fabsl(got - (long double)value);
    if (error <= (long double)full && error <= (long double)interval) return;
    fail_msg("%s of %s gated=%d: gate %.17g +- %g + %g, up %.17g +- %g + %g, there %.17g and %.17g: %.17Lg "
             "is %.9Lg "
             "from %.17g, allowed %.9g and %.9g",
             what, mp_activation_name(c->act), c->gated, s->gate, s->gate_sure, s->gate_random, s->up,
             s->up_sure, s->up_random, s->true_gate, s->true_up, got, error, value, full, interval);
}

static void every_truth_in_the_intervals_is_covered(void **unused) {
    (void)unused;
    rng r = {11};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        mp_case c = activation_case(kinds[i].act, kinds[i].gated);
        for (int n = 0; n < SAMPLES; n++) {
            if (n == SAMPLES / 2) c.limit = 1.25, c.alpha = 0.5;
            const sample s = random_sample(&r);
            check_covered(&c, &float64_contract, &s, truth(&c, s.true_gate, s.true_up), "the truth");
        }
    }
}

/* The float32 nearest to x that is inside. */
static float float_inside(double x, double centre, double radius) {
    const float f = (float)x;
    if (fabs((double)f - centre) <= radius) return f;
    return nextafterf(f, (float)centre);
}

/* A subject of float32 on inputs of its own, with and without a rounded gate. */
static void every_subject_in_the_intervals_is_covered(void **unused) {
    (void)unused;
    mp_contract rounded = float32_contract;
    rounded.act_rounding = MP_ACT_GATE_ROUNDED;
    rng r = {12};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        const mp_case c = activation_case(kinds[i].act, kinds[i].gated);
        for (int n = 0; n < SAMPLES; n++) {
            sample s = random_sample(&r);
            s.gate_sure += 0x1p-20 * fabs(s.gate); /* room for a float32 */
            s.up_sure += 0x1p-20 * fabs(s.up);
            const float g = float_inside(s.true_gate, s.gate, s.gate_sure + s.gate_random),
                        u = float_inside(s.true_up, s.up, s.up_sure + s.up_random), alpha = (float)c.alpha,
                        limit = (float)c.limit;
            check_covered(&c, &float32_contract, &s,
                          (long double)mp_activate_f32((int)c.act, c.gated, g, u, alpha, limit), "a subject");
            if (c.act > MP_GELU) continue;
            const double a = mp_round_to(c.dtype, (double)mp_activate_f32((int)c.act, 0, g, 1, alpha, limit));
            check_covered(&c, &rounded, &s, (long double)(c.gated ? (float)a * u : (float)a),
                          "a rounded gate");
        }
    }
}

/* The bound of an interval is at least that of every point in it. */
static void no_point_has_a_larger_bound(void **unused) {
    (void)unused;
    static const mp_contract *const contracts[] = {&float32_contract, &float64_contract};
    rng r = {16};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        const mp_case c = activation_case(kinds[i].act, kinds[i].gated);
        for (int n = 0; n < SAMPLES; n++) {
            const sample s = random_sample(&r);
            const mp_contract *contract = contracts[n % 2];
            const double there = mp_activation_bound(&c, contract, s.true_gate, s.true_up);
            if (!(interval_bound(&c, contract, &s) >= there && propagate(&c, contract, &s).sure >= there))
                fail_msg("%s gated=%d: gate %g +- %g: %g is below %g at %g", mp_activation_name(c.act),
                         c.gated, s.gate, s.gate_sure + s.gate_random, interval_bound(&c, contract, &s),
                         there, s.true_gate);
        }
    }
}

/* The slopes behind `random`, from the truth's own differences. */
static void the_random_part_is_first_order_and_in_quadrature(void **unused) {
    (void)unused;
    rng r = {13};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        const mp_case c = activation_case(kinds[i].act, kinds[i].gated);
        for (int n = 0; n < 20000; n++) {
            sample s = random_sample(&r);
            s.gate = fmod(s.gate, 20);
            const double h = 1e-5, L = c.limit;
            if (fabs(s.gate - L) < 2 * h || fabs(fabs(s.up) - L) < 2 * h || fabs(s.gate) < 2 * h) continue;
            const long double lh = (long double)h,
                              by_gate =
                                  (truth(&c, s.gate + h, s.up) - truth(&c, s.gate - h, s.up)) / (2 * lh),
                              by_up = (truth(&c, s.gate, s.up + h) - truth(&c, s.gate, s.up - h)) / (2 * lh);
            if (c.act == MP_SILU_CLAMP && fabsl(truth(&c, s.gate, 1) - (long double)L) < 1e-3L) continue;
            const double expected = hypot((double)by_gate * s.gate_random,
                                          c.gated ? (double)by_up * s.up_random : 0),
                         got = propagate(&c, &float64_contract, &s).random;
            const double slack = 1e-6 * expected + 1e-8 * (s.gate_random + s.up_random);
            if (!(fabs(got - expected) <= slack))
                fail_msg("%s gated=%d (%g, %g): %.9g, expected %.9g", mp_activation_name(c.act), c.gated,
                         s.gate, s.up, got, expected);
        }
    }
}

/* With small radii, little beyond the first order; with any, some point of the interval comes close to it. */
static void the_bound_is_close(void **unused) {
    (void)unused;
    rng r = {14};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        const mp_case c = activation_case(kinds[i].act, kinds[i].gated);
        double small = 0, large = 0;
        int64_t close = 0;
        for (int n = 0; n < SAMPLES; n++) {
            sample s = random_sample(&r);
            s.gate = fmod(s.gate, 6);
            s.gate_random = s.up_random = 0;
            s.gate_sure = n % 2 ? 1e-4 : 0.5, s.up_sure = n % 2 ? 1e-4 : 0.25;
            const double value = propagate(&c, &float64_contract, &s).value;
            double most = 0;
            for (int corner = 0; corner < 4; corner++) {
                const double g = s.gate + (corner & 1 ? s.gate_sure : -s.gate_sure),
                             u = s.up + (corner & 2 ? s.up_sure : -s.up_sure);
                most = fmax(most, fabs((double)(truth(&c, g, u) - (long double)value)));
            }
            const double ratio = most / interval_bound(&c, &float64_contract, &s);
            if (n % 2) {
                small = fmax(small, ratio);
                close += ratio > 0.99;
            } else {
                large = fmax(large, ratio);
            }
        }
        print_message("%s gated=%d: small radii %.5f (%lld of %d above 0.99), large ones %.3f\n",
                      mp_activation_name(c.act), c.gated, small, (long long)close, SAMPLES / 2, large);
        assert_true(small > 0.999 && small <= 1 && large > 0.8 && large <= 1 && close > SAMPLES / 4);
    }
}

/* Nothing passes a clamp that is out of reach. */
static void beyond_a_clamp_nothing_counts(void **unused) {
    (void)unused;
    mp_activation_span span;
    static const struct {
        mp_activation act;
        double gate, up;
        bool by_gate, by_up;
    } cases[] = {
        {MP_SWIGLU_OAI, 9, 3, false, true},  {MP_SWIGLU_OAI, 5, -9, true, false},
        {MP_SWIGLU_OAI, 9, 9, false, false}, {MP_SILU_CLAMP, 9, 3, false, true},
        {MP_SILU_CLAMP, 5, 9, true, false},  {MP_SILU_CLAMP, 9, -9, false, false},
        {MP_CLAMP_SILU, 9, 3, false, true},  {MP_CLAMP_SILU, 5, 9, true, false},
        {MP_CLAMP_SILU, 9, 9, false, false}, {MP_SWIGLU_OAI, -9, 3, true, true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const mp_case c = activation_case(cases[i].act, true);
        const mp_act_rule rule = mp_act_rule_of(&c, &float64_contract);
        propagate_from(&rule, cases[i].gate, 0, 1, cases[i].up, 0, 0, &span);
        assert_int_equal(span.random > 0, cases[i].by_gate);
        assert_int_equal(span.sure > 1e-9, cases[i].by_gate); /* the second order */
        propagate_from(&rule, cases[i].gate, 0, 0, cases[i].up, 0, 1, &span);
        assert_int_equal(span.random > 0, cases[i].by_up);
        assert_true(span.sure < 1e-9);
        propagate_from(&rule, cases[i].gate, 0, 3, cases[i].up, 0, 3, &span);
        assert_true(span.sure > 0.001); /* now in reach */
    }
    const mp_case c = activation_case(MP_RELU2, false);
    const mp_act_rule relu2 = mp_act_rule_of(&c, &float64_contract);
    propagate_from(&relu2, -2, 1, 0.5, 0, 0, 0, &span);
    assert_true(span.value == 0 && span.random == 0 && span.sure < 1e-300);
    propagate_from(&relu2, -2, 2, 0.5, 0, 0, 0, &span);
    assert_true(span.sure >= 0.25);
}

static void exact_inputs_leave_the_evaluation(void **unused) {
    (void)unused;
    rng r = {15};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        const mp_case c = activation_case(kinds[i].act, kinds[i].gated);
        const mp_act_rule rule = mp_act_rule_of(&c, &float32_contract);
        for (int n = 0; n < 1000; n++) {
            const double g = 20 * random_unit(&r), u = 10 * random_unit(&r);
            mp_activation_span span;
            propagate_from(&rule, g, 0, 0, u, 0, 0, &span);
            const double bound = mp_activation_bound(&c, &float32_contract, g, u);
            assert_true(span.random == 0 && span.value == mp_activate(&c, g, u, NULL));
            assert_true(span.sure >= bound && span.sure <= bound * (1 + 1e-9));
        }
    }
}

static void what_is_not_finite_has_no_bound(void **unused) {
    (void)unused;
    const double specials[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        const mp_case c = activation_case(kinds[i].act, kinds[i].gated);
        const mp_act_rule rule = mp_act_rule_of(&c, &float32_contract);
        for (int k = 0; k < 3; k++)
            for (int place = 0; place < 6; place++) {
                double in[6] = {1, 0.5, 0.25, 2, 0.5, 0.25};
                in[place] = specials[k];
                mp_activation_span span;
                propagate_from(&rule, in[0], in[1], in[2], in[3], in[4], in[5], &span);
                const double interval = bound_from(&rule, in[0], in[1], in[3], in[4]);
                const double value = mp_activate(&c, in[0], c.gated ? in[3] : 0, NULL);
                assert_true(isnan(value) ? isnan(span.value) : span.value == value);
                const bool read = place < 3 || c.gated;
                assert_int_equal(isinf(span.sure) != 0, read);
                if (read) assert_true(span.random == 0);
                if (place != 2 && place != 5) assert_int_equal(isinf(interval) != 0, read);
            }
        const double beyond = bound_from(&rule, 0x1p1000, 1, 0x1p1000, 1);
        const bool clamped = c.act >= MP_SWIGLU_OAI;
        if (c.gated || c.act == MP_RELU2) assert_int_equal(isinf(beyond) != 0, !clamped);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_truth_in_the_intervals_is_covered),
        cmocka_unit_test(every_subject_in_the_intervals_is_covered),
        cmocka_unit_test(no_point_has_a_larger_bound),
        cmocka_unit_test(the_random_part_is_first_order_and_in_quadrature),
        cmocka_unit_test(the_bound_is_close),
        cmocka_unit_test(beyond_a_clamp_nothing_counts),
        cmocka_unit_test(exact_inputs_leave_the_evaluation),
        cmocka_unit_test(what_is_not_finite_has_no_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
