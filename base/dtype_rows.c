/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of numbers: the functions of base/dtype.c as loops that the compiler can vectorise, without branches,
 * calls or tables. */
#include "base/bits.h"
#include "base/clones.h"
#include "moeparity/dtype.h"

#include <assert.h>
#include <string.h>

static inline float float_of_bf16(uint16_t code) {
    return mp_float_of_bits((uint32_t)code << 16);
}

/* A float of 1+x+f bits, f of them the fraction, with the bias b. Normal numbers move their exponent by the
 * difference of the biases (127-b); subnormals are fraction * 2^(1-b-f). By selection, not by branches. */
static inline uint32_t widened(uint32_t magnitude, int fraction_bits, int bias) {
    const uint32_t normal = (magnitude << (23 - fraction_bits)) + ((uint32_t)(127 - bias) << 23);
    const float unit = mp_float_of_bits((uint32_t)(127 + 1 - bias - fraction_bits) << 23);
    const uint32_t subnormal = mp_bits_of_float((float)(int32_t)magnitude * unit);
    return magnitude >> fraction_bits ? normal : subnormal;
}

/* Inf and NaN move their exponent twice as far (31 -> 255). */
static inline float float_of_fp16(uint16_t code) {
    const uint32_t sign = (uint32_t)(code & 0x8000) << 16, magnitude = code & 0x7FFF;
    const uint32_t beyond = magnitude >= 0x7C00 ? 112u << 23 : 0;
    return mp_float_of_bits(sign | (widened(magnitude, 10, 15) + beyond));
}

static inline float float_of_e5m2(uint8_t code) { /* the upper half of an fp16 */
    return float_of_fp16((uint16_t)(code << 8));
}

static inline float float_of_e4m3(uint8_t code) {
    const uint32_t sign = (uint32_t)(code & 0x80) << 24, magnitude = code & 0x7F;
    return mp_float_of_bits(sign | (magnitude == 0x7F ? 0x7FC00000 : widened(magnitude, 3, 7)));
}

static inline float float_of_e2m1(uint8_t nibble) {
    const uint32_t sign = (uint32_t)(nibble & 8) << 28, magnitude = nibble & 7;
    return mp_float_of_bits(sign | widened(magnitude, 1, 1));
}

static inline float float_of_int4(uint8_t nibble) { /* flipping the sign bit adds 8 */
    return (float)((nibble ^ 8) - 8);
}

/* 2^-127 is subnormal in float32, half its smallest normal number. */
static inline float float_of_ue8m0(uint8_t code) {
    const uint32_t bits = code == 0 ? 0x00400000 : code == 255 ? 0x7FC00000 : (uint32_t)code << 23;
    return mp_float_of_bits(bits);
}

double mp_decode_any(mp_dtype dtype, const void *data, int64_t index) {
    const uint64_t code = mp_code_at(dtype, data, index);
    switch (dtype) { /* operands of a GEMM: not by the general way */
    case MP_E4M3: return (double)float_of_e4m3((uint8_t)code);
    case MP_E5M2: return (double)float_of_e5m2((uint8_t)code);
    case MP_E2M1: return (double)float_of_e2m1((uint8_t)code);
    default: return mp_decode_code(dtype, code);
    }
}

/* The elements of one row are converted in pieces of this many. */
enum { PIECE = 256 };

/* Nibbles first .. first+n, a byte for each. */
static inline void unpack(const uint8_t *data, int64_t first, int64_t n, uint8_t nibble[PIECE]) {
    int64_t done = 0;
    if (first % 2 != 0) nibble[done++] = data[first / 2] >> 4;
    const uint8_t *byte = data + (first + done) / 2;
    for (int64_t i = 0; i < (n - done) / 2; i++) {
        nibble[done + 2 * i] = byte[i] & 0xF;
        nibble[done + 2 * i + 1] = byte[i] >> 4;
    }
    if ((n - done) % 2 != 0) nibble[n - 1] = byte[(n - done) / 2] & 0xF;
}

MP_CLONES static void decode_nibbles(mp_dtype dtype, const uint8_t *data, int64_t first, int64_t n,
                                     float *out) {
    uint8_t nibble[PIECE];
    for (int64_t done = 0; done < n; done += PIECE, out += PIECE) {
        const int64_t count = n - done < PIECE ? n - done : PIECE;
        unpack(data, first + done, count, nibble);
        if (dtype == MP_E2M1)
            for (int64_t i = 0; i < count; i++) out[i] = float_of_e2m1(nibble[i]);
        else if (dtype == MP_I4)
            for (int64_t i = 0; i < count; i++) out[i] = float_of_int4(nibble[i]);
        else
            for (int64_t i = 0; i < count; i++) out[i] = (float)nibble[i];
    }
}

