/* SPDX-License-Identifier: Apache-2.0 */
/* The quantisers of published packages, once more: as their kernels are written, in float32, with fminf and
 * fmaxf that leave NaN out, and codes by a search in the list of all values. Where an operation is
 * approximate it is moved by some ulp, as a device might: what comes out must be in the set. */
#include "quantise_support.h"
#include "ref/predict/special_unit_tables.h"

/* ---- operations of a device ---- */

static const mp_special_unit *special;
enum { IEEE, MOVED, SM_90, DEVICES };
static int device; /* whose approximate operations */

static float moved(float exact, int most) {
    if (exact == 0 || !isfinite(exact)) return exact;
    const int by = below(2 * most + 1) - most;
    for (int i = 0; i < abs(by); i++) exact = nextafterf(exact, by > 0 ? INFINITY : -INFINITY);
    return exact;
}

static float rough(float a, float b) {
    int exponent;
    const bool power = frexpf(b, &exponent) == 0.5f;
    if (device == SM_90) return mp_div_full(special, a, b);
    return device == IEEE || power ? a / b : moved(a / b, 1); /* half an ulp and one more */
}

static float flush(float v) {
    return fabsf(v) < FLT_MIN ? copysignf(0, v) : v;
}

static float fast(float a, float b) {
    return device == SM_90 ? mp_div_approx_ftz(special, a, b) : flush(rough(flush(a), flush(b)));
}

static float reciprocal(float v) {
    return device == SM_90 ? mp_rcp_approx_ftz(special, v) : 1.0f / v;
}

/* ---- codes by search ---- */

static int code_next_to(mp_dtype codes, float v) {
    double best = INFINITY;
    int code = 0;
    for (int c = 0; c < 1 << mp_dtype_bits(codes); c++) {
        const double value = mp_decode_code(codes, (uint64_t)c), distance = fabs(value - (double)v);
        if (isnan(value) || (value == 0 && !signbit(value) != !signbit(v) && codes != MP_I8)) continue;
        if (value != 0 && (value < 0) != (v < 0)) continue;
        if (distance < best || (distance == best && c % 2 == 0)) best = distance, code = c;
    }
    return code;
}

static int fp8(float v) {
    return isnan(v) ? 0x7F : code_next_to(MP_E4M3, fminf(fmaxf(v, -448), 448));
}

static int fp8_clipped(float v) { /* NaN gives 448 */
    return fp8(fmaxf(fminf(v, 448), -448));
}

static int fp8_clipped_below(float v) { /* NaN gives -448 */
    return fp8(fminf(fmaxf(v, -448), 448));
}

static int int8_cut(float v) {
    return (int)fminf(fmaxf(v, -128), 127) & 0xFF;
}

static int int8_next(float v) { /* cvt.rni.sat.s8.f32 */
    return isnan(v) ? 0 : (int)nearbyintf(fminf(fmaxf(v, -128), 127)) & 0xFF;
}

/* By its list of intervals. */
static int fp4(float v) {
    const float a = fabsf(v);
    const int m = a <= 0.25f   ? 0
                  : a < 0.75f  ? 1
                  : a <= 1.25f ? 2
                  : a < 1.75f  ? 3
                  : a <= 2.5f  ? 4
                  : a < 3.5f   ? 5
                  : a <= 5     ? 6
                               : 7;
    return signbit(v) ? 8 | m : m;
}

static int exponent_above(float scale) {
    uint32_t bits;
    memcpy(&bits, &scale, sizeof bits);
    return (int)(bits >> 23 & 0xFF) + ((bits & 0x7FFFFF) != 0);
}

static float power_of(int byte) {
    return (float)ldexp(1, byte - 127);
}

static float log2_rough(float v) { /* the float32 numbers on both sides of it, both within an ulp */
    const double exact = log2((double)v);
    const float log = (float)exact;
    if (device != MOVED || (double)log == exact || below(2)) return log;
    return nextafterf(log, (double)log < exact ? INFINITY : -INFINITY);
}

static int byte_by_log(float scale) {
    return (int)fminf(fmaxf(ceilf(log2_rough(scale)) + 127, 0), 254);
}

/* ---- the kernels ---- */

typedef struct outcome {
    float scale;
    int32_t zero;
    int code[UNIT];
} outcome;

static float amax_of(const float *x) {
    float a = 0;
    for (int i = 0; i < UNIT; i++) a = fmaxf(a, fabsf(x[i]));
    return a;
}

