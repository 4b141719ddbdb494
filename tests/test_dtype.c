/* SPDX-License-Identifier: Apache-2.0 */
#include "moeparity/dtype.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const mp_dtype SMALL[] = {MP_BF16, MP_FP16, MP_E4M3,
                                 MP_E5M2}; /* formats whose codes can all be visited */
#define SMALL_COUNT (sizeof SMALL / sizeof SMALL[0])

static uint64_t sign_bit(mp_dtype d) {
    return 1ull << (8 * mp_dtype_size(d) - 1);
}

/* ---- the oracle: exponent and fraction fields by hand, rounding by search in the list of all values ---- */

static const struct {
    int exponent_bits, fraction_bits;
    uint64_t max_code; /* largest finite */
} FIELDS[MP_DTYPE_COUNT] = {[MP_BF16] = {8, 7, 0x7F7F},
                            [MP_FP16] = {5, 10, 0x7BFF},
                            [MP_E4M3] = {4, 3, 0x7E},
                            [MP_E5M2] = {5, 2, 0x7B}};

/* Value of a magnitude code. The code after the largest finite one is read as if the range went on: overflow
 * begins halfway to it.
 */
static double oracle_value(mp_dtype d, uint64_t code) {
    int bias = (1 << (FIELDS[d].exponent_bits - 1)) - 1;
    int exponent = (int)(code >> FIELDS[d].fraction_bits);
    double fraction =
        ldexp((double)(code & ((1ull << FIELDS[d].fraction_bits) - 1)), -FIELDS[d].fraction_bits);
    return exponent == 0 ? ldexp(fraction, 1 - bias) : ldexp(1 + fraction, exponent - bias);
}

static uint64_t oracle_encode(mp_dtype d, double value) {
    uint64_t sign = signbit(value) ? sign_bit(d) : 0, low = 0, high = FIELDS[d].max_code + 1;
    double a = fabs(value);
    if (isnan(value)) return sign_bit(d) - 1;
    if (a >= oracle_value(d, high)) return sign | high;
    while (high - low > 1) { /* value(low) <= a < value(high) */
        uint64_t middle = (low + high) / 2;
        if (oracle_value(d, middle) <= a)
            low = middle;
        else
            high = middle;
    }
    double below = a - oracle_value(d, low),
           above = oracle_value(d, high) - a;                 /* both exact: a is within a factor of two or */
    bool up = below > above || (below == above && (low & 1)); /* they are compared with exact halves */
    return sign | (up ? high : low);
}

/* ---- tests ---- */

static void every_code_decodes_and_returns(void **state) {
    (void)state;
    for (size_t i = 0; i < SMALL_COUNT; i++) {
        mp_dtype d = SMALL[i];
        for (uint64_t code = 0; code < 2 * sign_bit(d); code++) {
            uint64_t magnitude = code & (sign_bit(d) - 1);
            double value = mp_decode_code(d, code);
            if (magnitude > FIELDS[d].max_code + 1 || (magnitude == FIELDS[d].max_code + 1 && d == MP_E4M3)) {
                assert_true(isnan(value));
                assert_int_equal(mp_encode_code(d, value), sign_bit(d) - 1);
                continue;
            }
            double expected =
                magnitude == FIELDS[d].max_code + 1 ? (double)INFINITY : oracle_value(d, magnitude);
            assert_true(fabs(value) == expected);
            assert_int_equal(signbit(value) != 0, (code & sign_bit(d)) != 0);
            assert_int_equal(mp_encode_code(d, value), code);
        }
    }
}

static void ties_go_to_even_and_a_breath_off_goes_to_the_nearest(void **state) {
    (void)state;
    for (size_t i = 0; i < SMALL_COUNT; i++) {
        mp_dtype d = SMALL[i];
        for (uint64_t code = 0; code <= FIELDS[d].max_code; code++) {
            double middle = (oracle_value(d, code) + oracle_value(d, code + 1)) /
                            2; /* one bit more than the format: exact */
            uint64_t even = code & 1 ? code + 1 : code;
            assert_int_equal(mp_encode_code(d, middle), even);
            assert_int_equal(mp_encode_code(d, nextafter(middle, 0)), code);
            assert_int_equal(mp_encode_code(d, nextafter(middle, INFINITY)), code + 1);
            assert_int_equal(mp_encode_code(d, -middle), sign_bit(d) | even);
            assert_true(mp_half_ulp(d, oracle_value(d, code)) == middle - oracle_value(d, code));
        }
    }
}

static uint64_t next_random(uint64_t *x) { /* splitmix64 */
    uint64_t z = *x += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
}

