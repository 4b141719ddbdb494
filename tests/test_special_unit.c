/* SPDX-License-Identifier: Apache-2.0 */
/* The special-function unit: its tables against correctly rounded values, the instructions against what the
 * PTX ISA promises of them, and bits that an H100 gave. */
#include "ref/predict/special_unit_tanh.h"
#include "tests/special_unit_support.h"

#include <float.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void tables_are_unpacked_once(void **unused) {
    (void)unused;
    mp_error err;
    const mp_special_unit *again;
    assert_int_equal(mp_special_unit_sm90(&again, &err), MP_OK);
    assert_ptr_equal(unit, again);
}

/* Every entry against the exact value, in long double; how many are not the nearest float32 is what was
 * counted when they were recorded. */
static void tables_are_within_an_ulp(void **unused) {
    (void)unused;
    int64_t rounded_otherwise[2] = {0, 0};
    double worst[2] = {0, 0};
    for (int i = 0; i < MP_SPECIAL_UNIT_ENTRIES; i++) {
        const long double fraction = (long double)i / MP_SPECIAL_UNIT_ENTRIES;
        const long double exact[2] = {exp2l(fraction), 1 / (1 + fraction)};
        const uint32_t bits[2] = {unit->ex2[i], unit->rcp[i]};
        for (int k = 0; k < 2; k++) {
            const float got = mp_bits_float(bits[k]), nearest = (float)exact[k];
            /* one ulp of [1,2), and of [1/2,1) */
            const double ulp = k == 0 || i == 0 ? 0x1p-23 : 0x1p-24;
            worst[k] = fmax(worst[k], fabs((double)((long double)got - exact[k])) / ulp);
            rounded_otherwise[k] += got != nearest;
        }
    }
    print_message("ex2: %.4f ulp, %lld; rcp: %.4f ulp, %lld\n", worst[0], (long long)rounded_otherwise[0],
                  worst[1], (long long)rounded_otherwise[1]);
    assert_int_equal(rounded_otherwise[0], 3262733);
    assert_int_equal(rounded_otherwise[1], 1108522);
    assert_true(worst[0] <= 1.4 && worst[1] <= MP_RCP_ULPS);
    assert_int_equal(unit->ex2[0], 0x3F800000);
    assert_int_equal(unit->rcp[0], 0x3F800000);
}

static void special_values_are_those_of_the_device(void **unused) {
    (void)unused;
    static const struct {
        one_argument *f;
        const char *name;
        float x;
        uint32_t bits;
    } rows[] = {
        {mp_ex2_approx_ftz, "ex2.ftz", 0.0f, 0x3F800000},
        {mp_ex2_approx_ftz, "ex2.ftz", -0.0f, 0x3F800000},
        {mp_ex2_approx_ftz, "ex2.ftz", 1e-40f, 0x3F800000},
        {mp_ex2_approx_ftz, "ex2.ftz", -0x1.8p-24f, 0x3F800000},
        {mp_ex2_approx_ftz, "ex2.ftz", -1.0f, 0x3F000000},
        {mp_ex2_approx_ftz, "ex2.ftz", -126.0f, 0x00800000},
        {mp_ex2_approx_ftz, "ex2.ftz", -126.5f, 0x00000000},
        {mp_ex2_approx_ftz, "ex2.ftz", -1e30f, 0x00000000},
        {mp_ex2_approx_ftz, "ex2.ftz", 127.0f, 0x7F000000},
        {mp_ex2_approx_ftz, "ex2.ftz", 128.0f, 0x7F800000},
        {mp_ex2_approx_ftz, "ex2.ftz", INFINITY, 0x7F800000},
        {mp_ex2_approx_ftz, "ex2.ftz", -INFINITY, 0x00000000},
        {mp_ex2_approx_ftz, "ex2.ftz", NAN, 0x7FFFFFFF},
        {mp_ex2_approx, "ex2", -128.0f, 0x00200000},
        {mp_ex2_approx, "ex2", -152.0f, 0x00000000},
        {mp_rcp_approx_ftz, "rcp.ftz", 0.0f, 0x7F800000},
        {mp_rcp_approx_ftz, "rcp.ftz", -1e-40f, 0xFF800000},
        {mp_rcp_approx_ftz, "rcp.ftz", 0x1p-126f, 0x7E800000},
        {mp_rcp_approx_ftz, "rcp.ftz", 0x1p126f, 0x00800000},
        {mp_rcp_approx_ftz, "rcp.ftz", -0x1.000002p126f, 0x80000000},
        {mp_rcp_approx_ftz, "rcp.ftz", 0x1p127f, 0x00000000},
        {mp_rcp_approx_ftz, "rcp.ftz", -INFINITY, 0x80000000},
        {mp_rcp_approx_ftz, "rcp.ftz", NAN, 0x7FFFFFFF},
        {mp_rcp_approx, "rcp", 0x1p127f, 0x00400000},
        {mp_rcp_approx, "rcp", -0x1p-127f, 0xFF000000},
        {mp_rcp_approx, "rcp", 0x1p-128f, 0x7F800000},
        {mp_rcp_approx, "rcp", 0.0f, 0x7F800000},
        {mp_rcp_approx, "rcp", INFINITY, 0x00000000},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const uint32_t got = mp_float_bits(rows[i].f(unit, rows[i].x));
        if (got != rows[i].bits)
            fail_msg("%s of %a: %08x, expected %08x", rows[i].name, (double)rows[i].x, got, rows[i].bits);
    }
}

