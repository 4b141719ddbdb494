/* SPDX-License-Identifier: Apache-2.0 */
/* harness/run/strict.c: what was asked for and not judged is a failure, and nothing else is. */
#include "harness/answers.h"
#include "harness/run/strict.h"

#include "harness/judge/judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static mp_verdict v; /* large */

/* A PASS in which the checks of `passed` passed, and the others say why they were not judged. */
static void begin(unsigned passed) {
    mp_verdict_free(&v);
    v.outcome = MP_PASS;
    for (int i = 0; i < MP_CHECK_COUNT; i++)
        if (passed >> i & 1)
            mp_check_pass(&v, (mp_check)i);
        else
            mp_check_not_judged(&v, (mp_check)i, "reason %d", i);
}

static void every_check_that_was_asked_for_counts(void **state) {
    (void)state;
    for (int missing = 0; missing < MP_CHECK_COUNT; missing++)
        for (int asked = 0; asked < 2; asked++) {
            const unsigned others = ~(1u << missing);
            char expected[128];
            begin(others);
            mp_strict_apply(&v, asked ? ~0u : others);
            assert_int_equal(v.outcome, asked ? MP_FAIL : MP_PASS);
            for (int i = 0; i < MP_CHECK_COUNT; i++)
                assert_int_equal(v.check[i].answer, i != missing ? MP_PASSED
                                                    : asked      ? MP_FAILED
                                                                 : MP_NOT_JUDGED);
            snprintf(expected, sizeof expected, "%s: strict: not judged: reason %d",
                     mp_check_name((mp_check)missing), missing);
            assert_string_equal(v.reason, asked ? expected : "");
        }
}

static void what_is_no_pass_keeps_its_reason(void **state) {
    (void)state;
    const mp_outcome outcomes[] = {MP_FAIL, MP_CRASH, MP_TIMEOUT};
    for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++) {
        begin(0);
        v.outcome = outcomes[i];
        v.reason = "as it was";
        mp_strict_apply(&v, ~0u);
        assert_int_equal(v.outcome, outcomes[i]);
        assert_string_equal(v.reason, "as it was");
    }
    begin(0);
    v.outcome = MP_SKIP;
    v.reason = "no GPU";
    mp_strict_apply(&v, 0);
    assert_int_equal(v.outcome, MP_FAIL);
    assert_string_equal(v.reason, "strict: skipped: no GPU");
}

/* Stages that were looked at and have no number: nothing was asked of numbers. One that nobody looked at, or
 * that has one, or that the contract leaves without a bound, is another matter. */
static void where_there_is_no_number_none_is_asked_for(void **state) {
    (void)state;
    const unsigned of_numbers = 1u << MP_CHECK_BOUND | 1u << MP_CHECK_RMS | 1u << MP_CHECK_NAN;
    static const struct {
        bool looked, boundless;
        int64_t compared;
        unsigned missing;
        mp_outcome outcome;
    } of[] = {{true, false, 0, 0, MP_PASS},
              {true, false, 0, 1u << MP_CHECK_BITS, MP_FAIL},
              {false, false, 0, 0, MP_FAIL},
              {true, false, 1, 0, MP_FAIL},
              {true, true, 0, 0, MP_FAIL}};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        begin(~(of_numbers | of[i].missing));
        v.stage[MP_ALIGN].judged = true;
        v.stage[MP_QUANT_X].judged = of[i].looked;
        v.stage[MP_QUANT_X].compared = of[i].compared;
        v.boundless = of[i].boundless;
        mp_strict_apply(&v, ~0u);
        assert_int_equal(v.outcome, of[i].outcome);
    }
    v.stage[MP_ALIGN].judged = v.stage[MP_QUANT_X].judged = v.boundless = false;
}

/* --against has no check of its own: it is one of the pairs. */
static void a_subject_that_was_not_compared_fails(void **state) {
    (void)state;
    begin(~0u);
    v.pair_count = 1;
    v.pair[0] = (mp_pair_figures){.text = "subject cuda", .note = "not run: no GPU"};
    mp_strict_apply(&v, 0);
    assert_int_equal(v.outcome, MP_FAIL);
    assert_string_equal(v.reason, "pair: strict: subject cuda: not run: no GPU");
    begin(~0u);
    v.pair_count = 1;
    v.pair[0] = (mp_pair_figures){.text = "subject cuda", .note = "", .differing = 3};
    mp_strict_apply(&v, 0);
    assert_int_equal(v.outcome, MP_PASS); /* compared: a difference is reported */
}

