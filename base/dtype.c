/* SPDX-License-Identifier: Apache-2.0 */
#include "moeparity/dtype.h"

#include "base/bits.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

/* Public shape and code of the largest finite value (without sign). The code after it is Inf, or NaN where
 * there is no Inf: so "one step above the largest finite code" is the right result of every overflow. */
static const struct {
    mp_format format;
    uint64_t max_code;
} FORMATS[MP_DTYPE_COUNT] = {
    [MP_BF16] = {{"bf16", 2, 8, -126, 0x1.FEp127, true}, 0x7F7F},
    [MP_FP16] = {{"fp16", 2, 11, -14, 65504.0, true}, 0x7BFF},
    [MP_FP32] = {{"fp32", 4, 24, -126, FLT_MAX, true}, 0x7F7FFFFF},
    [MP_FP64] = {{"fp64", 8, 53, -1022, DBL_MAX, true}, 0x7FEFFFFFFFFFFFFF},
    [MP_I32] = {{"int32", 4, 31, 0, INT32_MAX, false}, INT32_MAX},
    [MP_E4M3] = {{"e4m3", 1, 4, -6, 448.0, false}, 0x7E},
    [MP_E5M2] = {{"e5m2", 1, 3, -14, 57344.0, true}, 0x7B},
};

/* 2^e for -1022 <= e <= 1023. */
/* floor(log2(a)) of a normal a >= 0; anything below -1022 (zero, subnormal float64) gives -1023. */
static int exponent_of(double a) {
    return (int)(mp_bits_of_double(a) >> 52 & 0x7FF) - 1023;
}

const mp_format *mp_dtype_format(mp_dtype dtype) {
    return &FORMATS[dtype].format;
}

const char *mp_dtype_name(mp_dtype dtype) {
    return FORMATS[dtype].format.name;
}

bool mp_dtype_parse(const char *name, mp_dtype *dtype) {
    for (int d = 0; d < MP_DTYPE_COUNT; d++) {
        if (strcmp(name, FORMATS[d].format.name) == 0) {
            *dtype = (mp_dtype)d;
            return true;
        }
    }
    return false;
}

size_t mp_dtype_size(mp_dtype dtype) {
    return FORMATS[dtype].format.size;
}

/* ---- one value ---- */

double mp_decode_code(mp_dtype dtype, uint64_t code) {
    if (dtype == MP_FP64) return mp_double_of_bits(code);
    if (dtype == MP_I32) return (int32_t)(uint32_t)code;
    const mp_format *f = &FORMATS[dtype].format;
    uint64_t max_code = FORMATS[dtype].max_code;
    uint64_t sign = code >> (8 * f->size - 1) & 1, magnitude = code & ((1ull << (8 * f->size - 1)) - 1);
    double value;
    if (magnitude > max_code) {
        value = f->has_inf && magnitude == max_code + 1 ? INFINITY : NAN;
    } else {
        /* significand * 2^(e-(p-1)); an exponent field of 0 has the exponent of field 1 and no hidden bit */
        uint64_t hidden = 1ull << (f->precision - 1), field = magnitude / hidden,
                 fraction = magnitude % hidden;
        int e = f->emin + (field ? (int)field - 1 : 0);
        value = (double)(field ? fraction + hidden : fraction) * mp_power_of_two(e - (f->precision - 1));
    }
    return sign ? -value : value;
}

/* Let e = max(floor(log2 a), emin): the values of the format around a are the multiples of 2^(e-(p-1)).
 * Scaled by the inverse, a power of two, a becomes exactly q < 2^p, and rint(q) is the one rounding (to
 * nearest, ties to even, by the default mode). Codes count: (e-emin)*2^(p-1) + rint(q) is the code in the
 * normal range, where the hidden bit of q stands for the exponent field's offset of one; in the subnormal
 * range, where e = emin and q lacks the bit; and after a carry into the next binade. */
