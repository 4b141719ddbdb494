/* SPDX-License-Identifier: Apache-2.0 */
/* offload/device/number.h and operand.h, as the device computes them, against base/dtype and ref/operand.c:
 * the same float64, bit for bit, but for the bits of NaN. */
#include "offload/handle.h"
#include "tests/ref_support.h"

#include <stdint.h>

static bool same(double a, double b) {
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static mp_number_format format_of(mp_dtype dtype) {
    const mp_tensor codes = mp_tensor_shape(dtype, 2, 1, 2, 1);
    return mp_describe_operand(&(mp_operand){.codes = &codes}).code_format;
}

/* All codes of up to 16 bits; of more a million, of all exponents. */
static void codes_are_numbers(void **state) {
    (void)state;
    rng r = {1};
    for (int d = 0; d < MP_DTYPE_COUNT; d++) {
        const mp_dtype dtype = (mp_dtype)d;
        const mp_number_format f = format_of(dtype);
        const int bits = mp_dtype_bits(dtype);
        const int64_t count = bits <= 16 ? (int64_t)1 << bits : 1000000;
        for (int64_t i = 0; i < count; i++) {
            const uint64_t any = (uint64_t)random_bits(&r) << 32 | random_bits(&r),
                           code = bits <= 16 ? (uint64_t)i : any >> (64 - bits);
            const double expected = mp_decode_code(dtype, code), got = mp_number_of_code(&f, code);
            if (!same(got, expected))
                fail_msg("%s %llx: %.17g instead of %.17g", mp_dtype_name(dtype), (unsigned long long)code,
                         got, expected);
        }
    }
}

static void elements_are_found(void **state) {
    (void)state;
    uint8_t data[64];
    rng r = {2};
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)random_bits(&r);
    for (int d = 0; d < MP_DTYPE_COUNT; d++) {
        const mp_number_format f = format_of((mp_dtype)d);
        for (int64_t i = 0; i < (int64_t)(8 * sizeof data) / mp_dtype_bits((mp_dtype)d); i++)
            assert_true(same(mp_number_at(&f, data, i), mp_decode_any((mp_dtype)d, data, i)));
    }
}

/* Every number of a format has its code, and what is rounded to it that of the encoder; NaN is canonical. */
static void numbers_are_codes(void **state) {
    (void)state;
    static const mp_dtype dtypes[] = {MP_BF16, MP_FP16, MP_FP32};
    rng r = {4};
    for (size_t d = 0; d < COUNT(dtypes); d++) {
        const mp_number_format f = format_of(dtypes[d]);
        for (int64_t i = 0; i < 300000; i++) {
            const uint32_t bits =
                i < 65536 ? (uint32_t)i << 16 | (i % 3 ? 0 : 0x8000u) : (uint32_t)random_bits(&r);
            float x;
            memcpy(&x, &bits, sizeof x);
            const uint64_t expected = mp_encode_code(dtypes[d], (double)x),
                           got = mp_code_of_number(&f, (double)x);
            if (got != expected)
                fail_msg("%s of %.9g: %llx instead of %llx", mp_dtype_name(dtypes[d]), (double)x,
                         (unsigned long long)got, (unsigned long long)expected);
        }
    }
}

/* Around the numbers of the format and between them, ties, subnormals, the largest, and beyond. */
static void numbers_are_rounded(void **state) {
    (void)state;
    static const mp_dtype dtypes[] = {MP_BF16, MP_FP16, MP_FP32};
    static const double odd[] = {0,        -0.0,     INFINITY,   -INFINITY,     NAN,     65519.9,
                                 65520,    65520.1,  1e300,      5e-324,        0x1p-25, 0x1.8p-25,
                                 0x1p-149, 0x1p-150, 0x1.8p-150, 0x1.FFFFFFp127};
    rng r = {3};
    for (size_t d = 0; d < COUNT(dtypes); d++) {
        const mp_number_format f = format_of(dtypes[d]);
        const int precision = mp_dtype_format(dtypes[d])->precision;
        for (size_t i = 0; i < COUNT(odd); i++)
            assert_true(same(mp_number_rounded(&f, odd[i]), mp_round_to(dtypes[d], odd[i])));
        for (int i = 0; i < 1000000; i++) {
            double number = random_wide(&r, -160, 130);
            if (i % 2) { /* a tie, or next to one */
                number = mp_round_to(dtypes[d], number);
                number += ldexp(number, -precision);
                if (i % 4 == 1) number = nextafter(number, i % 8 == 1 ? INFINITY : 0);
            }
            const double expected = mp_round_to(dtypes[d], number), got = mp_number_rounded(&f, number);
            if (!same(got, expected))
                fail_msg("%s of %a: %a instead of %a", mp_dtype_name(dtypes[d]), number, got, expected);
        }
    }
}

