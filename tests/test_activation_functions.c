/* SPDX-License-Identifier: Apache-2.0 */
/* ref/activation.c: its bound where the contract names a function, or says how much an approximate one errs:
 * what published kernels and the device's own units make of an element is inside. */
#include "ref/predict/activation_cuda.h"
#include "ref/predict/special_unit_tables.h"
#include "tests/activation_bound_support.h"

/* An element as a published kernel computes it, rounded nowhere. */
static float device_element(const mp_special_unit *on, mp_act_function function, const mp_case *c, float g,
                            float u) {
    const float L = (float)c->limit, alpha = (float)c->alpha, factor = mp_up_f32((int)c->act, u, L),
                taken = c->act == MP_SWIGLU_OAI || c->act == MP_CLAMP_SILU ? mp_at_most(g, L) : g;
    if (c->act != MP_SILU_CLAMP) return mp_activation_cuda_gated(on, function, c->act, taken, alpha, factor);
    return mp_activation_cuda_times(
        function, mp_at_most(mp_activation_cuda(on, function, c->act, taken, alpha), L), factor);
}

/* Published kernels on a device, every gate of 16 bits and many of 32, with their functions' known errors and
 * no act.ulps that would forgive more. How near they come to the bound is printed: it says something. */
static void device_functions_stay_inside(void **unused) {
    (void)unused;
    static const mp_act_function functions[] = {
        MP_ACT_CUDA_MATH,       MP_ACT_CUDA_INTRINSICS, MP_ACT_CUDA_FAST_MATH, MP_ACT_TRITON,
        MP_ACT_TRITON_QUOTIENT, MP_ACT_CUDA_SIGMOID,    MP_ACT_CUDA_PRODUCT,   MP_ACT_TORCH_COMPILE};
    const mp_special_unit *unit;
    mp_error err;
    assert_int_equal(mp_special_unit_sm90(&unit, &err), MP_OK);
    mp_contract contract[COUNT(functions)], library = float32_contract; /* exp as good as the library's */
    library.act_function = MP_ACT_LIBRARY;
    library.act_ulps = 2;
    for (size_t f = 0; f < COUNT(functions); f++) {
        contract[f] = float32_contract;
        contract[f].act_function = functions[f];
        contract[f].act_ulps = 0;
    }
    for (mp_activation act = MP_SILU; act < MP_ACTIVATION_COUNT; act++) {
        const mp_case c = activation_case(act, true);
        double nearest[COUNT(functions)] = {0}, over[COUNT(functions)] = {0};
        rng r = {16};
        if (act == MP_RELU2) continue;
        for (uint32_t n = 0; n < 200000; n++) {
            const float wide = (float)(110 * random_unit(&r)), near = (float)(12 * random_unit(&r));
            const float g = n < 65536    ? bf16_gate(n)
                            : n < 131072 ? (float)mp_decode_code(MP_FP16, n - 65536)
                            : n < 165000 ? wide
                                         : near;
            const float u = n % 3 ? 1 : ups[n % COUNT(ups)];
            if (!isfinite(g)) continue;
            const range of_library = range_of(&c, &library, g, u);
            /* a product that is made first overflows where the result would not: Inf/Inf */
            const bool overflows = !isfinite(g * mp_up_f32((int)act, u, (float)c.limit));
            for (size_t f = 0; f < COUNT(functions); f++) {
                if (mp_activation_cuda_unknown(functions[f], act) ||
                    (functions[f] == MP_ACT_CUDA_PRODUCT && overflows))
                    continue;
                const float got = device_element(unit, functions[f], &c, g, u);
                const range own = {of_library.expected,
                                   mp_activation_bound(&c, &contract[f], (double)g, (double)u)};
                if (!lies_in(own, got))
                    fail_msg("function %d of %s (%a, %a): %.9g, expected %.9g +- %.3g", (int)functions[f],
                             mp_activation_name(act), (double)g, (double)u, (double)got, own.expected,
                             own.bound);
                if (!isfinite(got) || fabsf(g) > 87) continue;
                const double error = fabs((double)got - own.expected);
                nearest[f] = fmax(nearest[f], error / own.bound);
                over[f] = fmax(over[f], error / of_library.bound);
            }
        }
        for (size_t f = 0; f < COUNT(functions); f++) {
            if (mp_activation_cuda_unknown(functions[f], act)) continue;
            print_message("function %d of %s: at most %.2f of the bound, %.1f of the library's\n",
                          (int)functions[f], mp_activation_name(act), nearest[f], over[f]);
            assert_true(nearest[f] > 0.2);
            if (act == MP_SILU && functions[f] < MP_ACT_CUDA_SIGMOID)
                assert_true((over[f] > 1) == (functions[f] != MP_ACT_CUDA_MATH));
        }
    }
}

