/* SPDX-License-Identifier: Apache-2.0 */
// x / by, rounded as IEEE rounds it, of many x with one divisor, which costs a reciprocal once: a product,
// and one correction by what it leaves. That this is the quotient holds for every significand of bf16 and
// fp16 over every one of `by`: all pairs were tried (tests/test_quotient.c tries a part of them). Exponents
// play no part, for both are scaled by the power of two that brings the divisor into [1, 2), or near it.
// What is not the quotient is below 2^-11, where no code tells it from another but for its sign; and NaN, of
// an x that is Inf, or beyond 2^127 divisors, where the divisor is not.
#pragma once
#include "ref/predict/float32_math.h"
#include "ref/predict/quantise_f32.h"

typedef struct divisor {
    float by, reciprocal, factor; // by: scaled
} divisor;

// by >= 0 or NaN. By Inf and NaN nothing is corrected, and zero is no divisor.
MP_HD divisor divisor_of(float by) {
    const unsigned exponent = mp_float_bits(by) >> 23;
    const bool finite = exponent < 255u;
    const float factor = finite ? mp_quant_factor_f32(exponent ? exponent : 1u) : 1.0f;
    const divisor d = {finite ? by * factor : 0.0f, 1.0f / (by * factor), factor};
    return d;
}

MP_HD float quotient(float x, divisor d) {
    const float a = x * d.factor, q = a * d.reciprocal, closer = fmaf(fmaf(-d.by, q, a), d.reciprocal, q);
    return mp_bits_float((mp_float_bits(closer) & 0x7FFFFFFFu) | (mp_float_bits(x) & 0x80000000u));
}
