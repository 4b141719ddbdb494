/* SPDX-License-Identifier: Apache-2.0 */
#include "moeparity/dtype.h"

#include "base/bits.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

/* Public shape and code of the largest finite value (without sign). Of floats the code after it is Inf, or
 * NaN where there is no Inf: so "one step above the largest finite code" is the right result of every
 * overflow. e2m1 has no such code, and saturates. */
static const struct {
    mp_format format;
    uint64_t max_code;
} FORMATS[MP_DTYPE_COUNT] = {
    [MP_BF16] = {{"bf16", 16, 8, -126, 0x1.FEp127, true, true, false}, 0x7F7F},
    [MP_FP16] = {{"fp16", 16, 11, -14, 65504.0, true, true, false}, 0x7BFF},
    [MP_FP32] = {{"fp32", 32, 24, -126, FLT_MAX, true, true, false}, 0x7F7FFFFF},
    [MP_FP64] = {{"fp64", 64, 53, -1022, DBL_MAX, true, true, false}, 0x7FEFFFFFFFFFFFFF},
    [MP_I32] = {{"int32", 32, 31, 0, INT32_MAX, false, true, true}, INT32_MAX},
    [MP_E4M3] = {{"e4m3", 8, 4, -6, 448.0, false, true, false}, 0x7E},
    [MP_E5M2] = {{"e5m2", 8, 3, -14, 57344.0, true, true, false}, 0x7B},
    [MP_I8] = {{"int8", 8, 7, 0, 127, false, true, true}, 127},
    [MP_U8] = {{"uint8", 8, 8, 0, 255, false, false, true}, 255},
    [MP_I4] = {{"int4", 4, 3, 0, 7, false, true, true}, 7},
    [MP_U4] = {{"uint4", 4, 4, 0, 15, false, false, true}, 15},
    [MP_E2M1] = {{"e2m1", 4, 2, 0, 6.0, false, true, false}, 7},
    [MP_UE8M0] = {{"ue8m0", 8, 1, -127, 0x1p127, false, false, false}, 254},
};

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

bool mp_dtype_is_integer(mp_dtype dtype) {
    return FORMATS[dtype].format.is_integer;
}

int mp_dtype_bits(mp_dtype dtype) {
    return FORMATS[dtype].format.bits;
}

bool mp_dtype_is_packed(mp_dtype dtype) {
    return FORMATS[dtype].format.bits < 8;
}

size_t mp_dtype_size(mp_dtype dtype) {
    assert(!mp_dtype_is_packed(dtype));
    return (size_t)FORMATS[dtype].format.bits / 8;
}

size_t mp_dtype_bytes(mp_dtype dtype, int64_t n) {
    return mp_dtype_is_packed(dtype) ? ((size_t)n + 1) / 2 : (size_t)n * mp_dtype_size(dtype);
}

/* ---- one value ---- */

static double decode_integer(const mp_format *f, uint64_t code) {
    const uint64_t sign = UINT64_C(1) << (f->bits - 1), magnitude = code & (2 * sign - 1);
    return f->has_sign && magnitude & sign ? (double)magnitude - 2 * (double)sign : (double)magnitude;
}

double mp_decode_code(mp_dtype dtype, uint64_t code) {
    if (dtype == MP_FP64) return mp_double_of_bits(code);
    if (dtype == MP_UE8M0) return code == 255 ? (double)NAN : mp_power_of_two((int)code - 127);
    const mp_format *f = &FORMATS[dtype].format;
    if (f->is_integer) return decode_integer(f, code);
    const uint64_t sign_bit = UINT64_C(1) << (f->bits - 1), magnitude = code & (sign_bit - 1),
                   max_code = FORMATS[dtype].max_code;
    double value;
    if (magnitude > max_code) {
        value = f->has_inf && magnitude == max_code + 1 ? INFINITY : NAN;
    } else {
        /* significand * 2^(e-(p-1)); an exponent field of 0 has the exponent of field 1 and no hidden bit */
        uint64_t hidden = 1ull << (f->precision - 1), field = magnitude >> (f->precision - 1),
                 fraction = magnitude & (hidden - 1);
        int e = f->emin + (field ? (int)field - 1 : 0);
        value = (double)(field ? fraction + hidden : fraction) * mp_power_of_two(e - (f->precision - 1));
    }
    return code & sign_bit ? -value : value;
}

/* Let e = max(floor(log2 a), emin): the values of the format around a are the multiples of 2^(e-(p-1)).
 * Scaled by the inverse, a power of two, a becomes exactly q < 2^p, and rint(q) is the one rounding (to
 * nearest, ties to even, by the default mode): that of q + 2^52, whose low bits it is. Codes count:
 * (e-emin)*2^(p-1) + rint(q) is the code in the normal range, where the hidden bit of q stands for the
 * exponent field's offset of one; in the subnormal range, where e = emin and q lacks the bit; and after a
 * carry into the next binade. */
