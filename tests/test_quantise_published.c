/* SPDX-License-Identifier: Apache-2.0 */
/* The formulas of every quantiser against the float32 operations of its kernel (ref/predict/quantise.c): what
 * these give, with operations that are approximate in several ways, must be in the set, and the sets must
 * be no wider than they have to be. */
#include "quantise_support.h"
#include "ref/predict/quantise.h"

/* ---- devices ---- */

static float quotient(float a, float b) {
    return a / b;
}

static float reciprocal(float v) {
    return 1.0f / v;
}

static float nearest_log2(float v) {
    return (float)log2((double)v);
}

/* Half an ulp of the rounding, and one more; of a quotient by a power of two there is none. */
static float moved(float a, float b) {
    int exponent;
    const float q = a / b;
    if (q == 0 || !isfinite(q) || frexpf(b, &exponent) == 0.5f) return q;
    const int by = below(3);
    return by == 0 ? q : nextafterf(q, by == 1 ? INFINITY : -INFINITY);
}

static float flush(float v) {
    return fabsf(v) < FLT_MIN ? copysignf(0, v) : v;
}

static float fast(float a, float b) {
    return flush(flush(a) / flush(b));
}

static float moved_fast(float a, float b) {
    return flush(moved(flush(a), flush(b)));
}

/* The float32 numbers on both sides, both within an ulp. */
static float moved_log2(float v) {
    const double exact = log2((double)v);
    const float log = (float)exact;
    if ((double)log == exact || below(2)) return log;
    return nextafterf(log, (double)log < exact ? INFINITY : -INFINITY);
}

enum { IEEE, MOVED, SM_90, DEVICES };
static mp_quant_device devices[DEVICES] = {[IEEE] = {quotient, fast, reciprocal, nearest_log2},
                                           [MOVED] = {moved, moved_fast, reciprocal, moved_log2}};

/* ---- tests ---- */

typedef struct tally {
    int64_t values, ranges, at_low, at_high, scale_ranges;
} tally;

static void check_unit(mp_quantiser which, mp_dtype dtype, const mp_quant_device *device, const float *x,
                       tally *t) {
    const mp_quantisation q = quantisation_for(which, dtype, x, UNIT);
    const mp_quant_unit unit = unit_of(x, UNIT);
    const mp_quant_prediction o = mp_predict_scale(&q, device, &unit);
    const mp_quant_range scales = mp_quant_scales(&q, &unit);
    const mp_quant_range factor = mp_quant_factors(&q, &unit, o.scale);
    uint8_t code[UNIT];
    mp_predict_codes(&q, device, &o, x, UNIT, code);
    const mp_dtype codes = mp_quantiser_codes(which);
    uint8_t low[UNIT], high[UNIT];
    if (!(o.scale >= scales.low && o.scale <= scales.high))
        fail_msg("%s: a scale of %a; expected %a to %a", mp_quantiser_name(which), o.scale, scales.low,
                 scales.high);
    t->scale_ranges += scales.low < scales.high;
    assert_int_equal(mp_quant_zero(&q, &unit, o.scale), o.zero);
    mp_quant_codes(&q, &unit, factor, o.zero, x, UNIT, low, high);
    for (int i = 0; i < UNIT; i++) {
        t->values++;
        t->ranges += low[i] != high[i];
        t->at_low += low[i] != high[i] && code[i] == low[i];
        t->at_high += low[i] != high[i] && code[i] == high[i];
        if (!mp_quant_code_fits(codes, code[i], low[i], high[i]))
            fail_msg("%s of %s: %a by a scale of %a became %02X; expected %02X to %02X",
                     mp_quantiser_name(which), mp_dtype_name(dtype), (double)x[i], o.scale, code[i], low[i],
                     high[i]);
    }
}

static bool is_approximate(mp_quantiser q) {
    switch (q) {
    case MP_QUANT_SGL_FP8_TOKEN:
    case MP_QUANT_SGL_FP8_TOKEN_FEW:
    case MP_QUANT_SGL_FP8_GROUP:
    case MP_QUANT_SGL_INT8_GROUP:
    case MP_QUANT_SGL_INT8_GROUP_TRITON:
    case MP_QUANT_TRITON_INT8_TOKEN:
    case MP_QUANT_VLLM_FP8_GROUP_TRITON:
    case MP_QUANT_VLLM_MXFP4: return true; /* whose 2^-127 may have been flushed */
    default: return mp_unpredictable_quantiser(q) != NULL;
    }
}

static void kernels_are_in_their_sets(void **state) {
    (void)state;
    static const mp_dtype dtypes[] = {MP_BF16, MP_FP16, MP_FP32};
    for (int i = 0; i < MP_QUANTISER_COUNT; i++) {
        tally t = {0};
        for (int round = 0; round < 1200; round++) {
            const mp_dtype dtype = dtypes[round % 3];
            float x[UNIT];
            const mp_quant_device *device = &devices[round / 3 % DEVICES];
            draw_unit(dtype,
                      dtype == MP_FP16 ? below(30) - 15
                      : round % 2      ? below(16) - 8
                                       : below(230) - 120,
                      x);
            if (round % 60 < 30 && dtype != MP_FP16 && below(20) == 0)
                draw_unit(dtype, 127, x); /* near the end */
            if (round % 40 < 3) memset(x, 0, sizeof x);
            if (round % 100 < 3)
                for (int k = 0; k < UNIT; k++) x[k] = 0x1p-40f; /* below epsilon; max = min */
            check_unit((mp_quantiser)i, dtype, device, x, &t);
        }
        /* the sets are not wider than they must be */
        if (!is_approximate((mp_quantiser)i)) {
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
                const bool exact = !by_log || (step == 0 && powers[i] == MP_QUANT_VLLM_UE8M0_GROUP);
                if (exact) assert_true(scales.low == scales.high);
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

/* Where 127/a is exact a product can be a tie: away from zero is not to even for half of them. */
static void halves_go_away_from_zero(void **state) {
    (void)state;
    int ties = 0;
    for (int i = 0; i < 126; i++) {
        float x[2] = {1, ((float)i + 0.5f) / 127.0f};
        if (x[1] * 127.0f != (float)i + 0.5f) continue;
        for (int sign = 0; sign < 2; sign++, x[1] = -x[1]) {
            const mp_quantisation q = {MP_QUANT_TRITON_INT8_TOKEN, MP_FP32, 1, INFINITY};
            const mp_quant_unit unit = unit_of(x, 2);
            const mp_quant_prediction p = mp_predict_scale(&q, &devices[IEEE], &unit);
            uint8_t low[2], high[2], code[2];
            mp_predict_codes(&q, &devices[IEEE], &p, x, 2, code);
            mp_quant_codes(&q, &unit, mp_quant_factors(&q, &unit, p.scale), 0, x, 2, low, high);
            assert_int_equal((int8_t)low[1], sign ? -(i + 1) : i + 1);
            assert_int_equal(high[1], low[1]);
            assert_int_equal(code[1], low[1]);
            ties++;
        }
    }
    assert_true(ties > 50);
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
    return mp_quant_device_sm90(&devices[SM_90], &err) != MP_OK;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_are_in_their_sets),
        cmocka_unit_test(powers_of_two_and_their_neighbours),
        cmocka_unit_test(halves_go_away_from_zero),
        cmocka_unit_test(infinite_values),
    };
    return cmocka_run_group_tests(tests, ready, NULL);
}
