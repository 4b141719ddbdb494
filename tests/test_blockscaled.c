/* SPDX-License-Identifier: Apache-2.0 */
/* The block-scaled units: examples worked by hand from the published formulas, an oracle in float64, and
 * properties. */
#include "base/bits.h"
#include "moeparity/dtype.h"
#include "ref/predict/blockscaled.h"
#include "tests/codes_support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

typedef struct example {
    mp_bs_kind kind;
    mp_tc_input input;
    const char *a, *b, *scale_a, *scale_b;
    uint32_t c, expected;
} example;

/* e4m3: 38 is 1, B8 is -1, 3C is 1.5, 01 is 2^-9. e2m1: 1 is 0.5, 2 is 1, A is -1, 7 is 6. ue8m0: 7F is 1.
 * ue4m3: 38 is 1, 7E is 448, 3E is 1.75, 01 is 2^-9. */
static const example EXAMPLES[] = {
    {MP_BS_MXF8F6F4, MP_TC_E4M3, "38", "38", "7F", "7F", 0, 0x3F800000},
    {MP_BS_MXF8F6F4, MP_TC_E4M3, "38", "38", "80", "81", 0, 0x41000000},
    {MP_BS_MXF8F6F4, MP_TC_E4M3, "38", "38", "FE", "00", 0, 0x3F800000}, /* 2^127 * 2^-127 */
    {MP_BS_MXF8F6F4, MP_TC_E4M3, "38", "38", "FE", "FE", 0, 0x7F800000},
    {MP_BS_MXF8F6F4, MP_TC_E4M3, "38", "38", "00", "00", 0, 0},
    {MP_BS_MXF8F6F4, MP_TC_E4M3, "B8", "38", "66", "7F", 0x3F800000, 0x3F7FFFFF}, /* 1 - 2^-25 */
    {MP_BS_MXF8F6F4, MP_TC_E4M3, "B8", "38", "65", "7F", 0x3F800000, 0x3F800000}, /* 2^-26 is cut off */
    {MP_BS_MXF8F6F4, MP_TC_E4M3, "BC", "3C", "65", "7F", 0x3F800000, 0x3F7FFFFF}, /* 2.25 * 2^-26 is not */
    {MP_BS_MXF8F6F4, MP_TC_E4M3, "01", "01", "7F", "7F", 0, 0x36800000},
    {MP_BS_MXF8F6F4, MP_TC_E4M3, "38x32", "38x32", "7F", "80", 0, 0x42800000},
    {MP_BS_MXF8F6F4, MP_TC_E4M3, "", "", "FF", "7F", 0, 0x7FFFFFFF},
    {MP_BS_MXF8F6F4, MP_TC_E4M3, "", "", "FE", "FE", 0x3F800000, 0x3F800000}, /* zeros have no exponent */
    {MP_BS_MXF8F6F4, MP_TC_E5M2, "7C", "3C", "00", "7F", 0, 0x7F800000},
    {MP_BS_MXF8F6F4, MP_TC_E2M1, "7", "7", "7F", "7F", 0, 0x42100000},

    {MP_BS_MXF4, MP_TC_E2M1, "2", "2", "7F,7F", "7F,7F", 0, 0x3F800000},
    {MP_BS_MXF4, MP_TC_E2M1, "7x16", "7x16", "7F,7F", "7F,7F", 0, 0x44100000},     /* 576 */
    {MP_BS_MXF4, MP_TC_E2M1, "2,2@32", "2,2@32", "80,82", "7F,7F", 0, 0x41200000}, /* 2 + 8 */
    {MP_BS_MXF4, MP_TC_E2M1, "A", "2", "5C,00", "7F,7F", 0x3F800000, 0x3F7FFFFF},  /* 1 - 2^-35 */
    {MP_BS_MXF4, MP_TC_E2M1, "A", "2", "5B,00", "7F,7F", 0x3F800000, 0x3F800000},
    {MP_BS_MXF4, MP_TC_E2M1, "F", "7", "57,00", "7F,7F", 0x3F800000, 0x3F7FFFFF}, /* 36 * 2^-40 */
    {MP_BS_MXF4, MP_TC_E2M1, "2,A", "2,2", "BB,7F", "7F,7F", 0x3F800000, 0},      /* 0 * 2^60 cuts c off */
    {MP_BS_MXF4, MP_TC_E2M1, "2,A@16", "2,2@16", "BB,7F", "7F,7F", 0, 0},
    {MP_BS_MXF4, MP_TC_E2M1, "", "", "7F,FF", "7F,7F", 0, 0x7FFFFFFF},
    {MP_BS_MXF4, MP_TC_E2M1, "", "", "7F,7F", "7F,7F", 0xFF800000, 0xFF800000},
    {MP_BS_MXF4, MP_TC_E2M1, "", "", "7F,7F", "7F,7F", 0x7F800001, 0x7FFFFFFF},

    {MP_BS_NVF4, MP_TC_E2M1, "2", "2", "7E,38x3", "38x4", 0, 0x43E00000},
    {MP_BS_NVF4, MP_TC_E2M1, "2", "2", "B8,38x3", "38x4", 0, 0x3F800000}, /* no sign */
    {MP_BS_NVF4, MP_TC_E2M1, "2", "2", "01,38x3", "38x4", 0, 0x3B000000},
    {MP_BS_NVF4, MP_TC_E2M1, "2", "2", "3E,38x3", "3E,38x3", 0, 0x40440000}, /* 3.0625, exponent 0 */
    {MP_BS_NVF4, MP_TC_E2M1, "2@48", "2@48", "38x3,40", "38x3,48", 0, 0x41000000},
    {MP_BS_NVF4, MP_TC_E2M1, "7", "7", "00,38x3", "7E,38x3", 0x3F800000, 0x3F800000},
    {MP_BS_NVF4, MP_TC_E2M1, "7", "7", "00,01x3", "7E,01x3", 0x38800001, 0x38800001}, /* nor an exponent */
    {MP_BS_NVF4, MP_TC_E2M1, "", "", "7F,38x3", "38x4", 0, 0x7FFFFFFF},
};

