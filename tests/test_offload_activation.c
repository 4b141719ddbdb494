/* SPDX-License-Identifier: Apache-2.0 */
/* The activations of offload/device/activation.h, which the device compiles too, against those of
 * ref/activation.c: within what both are off, for any gate and up; Inf and NaN where they have them. */
#include "offload/device/activation.h"
#include "ref/activation.h"
#include "tests/ref_support.h"

static const char *const activations[] = {"act=silu",
                                          "act=silu gated=0",
                                          "act=gelu",
                                          "act=gelu gated=0",
                                          "act=gelu_tanh",
                                          "act=relu2 gated=0",
                                          "act=swiglu_oai alpha=1.702 limit=7",
                                          "act=swiglu_oai alpha=0.3 limit=0.1",
                                          "act=silu_clamp limit=0.5",
                                          "act=clamp_silu limit=0.5"};

static const double special[] = {
    0.0, -0.0, INFINITY, -INFINITY, NAN,    0x1p-1074, -0x1p-1074, 1e308, -1e308, 0.5,  -0.5,  7,     -7,
    0.1, -0.1, -26.5,    -38.4,     -699.9, -700.1,    -744.9,     -746,  -709.5, 88.8, 709.9, -88.8, 1e-300};

static int64_t compared;

static void compare(const char *text, const mp_case *c, const mp_act_form *act, const mp_contract *contract,
                    double gate, double up) {
    const double expected = mp_activate(c, gate, up, NULL), got = mp_act64_at(act, gate, up),
                 /* what exp and erfc give below the normal numbers errs by a few of the smallest */
        lost = fabs(gate) * 0x1p-1071 * (c->gated ? fabs(up) + 1 : 1),
                 bound = mp_activation_bound(c, contract, gate, up) + lost;
    compared++;
    if (got == expected) return;
    if (isnan(expected) || isinf(expected)) {
        if (isnan(expected) && isnan(got)) return;
        /* where exp(gate) has no digits left it is zero sooner than that of a long double */
        if (isinf(up) && isnan(got) && fabs(mp_activate(c, gate, 1, NULL)) < 0x1p-1060) return;
    } else if (fabs(got - expected) <= bound) {
        return;
    }
    fail_msg("%s: gate %.17g (%a), up %.17g: %.17g, expected %.17g within %.3g", text, gate, gate, up, got,
             expected, bound);
}

static void within_the_bound_of_both(void **state) {
    (void)state;
    rng r = {5};
    for (size_t i = 0; i < COUNT(activations); i++) {
        const mp_case c = case_of(activations[i]);
        const mp_act_form act = mp_act_form_of(&c);
        mp_contract contract = mp_contract_weakest();
        contract.float64_steps = true;
        contract.act_function = MP_ACT_IEEE;
        contract.act_rounding = MP_ACT_ONE_ROUNDING;
        contract.act_ulps = MP_ACT64_ULPS;
        contract.act_ulps_per_argument = c.act == MP_GELU_TANH ? MP_ACT64_ULPS_PER_ARGUMENT : 0;
        for (size_t g = 0; g < COUNT(special); g++)
            for (size_t u = 0; u < COUNT(special); u++)
                compare(activations[i], &c, &act, &contract, special[g], special[u]);
        for (int n = 0; n < 20000; n++)
            compare(activations[i], &c, &act, &contract, random_wide(&r, -60, 10), random_wide(&r, -60, 10));
        for (int n = 0; n < 20000; n++) /* where all of them bend */
            compare(activations[i], &c, &act, &contract, 40 * random_unit(&r), 2 * random_unit(&r));
    }
    assert_true(compared ==
                (int64_t)COUNT(activations) * (40000 + (int64_t)COUNT(special) * (int64_t)COUNT(special)));
}

/* Beside long double's: within an ulp of the result, or half of the smallest subnormal. */
static void exp_is_within_an_ulp(void **state) {
    (void)state;
    rng r = {6};
    double worst = 0;
    for (int n = 0; n < 2000000; n++) {
        const double x = n % 4 == 0   ? 750 * random_unit(&r)
                         : n % 4 == 1 ? random_unit(&r)
                                      : random_wide(&r, -60, 9);
        const long double exact = expl((long double)x);
        if (exact > (long double)0x1.fffffffffffffp1023) continue;
        const double ulp = 2 * mp_half_ulp(MP_FP64, (double)exact),
                     off = (double)fabsl((long double)mp_exp64(x) - exact) / ulp;
        worst = fmax(worst, off);
        if (!(off <= 1)) fail_msg("exp(%.17g) is %.17g, %.3f ulps off", x, mp_exp64(x), off);
    }
    print_message("at most %.3f ulps\n", worst);
    assert_true(worst > 0.5); /* it was looked at: no float64 is closer */
    assert_true(mp_exp64(0) == 1 && mp_exp64(-0.0) == 1 && mp_exp64(INFINITY) == INFINITY);
    assert_true(mp_exp64(-INFINITY) == 0 && isnan(mp_exp64(NAN)));
    assert_true(mp_exp64(709.78271289338397) == exp(709.78271289338397) &&
                isinf(mp_exp64(709.7827128933841)));
    assert_true(mp_exp64(-745.13321910194110) == 0x1p-1074 && mp_exp64(-745.2) == 0);
}

/* A function that somebody has added elsewhere alone is no swish. */
static void what_is_not_known_is_no_number(void **state) {
    (void)state;
    const mp_act_form unknown = {.function = (mp_gate_function)99, .beta = 1};
    const mp_act_rule rule = {.form = unknown, .u = 0x1p-24, .eps = 0x1p-22};
    assert_true(isnan(mp_act64_at(&unknown, 1, 0)));
    assert_true(isnan(mp_gate_error(&rule, 1, 1, 1, 0)));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(within_the_bound_of_both),
                                       cmocka_unit_test(exp_is_within_an_ulp),
                                       cmocka_unit_test(what_is_not_known_is_no_number)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
