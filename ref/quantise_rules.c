/* SPDX-License-Identifier: Apache-2.0 */
/* Scales and factors of every quantiser (ref/quantise.h has them as a table). float32 operations are done in
 * float64 and rounded: of + - * / the float64 result of two float32 numbers is so much longer than a float32
 * that rounding it again changes nothing. */
#include "ref/quantise_rules.h"

#include "base/bits.h"

#include <float.h>
#include <math.h>

static double fl(double exact) {
    return (double)(float)exact;
}

static mp_quant_range only(double value) {
    return (mp_quant_range){value, value};
}

static mp_quant_range both(mp_quant_range a, mp_quant_range b) {
    return (mp_quant_range){fmin(a.low, b.low), fmax(a.high, b.high)};
}

/* What a float32 operation can give that is right to so many ulp. An ulp of a result is the distance of
 * float32 numbers around it: at a power of two the larger one. What is 0, Inf or NaN is so whatever the
 * error. */
static mp_quant_range near(double exact, int ulps) {
    if (exact == 0 || !isfinite(exact)) return only(exact);
    const double reach = ulps * 2 * mp_half_ulp(MP_FP32, exact);
    float low = (float)(exact - reach), high = (float)(exact + reach);
    if ((double)low < exact - reach) low = nextafterf(low, INFINITY);
    if ((double)high > exact + reach) high = nextafterf(high, -INFINITY);
    return (mp_quant_range){(double)low, (double)high};
}

static bool is_power(double value) {
    int exponent;
    return frexp(fabs(value), &exponent) == 0.5;
}

mp_quant_range mp_quant_quotient(double a, double b) {
    return is_power(b) ? only(fl(a / b)) : near(a / b, 2);
}

/* Subnormal numbers as CUDA's fast math has them. */
static double flushed(double value) {
    return fabs(value) < FLT_MIN ? copysign(0, value) : value;
}

static mp_quant_range fast_quotient(double a, double b) {
    const mp_quant_range r = mp_quant_quotient(flushed(a), flushed(b));
    return (mp_quant_range){flushed(r.low), flushed(r.high)};
}

static double at_least(double a, double floor) {
    return a > floor ? a : floor;
}

static const float EPSILON = 1e-10f;

static double above_epsilon(const mp_quant_unit *u) {
    return at_least((double)u->amax, (double)EPSILON);
}

/* ---- powers of two ---- */

/* The smallest power of two not below a scale, in the range of ue8m0; Inf and NaN give NaN. */
static double power_above(double scale) {
    return isfinite(scale) ? mp_decode_code(MP_UE8M0, mp_encode_ue8m0_ceil(scale)) : NAN;
}

/* What log2f can give; of a power of two it is taken for exact. */
static mp_quant_range log2_of(double v) {
    return is_power(v) ? only(log2(v)) : near(log2(v), 1);
}

static double power(double exponent) {
    return ldexp(1, (int)fmin(fmax(exponent, -127), 127));
}

static mp_quant_range power_by_log(mp_quant_range scale) {
    if (!isfinite(scale.high)) return (mp_quant_range){0x1p-127, 0x1p127};
    return (mp_quant_range){power(ceil(log2_of(scale.low).low)), power(ceil(log2_of(scale.high).high))};
}

/* ---- scales ---- */

static mp_quant_range given(const mp_quantisation *q, const mp_quant_unit *u) {
    (void)u;
    return only((double)q->given);
}

static mp_quant_range own_fp8(const mp_quantisation *q, const mp_quant_unit *u) {
    (void)q;
    return only(fl(at_least((double)u->amax, 0x1p-100) / 448));
}

static mp_quant_range own_int8(const mp_quantisation *q, const mp_quant_unit *u) {
    (void)q;
    return only(fl(at_least((double)u->amax, 0x1p-100) / 127));
}

static mp_quant_range own_ue8m0(const mp_quantisation *q, const mp_quant_unit *u) {
    return only(power_above(own_fp8(q, u).low));
}

static mp_quant_range own_mxfp8(const mp_quantisation *q, const mp_quant_unit *u) {
    (void)q;
    return only(power_above(fl((double)u->amax / 448)));
}

static mp_quant_range own_mxfp4(const mp_quantisation *q, const mp_quant_unit *u) {
    (void)q;
    return only(power_above(fl((double)u->amax / 6)));
}

static double as_e4m3(double value) {
    return mp_decode_code(MP_E4M3, mp_encode_e4m3_saturate(value));
}

