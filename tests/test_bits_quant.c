/* SPDX-License-Identifier: Apache-2.0 */
/* Codes and scales of activations under the bits oracle: which quantisers are predicted, what of their
 * tensors is compared, and that a code which is another is seen. */
#include "cases/scheme.h"
#include "tests/bench_support.h"

#include <stdio.h>

static void start(bench *b, const char *text, const char *quantiser) {
    open_bench(b, text);
    say(b, "quantiser", quantiser);
}

/* scale = amax / 448 of a row, in float32. */
static void a_limit_that_nobody_gives_limits_nothing(void **state) {
    (void)state;
    bench b;
    start(&b, "M=6 E=4 topk=2 K=64 N=32 quant=fp8-channel", "vllm-fp8-token");
    assert_int_equal(predict(&b), MP_OK);
    for (int64_t row = 0; row < b.c.M; row++) {
        float amax = 0;
        for (int64_t k = 0; k < b.c.K; k++)
            amax = fmaxf(amax, fabsf((float)mp_decode(b.c.dtype, b.in.t[MP_X].data, row * b.c.K + k)));
        assert_true(((const float *)b.trace.t[MP_X_SCALE].data)[row] == amax / 448);
    }
    close_bench(&b);
}

enum { OPEN = -1 };
static const struct {
    const char *scheme, *quantiser;
    int nan; /* the code that a NaN gets; OPEN: any */
} rows[] = {
    {"fp8-channel", "sgl-fp8-token", 0x7E},
    {"fp8-channel", "sgl-fp8-token-few", 0x7E},
    {"fp8-channel", "vllm-fp8-token", 0x7E},
    {"fp8-block", "sgl-fp8-group", 0x7F},
    {"fp8-block", "vllm-fp8-group", 0xFE},
    {"fp8-block", "vllm-fp8-group-triton", OPEN},
    {"int8-block", "sgl-int8-group", 0x80},
    {"int8-block", "sgl-int8-group-triton", OPEN},
    {"int8-block", "vllm-int8-group", 0x80},
    {"int8-channel", "triton-int8-token", OPEN},
    {"fp8-tensor", "sgl-fp8-tensor", 0x7E},
    {"fp8-tensor-static", "sgl-fp8-static", 0x7E},
    {"fp8-tensor", "vllm-fp8-tensor", 0x7E},
    {"fp8-tensor-static", "vllm-fp8-static", 0x7E},
    {"fp8-block-ue8m0", "sgl-ue8m0-group", 0x7F},
    {"int8-channel", "vllm-int8-token", 0},
    {"fp8-block", "fp8", 0x7F},
    {"fp8-block-ue8m0", "fp8-ue8m0", 0x7F},
    {"fp8-tensor-static", "fp8-static", 0x7F},
    {"int8-block", "int8", 0},
    {"mxfp8", "mxfp8", 0x7F},
};

/* Those that divide approximately too; and what is predicted is what the formula allows. */
static void quantisers_of_packages_are_predicted(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        bench b;
        char text[160];
        snprintf(text, sizeof text, "M=5 E=4 topk=2 K=256 N=128 quant=%s", rows[i].scheme);
        start(&b, text, rows[i].quantiser);
        assert_int_equal(predict(&b), MP_OK);
        const mp_verdict *v = verdict_of(&b);
        if (v->check[MP_CHECK_BOUND].answer != MP_PASSED || v->check[MP_CHECK_BITS].answer != MP_PASSED)
            fail_msg("%s: %s %s", rows[i].quantiser, v->check[MP_CHECK_BOUND].text,
                     v->check[MP_CHECK_BITS].text);
        for (int s = MP_QUANT_X; s <= MP_QUANT_ACT; s += MP_QUANT_ACT - MP_QUANT_X) {
            assert_true(v->stage[s].predicted >= b.c.M * (s == MP_QUANT_X ? b.c.K : b.c.N));
            assert_int_equal(v->stage[s].mispredicted, 0);
        }
        ((uint8_t *)b.trace.t[MP_X_CODES].data)[7] ^= 1;
        v = verdict_of(&b);
        assert_int_equal(v->check[MP_CHECK_BITS].answer, MP_FAILED);
        assert_int_equal(v->stage[MP_QUANT_X].mispredicted, 1);
        close_bench(&b);
    }
}

