/* SPDX-License-Identifier: Apache-2.0 */
/* ref/activation.c: the float64 activation against other forms of its formulas in long double and in 113
 * bits, its special values, and the stage around it. */
#include "tests/activation_support.h"

#include <float.h>

static void float64_matches_long_double(void **unused) {
    (void)unused;
    for (size_t i = 0; i < COUNT(activations); i++) {
        const mp_case c = activation_case(activations[i].act, activations[i].gated);
        for (uint32_t code = 0; code < 65536; code++) {
            const double g = (double)bf16_gate(code);
            if (!isfinite(g)) continue;
            for (size_t j = 0; j < COUNT(ups); j += c.gated ? 1 : COUNT(ups)) {
                const double u = (double)ups[j], got = mp_activate(&c, g, u, NULL);
                const double bound = mp_activation_bound(&c, &float64_contract, g, u);
                if (!(fabsl((long double)got - truth(&c, g, u)) <= (long double)bound))
                    fail_msg("%s gated=%d (%a, %a): %.17g, expected %.17Lg +- %.3g",
                             mp_activation_name(c.act), c.gated, g, u, got, truth(&c, g, u), bound);
            }
        }
    }
}

/* exp and erfc of their own, in 113 bits, of which exp loses a few: nothing of libm is in them. */
typedef __float128 quad;

static quad exp_q(quad x) {
    const quad ln2 = 0.693147180559945309417232121458176568075500134360255Q;
    if (x < -11000 || x > 11000) return x < 0 ? 0 : (quad)LDBL_MAX;
    const int whole = (int)(x / ln2);
    const quad r = (x - (quad)whole * ln2) / 16; /* below 0.0434: of the series 17 terms count */
    quad sum = 1, term = 1;
    for (int n = 1; n < 18; n++) sum += term *= r / (quad)n;
    for (int i = 0; i < 4; i++) sum *= sum;
    return sum * (quad)ldexpl(1, whole);
}

/* 1 - erf by the series of positive terms, where that loses nothing that counts; else the continued
 * fraction, from its end. */
static quad erfc_q(quad x) {
    const quad root_pi = 1.772453850905516027298167483341145182797549456122387Q, square = x * x;
    if (x > 110) return 0;
    if (x < 2) {
        quad sum = 1, term = 1;
        for (int n = 1; n < 400 && term > 1e-40Q * sum; n++) sum += term *= 2 * square / (quad)(2 * n + 1);
        return x < -9 ? 2 : 1 - 2 / root_pi * x * exp_q(-square) * sum;
    }
    quad fraction = 1;
    for (int n = 20 + (int)(900 / (double)square); n > 0; n--)
        fraction = 1 + (quad)n / (2 * square) / fraction;
    return exp_q(-square) / (x * root_pi * fraction);
}

static quad swish_q(quad v, quad beta) {
    return v / (1 + exp_q(-beta * v));
}

static quad exact_gate(const mp_case *c, double gate) {
    const quad L = (quad)(float)c->limit, alpha = (quad)(float)c->alpha, g = gate, low = g < L ? g : L;
    const quad root_2 = 1.414213562373095048801688724209698078569671875376948Q,
               root_8_pi = 1.595769121605730711759784239737527474003770890664573Q; /* 2 sqrt(2/pi) */
    switch (c->act) {
    case MP_SILU: return swish_q(g, 1);
    case MP_GELU: return g / 2 * erfc_q(-g / root_2);
    case MP_GELU_TANH: return g / (1 + exp_q(-root_8_pi * (g + 0.044715Q * g * g * g)));
    case MP_RELU2: return g > 0 ? g * g : 0;
    case MP_SWIGLU_OAI: return swish_q(low, alpha);
    case MP_SILU_CLAMP: return swish_q(g, 1) < L ? swish_q(g, 1) : L;
    case MP_CLAMP_SILU: return swish_q(low, 1);
    case MP_ACTIVATION_COUNT: break;
    }
    return 0;
}

/* Every gate of 16 bits, also the far negative ones, of which 1+erf and 1+tanh leave nothing: within 4u of
 * the exact value, or of the smallest subnormal. */