MP_CLONES static void decode_floats(mp_dtype dtype, const void *data, int64_t first, int64_t n, float *out) {
    const uint8_t *byte = (const uint8_t *)data + first;
    const uint16_t *half = (const uint16_t *)data + first;
    switch (dtype) {
    case MP_BF16:
        for (int64_t i = 0; i < n; i++) out[i] = float_of_bf16(half[i]);
        break;
    case MP_FP16:
        for (int64_t i = 0; i < n; i++) out[i] = float_of_fp16(half[i]);
        break;
    case MP_E4M3:
        for (int64_t i = 0; i < n; i++) out[i] = float_of_e4m3(byte[i]);
        break;
    case MP_E5M2:
        for (int64_t i = 0; i < n; i++) out[i] = float_of_e5m2(byte[i]);
        break;
    case MP_I8:
        for (int64_t i = 0; i < n; i++) out[i] = (float)(int8_t)byte[i];
        break;
    case MP_U8:
        for (int64_t i = 0; i < n; i++) out[i] = (float)byte[i];
        break;
    case MP_UE8M0:
        for (int64_t i = 0; i < n; i++) out[i] = float_of_ue8m0(byte[i]);
        break;
    case MP_I4:
    case MP_U4:
    case MP_E2M1: decode_nibbles(dtype, data, first, n, out); break;
    default: assert(dtype == MP_FP32); memcpy(out, (const float *)data + first, (size_t)n * sizeof *out);
    }
}

void mp_decode_row_f32(mp_dtype dtype, const void *data, int64_t first, int64_t n, float *out) {
    decode_floats(dtype, data, first, n, out);
}

MP_CLONES static void decode_doubles(mp_dtype dtype, const void *data, int64_t first, int64_t n,
                                     double *out) {
    float piece[PIECE];
    switch (dtype) {
    case MP_BF16:
        for (int64_t i = 0; i < n; i++) out[i] = float_of_bf16(((const uint16_t *)data)[first + i]);
        break;
    case MP_FP32:
    case MP_FP64:
    case MP_I32:
        for (int64_t i = 0; i < n; i++) out[i] = mp_decode(dtype, data, first + i);
        break;
    default:
        for (int64_t done = 0; done < n; done += PIECE) {
            const int64_t count = n - done < PIECE ? n - done : PIECE;
            mp_decode_row_f32(dtype, data, first + done, count, piece);
            for (int64_t i = 0; i < count; i++) out[done + i] = piece[i];
        }
    }
}

void mp_decode_row(mp_dtype dtype, const void *data, int64_t first, int64_t n, double *out) {
    decode_doubles(dtype, data, first, n, out);
}

/* Adding just under half of the dropped part, plus the last kept bit, carries exactly when to-nearest-even
 * goes up; the carry runs through the exponent, up to Inf. */
static inline uint16_t bf16_of_float(float value) {
    uint32_t bits = mp_bits_of_float(value);
    uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    return (uint16_t)((bits & 0x7FFFFFFF) > 0x7F800000 ? 0x7FFF : rounded);
}

/* Normal range as for bf16, with 13 bits dropped. Below 2^-14 the result is a multiple of 2^-24, which is the
 * last bit of 0.5 as a float: the addition 0.5 + |value| is the rounding, and the low bits of its sum are the
 * code. */
static inline uint16_t fp16_of_float(float value) {
    uint32_t bits = mp_bits_of_float(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
    uint32_t normal = (magnitude - (112u << 23) + 0xFFF + (magnitude >> 13 & 1)) >> 13;
    uint32_t subnormal = mp_bits_of_float(mp_float_of_bits(magnitude < 0x38800000 ? magnitude : 0) + 0.5f) -
                         mp_bits_of_float(0.5f);
    uint32_t finite = magnitude < 0x38800000 ? subnormal : normal; /* 2^-14 */
    uint32_t code =
        magnitude >= 0x477FF000 ? 0x7C00 : finite; /* 65520: the midpoint above 65504 rounds to Inf */
    return (uint16_t)(magnitude > 0x7F800000 ? 0x7FFF : sign | code);
}

static inline uint32_t fp32_of_float(float value) {
    uint32_t bits = mp_bits_of_float(value);
    return (bits & 0x7FFFFFFF) > 0x7F800000 ? 0x7FFFFFFF : bits;
}

void mp_encode_row(mp_dtype dtype, void *data, int64_t first, int64_t n, const double *values) {
    switch (dtype) {
    case MP_FP64: memcpy((double *)data + first, values, (size_t)n * sizeof *values); break;
    case MP_FP32:
        for (int64_t i = 0; i < n; i++) ((uint32_t *)data)[first + i] = fp32_of_float((float)values[i]);
        break;
    default:
        for (int64_t i = 0; i < n; i++) mp_encode(dtype, data, first + i, values[i]);
    }
}

MP_CLONES static void encode_floats(mp_dtype dtype, void *data, int64_t first, int64_t n,
                                    const float *values) {
    switch (dtype) {
    case MP_BF16:
        for (int64_t i = 0; i < n; i++) ((uint16_t *)data)[first + i] = bf16_of_float(values[i]);
        break;
    case MP_FP16:
        for (int64_t i = 0; i < n; i++) ((uint16_t *)data)[first + i] = fp16_of_float(values[i]);
        break;
    case MP_FP32:
        for (int64_t i = 0; i < n; i++) ((uint32_t *)data)[first + i] = fp32_of_float(values[i]);
        break;
    default:
        for (int64_t i = 0; i < n; i++) mp_encode(dtype, data, first + i, values[i]);
    }
}

void mp_encode_row_f32(mp_dtype dtype, void *data, int64_t first, int64_t n, const float *values) {
    encode_floats(dtype, data, first, n, values);
}
