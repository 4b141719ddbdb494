/* SPDX-License-Identifier: Apache-2.0 */
/* Codes and scales as the kernels compute them: in float32, one operation after another. ref/quantise.h has
 * the formulas, and what can come out where an operation is approximate; here it is what one device gives. */
#ifndef MP_PREDICT_QUANTISE_H
#define MP_PREDICT_QUANTISE_H

#include "moeparity/status.h"
#include "ref/quantise.h"

/* The operations that a device approximates. */
typedef struct mp_quant_device {
    float (*quotient)(float a, float b);      /* Triton's `/`: div.full.f32 */
    float (*fast_quotient)(float a, float b); /* `/` of --use_fast_math: div.approx.ftz.f32 */
    float (*reciprocal)(float v);             /* rcp.approx.ftz.f32 */
    float (*log2)(float v);                   /* log2f of CUDA's library */
} mp_quant_device;

/* An sm_90, by its special-function unit; its log2 is the correctly rounded one, which CUDA's need not be.
 * MP_EMEMORY: no memory for the tables. */
mp_status mp_quant_device_sm90(mp_quant_device *device, mp_error *err);

/* Why what sm_90 gives is not known bit for bit, or NULL: then the prediction is. */
const char *mp_unpredictable_quantiser(mp_quantiser quantiser);

/* How one of our own makes its codes: an MP_CODES_ number (quantise_f32.h); -1: another one. */
int mp_quant_how(mp_quantiser quantiser);

typedef struct mp_quant_prediction {
    double scale; /* as stored, decoded */
    float factor; /* that the values are multiplied by, or divided by */
    int32_t zero;
} mp_quant_prediction;

/* device: {0} will do for this project's own quantisers. */
mp_quant_prediction mp_predict_scale(const mp_quantisation *q, const mp_quant_device *device,
                                     const mp_quant_unit *unit);
/* The codes, right-aligned in a byte each, of n values of the unit. Where ref/quantise.h leaves a NaN open,
 * it is any of them. */
void mp_predict_codes(const mp_quantisation *q, const mp_quant_device *device, const mp_quant_prediction *p,
                      const float *x, int64_t n, uint8_t *codes);

#endif
