/* SPDX-License-Identifier: Apache-2.0 */
/* What holds of every quantiser, and this project's own ones against their float32 formulas. */
#include "quantise_support.h"
#include "ref/predict/quantise.h"
#include "ref/predict/quantise_f32.h"
#include "ref/quant.h"

typedef struct made {
    mp_quantisation q;
    mp_quant_unit unit;
    mp_quant_range scales, factor;
    double scale;
    int32_t zero;
    uint8_t low[UNIT], high[UNIT];
} made;

static made quantised(mp_quantisation q, const float *x, bool upper_scale) {
    made m = {.q = q, .unit = unit_of(x, UNIT)};
    m.scales = mp_quant_scales(&q, &m.unit);
    m.scale = upper_scale ? m.scales.high : m.scales.low;
    m.factor = mp_quant_factors(&q, &m.unit, m.scale);
    m.zero = mp_quant_zero(&q, &m.unit, m.scale);
    mp_quant_codes(&q, &m.unit, m.factor, m.zero, x, UNIT, m.low, m.high);
    return m;
}

static double dequantised(const made *m, uint8_t code) {
    return (mp_decode_code(mp_quantiser_codes(m->q.quantiser), code) - m->zero) * step_of(&m->q, m->scale);
}

/* ---- this project's own ---- */

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void check_own(mp_quantiser which, mp_dtype dtype, const float *x) {
    const mp_quantisation q = quantisation_for(which, dtype, x, UNIT);
    const made m = quantised(q, x, false);
    const mp_quant_device none = {0};
    const mp_quant_prediction predicted = mp_predict_scale(&q, &none, &m.unit);
    uint8_t codes[UNIT];
    float amax = 0;
    for (int i = 0; i < UNIT; i++) amax = mp_quant_amax_f32(amax, x[i]);
    assert_true(amax == m.unit.amax);
    mp_predict_codes(&q, &none, &predicted, x, UNIT, codes);
    assert_true(m.scales.low == m.scales.high || (isnan(m.scales.low) && isnan(m.scales.high)));
    assert_true(predicted.scale == m.scale || (isnan(predicted.scale) && isnan(m.scale)));
    assert_memory_equal(m.low, m.high, UNIT);
    assert_memory_equal(codes, m.low, UNIT);
}

static void own_quantisers_have_the_bits_of_their_float32(void **state) {
    (void)state;
    static const mp_dtype dtypes[] = {MP_BF16, MP_FP16, MP_FP32};
    float x[UNIT];
    for (int round = 0; round < 3000; round++) {
        const mp_dtype dtype = dtypes[round % 3];
        draw_unit(dtype, dtype == MP_FP16 ? below(40) - 24 : below(270) - 145, x);
        if (round % 50 == 0) memset(x, 0, sizeof x);
        if (round % 31 == 0) x[below(UNIT)] = NAN;
        if (round % 37 == 0) x[below(UNIT)] = below(2) ? INFINITY : -INFINITY;
        for (mp_quantiser q = 0; mp_quantiser_is_own(q); q++) check_own(q, dtype, x);
    }
}

/* The conversions alone: every 16-bit float, and every tie of a format with its float32 neighbours. */
static void own_conversions_round_to_nearest_even(void **state) {
    (void)state;
    for (uint32_t code = 0; code < 65536; code++) {
        const float x[] = {(float)mp_decode_code(MP_BF16, code), (float)mp_decode_code(MP_FP16, code)};
        for (int i = 0; i < 2; i++) {
            assert_int_equal(mp_quant_e4m3_f32(x[i]), mp_encode_e4m3_saturate((double)x[i]));
            assert_int_equal(mp_quant_e2m1_f32(x[i]), mp_encode_code(MP_E2M1, (double)x[i]));
            assert_int_equal(mp_quant_int8_f32(x[i]), mp_encode_code(MP_I8, (double)x[i]));
            if (!signbit(x[i]) && isfinite(x[i]))
                assert_int_equal(mp_quant_ue8m0_f32(x[i]), mp_encode_ue8m0_ceil((double)x[i]));
        }
    }
    static const mp_dtype formats[] = {MP_E4M3, MP_E2M1, MP_I8};
    for (int f = 0; f < 3; f++) {
        for (uint32_t code = 0; code < 1u << (mp_dtype_bits(formats[f]) - 1); code++) {
            const double low = mp_decode_code(formats[f], code), high = mp_decode_code(formats[f], code + 1);
            const float tie = (float)((low + high) / 2);
            const float around[] = {nextafterf(tie, -INFINITY), tie, nextafterf(tie, INFINITY)};
            for (int i = 0; i < 6 && !isnan(tie); i++) {
                const float v = i < 3 ? around[i] : -around[i - 3];
                const unsigned got = f == 0   ? mp_quant_e4m3_f32(v)
                                     : f == 1 ? mp_quant_e2m1_f32(v)
                                              : mp_quant_int8_f32(v);
                assert_int_equal(got, f == 0 ? mp_encode_e4m3_saturate((double)v)
                                             : mp_encode_code(formats[f], (double)v));
            }
        }
    }
    for (uint32_t code = 0; code < 0x7F; code++)
        assert_true((double)mp_quant_e4m3_value_f32(code) == mp_decode_code(MP_E4M3, code));
    for (unsigned byte = 0; byte < 255; byte++)
        assert_true((double)mp_quant_factor_f32(byte) == ldexp(1, 127 - (int)byte));
    assert_true(isnan(mp_quant_factor_f32(255)) && bits_of(mp_quant_factor_f32(254)) == 0x00400000);
}

