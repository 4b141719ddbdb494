/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/quantise_rules.h"

#include <float.h>
#include <math.h>

const mp_quant_unit mp_quant_unit_empty = {.amax = 0, .min = FLT_MAX, .max = -FLT_MAX, .has_nan = false};

void mp_quant_unit_add(mp_quant_unit *unit, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        unit->amax = fmaxf(unit->amax, fabsf(x[i]));
        unit->min = fminf(unit->min, x[i]);
        unit->max = fmaxf(unit->max, x[i]);
        unit->has_nan |= isnan(x[i]);
    }
}

/* All scales that a format has: what is left of them where one NaN spreads. */
static mp_quant_range any_scale(mp_dtype scale) {
    return (mp_quant_range){scale == MP_UE8M0 ? 0x1p-127 : 0, mp_dtype_format(scale)->max_finite};
}

bool mp_quant_is_open(const mp_quantisation *q, const mp_quant_unit *unit) {
    return unit->has_nan && mp_quant_rules[q->quantiser].nan_spreads;
}

mp_quant_range mp_quant_scales(const mp_quantisation *q, const mp_quant_unit *unit) {
    if (mp_quant_is_open(q, unit)) return any_scale(mp_quantiser_scale(q->quantiser));
    return mp_quant_rules[q->quantiser].scale(q, unit);
}

mp_quant_range mp_quant_factors(const mp_quantisation *q, const mp_quant_unit *unit, double scale) {
    return mp_quant_rules[q->quantiser].factor(q, unit, scale);
}

bool mp_quant_is_one_step(mp_quantiser quantiser, bool *divides) {
    const mp_quant_rule *rule = &mp_quant_rules[quantiser];
    *divides = rule->step == MP_STEP_OVER;
    return (*divides || rule->step == MP_STEP_TIMES) && rule->rounding == MP_ROUND_EVEN &&
           quantiser != MP_QUANT_VLLM_INT8_TOKEN_ASYM;
}

/* cvt.rni.sat.s32.f32 and cvt.rzi.s32.f32 of a float32 that is integral: NaN gives 0. */
static int32_t to_int32(double integral) {
    return (int32_t)(uint32_t)mp_encode_code(MP_I32, integral);
}

int32_t mp_quant_zero(const mp_quantisation *q, const mp_quant_unit *unit, double scale) {
    if (q->quantiser != MP_QUANT_VLLM_INT8_TOKEN_ASYM) return 0;
    const double quotient = (double)(float)((double)unit->min / scale);
    return to_int32(rint((double)(float)(-128 - quotient)));
}

/* ---- codes ---- */

/* What is between a value and its factor, as the kernel sees it: a float32, or of the values' format. */
static mp_quant_range scaled(const mp_quantisation *q, double x, double factor) {
    double v = 0;
    switch (mp_quant_rules[q->quantiser].step) {
    case MP_STEP_TIMES: v = (double)(float)(x * factor); break;
    case MP_STEP_OVER: v = (double)(float)(x / factor); break;
    case MP_STEP_TIMES_INPUT: v = mp_round_to(q->input, x * mp_round_to(q->input, factor)); break;
    case MP_STEP_OVER_INPUT: v = mp_round_to(q->input, x / mp_round_to(q->input, factor)); break;
    case MP_STEP_OVER_ROUGH: return mp_quant_quotient(x, factor);
    }
    return (mp_quant_range){v, v};
}

static uint8_t largest_code(mp_dtype codes) {
    return (uint8_t)mp_encode_code(codes, mp_dtype_format(codes)->max_finite);
}

static uint8_t lowest_code(mp_dtype codes) {
    const double largest = mp_dtype_format(codes)->max_finite;
    return (uint8_t)mp_encode_code(codes, mp_dtype_is_integer(codes) ? -largest - 1 : -largest);
}

/* Of the boundaries between e2m1's values those that are exceeded. */
static uint8_t ties_low(double v) {
    static const double boundary[] = {0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5};
    uint8_t magnitude = 0;
    while (magnitude < 7 && fabs(v) > boundary[magnitude]) magnitude++;
    return v > 0 ? magnitude : (uint8_t)(8 | magnitude);
}