/* What .ftz and tanh.approx make of an element is inside, whether the function is named or not. */
static void flushed_factors_and_an_approximate_tanh_are_inside(void **unused) {
    (void)unused;
    static const mp_act_function functions[] = {MP_ACT_CUDA_FAST_MATH, MP_ACT_SPECIAL_UNIT};
    static const double inside_to[] = {-16.5, -11.5}; /* of tanh; four times as much is outside */
    for (size_t i = 0; i < COUNT(functions); i++) {
        mp_contract contract = float32_contract;
        contract.act_function = functions[i];
        contract.act_ulps = i ? 108 : 0;
        const mp_case silu = activation_case(MP_SILU, true), tanh_gelu = activation_case(MP_GELU_TANH, true);
        assert_true(inside(&silu, &contract, 0, 1000, 0x1p-127f)); /* a subnormal up is 0 */
        assert_true(inside(&silu, &contract, 0, -87.5f, 1));       /* its reciprocal is 0 */
        assert_false(inside(&silu, &contract, 0, 1000, 0x1p-110f));
        assert_false(inside(&silu, &contract, 0, -80, 1));
        const double z = sqrt(2 / acos(-1)) * (-1.5 + 0.044715 * -3.375), t = tanh(z);
        const double less = exp2(inside_to[i]), more = 4 * less;
        assert_true(inside(&tanh_gelu, &contract, (float)(-0.75 * (1 + t * (1 + less))), -1.5f, 1));
        assert_false(inside(&tanh_gelu, &contract, (float)(-0.75 * (1 + t * (1 + more))), -1.5f, 1));
    }
}

/* exp errs by `share` of what it may, at every argument; tanh is made of it. The rest is exact. */
static double errs_with_its_argument(const mp_case *c, double g, double ulps_per_argument, double share) {
    const double alpha = c->act == MP_SWIGLU_OAI ? (double)(float)c->alpha : 1,
                 limit = (double)(float)c->limit,
                 v = (c->act == MP_SWIGLU_OAI || c->act == MP_CLAMP_SILU) && g > limit ? limit : g,
                 y = c->act == MP_GELU_TANH ? 2 * sqrt(2 / acos(-1)) * (g + 0.044715 * g * g * g) : alpha * v,
                 e = exp(-y) * (1 + share * ulps_per_argument * 0x1p-23 * fabs(y));
    return v / (1 + e);
}

/* The bound grows with the argument as the error does: all of it is inside, near the edge somewhere, and 1.5
 * times as much is outside. */
static void an_error_in_proportion_to_the_argument_is_bounded(void **unused) {
    (void)unused;
    static const mp_activation acts[] = {MP_SILU, MP_SWIGLU_OAI, MP_CLAMP_SILU, MP_GELU_TANH};
    const double ulps = 40;
    for (size_t i = 0; i < COUNT(acts); i++) {
        const mp_case c = activation_case(acts[i], true);
        mp_contract contract = float32_contract;
        contract.act_ulps_per_argument = ulps;
        const double up = acts[i] == MP_SWIGLU_OAI ? 2 : 1;
        double worst = 0;
        int64_t outside = 0;
        for (double g = -20; g <= 20; g += 0.0625) {
            const double bound = mp_activation_bound(&c, &contract, g, 1),
                         exact = mp_activate(&c, g, 1, NULL);
            for (int sign = -1; sign <= 1; sign += 2) {
                const double error = fabs(up * errs_with_its_argument(&c, g, ulps, sign) - exact);
                if (!(error <= bound))
                    fail_msg("%s: %g at %g", mp_activation_name(acts[i]), error / bound, g);
                worst = fmax(worst, error / bound);
                outside += fabs(up * errs_with_its_argument(&c, g, ulps, 1.5 * sign) - exact) > bound;
            }
        }
        if (!(worst > 0.8 && outside > 3))
            fail_msg("%s: %g of the bound, %lld outside", mp_activation_name(acts[i]), worst,
                     (long long)outside);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_functions_stay_inside),
        cmocka_unit_test(flushed_factors_and_an_approximate_tanh_are_inside),
        cmocka_unit_test(an_error_in_proportion_to_the_argument_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
