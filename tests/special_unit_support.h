/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of predicted device functions share: the unit, errors in ulps, bits that an H100 gave. */
#ifndef MP_TESTS_SPECIAL_UNIT_SUPPORT_H
#define MP_TESTS_SPECIAL_UNIT_SUPPORT_H

#include "ref/predict/float32_math.h"
#include "ref/predict/special_unit_tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static const mp_special_unit *unit;

static int load_unit(void **unused) {
    (void)unused;
    mp_error err;
    assert_int_equal(mp_special_unit_sm90(&unit, &err), MP_OK);
    return 0;
}

/* In ulps of the exact value; subnormals have the ulp of the smallest normal's. */
static inline double ulps_off(float got, long double exact) {
    int exponent;
    frexpl(exact, &exponent);
    if (exponent < -125) exponent = -125;
    return (double)(fabsl((long double)got - exact) / ldexpl(1, exponent - 24));
}

/* NaNs of any payload are one. */
static inline uint32_t bits_of(float x) {
    return isnan(x) ? 0x7FFFFFFFu : mp_float_bits(x);
}

typedef float one_argument(const mp_special_unit *unit, float x);

typedef struct known_bits {
    const char *name;
    one_argument *f;
    uint32_t x, got;
} known_bits;

static inline void expect_bits(const known_bits *rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const uint32_t bits = bits_of(rows[i].f(unit, mp_bits_float(rows[i].x)));
        if (bits != rows[i].got)
            fail_msg("%s of %08x: %08x, the device gave %08x", rows[i].name, rows[i].x, bits, rows[i].got);
    }
}

/* A sum over every 4099th float32, in which each input's bits have a weight of their own. An H100 gave the
 * predicted bits for every float32 (docs/measurements.md), so this is the sum of its results. */
static inline uint64_t digest_of(one_argument *f) {
    uint64_t digest = 0;
#pragma omp parallel for schedule(static) reduction(+ : digest)
    for (int64_t x = 0; x < INT64_C(1) << 32; x += 4099)
        digest += (bits_of(f(unit, mp_bits_float((uint32_t)x))) + UINT64_C(1)) *
                  ((uint64_t)x * UINT64_C(0x9E3779B97F4A7C15) | 1);
    return digest;
}

typedef struct known_digest {
    const char *name;
    one_argument *f;
    uint64_t digest;
} known_digest;

static inline void expect_digests(const known_digest *rows, size_t count) {
    bool right = true;
    for (size_t i = 0; i < count; i++) {
        const uint64_t digest = digest_of(rows[i].f);
        right &= digest == rows[i].digest;
        if (digest != rows[i].digest)
            print_message("%s: 0x%016llx\n", rows[i].name, (unsigned long long)digest);
    }
    if (!right) fail_msg("a function differs from the device's");
}

#endif
