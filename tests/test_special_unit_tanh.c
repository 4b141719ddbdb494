/* SPDX-License-Identifier: Apache-2.0 */
/* tanh.approx.f32: what an H100 gave for the first and last float32 of each binade, how often its results
 * change and fall from one float32 to the next, and how far they are from tanh. */
#include "ref/predict/special_unit_tanh.h"

#include "ref/predict/float32_math.h"
#include "tests/ref_support.h"

static uint32_t result_of(uint32_t bits) {
    return mp_float_bits(mp_tanh_approx(mp_bits_float(bits)));
}

/* Steps: how many results of the binade are another one than that before; falls: how many are less. */
static const struct {
    int exponent;
    uint32_t first, last;
    int64_t steps;
} binades[] = {
    {-12, 0x39800000, 0x39FFFFFF, 8388607}, {-9, 0x3B000000, 0x3B7FFFFF, 8388607},
    {-8, 0x3B800000, 0x3BFFFEC0, 131071},   {-7, 0x3BFFFF00, 0x3C7FFA40, 131071},
    {-6, 0x3C7FFB00, 0x3CFFEA40, 131071},   {-5, 0x3CFFEAC0, 0x3D7FAAC1, 262143},
    {-4, 0x3D7FAAC0, 0x3DFEACC4, 262143},   {-3, 0x3DFEACD0, 0x3E7ACC04, 524287},
    {-2, 0x3E7ACBC0, 0x3EEC9ABF, 524287},   {-1, 0x3EEC9A50, 0x3F42F788, 522024},
    {0, 0x3F42F848, 0x3F76CA58, 1026501},   {1, 0x3F76CAA0, 0x3F7FD40C, 591208},
    {2, 0x3F7FD430, 0x3F7FFFFC, 16869},     {3, 0x3F800000, 0x3F800000, 0},
};
enum { BLOCK = 1 << 12 };

static void each_binade_is_the_devices(void **unused) {
    (void)unused;
    int64_t all_falls = 0, itself = 0;
    for (size_t i = 0; i < COUNT(binades); i++) {
        const uint32_t first = (uint32_t)(binades[i].exponent + 127) << 23, last = first | 0x7FFFFF;
        int64_t steps = 0, falls = 0;
#pragma omp parallel for schedule(static) reduction(+ : steps, falls, itself)
        for (uint32_t block = first; block < last; block += BLOCK) {
            uint32_t before = result_of(block == first ? block : block - 1);
            for (uint32_t x = block; x < block + BLOCK; x++) {
                const uint32_t result = result_of(x);
                steps += result != before;
                falls += result < before;
                itself += result == x && binades[i].exponent >= -8;
                before = result;
            }
        }
        all_falls += falls;
        assert_int_equal(result_of(first), binades[i].first);
        assert_int_equal(result_of(last), binades[i].last);
        assert_int_equal(steps, binades[i].steps);
    }
    /* and from one binade to the next */
    for (int e = -8; e <= 3; e++)
        all_falls += result_of((uint32_t)(e + 127) << 23) < result_of(((uint32_t)(e + 127) << 23) - 1);
    assert_int_equal(all_falls, 26240);
    assert_int_equal(itself, 1024);
}

static void it_is_odd_and_ends_at_one(void **unused) {
    (void)unused;
    static const uint32_t rows[][2] = {
        {0x00000000, 0x00000000}, {0x00000001, 0x00000001}, {0x007FFFFF, 0x007FFFFF},
        {0x00800000, 0x00800000}, {0x3B7FFFFF, 0x3B7FFFFF}, {0x40FFFFFF, 0x3F7FFFFC},
        {0x41000000, 0x3F800000}, {0x7F7FFFFF, 0x3F800000}, {0x7F800000, 0x3F800000}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(result_of(rows[i][0]), rows[i][1]);
        assert_int_equal(result_of(rows[i][0] | 0x80000000), rows[i][1] | 0x80000000);
    }
    for (uint32_t x = 0; x < 0x7F800000; x += 4099)
        assert_int_equal(result_of(x | 0x80000000), result_of(x) | 0x80000000);
    static const uint32_t nans[] = {0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0xFF800001, 0xFFC00000};
    for (size_t i = 0; i < COUNT(nans); i++) assert_int_equal(result_of(nans[i]), 0x7FFFFFFF);
}

/* Every 7th float32 from 2^-31 on; of all of them the worst is 133.953. */
static void it_is_as_far_from_tanh_as_is_said(void **unused) {
    (void)unused;
    double worst = 0, relative = 0;
#pragma omp parallel for schedule(static) reduction(max : worst, relative)
    for (uint32_t x = 0x30000000; x < 0x41000000; x += 7) {
        const double exact = tanh((double)mp_bits_float(x)),
                     error = fabs((double)mp_bits_float(result_of(x)) - exact);
        int exponent;
        frexp(exact, &exponent);
        worst = fmax(worst, ldexp(error, 24 - exponent));
        relative = fmax(relative, error / exact);
    }
    print_message("tanh.approx: %.2f ulp, 2^%.2f\n", worst, log2(relative));
    assert_true(worst > MP_TANH_APPROX_ULPS - 5 && worst <= MP_TANH_APPROX_ULPS);
    assert_true(relative <= exp2(-16.4));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_binade_is_the_devices),
        cmocka_unit_test(it_is_odd_and_ends_at_one),
        cmocka_unit_test(it_is_as_far_from_tanh_as_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
