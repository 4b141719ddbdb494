/* SPDX-License-Identifier: Apache-2.0 */
/* ref/contract_words.c: what is written as words reads as the same contract, whatever preset it starts from;
 * who says nothing has promised what any sane kernel meets. */
#include "ref/contract_words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const presets[] = {"float64",
                                      "ieee-any-order",
                                      "sm_80",
                                      "sm_89",
                                      "sm_90",
                                      "sm_90-cuda-math",
                                      "sm_100-triton",
                                      "gfx908",
                                      "gfx90a",
                                      "gfx942",
                                      "sm_100-block-scaled",
                                      "weakest",
                                      "any"};

static void add_field(void *ctx, const char *name, const char *value) {
    mp_text_add(ctx, "%s=%s\n", name, value);
}

static void assert_same(const mp_contract *a, const mp_contract *b) {
    mp_text left = {0}, right = {0};
    mp_contract_fields(a, add_field, &left);
    mp_contract_fields(b, add_field, &right);
    assert_string_equal(mp_text_get(&left), mp_text_get(&right));
    mp_text_free(&left);
    mp_text_free(&right);
}

static mp_contract read(const char *words, const mp_case *c) {
    mp_contract contract;
    mp_error err;
    if (mp_contract_of_words(words, c, &contract, &err) != MP_OK) fail_msg("'%s': %s", words, err.text);
    return contract;
}

static void what_is_written_is_read(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(presets); i++)
        for (size_t k = 0; k < COUNT(presets); k++) {
            mp_case c = mp_case_default();
            mp_text words = {0};
            int differing = -1;
            c.dtype = k % 2 ? MP_FP32 : MP_BF16;
            c.fused_sum = i % 3 == 1;
            c.lora_adapters = 2; /* with all stages that there are: what others promise has no words */
            assert_int_equal(mp_case_set(&c, "quant", "fp8-block", NULL), MP_OK);
            mp_contract contract = read(presets[i], &c);
            contract.promise[MP_ACT].bits = MP_BITS_REPORTED;
            assert_int_equal(mp_contract_to_words(&contract, presets[k], &c, &words, &differing, NULL),
                             MP_OK);
            const mp_contract again = read(mp_text_get(&words), &c);
            assert_same(&again, &contract);
            assert_string_equal(again.preset, presets[k]);
            int equals = 0;
            for (const char *at = mp_text_get(&words); (at = strchr(at, '=')); at++) equals++;
            assert_int_equal(differing, equals);
            if (i == k) assert_true(differing <= 1); /* act.bits */
            mp_text_free(&words);
        }
    mp_text words = {0};
    mp_case c = mp_case_default();
    const mp_contract any = read("any", &c);
    mp_error err;
    assert_int_equal(mp_contract_to_words(&any, "sm_91", &c, &words, NULL, &err), MP_EINPUT);
    assert_string_equal(mp_text_get(&words), "");
}

static void fields_go_over_the_preset(void **state) {
    (void)state;
    mp_case c = mp_case_default();
    mp_contract wanted = read("sm_90", &c), set = wanted;
    wanted.act_ulps = 2.5;
    wanted.act_rounding = MP_ACT_GATE_ROUNDED;
    const mp_contract found = read("  sm_90\tact.ulps=2.5\n act.rounding=gate-rounded ", &c);
    assert_same(&found, &wanted);
    assert_int_equal(mp_contract_set_words(&set, "act.ulps=2.5 act.rounding=gate-rounded", NULL), MP_OK);
    assert_same(&set, &wanted);
    assert_int_equal(mp_contract_set_words(&set, NULL, NULL), MP_OK);
    assert_same(&set, &wanted);
}

static void nothing_said_is_any(void **state) {
    (void)state;
    static const char *const nothing[] = {NULL, "", " \n", "act.ulps=8", "store.overflow=any"};
    mp_case c = mp_case_default();
    const mp_contract any = read("any", &c);
    for (size_t i = 0; i < COUNT(nothing); i++) {
        const mp_contract found = read(nothing[i], &c);
        assert_same(&found, &any);
        assert_string_equal(found.preset, MP_ANY_CONTRACT);
    }
}

static void wrong_words_are_named(void **state) {
    (void)state;
    static const char *const wrong[][2] = {
        {"sm_91", "unknown contract 'sm_91': expected float64, "},
        {"sm_90 act.ulps", "contract: 'act.ulps': expected name=value"},
        {"act.ulps=4 sm_90", "contract: 'sm_90': expected name=value"},
        {"any act.ulp=4", "contract: unknown field 'act.ulp'; there are "},
        {"any act.ulps=many", "act.ulps=many: expected a number"},
        {"any gate_up.accumulator=tensor-core", "expected at least 1 each"},
    };
    mp_case c = mp_case_default();
    mp_contract contract;
    mp_error err;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        assert_int_equal(mp_contract_of_words(wrong[i][0], &c, &contract, &err), MP_EINPUT);
        if (!strstr(err.text, wrong[i][1])) fail_msg("'%s': %s", wrong[i][0], err.text);
    }
    assert_int_equal(mp_contract_set_words(&contract, "sm_90", &err), MP_EINPUT);
    assert_string_equal(err.text, "contract: 'sm_90': expected name=value");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(fields_go_over_the_preset),
        cmocka_unit_test(nothing_said_is_any),
        cmocka_unit_test(wrong_words_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
