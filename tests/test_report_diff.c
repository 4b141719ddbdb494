/* SPDX-License-Identifier: Apache-2.0 */
/* reports/diff.c: every kind of change is found, the gravest first, and nothing is where nothing changed. */
#include "harness/verdict_make.h"
#include "reports/diff.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static mp_error err;
enum { CASES = 8 };
static const char *const names[2] = {"a.json", "b.json"};

/* Reports of eight cases that pass; texts are literals, so that nothing is to be freed. */
typedef struct reports {
    mp_verdict verdict[2][CASES];
    mp_stored_report report[2];
} reports;

static int set_up(void **state) {
    reports *r = calloc(1, sizeof *r);
    *state = r;
    if (r == NULL) return -1;
    for (int k = 0; k < 2; k++) {
        r->report[k] = (mp_stored_report){.schema_version = 2, .verdicts = r->verdict[k], .count = CASES};
        mp_run_info_init(&r->report[k].info);
        for (int i = 0; i < CASES; i++) {
            mp_verdict *v = &r->verdict[k][i];
            mp_verdict_init(v);
            snprintf(v->name, sizeof v->name, "M=%d", i / 2 + 1); /* each name twice */
            for (int c = 0; c < MP_CHECK_COUNT; c++) v->check[c].answer = MP_PASSED;
            v->stage[MP_ACT] = (mp_stage_figures){
                .judged = true, .compared = 64, .max_ratio = 0.5, .max_drift = 0.25, .predicted = 64};
        }
    }
    return 0;
}

static int tear_down(void **state) {
    free(*state);
    return 0;
}

static mp_report_diff compare(reports *r, double threshold) {
    mp_report_diff diff;
    assert_int_equal(mp_report_compare(&r->report[0], &r->report[1], threshold, &diff, &err), MP_OK);
    return diff;
}

/* The one change there is, of the second report's case 3; how many lines are told of it. */
static void expect_change(reports *r, mp_change change, bool worse) {
    mp_report_diff diff = compare(r, 0.01);
    assert_int_equal(diff.case_count, CASES);
    assert_int_equal(diff.count[MP_CHANGE_NONE], CASES - 1);
    assert_int_equal(diff.count[change], 1);
    assert_int_equal(diff.cases[0].change, change);
    assert_ptr_equal(diff.cases[0].second, &r->verdict[1][3]);
    assert_ptr_equal(diff.cases[0].first, &r->verdict[0][3]); /* the second one of its name */
    assert_int_equal(mp_report_diff_is_worse(&diff), worse);
    json_t *json = mp_report_diff_to_json(&diff, names), *cases = json_object_get(json, "cases");
    assert_int_equal(json_array_size(cases), 1);
    const json_t *only = json_array_get(cases, 0);
    assert_string_equal(json_string_value(json_object_get(only, "change")), mp_change_name(change));
    assert_true(json_array_size(json_object_get(only, "changes")) > 0);
    json_decref(json);
    mp_report_diff_free(&diff);
}

static void nothing_changed(void **state) {
    reports *r = *state;
    r->verdict[0][0].stage[MP_ACT].max_ratio = (double)NAN; /* in both: the same */
    r->verdict[1][0].stage[MP_ACT].max_ratio = (double)NAN;
    r->verdict[1][1].seconds = 7;                     /* no two runs share it */
    r->verdict[1][2].stage[MP_ACT].max_ratio = 0.509; /* below the threshold */
    mp_report_diff diff = compare(r, 0.01);
    assert_int_equal(diff.count[MP_CHANGE_NONE], CASES);
    assert_false(mp_report_diff_is_worse(&diff));
    mp_report_diff_free(&diff);
    diff = compare(r, 0);
    assert_int_equal(diff.count[MP_CHANGE_RATIO], 1);
    mp_report_diff_free(&diff);
}

