/* SPDX-License-Identifier: Apache-2.0 */
// x / by, rounded as IEEE rounds it, of many x with one divisor, which costs a reciprocal once: a product,
// and one correction by what it leaves. That this is the quotient holds for every significand of bf16 and
// fp16 over every one of `by`: all pairs were tried (tests/test_quotient.c tries a part of them). Exponents
// play no part where nothing leaves float32's range on the way: a divisor of which that is not known is
// `plain`. A quotient too small to be right is below 2^-11, and no code tells it from another, but for its
// sign.
#pragma once
#include "ref/predict/float32_math.h"

typedef struct divisor {
    float by, reciprocal;
    bool plain; // only a division will do
} divisor;

// largest: no |x| is above it, NaN left out.
MP_HD divisor divisor_of(float by, float largest) {
    const bool fits = by >= 0x1p-60f && by <= 0x1p60f && largest <= by * 0x1p11f;
    const divisor d = {by, 1.0f / by, !fits};
    return d;
}

MP_HD float quotient(float x, divisor d) {
    const float q = x * d.reciprocal, closer = fmaf(fmaf(-d.by, q, x), d.reciprocal, q);
    return mp_bits_float((mp_float_bits(closer) & 0x7FFFFFFFu) | (mp_float_bits(x) & 0x80000000u));
}