static mp_bs_model model_of(mp_bs_kind kind, mp_tc_input a, mp_tc_input b) {
    mp_bs_model m;
    assert_true(mp_bs_find(100, MP_TC_TCGEN05, kind, a, b, &m));
    return m;
}

static void parse_scales(const char *text, uint8_t scales[MP_BS_MAX_TERMS]) {
    uint32_t codes[MP_BS_MAX_TERMS];
    parse_lanes(text, MP_BS_MAX_TERMS, codes);
    for (int i = 0; i < MP_BS_MAX_TERMS; i++) scales[i] = (uint8_t)codes[i];
}

static void worked_examples(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof EXAMPLES / sizeof *EXAMPLES; i++) {
        const example *e = &EXAMPLES[i];
        const mp_bs_model m = model_of(e->kind, e->input, e->input);
        uint32_t a[MP_BS_MAX_TERMS], b[MP_BS_MAX_TERMS];
        uint8_t scale_a[MP_BS_MAX_TERMS], scale_b[MP_BS_MAX_TERMS];
        parse_lanes(e->a, MP_BS_MAX_TERMS, a);
        parse_lanes(e->b, MP_BS_MAX_TERMS, b);
        parse_scales(e->scale_a, scale_a);
        parse_scales(e->scale_b, scale_b);
        const uint32_t got = mp_bs_dot_add(&m, a, b, scale_a, scale_b, e->c);
        if (got != e->expected)
            fail_msg("kind %d a=%s b=%s scales %s and %s c=%08X: %08X, expected %08X", e->kind, e->a, e->b,
                     e->scale_a, e->scale_b, e->c, got, e->expected);
    }
}

/* ---- an oracle for finite numbers: float64 holds every term exactly, and C library functions do the
 * cutting ---- */

static const mp_dtype DTYPES[MP_TC_INPUT_COUNT] = {
    [MP_TC_E4M3] = MP_E4M3, [MP_TC_E5M2] = MP_E5M2, [MP_TC_E2M1] = MP_E2M1};

static int exponent_of(double value, int emin) {
    return value == 0 || ilogb(value) < emin ? emin : ilogb(value);
}

static double scale_value(const mp_bs_model *m, uint8_t code) {
    return m->scale == MP_BS_UE8M0 ? mp_decode_code(MP_UE8M0, code) : fabs(mp_decode_code(MP_E4M3, code));
}