/* All that an operand may have, of codes and scales that are any: NaN and Inf too. */
static void operands_are_decoded(void **state) {
    (void)state;
    enum { E = 3, N = 10, K = 14 };
    static const mp_dtype codes_of[] = {MP_E4M3, MP_I8, MP_U8, MP_U4, MP_I4, MP_E2M1, MP_BF16},
                          scales_of[] = {MP_FP32, MP_BF16, MP_FP16, MP_E4M3, MP_UE8M0},
                          rounded[] = {MP_BF16, MP_FP16, MP_FP32};
    rng r = {4};
    for (int round = 0; round < 3000; round++) {
        const int64_t block_rows = 1 + random_below(&r, N), block_columns = 1 + random_below(&r, K),
                      rows = (N + block_rows - 1) / block_rows,
                      columns = (K + block_columns - 1) / block_columns, globals = random_below(&r, 3);
        const bool pairs = rows % 2 == 0 && random_below(&r, 2), zeros = random_below(&r, 2);
        mp_tensor t[4] = {allocated_tensor(codes_of[random_below(&r, COUNT(codes_of))], E, N, K),
                          allocated_tensor(scales_of[random_below(&r, COUNT(scales_of))], E, rows, columns),
                          allocated_tensor(MP_U8, E, pairs ? rows / 2 : rows, columns),
                          allocated_tensor(MP_FP32, E, globals > 0 ? globals : 1, 0)};
        for (int i = 0; i < 4; i++)
            for (size_t b = 0; b < mp_tensor_bytes(&t[i]); b++)
                ((uint8_t *)t[i].data)[b] = (uint8_t)random_bits(&r);
        const mp_operand o = {.codes = &t[0],
                              .scale = random_below(&r, 8) ? &t[1] : NULL,
                              .block_rows = block_rows,
                              .block_columns = block_columns,
                              .zero = (int)random_below(&r, 9),
                              .zeros = zeros ? &t[2] : NULL,
                              .zeros_in_pairs = pairs,
                              .global = globals > 0 ? &t[3] : NULL,
                              .globals_alternate = random_below(&r, 2),
                              .rounds = random_below(&r, 2),
                              .rounded = rounded[random_below(&r, COUNT(rounded))]};
        mp_device_operand d = mp_describe_operand(&o);
        d.codes = (uintptr_t)t[0].data;
        d.scale = o.scale ? (uintptr_t)t[1].data : 0;
        d.zeros = o.scale && o.zeros ? (uintptr_t)t[2].data : 0;
        d.global = o.scale && o.global ? (uintptr_t)t[3].data : 0;
        for (int64_t row = 0; row < E * N; row++) {
            double expected[K];
            const mp_device_row at = mp_device_row_of(&d, row);
            mp_operand_decode(&o, row, 0, K, expected);
            for (int64_t k = 0; k < K; k++)
                if (!same(mp_device_operand_at(&d, &at, k), expected[k]))
                    fail_msg("round %d, row %lld column %lld: %a instead of %a", round, (long long)row,
                             (long long)k, mp_device_operand_at(&d, &at, k), expected[k]);
        }
        for (int i = 0; i < 4; i++) mp_tensor_free(&t[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_numbers), cmocka_unit_test(elements_are_found),
        cmocka_unit_test(numbers_are_codes), cmocka_unit_test(numbers_are_rounded),
        cmocka_unit_test(operands_are_decoded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