static void float64_is_right_to_a_few_ulps(void **unused) {
    (void)unused;
    static const mp_dtype dtypes[] = {MP_BF16, MP_FP16};
    for (size_t i = 0; i < COUNT(activations); i++) {
        const mp_case c = activation_case(activations[i].act, activations[i].gated);
        if (!c.gated && c.act != MP_RELU2) continue;          /* the same gates again */
        const double factor = c.act == MP_SWIGLU_OAI ? 2 : 1; /* up + 1 */
        double worst = 0;
        for (size_t d = 0; d < COUNT(dtypes); d++)
#pragma omp parallel for schedule(dynamic, 256) reduction(max : worst)
            for (uint32_t code = 0; code < 65536; code++) {
                const double g = mp_decode_code(dtypes[d], code);
                if (!isfinite(g)) continue;
                const quad exact = exact_gate(&c, g) * (quad)factor, got = mp_activate(&c, g, 1, NULL);
                const double magnitude = (double)(exact < 0 ? -exact : exact),
                             error = (double)(got < exact ? exact - got : got - exact);
                const double units = error / (0x1p-53 * magnitude + 0x1p-1074);
                if (units > worst) worst = units;
            }
        print_message("%s gated=%d: %.2f u\n", mp_activation_name(c.act), c.gated, worst);
        assert_true(worst <= 4);
    }
}

static void parameters_and_gate_rounding_are_used(void **unused) {
    (void)unused;
    mp_case c = activation_case(MP_SWIGLU_OAI, true);
    c.alpha = 2.5;
    c.limit = 0.3; /* becomes the fp32 value */
    for (int i = -40; i <= 40; i++) {
        const double g = i * 0.125, u = i * -0.0625;
        assert_true(fabsl((long double)mp_activate(&c, g, u, NULL) - truth(&c, g, u)) <= 0x1p-48L);
    }
    const mp_dtype bf16 = MP_BF16;
    c = activation_case(MP_SILU, true);
    assert_true(mp_activate(&c, 1.5, 3, &bf16) == mp_round_to(MP_BF16, mp_activate(&c, 1.5, 1, NULL)) * 3);
    assert_true(mp_activate(&c, 1.5, 3, &bf16) != mp_activate(&c, 1.5, 3, NULL));
}

/* ---- Inf and NaN ---- */

static void nan_is_never_lost(void **unused) {
    (void)unused;
    for (size_t i = 0; i < COUNT(activations); i++) {
        const mp_case c = activation_case(activations[i].act, activations[i].gated);
        assert_true(isnan(mp_activate(&c, NAN, 1, NULL)) && isnan(mp_activate(&c, -NAN, 0, NULL)));
        assert_int_equal(isnan(mp_activate(&c, 1, NAN, NULL)), c.gated); /* up is not read without a gate */
    }
}

/* Where a float32 evaluation differs in kind (NaN, Inf, finite) from the reference, float32 overflows or the
 * activated gate may vanish. */
static void special_values_have_one_meaning(void **unused) {
    (void)unused;
    static const float special_ups[] = {0, -0.0f, 1, -1, INFINITY, -INFINITY, NAN, 0x1p127f};
    for (size_t i = 0; i < COUNT(activations); i++) {
        const mp_case c = activation_case(activations[i].act, activations[i].gated);
        for (uint32_t code = 0; code < 65536; code++) {
            const float g = bf16_gate(code);
            for (size_t j = 0; j < COUNT(special_ups); j++) {
                const float u = special_ups[j],
                            got = mp_activate_f32((int)c.act, c.gated, g, u, (float)c.alpha, (float)c.limit);
                const double expected = mp_activate(&c, (double)g, (double)u, NULL);
                const bool same = isnan(got)   ? isnan(expected)
                                  : isinf(got) ? (double)got == expected
                                               : isfinite(expected);
                const bool overflows =
                    isfinite(g) && isinf(got) && fabs(expected) > (double)FLT_MAX * (1 - 0x1p-20);
                if (!same && !overflows && !mp_activation_may_vanish(&c, &float32_contract, (double)g))
                    fail_msg("%s gated=%d (%g, %g): float32 %g, float64 %g", mp_activation_name(c.act),
                             c.gated, (double)g, (double)u, (double)got, expected);
            }
        }
    }
    const mp_case silu = activation_case(MP_SILU, true);
    assert_true(mp_activation_may_vanish(&silu, &float32_contract, -100) &&
                mp_activation_may_vanish(&silu, &float32_contract, 0));
    assert_false(mp_activation_may_vanish(&silu, &float32_contract, -80) ||
                 mp_activation_may_vanish(&silu, &float32_contract, 1));
    assert_true(isnan(mp_activate(&silu, -INFINITY, 1, NULL)) &&
                mp_activate(&silu, INFINITY, -1, NULL) == -INFINITY);
}

