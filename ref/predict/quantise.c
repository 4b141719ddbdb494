/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/quantise.h"

#include "base/bits.h"
#include "ref/predict/quantise_f32.h"
#include "ref/predict/special_unit_tables.h"

#include <float.h>
#include <math.h>
#include <stddef.h>

/* ---- the device ---- */

static const mp_special_unit *special;

static float quotient(float a, float b) {
    return mp_div_full(special, a, b);
}

static float fast_quotient(float a, float b) {
    return mp_div_approx_ftz(special, a, b);
}

static float reciprocal(float v) {
    return mp_rcp_approx_ftz(special, v);
}

static float nearest_log2(float v) {
    return (float)log2((double)v);
}

mp_status mp_quant_device_sm90(mp_quant_device *device, mp_error *err) {
    *device = (mp_quant_device){quotient, fast_quotient, reciprocal, nearest_log2};
    return mp_special_unit_sm90(&special, err);
}

const char *mp_unpredictable_quantiser(mp_quantiser quantiser) {
    switch (quantiser) {
    case MP_QUANT_VLLM_UE8M0_GROUP:
    case MP_QUANT_SGL_MXFP8: return "log2f is known to an ulp only";
    case MP_QUANT_SGL_MXFP4:
    case MP_QUANT_VLLM_MXFP8:
    case MP_QUANT_VLLM_NVFP4: return "torch, Triton and CUDA compute it in several ways";
    default: return NULL;
    }
}

/* ---- what CUDA's functions do with NaN: the number of the two ---- */

static float least(float a, float b) {
    return isnan(a) || b < a ? b : a;
}

static float most(float a, float b) {
    return isnan(a) || b > a ? b : a;
}

/* ---- scales ---- */

static float narrowed(mp_dtype dtype, float v) {
    return (float)mp_round_to(dtype, (double)v);
}

static float e4m3_of(unsigned code) {
    return (float)mp_decode_code(MP_E4M3, code);
}

static float power_of(int byte) {
    return (float)mp_decode_code(MP_UE8M0, (uint64_t)byte);
}

/* 2^(127-byte) by the exponent's field, which runs over into the sign for 255. */
static float inverse_power_of(int byte) {
    return byte < 254 || byte == 255 ? mp_float_of_bits((uint32_t)(254 - byte) << 23) : 0x1p-127f;
}

static int exponent_above(float scale) {
    const uint32_t bits = mp_bits_of_float(scale);
    return (int)(bits >> 23) + ((bits & 0x7FFFFF) != 0);
}

static int byte_by_log(const mp_quant_device *d, float scale) {
    return (int)least(most(ceilf(d->log2(scale)) + 127, 0), 254);
}

static mp_quant_prediction by_power(int byte) {
    return (mp_quant_prediction){mp_decode_code(MP_UE8M0, (uint64_t)byte), inverse_power_of(byte), 0};
}

static mp_quant_prediction own_power(float scale) {
    const unsigned byte = mp_quant_ue8m0_f32(scale);
    return (mp_quant_prediction){mp_decode_code(MP_UE8M0, byte), mp_quant_factor_f32(byte), 0};
}

static mp_quant_prediction over(float scale) {
    return (mp_quant_prediction){(double)scale, scale, 0};
}

static mp_quant_prediction times(float scale, float factor) {
    return (mp_quant_prediction){(double)scale, factor, 0};
}

static int32_t int32_of(float integral) {
    return isnan(integral)       ? 0
           : integral >= 0x1p31f ? INT32_MAX
           : integral < -0x1p31f ? INT32_MIN
                                 : (int32_t)integral;
}

static mp_quant_prediction asymmetric(const mp_quant_unit *u) {
    const float scale = (u->max - u->min) / 255.0f;
    mp_quant_prediction p = times(scale, 1.0f / scale);
    p.zero = int32_of(nearbyintf(-128.0f - u->min / scale));
    return p;
}

static mp_quant_prediction vllm_mxfp4(float a) {
    const int byte = (int)((mp_bits_of_float(a) + 0x200000) >> 23) - 2;
    return by_power(byte < 0 ? 0 : byte > 254 ? 254 : byte);
}

static mp_quant_prediction sgl_mxfp4(const mp_quantisation *q, const mp_quant_device *d, float a) {
    const float sixth = narrowed(q->input, a / 6.0f);
    const float exponent = ceilf(most(narrowed(q->input, d->log2(sixth)), -127));
    const int byte = (int)exponent + 127;
    return (mp_quant_prediction){(double)power_of(byte), narrowed(q->input, power_of(byte)), 0};
}

static mp_quant_prediction vllm_nvfp4(const mp_quantisation *q, const mp_quant_device *d, float a) {
    const float scale = q->given * (a * d->reciprocal(6.0f)),
                stored = e4m3_of(mp_encode_e4m3_saturate((double)scale));
    return times(stored, stored == 0 ? 0 : d->reciprocal(stored * d->reciprocal(q->given)));
}

