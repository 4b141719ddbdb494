/* SPDX-License-Identifier: Apache-2.0 */
/* AMD's matrix cores: examples worked by hand from the published formulas, and oracles in float64. */
#include "base/bits.h"
#include "ref/predict/matrixcore.h"
#include "tests/codes_support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { MOST = 32 };

typedef struct example {
    mp_mc_architecture architecture;
    mp_mc_input input;
    int k;
    const char *a, *b;
    uint32_t c, expected;
} example;

/* fp16: 3C00 is 1, 0C00 is 2^-12, 0001 is 2^-24. e4m3fnuz: 40 is 1, C0 is -1. */
static const example EXAMPLES[] = {
    /* One fused multiply-add: (1 + 2^-23)^2 - (1 + 2^-22) is 2^-46. */
    {MP_CDNA1, MP_MC_FP32, 1, "3F800001", "3F800001", 0xBF800002, 0x28800000},
    /* 1 + 2^-24 is 1, 2^-24 + 2^-24 is 2^-23: the tree, and the accumulator last. */
    {MP_CDNA1, MP_MC_FP16, 4, "3C00,0C00x3", "3C00,0C00x3", 0, 0x3F800001},
    {MP_CDNA1, MP_MC_FP16, 4, "3C00,0C00x3", "3C00,0C00x3", 0x33800000, 0x3F800002},
    {MP_CDNA1, MP_MC_BF16, 2, "3F80,3980x3", "3F80,3980x3", 0, 0x3F800001},
    {MP_CDNA2, MP_MC_BF16_1K, 4, "3F80,3980x3", "3F80,3980x3", 0, 0x3F800001},
    {MP_CDNA1, MP_MC_BF16, 2, "3980,3F80,3980@2", "3980,3F80,3980@2", 0, 0x3F800000}, /* groups of two */
    {MP_CDNA2, MP_MC_BF16_1K, 4, "3980,3F80,3980x2", "3980,3F80,3980x2", 0, 0x3F800001},
    /* Subnormals. */
    {MP_CDNA1, MP_MC_FP16, 4, "0001", "3C00", 0, 0x33800000},
    {MP_CDNA2, MP_MC_FP16, 4, "0001", "3C00", 0, 0},
    {MP_CDNA2, MP_MC_FP16, 4, "0400", "3C00", 0, 0x38800000},
    {MP_CDNA2, MP_MC_BF16, 2, "", "", 0x00400000, 0},
    {MP_CDNA1, MP_MC_BF16, 2, "", "", 0x00400000, 0x00400000},
    {MP_CDNA1, MP_MC_BF16, 2, "1F80", "1F80", 0, 0x00200000},
    {MP_CDNA2, MP_MC_BF16, 2, "1F80", "1F80", 0, 0}, /* the product, 2^-128 */
    {MP_CDNA2, MP_MC_FP32, 1, "00400000", "3F800000", 0, 0x00400000},

    {MP_CDNA3, MP_MC_FP16, 16, "3C00", "3C00", 0, 0x3F800000},
    {MP_CDNA3, MP_MC_FP16, 16, "3C00", "3C00", 0x30800000, 0x3F800000}, /* 2^-30 down to 0 */
    {MP_CDNA3, MP_MC_FP16, 16, "3C00", "3C00", 0xB0800000, 0x3F7FFFFF}, /* -2^-30 down to -2^-24 */
    /* A tie and a little: to nearest it would be 3F800001, but 2^-24 + 2^-45 is rounded down before. */
    {MP_CDNA3, MP_MC_FP16, 16, "0C00,0001", "0C00,0008", 0x3F800000, 0x3F800000},
    {MP_CDNA3, MP_MC_FP16, 16, "0C00,0400", "0C00,0008", 0x3F800000, 0x3F800000}, /* 2^-24 + 2^-35 */
    {MP_CDNA3, MP_MC_FP16, 16, "0C00,0400", "0C00,0080", 0x3F800000, 0x3F800001}, /* 2^-24 + 2^-31 */
    /* Products are cut towards zero: 1 - 2^-25, with the 1 taken away. */
    {MP_CDNA3, MP_MC_FP16, 16, "3C00,8C00,BC00", "3C00,0800,3C00", 0, 0},
    {MP_CDNA3, MP_MC_FP16, 16, "3C00,8C00,BC00", "3C00,0C00,3C00", 0, 0xB3800000},
    {MP_CDNA3, MP_MC_BF16, 16, "7F00", "4000", 0, 0x7F800000},
    {MP_CDNA3, MP_MC_BF16, 16, "7F00,7F00", "4000,C000", 0, 0x7FC00000},
    {MP_CDNA3, MP_MC_XF32, 8, "3F801FFF", "3F800000", 0, 0x3F800000},
    {MP_CDNA3, MP_MC_FP16, 16, "7C00", "0000", 0, 0x7FC00000},
    {MP_CDNA3, MP_MC_FP16, 16, "", "", 0xFF800000, 0xFF800000},

    {MP_CDNA3, MP_MC_E4M3_FNUZ, 32, "40", "40", 0, 0x3F800000},
    {MP_CDNA3, MP_MC_E4M3_FNUZ, 32, "40", "40", 0xB3000000, 0x3F7FFFFF}, /* -2^-25 down to -2^-24 */
    {MP_CDNA3, MP_MC_E4M3_FNUZ, 32, "40", "40", 0xB2800000, 0x3F800000}, /* -2^-26 is dropped */
    {MP_CDNA3, MP_MC_E4M3_FNUZ, 32, "80", "40", 0, 0x7FC00000},
    {MP_CDNA3, MP_MC_E4M3_FNUZ, 32, "01", "40", 0, 0x3A800000}, /* 2^-10 */
    {MP_CDNA3, MP_MC_E4M3_FNUZ, 32, "7F", "7F", 0, 0x47610000}, /* 240^2 */
    {MP_CDNA3, MP_MC_E5M2_FNUZ, 32, "40", "40", 0, 0x3F800000},
    /* 2^15 at k=0, 2^-34 at k=2 and at k=1: beside 2^15 it is cut off, alone it is rounded down, to 0. */
    {MP_CDNA3, MP_MC_E5M2_FNUZ, 32, "78,01,01", "44,01,01", 0, 0x47000000},
    {MP_CDNA3, MP_MC_E5M2_FNUZ, 32, "78,00,81,00,F8", "44,00,01,00,44", 0, 0}, /* even: towards zero */
    {MP_CDNA3, MP_MC_E5M2_FNUZ, 32, "78,81,00,00,F8", "44,01,00,00,44", 0, 0xBB000000}, /* odd: down */
};

