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

static void same(float x, divisor d) {
    const float expected = x / d.by, got = quotient(x, d);
    if (mp_float_bits(got) != mp_float_bits(expected))
        fail_msg("%a / %a: %a instead of %a", (double)x, (double)d.by, (double)got, (double)expected);
}

/* Every significand of `bits` bits behind the first, over each step-th one of float32. */
static void significands(int bits, uint32_t step) {
    for (uint32_t by = 0; by < 1u << 23; by += step) {
        const divisor d = divisor_of(mp_bits_float(0x3F800000u | by), 2.0f);
        assert_false(d.plain);
        for (uint32_t x = 0; x < 1u << bits; x++) same(mp_bits_float(0x3F800000u | x << (23 - bits)), d);
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
    for (int e = -60; e <= 60; e += 4)
        for (uint32_t by = 0; by < 1u << 23; by += 599993) {
            const float s = ldexpf(mp_bits_float(0x3F800000u | by), e);
            const divisor d = divisor_of(s, 448 * s);
            assert_int_equal(d.plain, !(s <= 0x1p60f));
            for (uint32_t code = 0; code < 0x7F80; code += 3) { /* bf16 */
                const float x = mp_bits_float(code << 16), q = quotient(x, d);
                if (d.plain || x > 448 * s) break;
                if (x / s >= 0x1p-12f)
                    same(x, d);
                else if (!(q >= 0 && q < 0x1p-11f) || mp_float_bits(quotient(-x, d)) >> 31 != 1)
                    fail_msg("%a / %a: %a", (double)x, (double)s, (double)q);
            }
        }
}

static void what_is_out_of_reach_is_plain(void **state) {
    (void)state;
    assert_true(divisor_of(0, 0).plain);
    assert_true(divisor_of(0x1p-61f, 0x1p-61f).plain);
    assert_true(divisor_of(0x1p61f, 1).plain);
    assert_true(divisor_of(INFINITY, INFINITY).plain);
    assert_true(divisor_of(NAN, 1).plain);
    assert_true(divisor_of(1, INFINITY).plain); /* scales of nvfp4 saturate */
    assert_true(divisor_of(1, 0x1p12f).plain);
    assert_false(divisor_of(1, 448).plain);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_bf16),
        cmocka_unit_test(of_fp16),
        cmocka_unit_test(of_any_size),
        cmocka_unit_test(what_is_out_of_reach_is_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