static void each_change_is_told(void **state) {
    reports *r = *state;
    mp_verdict *v = &r->verdict[1][3];
    const mp_verdict as_it_was = *v;
#define CHANGED(field, value, change, worse) \
    do {                                     \
        *v = as_it_was;                      \
        v->field = value;                    \
        expect_change(r, change, worse);     \
    } while (0)
    CHANGED(outcome, MP_FAIL, MP_CHANGE_WORSE, true);
    CHANGED(outcome, MP_SKIP, MP_CHANGE_WORSE, true);
    CHANGED(check[MP_CHECK_BITS].answer, MP_NOT_JUDGED, MP_CHANGE_LOST, false);
    CHANGED(stage[MP_ACT].judged, false, MP_CHANGE_LOST, false);
    CHANGED(stage[MP_DOWN].judged, true, MP_CHANGE_CHECKS, false);
    CHANGED(check[MP_CHECK_BITS].answer, MP_FAILED, MP_CHANGE_CHECKS, false);
    CHANGED(stage[MP_ACT].mispredicted, 1, MP_CHANGE_BITS, false);
    CHANGED(stage[MP_ACT].max_ulps, 1, MP_CHANGE_BITS, false);
    CHANGED(stage[MP_ACT].predicted, 0, MP_CHANGE_BITS, false);
    CHANGED(stage[MP_ACT].max_ratio, 0.52, MP_CHANGE_RATIO, false);
    CHANGED(stage[MP_ACT].max_ratio, (double)NAN, MP_CHANGE_RATIO, false);
    CHANGED(stage[MP_ACT].max_ratio, (double)INFINITY, MP_CHANGE_RATIO, false);
    CHANGED(stage[MP_ACT].max_drift, 0.1, MP_CHANGE_DRIFT, false);
    CHANGED(contract, "another", MP_CHANGE_TEXTS, false);
    CHANGED(config, "another", MP_CHANGE_TEXTS, false);
    CHANGED(subject, "another", MP_CHANGE_TEXTS, false);
    *v = as_it_was;
    r->verdict[0][3].outcome = MP_FAIL;
    expect_change(r, MP_CHANGE_BETTER, false);
}

static void what_a_report_is_too_old_for_is_not_compared(void **state) {
    reports *r = *state;
    r->report[0].schema_version = 1;
    for (int i = 0; i < CASES; i++) {
        r->verdict[0][i].stage[MP_ACT].max_drift = 0;
        r->verdict[0][i].check[MP_CHECK_RANKS] = (mp_check_result){MP_NOT_JUDGED, 0, MP_NO_SUCH_CHECK};
    }
    mp_report_diff diff = compare(r, 0.01);
    assert_int_equal(diff.count[MP_CHANGE_NONE], CASES);
    mp_report_diff_free(&diff);
}

static void the_gravest_comes_first(void **state) {
    reports *r = *state;
    strcpy(r->verdict[0][0].name, "gone");
    strcpy(r->verdict[1][7].name, "new");
    strcpy(r->verdict[0][7].name, r->verdict[1][0].name);
    r->verdict[1][1].stage[MP_ACT].max_ratio = 0.6;
    r->verdict[1][2].stage[MP_ACT].max_ratio = (double)NAN;
    r->verdict[1][3].stage[MP_ACT].max_ratio = 0.9;
    r->verdict[1][4].outcome = MP_CRASH;
    r->verdict[1][5].outcome = MP_FAIL;
    mp_report_diff diff = compare(r, 0.01);
    static const mp_change order[] = {MP_CHANGE_WORSE, MP_CHANGE_WORSE, MP_CHANGE_GONE,
                                      MP_CHANGE_RATIO, MP_CHANGE_RATIO, MP_CHANGE_RATIO,
                                      MP_CHANGE_NEW,   MP_CHANGE_NONE,  MP_CHANGE_NONE};
    static const int second[] = {5, 4, -1, 2, 3, 1, 7};
    assert_int_equal(diff.case_count, CASES + 1);
    for (size_t i = 0; i < diff.case_count; i++) {
        assert_int_equal(diff.cases[i].change, order[i]);
        if (i < sizeof second / sizeof *second)
            assert_ptr_equal(diff.cases[i].second, second[i] < 0 ? NULL : &r->verdict[1][second[i]]);
    }
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    mp_report_diff_print(out, &diff, names, false);
    fclose(out);
    assert_non_null(strstr(text, "\nworse   M=3\n        outcome: PASS -> FAIL\n"));
    assert_non_null(strstr(text, "\ngone    gone  (PASS)\n"));
    assert_non_null(strstr(text, "act: err/bound: 0.5 -> 0.9\n"));
    assert_non_null(strstr(text, "9 cases: 2 the same, 2 worse, 1 gone, 3 ratio, 1 new\n"));
    free(text);
    mp_report_diff_free(&diff);
}

int main(void) {
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(nothing_changed),
        TEST(each_change_is_told),
        TEST(what_a_report_is_too_old_for_is_not_compared),
        TEST(the_gravest_comes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