static mp_quant_range own_nvfp4(const mp_quantisation *q, const mp_quant_unit *u) {
    return only(as_e4m3(fl(fl((double)u->amax / 6) / (double)q->given)));
}

static mp_quant_range over_448(const mp_quantisation *q, const mp_quant_unit *u) {
    (void)q;
    return only(fl((double)u->amax / 448));
}

static mp_quant_range over_448_fast(const mp_quantisation *q, const mp_quant_unit *u) {
    (void)q;
    return fast_quotient((double)u->amax, 448);
}

static mp_quant_range times_1_448(const mp_quantisation *q, const mp_quant_unit *u) {
    (void)q;
    return only(fl(above_epsilon(u) * fl(1 / 448.0)));
}

static mp_quant_range times_1_127(const mp_quantisation *q, const mp_quant_unit *u) {
    (void)q;
    return only(fl(above_epsilon(u) * fl(1 / 127.0)));
}

static mp_quant_range sgl_ue8m0(const mp_quantisation *q, const mp_quant_unit *u) {
    return only(power_above(times_1_448(q, u).low));
}

static mp_quant_range over_127_rough(const mp_quantisation *q, const mp_quant_unit *u) {
    (void)q;
    return mp_quant_quotient(above_epsilon(u), 127);
}

static mp_quant_range sgl_mxfp8(const mp_quantisation *q, const mp_quant_unit *u) {
    (void)q;
    return power_by_log(mp_quant_quotient(at_least((double)u->amax, (double)1e-30f), 448));
}

/* Every step in the format of the values, by torch: a/6 is one division, or the product with a reciprocal. */
static mp_quant_range sgl_mxfp4(const mp_quantisation *q, const mp_quant_unit *u) {
    const double a = (double)u->amax, quotient = fl(a / 6), product = fl(a * fl(1 / 6.0));
    const double low = mp_round_to(q->input, fmin(quotient, product)),
                 high = mp_round_to(q->input, fmax(quotient, product));
    if (!isfinite(high)) return (mp_quant_range){0x1p-127, 0x1p127};
    return (mp_quant_range){power(ceil(mp_round_to(q->input, log2_of(low).low))),
                            power(ceil(mp_round_to(q->input, log2_of(high).high)))};
}

static mp_quant_range vllm_fp8_token(const mp_quantisation *q, const mp_quant_unit *u) {
    const double limited = fmin((double)u->amax, (double)q->upper);
    return only(at_least(fl(limited / 448), fl(1 / (448.0 * 512))));
}

static mp_quant_range vllm_fp8_group(const mp_quantisation *q, const mp_quant_unit *u) {
    (void)q;
    return only(fl(above_epsilon(u) / 448));
}

static mp_quant_range vllm_ue8m0(const mp_quantisation *q, const mp_quant_unit *u) {
    return power_by_log(only(at_least(vllm_fp8_group(q, u).low, (double)EPSILON)));
}

static mp_quant_range over_127(const mp_quantisation *q, const mp_quant_unit *u) {
    (void)q;
    return only(fl((double)u->amax / 127));
}

static mp_quant_range vllm_asym(const mp_quantisation *q, const mp_quant_unit *u) {
    (void)q;
    return only(fl(fl((double)u->max - (double)u->min) / 255));
}

static mp_quant_range vllm_int8_group(const mp_quantisation *q, const mp_quant_unit *u) {
    (void)q;
    return only(fl(above_epsilon(u) / 127));
}

/* Of torch, which multiplies by the reciprocal, or of Triton. */
static mp_quant_range vllm_mxfp8(const mp_quantisation *q, const mp_quant_unit *u) {
    (void)q;
    const double a = at_least((double)u->amax, (double)FLT_MIN);
    return power_by_log(both(mp_quant_quotient(a, 448), only(fl(a * fl(1 / 448.0)))));
}

static mp_quant_range vllm_mxfp4(const mp_quantisation *q, const mp_quant_unit *u) {
    (void)q;
    const uint32_t rounded = (mp_bits_of_float(u->amax) + 0x200000) & 0x7F800000;
    return only(power((int)(rounded >> 23) - 127 - 2));
}

static mp_quant_range vllm_nvfp4(const mp_quantisation *q, const mp_quant_unit *u) {
    const mp_quant_range sixth = near(1 / 6.0, 1);
    return (mp_quant_range){as_e4m3(fl((double)q->given * fl((double)u->amax * sixth.low))),
                            as_e4m3(fl((double)q->given * fl((double)u->amax * sixth.high)))};
}

/* ---- factors ---- */