static uint64_t encode_float(mp_dtype dtype, double value, bool saturate) {
    const mp_format *f = &FORMATS[dtype].format;
    uint64_t max_code = FORMATS[dtype].max_code;
    uint64_t sign_bit = 1ull << (8 * f->size - 1);
    if (isnan(value)) return sign_bit - 1;
    double a = fabs(value);
    uint64_t magnitude = max_code + 1;
    if (a < 2 * f->max_finite) {
        int e = exponent_of(a) > f->emin ? exponent_of(a) : f->emin;
        uint64_t q = (uint64_t)rint(a * mp_power_of_two(f->precision - 1 - e));
        magnitude = ((uint64_t)(e - f->emin) << (f->precision - 1)) + q;
    }
    if (magnitude > max_code) magnitude = saturate ? max_code : max_code + 1;
    return signbit(value) ? sign_bit | magnitude : magnitude;
}

/* To nearest, clamped to the range; NaN gives 0, as the GPU's conversion does. */
static int32_t encode_int32(double value) {
    if (isnan(value)) return 0;
    return (int32_t)rint(fmin(fmax(value, INT32_MIN), INT32_MAX));
}

uint64_t mp_encode_code(mp_dtype dtype, double value) {
    if (dtype == MP_FP64) return mp_bits_of_double(value);
    if (dtype == MP_I32) return (uint32_t)encode_int32(value);
    return encode_float(dtype, value, false);
}

uint8_t mp_encode_e4m3_saturate(double value) {
    return (uint8_t)encode_float(MP_E4M3, value, true);
}

uint8_t mp_encode_e5m2_saturate(double value) {
    return (uint8_t)encode_float(MP_E5M2, value, true);
}

double mp_decode_any(mp_dtype dtype, const void *data, int64_t index) {
    switch (mp_dtype_size(dtype)) {
    case 1: return mp_decode_code(dtype, ((const uint8_t *)data)[index]);
    case 2: return mp_decode_code(dtype, ((const uint16_t *)data)[index]);
    case 4: return mp_decode_code(dtype, ((const uint32_t *)data)[index]);
    default: return mp_decode_code(dtype, ((const uint64_t *)data)[index]);
    }
}

void mp_encode(mp_dtype dtype, void *data, int64_t index, double value) {
    uint64_t code = mp_encode_code(dtype, value);
    switch (mp_dtype_size(dtype)) {
    case 1: ((uint8_t *)data)[index] = (uint8_t)code; break;
    case 2: ((uint16_t *)data)[index] = (uint16_t)code; break;
    case 4: ((uint32_t *)data)[index] = (uint32_t)code; break;
    default: ((uint64_t *)data)[index] = code; break;
    }
}

double mp_round_to(mp_dtype dtype, double value) {
    return mp_decode_code(dtype, mp_encode_code(dtype, value));
}

/* With 2^e <= |value| < 2^(e+1) the neighbours are 2^(e-(p-1)) apart. NaN stays NaN, so that no comparison
 * with it holds. Half of fp64's smallest subnormal is no float64: the smallest subnormal itself is given
 * there, a bound on the safe side. */
double mp_half_ulp(mp_dtype dtype, double value) {
    const mp_format *f = mp_dtype_format(dtype);
    if (isnan(value)) return NAN;
    if (dtype == MP_I32) return 0.5;
    int e = exponent_of(fmin(fabs(value), f->max_finite));
    double half = ldexp(1.0, (e > f->emin ? e : f->emin) - f->precision);
    return half > 0 ? half : DBL_TRUE_MIN;
}

double mp_unit_roundoff(mp_dtype dtype) {
    return mp_power_of_two(-mp_dtype_format(dtype)->precision);
}

/* ---- rows: the same functions as loops the compiler can vectorise ---- */

static float float_of_bf16(uint16_t code) {
    return mp_float_of_bits((uint32_t)code << 16);
}

/* Normal numbers move their exponent by the difference of the biases (127-15), Inf and NaN by twice that (31
 * -> 255); subnormals are fraction * 2^-24. All by selection, not by branches. */
static float float_of_fp16(uint16_t code) {
    uint32_t sign = (uint32_t)(code & 0x8000) << 16, magnitude = code & 0x7FFF;
    uint32_t rebias = magnitude >= 0x7C00 ? 224u << 23 : 112u << 23;
    uint32_t normal = (magnitude << 13) + rebias;
    uint32_t subnormal = mp_bits_of_float((float)(int32_t)magnitude * 0x1p-24f);
    return mp_float_of_bits(sign | (magnitude < 0x400 ? subnormal : normal));
}