static void worked_examples(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof EXAMPLES / sizeof *EXAMPLES; i++) {
        const example *e = &EXAMPLES[i];
        mp_mc_model m;
        uint32_t a[MOST], b[MOST];
        parse_lanes(e->a, MOST, a);
        parse_lanes(e->b, MOST, b);
        assert_true(mp_mc_find(e->architecture, e->input, e->input, e->k, &m));
        assert_false(m.measured);
        const uint32_t got = mp_mc_dot(&m, e->k < 4 ? 4 : e->k, a, b, e->c);
        if (got != e->expected)
            fail_msg("CDNA%d, input %d, a=%s b=%s c=%08X: %08X, expected %08X", e->architecture + 1, e->input,
                     e->a, e->b, e->c, got, e->expected);
    }
}

/* ---- oracles for finite numbers ---- */

static const struct {
    int exponent_bits, fraction_bits, bias;
} SHAPES[] = {[MP_MC_FP32] = {8, 23, 127},   [MP_MC_XF32] = {8, 10, 127},   [MP_MC_FP16] = {5, 10, 15},
              [MP_MC_BF16] = {8, 7, 127},    [MP_MC_BF16_1K] = {8, 7, 127}, [MP_MC_E4M3_FNUZ] = {4, 3, 8},
              [MP_MC_E5M2_FNUZ] = {5, 2, 16}};

static double value_of(mp_mc_input input, uint32_t code, int *exponent) {
    if (input == MP_MC_XF32) code >>= 13;
    const int bits = SHAPES[input].fraction_bits;
    const uint32_t field = code >> bits & ((1u << SHAPES[input].exponent_bits) - 1);
    const double fraction = ldexp((double)(code & ((1u << bits) - 1)), -bits);
    *exponent = (field ? (int)field : 1) - SHAPES[input].bias;
    const double magnitude = ldexp(fraction + (field != 0), *exponent);
    return code >> (bits + SHAPES[input].exponent_bits) & 1 ? -magnitude : magnitude;
}

/* Terms k, k+stride, ...: their sum, and the exponent by which they were cut. */
static double cut_sum(const mp_mc_model *m, const uint32_t *a, const uint32_t *b, int first, int stride,
                      int *e_max) {
    double sum = 0;
    *e_max = -126;
    for (int pass = 0; pass < 2; pass++)
        for (int k = first; k < m->group; k += stride) {
            int ea, eb;
            const double product = value_of(m->a, a[k], &ea) * value_of(m->b, b[k], &eb);
            if (pass) sum += ldexp(trunc(ldexp(product, 24 - *e_max)), *e_max - 24);
            if (!pass && product != 0 && ea + eb > *e_max) *e_max = ea + eb;
        }
    return sum;
}