/* xorshift64* */
static uint64_t next_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

/* PTX ISA, "ex2": within 2 ulp over the full range, whatever the sign and size. */
static void ex2_is_within_two_ulps_everywhere(void **unused) {
    (void)unused;
    uint64_t state = 5;
    double worst = 0, worst_ftz = 0;
    for (int n = 0; n < 2000000; n++) {
        const uint64_t random = next_random(&state);
        const float x = ldexpf((float)(int32_t)(random >> 32), (int)(random % 32) - 55);
        const long double exact = exp2l((long double)x);
        if (exact > (long double)FLT_MAX) continue;
        worst = fmax(worst, ulps_off(mp_ex2_approx(unit, x), exact));
        if (exact >= 0x1p-126L) worst_ftz = fmax(worst_ftz, ulps_off(mp_ex2_approx_ftz(unit, x), exact));
    }
    print_message("ex2 %.3f ulp, ex2.ftz %.3f ulp\n", worst, worst_ftz);
    assert_true(worst > 1 && worst <= MP_EX2_ULPS && worst_ftz <= MP_EX2_ULPS);
}

/* PTX ISA, "div": div.full is as good over the full range of b, scaled where 1/b would vanish or overflow;
 * div.approx for 2^-126 <= |b| <= 2^126, and 0 (of Inf: NaN) beyond. */
static void quotients_keep_what_ptx_promises(void **unused) {
    (void)unused;
    uint64_t state = 6;
    double worst[4] = {0, 0, 0, 0};
    for (int n = 0; n < 2000000; n++) {
        const float a = mp_bits_float((uint32_t)next_random(&state)),
                    b = mp_bits_float((uint32_t)next_random(&state));
        const long double exact = (long double)a / (long double)b;
        const float size = fabsf(b);
        if (!isfinite(a) || !isfinite(b) || size < 0x1p-126f) continue;
        const float got[4] = {mp_div_approx(unit, a, b), mp_div_approx_ftz(unit, a, b),
                              mp_div_full(unit, a, b), mp_div_full_ftz(unit, a, b)};
        if (size > 0x1p126f) assert_true(got[0] == 0 && got[1] == 0);
        if (fabsl(exact) > (long double)FLT_MAX / 2 || fabsl(exact) < 0x1p-125L || fabsf(a) < 0x1p-124f)
            continue;
        for (int k = size > 0x1p126f ? 2 : 0; k < 4; k++) worst[k] = fmax(worst[k], ulps_off(got[k], exact));
    }
    print_message("div.approx %.3f ulp, .ftz %.3f; div.full %.3f, .ftz %.3f\n", worst[0], worst[1], worst[2],
                  worst[3]);
    for (int k = 0; k < 4; k++) assert_true(worst[k] > 0.5 && worst[k] <= MP_DIV_APPROX_ULPS);
    assert_true(isnan(mp_div_approx(unit, INFINITY, 0x1.8p126f)));
    assert_true(isinf(mp_div_full(unit, INFINITY, 0x1.8p126f)));
    assert_true(mp_div_full(unit, 0x1p127f, 0x1p127f) == 1 && mp_div_full(unit, 0x1p-140f, 0x1p-140f) == 1);
}

