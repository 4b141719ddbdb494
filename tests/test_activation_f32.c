/* SPDX-License-Identifier: Apache-2.0 */
#include "moeparity/tensor.h"
#include "ref/predict/activation_f32.h"

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
    case MP_CLAMP_SILU: return swish(clamp(g, -INFINITY, L), 1) * clamp(u, -L, L);
    default: return NAN; /* no formula: nothing equals it */
    }
}

static bool is_gated_only(int act) {
    return act == MP_SWIGLU_OAI || act == MP_SILU_CLAMP || act == MP_CLAMP_SILU;
}

static float activate(int act, int gated, float g, float u) {
    return mp_activate_f32(act, gated, g, u, ALPHA, LIMIT);
}

/* About ten float32 operations of relative error u = 2^-24 each, two functions below 1 ulp = 2u, the argument
 * alpha*g of exp, whose rounding counts |alpha g| times; and 1+erf, 1+tanh, whose error is absolute (u times
 * the g/2 in front) where they cancel. */
static void every_activation_follows_its_formula(void **state) {
    (void)state;
    for (int act = 0; act < MP_ACTIVATION_COUNT; act++) {
        for (int gated = is_gated_only(act); gated <= 1; gated++) {
            for (int i = -2000; i <= 2000; i++) {
                float g = (float)i * 0.0101f, u = (float)(i * 37 % 1999) * 0.011f;
                double y = (double)activate(act, gated, g, u),
                       expected = truth(act, gated, (double)g, (double)u);
                double scale = fabs(expected) * (14 + 2 * fabs((double)g)) +
                               10 * fabs((double)g) * (gated ? fabs((double)u) : 1);
                if (act != MP_GELU && act != MP_GELU_TANH)
                    scale = fabs(expected) * (14 + 2 * fabs((double)g));
                if (!(fabs(y - expected) <= scale * 0x1p-24)) {
                    fail_msg("activation %d gated %d (%g, %g): %.9g, expected %.9g", act, gated, (double)g,
                             (double)u, y, expected);
                }
            }
        }
    }
}

/* CPU and GPU compile the same source, and its errors are far inside every bound: no comparison shows that a
 * constant or an order of operations has changed, but the bits of two releases then differ. Over every bf16
 * gate, and over as many that have all the bits of a float32: powers of the former are too often exact. Ups
 * are all codes in another order. */
static void bits_are_pinned(void **state) {
    (void)state;
    static const struct {
        int act, gated;
        float alpha, limit;
        uint64_t digest;
    } pinned[] = {
        {MP_SILU, 0, ALPHA, LIMIT, UINT64_C(0xD734985AAE1F2144)},
        {MP_SILU, 1, ALPHA, LIMIT, UINT64_C(0x2FC51C85C9952870)},
        {MP_GELU, 0, ALPHA, LIMIT, UINT64_C(0x7A27973982B21024)},
        {MP_GELU, 1, ALPHA, LIMIT, UINT64_C(0x9079114BAD7C4456)},
        {MP_GELU_TANH, 0, ALPHA, LIMIT, UINT64_C(0x60CBEA77918F3170)},
        {MP_GELU_TANH, 1, ALPHA, LIMIT, UINT64_C(0x7AED111B837FDF49)},
        {MP_RELU2, 0, ALPHA, LIMIT, UINT64_C(0xEC1F0032CC6B8A8C)},
        {MP_RELU2, 1, ALPHA, LIMIT, UINT64_C(0x4014CA65D96C690D)},
        {MP_SWIGLU_OAI, 1, ALPHA, LIMIT, UINT64_C(0xE071D1891E6D592F)},
        {MP_SWIGLU_OAI, 1, ALPHA, 0.25f, UINT64_C(0x001180538403AFDA)},
        {MP_SWIGLU_OAI, 1, 1.0f, 10.0f, UINT64_C(0xA1A888E33E118CF9)},
        {MP_SWIGLU_OAI, 1, 0.3f, 0.25f, UINT64_C(0x8E0A5106F2429430)},
        {MP_SILU_CLAMP, 1, ALPHA, LIMIT, UINT64_C(0xD8300D7664BFA810)},
        {MP_SILU_CLAMP, 1, ALPHA, 0.25f, UINT64_C(0xC5205CC39B5B803F)},
        {MP_SILU_CLAMP, 1, ALPHA, 10.0f, UINT64_C(0xAC506D36F1A0D467)},
        {MP_CLAMP_SILU, 1, ALPHA, LIMIT, UINT64_C(0xD77CBC6DC6710AB8)},
        {MP_CLAMP_SILU, 1, ALPHA, 0.25f, UINT64_C(0x0FB1CD21C5581228)},
        {MP_CLAMP_SILU, 1, ALPHA, 10.0f, UINT64_C(0x0C1E2CD5EE715EEE)},
    };
    mp_tensor y = mp_tensor_shape(MP_FP32, 2, 2, 65536, 0);
    bool equal = true;
    assert_int_equal(mp_tensor_alloc(&y, MP_POISON_A, NULL), MP_OK);
    for (size_t i = 0; i < sizeof pinned / sizeof pinned[0]; i++) {
        for (uint32_t n = 0; n < 2 * 65536; n++) {
            const uint32_t code = n % 65536, other = code * 40503 % 65536;
            const float gate = (float)mp_decode_code(MP_FP32, code << 16 | (n < 65536 ? 0 : other)),
                        up = (float)mp_decode_code(MP_BF16, other);
            mp_encode(MP_FP32, y.data, n,
                      (double)mp_activate_f32(pinned[i].act, pinned[i].gated, gate, up, pinned[i].alpha,
                                              pinned[i].limit)); /* one NaN */
        }
        const uint64_t digest = mp_tensor_digest(&y);
        if (digest == pinned[i].digest) continue;
        print_error("activation %d gated %d alpha %g limit %g: UINT64_C(0x%016llX)\n", pinned[i].act,
                    pinned[i].gated, (double)pinned[i].alpha, (double)pinned[i].limit,
                    (unsigned long long)digest);
        equal = false;
    }
    mp_tensor_free(&y);
    assert_true(equal);
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
    assert_true(activate(MP_GELU_TANH, 0, INFINITY, 0) == INFINITY &&
                activate(MP_GELU_TANH, 0, 1e30f, 0) == 1e30f);
    assert_true(activate(MP_RELU2, 0, -INFINITY, 0) == 0 && activate(MP_RELU2, 0, INFINITY, 0) == INFINITY);
    assert_true(activate(MP_RELU2, 0, 3, 0) == 9 && activate(MP_RELU2, 0, -3, 0) == 0);
    for (int act = 0; act < MP_ACTIVATION_COUNT; act++)
        assert_true(activate(act, 1, 0, 5) == 0 && activate(act, 1, -0.0f, 5) == 0);
    assert_true(activate(MP_SILU, 0, -100, 0) == 0 &&
                signbit(activate(MP_SILU, 0, -100, 0))); /* exp overflows */
    assert_true(isnan(activate(MP_SILU, 1, INFINITY, 0)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_activation_follows_its_formula),
        cmocka_unit_test(bits_are_pinned),
        cmocka_unit_test(nan_passes_every_clamp),
        cmocka_unit_test(clamps_hold_exactly),
        cmocka_unit_test(infinities_and_zeros_follow_the_formulas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