static float narrowed(mp_dtype dtype, float v) {
    return (float)mp_round_to(dtype, (double)v);
}

static outcome run_fp8(const mp_quantisation *q, const float *x) {
    outcome o = {0};
    const float a = amax_of(x), above = fmaxf(a, 1e-10f);
    float m = 0;
    switch (q->quantiser) {
    case MP_QUANT_SGL_FP8_STATIC:
    case MP_QUANT_VLLM_FP8_STATIC: o.scale = q->given, m = 1.0f / o.scale; break;
    case MP_QUANT_SGL_FP8_TENSOR:
    case MP_QUANT_VLLM_FP8_TENSOR: o.scale = a / 448.0f, m = 1.0f / o.scale; break;
    case MP_QUANT_SGL_FP8_TOKEN: o.scale = fast(a, 448), m = o.scale == 0 ? 0 : fast(1, o.scale); break;
    case MP_QUANT_SGL_FP8_TOKEN_FEW: o.scale = fast(a, 448), m = fast(1, o.scale); break;
    case MP_QUANT_SGL_FP8_GROUP: o.scale = above * (1.0f / 448.0f), m = fast(448, above); break;
    case MP_QUANT_VLLM_FP8_TOKEN:
        o.scale = fmaxf(fminf(a, q->upper) / 448.0f, 1.0f / (448.0f * 512.0f));
        break;
    case MP_QUANT_VLLM_FP8_GROUP: o.scale = above / 448.0f; break;
    default: o.scale = above * (1.0f / 448.0f); /* vllm-fp8-group-triton */
    }
    for (int i = 0; i < UNIT; i++) {
        switch (q->quantiser) {
        case MP_QUANT_SGL_FP8_GROUP:
            o.code[i] = q->input == MP_BF16 ? fp8(x[i] * m) : fp8(fminf(x[i] * m, 448));
            break;
        case MP_QUANT_VLLM_FP8_TOKEN: o.code[i] = fp8_clipped(x[i] / o.scale); break;
        case MP_QUANT_VLLM_FP8_GROUP: o.code[i] = fp8_clipped_below(x[i] / o.scale); break;
        case MP_QUANT_VLLM_FP8_GROUP_TRITON: o.code[i] = fp8_clipped_below(rough(x[i], o.scale)); break;
        default: o.code[i] = fp8_clipped(x[i] * m);
        }
    }
    return o;
}

static outcome run_int8(const mp_quantisation *q, const float *x) {
    outcome o = {0};
    const float a = amax_of(x), above = fmaxf(a, 1e-10f);
    float m = 0, least = FLT_MAX, most = -FLT_MAX, zero = 0;
    for (int i = 0; i < UNIT; i++) least = fminf(least, x[i]), most = fmaxf(most, x[i]);
    switch (q->quantiser) {
    case MP_QUANT_SGL_INT8_GROUP: o.scale = above * (1.0f / 127.0f), m = fast(127, above); break;
    case MP_QUANT_SGL_INT8_GROUP_TRITON: o.scale = rough(above, 127); break;
    case MP_QUANT_TRITON_INT8_TOKEN: o.scale = rough(above, 127), m = rough(127, above); break;
    case MP_QUANT_VLLM_INT8_STATIC: o.scale = q->given; break;
    case MP_QUANT_VLLM_INT8_TOKEN: o.scale = a / 127.0f, m = a == 0 ? 0 : 127.0f / a; break;
    case MP_QUANT_VLLM_INT8_GROUP: o.scale = above / 127.0f; break;
    default: /* vllm-int8-token-asym */
        o.scale = (most - least) / 255.0f;
        zero = nearbyintf(-128.0f - least / o.scale);
        o.zero = isnan(zero) ? 0 : zero >= 0x1p31f ? INT32_MAX : zero <= -0x1p31f ? INT32_MIN : (int32_t)zero;
        m = 1.0f / o.scale;
    }
    for (int i = 0; i < UNIT; i++) {
        switch (q->quantiser) {
        case MP_QUANT_SGL_INT8_GROUP: o.code[i] = int8_cut(x[i] * m); break;
        case MP_QUANT_SGL_INT8_GROUP_TRITON: o.code[i] = int8_cut(rough(x[i], o.scale)); break;
        case MP_QUANT_TRITON_INT8_TOKEN: o.code[i] = (int)roundf(x[i] * m) & 0xFF; break;
        case MP_QUANT_VLLM_INT8_STATIC: o.code[i] = int8_next(x[i] / o.scale); break;
        case MP_QUANT_VLLM_INT8_TOKEN: o.code[i] = int8_next(x[i] * m); break;
        case MP_QUANT_VLLM_INT8_GROUP: o.code[i] = int8_cut(x[i] / o.scale); break;
        default: {
            const float v = nearbyintf(x[i] * m);
            const int64_t wide = isnan(v)        ? 0
                                 : v >= 0x1p31f  ? INT32_MAX
                                 : v <= -0x1p31f ? INT32_MIN
                                                 : (int64_t)v;
            const int64_t sum = (int32_t)(uint32_t)(wide + o.zero);
            o.code[i] = (int)(sum < -128 ? -128 : sum > 127 ? 127 : sum) & 0xFF;
        }
        }
    }
    return o;
}