static void ftz_flushes_operands_and_results(void **unused) {
    (void)unused;
    assert_int_equal(mp_float_bits(mp_flush(-0x1p-127f)), 0x80000000);
    assert_int_equal(mp_float_bits(mp_flush(0x1p-126f)), 0x00800000);
    assert_true(isnan(mp_flush(NAN)) && mp_flush(-INFINITY) == -INFINITY);
    assert_int_equal(mp_float_bits(mp_mul_ftz(-0x1p-127f, 0x1p100f)), 0x80000000);
    assert_int_equal(mp_float_bits(mp_mul_ftz(0x1p-63f, 0x1p-64f)), 0);
    assert_int_equal(mp_float_bits(mp_mul_ftz(0x1p-63f, 0x1p-63f)), 0x00800000);
    assert_true(isnan(mp_mul_ftz(0.0f, INFINITY)) && mp_mul_ftz(-2.0f, INFINITY) == -INFINITY);
    /* Products below 2^-126 that would round to it: an H100 gave 0. */
    static const uint32_t factors[][2] = {{0x19A8D628, 0x264214C9}, {0x1267FE63, 0x2D8D3EC6},
                                          {0x1B0C933E, 0x24E91978}, {0x0F9FD387, 0x304D05C9},
                                          {0x3435120E, 0x0BB4F7D9}, {0x00FFFFFF, 0x3F000000}};
    for (size_t i = 0; i < COUNT(factors); i++) {
        const float a = mp_bits_float(factors[i][0]), b = mp_bits_float(factors[i][1]);
        assert_int_equal(mp_float_bits(a * b), 0x00800000);
        assert_int_equal(mp_float_bits(mp_mul_ftz(a, b)), 0);
        assert_int_equal(mp_float_bits(mp_mul_ftz(a, -b)), 0x80000000);
    }
    /* Less than 2^-151 below it: an H100 gave 2^-126. */
    static const uint32_t nearer[][2] = {{0x165D0283, 0x299443D1},
                                         {0x258777FE, 0x1A71E2D7},
                                         {0x318FA834, 0x0E64194B},
                                         {0x1344BD79, 0x2CA68E03},
                                         {0x1A87D1B4, 0x25714312}};
    for (size_t i = 0; i < COUNT(nearer); i++) {
        const float a = mp_bits_float(nearer[i][0]), b = mp_bits_float(nearer[i][1]);
        assert_true((double)a * (double)b < 0x1p-126);
        assert_int_equal(mp_float_bits(mp_mul_ftz(a, b)), 0x00800000);
        assert_int_equal(mp_float_bits(mp_mul_ftz(a, -b)), 0x80800000);
    }
}

/* The bits below 2^-23 of an argument are cut off, and what is left of a negative one is its one's
 * complement, unless its fraction is zero. */
static void a_negative_argument_is_its_ones_complement(void **unused) {
    (void)unused;
    const int last = MP_SPECIAL_UNIT_ENTRIES - 1;
    const struct {
        float x;
        int index, exponent;
    } rows[] = {
        {0x1p-23f, 1, 0},
        {0x1.8p-23f, 1, 0},
        {-0x1p-23f, last - 1, -1},
        {-0x1.8p-23f, last - 1, -1},
        {-0x1p-22f, last - 2, -1},
        {-0x1.000002p0f, last - 1, -2},
        {-0x1.000004p0f, last - 2, -2},
        {-0x1.8p0f, MP_SPECIAL_UNIT_ENTRIES / 2 - 1, -2},
        {-2.0f, 0, -2},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(mp_float_bits(mp_ex2_approx_ftz(unit, rows[i].x)),
                         unit->ex2[rows[i].index] + ((uint32_t)rows[i].exponent << 23));
}

static float tanh_approx(const mp_special_unit *none, float x) {
    (void)none;
    return mp_tanh_approx(x);
}

static void bits_are_those_of_the_device(void **unused) {
    (void)unused;
    static const known_digest rows[] = {
        {"ex2.ftz", mp_ex2_approx_ftz, 0xED9981B175D3B30F}, {"ex2", mp_ex2_approx, 0x6AAD539562D482A4},
        {"rcp.ftz", mp_rcp_approx_ftz, 0x60170C809FB1E962}, {"rcp", mp_rcp_approx, 0xC01175FC695E9896},
        {"tanh", tanh_approx, 0x5A69F8596864A3E9},
    };
    expect_digests(rows, COUNT(rows));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_unpacked_once),
        cmocka_unit_test(tables_are_within_an_ulp),
        cmocka_unit_test(special_values_are_those_of_the_device),
        cmocka_unit_test(ex2_is_within_two_ulps_everywhere),
        cmocka_unit_test(quotients_keep_what_ptx_promises),
        cmocka_unit_test(ftz_flushes_operands_and_results),
        cmocka_unit_test(a_negative_argument_is_its_ones_complement),
        cmocka_unit_test(bits_are_those_of_the_device),
    };
    return cmocka_run_group_tests(tests, load_unit, NULL);
}
