/* SPDX-License-Identifier: Apache-2.0 */
/* Where the time of a case goes: every moment belongs to one phase, and the table of a run tells all of
 * it. */
#include "harness/floors.h"
#include "moeparity/run_case.h"
#include "moeparity/subject.h"
#include "reports/phases.h"
#include "tests/ref_support.h"

#include <stdio.h>

static mp_verdict verdict; /* large */

static void run(const char *text) {
    mp_matrix matrix = {0};
    mp_subject subject;
    mp_error err = {0};
    if (mp_matrix_add(&matrix, text, NULL, 0, &err) != MP_OK) fail_msg("%s: %s", text, err.text);
    if (mp_subject_open("host", &subject, &err) != MP_OK) fail_msg("%s", err.text);
    const mp_run_options options = {.subject = &subject, .settings.repeat = 2};
    mp_verdict_free(&verdict);
    mp_run_case(&matrix.rows[0], &options, &verdict);
    mp_subject_close(&subject);
    mp_matrix_free(&matrix);
}

/* Both are read off one clock, a moment apart. */
static void phases_are_all_of_a_case(void **state) {
    (void)state;
    static const char *const texts[] = {"M=33 E=4 K=96 N=64", "M=33 E=4 K=96 N=64 quant=fp8-channel",
                                        "M=33 E=4 N=64 scope=act", "M=0 E=4 K=96 N=64"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        double sum = 0;
        run(texts[i]);
        assert_int_equal(verdict.outcome, MP_PASS);
        for (int p = 0; p < MP_PHASE_COUNT; p++) {
            assert_true(verdict.phase_seconds[p] >= 0);
            sum += verdict.phase_seconds[p];
        }
        print_message("%s: %.6f s, phases %.6f s\n", texts[i], verdict.seconds, sum);
        assert_true(verdict.seconds > 0 && fabs(sum - verdict.seconds) < 1e-3 + 0.01 * verdict.seconds);
    }
}

/* What was run and judged has taken time, and what does not happen has taken none. */
static void phases_are_told_apart(void **state) {
    (void)state;
    run("M=33 E=4 K=96 N=64");
    static const mp_phase some[] = {MP_PHASE_INPUTS, MP_PHASE_DIGEST, MP_PHASE_RUN, MP_PHASE_JUDGE,
                                    MP_PHASE_MODEL};
    for (size_t i = 0; i < COUNT(some); i++)
        if (!(verdict.phase_seconds[some[i]] > 0)) fail_msg("%s took no time", mp_phase_name(some[i]));
    run("M=33 E=4 N=64 scope=act");
    assert_true(verdict.phase_seconds[MP_PHASE_MODEL] < 1e-4 + 0.05 * verdict.seconds);
}

/* With rates of 1 a floor is its bytes, or operations. */
static void floors_count_bytes_and_operations(void **state) {
    (void)state;
    const mp_floor_rates one = {.cpu = {1, 1}};
    mp_error err = {0};
    double few[MP_PHASE_COUNT], many[MP_PHASE_COUNT], coded[MP_PHASE_COUNT];
    mp_case c = case_of("M=32 topk=2 E=4 K=96 N=64");
    assert_int_equal(mp_phase_floors(&c, &one, few, &err), MP_OK);
    const double gemms = 2.0 * 32 * 2 * (128 * 96 + 64 * 96),
                 inputs = 2.0 * (32 * 96 + 4 * 128 * 96 + 4 * 96 * 64) + 32 * 2 * (4 + 4);
    assert_true(few[MP_PHASE_RUN] == gemms && few[MP_PHASE_JUDGE] == 2 * gemms);
    assert_true(few[MP_PHASE_MODEL] == gemms && few[MP_PHASE_INPUTS] == inputs);
    assert_true(few[MP_PHASE_OTHER] == 0 && few[MP_PHASE_LOOK] == few[MP_PHASE_DOWNLOAD]);
    c = case_of("M=320 topk=2 E=4 K=96 N=64");
    assert_int_equal(mp_phase_floors(&c, &one, many, &err), MP_OK);
    assert_true(many[MP_PHASE_JUDGE] == 10 * few[MP_PHASE_JUDGE]);
    c = case_of("M=32 topk=2 E=4 K=96 N=64 quant=fp8-channel");
    assert_int_equal(mp_phase_floors(&c, &one, coded, &err), MP_OK);
    assert_true(coded[MP_PHASE_MODEL] == 4 * few[MP_PHASE_MODEL]);
    c = case_of("M=32 topk=2 E=4 K=96 N=64 filter=0.5"); /* of filtered slots nothing is computed */
    assert_int_equal(mp_phase_floors(&c, &one, many, &err), MP_OK);
    assert_true(many[MP_PHASE_RUN] > 0 && many[MP_PHASE_RUN] < gemms);
}