static outcome run_blocks(const mp_quantisation *q, const float *x) {
    outcome o = {0};
    const float a = amax_of(x), above = fmaxf(a, 1e-10f);
    uint32_t bits;
    int byte = 0;
    float m = 1, t = 0;
    switch (q->quantiser) {
    case MP_QUANT_SGL_UE8M0_GROUP: byte = exponent_above(above * (1.0f / 448.0f)); break;
    case MP_QUANT_VLLM_UE8M0_GROUP: byte = byte_by_log(fmaxf(above / 448.0f, 1e-10f)); break;
    case MP_QUANT_SGL_MXFP8: byte = byte_by_log(rough(fmaxf(a, 1e-30f), 448)); break;
    case MP_QUANT_VLLM_MXFP8: byte = byte_by_log(rough(fmaxf(a, FLT_MIN), 448)); break;
    case MP_QUANT_VLLM_MXFP4:
        memcpy(&bits, &a, sizeof bits);
        byte = (int)((bits + 0x200000) >> 23) - 2;
        byte = byte < 0 ? 0 : byte > 254 ? 254 : byte;
        break;
    case MP_QUANT_SGL_MXFP4:
        t = narrowed(q->input, a / 6.0f);
        byte = t == 0 ? 0 : (int)fmaxf(ceilf(narrowed(q->input, log2_rough(t))), -127) + 127;
        break;
    default: /* vllm-nvfp4 */
        o.scale = (float)mp_decode_code(MP_E4M3, (uint64_t)fp8_clipped(q->given * (a * (1.0f / 6.0f))));
        m = o.scale == 0 ? 0 : reciprocal(o.scale * reciprocal(q->given));
    }
    if (q->quantiser != MP_QUANT_VLLM_NVFP4) o.scale = power_of(byte);
    for (int i = 0; i < UNIT; i++) {
        float v;
        switch (q->quantiser) {
        case MP_QUANT_SGL_UE8M0_GROUP:
            v = narrowed(q->input, x[i] * narrowed(q->input, power_of(254 - byte)));
            o.code[i] = q->input == MP_BF16 ? fp8(v) : fp8(fminf(v, 448));
            break;
        case MP_QUANT_VLLM_UE8M0_GROUP: o.code[i] = fp8_clipped_below(x[i] / o.scale); break;
        case MP_QUANT_SGL_MXFP8: o.code[i] = fp8_clipped(rough(x[i], o.scale)); break;
        case MP_QUANT_VLLM_MXFP8: o.code[i] = fp8(x[i] * power_of(254 - byte)); break;
        case MP_QUANT_VLLM_MXFP4: o.code[i] = fp4(x[i] * power_of(254 - byte)); break;
        case MP_QUANT_SGL_MXFP4: {
            static const float bounds[] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5};
            v = narrowed(q->input, x[i] / narrowed(q->input, o.scale));
            o.code[i] = v > 0 ? 0 : 8;
            for (int b = 0; b < 7; b++) o.code[i] += fabsf(v) - bounds[b] > 0;
            break;
        }
        default: o.code[i] = fp4(fminf(fmaxf(x[i] * m, -6), 6));
        }
    }
    return o;
}

static outcome run_kernel(const mp_quantisation *q, const float *x) {
    if (mp_quantiser_codes(q->quantiser) == MP_I8) return run_int8(q, x);
    const bool plain = mp_quantiser_scale(q->quantiser) == MP_FP32;
    return plain && q->quantiser != MP_QUANT_VLLM_UE8M0_GROUP ? run_fp8(q, x) : run_blocks(q, x);
}