/* Blocks whose scale lies at a tie of e4m3, and beside it: the order of the two divisions counts there. */
static void nvfp4_scales_at_ties(void **state) {
    (void)state;
    for (int round = 0; round < 20000; round++) {
        const uint64_t code = (uint64_t)below(0x7E);
        const double tie = (mp_decode_code(MP_E4M3, code) + mp_decode_code(MP_E4M3, code + 1)) / 2;
        const float global = (float)ldexp(1 + (double)(next_random() >> 12) * 0x1p-52, below(20) - 10);
        float x[UNIT] = {(float)(tie * 6 * (double)global)};
        for (int by = below(3); by > 0; by--) x[0] = nextafterf(x[0], below(2) ? INFINITY : 0);
        const mp_quantisation q = {MP_QUANT_NVFP4, MP_FP32, global, INFINITY};
        const mp_quant_unit unit = unit_of(x, UNIT);
        assert_true(mp_quant_scales(&q, &unit).low ==
                    (double)mp_quant_e4m3_value_f32(mp_quant_nvfp4_scale_f32(x[0], global)));
    }
}

/* ---- all ---- */

/* Of values whose scale is a power of two that makes codes of them, those codes come back. */
static void codes_of_codes_are_themselves(void **state) {
    (void)state;
    for (int i = 0; i < MP_QUANTISER_COUNT; i++) {
        const mp_quantiser which = (mp_quantiser)i;
        if (which == MP_QUANT_VLLM_INT8_TOKEN_ASYM) continue; /* has no such scale */
        const mp_dtype codes = mp_quantiser_codes(which);
        const double largest = mp_dtype_format(codes)->max_finite;
        const int bits = mp_dtype_bits(codes);
        for (int exponent = -8; exponent <= 8; exponent += 4) {
            float x[UNIT];
            uint64_t code[UNIT];
            for (int k = 0; k < UNIT; k++) {
                do {
                    code[k] = next_random() >> (64 - bits);
                } while (isnan(mp_decode_code(codes, code[k])) ||
                         fabs(mp_decode_code(codes, code[k])) > largest || code[k] == 1ull << (bits - 1));
                if (k == 0) code[k] = mp_encode_code(codes, largest);
                x[k] = (float)ldexp(mp_decode_code(codes, code[k]), exponent);
            }
            mp_quantisation q = {which, MP_FP32, (float)ldexp(1, exponent), INFINITY};
            if (which == MP_QUANT_VLLM_NVFP4) q.given = (float)ldexp(1, -exponent);
            const made m = quantised(q, x, false);
            for (int k = 0; k < UNIT; k++) {
                uint64_t expected = code[k];
                if (which == MP_QUANT_SGL_MXFP4 && x[k] == 0) expected = 8;
                const double got[] = {mp_decode_code(codes, m.low[k]), mp_decode_code(codes, m.high[k])};
                const double wanted = mp_decode_code(codes, expected);
                /* a range about it where divisions are approximate, or a number is cut a hair below */
                const double slack = m.scales.low == m.scales.high && m.low[k] == m.high[k] ? 0 : 1;
                assert_true(got[0] - wanted <= 0 && wanted - got[1] <= slack);
                if (slack == 0 && m.scale == ldexp(1, exponent)) assert_int_equal(m.low[k], expected);
            }
        }
    }
}

