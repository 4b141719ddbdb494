/* SPDX-License-Identifier: Apache-2.0 */
#include "moeparity/dtype.h"
#include "ref/predict/float32_math.h"

#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Function under test, its truth, and the promise in ref/predict/float32_math.h: below 1 ulp. */
typedef struct function {
    const char *name;
    float (*f)(float);
    long double (*truth)(long double);
    double (*truth64)(double); /* for the run over every input: float64 is 29 bits finer than a float32 ulp */
    bool odd;
    float fine_from, fine_to; /* range worth a finer sweep: elsewhere the result hardly changes */
} function;

static float exp_f32(float x) {
    return mp_expf(x);
}
static float tanh_f32(float x) {
    return mp_tanhf(x);
}
static float erf_f32(float x) {
    return mp_erff(x);
}

static const function FUNCTIONS[] = {
    {"exp", exp_f32, expl, exp, false, 0x1p-10f, 104},
    {"tanh", tanh_f32, tanhl, tanh, true, 0.25f, 10},
    {"erf", erf_f32, erfl, erf, true, 0.25f, 5},
};
#define FUNCTION_COUNT (sizeof FUNCTIONS / sizeof FUNCTIONS[0])

/* Distance between neighbouring float32 around y; subnormals are 2^-149 apart. */
static long double ulp(long double y) {
    return 2 * (long double)mp_half_ulp(MP_FP32, (double)y);
}

static void check_value(const function *fn, float x) {
    float y = fn->f(x);
    long double truth = fn->truth(x);
    if (isnan(x)) {
        assert_true(isnan(y));
        return;
    }
    if (isinf(y)) { /* right only if the truth lies beyond the last finite value, give or take its ulp */
        if (truth > (long double)FLT_MAX) return;
    } else if (fabsl(y - truth) < ulp(truth)) {
        return;
    }
    fail_msg("%s(%a) = %a, expected %La, %.3Lf ulp off", fn->name, (double)x, (double)y, truth,
             fabsl(y - truth) / ulp(truth));
}

static void every_bf16_and_fp16_input(void **state) {
    (void)state;
    static uint16_t codes[65536];
    static float x[65536];
    for (int i = 0; i < 65536; i++) codes[i] = (uint16_t)i;
    for (int which = 0; which < 2; which++) {
        mp_decode_row_f32(which ? MP_FP16 : MP_BF16, codes, 0, 65536, x);
        for (size_t f = 0; f < FUNCTION_COUNT; f++) {
            for (int i = 0; i < 65536; i++) check_value(&FUNCTIONS[f], x[i]);
        }
    }
}

static void a_sweep_over_all_float32(void **state) {
    (void)state;
    for (size_t f = 0; f < FUNCTION_COUNT; f++) {
        for (uint64_t bits = 0; bits < 1ull << 32; bits += 7919)
            check_value(&FUNCTIONS[f], mp_bits_float((unsigned)bits));
    }
}

/* All 2^32 inputs, when MP_EXHAUSTIVE is set: minutes on many cores. */
static void every_float32_input(void **state) {
    (void)state;
    if (!getenv("MP_EXHAUSTIVE")) skip();
    for (size_t f = 0; f < FUNCTION_COUNT; f++) {
        const function *fn = &FUNCTIONS[f];
        double worst = 0;
        int64_t wrong = 0; /* NaN or Inf where there is none, or the reverse */
#pragma omp parallel for schedule(dynamic, 64) reduction(max : worst) reduction(+ : wrong)
        for (int64_t block = 0; block < 1 << 16; block++)
            for (unsigned low = 0; low < 1u << 16; low++) {
                const float x = mp_bits_float((unsigned)block << 16 | low), y = fn->f(x);
                const double truth = fn->truth64((double)x);
                if (isnan(x) || fabs(truth) > (double)FLT_MAX) {
                    wrong += isnan(x) ? !isnan(y) : !isinf(y) && y < FLT_MAX;
                    continue;
                }
                if (!isfinite(y) && truth < (double)FLT_MAX * (1 - 0x1p-24)) wrong++;
                if (isfinite(y))
                    worst = fmax(worst, fabs((double)y - truth) / (2 * mp_half_ulp(MP_FP32, truth)));
            }
        print_message("%-4s over all 2^32 inputs: worst %.4f ulp, %lld wrong NaN or Inf\n", fn->name, worst,
                      (long long)wrong);
        assert_true(worst < 1);
        assert_int_equal(wrong, 0);
    }
}

