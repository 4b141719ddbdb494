/* SPDX-License-Identifier: Apache-2.0 */
/* harness/checks/check_repeats.c: faults that show only when the case runs again, and what must repeat. */
#include "tests/spoiled.h"

#include <string.h>

static void one_run_says_nothing_about_repeating(void **state) {
    (void)state;
    const mp_run_options once = {.settings.repeat = 1};
    const mp_verdict *v = judge("M=4 topk=2 K=32 N=16", NULL, NULL, false, &once);
    assert_int_equal(v->outcome, MP_PASS);
    assert_int_equal(v->check[MP_CHECK_REPEAT].answer, MP_NOT_JUDGED);
    assert_string_equal(v->check[MP_CHECK_REPEAT].text, "one run only");
}

/* A run that repeats nothing, since nothing is promised or no row has a result, has not repeated. */
static void a_repeat_that_compared_nothing_is_not_judged(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
        bool unordered;
    } rows[] = {{"M=8 topk=2 N=16 scope=act", "the contract promises no bits that repeat", true},
                {"M=8 topk=2 N=16 scope=act filter=1", "nothing to compare", false},
                {"M=8 topk=2 N=16 scope=act", "", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int strict = 0; strict < 2; strict++) {
            const mp_run_options options = {.settings = {.repeat = 3, .strict = strict}};
            const mp_verdict *v =
                judge_by((spoiled){.unordered = rows[i].unordered}, rows[i].text, NULL, &options);
            const mp_check_result *repeat = &v->check[MP_CHECK_REPEAT];
            const bool asked = strict && !rows[i].unordered && rows[i].why[0];
            assert_int_equal(v->outcome, asked ? MP_FAIL : MP_PASS);
            assert_int_equal(repeat->answer, asked ? MP_FAILED : rows[i].why[0] ? MP_NOT_JUDGED : MP_PASSED);
            if (!strstr(repeat->text, rows[i].why)) fail_msg("%s: %s", rows[i].text, repeat->text);
        }
}

/* One expert has all slots: any order of them is right where none is promised. */
static mp_status exchanged_slots(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)c, (void)err;
    int32_t *sorted = trace->t[MP_SORTED_TOKEN_IDS].data;
    if (run != 1) return MP_OK;
    const int32_t first = sorted[0];
    sorted[0] = sorted[1];
    sorted[1] = first;
    return MP_OK;
}

static void an_order_that_is_not_promised_may_change(void **state) {
    (void)state;
    const char *text = "M=8 E=1 topk=1 K=32 N=16 rsf=2";
    assert_int_equal(
        judge_by((spoiled){.spoil = exchanged_slots, .any_order = true}, text, NULL, NULL)->outcome, MP_PASS);
    assert_int_equal(judge_by((spoiled){.spoil = exchanged_slots}, text, NULL, NULL)->outcome, MP_FAIL);
}

/* ---- sums in any order ---- */

static mp_status wrong_in_the_second_run(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)c, (void)err;
    if (run == 1) ((int32_t *)trace->t[MP_EXPERT_IDS].data)[0] ^= 1;
    return MP_OK;
}

static mp_status other_bits_in_the_second_run(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)c, (void)err;
    if (run == 1) ((uint16_t *)trace->t[MP_CACHE2].data)[3] ^= 1;
    return MP_OK;
}

static mp_status another_sum_in_the_second_run(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)c, (void)err;
    if (run == 1) ((uint16_t *)trace->t[MP_OUT].data)[3] ^= 1;
    return MP_OK;
}

/* Between what is read and the first tensor that is shown any stage may be the one that does not repeat. */
static void where_hidden_stages_begin_to_differ(void **state) {
    (void)state;
    const mp_tensor_set caches = MP_IN_SET(MP_CACHE1) | MP_IN_SET(MP_CACHE2) | MP_IN_SET(MP_CACHE3);
    static const struct {
        mp_tensor_set shown; /* of the caches */
        const char *begins;
    } rows[] = {{0, "begins in gate_up..combine: "},
                {MP_IN_SET(MP_CACHE1), "begins in act..combine: "},
                {MP_IN_SET(MP_CACHE1) | MP_IN_SET(MP_CACHE2) | MP_IN_SET(MP_CACHE3), "begins in combine: "}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const mp_verdict *v =
            judge_by((spoiled){.spoil = another_sum_in_the_second_run, .hides = caches & ~rows[i].shown},
                     "M=8 topk=2 K=32 N=16", NULL, NULL);
        assert_int_equal(v->check[MP_CHECK_REPEAT].answer, MP_FAILED);
        assert_int_equal(v->check[MP_CHECK_BOUND].answer, MP_PASSED);
        if (strncmp(v->begins, rows[i].begins, strlen(rows[i].begins)) != 0) fail_msg("%s", v->begins);
    }
}