static mp_quant_range the_scale(const mp_quantisation *q, const mp_quant_unit *u, double scale) {
    (void)q, (void)u;
    return only(scale);
}

/* Of a power of two it is exact. */
static mp_quant_range inverse(const mp_quantisation *q, const mp_quant_unit *u, double scale) {
    (void)q, (void)u;
    return only(fl(1 / scale));
}

static mp_quant_range inverse_fast(const mp_quantisation *q, const mp_quant_unit *u, double scale) {
    (void)q, (void)u;
    return fast_quotient(1, scale);
}

static mp_quant_range inverse_fast_or_0(const mp_quantisation *q, const mp_quant_unit *u, double scale) {
    return flushed(scale) == 0 ? only(0) : inverse_fast(q, u, scale);
}

/* The exponent's field counts down as the scale's counts up; of NaN, 255, it runs over into the sign: -Inf.
 */
static mp_quant_range sgl_inverse_power(const mp_quantisation *q, const mp_quant_unit *u, double scale) {
    (void)q, (void)u;
    const uint32_t byte = isnan(scale) ? 255 : (uint32_t)mp_encode_code(MP_UE8M0, scale);
    return only((double)mp_float_of_bits((254 - byte) << 23));
}

/* CUDA's approximate quotient is 0 where the divisor is beyond 2^126. */
static mp_quant_range fast_over_amax(double numerator, const mp_quant_unit *u) {
    const double a = above_epsilon(u);
    mp_quant_range r = fast_quotient(numerator, a);
    if (a > 0x1p126) r.low = 0;
    return r;
}

static mp_quant_range fast_448_over_amax(const mp_quantisation *q, const mp_quant_unit *u, double scale) {
    (void)q, (void)scale;
    return fast_over_amax(448, u);
}

static mp_quant_range fast_127_over_amax(const mp_quantisation *q, const mp_quant_unit *u, double scale) {
    (void)q, (void)scale;
    return fast_over_amax(127, u);
}

static mp_quant_range rough_127_over_amax(const mp_quantisation *q, const mp_quant_unit *u, double scale) {
    (void)q, (void)scale;
    return mp_quant_quotient(127, above_epsilon(u));
}

static mp_quant_range exact_127_over_amax(const mp_quantisation *q, const mp_quant_unit *u, double scale) {
    (void)q, (void)scale;
    return only(u->amax == 0 ? 0 : fl(127 / (double)u->amax));
}

/* 2^-127 of a block of zeros is a subnormal number that may have been flushed: its inverse is 0 then. */
static mp_quant_range vllm_mxfp4_factor(const mp_quantisation *q, const mp_quant_unit *u, double scale) {
    (void)q, (void)u;
    return (mp_quant_range){scale == 0x1p-127 ? 0 : 1 / scale, 1 / scale};
}

static mp_quant_range own_nvfp4_factor(const mp_quantisation *q, const mp_quant_unit *u, double scale) {
    (void)u;
    return only(fl(scale * (double)q->given));
}

/* CUDA: two reciprocals to 1 ulp; torch: the same to half an ulp; Triton: one quotient to 2 ulp. */
static mp_quant_range vllm_nvfp4_factor(const mp_quantisation *q, const mp_quant_unit *u, double scale) {
    (void)u;
    if (scale == 0) return only(0);
    const mp_quant_range decode = near(1 / (double)q->given, 1);
    const mp_quant_range cuda = {near(1 / fl(scale * decode.high), 1).low,
                                 near(1 / fl(scale * decode.low), 1).high};
    return both(cuda, mp_quant_quotient((double)q->given, scale));
}