/* Adding just under half of the dropped part, plus the last kept bit, carries exactly when to-nearest-even
 * goes up; the carry runs through the exponent, up to Inf. */
static uint16_t bf16_of_float(float value) {
    uint32_t bits = mp_bits_of_float(value);
    uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    return (uint16_t)((bits & 0x7FFFFFFF) > 0x7F800000 ? 0x7FFF : rounded);
}

/* Normal range as for bf16, with 13 bits dropped. Below 2^-14 the result is a multiple of 2^-24, which is the
 * last bit of 0.5 as a float: the addition 0.5 + |value| is the rounding, and the low bits of its sum are the
 * code. */
static uint16_t fp16_of_float(float value) {
    uint32_t bits = mp_bits_of_float(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
    uint32_t normal = (magnitude - (112u << 23) + 0xFFF + (magnitude >> 13 & 1)) >> 13;
    uint32_t subnormal = mp_bits_of_float(mp_float_of_bits(magnitude < 0x38800000 ? magnitude : 0) + 0.5f) -
                         mp_bits_of_float(0.5f);
    uint32_t finite = magnitude < 0x38800000 ? subnormal : normal; /* 2^-14 */
    uint32_t code =
        magnitude >= 0x477FF000 ? 0x7C00 : finite; /* 65520: the midpoint above 65504 rounds to Inf */
    return (uint16_t)(magnitude > 0x7F800000 ? 0x7FFF : sign | code);
}

static uint32_t fp32_of_float(float value) {
    uint32_t bits = mp_bits_of_float(value);
    return (bits & 0x7FFFFFFF) > 0x7F800000 ? 0x7FFFFFFF : bits;
}

void mp_decode_row(mp_dtype dtype, const void *data, int64_t first, int64_t n, double *out) {
    const uint16_t *half = (const uint16_t *)data + first;
    switch (dtype) {
    case MP_BF16:
        for (int64_t i = 0; i < n; i++) out[i] = float_of_bf16(half[i]);
        break;
    case MP_FP16:
        for (int64_t i = 0; i < n; i++) out[i] = float_of_fp16(half[i]);
        break;
    case MP_FP32:
        for (int64_t i = 0; i < n; i++) out[i] = ((const float *)data)[first + i];
        break;
    default:
        for (int64_t i = 0; i < n; i++) out[i] = mp_decode(dtype, data, first + i);
    }
}

void mp_decode_row_f32(mp_dtype dtype, const void *data, int64_t first, int64_t n, float *out) {
    const uint16_t *half = (const uint16_t *)data + first;
    switch (dtype) {
    case MP_BF16:
        for (int64_t i = 0; i < n; i++) out[i] = float_of_bf16(half[i]);
        break;
    case MP_FP16:
        for (int64_t i = 0; i < n; i++) out[i] = float_of_fp16(half[i]);
        break;
    case MP_E4M3:
    case MP_E5M2:
        for (int64_t i = 0; i < n; i++) out[i] = (float)mp_decode(dtype, data, first + i);
        break;
    default: assert(dtype == MP_FP32); memcpy(out, (const float *)data + first, (size_t)n * sizeof *out);
    }
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

void mp_encode_row_f32(mp_dtype dtype, void *data, int64_t first, int64_t n, const float *values) {
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

/* ---- int4 ---- */

int mp_decode_int4(const uint8_t *packed, int64_t index) {
    int nibble = packed[index / 2] >> (index % 2 * 4) & 0xF;
    return nibble >= 8 ? nibble - 16 : nibble;
}

void mp_encode_int4(uint8_t *packed, int64_t index, int value) {
    int clamped = value < -8 ? -8 : value > 7 ? 7 : value;
    int shift = (int)(index % 2) * 4;
    packed[index / 2] = (uint8_t)((packed[index / 2] & ~(0xF << shift)) | (clamped & 0xF) << shift);
}
