/* SPDX-License-Identifier: Apache-2.0 */
/* The quotient that quantising kernels compute by a reciprocal is that of a division, bit for bit, wherever
 * they use it for a code. */
#include <stdbool.h>

#include "kernels/device/quotient.cuh" /* which knows bool */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void same(float x, float by) {
    const float expected = x / by, got = quotient(x, divisor_of(by));
    if (isnan(expected) ? !isnan(got) : mp_float_bits(got) != mp_float_bits(expected))
        fail_msg("%a / %a: %a instead of %a", (double)x, (double)by, (double)got, (double)expected);
}

/* Every significand of `bits` bits behind the first, over each step-th one of float32. */
static void significands(int bits, uint32_t step) {
    for (uint32_t by = 0; by < 1u << 23; by += step) {
        const float s = mp_bits_float(0x3F800000u | by);
        for (uint32_t x = 0; x < 1u << bits; x++) same(mp_bits_float(0x3F800000u | x << (23 - bits)), s);
    }
}

static void of_bf16(void **state) {
    (void)state;
    significands(7, 61);
}

static void of_fp16(void **state) {
    (void)state;
    significands(10, 487);
}

/* A quotient that is smaller than all codes keeps its sign, and stays that small; every other one is right.
 */
static void of_any_size(void **state) {
    (void)state;
    for (int e = -149; e <= 119; e += 4)
        for (uint32_t by = 0; by < 1u << 23; by += 599993) {
            const float s = ldexpf(mp_bits_float(0x3F800000u | by), e);
            const divisor d = divisor_of(s);
            for (uint32_t code = 0; code < 0x7F80; code += 3) { /* bf16 */
                const float x = mp_bits_float(code << 16), q = quotient(x, d);
                if (x > 448 * s) break;
                if (x / s >= 0x1p-12f)
                    same(x, s);
                else if (!(q >= 0 && q < 0x1p-11f) || mp_float_bits(quotient(-x, d)) >> 31 != 1)
                    fail_msg("%a / %a: %a", (double)x, (double)s, (double)q);
            }
        }
}

static void by_what_is_no_number(void **state) {
    (void)state;
    static const float x[] = {0, -0.0f, 1, -3e38f, INFINITY, -INFINITY, NAN};
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) {
        same(x[i], INFINITY);
        same(x[i], NAN);
        if (!isinf(x[i])) same(x[i], 1);
    }
    assert_true(isinf(divisor_of(0).reciprocal)); /* by which zero is known */
    assert_true(isnan(quotient(INFINITY, divisor_of(2))));
    assert_true(isnan(quotient(4, divisor_of(0x1p-126f))));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_bf16),
        cmocka_unit_test(of_fp16),
        cmocka_unit_test(of_any_size),
        cmocka_unit_test(by_what_is_no_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