static void random_float64_agree_with_the_oracle(void **state) {
    (void)state;
    uint64_t seed = 1;
    for (int n = 0; n < 200000; n++) {
        uint64_t bits = next_random(&seed);
        double anywhere, near;
        memcpy(&anywhere, &bits, sizeof anywhere); /* mostly overflow, underflow and, rarely, NaN */
        near = ldexp((double)(int64_t)next_random(&seed), (int)(bits % 60) - 95);
        for (size_t i = 0; i < SMALL_COUNT; i++) {
            assert_int_equal(mp_encode_code(SMALL[i], anywhere), oracle_encode(SMALL[i], anywhere));
            assert_int_equal(mp_encode_code(SMALL[i], near), oracle_encode(SMALL[i], near));
        }
        if (isnan(anywhere)) continue;
        float hardware[2] = {(float)anywhere, (float)near};
        assert_true(mp_round_to(MP_FP32, anywhere) == hardware[0]);
        assert_true(mp_round_to(MP_FP32, near) == hardware[1]);
        assert_true(mp_round_to(MP_FP64, anywhere) == anywhere);
    }
    for (int e = -160; e < -120; e++) { /* subnormal float32 */
        double value = ldexp((double)next_random(&seed), e - 64);
        assert_true(mp_round_to(MP_FP32, value) == (float)value);
    }
}

/* A value just above a midpoint that float32 would first round onto the midpoint, and ties-to-even then
 * down. */
static void there_is_no_double_rounding(void **state) {
    (void)state;
    for (size_t i = 0; i < SMALL_COUNT; i++) {
        const mp_format *f = mp_dtype_format(SMALL[i]);
        double value = 1 + ldexp(1, -f->precision) + 0x1p-40;
        assert_true((float)value == 1 + ldexp(1, -f->precision));
        assert_true(mp_round_to(SMALL[i], value) == 1 + ldexp(1, 1 - f->precision));
        assert_true(mp_round_to(SMALL[i], -value) == -1 - ldexp(1, 1 - f->precision));
    }
}

static void rows_equal_single_values(void **state) {
    (void)state;
    enum { COUNT = 65536 };
    static uint16_t codes[COUNT];
    static double row[COUNT];
    static float row_f32[COUNT];
    for (int i = 0; i < COUNT; i++) codes[i] = (uint16_t)i;
    for (int which = 0; which < 2; which++) {
        mp_dtype d = which ? MP_FP16 : MP_BF16;
        mp_decode_row(d, codes, 3, COUNT - 3, row);
        mp_decode_row_f32(d, codes, 3, COUNT - 3, row_f32);
        for (int i = 3; i < COUNT; i++) {
            double value = mp_decode(d, codes, i);
            if (isnan(value)) {
                assert_true(isnan(row[i - 3]) && isnan(row_f32[i - 3]));
                continue;
            }
            assert_true(row[i - 3] == value && !signbit(row[i - 3]) == !signbit(value));
            assert_true(row_f32[i - 3] == value && !signbit(row_f32[i - 3]) == !signbit(value));
        }
    }
}

static void check_encode_row(mp_dtype d, const float *values, int n) {
    uint64_t by_row[70], by_one[70]; /* 64 elements of any size, first = 3, and untouched space behind */
    memset(by_row, 0x5A, sizeof by_row);
    memset(by_one, 0x5A, sizeof by_one);
    mp_encode_row_f32(d, by_row, 3, n, values);
    for (int i = 0; i < n; i++) mp_encode(d, by_one, 3 + i, values[i]);
    assert_memory_equal(by_row, by_one, sizeof by_row);
}

static void encoding_rows_of_float32_rounds_once(void **state) {
    (void)state;
    static const mp_dtype all[] = {MP_BF16, MP_FP16, MP_FP32, MP_FP64, MP_I32, MP_E4M3, MP_E5M2};
    float values[64];
    uint64_t seed = 2;
    for (int round = 0; round < 20000; round++) {
        for (int i = 0; i < 64; i++) {
            uint32_t bits = (uint32_t)next_random(&seed);
            if (i & 1)
                bits = (bits & 0x8FFFFFFF) |
                       0x30000000; /* near 1 and below: fp16's normal and subnormal range */
            if (i & 2)
                bits =
                    (bits & 0xFFFFF000) + (uint32_t)(i / 4 % 3) - 1; /* around midpoints of fp16 and bf16 */
            memcpy(&values[i], &bits, sizeof bits);
        }
        for (size_t d = 0; d < sizeof all / sizeof all[0]; d++)
            check_encode_row(all[d], values, d ? 64 : round % 65);
    }
    const float edges[] = {65504,        65519.996f,   65520,    -65520,   0x1p-14f,
                           0x1.ffcp-15f, 0x1.ffep-15f, 0x1p-24f, 0x1p-25f, 0x1.000002p-25f,
                           0x1p-149f,    0.0f,         -0.0f,    INFINITY, -INFINITY,
                           NAN,          -NAN,         FLT_MAX,  -FLT_MAX, 0x1.fefffep127f,
                           0x1.ffp127f,  464,          465,      57344,    61440};
    for (size_t d = 0; d < sizeof all / sizeof all[0]; d++)
        check_encode_row(all[d], edges, (int)(sizeof edges / sizeof edges[0]));
}