static void a_finer_sweep_where_the_work_is(void **state) {
    (void)state;
    for (size_t f = 0; f < FUNCTION_COUNT; f++) {
        unsigned from = mp_float_bits(FUNCTIONS[f].fine_from), to = mp_float_bits(FUNCTIONS[f].fine_to);
        for (unsigned bits = from; bits <= to; bits += 97) {
            check_value(&FUNCTIONS[f], mp_bits_float(bits));
            if (!FUNCTIONS[f].odd) check_value(&FUNCTIONS[f], -mp_bits_float(bits));
        }
    }
}

/* Where the sweep over every float32 found the largest error of each piece, and the seams between pieces. */
static void the_worst_inputs(void **state) {
    (void)state;
    const struct {
        const function *fn;
        float x;
    } rows[] = {
        {&FUNCTIONS[0], 0x1.4cec68p2f}, {&FUNCTIONS[0], -0x1.aaf86cp4f}, {&FUNCTIONS[1], 0x1.010864p0f},
        {&FUNCTIONS[1], 0x1.03b4f4p0f}, {&FUNCTIONS[1], 1.01f},          {&FUNCTIONS[2], 0x1.ecfa7ap-1f},
        {&FUNCTIONS[2], 0x1.1111aap0f}, {&FUNCTIONS[2], 0.985f},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned bits = mp_float_bits(rows[i].x);
        for (unsigned near = bits - 500; near <= bits + 500; near++)
            check_value(rows[i].fn, mp_bits_float(near));
    }
}

static void odd_functions_are_odd_bit_by_bit(void **state) {
    (void)state;
    for (size_t f = 0; f < FUNCTION_COUNT; f++) {
        if (!FUNCTIONS[f].odd) continue;
        for (uint64_t bits = 0; bits <= 0x7F800000; bits += 997) {
            float x = mp_bits_float((unsigned)bits);
            assert_int_equal(mp_float_bits(FUNCTIONS[f].f(-x)),
                             mp_float_bits(FUNCTIONS[f].f(x)) ^ 0x80000000u);
        }
    }
}

/* Over steps wide enough for the true increase to exceed the error. */
static void results_grow_with_the_input_and_stay_in_range(void **state) {
    (void)state;
    for (size_t f = 0; f < FUNCTION_COUNT; f++) {
        float before = FUNCTIONS[f].f(-INFINITY);
        assert_true(before == (FUNCTIONS[f].odd ? -1 : 0));
        for (int i = -1500000; i <= 1500000; i++) {
            float y = FUNCTIONS[f].f((float)i * 0x1p-13f);
            assert_true(y >= before);
            before = y;
        }
        float last = FUNCTIONS[f].f(INFINITY);
        assert_true(FUNCTIONS[f].odd ? last == 1 && before == 1 : isinf(last) && isinf(before));
    }
}

static void special_values(void **state) {
    (void)state;
    assert_true(mp_expf(0.0f) == 1 && mp_expf(-0.0f) == 1 && mp_expf(0x1p-149f) == 1);
    assert_true(mp_expf(INFINITY) == INFINITY && mp_expf(FLT_MAX) == INFINITY);
    assert_int_equal(mp_float_bits(mp_expf(-INFINITY)), 0);
    assert_true(mp_expf(0x1.62e42ep6f) < INFINITY &&
                mp_expf(0x1.62e430p6f) == INFINITY); /* around 128 ln 2 */
    assert_true(mp_expf(-0x1.9fe368p6f) == 0x1p-149f &&
                mp_expf(-0x1.9fe36ap6f) == 0); /* around -150 ln 2: half the last subnormal */
    assert_true(mp_tanhf(INFINITY) == 1 && mp_tanhf(-INFINITY) == -1 && mp_erff(INFINITY) == 1 &&
                mp_erff(-INFINITY) == -1);
    assert_int_equal(mp_float_bits(mp_tanhf(-0.0f)), 0x80000000u);
    assert_int_equal(mp_float_bits(mp_erff(-0.0f)), 0x80000000u);
    for (unsigned bits = 1; bits < mp_float_bits(0x1p-20f); bits += 9973)
        assert_true(mp_tanhf(mp_bits_float(bits)) == mp_bits_float(bits));
    for (size_t f = 0; f < FUNCTION_COUNT; f++) {
        assert_true(isnan(FUNCTIONS[f].f(NAN)) && isnan(FUNCTIONS[f].f(-NAN)) &&
                    isnan(FUNCTIONS[f].f(mp_bits_float(0x7F800001))));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bf16_and_fp16_input),
        cmocka_unit_test(a_sweep_over_all_float32),
        cmocka_unit_test(every_float32_input),
        cmocka_unit_test(a_finer_sweep_where_the_work_is),
        cmocka_unit_test(the_worst_inputs),
        cmocka_unit_test(odd_functions_are_odd_bit_by_bit),
        cmocka_unit_test(results_grow_with_the_input_and_stay_in_range),
        cmocka_unit_test(special_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