/* A NaN at x[2][5], and what the judge says of a code there, and of its neighbour's. */
static void a_nan_is_what_is_told_or_anything(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        bench b;
        char text[160];
        snprintf(text, sizeof text, "M=5 K=256 scope=quant_x quant=%s", rows[i].scheme);
        start(&b, text, rows[i].quantiser);
        const int64_t at = 2 * b.c.K + 5;
        mp_encode(b.c.dtype, b.in.t[MP_X].data, at, (double)NAN);
        assert_int_equal(predict(&b), MP_OK);
        uint8_t *code = b.trace.t[MP_X_CODES].data;
        if (rows[i].nan != OPEN) assert_int_equal(code[at], rows[i].nan);
        const mp_verdict *v = verdict_of(&b);
        if (v->check[MP_CHECK_BOUND].answer != MP_PASSED || v->check[MP_CHECK_BITS].answer != MP_PASSED)
            fail_msg("%s: %s %s", rows[i].quantiser, v->check[MP_CHECK_BOUND].text,
                     v->check[MP_CHECK_BITS].text);
        const mp_tensor *scale = mp_codes_scale(&b.c, b.trace.t, MP_QUANT_X);
        assert_int_equal(v->stage[MP_QUANT_X].predicted,
                         b.c.M * b.c.K - (rows[i].nan == OPEN) + (scale->data ? mp_tensor_count(scale) : 0));
        if (rows[i].nan == OPEN) {
            const char *said = v->check[MP_CHECK_BOUND].text;
            if (!strstr(said, "of numbers that are none may be anything"))
                fail_msg("%s: %s", rows[i].quantiser, said);
            assert_non_null(strstr(v->check[MP_CHECK_BITS].text, "codes of NaN may be anything"));
        }
        const uint8_t kept = code[at];
        for (int other = 0; other < 256; other += 51) {
            if (other == kept) continue;
            code[at] = (uint8_t)other;
            v = verdict_of(&b);
            const mp_answer wanted = rows[i].nan == OPEN ? MP_PASSED : MP_FAILED;
            assert_int_equal(v->check[MP_CHECK_BOUND].answer, wanted);
            assert_int_equal(v->stage[MP_QUANT_X].mispredicted, rows[i].nan != OPEN);
        }
        code[at] = kept;
        code[at + 1] ^= 0x40;
        v = verdict_of(&b);
        assert_int_equal(v->check[MP_CHECK_BOUND].answer, MP_FAILED);
        assert_int_equal(v->stage[MP_QUANT_X].mispredicted, 1);
        close_bench(&b);
    }
}

/* Of no quantiser by name: a NaN may be left out of the scale, or be all of it; of that row alone. */
static void without_a_name_a_nan_may_spread(void **state) {
    (void)state;
    bench b;
    start(&b, "M=5 K=256 scope=quant_x quant=fp8-channel", "fp8");
    mp_encode(b.c.dtype, b.in.t[MP_X].data, 2 * b.c.K + 5, (double)NAN);
    assert_int_equal(predict(&b), MP_OK);
    say(&b, "quantiser", "any");
    float *scale = b.trace.t[MP_X_SCALE].data;
    assert_int_equal(verdict_of(&b)->check[MP_CHECK_BOUND].answer, MP_PASSED);
    scale[2] = NAN;
    memset((uint8_t *)b.trace.t[MP_X_CODES].data + 2 * b.c.K, 0x7F, (size_t)b.c.K);
    assert_int_equal(verdict_of(&b)->check[MP_CHECK_BOUND].answer, MP_PASSED);
    scale[1] = NAN;
    assert_int_equal(verdict_of(&b)->check[MP_CHECK_BOUND].answer, MP_FAILED);
    close_bench(&b);
}

/* Codes that nobody sees: a right subject passes whatever its NaN became, and is judged elsewhere. */
static void hidden_codes_of_a_nan_fail_nobody(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        bench b;
        char text[160];
        snprintf(text, sizeof text, "M=5 E=4 topk=2 K=256 N=128 quant=%s", rows[i].scheme);
        start(&b, text, rows[i].quantiser);
        mp_encode(b.c.dtype, b.in.t[MP_X].data, 2 * b.c.K + 5, (double)NAN);
        assert_int_equal(predict(&b), MP_OK);
        for (int id = MP_X_CODES; id <= MP_X_TENSOR_SCALE; id++) mp_tensor_free(&b.trace.t[id]);
        const mp_verdict *v = verdict_of(&b);
        for (int check = 0; check < MP_CHECK_COUNT; check++)
            if (v->check[check].answer == MP_FAILED)
                fail_msg("%s: %s", rows[i].quantiser, v->check[check].text);
        if (rows[i].nan == OPEN) assert_int_equal(v->stage[MP_GATE_UP].predicted, 0);
        const int64_t at = mp_tensor_row_length(&b.trace.t[MP_CACHE1]) * b.c.topk; /* of the second token */
        mp_encode(b.c.dtype, b.trace.t[MP_CACHE1].data, at, 1e4);
        if (verdict_of(&b)->check[MP_CHECK_BOUND].answer != MP_FAILED)
            fail_msg("%s: an error behind another token is not seen", rows[i].quantiser);
        close_bench(&b);
    }
}