/* ---- tests ---- */

typedef struct tally {
    int64_t values, ranges, at_low, at_high, scale_ranges;
} tally;

static void check_unit(mp_quantiser which, mp_dtype dtype, const float *x, tally *t) {
    const mp_quantisation q = quantisation_for(which, dtype, x, UNIT);
    const mp_quant_unit unit = unit_of(x, UNIT);
    const outcome o = run_kernel(&q, x);
    const mp_quant_range scales = mp_quant_scales(&q, &unit);
    const mp_quant_range factor = mp_quant_factors(&q, &unit, (double)o.scale);
    const mp_dtype codes = mp_quantiser_codes(which);
    uint8_t low[UNIT], high[UNIT];
    if (!((double)o.scale >= scales.low && (double)o.scale <= scales.high))
        fail_msg("%s: a scale of %a; expected %a to %a", mp_quantiser_name(which), (double)o.scale,
                 scales.low, scales.high);
    t->scale_ranges += scales.low < scales.high;
    assert_int_equal(mp_quant_zero(&q, &unit, (double)o.scale), o.zero);
    mp_quant_codes(&q, &unit, factor, o.zero, x, UNIT, low, high);
    for (int i = 0; i < UNIT; i++) {
        t->values++;
        t->ranges += low[i] != high[i];
        t->at_low += low[i] != high[i] && o.code[i] == low[i];
        t->at_high += low[i] != high[i] && o.code[i] == high[i];
        if (!mp_quant_code_fits(codes, (uint64_t)o.code[i], low[i], high[i]))
            fail_msg("%s of %s: %a by a scale of %a became %02X; expected %02X to %02X",
                     mp_quantiser_name(which), mp_dtype_name(dtype), (double)x[i], (double)o.scale,
                     (unsigned)o.code[i], low[i], high[i]);
    }
}

static bool one_formula(mp_quantiser q) {
    switch (q) {
    case MP_QUANT_SGL_FP8_TENSOR:
    case MP_QUANT_SGL_FP8_STATIC:
    case MP_QUANT_SGL_UE8M0_GROUP:
    case MP_QUANT_VLLM_FP8_TENSOR:
    case MP_QUANT_VLLM_FP8_STATIC:
    case MP_QUANT_VLLM_FP8_TOKEN:
    case MP_QUANT_VLLM_FP8_GROUP:
    case MP_QUANT_VLLM_INT8_STATIC:
    case MP_QUANT_VLLM_INT8_TOKEN:
    case MP_QUANT_VLLM_INT8_TOKEN_ASYM:
    case MP_QUANT_VLLM_INT8_GROUP: return true;
    default: return false;
    }
}

static void kernels_are_in_their_sets(void **state) {
    (void)state;
    static const mp_dtype dtypes[] = {MP_BF16, MP_FP16, MP_FP32};
    for (int i = MP_QUANT_SGL_FP8_TENSOR; i < MP_QUANTISER_COUNT; i++) {
        tally t = {0};
        for (int round = 0; round < 1200; round++) {
            const mp_dtype dtype = dtypes[round % 3];
            float x[UNIT];
            device = round / 3 % DEVICES;
            draw_unit(dtype,
                      dtype == MP_FP16 ? below(30) - 15
                      : round % 2      ? below(16) - 8
                                       : below(230) - 120,
                      x);
            if (round % 40 < 3) memset(x, 0, sizeof x);
            if (round % 100 < 3)
                for (int k = 0; k < UNIT; k++) x[k] = 0x1p-40f; /* below epsilon; max = min */
            check_unit((mp_quantiser)i, dtype, x, &t);
        }
        /* the sets are not wider than they must be */
        if (one_formula((mp_quantiser)i)) {
            assert_int_equal(t.ranges, 0);
            assert_int_equal(t.scale_ranges, 0);
        } else if (t.ranges * 20 > t.values) {
            fail_msg("%s: %lld of %lld codes are ranges", mp_quantiser_name((mp_quantiser)i),
                     (long long)t.ranges, (long long)t.values);
        }
    }
}

