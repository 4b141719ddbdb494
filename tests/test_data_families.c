/* SPDX-License-Identifier: Apache-2.0 */
/* cases/fill.c: each data family has the property it exists for, and outputs are near 1. */
#include "tests/inputs_support.h"

#include <stdio.h>

/* Root mean square of the final float64 output of a silu case, straight from the formulas. */
static double output_rms(const char *text) {
    fixture f = made(text);
    const int64_t K = f.c.K, N = f.c.N, rows = mp_case_w1_rows(&f.c);
    double *out = calloc((size_t)(f.c.M * K), sizeof *out), *h = malloc((size_t)N * sizeof *h), squares = 0;
    for (int64_t slot = 0; slot < mp_case_slots(&f.c); slot++) {
        const int64_t m = slot / f.c.topk, e = ids_of(&f)[slot];
        for (int64_t n = 0; n < N; n++) {
            double gate = 0, up = f.c.gated ? 0 : 1;
            for (int64_t k = 0; k < K; k++) {
                gate += value(&f, MP_X, m * K + k) * value(&f, MP_W1, (e * rows + n) * K + k);
                if (f.c.gated)
                    up += value(&f, MP_X, m * K + k) * value(&f, MP_W1, (e * rows + N + n) * K + k);
            }
            h[n] = gate / (1 + exp(-gate)) * up;
        }
        for (int64_t k = 0; k < K; k++) {
            double sum = 0;
            for (int64_t n = 0; n < N; n++) sum += h[n] * value(&f, MP_W2, (e * K + k) * N + n);
            out[m * K + k] += value(&f, MP_TOPK_WEIGHTS, slot) * sum;
        }
    }
    for (int64_t i = 0; i < f.c.M * K; i++) squares += out[i] * out[i];
    const double rms = sqrt(squares / (double)(f.c.M * K));
    free(out);
    free(h);
    mp_inputs_destroy(&f.in);
    return rms;
}

static void outputs_are_near_one(void **unused) {
    (void)unused;
    static const char *const texts[] = {"M=8 K=512 N=256",           "M=8 K=96 N=72 topk=1",
                                        "M=8 K=33 N=17 topk=4",      "M=8 K=64 N=700 topk=8",
                                        "M=8 K=700 N=64 topk=1",     "M=8 K=128 N=128 gated=0",
                                        "M=4 K=1030 N=130 topk=6",   "M=32 K=7 N=5",
                                        "M=8 K=256 N=64 dtype=fp16", "M=8 K=100 N=52 dtype=fp32",
                                        "M=8 K=128 N=64 data=wide",  "M=8 K=128 N=64 data=wide dtype=fp16"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        const double rms = output_rms(texts[i]);
        if (!(rms > 0.3 && rms < 3)) fail_msg("'%s' has an output rms of %g", texts[i], rms);
    }
}

static void normal_has_its_moments(void **unused) {
    (void)unused;
    static const char *const dtypes[] = {"bf16", "fp16", "fp32", "fp64"};
    for (size_t d = 0; d < COUNT(dtypes); d++) {
        char text[128];
        snprintf(text, sizeof text, "M=200 topk=1 K=500 scope=combine dtype=%s", dtypes[d]);
        fixture f = made(text);
        double sum = 0, squares = 0, fourth = 0;
        const int64_t n = 200 * 500;
        for (int64_t i = 0; i < n; i++) {
            const double v = value(&f, MP_CACHE3, i) / sqrt(4.0 / 3);
            sum += v;
            squares += v * v;
            fourth += v * v * v * v;
        }
        assert_true(fabs(sum / (double)n) < 0.02);
        assert_true(fabs(squares / (double)n - 1) < 0.02);
        assert_true(fabs(fourth / (double)n - 2.7) < 0.08); /* Irwin-Hall of four: kurtosis 3 - 6/(5*4) */
        mp_inputs_destroy(&f.in);
    }
}

/* Sums of float32 and float64 data must be inexact in a format that is too narrow. */
static void wide_types_use_their_bits(void **unused) {
    (void)unused;
    fixture f = made("M=20 topk=1 K=50 scope=combine dtype=fp64");
    int narrow = 0;
    for (int64_t i = 0; i < 1000; i++)
        narrow += (double)(float)value(&f, MP_CACHE3, i) == value(&f, MP_CACHE3, i);
    assert_true(narrow < 10);
    mp_inputs_destroy(&f.in);
    f = made("M=20 topk=1 K=50 dtype=fp32");
    narrow = 0;
    for (int64_t i = 0; i < 1000; i++) narrow += fmod(value(&f, MP_X, i) * 0x1p17, 1) == 0;
    assert_true(narrow < 100);
    mp_inputs_destroy(&f.in);
}