static void zeros_stay_zeros(void **state) {
    (void)state;
    static const float zeros[UNIT] = {0};
    for (int i = 0; i < MP_QUANTISER_COUNT; i++) {
        const mp_quantiser which = (mp_quantiser)i;
        const bool largest = which == MP_QUANT_SGL_FP8_TENSOR || which == MP_QUANT_VLLM_FP8_TENSOR ||
                             which == MP_QUANT_SGL_FP8_TOKEN_FEW; /* 0 * (1/0), clamped: their scale is 0 */
        for (int upper = 0; upper < 2; upper++) {
            const made m = quantised((mp_quantisation){which, MP_BF16, 0.5f, INFINITY}, zeros, upper);
            const uint8_t expected = largest ? 0x7E : which == MP_QUANT_SGL_MXFP4 ? 8 : 0;
            for (int k = 0; k < UNIT; k++) {
                assert_int_equal(m.low[k], expected);
                assert_int_equal(m.high[k], expected);
                assert_true(dequantised(&m, m.low[k]) == 0);
            }
            assert_true(m.scale >= 0 && m.scale < 1);
        }
    }
}

static void one_nan_does_what_is_told(void **state) {
    (void)state;
    static const struct {
        mp_quantiser which;
        int bf16, fp32; /* code, or OPEN */
    } rows[] = {
        {MP_QUANT_FP8, 0x7F, 0x7F},
        {MP_QUANT_FP8_STATIC, 0x7F, 0x7F},
        {MP_QUANT_FP8_UE8M0, 0x7F, 0x7F},
        {MP_QUANT_INT8, 0, 0},
        {MP_QUANT_MXFP8, 0x7F, 0x7F},
        {MP_QUANT_MXFP4, 7, 7},
        {MP_QUANT_NVFP4, 7, 7},
        {MP_QUANT_SGL_FP8_TENSOR, 0x7E, 0x7E},
        {MP_QUANT_SGL_FP8_STATIC, 0x7E, 0x7E},
        {MP_QUANT_SGL_FP8_TOKEN, 0x7E, 0x7E},
        {MP_QUANT_SGL_FP8_TOKEN_FEW, 0x7E, 0x7E},
        {MP_QUANT_SGL_FP8_GROUP, 0x7F, 0x7E},
        {MP_QUANT_SGL_UE8M0_GROUP, 0x7F, 0x7E},
        {MP_QUANT_SGL_INT8_GROUP, 0x80, 0x80},
        {MP_QUANT_SGL_INT8_GROUP_TRITON, -1, -1},
        {MP_QUANT_SGL_MXFP8, -1, -1},
        {MP_QUANT_SGL_MXFP4, -1, -1},
        {MP_QUANT_TRITON_INT8_TOKEN, -1, -1},
        {MP_QUANT_VLLM_FP8_TENSOR, 0x7E, 0x7E},
        {MP_QUANT_VLLM_FP8_STATIC, 0x7E, 0x7E},
        {MP_QUANT_VLLM_FP8_TOKEN, 0x7E, 0x7E},
        {MP_QUANT_VLLM_FP8_GROUP, 0xFE, 0xFE},
        {MP_QUANT_VLLM_FP8_GROUP_TRITON, -1, -1},
        {MP_QUANT_VLLM_UE8M0_GROUP, 0xFE, 0xFE},
        {MP_QUANT_VLLM_INT8_STATIC, 0, 0},
        {MP_QUANT_VLLM_INT8_TOKEN, 0, 0},
        {MP_QUANT_VLLM_INT8_TOKEN_ASYM, -43, -43}, /* its zero point: rint(-128 - -85) */
        {MP_QUANT_VLLM_INT8_GROUP, 0x80, 0x80},
        {MP_QUANT_VLLM_MXFP8, -1, -1},
        {MP_QUANT_VLLM_MXFP4, -1, -1},
        {MP_QUANT_VLLM_NVFP4, -1, -1},
    };
    assert_int_equal(sizeof rows / sizeof *rows, MP_QUANTISER_COUNT);
    for (int i = 0; i < MP_QUANTISER_COUNT; i++) {
        for (int narrow = 0; narrow < 2; narrow++) {
            float x[UNIT] = {1, -0.5f};
            x[7] = NAN;
            const mp_dtype codes = mp_quantiser_codes(rows[i].which);
            const int code = narrow ? rows[i].bf16 : rows[i].fp32;
            const made m = quantised(
                (mp_quantisation){rows[i].which, narrow ? MP_BF16 : MP_FP32, 1, INFINITY}, x, false);
            if (code != -1) {
                assert_int_equal(m.low[7], (uint8_t)code);
                assert_int_equal(m.high[7], (uint8_t)code);
            } else {
                const double largest = mp_dtype_format(codes)->max_finite;
                assert_true(mp_decode_code(codes, m.high[7]) == largest);
                assert_true(mp_decode_code(codes, m.low[7]) ==
                            (mp_dtype_is_integer(codes) ? -largest - 1 : -largest));
            }
            const bool spreads = rows[i].which == MP_QUANT_SGL_MXFP4 ||
                                 rows[i].which == MP_QUANT_VLLM_MXFP8 || rows[i].which == MP_QUANT_VLLM_NVFP4;
            assert_int_equal(mp_decode_code(codes, m.low[0]) < 0, spreads);
            assert_int_equal(mp_quant_is_open(&m.q, &m.unit), spreads);
            assert_int_equal(mp_quant_code_is_open(codes, m.low[7], m.high[7]), code == -1);
            if (codes == MP_E4M3)
                assert_int_equal(mp_quant_code_fits(codes, 0x7F, m.low[7], m.high[7]),
                                 code == -1 || code == 0x7F);
            float without[UNIT] = {1, -0.5f}; /* the scale is that of the other values */
            const mp_quant_unit others = unit_of(without, UNIT);
            const mp_quant_range scales = mp_quant_scales(&m.q, &others);
            if (spreads) assert_true(m.scales.low < m.scales.high);
            if (!spreads) assert_true(m.scales.low == scales.low && m.scales.high == scales.high);
        }
    }
}