#define TIMES MP_STEP_TIMES
#define OVER MP_STEP_OVER
#define EVEN MP_ROUND_EVEN
const mp_quant_rule mp_quant_rules[MP_QUANTISER_COUNT] = {
    [MP_QUANT_FP8] = {own_fp8, the_scale, OVER, EVEN, MP_NAN_STAYS, false},
    [MP_QUANT_FP8_STATIC] = {given, the_scale, OVER, EVEN, MP_NAN_STAYS, false},
    [MP_QUANT_FP8_UE8M0] = {own_ue8m0, inverse, TIMES, EVEN, MP_NAN_STAYS, false},
    [MP_QUANT_INT8] = {own_int8, the_scale, OVER, EVEN, MP_NAN_ZERO, false},
    [MP_QUANT_MXFP8] = {own_mxfp8, inverse, TIMES, EVEN, MP_NAN_STAYS, false},
    [MP_QUANT_MXFP4] = {own_mxfp4, inverse, TIMES, EVEN, MP_NAN_LARGEST, false},
    [MP_QUANT_NVFP4] = {own_nvfp4, own_nvfp4_factor, OVER, EVEN, MP_NAN_LARGEST, false},
    [MP_QUANT_SGL_FP8_TENSOR] = {over_448, inverse, TIMES, EVEN, MP_NAN_LARGEST, false},
    [MP_QUANT_SGL_FP8_STATIC] = {given, inverse, TIMES, EVEN, MP_NAN_LARGEST, false},
    [MP_QUANT_SGL_FP8_TOKEN] = {over_448_fast, inverse_fast_or_0, TIMES, EVEN, MP_NAN_LARGEST, false},
    [MP_QUANT_SGL_FP8_TOKEN_FEW] = {over_448_fast, inverse_fast, TIMES, EVEN, MP_NAN_LARGEST, false},
    [MP_QUANT_SGL_FP8_GROUP] = {times_1_448, fast_448_over_amax, TIMES, EVEN, MP_NAN_STAYS_OF_BF16, false},
    [MP_QUANT_SGL_UE8M0_GROUP] = {sgl_ue8m0, sgl_inverse_power, MP_STEP_TIMES_INPUT, EVEN,
                                  MP_NAN_STAYS_OF_BF16, false},
    [MP_QUANT_SGL_INT8_GROUP] = {times_1_127, fast_127_over_amax, TIMES, MP_ROUND_CUT, MP_NAN_LOWEST, false},
    [MP_QUANT_SGL_INT8_GROUP_TRITON] = {over_127_rough, the_scale, MP_STEP_OVER_ROUGH, MP_ROUND_CUT,
                                        MP_NAN_ANY, false},
    [MP_QUANT_SGL_MXFP8] = {sgl_mxfp8, the_scale, MP_STEP_OVER_ROUGH, EVEN, MP_NAN_ANY, false},
    [MP_QUANT_SGL_MXFP4] = {sgl_mxfp4, the_scale, MP_STEP_OVER_INPUT, MP_ROUND_TIES_LOW, MP_NAN_ANY, true},
    [MP_QUANT_TRITON_INT8_TOKEN] = {over_127_rough, rough_127_over_amax, TIMES, MP_ROUND_AWAY, MP_NAN_ANY,
                                    false},
    [MP_QUANT_VLLM_FP8_TENSOR] = {over_448, inverse, TIMES, EVEN, MP_NAN_LARGEST, false},
    [MP_QUANT_VLLM_FP8_STATIC] = {given, inverse, TIMES, EVEN, MP_NAN_LARGEST, false},
    [MP_QUANT_VLLM_FP8_TOKEN] = {vllm_fp8_token, the_scale, OVER, EVEN, MP_NAN_LARGEST, false},
    [MP_QUANT_VLLM_FP8_GROUP] = {vllm_fp8_group, inverse, TIMES, EVEN, MP_NAN_LOWEST, false},
    [MP_QUANT_VLLM_FP8_GROUP_TRITON] = {times_1_448, the_scale, MP_STEP_OVER_ROUGH, EVEN, MP_NAN_ANY, false},
    [MP_QUANT_VLLM_UE8M0_GROUP] = {vllm_ue8m0, the_scale, OVER, EVEN, MP_NAN_LOWEST, false},
    [MP_QUANT_VLLM_INT8_STATIC] = {given, the_scale, OVER, EVEN, MP_NAN_ZERO, false},
    [MP_QUANT_VLLM_INT8_TOKEN] = {over_127, exact_127_over_amax, TIMES, EVEN, MP_NAN_ZERO, false},
    [MP_QUANT_VLLM_INT8_TOKEN_ASYM] = {vllm_asym, inverse, TIMES, EVEN, MP_NAN_ZERO, false},
    [MP_QUANT_VLLM_INT8_GROUP] = {vllm_int8_group, inverse, TIMES, MP_ROUND_CUT, MP_NAN_LOWEST, false},
    [MP_QUANT_VLLM_MXFP8] = {vllm_mxfp8, inverse, TIMES, EVEN, MP_NAN_ANY, true},
    [MP_QUANT_VLLM_MXFP4] = {vllm_mxfp4, vllm_mxfp4_factor, TIMES, EVEN, MP_NAN_ANY, false},
    [MP_QUANT_VLLM_NVFP4] = {vllm_nvfp4, vllm_nvfp4_factor, TIMES, EVEN, MP_NAN_ANY, true},
};