static double floor_at(double value, int exponent) {
    return ldexp(floor(ldexp(value, -exponent)), exponent);
}

static uint32_t fused_oracle(const mp_mc_model *m, const uint32_t *a, const uint32_t *b, uint32_t c) {
    int e, odd_e, acc_e;
    double sum;
    if (m->method == MP_MC_FUSED_HALVES) {
        const double even = cut_sum(m, a, b, 0, 2, &e), odd = cut_sum(m, a, b, 1, 2, &odd_e);
        if (odd_e > e) e = odd_e;
        sum = floor_at(even, e - 24) + floor_at(odd, e - 24);
    } else {
        sum = cut_sum(m, a, b, 0, 1, &e);
    }
    const double acc = value_of(MP_MC_FP32, c, &acc_e);
    if (acc != 0 && acc_e > e) e = acc_e;
    double total = floor_at(sum, e - 31);
    if (m->method == MP_MC_FUSED || acc_e >= e - 25) total += floor_at(acc, e - 24);
    return mp_bits_of_float((float)total + 0.0F);
}

/* A float64 sum or product of float32 numbers, rounded again, is the correctly rounded one. */
static double single(const mp_mc_model *m, double value) {
    const double rounded = (double)(float)value;
    return m->flush_subnormals && fabs(rounded) < 0x1p-126 ? 0 * rounded : rounded;
}

static uint32_t pairwise_oracle(const mp_mc_model *m, const uint32_t *a, const uint32_t *b, uint32_t c) {
    double p[4] = {0}, acc;
    int e;
    for (int k = 0; k < m->group; k++) {
        int ea, eb;
        double x = value_of(m->a, a[k], &ea), y = value_of(m->b, b[k], &eb);
        if (m->flush_subnormals && fabs(x) < ldexp(1, 1 - SHAPES[m->a].bias)) x = 0;
        if (m->flush_subnormals && fabs(y) < ldexp(1, 1 - SHAPES[m->b].bias)) y = 0;
        p[k] = single(m, x * y + 0.0);
    }
    acc = value_of(MP_MC_FP32, c, &e);
    if (m->flush_subnormals && fabs(acc) < 0x1p-126) acc = 0;
    const double low = single(m, p[0] + p[1]),
                 sum = m->group == 2 ? low : single(m, low + single(m, p[2] + p[3]));
    return mp_bits_of_float((float)single(m, acc + sum));
}

/* Moderate exponents; tiny ones, that end among the subnormals where the format reaches so far; zeros. */
static uint32_t random_code(mp_mc_input input, bool tiny) {
    const int bits = SHAPES[input].fraction_bits, bias = SHAPES[input].bias,
              spread = input == MP_MC_E4M3_FNUZ ? 12 : 24;
    int field = bias - spread / 2 + (int)(random_bits() % (uint32_t)spread);
    if (tiny && SHAPES[input].exponent_bits == 8) field -= input == MP_MC_FP32 ? 120 : 64;
    if (field < 0 || random_bits() % 16 == 0) field = 0;
    if (field > 2 * bias - 1) field = 2 * bias - 1;
    const uint32_t fraction = random_bits() & ((1u << bits) - 1);
    uint32_t sign = random_bits() & 1;
    const bool zero = random_bits() % 8 == 0 || (field == 0 && fraction == 0);
    if (zero && (input == MP_MC_E4M3_FNUZ || input == MP_MC_E5M2_FNUZ)) sign = 0;
    const uint32_t code =
        sign << (bits + SHAPES[input].exponent_bits) | (zero ? 0 : (uint32_t)field << bits | fraction);
    return input == MP_MC_XF32 ? code << 13 | random_bits() >> 19 : code;
}