/* What is asked for follows from the case, the options and the contract. */
static unsigned asked_for(const char *text, const char *pair, const mp_run_options *options,
                          mp_bits_promise bits, bool ordered) {
    mp_matrix matrix = {0};
    mp_error err = {0};
    const bool after = pair && strncmp(pair, "after ", 6) == 0;
    if (mp_matrix_add(&matrix, text, &pair, pair && !after ? 1 : 0, &err) != MP_OK ||
        (after && mp_matrix_add_after(&matrix, text, pair + 6, &err) != MP_OK))
        fail_msg("%s", err.text);
    mp_offer offer = {.contract = mp_contract_weakest(), .exposes = mp_case_outputs(&matrix.rows[0].c)};
    for (int i = 0; i < MP_STAGE_COUNT; i++)
        offer.contract.promise[i] = (mp_stage_promise){bits, ordered, ordered};
    const unsigned asked = mp_strict_asked(&matrix.rows[0], options, &offer);
    offer.exposes = MP_IN_SET(MP_OUT); /* who shows no integers is not asked for them */
    assert_int_equal(mp_strict_asked(&matrix.rows[0], options, &offer),
                     matrix.rows[0].c.scope == MP_SCOPE_ALIGN ? asked : asked & ~(1u << MP_CHECK_INTEGER));
    mp_matrix_free(&matrix);
    return asked;
}

#define BIT(check) (1u << MP_CHECK_##check)

static void what_is_asked_for(void **state) {
    (void)state;
    const unsigned always = BIT(POISON) | BIT(GUARD) | BIT(INPUT), numbers = BIT(BOUND) | BIT(RMS) | BIT(NAN),
                   ordered = BIT(REPEAT) | BIT(PERMUTATION) | BIT(BATCH);
    mp_run_options o = {0};
    assert_int_equal(asked_for("M=4", NULL, &o, MP_BITS_REPORTED, true),
                     always | numbers | ordered | BIT(INTEGER));
    assert_int_equal(asked_for("M=4", NULL, &o, MP_BITS_REQUIRED, false),
                     always | numbers | BIT(INTEGER) | BIT(BITS));
    assert_int_equal(asked_for("M=1", "path=runner", &o, MP_BITS_NONE, true),
                     always | numbers | BIT(INTEGER) | BIT(REPEAT) | BIT(PAIR));
    assert_int_equal(asked_for("M=0 scope=align", "path=chunked", &o, MP_BITS_NONE, true),
                     always | BIT(INTEGER) | BIT(REPEAT));
    assert_int_equal(asked_for("M=4", "after M=9", &o, MP_BITS_NONE, false),
                     always | numbers | BIT(INTEGER) | BIT(SEQUENCE));
    assert_int_equal(asked_for("M=4 scope=align", NULL, &o, MP_BITS_REQUIRED, true),
                     always | BIT(INTEGER) | BIT(REPEAT));
    assert_int_equal(asked_for("M=4 scope=act", NULL, &o, MP_BITS_REQUIRED, true),
                     always | numbers | BIT(REPEAT) | BIT(BITS));
    o.settings.repeat = 1;
    assert_int_equal(asked_for("M=4 scope=combine", NULL, &o, MP_BITS_NONE, true), always | numbers);
    o.golden = (mp_golden *)&o; /* any that is given */
    assert_int_equal(asked_for("M=4 scope=combine", NULL, &o, MP_BITS_NONE, true),
                     always | numbers | BIT(GOLDEN));
    o.settings.golden_partial = true;
    assert_int_equal(asked_for("M=4 scope=combine", NULL, &o, MP_BITS_NONE, true), always | numbers);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_check_that_was_asked_for_counts),
        cmocka_unit_test(what_is_no_pass_keeps_its_reason),
        cmocka_unit_test(where_there_is_no_number_none_is_asked_for),
        cmocka_unit_test(a_subject_that_was_not_compared_fails),
        cmocka_unit_test(what_is_asked_for),
    };
    mp_verdict_init(&v);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mp_verdict_free(&v);
    return failed;
}
