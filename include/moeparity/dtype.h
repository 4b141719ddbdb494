/* SPDX-License-Identifier: Apache-2.0 */
/* Number formats: decode to and encode from float64, with one correct rounding.
 *
 * All encoders round to nearest, ties to even, directly from float64 (never through float32: double rounding
 * is wrong for bf16 and fp16). Subnormals are kept. Overflow gives Inf where the format has one; e4m3
 * ("e4m3fn") has no Inf: its encoder gives NaN beyond 464 unless saturating. NaN encodes to the canonical
 * quiet NaN of the format (bf16/fp16 7FFF as cvt.rn gives, fp32 7FFFFFFF, e4m3 7F, e5m2 7F). Source: IEEE
 * 754-2019 section 4.3.1; OCP 8-bit floating point specification.
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
    MP_DTYPE_COUNT
} mp_dtype;

/* Shape of a binary floating-point format. precision counts the hidden bit. max_finite is the largest finite
 * value; emin is the exponent of the smallest normal number. */
typedef struct mp_format {
    const char *name;
    size_t size; /* bytes */
    int precision, emin;
    double max_finite;
    bool has_inf;
} mp_format;

const mp_format *mp_dtype_format(mp_dtype dtype); /* not for MP_I32's float fields */
const char *mp_dtype_name(mp_dtype dtype); /* "bf16", "fp16", "fp32", "fp64", "int32", "e4m3", "e5m2" */
bool mp_dtype_parse(const char *name, mp_dtype *dtype);
size_t mp_dtype_size(mp_dtype dtype);

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
    const size_t size = mp_dtype_size(dtype);
    uint64_t code = 0;
    memcpy(&code, (const char *)data + (size_t)index * size, size);
    return code;
}
void mp_encode(mp_dtype dtype, void *data, int64_t index, double value);
/* Bulk forms; n elements starting at data[first]. */
void mp_decode_row(mp_dtype dtype, const void *data, int64_t first, int64_t n, double *out);
void mp_decode_row_f32(mp_dtype dtype, const void *data, int64_t first, int64_t n,
                       float *out); /* of every format up to fp32: exact */
void mp_encode_row(mp_dtype dtype, void *data, int64_t first, int64_t n,
                   const double *values); /* one RNE from float64 */
void mp_encode_row_f32(mp_dtype dtype, void *data, int64_t first, int64_t n,
                       const float *values); /* one RNE from float32 */

/* value rounded once to dtype, as a float64. */
double mp_round_to(mp_dtype dtype, double value);
/* Half the distance between neighbouring values of dtype around |value|: the most that one rounding to
 * nearest can change it (below the overflow threshold). In the subnormal range half the smallest
 * subnormal. */
double mp_half_ulp(mp_dtype dtype, double value);
/* 2^-precision: the unit roundoff u. */
double mp_unit_roundoff(mp_dtype dtype);

/* Codes for exhaustive tests and for quantised formats. */
double mp_decode_code(mp_dtype dtype, uint64_t code);
uint64_t mp_encode_code(mp_dtype dtype, double value);
uint8_t mp_encode_e4m3_saturate(double value); /* |value| > 448 gives 448: the satfinite conversion */
uint8_t mp_encode_e5m2_saturate(double value); /* |value| > 57344 gives 57344 */
/* int4 pairs: low nibble first; two's complement -8..7. */
int mp_decode_int4(const uint8_t *packed, int64_t index);
void mp_encode_int4(uint8_t *packed, int64_t index, int value); /* value is clamped to -8..7 */

#ifdef __cplusplus
}
#endif

#endif