mp_quant_prediction mp_predict_scale(const mp_quantisation *q, const mp_quant_device *d,
                                     const mp_quant_unit *u) {
    const float a = u->amax, above = most(a, 1e-10f);
    float scale;
    switch (q->quantiser) {
    case MP_QUANT_FP8: return over(mp_quant_scale_f32(a, 448));
    case MP_QUANT_INT8: return over(mp_quant_scale_f32(a, 127));
    case MP_QUANT_FP8_STATIC:
    case MP_QUANT_VLLM_INT8_STATIC: return over(q->given);
    case MP_QUANT_FP8_UE8M0: return own_power(mp_quant_scale_f32(a, 448));
    case MP_QUANT_MXFP8: return own_power(a / 448.0f);
    case MP_QUANT_MXFP4: return own_power(a / 6.0f);
    case MP_QUANT_NVFP4: return over(e4m3_of(mp_quant_nvfp4_scale_f32(a, q->given)));
    case MP_QUANT_SGL_FP8_TENSOR:
    case MP_QUANT_VLLM_FP8_TENSOR: return times(a / 448.0f, 1.0f / (a / 448.0f));
    case MP_QUANT_SGL_FP8_STATIC:
    case MP_QUANT_VLLM_FP8_STATIC: return times(q->given, 1.0f / q->given);
    case MP_QUANT_SGL_FP8_TOKEN:
        scale = d->fast_quotient(a, 448);
        return times(scale, scale == 0 ? 0 : d->fast_quotient(1, scale));
    case MP_QUANT_SGL_FP8_TOKEN_FEW:
        scale = d->fast_quotient(a, 448);
        return times(scale, d->fast_quotient(1, scale));
    case MP_QUANT_SGL_FP8_GROUP: return times(above * (1.0f / 448.0f), d->fast_quotient(448, above));
    case MP_QUANT_SGL_INT8_GROUP: return times(above * (1.0f / 127.0f), d->fast_quotient(127, above));
    case MP_QUANT_SGL_INT8_GROUP_TRITON: return over(d->quotient(above, 127));
    case MP_QUANT_TRITON_INT8_TOKEN: return times(d->quotient(above, 127), d->quotient(127, above));
    case MP_QUANT_SGL_UE8M0_GROUP: {
        mp_quant_prediction p = by_power(exponent_above(above * (1.0f / 448.0f)));
        p.factor = narrowed(q->input, p.factor);
        return p;
    }
    case MP_QUANT_SGL_MXFP8: return over(power_of(byte_by_log(d, d->quotient(most(a, 1e-30f), 448))));
    case MP_QUANT_SGL_MXFP4: return sgl_mxfp4(q, d, a);
    case MP_QUANT_VLLM_FP8_TOKEN: return over(most(least(a, q->upper) / 448.0f, 1.0f / (448.0f * 512.0f)));
    case MP_QUANT_VLLM_FP8_GROUP: return times(above / 448.0f, 1.0f / (above / 448.0f));
    case MP_QUANT_VLLM_FP8_GROUP_TRITON: return over(above * (1.0f / 448.0f));
    case MP_QUANT_VLLM_UE8M0_GROUP: return over(power_of(byte_by_log(d, most(above / 448.0f, 1e-10f))));
    case MP_QUANT_VLLM_INT8_TOKEN: return times(a / 127.0f, a == 0 ? 0 : 127.0f / a);
    case MP_QUANT_VLLM_INT8_TOKEN_ASYM: return asymmetric(u);
    case MP_QUANT_VLLM_INT8_GROUP: return times(above / 127.0f, 1.0f / (above / 127.0f));
    case MP_QUANT_VLLM_MXFP8: return by_power(byte_by_log(d, d->quotient(most(a, FLT_MIN), 448)));
    case MP_QUANT_VLLM_MXFP4: return vllm_mxfp4(a);
    case MP_QUANT_VLLM_NVFP4: return vllm_nvfp4(q, d, a);
    case MP_QUANTISER_COUNT: break;
    }
    return over(NAN);
}

/* ---- codes ---- */

static uint8_t fp8(float v) {
    return (uint8_t)mp_quant_e4m3_f32(v);
}

static uint8_t int8_cut(float v) {
    return (uint8_t)(int)least(most(v, -128), 127);
}

static uint8_t int8_plus(float v, int32_t zero) {
    const int32_t sum = (int32_t)((uint32_t)int32_of(nearbyintf(v)) + (uint32_t)zero);
    return (uint8_t)(sum < -128 ? -128 : sum > 127 ? 127 : sum);
}