/* Values fall in any order and in any parts. */
static void the_order_of_values_is_nothing(void **state) {
    (void)state;
    float x[UNIT], turned[UNIT];
    for (int round = 0; round < 200; round++) {
        draw_unit(MP_BF16, below(60) - 30, x);
        const int by = below(UNIT);
        for (int k = 0; k < UNIT; k++) turned[(k + by) % UNIT] = x[k];
        mp_quant_unit parts = mp_quant_unit_empty, whole = unit_of(x, UNIT);
        mp_quant_unit_add(&parts, turned, by);
        mp_quant_unit_add(&parts, turned + by, UNIT - by);
        assert_true(parts.amax == whole.amax && parts.min == whole.min && parts.max == whole.max &&
                    parts.has_nan == whole.has_nan);
        for (int i = 0; i < MP_QUANTISER_COUNT; i++) {
            const mp_quantisation q = {(mp_quantiser)i, MP_BF16, 0.01f, INFINITY};
            const made a = quantised(q, x, false), b = quantised(q, turned, false);
            for (int k = 0; k < UNIT; k++) assert_int_equal(a.low[k], b.low[(k + by) % UNIT]);
        }
    }
}

/* Random values, ties and outliers: no code that can be is beyond the bound, and of each quantiser one comes
 * near it. */
static void the_bound_holds_and_is_nearly_reached(void **state) {
    (void)state;
    static const mp_dtype dtypes[] = {MP_BF16, MP_FP16, MP_FP32};
    for (int i = 0; i < MP_QUANTISER_COUNT; i++) {
        const mp_quantiser which = (mp_quantiser)i;
        double worst = 0;
        int64_t judged = 0;
        for (int round = 0; round < 1500; round++) {
            float x[UNIT];
            const mp_dtype dtype = dtypes[round % 3];
            draw_unit(dtype, below(30) - 14, x);
            if (round % 3 == 2) draw_unit(dtype, below(240) - 120, x);
            const mp_quantisation q = quantisation_for(which, dtype, x, UNIT);
            const made m = quantised(q, x, round % 2);
            for (int k = 0; k < UNIT; k++) {
                const double bound = mp_quant_error(&q, m.factor, step_of(&q, m.scale), m.zero, (double)x[k]);
                const double errors[] = {fabs((double)x[k] - dequantised(&m, m.low[k])),
                                         fabs((double)x[k] - dequantised(&m, m.high[k]))};
                if (isinf(bound)) continue;
                judged++;
                if (which == MP_QUANT_VLLM_INT8_TOKEN_ASYM && errors[0] < 0.5 * m.scale) /* not clipped */
                    assert_true(bound <= 0.75 * m.scale);
                for (int end = 0; end < 2; end++) {
                    assert_true(errors[end] <= bound);
                    if (x[k] != 0 && errors[end] > worst * bound) worst = errors[end] / bound;
                }
            }
        }
        if (!(worst > 0.95)) fail_msg("%s: at most %g of the bound", mp_quantiser_name(which), worst);
        if (judged < 1500 * UNIT * 9 / 10)
            fail_msg("%s: %lld values have a bound", mp_quantiser_name(which), (long long)judged);
    }
}