static uint8_t code_of(const mp_quantisation *q, double v, int32_t zero) {
    const mp_dtype codes = mp_quantiser_codes(q->quantiser);
    if (q->quantiser == MP_QUANT_VLLM_INT8_TOKEN_ASYM) /* the sum wraps around */
        return (uint8_t)mp_encode_code(codes,
                                       (double)(int32_t)((uint32_t)to_int32(rint(v)) + (uint32_t)zero));
    switch (mp_quant_rules[q->quantiser].rounding) {
    case MP_ROUND_AWAY: return (uint8_t)mp_encode_code(codes, round(v));
    case MP_ROUND_CUT: return (uint8_t)mp_encode_truncated(codes, v);
    case MP_ROUND_TIES_LOW: return ties_low(v);
    case MP_ROUND_EVEN: break;
    }
    return codes == MP_E4M3 ? mp_encode_e4m3_saturate(v) : (uint8_t)mp_encode_code(codes, v);
}

/* The codes of a NaN; of the asymmetric quantiser code_of knows. */
static void nan_codes(const mp_quantisation *q, int32_t zero, uint8_t *low, uint8_t *high) {
    const mp_dtype codes = mp_quantiser_codes(q->quantiser);
    mp_quant_nan nan = mp_quant_rules[q->quantiser].nan;
    if (nan == MP_NAN_STAYS_OF_BF16) nan = q->input == MP_BF16 ? MP_NAN_STAYS : MP_NAN_LARGEST;
    switch (nan) {
    case MP_NAN_LARGEST: *low = *high = largest_code(codes); break;
    case MP_NAN_LOWEST: *low = *high = lowest_code(codes); break;
    case MP_NAN_ANY: *low = lowest_code(codes), *high = largest_code(codes); break;
    default: *low = *high = code_of(q, (double)NAN, zero); /* the conversion's */
    }
}

static void widen(mp_dtype codes, uint8_t code, uint8_t *low, uint8_t *high) {
    if (mp_decode_code(codes, code) < mp_decode_code(codes, *low)) *low = code;
    if (mp_decode_code(codes, code) > mp_decode_code(codes, *high)) *high = code;
}

static void codes_of(const mp_quantisation *q, mp_quant_range factor, int32_t zero, double x, uint8_t *low,
                     uint8_t *high) {
    const mp_dtype codes = mp_quantiser_codes(q->quantiser);
    const mp_quant_range a = scaled(q, x, factor.low),
                         b = factor.high == factor.low ? a : scaled(q, x, factor.high);
    const bool no_number = isnan(a.low);
    if (no_number || isnan(b.low)) {
        nan_codes(q, zero, low, high);
        if (no_number && isnan(b.low)) return;
        *low = lowest_code(codes), *high = largest_code(codes); /* of 0 * [0, Inf] nothing is known */
        return;
    }
    *low = *high = code_of(q, a.low, zero);
    if (a.high == a.low && b.low == a.low && b.high == a.low) return;
    widen(codes, code_of(q, a.high, zero), low, high);
    widen(codes, code_of(q, b.low, zero), low, high);
    widen(codes, code_of(q, b.high, zero), low, high);
}

void mp_quant_codes(const mp_quantisation *q, const mp_quant_unit *unit, mp_quant_range factor, int32_t zero,
                    const float *x, int64_t n, uint8_t *low, uint8_t *high) {
    const mp_dtype codes = mp_quantiser_codes(q->quantiser);
    /* a block whose scale is 0 has no factor: nothing of it is left */
    const bool nothing = q->quantiser == MP_QUANT_NVFP4 && factor.low == 0, open = mp_quant_is_open(q, unit);
    for (int64_t i = 0; i < n; i++) {
        if (open)
            low[i] = lowest_code(codes), high[i] = largest_code(codes);
        else if (nothing)
            low[i] = high[i] = 0;
        else
            codes_of(q, factor, zero, (double)x[i], &low[i], &high[i]);
    }
}

bool mp_quant_code_is_open(mp_dtype codes, uint8_t low, uint8_t high) {
    return low != high && low == lowest_code(codes) && high == largest_code(codes);
}

bool mp_quant_code_fits(mp_dtype codes, uint64_t code, uint8_t low, uint8_t high) {
    if (mp_quant_code_is_open(codes, low, high)) return true;
    if (low == high) return code == low;
    const double value = mp_decode_code(codes, code);
    return value >= mp_decode_code(codes, low) && value <= mp_decode_code(codes, high);
}