static uint8_t fp4_ties_low(float v) {
    static const float bounds[] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5};
    int code = v > 0 ? 0 : 8;
    for (int b = 0; b < 7; b++) code += fabsf(v) > bounds[b];
    return (uint8_t)code;
}

int mp_quant_how(mp_quantiser quantiser) {
    switch (quantiser) {
    case MP_QUANT_FP8:
    case MP_QUANT_FP8_STATIC: return MP_CODES_E4M3_OVER;
    case MP_QUANT_FP8_UE8M0:
    case MP_QUANT_MXFP8: return MP_CODES_E4M3_TIMES;
    case MP_QUANT_INT8: return MP_CODES_INT8_OVER;
    case MP_QUANT_MXFP4: return MP_CODES_E2M1_TIMES;
    case MP_QUANT_NVFP4: return MP_CODES_NVFP4;
    default: return -1;
    }
}

static uint8_t code_of(const mp_quantisation *q, const mp_quant_device *d, const mp_quant_prediction *p,
                       float x) {
    const float f = p->factor;
    switch (q->quantiser) {
    case MP_QUANT_FP8:
    case MP_QUANT_FP8_STATIC: return (uint8_t)mp_quant_code_f32(MP_CODES_E4M3_OVER, x, f, q->given);
    case MP_QUANT_FP8_UE8M0:
    case MP_QUANT_MXFP8: return (uint8_t)mp_quant_code_f32(MP_CODES_E4M3_TIMES, x, f, q->given);
    case MP_QUANT_INT8: return (uint8_t)mp_quant_code_f32(MP_CODES_INT8_OVER, x, f, q->given);
    case MP_QUANT_MXFP4: return (uint8_t)mp_quant_code_f32(MP_CODES_E2M1_TIMES, x, f, q->given);
    case MP_QUANT_NVFP4: return (uint8_t)mp_quant_code_f32(MP_CODES_NVFP4, x, f, q->given);
    case MP_QUANT_VLLM_MXFP8: return fp8(x * f);
    case MP_QUANT_VLLM_INT8_STATIC: return (uint8_t)mp_quant_int8_f32(x / f);
    case MP_QUANT_VLLM_INT8_TOKEN: return (uint8_t)mp_quant_int8_f32(x * f);
    case MP_QUANT_VLLM_MXFP4: return (uint8_t)mp_quant_e2m1_f32(x * f);
    case MP_QUANT_VLLM_NVFP4: return (uint8_t)mp_quant_e2m1_f32(least(most(x * f, -6), 6));
    case MP_QUANT_SGL_FP8_TENSOR:
    case MP_QUANT_VLLM_FP8_TENSOR:
    case MP_QUANT_SGL_FP8_STATIC:
    case MP_QUANT_VLLM_FP8_STATIC:
    case MP_QUANT_SGL_FP8_TOKEN:
    case MP_QUANT_SGL_FP8_TOKEN_FEW: return fp8(most(least(x * f, 448), -448));
    case MP_QUANT_SGL_FP8_GROUP: return fp8(q->input == MP_BF16 ? x * f : least(x * f, 448));
    case MP_QUANT_SGL_UE8M0_GROUP: {
        const float v = narrowed(q->input, x * f);
        return fp8(q->input == MP_BF16 ? v : least(v, 448));
    }
    case MP_QUANT_SGL_INT8_GROUP: return int8_cut(x * f);
    case MP_QUANT_SGL_INT8_GROUP_TRITON: return int8_cut(d->quotient(x, f));
    case MP_QUANT_SGL_MXFP8: return fp8(most(least(d->quotient(x, f), 448), -448));
    case MP_QUANT_SGL_MXFP4: return fp4_ties_low(narrowed(q->input, x / f));
    case MP_QUANT_TRITON_INT8_TOKEN: return (uint8_t)mp_quant_int8_f32(roundf(x * f));
    case MP_QUANT_VLLM_FP8_TOKEN: return fp8(most(least(x / f, 448), -448));
    case MP_QUANT_VLLM_FP8_GROUP: return fp8(least(most(x * f, -448), 448));
    case MP_QUANT_VLLM_UE8M0_GROUP: return fp8(least(most(x / f, -448), 448));
    case MP_QUANT_VLLM_FP8_GROUP_TRITON: return fp8(least(most(d->quotient(x, f), -448), 448));
    case MP_QUANT_VLLM_INT8_TOKEN_ASYM: return int8_plus(x * f, p->zero);
    case MP_QUANT_VLLM_INT8_GROUP: return int8_cut(x * f);
    case MP_QUANTISER_COUNT: break;
    }
    return 0;
}

void mp_predict_codes(const mp_quantisation *q, const mp_quant_device *device, const mp_quant_prediction *p,
                      const float *x, int64_t n, uint8_t *codes) {
    for (int64_t i = 0; i < n; i++) codes[i] = code_of(q, device, p, x[i]);
}