static void a_code_fits_a_range(void **state) {
    (void)state;
    assert_true(mp_quant_code_fits(MP_E4M3, 0x38, 0x38, 0x38));
    assert_false(mp_quant_code_fits(MP_E4M3, 0x80, 0x00, 0x00)); /* one formula, one zero */
    assert_true(mp_quant_code_fits(MP_E4M3, 0x7F, 0x7F, 0x7F));
    assert_true(mp_quant_code_fits(MP_E4M3, 0x7F, 0xFE, 0x7E));  /* nothing is known */
    assert_false(mp_quant_code_fits(MP_E4M3, 0x7F, 0xFE, 0x7D)); /* some number, and no NaN */
    assert_true(mp_quant_code_fits(MP_E4M3, 0xB9, 0xBA, 0xB8) &&
                mp_quant_code_fits(MP_E4M3, 0xB8, 0xBA, 0xB8));
    assert_false(mp_quant_code_fits(MP_E4M3, 0xBB, 0xBA, 0xB8) ||
                 mp_quant_code_fits(MP_E4M3, 0xB7, 0xBA, 0xB8));
    assert_true(mp_quant_code_fits(MP_I8, 0xFF, 0x80, 0x7F) && mp_quant_code_fits(MP_I8, 0xFF, 0xFE, 0));
    assert_false(mp_quant_code_fits(MP_I8, 0xFD, 0xFE, 0));
}

/* Parts of a pass have each row once, with its place; where all rows share a scale there is one part. */
static void parts_have_every_row_once(void **state) {
    (void)state;
    enum { ROWS = 11 };
    const mp_tensor wide = mp_tensor_shape(MP_BF16, 2, ROWS, (int64_t)1 << 20, 1);
    static const int32_t ids[ROWS] = {0, -1, 0, 0, -1, -1, 2, 3, 0, -1, 1};
    int64_t row[ROWS], *places;
    mp_error err = {0};
    for (int r = 0; r < ROWS; r++) row[r] = 100 + r;
    for (int shared = 0; shared < 2; shared++) {
        const mp_quant_pass p = {.from = &wide,
                                 .rows = ROWS,
                                 .row = row,
                                 .topk_ids = ids,
                                 .per = shared ? MP_PER_TENSOR : MP_PER_GROUP,
                                 .group = 1};
        int64_t first = 0, parts = 0;
        assert_int_equal(mp_quant_places(&p, &places, &err), MP_OK);
        for (; first < ROWS; parts++) {
            const mp_quant_pass part = mp_quant_part(&p, places, first);
            assert_in_range(part.rows, 1, ROWS - first);
            for (int64_t r = 0; r < part.rows; r++)
                assert_true(mp_quant_row(&part, r) == (ids[first + r] < 0 ? -1 : 100 + first + r));
            first += part.rows;
        }
        assert_int_equal(first, ROWS);
        assert_int_equal(parts, shared ? 1 : 3);
        free(places);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_quantisers_have_the_bits_of_their_float32),
        cmocka_unit_test(own_conversions_round_to_nearest_even),
        cmocka_unit_test(nvfp4_scales_at_ties),
        cmocka_unit_test(codes_of_codes_are_themselves),
        cmocka_unit_test(zeros_stay_zeros),
        cmocka_unit_test(one_nan_does_what_is_told),
        cmocka_unit_test(the_order_of_values_is_nothing),
        cmocka_unit_test(the_bound_holds_and_is_nearly_reached),
        cmocka_unit_test(a_code_fits_a_range),
        cmocka_unit_test(parts_have_every_row_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