static void an_unordered_sum_excuses_the_sum_only(void **state) {
    (void)state;
    const char *text = "M=4 E=4 topk=4 K=32 N=16 act=silu fused_sum=1";
    assert_int_equal(judge(text, NULL, NULL, true, NULL)->outcome, MP_PASS);
    expect_failure(judge(text, NULL, wrong_in_the_second_run, true, NULL), MP_CHECK_INTEGER, "expert_ids");
    assert_int_equal(judge(text, NULL, other_bits_in_the_second_run, true, NULL)->outcome, MP_FAIL);
}

/* The sum, twice as large as it is. */
static mp_status doubled_in_the_second_run(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)c, (void)err;
    const mp_tensor *out = &trace->t[MP_OUT];
    for (int64_t i = 0; run == 1 && i < mp_tensor_count(out); i++)
        mp_encode(out->dtype, out->data, i, 2 * mp_decode(out->dtype, out->data, i));
    return MP_OK;
}

static void an_unordered_sum_keeps_its_bounds_in_every_run(void **state) {
    (void)state;
    expect_failure(
        judge("M=4 E=4 topk=4 K=32 N=16 act=silu fused_sum=1", NULL, doubled_in_the_second_run, true, NULL),
        MP_CHECK_BOUND, "with another poison");
}

/* One bit of the sum: an order of additions that is another one, in two runs of seven. */
static mp_status another_sum_now_and_then(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)c, (void)err;
    if (run == 2 || run == 4) ((uint16_t *)mp_tensor_row(&trace->t[MP_OUT], 1))[3] ^= 1;
    if (run == 4) ((uint16_t *)mp_tensor_row(&trace->t[MP_OUT], 3))[0] ^= 1;
    return MP_OK;
}

/* Where no order is promised it may be another one from run to run, unless that is demanded; the runs and the
 * tokens that differ are named. */
static void determinism_can_be_demanded(void **state) {
    (void)state;
    const char *text = "M=4 E=4 topk=4 K=32 N=16 act=silu fused_sum=1";
    static const struct {
        bool demanded, unordered, differs;
        mp_answer answer;
    } rows[] = {{false, true, true, MP_NOT_JUDGED},
                {true, true, true, MP_FAILED},
                {true, true, false, MP_PASSED},
                {true, false, false, MP_PASSED}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const mp_run_options options = {
            .settings = {.repeat = 8, .deterministic = rows[i].demanded, .strict = rows[i].demanded}};
        const mp_verdict *v =
            judge(text, NULL, rows[i].differs ? another_sum_now_and_then : NULL, rows[i].unordered, &options);
        assert_int_equal(v->check[MP_CHECK_REPEAT].answer, rows[i].answer);
        assert_int_equal(v->outcome, rows[i].answer == MP_FAILED ? MP_FAIL : MP_PASS);
        if (rows[i].answer != MP_FAILED) continue;
        expect_failure(v, MP_CHECK_REPEAT, "2 of 7 repeats differ, in 2 of 4 tokens: 1 3 (the contract");
        expect_failure(v, MP_CHECK_REPEAT, "token 1 column 3");
        assert_non_null(strstr(v->repro, "--repeat 8 --deterministic"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_run_says_nothing_about_repeating),
        cmocka_unit_test(a_repeat_that_compared_nothing_is_not_judged),
        cmocka_unit_test(an_order_that_is_not_promised_may_change),
        cmocka_unit_test(where_hidden_stages_begin_to_differ),
        cmocka_unit_test(an_unordered_sum_excuses_the_sum_only),
        cmocka_unit_test(an_unordered_sum_keeps_its_bounds_in_every_run),
        cmocka_unit_test(determinism_can_be_demanded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