/* On a device each phase by the rate of what it needs there: told apart by rates that are powers of two. */
static void floors_of_a_device(void **state) {
    (void)state;
    enum { COPIED = 2, UP = 4, DOWN = 8, FLOAT32 = 16, FLOAT64 = 32, BF16 = 64, E4M3 = 128 };
    mp_floor_rates there = {.cpu = {1, 1},
                            .device = {COPIED, UP, DOWN, FLOAT32, FLOAT64, {0}},
                            .subject_there = true,
                            .judge_there = true};
    there.device.products[MP_BF16] = BF16;
    there.device.products[MP_E4M3] = E4M3;
    mp_error err = {0};
    double s[MP_PHASE_COUNT];
    mp_case c = case_of("M=4096 topk=2 E=2 K=256 N=256");
    assert_int_equal(mp_phase_floors(&c, &there, s, &err), MP_OK);
    const double slots = 4096 * 2, up = 2.0 * slots * 512 * 256, down = 2.0 * slots * 256 * 256,
                 inputs = 2.0 * (4096 * 256 + 2 * 512 * 256 + 2 * 256 * 256) + slots * (4 + 4),
                 steps = 2.0 * (slots * (512 + 256) + slots * 256 + 4096 * 256); /* act and combine */
    assert_true(s[MP_PHASE_UPLOAD] == inputs / UP &&
                s[MP_PHASE_INPUTS] == inputs); /* too small for the GPU */
    assert_true(s[MP_PHASE_JUDGE] == 2 * (up + down) / FLOAT64);
    assert_true(s[MP_PHASE_PREDICT] == (up + down) / FLOAT64);
    assert_true(s[MP_PHASE_DOWNLOAD] == s[MP_PHASE_LOOK] * COPIED / DOWN);
    assert_true(s[MP_PHASE_COMPARE] == s[MP_PHASE_LOOK]);
    /* Both GEMMs take longer to compute than to move, the other stages have nothing but bytes. */
    assert_true(s[MP_PHASE_RUN] > (up + down) / BF16 + steps / COPIED);
    assert_true(s[MP_PHASE_RUN] < (up + down) / BF16 + 1.1 * steps / COPIED); /* and align */
    there.device.products[MP_BF16] = 1e30;
    const double computing = s[MP_PHASE_RUN];
    assert_int_equal(mp_phase_floors(&c, &there, s, &err), MP_OK);
    assert_true(s[MP_PHASE_RUN] < computing && s[MP_PHASE_RUN] > 1.5 * steps / COPIED); /* by bytes alone */
    there.judge_there = false;
    assert_int_equal(mp_phase_floors(&c, &there, s, &err), MP_OK);
    assert_true(s[MP_PHASE_JUDGE] == 2 * (up + down) && s[MP_PHASE_PREDICT] == up + down);
    there.judge_there = true;
    c = case_of("M=4096 topk=2 E=2 K=256 N=256 dtype=fp32");
    assert_int_equal(mp_phase_floors(&c, &there, s, &err), MP_OK);
    assert_true(s[MP_PHASE_PREDICT] == (up + down) / FLOAT32);
    assert_true(s[MP_PHASE_RUN] > (up + down) / FLOAT32);
    /* Weights that the device makes do not travel. */
    c = case_of("M=1 topk=2 E=64 K=1024 N=1024");
    assert_int_equal(mp_phase_floors(&c, &there, s, &err), MP_OK);
    assert_true(s[MP_PHASE_UPLOAD] == (2.0 * 1024 + 2 * (4 + 4)) / UP);
    /* Of two experts of 64 are read. */
    assert_true(s[MP_PHASE_RUN] > 2 * 2.0 * 3 * 1024 * 1024 / COPIED &&
                s[MP_PHASE_RUN] < 1.1 * 2 * 2.0 * 3 * 1024 * 1024 / COPIED);
}

