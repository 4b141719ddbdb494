#include "ref/activation_f32.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ALPHA 1.702f
#define LIMIT 7.0f

static double clamp(double v, double low, double high) {
    return v < low ? low : v > high ? high : v;
}

static double swish(double v, double beta) {
    return v / (1 + exp(-beta * v));
}

/* The table of formulas in float64, written per case rather than by shared factors. */
static double truth(int act, bool gated, double g, double u) {
    double L = (double)LIMIT, factor = gated ? u : 1;
    switch (act) {
    case MP_SILU: return swish(g, 1) * factor;
    case MP_GELU: return g / 2 * (1 + erf(g / sqrt(2))) * factor;
    case MP_GELU_TANH: return g / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (g + 0.044715 * pow(g, 3)))) * factor;
    case MP_RELU2: return (g > 0 ? g * g : 0) * factor;
    case MP_SWIGLU_OAI: return swish(clamp(g, -INFINITY, L), (double)ALPHA) * (clamp(u, -L, L) + 1);
    case MP_SILU_CLAMP: return clamp(swish(g, 1), -INFINITY, L) * clamp(u, -L, L);
    default: return swish(clamp(g, -INFINITY, L), 1) * clamp(u, -L, L); /* clamp_silu */
    }
}

static bool is_gated_only(int act) {
    return act == MP_SWIGLU_OAI || act == MP_SILU_CLAMP || act == MP_CLAMP_SILU;
}

static float activate(int act, int gated, float g, float u) {
    return mp_activate_f32(act, gated, g, u, ALPHA, LIMIT);
}

/* About ten float32 operations of relative error u = 2^-24 each, two functions below 1 ulp = 2u, the argument alpha*g of exp, whose
 * rounding counts |alpha g| times; and 1+erf, 1+tanh, whose error is absolute (u times the g/2 in front) where they cancel. */
static void every_activation_follows_its_formula(void **state) {
    (void)state;
    for (int act = 0; act < MP_ACTIVATION_COUNT; act++) {
        for (int gated = is_gated_only(act); gated <= 1; gated++) {
            for (int i = -2000; i <= 2000; i++) {
                float g = (float)i * 0.0101f, u = (float)(i * 37 % 1999) * 0.011f;
                double y = (double)activate(act, gated, g, u), expected = truth(act, gated, (double)g, (double)u);
                double scale = fabs(expected) * (14 + 2 * fabs((double)g)) + 10 * fabs((double)g) * (gated ? fabs((double)u) : 1);
                if (act != MP_GELU && act != MP_GELU_TANH) scale = fabs(expected) * (14 + 2 * fabs((double)g));
                if (!(fabs(y - expected) <= scale * 0x1p-24)) {
                    fail_msg("activation %d gated %d (%g, %g): %.9g, expected %.9g", act, gated, (double)g, (double)u, y, expected);
                }
            }
        }
    }
}

static void nan_passes_every_clamp(void **state) {
    (void)state;
    for (int act = 0; act < MP_ACTIVATION_COUNT; act++) {
        assert_true(isnan(activate(act, 1, NAN, 1)));
        assert_true(isnan(activate(act, 1, -NAN, 1)));
        assert_true(isnan(activate(act, 1, 1, NAN)));
        if (!is_gated_only(act)) {
            assert_true(isnan(activate(act, 0, NAN, 1)));
            assert_true(!isnan(activate(act, 0, 1, NAN))); /* up is not read */
        }
    }
}

static void clamps_hold_exactly(void **state) {
    (void)state;
    static const float beyond[] = {7.0f, 7.5f, 1e30f, INFINITY};
    for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
        for (int act = MP_SWIGLU_OAI; act <= MP_CLAMP_SILU; act++) {
            assert_true(activate(act, 1, 3, beyond[i]) == activate(act, 1, 3, LIMIT));
            assert_true(activate(act, 1, 3, -beyond[i]) == activate(act, 1, 3, -LIMIT));
        }
        assert_true(activate(MP_SWIGLU_OAI, 1, beyond[i], 2) == activate(MP_SWIGLU_OAI, 1, LIMIT, 2));
        assert_true(activate(MP_CLAMP_SILU, 1, beyond[i], 2) == activate(MP_CLAMP_SILU, 1, LIMIT, 2));
    }
    assert_true(activate(MP_SILU_CLAMP, 1, 1e30f, 2) == 14); /* silu first: exactly the limit */
    assert_true(activate(MP_CLAMP_SILU, 1, 1e30f, 2) < 14);  /* clamp first: silu(7) < 7 */
}

static void infinities_and_zeros_follow_the_formulas(void **state) {
    (void)state;
    assert_true(activate(MP_SILU, 0, INFINITY, 0) == INFINITY && isnan(activate(MP_SILU, 0, -INFINITY, 0)));
    assert_true(activate(MP_GELU, 0, INFINITY, 0) == INFINITY && isnan(activate(MP_GELU, 0, -INFINITY, 0)));
    assert_true(activate(MP_GELU_TANH, 0, INFINITY, 0) == INFINITY && activate(MP_GELU_TANH, 0, 1e30f, 0) == 1e30f);
    assert_true(activate(MP_RELU2, 0, -INFINITY, 0) == 0 && activate(MP_RELU2, 0, INFINITY, 0) == INFINITY);
    assert_true(activate(MP_RELU2, 0, 3, 0) == 9 && activate(MP_RELU2, 0, -3, 0) == 0);
    for (int act = 0; act < MP_ACTIVATION_COUNT; act++) assert_true(activate(act, 1, 0, 5) == 0 && activate(act, 1, -0.0f, 5) == 0);
    assert_true(activate(MP_SILU, 0, -100, 0) == 0 && signbit(activate(MP_SILU, 0, -100, 0))); /* exp overflows */
    assert_true(isnan(activate(MP_SILU, 1, INFINITY, 0)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_activation_follows_its_formula),
        cmocka_unit_test(nan_passes_every_clamp),
        cmocka_unit_test(clamps_hold_exactly),
        cmocka_unit_test(infinities_and_zeros_follow_the_formulas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