static uint32_t oracle(const mp_bs_model *m, const uint32_t *a, const uint32_t *b, const uint8_t *scale_a,
                       const uint8_t *scale_b, uint32_t c) {
    const int together = m->kind == MP_BS_MXF8F6F4 ? 1 : 16,
              emin = m->scale == MP_BS_UE8M0 ? -127 : mp_dtype_format(MP_E4M3)->emin;
    double term[MP_BS_MAX_TERMS + 1], sum = 0;
    int count = 0, e_max = -133;
    for (int k = 0; k < m->terms; k += together) {
        const double sa = scale_value(m, scale_a[k / m->block]), sb = scale_value(m, scale_b[k / m->block]);
        double dot = 0;
        for (int i = k; i < k + together; i++)
            dot += mp_decode_code(DTYPES[m->a], a[i]) * mp_decode_code(DTYPES[m->b], b[i]);
        const double value = term[count++] = dot * sa * sb;
        int e = exponent_of(sa, emin) + exponent_of(sb, emin);
        if (together == 1)
            e += exponent_of(mp_decode_code(DTYPES[m->a], a[k]), mp_dtype_format(DTYPES[m->a])->emin) +
                 exponent_of(mp_decode_code(DTYPES[m->b], b[k]), mp_dtype_format(DTYPES[m->b])->emin);
        const bool counts = together == 1 ? value != 0 : sa != 0 && sb != 0;
        if (counts && e > e_max) e_max = e;
    }
    const double acc = term[count++] = (double)mp_float_of_bits(c);
    if (acc != 0 && exponent_of(acc, -126) > e_max) e_max = exponent_of(acc, -126);
    for (int i = 0; i < count; i++) sum += trunc(ldexp(term[i], m->fraction_bits - e_max));
    const double result = ldexp(sum, e_max - m->fraction_bits);
    if (result == 0) return 0;
    if (fabs(result) >= 0x1p128) return result < 0 ? 0xFF800000 : 0x7F800000;
    float nearest = (float)result;
    if (fabs((double)nearest) > fabs(result)) nearest = nextafterf(nearest, 0);
    return nearest == 0 ? 0 : mp_bits_of_float(nearest);
}

static uint8_t random_scale(const mp_bs_model *m, int spread) {
    if (m->scale == MP_BS_UE4M3) {
        const uint8_t code = (uint8_t)random_bits();
        return (code & 0x7F) == 0x7F ? 0 : code;
    }
    return (uint8_t)(127 - spread + (int)(random_bits() % (uint32_t)(2 * spread + 1)));
}

static uint32_t random_code(mp_tc_input input) {
    for (;;) {
        const uint32_t code = random_bits() >> (input == MP_TC_E2M1 ? 28 : 24);
        if (isfinite(mp_decode_code(DTYPES[input], code))) return code;
    }
}

static const struct {
    mp_bs_kind kind;
    mp_tc_input a, b;
} MODELS[] = {{MP_BS_MXF8F6F4, MP_TC_E4M3, MP_TC_E4M3},
              {MP_BS_MXF8F6F4, MP_TC_E5M2, MP_TC_E2M1},
              {MP_BS_MXF8F6F4, MP_TC_E2M1, MP_TC_E4M3},
              {MP_BS_MXF4, MP_TC_E2M1, MP_TC_E2M1},
              {MP_BS_NVF4, MP_TC_E2M1, MP_TC_E2M1}};

typedef struct group {
    uint32_t a[2 * MP_BS_MAX_TERMS], b[2 * MP_BS_MAX_TERMS], c;
    uint8_t scale_a[8], scale_b[8];
} group;

/* Finite numbers; scales that differ by little, or by so much that terms are cut off. */
static group random_group(const mp_bs_model *m, int trial) {
    static const int spreads[] = {0, 4, 20, 100};
    group g = {.c = trial % 3 ? (112 + random_bits() % 32) << 23 | random_bits() >> 9 : 0};
    if (random_bits() % 2) g.c |= 0x80000000;
    for (int k = 0; k < 2 * m->terms; k++) {
        g.a[k] = random_bits() % 8 ? random_code(m->a) : 0;
        g.b[k] = random_code(m->b);
    }
    for (int i = 0; i < 8; i++) {
        g.scale_a[i] = random_scale(m, spreads[trial % 4]);
        g.scale_b[i] = random_scale(m, spreads[trial % 4]);
    }
    return g;
}

