/* SPDX-License-Identifier: Apache-2.0 */
/* exp, tanh and erf in float32, with the same bits on CPU and GPU.
 *
 * No libm function gives the same bits on both. These are made of IEEE-754 operations only: + - * / and fma,
 * each rounded to nearest even with subnormals kept, comparisons, and work on the bits. One source, compiled
 * by gcc for the CPU and by NVRTC for the GPU, then gives equal bits by construction, provided that no
 * compiler contracts or approximates:
 *   gcc: -ffp-contract=off, no -ffast-math      NVRTC: --fmad=false --prec-div=true --ftz=false
 * (NaN results are NaN on both; their payload is the machine's, and mp_encode makes it canonical.)
 *
 * The coefficients are fits of our own: Remez exchange in 40 digits on the relative error of the function,
 * rounded to float32, then a hill climb over their last bits on the largest error measured. Largest error
 * over every float32 input, against float64 libm, in ulps of the float32 result: exp 0.895, tanh 0.980, erf
 * 0.999. tests/test_float32_math.c asserts 1 on a sample.
 */
#ifndef MP_REF_FLOAT32_MATH_H
#define MP_REF_FLOAT32_MATH_H

#define MP_FLOAT32_MATH_ULPS 1.0 /* no result is further from the exact one, in ulps of it */

#ifdef __CUDACC_RTC__
#define MP_HD __device__ __forceinline__
MP_HD unsigned mp_float_bits(float x) {
    return (unsigned)__float_as_int(x);
}
MP_HD float mp_bits_float(unsigned bits) {
    return __int_as_float((int)bits);
}
#else
#include <math.h>
#include <string.h>
#define MP_HD static inline
MP_HD unsigned mp_float_bits(float x) {
    unsigned bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
MP_HD float mp_bits_float(unsigned bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
#endif

MP_HD float mp_absf(float x) {
    return mp_bits_float(mp_float_bits(x) & 0x7FFFFFFFu);
}
/* magnitude >= 0, given the sign of s. */
MP_HD float mp_with_sign(float magnitude, float s) {
    return mp_bits_float(mp_float_bits(magnitude) | (mp_float_bits(s) & 0x80000000u));
}

/* e^x = 2^k * e^r with k = round(x/ln2), |r| <= ln2/2. Adding 1.5*2^23 rounds to an integer and leaves it in
 * the low bits. ln2 is split so that k*ln2_hi is exact and the first fma too. 2^k is applied as two normal
 * factors 2^floor(k/2) * 2^ceil(k/2): only the second product can round (to a subnormal) or overflow. Beyond
 * the clamps the result is 0 or Inf anyway; NaN passes them because comparisons with it are false, gives an
 * arbitrary k, and NaN times any factor is NaN. */
MP_HD float mp_expf(float x) {
    const float magic = 0x1.8p23f;
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    float shifted = fmaf(x, 0x1.715476p0f, magic); /* 1/ln2 */
    float whole = shifted - magic;
    float r = fmaf(whole, -0x1.62e400p-1f, x);
    r = fmaf(whole, -0x1.7f7d1cp-20f, r);
    float p = 0x1.6a240ep-10f;
    p = fmaf(p, r, 0x1.1239fap-7f);
    p = fmaf(p, r, 0x1.5558f2p-5f);
    p = fmaf(p, r, 0x1.555492p-3f);
    p = fmaf(p, r, 0x1.fffffcp-2f);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    unsigned exponents = mp_float_bits(shifted) - mp_float_bits(magic) +
                         2 * 127; /* k and twice the bias of the exponent field */
    unsigned first = exponents >> 1;
    return p * mp_bits_float(first << 23) * mp_bits_float((exponents - first) << 23);
}

/* Below 1.01 an odd polynomial x + x^3*P(x^2), P fitted to (tanh(x)/x - 1)/x^2. Above, 1 - 2/(e^(2a)+1),
 * whose second term is small enough there for its rounding errors not to spoil the difference; e^(2a) = Inf
 * gives 1. */
MP_HD float mp_tanhf(float x) {
    float a = mp_absf(x);
    if (a < 1.01f) {
        float t = x * x;
        float p = 0x1.aa4afap-14f;
        p = fmaf(p, t, -0x1.90c622p-11f);
        p = fmaf(p, t, 0x1.840a1ap-9f);
        p = fmaf(p, t, -0x1.16a33cp-7f);
        p = fmaf(p, t, 0x1.644e08p-6f);
        p = fmaf(p, t, -0x1.b9ebd8p-5f);
        p = fmaf(p, t, 0x1.111012p-3f);
        p = fmaf(p, t, -0x1.555554p-2f);
        return mp_with_sign(fmaf(p * t, a, a), x); /* by the sign bit: the fma itself would turn -0 into +0 */
    }
    return mp_with_sign(1.0f - 2.0f / (mp_expf(2.0f * a) + 1.0f), x);
}

/* Below 0.985 an odd polynomial x + x*P(x^2), P fitted to erf(x)/x - 1. Above, 1 - erfc(a) with erfc(a) =
 * e^(a*Q(a) - a), Q fitted to log(erfc(a))/a + 1: splitting off -a leaves a smaller number to be rounded.
 * From 4 on erfc is below half an ulp of 1, and the exponent stays below log(erfc(4)) although Q is not
 * fitted there. */
MP_HD float mp_erff(float x) {
    float a = mp_absf(x);
    if (a < 0.985f) {
        float t = x * x;
        float p = -0x1.266848p-17f;
        p = fmaf(p, t, 0x1.cb444ap-14f);
        p = fmaf(p, t, -0x1.ba7b9ap-11f);
        p = fmaf(p, t, 0x1.55f5c4p-8f);
        p = fmaf(p, t, -0x1.b824eap-6f);
        p = fmaf(p, t, 0x1.ce2ed8p-4f);
        p = fmaf(p, t, -0x1.812746p-2f);
        p = fmaf(p, t, 0x1.06eba6p-3f);
        return fmaf(p, x, x);
    }
    float q = -0x1.d3d318p-17f;
    q = fmaf(q, a, 0x1.6f9b4ep-12f);
    q = fmaf(q, a, -0x1.ec78dp-9f);
    q = fmaf(q, a, 0x1.896078p-6f);
    q = fmaf(q, a, -0x1.b459fcp-4f);
    q = fmaf(q, a, -0x1.451ab4p-1f);
    q = fmaf(q, a, -0x1.0790d4p-3f);
    return mp_with_sign(1.0f - mp_expf(fmaf(q, a, -a)), x);
}

#endif