/* Of act and the quantiser as one kernel: numbers that nobody sees, whose codes and scales are shown. */
static void codes_of_hidden_numbers_are_judged(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        bench b;
        char text[160];
        snprintf(text, sizeof text, "M=5 E=4 topk=2 K=256 N=128 quant=%s", rows[i].scheme);
        start(&b, text, rows[i].quantiser);
        assert_int_equal(predict(&b), MP_OK);
        const int64_t saturated = verdict_of(&b)->stage[MP_QUANT_ACT].saturated;
        mp_tensor_free(&b.trace.t[MP_CACHE2]);
        const mp_verdict *v = verdict_of(&b);
        for (int check = 0; check < MP_CHECK_COUNT; check++)
            if (v->check[check].answer == MP_FAILED)
                fail_msg("%s: %s", rows[i].quantiser, v->check[check].text);
        assert_true(v->stage[MP_QUANT_ACT].judged);
        assert_int_equal(v->stage[MP_QUANT_ACT].saturated, saturated);
        assert_int_equal(v->stage[MP_QUANT_ACT].mispredicted, 0);
        uint8_t *code = b.trace.t[MP_CACHE2_CODES].data;
        code[3 * b.c.N + 5] ^= 0x40; /* another binade, or half of what int8 has */
        v = verdict_of(&b);
        assert_int_equal(v->check[MP_CHECK_BOUND].answer, MP_FAILED);
        assert_int_equal(v->stage[MP_QUANT_ACT].mispredicted, 1);
        code[3 * b.c.N + 5] ^= 0x40;
        const mp_tensor *scale = mp_codes_scale(&b.c, b.trace.t, MP_QUANT_ACT);
        if (mp_scheme_of(&b.c)->made) { /* codes that fit a scale which no amax has */
            const double made = mp_decode(scale->dtype, scale->data, 0);
            mp_encode(scale->dtype, scale->data, 0, 4 * made);
            v = verdict_of(&b);
            assert_int_equal(v->check[MP_CHECK_BOUND].answer, MP_FAILED);
            if (!strstr(v->check[MP_CHECK_BOUND].text, "elements fail") &&
                !strstr(v->check[MP_CHECK_BOUND].text, "scale 0 is"))
                fail_msg("%s: %s", rows[i].quantiser, v->check[MP_CHECK_BOUND].text);
            assert_true(isinf(v->stage[MP_QUANT_ACT].max_ratio));
        }
        close_bench(&b);
    }
}

/* Codes without their scales are no output of quant_x: they are made again for the stage behind. What the
 * subject shows stays what it is, for a golden and a second run are compared with that. */
static void shown_codes_without_scales_are_not_written_to(void **state) {
    (void)state;
    bench b;
    start(&b, "M=5 E=4 topk=2 K=256 N=128 quant=fp8-block", "fp8");
    assert_int_equal(predict(&b), MP_OK);
    mp_tensor_free(&b.trace.t[MP_X_SCALE]);
    uint8_t *const code = b.trace.t[MP_X_CODES].data, wrong = code[7] ^ 0x11;
    code[7] = wrong;
    const mp_verdict *v = verdict_of(&b);
    assert_int_equal(v->check[MP_CHECK_BITS].answer, MP_PASSED);
    assert_int_equal(v->stage[MP_GATE_UP].predicted, mp_tensor_count(&b.trace.t[MP_CACHE1]));
    assert_int_equal(code[7], wrong);
    close_bench(&b);
}

/* Not one for each row, whatever lies behind it. */
static void a_scale_of_all_rows_is_compared_once(void **state) {
    (void)state;
    bench b;
    start(&b, "M=5 E=4 topk=2 K=64 N=32 quant=fp8-tensor", "vllm-fp8-tensor");
    assert_int_equal(predict(&b), MP_OK);
    const mp_verdict *v = verdict_of(&b);
    assert_int_equal(v->stage[MP_QUANT_X].predicted, b.c.M * b.c.K + 1);
    assert_int_equal(v->stage[MP_QUANT_ACT].predicted, mp_case_slots(&b.c) * b.c.N + 1);
    *(float *)b.trace.t[MP_X_TENSOR_SCALE].data *= 1 + 0x1p-23f;
    assert_int_equal(verdict_of(&b)->stage[MP_QUANT_X].mispredicted, 1);
    close_bench(&b);
}

static void why_not(const char *text, const char *quantiser, const char *expected) {
    bench b;
    start(&b, text, quantiser);
    const char *why = mp_unpredictable_quant_x(&b.contract, &b.c);
    if (expected)
        assert_string_equal(why, expected);
    else
        assert_null(why);
    if (expected) assert_int_equal(predict(&b), MP_EUNSUPPORTED);
    close_bench(&b);
}

static void what_is_not_known_is_not_predicted(void **state) {
    (void)state;
    why_not("M=5 quant=int8-channel data=special", "triton-int8-token", NULL);
    why_not("M=5 quant=fp8-channel data=special", "sgl-fp8-token", NULL);
    why_not("M=5 quant=fp8-block", "vllm-ue8m0-group", "log2f is known to an ulp only");
    why_not("M=5 quant=fp8-block", "any", "who quantises is not said");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_limit_that_nobody_gives_limits_nothing),
        cmocka_unit_test(quantisers_of_packages_are_predicted),
        cmocka_unit_test(a_nan_is_what_is_told_or_anything),
        cmocka_unit_test(without_a_name_a_nan_may_spread),
        cmocka_unit_test(hidden_codes_of_a_nan_fail_nobody),
        cmocka_unit_test(codes_of_hidden_numbers_are_judged),
        cmocka_unit_test(shown_codes_without_scales_are_not_written_to),
        cmocka_unit_test(a_scale_of_all_rows_is_compared_once),
        cmocka_unit_test(what_is_not_known_is_not_predicted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