static void random_groups_equal_the_oracle(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof MODELS / sizeof *MODELS; i++) {
        const mp_bs_model m = model_of(MODELS[i].kind, MODELS[i].a, MODELS[i].b);
        for (int trial = 0; trial < 40000; trial++) {
            const group g = random_group(&m, trial);
            const uint32_t got = mp_bs_dot_add(&m, g.a, g.b, g.scale_a, g.scale_b, g.c),
                           expected = oracle(&m, g.a, g.b, g.scale_a, g.scale_b, g.c);
            if (got != expected) fail_msg("model %zu trial %d: %08X, expected %08X", i, trial, got, expected);
        }
    }
}

/* A power of two may move from a row's scales to the column's; a longer sum is a chain; with scales of 1
 * mxf8f6f4 is the unscaled unit. */
static void scales_move_sums_chain_and_ones_are_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof MODELS / sizeof *MODELS; i++) {
        const mp_bs_model m = model_of(MODELS[i].kind, MODELS[i].a, MODELS[i].b);
        const int scales = m.terms / m.block;
        mp_tc_model plain;
        assert_true(mp_tc_find(100, MP_TC_TCGEN05, m.a, m.b, &plain));
        for (int trial = 0; trial < 1000; trial++) {
            group g = random_group(&m, trial);
            const uint32_t first = mp_bs_dot_add(&m, g.a, g.b, g.scale_a, g.scale_b, g.c),
                           both = mp_bs_dot(&m, 2 * m.terms, g.a, g.b, g.scale_a, g.scale_b, g.c);
            assert_int_equal(both, mp_bs_dot_add(&m, g.a + m.terms, g.b + m.terms, g.scale_a + scales,
                                                 g.scale_b + scales, first));
            if (m.scale != MP_BS_UE8M0) continue;
            group moved = g;
            for (int s = 0; s < scales; s++) {
                moved.scale_a[s]++;
                moved.scale_b[s]--;
            }
            assert_int_equal(mp_bs_dot_add(&m, g.a, g.b, moved.scale_a, moved.scale_b, g.c), first);
            memset(g.scale_a, 127, sizeof g.scale_a);
            memset(g.scale_b, 127, sizeof g.scale_b);
            if (m.kind == MP_BS_MXF8F6F4)
                assert_int_equal(mp_bs_dot_add(&m, g.a, g.b, g.scale_a, g.scale_b, g.c),
                                 mp_tc_dot_add(&plain, g.a, g.b, g.c));
        }
    }
}

static void parameters_and_what_does_not_exist(void **state) {
    (void)state;
    static const struct {
        mp_bs_kind kind;
        mp_tc_input input;
        int terms, block, fraction_bits;
    } rows[] = {{MP_BS_MXF8F6F4, MP_TC_E4M3, 32, 32, 25},
                {MP_BS_MXF4, MP_TC_E2M1, 64, 32, 35},
                {MP_BS_NVF4, MP_TC_E2M1, 64, 16, 35}};
    mp_bs_model m;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int sm = 100; sm <= 120; sm += 20) {
            assert_true(mp_bs_find(sm, sm == 100 ? MP_TC_TCGEN05 : MP_TC_MMA, rows[i].kind, rows[i].input,
                                   rows[i].input, &m));
            assert_int_equal(m.terms, rows[i].terms);
            assert_int_equal(m.block, rows[i].block);
            assert_int_equal(m.fraction_bits, rows[i].fraction_bits);
            assert_false(m.measured);
        }
    assert_false(mp_bs_find(90, MP_TC_WGMMA, MP_BS_MXF8F6F4, MP_TC_E4M3, MP_TC_E4M3, &m));
    assert_false(mp_bs_find(100, MP_TC_MMA, MP_BS_MXF8F6F4, MP_TC_E4M3, MP_TC_E4M3, &m));
    assert_false(mp_bs_find(120, MP_TC_MMA, MP_BS_NVF4, MP_TC_E4M3, MP_TC_E2M1, &m));
    assert_false(mp_bs_find(120, MP_TC_MMA, MP_BS_MXF8F6F4, MP_TC_BF16, MP_TC_BF16, &m));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_examples),
        cmocka_unit_test(random_groups_equal_the_oracle),
        cmocka_unit_test(scales_move_sums_chain_and_ones_are_nothing),
        cmocka_unit_test(parameters_and_what_does_not_exist),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