static void eight_bit_formats_saturate_on_request(void **state) {
    (void)state;
    assert_int_equal(mp_encode_code(MP_E4M3, 464), 0x7E); /* the tie goes to the even code of 448 */
    assert_int_equal(mp_encode_code(MP_E4M3, 464.0001), 0x7F);
    assert_int_equal(mp_encode_code(MP_E4M3, -INFINITY), 0xFF);
    assert_int_equal(mp_encode_code(MP_E5M2, 61440),
                     0x7C); /* the tie goes to Inf: the code of 57344 is odd */
    const double beyond[] = {449, 464, 465, 480, 57345, 61440, 1e300, INFINITY};
    for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
        assert_int_equal(mp_encode_e4m3_saturate(beyond[i]), 0x7E);
        assert_int_equal(mp_encode_e4m3_saturate(-beyond[i]), 0xFE);
        if (beyond[i] > 57344) assert_int_equal(mp_encode_e5m2_saturate(-beyond[i]), 0xFB);
    }
    assert_int_equal(mp_encode_e4m3_saturate(NAN), 0x7F);
    assert_int_equal(mp_encode_e5m2_saturate(NAN), 0x7F);
    for (uint64_t code = 0; code <= 0x7B; code++)
        assert_int_equal(mp_encode_e5m2_saturate(mp_decode_code(MP_E5M2, code)), code);
}

static void int32_rounds_and_clamps(void **state) {
    (void)state;
    int32_t data[2] = {0, 77};
    const struct {
        double value;
        int32_t expected;
    } rows[] = {{2.5, 2}, {3.5, 4}, {-1, -1}, {1e20, INT32_MAX}, {-1e20, INT32_MIN}, {-INFINITY, INT32_MIN},
                {NAN, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mp_encode(MP_I32, data, 0, rows[i].value);
        assert_int_equal(data[0], rows[i].expected);
        assert_true(mp_decode(MP_I32, data, 0) == rows[i].expected);
    }
    assert_int_equal(data[1], 77);
}

static void half_ulps_outside_the_finite_range(void **state) {
    (void)state;
    for (int d = 0; d < MP_DTYPE_COUNT; d++) assert_true(isnan(mp_half_ulp((mp_dtype)d, NAN)));
    assert_true(mp_half_ulp(MP_FP16, INFINITY) == 16 &&
                mp_half_ulp(MP_FP16, -1e9) == 16); /* of the last finite binade */
    assert_true(mp_half_ulp(MP_BF16, 0) == 0x1p-134 && mp_half_ulp(MP_FP32, 0x1p-140) == 0x1p-150);
    assert_true(mp_half_ulp(MP_FP64, 1) == 0x1p-53 && mp_half_ulp(MP_FP64, 0) > 0);
    assert_true(mp_half_ulp(MP_I8, 3) == 0.5 && mp_half_ulp(MP_E2M1, 0) == 0.25 &&
                mp_half_ulp(MP_E2M1, 5) == 1 && mp_half_ulp(MP_UE8M0, 4) == 2);
    assert_true(mp_unit_roundoff(MP_BF16) == 0x1p-8 && mp_unit_roundoff(MP_FP32) == 0x1p-24 &&
                mp_unit_roundoff(MP_FP64) == 0x1p-53);
}

static void names_and_sizes(void **state) {
    (void)state;
    static const int bits[MP_DTYPE_COUNT] = {16, 16, 32, 64, 32, 8, 8, 8, 8, 4, 4, 4, 8};
    for (int d = 0; d < MP_DTYPE_COUNT; d++) {
        mp_dtype parsed = MP_DTYPE_COUNT;
        assert_true(mp_dtype_parse(mp_dtype_name((mp_dtype)d), &parsed));
        assert_int_equal(parsed, d);
        assert_int_equal(mp_dtype_bits((mp_dtype)d), bits[d]);
        assert_int_equal(mp_dtype_is_packed((mp_dtype)d), bits[d] == 4);
        if (bits[d] >= 8) assert_int_equal(mp_dtype_size((mp_dtype)d), bits[d] / 8);
        assert_int_equal(mp_dtype_bytes((mp_dtype)d, 6), 6 * bits[d] / 8);
    }
    mp_dtype untouched = MP_FP16;
    assert_false(mp_dtype_parse("float", &untouched));
    assert_int_equal(untouched, MP_FP16);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_decodes_and_returns),
        cmocka_unit_test(ties_go_to_even_and_a_breath_off_goes_to_the_nearest),
        cmocka_unit_test(random_float64_agree_with_the_oracle),
        cmocka_unit_test(there_is_no_double_rounding),
        cmocka_unit_test(rows_equal_single_values),
        cmocka_unit_test(encoding_rows_of_float32_rounds_once),
        cmocka_unit_test(eight_bit_formats_saturate_on_request),
        cmocka_unit_test(int32_rounds_and_clamps),
        cmocka_unit_test(half_ulps_outside_the_finite_range),
        cmocka_unit_test(names_and_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