static void integers_stay_exact(void **unused) {
    (void)unused;
    fixture f = made("M=16 K=1000 N=300 data=integer act=relu2 gated=0 bias=1 topk=3");
    for (int64_t m = 0; m < 16; m++) {
        int nonzero = 0;
        for (int64_t k = 0; k < 1000; k++) {
            const double v = value(&f, MP_X, m * 1000 + k);
            assert_true(v == floor(v) && fabs(v) <= 2);
            nonzero += v != 0;
        }
        assert_true(nonzero >= 15 && nonzero <= 16);
    }
    double largest = 0; /* every partial sum of every output element is at most the sum of magnitudes */
    for (int64_t slot = 0; slot < 16 * 3; slot++) {
        double h[300];
        const int64_t e = ids_of(&f)[slot];
        for (int64_t n = 0; n < 300; n++) {
            double mass = fabs(value(&f, MP_B1, e * 300 + n)), sum = value(&f, MP_B1, e * 300 + n);
            for (int64_t k = 0; k < 1000; k++) {
                const double term =
                    value(&f, MP_X, slot / 3 * 1000 + k) * value(&f, MP_W1, (e * 300 + n) * 1000 + k);
                mass += fabs(term);
                sum += term;
            }
            assert_true(mass < 256); /* bf16 holds every integer up to 256 */
            h[n] = sum > 0 ? mp_round_to(MP_BF16, sum * sum) : 0;
        }
        for (int64_t k = 0; k < 1000; k++) {
            double mass = fabs(value(&f, MP_B2, e * 1000 + k));
            int nonzero = 0;
            for (int64_t n = 0; n < 300; n++) {
                const double w = value(&f, MP_W2, (e * 1000 + k) * 300 + n);
                assert_true(w == floor(w) && fabs(w) <= 2);
                mass += fabs(h[n] * w);
                nonzero += w != 0;
            }
            assert_true(nonzero > 50 && nonzero <= 64);
            if (mass > largest) largest = mass;
        }
        const double weight = value(&f, MP_TOPK_WEIGHTS, slot);
        assert_true(weight == 1 || weight == 0.5 || weight == 0.25 || weight == 0.125);
    }
    assert_true(largest > 100 && largest < 0x1p24);
    mp_inputs_destroy(&f.in);
}

static void onehot_selects(void **unused) {
    (void)unused;
    fixture f = made("M=40 E=4 K=60 N=30 data=onehot");
    bool seen[60] = {false};
    int places = 0;
    for (int64_t row = 0; row < 40 + 4 * 60; row++) {
        const bool of_x = row < 40;
        const int64_t length = of_x ? 60 : 30, first = of_x ? row * 60 : (row - 40) * 30;
        int ones = 0;
        for (int64_t i = 0; i < length; i++) {
            const double v = value(&f, of_x ? MP_X : MP_W2, first + i);
            assert_true(v == 0 || v == 1);
            ones += v == 1;
            if (of_x && v == 1) places += !seen[i], seen[i] = true;
        }
        assert_int_equal(ones, 1);
    }
    assert_true(places > 20);
    mp_inputs_destroy(&f.in);
}

static void wide_spreads_and_cancels(void **unused) {
    (void)unused;
    fixture f = made("M=50 K=400 N=20 data=wide dtype=fp32");
    double least = INFINITY, most = 0;
    for (int64_t i = 0; i < 50 * 400; i++) {
        const double v = fabs(value(&f, MP_X, i));
        least = fmin(least, v);
        most = fmax(most, v);
    }
    assert_true(least >= 0x1p-12 && least < 0x1p-11 && most > 0x1p5 && most < 0x1p6);
    for (int64_t k = 0; k < 400; k += 4) {
        for (int64_t m = 0; m < 50; m++) {
            const double a = value(&f, MP_X, m * 400 + k), b = value(&f, MP_X, m * 400 + k + 1);
            assert_true(a + b != 0 && fabs(a + b) <= fabs(a) / 64);
        }
        assert_true(value(&f, MP_W1, k) == value(&f, MP_W1, k + 1));
    }
    mp_inputs_destroy(&f.in);
}

static void special_rows(void **unused) {
    (void)unused;
    static const char *const dtypes[] = {"bf16", "fp16", "fp32"};
    for (size_t d = 0; d < COUNT(dtypes); d++) {
        char text[128];
        snprintf(text, sizeof text, "M=400 K=40 N=8 data=special dtype=%s", dtypes[d]);
        fixture f = made(text);
        const mp_format *format = mp_dtype_format(f.c.dtype);
        int special = 0;
        for (int64_t m = 0; m < 400; m++) {
            int zero = 0, subnormal = 0, inf = 0, nan = 0;
            for (int64_t k = 0; k < 40; k++) {
                const double v = value(&f, MP_X, m * 40 + k);
                zero += v == 0;
                subnormal += v != 0 && fabs(v) < ldexp(1, format->emin);
                inf += isinf(v) != 0;
                nan += isnan(v) != 0;
            }
            assert_true(inf + nan <= 1);
            const bool is[4] = {zero == 40, subnormal == 40, inf == 1, nan == 1};
            if (m < 4) assert_true(is[m]);
            special += is[0] || is[1] || is[2] || is[3];
        }
        assert_true(special > 60 && special < 150);
        for (int64_t i = 0; i < mp_tensor_count(&f.in.t[MP_W1]); i++)
            assert_true(isfinite(value(&f, MP_W1, i)));
        mp_inputs_destroy(&f.in);
    }
}

static void limits_reach_the_clamps(void **unused) {
    (void)unused;
    fixture f = made("M=20 K=128 N=64 data=limits act=clamp_silu limit=10 bias=1");
    int beyond = 0;
    for (int64_t m = 0; m < 20; m++) {
        const int64_t e = ids_of(&f)[m * 2];
        for (int64_t n = 0; n < 128; n++) {
            double sum = 0;
            for (int64_t k = 0; k < 128; k++)
                sum += value(&f, MP_X, m * 128 + k) * value(&f, MP_W1, (e * 128 + n) * 128 + k);
            if (m % 2) assert_true(sum == 0);
            beyond += fabs(sum) > 10;
        }
    }
    assert_true(beyond > 10 * 128 / 10);
    mp_inputs_destroy(&f.in);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_are_near_one),
        cmocka_unit_test(normal_has_its_moments),
        cmocka_unit_test(wide_types_use_their_bits),
        cmocka_unit_test(integers_stay_exact),
        cmocka_unit_test(onehot_selects),
        cmocka_unit_test(wide_spreads_and_cancels),
        cmocka_unit_test(special_rows),
        cmocka_unit_test(limits_reach_the_clamps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