/* Scales at which 2^k changes: a/448 a power of two exactly, and a float32 above and below. */
static void powers_of_two_and_their_neighbours(void **state) {
    (void)state;
    static const mp_quantiser powers[] = {MP_QUANT_FP8_UE8M0,       MP_QUANT_MXFP8,
                                          MP_QUANT_SGL_UE8M0_GROUP, MP_QUANT_VLLM_UE8M0_GROUP,
                                          MP_QUANT_SGL_MXFP8,       MP_QUANT_VLLM_MXFP8};
    for (size_t i = 0; i < sizeof powers / sizeof *powers; i++) {
        const bool by_log = powers[i] >= MP_QUANT_VLLM_UE8M0_GROUP || powers[i] == MP_QUANT_SGL_MXFP8;
        for (int exponent = -20; exponent <= 60; exponent += 4) {
            for (int step = -2; step <= 2; step++) {
                float a = ldexpf(448, exponent);
                for (int k = 0; k < abs(step); k++) a = nextafterf(a, step > 0 ? INFINITY : 0);
                const mp_quantisation q = {powers[i], MP_FP32, 1, INFINITY};
                const mp_quant_unit unit = unit_of(&a, 1);
                const mp_quant_range scales = mp_quant_scales(&q, &unit);
                const double raw = powers[i] == MP_QUANT_SGL_UE8M0_GROUP ? (double)(a * (1.0f / 448.0f))
                                                                         : (double)(a / 448.0f);
                const double smallest =
                    raw > ldexp(1, exponent) ? ldexp(1, exponent + 1) : ldexp(1, exponent);
                assert_true(scales.low <= smallest && smallest <= scales.high);
                if (!by_log) assert_true(scales.low == scales.high);
                assert_true(scales.high <= 2 * scales.low);
            }
        }
    }
    /* where log2f has no room for the difference both can be, two ulp above a power of two */
    const float a = 448 * (0x1p40f * (1 + 0x1p-22f));
    const mp_quant_unit unit = unit_of(&a, 1);
    const mp_quant_range r =
        mp_quant_scales(&(mp_quantisation){MP_QUANT_VLLM_UE8M0_GROUP, MP_BF16, 1, 0}, &unit);
    assert_true(r.low == 0x1p40 && r.high == 0x1p41);
}

/* Inf makes Inf of the scale, or what a package makes of it. */
static void infinite_values(void **state) {
    (void)state;
    float x[UNIT] = {1, -2, INFINITY};
    const mp_quant_unit unit = unit_of(x, UNIT);
    uint8_t low[UNIT], high[UNIT];
    const struct {
        mp_quantiser which;
        double scale;
        int finite, infinite;
    } rows[] = {
        {MP_QUANT_SGL_FP8_TENSOR, (double)INFINITY, 0, 0x7E}, /* Inf * 0, clamped */
        {MP_QUANT_VLLM_FP8_GROUP, (double)INFINITY, 0, 0xFE}, /* Inf / Inf, clamped */
        {MP_QUANT_VLLM_FP8_TOKEN, (double)INFINITY, 0, 0x7E},
        {MP_QUANT_VLLM_INT8_TOKEN, (double)INFINITY, 0, 0},
        {MP_QUANT_SGL_UE8M0_GROUP, (double)NAN, 0xFE, 0xFE}, /* byte 255; 2^-k runs over to -Inf */
        {MP_QUANT_FP8, (double)INFINITY, 0, 0x7F},
        {MP_QUANT_INT8, (double)INFINITY, 0, 0},
        {MP_QUANT_MXFP8, (double)NAN, 0x7F, 0x7F},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const mp_quantisation q = {rows[i].which, MP_BF16, 1, INFINITY};
        const mp_quant_range s = mp_quant_scales(&q, &unit);
        assert_true(isnan(rows[i].scale) ? isnan(s.low) && isnan(s.high)
                                         : s.low == rows[i].scale && s.high == rows[i].scale);
        mp_quant_codes(&q, &unit, mp_quant_factors(&q, &unit, s.low), 0, x, UNIT, low, high);
        assert_int_equal(low[0], rows[i].finite);
        assert_int_equal(high[0], rows[i].finite);
        assert_int_equal(low[2], rows[i].infinite);
        assert_int_equal(high[2], rows[i].infinite);
        assert_true(isinf(mp_quant_error(&q, s, s.low, 0, 1)));
    }
}

static int ready(void **state) {
    (void)state;
    mp_error err;
    return mp_special_unit_sm90(&special, &err) != MP_OK;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_are_in_their_sets),
        cmocka_unit_test(powers_of_two_and_their_neighbours),
        cmocka_unit_test(infinite_values),
    };
    return cmocka_run_group_tests(tests, ready, NULL);
}