/* The longest first; the floor of what cannot have been done in its time is left out; sums at the end. */
static void the_table_tells_all_of_a_run(void **state) {
    (void)state;
    enum { CASES = 3, LINES = 2 * CASES + 3 };
    static mp_verdict v[CASES];
    static const double run_seconds[CASES] = {1, 4, 2};
    static const char *const names[CASES] = {"short", "long", "middle"};
    double floors[CASES][MP_PHASE_COUNT] = {0};
    char *text = NULL, *line[LINES];
    size_t size = 0;
    for (int i = 0; i < CASES; i++) {
        mp_verdict_init(&v[i]);
        snprintf(v[i].name, sizeof v[i].name, "%s", names[i]);
        v[i].seconds = run_seconds[i] + 0.5;
        v[i].phase_seconds[MP_PHASE_RUN] = run_seconds[i];
        v[i].phase_seconds[MP_PHASE_JUDGE] = 0.5;
        floors[i][MP_PHASE_RUN] = 0.25;
        floors[i][MP_PHASE_JUDGE] = 0.75;
    }
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    mp_report_phases(out, v, CASES, floors);
    fclose(out);
    print_message("%s", text);
    char *rest = NULL;
    for (int i = 0; i < LINES; i++) assert_non_null(line[i] = strtok_r(i == 0 ? text : NULL, "\n", &rest));
    assert_null(strtok_r(NULL, "\n", &rest));
    static const int order[CASES] = {1, 2, 0};
    for (int i = 0; i <= CASES; i++) {
        const bool sum = i == CASES;
        double total = 0, phase[MP_PHASE_COUNT];
        int used = 0;
        assert_int_equal(sscanf(line[1 + 2 * i], "%lf%n", &total, &used), 1);
        for (int p = 0; p < MP_PHASE_COUNT; p++) {
            int here = 0;
            assert_int_equal(sscanf(line[1 + 2 * i] + used, "%lf%n", &phase[p], &here), 1);
            used += here;
        }
        assert_string_equal(line[1 + 2 * i] + used + 2, sum ? "all cases" : names[order[i]]);
        assert_true(total == (sum ? 8.5 : run_seconds[order[i]] + 0.5));
        assert_true(phase[MP_PHASE_RUN] == (sum ? 7 : run_seconds[order[i]]));
        assert_true(phase[MP_PHASE_JUDGE] == (sum ? 1.5 : 0.5));
        assert_non_null(strstr(line[2 + 2 * i], sum ? "0.750" : "0.250"));
        if (!sum) assert_null(strstr(line[2 + 2 * i], "0.750"));
    }
    free(text);
    for (int i = 0; i < CASES; i++) mp_verdict_free(&v[i]);
    mp_verdict_free(&verdict);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(phases_are_all_of_a_case), cmocka_unit_test(phases_are_told_apart),
        cmocka_unit_test(floors_count_bytes_and_operations), cmocka_unit_test(floors_of_a_device),
        cmocka_unit_test(the_table_tells_all_of_a_run)};
    return cmocka_run_group_tests_name("reports.phases", tests, NULL, NULL);
}