static uint64_t encode_float(mp_dtype dtype, double value, bool saturate) {
    const mp_format *f = &FORMATS[dtype].format;
    uint64_t max_code = FORMATS[dtype].max_code;
    uint64_t sign_bit = 1ull << (f->bits - 1);
    if (isnan(value)) return sign_bit - 1;
    double a = fabs(value);
    uint64_t magnitude = max_code + 1;
    if (a < 2 * f->max_finite) {
        int e = exponent_of(a) > f->emin ? exponent_of(a) : f->emin;
        const double rounded = a * mp_power_of_two(f->precision - 1 - e) + 0x1p52;
        const uint64_t q = mp_bits_of_double(rounded) & ((1ull << 52) - 1);
        magnitude = ((uint64_t)(e - f->emin) << (f->precision - 1)) + q;
    }
    if (magnitude > max_code) magnitude = saturate ? max_code : max_code + 1;
    return signbit(value) ? sign_bit | magnitude : magnitude;
}

/* An integral value, clamped to the range; NaN gives 0, as the GPU's conversion does. */
static uint64_t encode_integer(mp_dtype dtype, double integral) {
    const mp_format *f = &FORMATS[dtype].format;
    if (isnan(integral)) return 0;
    const double least = f->has_sign ? -f->max_finite - 1 : 0;
    const int64_t value = (int64_t)fmin(fmax(integral, least), f->max_finite);
    return (uint64_t)value & (UINT64_MAX >> (64 - f->bits));
}

uint64_t mp_encode_truncated(mp_dtype dtype, double value) {
    assert(mp_dtype_is_integer(dtype));
    return encode_integer(dtype, trunc(value));
}

/* What lies between 2^e and 2^(e+1) goes up by 0 or 1. */
typedef enum power { POWER_BELOW, POWER_NEAREST, POWER_ABOVE } power;

static uint8_t encode_ue8m0(double value, power which, bool saturate) {
    enum { LARGEST = 254, NAN_CODE = 255 };
    if (isnan(value) || value < 0) return NAN_CODE;
    if (value <= 0x1p-127) return 0;
    const int code = exponent_of(value) + 127;
    const uint64_t fraction = mp_bits_of_double(value) << 12, half = UINT64_C(1) << 63;
    const bool up = which == POWER_ABOVE     ? fraction > 0
                    : which == POWER_NEAREST ? fraction > half || (fraction == half && code % 2 != 0)
                                             : false;
    if (code + up > LARGEST) return saturate ? LARGEST : NAN_CODE;
    return (uint8_t)(code + up);
}

uint8_t mp_encode_ue8m0_floor(double value) {
    return encode_ue8m0(value, POWER_BELOW, true);
}

uint8_t mp_encode_ue8m0_ceil(double value) {
    return encode_ue8m0(value, POWER_ABOVE, true);
}

uint64_t mp_encode_code(mp_dtype dtype, double value) {
    if (dtype == MP_FP64) return mp_bits_of_double(value);
    if (dtype == MP_UE8M0) return encode_ue8m0(value, POWER_NEAREST, false);
    if (mp_dtype_is_integer(dtype)) return encode_integer(dtype, rint(value));
    return encode_float(dtype, value, dtype == MP_E2M1);
}

uint8_t mp_encode_e4m3_saturate(double value) {
    return (uint8_t)encode_float(MP_E4M3, value, true);
}

uint8_t mp_encode_e5m2_saturate(double value) {
    return (uint8_t)encode_float(MP_E5M2, value, true);
}

void mp_put_code(mp_dtype dtype, void *data, int64_t index, uint64_t code) {
    if (mp_dtype_is_packed(dtype)) {
        uint8_t *byte = (uint8_t *)data + index / 2;
        const int shift = (int)(index % 2) * 4;
        *byte = (uint8_t)((*byte & ~(0xF << shift)) | (int)(code & 0xF) << shift);
        return;
    }
    switch (mp_dtype_size(dtype)) {
    case 1: ((uint8_t *)data)[index] = (uint8_t)code; break;
    case 2: ((uint16_t *)data)[index] = (uint16_t)code; break;
    case 4: ((uint32_t *)data)[index] = (uint32_t)code; break;
    default: ((uint64_t *)data)[index] = code; break;
    }
}

void mp_encode(mp_dtype dtype, void *data, int64_t index, double value) {
    mp_put_code(dtype, data, index, mp_encode_code(dtype, value));
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
    if (f->is_integer) return 0.5;
    const double size = fabs(value);
    const int e = exponent_of(size < f->max_finite ? size : f->max_finite),
              exponent = (e > f->emin ? e : f->emin) - f->precision;
    if (exponent >= -1022) return mp_power_of_two(exponent); /* of every format but fp64 */
    const double half = ldexp(1.0, exponent);
    return half > 0 ? half : DBL_TRUE_MIN;
}

double mp_unit_roundoff(mp_dtype dtype) {
    return mp_power_of_two(-mp_dtype_format(dtype)->precision);
}
