/* SPDX-License-Identifier: Apache-2.0 */
/* mp_scaled_gemm_bound of ref/bounds.c: no sum is beyond it, and data made to be wrong come near to it. */
#include "moeparity/dtype.h"
#include "ref/bounds.h"
#include "ref/predict/tensorcore.h"
#include "tests/ref_support.h"

#include <float.h>
#include <stdio.h>

/* a and w whose product is halfway between two float32: it loses 2^-24, nearly all that a rounding can. */
static const float TIE = 1 + 0x1p-12f;

/* A sum of blocks as a kernel has it, acc = fl(acc + fl(dot * fl(a*w))), and as it is exactly. */
typedef struct scaled {
    float acc;
    double exact, mass;
} scaled;

static void add_block(scaled *s, float dot, double exact_dot, double dot_mass, float a, float w) {
    volatile float product = a * w, term = dot * product, sum = s->acc + term; /* never fused */
    s->acc = sum;
    s->exact += exact_dot * (double)a * (double)w;
    s->mass += dot_mass * (double)a * (double)w;
}

static double bound_of(mp_sum_bound b, const scaled *s, double scales) {
    return b.rel * s->mass + b.abs + b.per_scale * scales;
}

/* int8 sums are exact: what is left are the roundings of scaling and of additions. One block has nearly all
 * of the sum, and every other is half an ulp of it, which is lost. */
static void roundings_of_scaling_and_adding_are_reached(void **state) {
    (void)state;
    enum { BLOCK = 32, BLOCKS = 64 };
    const mp_gemm_contract g = {
        .accumulator = MP_ACC_TENSOR_CORE, .group = 32, .split_k = 1, .promotion = BLOCK};
    scaled s = {0};
    add_block(&s, 1, 1, 1, TIE, TIE); /* 1 + 2^-11 + 2^-24 becomes 1 + 2^-11 */
    assert_true(s.acc == 1 + 0x1p-11f);
    for (int i = 1; i < BLOCKS; i++) add_block(&s, 1, 1, 1, 0x1p-12f, 0x1p-12f); /* a tie, to even */
    const double error = fabs((double)s.acc - s.exact),
                 bound = bound_of(mp_scaled_gemm_bound(&g, MP_I8, BLOCK * BLOCKS, BLOCK, 127), &s, 0);
    print_message("int8: error %.6g, bound %.6g: %.3f of it\n", error, bound, error / bound);
    assert_true(error <= bound);
    assert_true(error >= 0.9 * bound); /* 64 roundings of the 67 that it counts */
}

/* Fp8 on a unit that keeps 13 fraction bits: beside one product of 1 all others, 1.875 * 2^-14, are just
 * below the last bit that is kept: cut, in every step anew. */
static void cuts_of_a_tensor_core_are_reached(void **state) {
    (void)state;
    enum { BLOCK = 128, BLOCKS = 2 };
    const mp_gemm_contract g = {.accumulator = MP_ACC_TENSOR_CORE,
                                .group = 32,
                                .fraction_bits = 13,
                                .result_fraction_bits = 13,
                                .split_k = 1,
                                .promotion = BLOCK,
                                .zero_exponent = -133};
    mp_tc_model unit;
    assert_true(mp_tc_find(90, MP_TC_WGMMA, MP_TC_E4M3, MP_TC_E4M3, &unit));
    assert_int_equal(unit.fraction_bits, g.fraction_bits);
    uint32_t a[BLOCK], w[BLOCK];
    double exact = 0;
    for (int k = 0; k < BLOCK; k++) { /* 1.875 * 2^-14, where 2^-13 is the last bit that is kept */
        const double x = k == 0 ? 1 : 1.875 * 0x1p-6, y = k == 0 ? 1 : 0x1p-8;
        a[k] = (uint32_t)mp_encode_code(MP_E4M3, x);
        w[k] = (uint32_t)mp_encode_code(MP_E4M3, y);
        assert_true(mp_decode_code(MP_E4M3, a[k]) == x && mp_decode_code(MP_E4M3, w[k]) == y);
        exact += x * y;
    }
    const uint32_t bits = mp_tc_dot(&unit, BLOCK, a, w, 0);
    float dot;
    memcpy(&dot, &bits, sizeof dot);
    scaled s = {0};
    for (int i = 0; i < BLOCKS; i++) add_block(&s, dot, exact, exact, TIE, TIE);
    const mp_sum_bound b = mp_scaled_gemm_bound(&g, MP_E4M3, BLOCK * BLOCKS, BLOCK, 1);
    const double error = fabs((double)s.acc - s.exact),
                 bound = bound_of(b, &s, BLOCKS * (double)TIE * (double)TIE);
    print_message("fp8: dot %.9g of %.9g; error %.6g, bound %.6g: %.3f of it\n", (double)dot, exact, error,
                  bound, error / bound);
    assert_true(error <= bound);
    assert_true(error >= 0.8 * bound);
}

/* A product of scales that is subnormal, or zero, in float32 takes the sum with it. */
static void scales_that_underflow_are_covered(void **state) {
    (void)state;
    const mp_gemm_contract g = {
        .accumulator = MP_ACC_TENSOR_CORE, .group = 32, .split_k = 1, .promotion = 128};
    scaled s = {0};
    add_block(&s, 100 * 127 * 127, 100 * 127 * 127.0, 100 * 127 * 127.0, 0x1p-75f, 0x1p-75f);
    assert_true(s.acc == 0); /* 2^-150 is a tie, to even */
    const double bound = bound_of(mp_scaled_gemm_bound(&g, MP_I8, 128, 128, 127), &s, 0x1p-150);
    assert_true(s.exact > 0 && s.exact <= bound);
    assert_true(s.exact >= 0.7 * bound); /* 100 terms of 128 */
}

/* Random sums, scales and promotions, each addition and scaling by float32: never beyond the bound. */
static void no_sum_is_beyond(void **state) {
    (void)state;
    rng r = {11};
    double most = 0;
    for (int run = 0; run < 20000; run++) {
        const int blocks = 1 + (int)random_below(&r, 40), block = 32 << random_below(&r, 3);
        const mp_gemm_contract g = {
            .accumulator = MP_ACC_TENSOR_CORE, .group = 32, .split_k = 1, .promotion = block};
        scaled s = {0};
        for (int i = 0; i < blocks; i++) {
            const int64_t dot = random_below(&r, 2 * 127 * 127 * block) - 127 * 127 * block;
            add_block(&s, (float)dot, (double)dot, fabs((double)dot), (float)fabs(random_wide(&r, -6, 6)),
                      (float)fabs(random_wide(&r, -6, 6)));
        }
        const double error = fabs((double)s.acc - s.exact),
                     bound = bound_of(mp_scaled_gemm_bound(&g, MP_I8, (int64_t)block * blocks, block, 127),
                                      &s, blocks * 0x1p12);
        if (!(error <= bound)) fail_msg("run %d: error %g, bound %g", run, error, bound);
        most = fmax(most, error / bound);
    }
    print_message("random: at most %.3f of the bound\n", most);
    assert_true(most > 0.2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(roundings_of_scaling_and_adding_are_reached),
                                       cmocka_unit_test(cuts_of_a_tensor_core_are_reached),
                                       cmocka_unit_test(scales_that_underflow_are_covered),
                                       cmocka_unit_test(no_sum_is_beyond)};
    return cmocka_run_group_tests_name("ref.scaled_bounds", tests, NULL, NULL);
}
