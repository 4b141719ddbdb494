/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/cuda_math.h"

#include "ref/predict/float32_math.h"

/* e^x = 2^whole * 2^rest with whole = floor(x log2(e) + 1/2), found as floor(252 t) - 126 of a t that is held
 * in [0,1]: beyond, the rest grows until its power overflows or vanishes. rest is x log2(e) - whole, with
 * log2(e) in two parts. A NaN gives t = 0, and a rest that is NaN. */
float mp_cuda_expf(const mp_special_unit *unit, float x) {
    float t = fmaf(x, mp_bits_float(0x3BBB989D), 0.5f); /* log2(e)/252 */
    t = t > 0.0f ? t : 0.0f;
    t = t < 1.0f ? t : 1.0f;
    const float whole = (float)floor((double)t * 252.0) - 126.0f; /* exact but for the floor: fma.rm */
    float rest = fmaf(x, mp_bits_float(0x3FB8AA3B), -whole);
    rest = fmaf(x, mp_bits_float(0x32A57060), rest);
    const float scale = mp_bits_float((uint32_t)((int)whole + 127) << 23);
    return mp_ex2_approx_ftz(unit, rest) * scale;
}

/* Below 0.6 an odd polynomial; above, 1 - 2/(e^(2a) + 1), which is 1 from 9.01 on. */
float mp_cuda_tanhf(const mp_special_unit *unit, float x) {
    const float a = mp_absf(x);
    if (a >= mp_bits_float(0x3F19999A)) {
        const float power = mp_ex2_approx_ftz(unit, a * mp_bits_float(0x4038AA3B)); /* 2 log2(e) */
        const float near = fmaf(mp_rcp_approx_ftz(unit, power + 1.0f), -2.0f, 1.0f);
        return mp_with_sign(a >= mp_bits_float(0x41102CB4) ? 1.0f : near, x);
    }
    const float square = x * x;
    float p = mp_bits_float(0x3C80F082);
    p = fmaf(p, square, mp_bits_float(0xBD563CAE));
    p = fmaf(p, square, mp_bits_float(0x3E085941));
    p = fmaf(p, square, mp_bits_float(0xBEAAA9ED));
    p = fmaf(p, square, 0.0f);
    return fmaf(p, x, x);
}

/* Below 1.0029 an odd polynomial; above, 1 - 2^(-a (1 + P(a))), P by the coefficients `far`. A NaN takes the
 * first one. */
static float erf_of(const mp_special_unit *unit, const uint32_t far[7], float x) {
    static const uint32_t near[] = {0x38B1E96A, 0xBA574D20, 0x3BAAD5EA, 0xBCDC1BE7,
                                    0x3DE718AF, 0xBEC093AC, 0x3E0375D3};
    const float a = mp_absf(x);
    const int is_far = a >= mp_bits_float(0x3F8060FE);
    const uint32_t *coefficients = is_far ? far : near;
    const float argument = is_far ? a : x * x, factor = is_far ? -a : x;
    float p = mp_bits_float(coefficients[0]);
    for (int i = 1; i < 7; i++) p = fmaf(p, argument, mp_bits_float(coefficients[i]));
    p = fmaf(p, factor, factor);
    return is_far ? mp_with_sign(1.0f - mp_ex2_approx_ftz(unit, p), x) : p;
}

float mp_cuda_erff(const mp_special_unit *unit, float x) {
    static const uint32_t far[] = {0x38EB4C3A, 0xBAAE005B, 0x3C09919F, 0xBD24D99A,
                                   0x3E235519, 0x3F69B4F9, 0x3F210A14};
    return erf_of(unit, far, x);
}

float mp_triton_erff(const mp_special_unit *unit, float x) {
    static const uint32_t far[] = {0x3789CA3C, 0xB9F560B9, 0x3BAC840B, 0xBD0C8162,
                                   0x3E1CF906, 0x3F6A937E, 0x3F20D842};
    return erf_of(unit, far, x);
}

/* Only the argument and the result can be subnormal where it matters: a square that is flushed is too small
 * to change the polynomial. */
float mp_cuda_erff_ftz(const mp_special_unit *unit, float x) {
    return mp_flush(mp_cuda_erff(unit, mp_flush(x)));
}