/* ---- the stage ---- */

/* Both column orders of the same data, rows permuted, one slot filtered, one without a row; what is not
 * written keeps its poison.
 */
static void the_stage_finds_its_columns_and_rows(void **unused) {
    (void)unused;
    enum { SLOTS = 11, ROWS = 14, N = 37 };
    const int32_t ids[SLOTS] = {0, 3, -1, 2, 2, 7, 0, -1, 5, 1, 4};
    int64_t row[SLOTS];
    rng r = {7};
    for (int64_t t = 0; t < SLOTS; t++) row[t] = (t * 5 + 2) % ROWS;
    row[9] = -1;
    for (size_t i = 0; i < COUNT(activations); i++) {
        mp_case halves = activation_case(activations[i].act, activations[i].gated), interleaved = halves;
        halves.N = interleaved.N = N;
        interleaved.interleaved = halves.gated;
        const int64_t width = mp_case_w1_rows(&halves);
        mp_tensor in_halves = allocated_tensor(MP_FP16, ROWS, width, 0),
                  in_interleaved = allocated_tensor(MP_FP16, ROWS, width, 0);
        for (int64_t p = 0; p < ROWS; p++)
            for (int64_t n = 0; n < width; n++) {
                const double v = 9 * random_unit(&r);
                mp_encode(MP_FP16, in_halves.data, p * width + n, v);
                mp_encode(MP_FP16, in_interleaved.data, p * width + (halves.gated ? n % N * 2 + n / N : n),
                          v);
            }
        for (int rounding = MP_ACT_ONE_ROUNDING; rounding <= MP_ACT_GATE_ROUNDED; rounding++) {
            const mp_dtype bf16 = MP_BF16;
            mp_tensor a = allocated_tensor(MP_BF16, ROWS, N, 0), b = allocated_tensor(MP_BF16, ROWS, N, 0),
                      expected = allocated_tensor(MP_BF16, ROWS, N, 0);
            mp_activation_stage(&halves, ids, row, SLOTS, (mp_act_rounding)rounding, &in_halves, &a);
            mp_activation_stage(&interleaved, ids, row, SLOTS, (mp_act_rounding)rounding, &in_interleaved,
                                &b);
            for (int64_t t = 0; t < SLOTS; t++)
                for (int64_t n = 0; n < N && ids[t] >= 0 && row[t] >= 0; n++) {
                    const double g = mp_decode(MP_FP16, in_halves.data, row[t] * width + n);
                    const double u =
                        halves.gated ? mp_decode(MP_FP16, in_halves.data, row[t] * width + N + n) : 0;
                    mp_encode(MP_BF16, expected.data, row[t] * N + n,
                              mp_activate(&halves, g, u, rounding == MP_ACT_GATE_ROUNDED ? &bf16 : NULL));
                }
            assert_true(same_memory(&a, &expected) && same_memory(&b, &expected));
            mp_tensor_free(&a);
            mp_tensor_free(&b);
            mp_tensor_free(&expected);
        }
        mp_tensor_free(&in_halves);
        mp_tensor_free(&in_interleaved);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(float64_matches_long_double),
        cmocka_unit_test(float64_is_right_to_a_few_ulps),
        cmocka_unit_test(parameters_and_gate_rounding_are_used),
        cmocka_unit_test(nan_is_never_lost),
        cmocka_unit_test(special_values_have_one_meaning),
        cmocka_unit_test(the_stage_finds_its_columns_and_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
