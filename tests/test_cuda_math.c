/* SPDX-License-Identifier: Apache-2.0 */
/* expf, tanhf and erff of the CUDA library: within NVIDIA's figures, and bit for bit what an H100 gave. */
#include "ref/predict/cuda_math.h"

#include "tests/special_unit_support.h"

#include <float.h>
#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Every 997th float32, or all of them when MP_EXHAUSTIVE is set. */
static double worst_error(one_argument *f, long double (*truth)(long double)) {
    const int64_t step = getenv("MP_EXHAUSTIVE") ? 1 : 997;
    double worst = 0;
#pragma omp parallel for schedule(dynamic, 4096) reduction(max : worst)
    for (int64_t bits = 0; bits < INT64_C(1) << 32; bits += step) {
        const float x = mp_bits_float((uint32_t)bits), got = f(unit, x);
        const long double exact = truth((long double)x);
        if (isnan(x) || isinf(got) || exact > (long double)FLT_MAX) {
            const bool right = isnan(x) ? isnan(got) : isinf(got) && exact > (long double)FLT_MAX;
            if (!right) worst = INFINITY;
        } else
            worst = fmax(worst, ulps_off(got, exact));
    }
    return worst;
}

static void errors_are_within_the_documented_ones(void **unused) {
    (void)unused;
    static const struct {
        const char *name;
        one_argument *f;
        long double (*truth)(long double);
        double ulps;
    } rows[] = {
        {"expf", mp_cuda_expf, expl, MP_CUDA_EXPF_ULPS},
        {"tanhf", mp_cuda_tanhf, tanhl, MP_CUDA_TANHF_ULPS},
        {"erff", mp_cuda_erff, erfl, MP_CUDA_ERFF_ULPS},
        {"Triton's erff", mp_triton_erff, erfl, MP_CUDA_ERFF_ULPS},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const double worst = worst_error(rows[i].f, rows[i].truth);
        print_message("%s: %.4f ulp\n", rows[i].name, worst);
        assert_true(worst > 0.5 && worst <= rows[i].ulps);
    }
}

static void special_values(void **unused) {
    (void)unused;
    assert_true(mp_cuda_expf(unit, 0.0f) == 1 && mp_cuda_expf(unit, -0.0f) == 1);
    assert_true(isinf(mp_cuda_expf(unit, INFINITY)) && mp_cuda_expf(unit, -INFINITY) == 0);
    assert_true(mp_cuda_tanhf(unit, INFINITY) == 1 && mp_cuda_tanhf(unit, -INFINITY) == -1);
    assert_true(mp_cuda_erff(unit, INFINITY) == 1 && mp_cuda_erff(unit, -INFINITY) == -1);
    assert_int_equal(mp_float_bits(mp_cuda_tanhf(unit, -0.0f)), 0x80000000);
    assert_int_equal(mp_float_bits(mp_cuda_erff_ftz(unit, -0x1p-130f)), 0x80000000);
    assert_true(isnan(mp_cuda_expf(unit, NAN)) && isnan(mp_cuda_tanhf(unit, NAN)) &&
                isnan(mp_cuda_erff(unit, NAN)) && isnan(mp_triton_erff(unit, NAN)));
}

static void bits_are_those_of_the_device(void **unused) {
    (void)unused;
    static const known_digest rows[] = {
        {"expf", mp_cuda_expf, 0x05975D72D08DA44F},
        {"tanhf", mp_cuda_tanhf, 0x4E673B0E351E96F0},
        {"erff", mp_cuda_erff, 0xA492B4D2F9916F58},
        {"erff, ftz", mp_cuda_erff_ftz, 0xD9F8046C0E459E85},
    };
    expect_digests(rows, COUNT(rows));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_within_the_documented_ones),
        cmocka_unit_test(special_values),
        cmocka_unit_test(bits_are_those_of_the_device),
    };
    return cmocka_run_group_tests(tests, load_unit, NULL);
}
