/* SPDX-License-Identifier: Apache-2.0 */
/* Codes and scales of activations under the bits oracle: which quantisers are predicted, what of their
 * tensors is compared, and that a code which is another is seen. */
#include "harness/judge/judge.h"
#include "harness/judge/judge_bits.h"
#include "moeparity/config.h"
#include "ref/predict/predict.h"
#include "tests/ref_support.h"

#include <stdio.h>

typedef struct bench {
    mp_case c;
    mp_inputs in;
    mp_config config;
    mp_contract contract;
    mp_trace trace;
} bench;

/* A case as predicted under the host's contract, with another quantiser. */
static void start(bench *b, const char *text, const char *quantiser) {
    mp_error err = {0};
    *b = (bench){.c = case_of(text)};
    assert_int_equal(mp_inputs_create(&b->c, &b->in, &err), MP_OK);
    assert_int_equal(mp_config_resolve(&b->c, NULL, &b->config, &err), MP_OK);
    b->contract = mp_host_contract(&b->c);
    for (int s = 0; s < MP_STAGE_COUNT; s++) b->contract.promise[s].bits = MP_BITS_REQUIRED;
    assert_int_equal(mp_contract_set(&b->contract, "quantiser", quantiser, &err), MP_OK);
}

static mp_status predict(bench *b) {
    mp_error err = {0};
    return mp_host_predict(&b->contract, &b->c, &b->in, b->config.up.block_size_m, MP_POISON_A, &b->trace,
                           &err);
}

static void stop(bench *b) {
    mp_trace_destroy(&b->trace);
    mp_inputs_destroy(&b->in);
}

static const mp_verdict *verdict_of(const bench *b) {
    static mp_verdict v; /* large */
    mp_error err = {0};
    mp_verdict_free(&v);
    mp_verdict_init(&v);
    if (mp_judge(&b->c, &b->contract, NULL, &b->in, &b->trace, MP_POISON_A, MP_ENGINE_PLAIN, &v, &err) ||
        mp_judge_bits(&b->c, &b->contract, &b->config, &b->in, &b->trace, &v, &err))
        fail_msg("%s", err.text);
    return &v;
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
    stop(&b);
}

/* Those that divide approximately too; and what is predicted is what the formula allows. */
static void quantisers_of_packages_are_predicted(void **state) {
    (void)state;
    static const struct {
        const char *scheme, *quantiser;
    } rows[] = {
        {"fp8-channel", "sgl-fp8-token"},  {"fp8-channel", "sgl-fp8-token-few"},
        {"fp8-channel", "vllm-fp8-token"}, {"fp8-block", "sgl-fp8-group"},
        {"fp8-block", "vllm-fp8-group"},   {"fp8-block", "vllm-fp8-group-triton"},
        {"int8-block", "sgl-int8-group"},  {"int8-block", "sgl-int8-group-triton"},
        {"int8-block", "vllm-int8-group"}, {"int8-channel", "triton-int8-token"},
        {"fp8-tensor", "sgl-fp8-tensor"},  {"fp8-tensor-static", "sgl-fp8-static"},
    };
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
        stop(&b);
    }
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
    stop(&b);
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
    stop(&b);
}

static void what_is_not_known_is_not_predicted(void **state) {
    (void)state;
    static const char *const nan = "what becomes of a NaN is not known";
    why_not("M=5 quant=int8-channel", "triton-int8-token", NULL);
    why_not("M=5 quant=int8-channel data=special", "triton-int8-token", nan);
    why_not("M=5 quant=fp8-channel data=special", "sgl-fp8-token", NULL);
    why_not("M=5 quant=fp8-block", "vllm-ue8m0-group", "log2f is known to an ulp only");
    why_not("M=5 quant=fp8-block", "any", "who quantises is not said");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_limit_that_nobody_gives_limits_nothing),
        cmocka_unit_test(quantisers_of_packages_are_predicted),
        cmocka_unit_test(a_scale_of_all_rows_is_compared_once),
        cmocka_unit_test(what_is_not_known_is_not_predicted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
