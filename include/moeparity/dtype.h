/* SPDX-License-Identifier: Apache-2.0 */
/* Number formats: decode to and encode from float64, with one correct rounding.
 *
 * All encoders round to nearest, ties to even, directly from float64 (never through float32: double rounding
 * is wrong for bf16 and fp16). Subnormals are kept. Overflow gives Inf where the format has one; e4m3
 * ("e4m3fn") has no Inf: its encoder gives NaN beyond 464 unless saturating. NaN encodes to the canonical
 * quiet NaN of the format (bf16/fp16 7FFF as cvt.rn gives, fp32 7FFFFFFF, e4m3 7F, e5m2 7F).
 *
 * e2m1 has neither Inf nor NaN: it saturates at 6, and NaN gives +6, as the GPU's conversion does. ue8m0, a
 * scale, is 2^(code-127), and 255 is NaN: it has no sign, no zero and no Inf. What is smaller than 2^-127 and
 * not negative becomes 2^-127; negative values and those that round beyond 2^127 become NaN; ties go to the
 * even code. Integers round to nearest even and saturate; NaN gives 0.
 *
 * int4, uint4 and e2m1 are packed: two to a byte, that of the even index in the low nibble. The rows of a
 * packed tensor begin with a byte, so its last axis is even.
 *
 * Source: IEEE 754-2019 section 4.3.1; OCP 8-bit floating point specification; OCP microscaling formats (MX)
 * specification 1.0, section 5.3; PTX ISA, cvt.
 */
#ifndef MOEPARITY_DTYPE_H
#define MOEPARITY_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mp_dtype {
    MP_BF16,
    MP_FP16,
    MP_FP32,
    MP_FP64,
    MP_I32,
    MP_E4M3,
    MP_E5M2,
    MP_I8,
    MP_U8,
    MP_I4,
    MP_U4,
    MP_E2M1,
    MP_UE8M0,
    MP_DTYPE_COUNT
} mp_dtype;

/* Shape of a format. precision counts the hidden bit, and of integers the bits without the sign. max_finite
 * is the largest finite value; emin is the exponent of the smallest normal number. */
typedef struct mp_format {
    const char *name;
    int bits;
    int precision, emin;
    double max_finite;
    bool has_inf, has_sign, is_integer;
} mp_format;

const mp_format *mp_dtype_format(mp_dtype dtype);
/* "bf16", "fp16", "fp32", "fp64", "int32", "e4m3", "e5m2", "int8", "uint8", "int4", "uint4", "e2m1",
 * "ue8m0" */
const char *mp_dtype_name(mp_dtype dtype);
bool mp_dtype_parse(const char *name, mp_dtype *dtype);
bool mp_dtype_is_integer(mp_dtype dtype);
int mp_dtype_bits(mp_dtype dtype);
bool mp_dtype_is_packed(mp_dtype dtype);          /* two elements to a byte */
size_t mp_dtype_size(mp_dtype dtype);             /* bytes of an element; not of a packed format */
size_t mp_dtype_bytes(mp_dtype dtype, int64_t n); /* of n elements that begin with a byte */

double mp_decode_any(mp_dtype dtype, const void *data, int64_t index);
/* Element `index` of data. The formats that hold most tensors are decoded in place: this stands in the
 * innermost loops. */
static inline double mp_decode(mp_dtype dtype, const void *data, int64_t index) {
    if (dtype == MP_BF16) { /* the upper half of a float32 */
        const uint32_t bits = (uint32_t)((const uint16_t *)data)[index] << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        return (double)value;
    }
    if (dtype == MP_FP32) return (double)((const float *)data)[index];
    if (dtype == MP_FP64) return ((const double *)data)[index];
    return mp_decode_any(dtype, data, index);
}
/* The bits of element `index`, right-aligned. Tensors are little-endian, as the machines that this program
 * runs on. */
static inline uint64_t mp_code_at(mp_dtype dtype, const void *data, int64_t index) {
    uint64_t code = 0;
    if (mp_dtype_is_packed(dtype))
        return (uint64_t)((const uint8_t *)data)[index / 2] >> (index % 2 * 4) & 0xF;
    const size_t size = mp_dtype_size(dtype);
    memcpy(&code, (const char *)data + (size_t)index * size, size);
    return code;
}
/* Of a packed format the other element of the byte is read and written back: two threads must not write into
 * one byte. */
void mp_put_code(mp_dtype dtype, void *data, int64_t index, uint64_t code);
void mp_encode(mp_dtype dtype, void *data, int64_t index, double value);
/* Bulk forms; n elements starting at data[first]. */
void mp_decode_row(mp_dtype dtype, const void *data, int64_t first, int64_t n, double *out);
void mp_decode_row_f32(mp_dtype dtype, const void *data, int64_t first, int64_t n,
                       float *out); /* exact; not of fp64 and int32 */
void mp_encode_row(mp_dtype dtype, void *data, int64_t first, int64_t n,
                   const double *values); /* one RNE from float64 */
void mp_encode_row_f32(mp_dtype dtype, void *data, int64_t first, int64_t n,
                       const float *values); /* one RNE from float32 */

/* value rounded once to dtype, as a float64. */
double mp_round_to(mp_dtype dtype, double value);
/* Half the distance between neighbouring values of dtype around |value|: the most that one rounding to
 * nearest can change it (below the overflow threshold). In the subnormal range half the smallest
 * subnormal; ue8m0 has no such range, and this holds from 2^-127 on. */
double mp_half_ulp(mp_dtype dtype, double value);
/* 2^-precision: the unit roundoff u. */
double mp_unit_roundoff(mp_dtype dtype);

/* Codes for exhaustive tests and for quantised formats. */
double mp_decode_code(mp_dtype dtype, uint64_t code);
uint64_t mp_encode_code(mp_dtype dtype, double value);
uint8_t mp_encode_e4m3_saturate(double value); /* |value| > 448 gives 448: the satfinite conversion */
uint8_t mp_encode_e5m2_saturate(double value); /* |value| > 57344 gives 57344 */
/* Towards zero, saturating; NaN gives 0. Of integer formats alone. */
uint64_t mp_encode_truncated(mp_dtype dtype, double value);
/* The power of two that is not above, and not below: satfinite, so that more than 2^127 and Inf give 254. The
 * floor of what is smaller than 2^-127 is 2^-127. Negative values and NaN give 255. */
uint8_t mp_encode_ue8m0_floor(double value);
uint8_t mp_encode_ue8m0_ceil(double value);

#ifdef __cplusplus
}
#endif

#endif