static const struct {
    mp_mc_architecture architecture;
    mp_mc_input a, b;
    int k, group;
    mp_mc_method method;
} MODELS[] = {
    {MP_CDNA1, MP_MC_FP16, MP_MC_FP16, 16, 4, MP_MC_PAIRWISE},
    {MP_CDNA1, MP_MC_BF16, MP_MC_BF16, 8, 2, MP_MC_PAIRWISE},
    {MP_CDNA2, MP_MC_FP16, MP_MC_FP16, 16, 4, MP_MC_PAIRWISE},
    {MP_CDNA2, MP_MC_BF16, MP_MC_BF16, 8, 2, MP_MC_PAIRWISE},
    {MP_CDNA2, MP_MC_BF16_1K, MP_MC_BF16_1K, 16, 4, MP_MC_PAIRWISE},
    {MP_CDNA3, MP_MC_FP16, MP_MC_FP16, 16, 8, MP_MC_FUSED},
    {MP_CDNA3, MP_MC_FP16, MP_MC_FP16, 4, 4, MP_MC_FUSED},
    {MP_CDNA3, MP_MC_BF16, MP_MC_BF16, 8, 8, MP_MC_FUSED},
    {MP_CDNA3, MP_MC_XF32, MP_MC_XF32, 8, 4, MP_MC_FUSED},
    {MP_CDNA3, MP_MC_E4M3_FNUZ, MP_MC_E4M3_FNUZ, 32, 16, MP_MC_FUSED_HALVES},
    {MP_CDNA3, MP_MC_E5M2_FNUZ, MP_MC_E4M3_FNUZ, 16, 16, MP_MC_FUSED_HALVES},
    {MP_CDNA3, MP_MC_E5M2_FNUZ, MP_MC_E5M2_FNUZ, 32, 16, MP_MC_FUSED_HALVES},
};

static void random_groups_equal_the_oracle(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof MODELS / sizeof *MODELS; i++)
        for (int trial = 0; trial < 20000; trial++) {
            mp_mc_model m;
            uint32_t a[MP_MC_MAX_GROUP], b[MP_MC_MAX_GROUP];
            assert_true(mp_mc_find(MODELS[i].architecture, MODELS[i].a, MODELS[i].b, MODELS[i].k, &m));
            assert_int_equal(m.group, MODELS[i].group);
            assert_int_equal(m.method, MODELS[i].method);
            for (int k = 0; k < m.group; k++) {
                a[k] = random_code(m.a, trial % 4 == 0);
                b[k] = random_code(m.b, trial % 4 == 0);
            }
            const uint32_t c = random_code(MP_MC_FP32, trial % 4 == 0), got = mp_mc_dot(&m, m.group, a, b, c),
                           expected = m.method == MP_MC_PAIRWISE ? pairwise_oracle(&m, a, b, c)
                                                                 : fused_oracle(&m, a, b, c);
            if (got != expected)
                fail_msg("model %zu trial %d, c=%08X: %08X, expected %08X", i, trial, c, got, expected);
        }
}

/* A chain over ascending k, the last group filled with zeros. */
static void a_long_dot_is_a_chain(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof MODELS / sizeof *MODELS; i++) {
        mp_mc_model m;
        uint32_t a[3 * MP_MC_MAX_GROUP] = {0}, b[3 * MP_MC_MAX_GROUP] = {0}, chained = 0x3FC00000;
        assert_true(mp_mc_find(MODELS[i].architecture, MODELS[i].a, MODELS[i].b, MODELS[i].k, &m));
        const int K = 3 * m.group - 1;
        for (int k = 0; k < K; k++) {
            a[k] = random_code(m.a, false);
            b[k] = random_code(m.b, false);
        }
        for (int k = 0; k < K; k += m.group) chained = mp_mc_dot(&m, m.group, a + k, b + k, chained);
        assert_int_equal(mp_mc_dot(&m, K, a, b, 0x3FC00000), chained);
    }
}

static void what_does_not_exist_is_not_found(void **state) {
    (void)state;
    mp_mc_model m;
    assert_false(mp_mc_find(MP_CDNA1, MP_MC_BF16_1K, MP_MC_BF16_1K, 4, &m));
    assert_false(mp_mc_find(MP_CDNA2, MP_MC_XF32, MP_MC_XF32, 8, &m));
    assert_false(mp_mc_find(MP_CDNA2, MP_MC_E4M3_FNUZ, MP_MC_E4M3_FNUZ, 32, &m));
    assert_false(mp_mc_find(MP_CDNA3, MP_MC_E4M3_FNUZ, MP_MC_E4M3_FNUZ, 8, &m));
    assert_false(mp_mc_find(MP_CDNA3, MP_MC_FP16, MP_MC_BF16, 8, &m));
    assert_false(mp_mc_find(MP_CDNA3, MP_MC_FP16, MP_MC_FP16, 0, &m));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_examples),
        cmocka_unit_test(random_groups_equal_the_oracle),
        cmocka_unit_test(a_long_dot_is_a_chain),
        cmocka_unit_test(what_does_not_exist_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
