/* SPDX-License-Identifier: Apache-2.0 */
/* This project's own quantisers in float32: the same source, and so the same bits, on CPU and GPU.
 *
 * amax is the largest magnitude of the values that share a scale, NaN left out. Every operation is one IEEE
 * float32 operation, subnormals kept (compile as float32_math.h says).
 *   fp8         scale = max(amax, 2^-100) / 448     code = e4m3(x / scale)
 *   fp8-static  the scale is given                  code = e4m3(x / scale)
 *   int8        scale = max(amax, 2^-100) / 127     code = int8(x / scale)
 *   fp8-ue8m0   byte = ue8m0(max(amax, 2^-100) / 448)    code = e4m3(x * 2^(127-byte))
 *   mxfp8       byte = ue8m0(amax / 448)                 code = e4m3(x * 2^(127-byte))
 *   mxfp4       byte = ue8m0(amax / 6)                   code = e2m1(x * 2^(127-byte))
 *   nvfp4       bs = e4m3((amax / 6) / g), g the given global scale    code = e2m1(x / (bs * g)), 0 where
 *               that scale is 0
 * e4m3, e2m1 and int8 round to nearest even and saturate; e4m3 keeps NaN, int8 makes 0 of it, e2m1 +6. ue8m0
 * takes the power of two that is not below, so that no value is clipped; 254 is the largest, and 255 (NaN) is
 * for Inf. The floor 2^-100 keeps scales normal: all-zero values have the codes 0 and a scale that is not 0.
 * Inf among the values makes a scale Inf or NaN, and so every dequantised value NaN or Inf: it is not hidden,
 * but by nvfp4, whose scales saturate at 448, as NaN is by e2m1, which has none.
 */
#ifndef MP_REF_QUANTISE_F32_H
#define MP_REF_QUANTISE_F32_H

#ifndef __CUDACC_RTC__ /* on the device float32_math.h stands in front of this text */
#include "ref/predict/float32_math.h"
#endif

#define MP_QUANT_FLOOR 0x1p-100f

/* The larger of a maximum and |x|; NaN is left out. */
MP_HD float mp_quant_amax_f32(float amax, float x) {
    const float a = mp_absf(x);
    return a > amax ? a : amax;
}

/* largest: 448 for e4m3, 127 for int8. */
MP_HD float mp_quant_scale_f32(float amax, float largest) {
    return (amax > MP_QUANT_FLOOR ? amax : MP_QUANT_FLOOR) / largest;
}

/* The byte of the smallest power of two that is not below a scale >= 0. */
MP_HD unsigned mp_quant_ue8m0_f32(float scale) {
    const unsigned bits = mp_float_bits(scale), exponent = bits >> 23, fraction = bits & 0x7FFFFFu;
    if (exponent == 0) return fraction > 0x400000u; /* 2^-127 is the subnormal 400000 */
    if (exponent >= 254) return exponent;
    return exponent + (fraction != 0);
}

/* 2^(127-byte). */
MP_HD float mp_quant_factor_f32(unsigned byte) {
    if (byte == 255) return mp_bits_float(0x7FC00000u);
    return mp_bits_float(byte == 254 ? 0x00400000u : (254u - byte) << 23);
}

/* Normal numbers lose 20 bits: adding just under half of them, plus the last kept bit, carries exactly where
 * to-nearest-even goes up. Below 2^-6 codes are multiples of 2^-9, which is the last bit of 2^14. */
MP_HD unsigned mp_quant_e4m3_f32(float v) {
    const unsigned sign = mp_float_bits(v) >> 24 & 0x80u;
    const float a = mp_absf(v);
    const unsigned bits = mp_float_bits(a);
    if (!(a == a)) return 0x7Fu;
    if (a >= 448.0f) return sign | 0x7Eu;
    if (a < 0x1p-6f) return sign | (mp_float_bits(a + 0x1p14f) - mp_float_bits(0x1p14f));
    return sign | (((bits + 0x7FFFFu + (bits >> 20 & 1u)) >> 20) - (120u << 3));
}

/* The same with 22 bits, multiples of 0.5 below 1 and the last bit of 2^22. */
MP_HD unsigned mp_quant_e2m1_f32(float v) {
    const unsigned sign = mp_float_bits(v) >> 28 & 8u;
    const float a = mp_absf(v);
    const unsigned bits = mp_float_bits(a);
    if (!(a == a)) return 7u;
    if (a >= 6.0f) return sign | 7u;
    if (a < 1.0f) return sign | (mp_float_bits(a + 0x1p22f) - mp_float_bits(0x1p22f));
    return sign | (((bits + 0x1FFFFFu + (bits >> 22 & 1u)) >> 22) - (126u << 1));
}

/* Two's complement in 8 bits. Adding 1.5*2^23 rounds to an integer and leaves it in the low bits. */
MP_HD unsigned mp_quant_int8_f32(float v) {
    const float magic = 0x1.8p23f;
    const float low = v < -128.0f ? -128.0f : v, clamped = low > 127.0f ? 127.0f : low;
    if (!(v == v)) return 0u;
    return (mp_float_bits(clamped + magic) - mp_float_bits(magic)) & 0xFFu;
}

/* The value of a finite e4m3 code without sign. */
MP_HD float mp_quant_e4m3_value_f32(unsigned code) {
    if (code < 8u) return (float)(int)code * 0x1p-9f;
    return mp_bits_float((code << 20) + (120u << 23));
}

/* nvfp4: the scale of a block as code. */
MP_HD unsigned mp_quant_nvfp4_scale_f32(float amax, float global) {
    return mp_quant_e4m3_f32(amax / 6.0f / global);
}

MP_HD unsigned mp_quant_nvfp4_code_f32(float x, float block_scale, float global) {
    const float scale = block_scale * global;
    return mp_quant_e2m1_f32(scale == 0.0f ? 0.0f : x / scale);
}

/* How a code is made of a value and the factor that its scale gives: `factor` divides or multiplies it, or is
 * the scale of a block on top of the given one. */
enum { MP_CODES_E4M3_OVER, MP_CODES_E4M3_TIMES, MP_CODES_INT8_OVER, MP_CODES_E2M1_TIMES, MP_CODES_NVFP4 };
MP_HD unsigned mp_quant_code_f32(int how, float x, float factor, float given) {
    switch (how) {
    case MP_CODES_E4M3_OVER: return mp_quant_e4m3_f32(x / factor);
    case MP_CODES_E4M3_TIMES: return mp_quant_e4m3_f32(x * factor);
    case MP_CODES_INT8_OVER: return mp_quant_int8_f32(x / factor);
    case MP_CODES_E2M1_TIMES: return mp_quant_e2m1_f32(x * factor);
    default: return mp_quant_nvfp4_code_f32(x, factor, given);
    }
}

#endif
