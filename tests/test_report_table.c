/* SPDX-License-Identifier: Apache-2.0 */
/* reports/table.c: what the rows in a terminal say, and the lines behind them. */
#include "tests/report_support.h"

#include <math.h>
#include <stdlib.h>

static const char *styled(const mp_verdict *v, mp_row_style style) {
    static char text[8192];
    FILE *out = fmemopen(text, sizeof text, "w");
    mp_report_row(out, v, &style);
    fclose(out);
    return text;
}

static const char *row(const mp_verdict *v, int width, bool color) {
    return styled(v, (mp_row_style){.name_width = width, .color = color});
}

static void passed_rows(void **state) {
    (void)state;
    mp_verdict v = passing();
    assert_string_equal(row(&v, 24, false),
                        "[OK]    M=32 topk=2 act=silu      diff=0.00e+00 bits=equal (path=runner)  "
                        "f64: max-abs=1.95e-03 err/bound=0.43 worst=down drift=0\n");
    assert_contains(row(&v, 0, true), "\033[32m[OK]   \033[0m M=32");

    v.stage[MP_GATE_UP].max_drift = 0.1234; /* it need not be in the stage that is nearest to its bound */
    v.stage[MP_DOWN].max_drift = 0.01;
    assert_contains(row(&v, 0, false), " worst=down drift=0.12 in gate_up\n");
    v.stage[MP_DOWN].max_drift = (double)NAN;
    assert_contains(row(&v, 0, false), " worst=down drift=nan in down\n");
    v.stage[MP_GATE_UP].max_drift = v.stage[MP_DOWN].max_drift = 0;

    v.pair[v.pair_count++] = pair("mode=inplace", true, true, 0);
    v.check[MP_CHECK_GOLDEN].answer = MP_PASSED;
    assert_string_equal(row(&v, 0, false),
                        "[OK]    M=32 topk=2 act=silu  diff=0.00e+00 bits=equal (2/2 pairs equal)  "
                        "f64: max-abs=1.95e-03 err/bound=0.43 worst=down drift=0  golden=equal\n");

    v.check[MP_CHECK_GOLDEN].text = "not compared: out (the order of additions is not fixed)";
    assert_contains(row(&v, 0, false), "  golden=equal but not compared: out (the order");
    v.check[MP_CHECK_GOLDEN].text = "";
    v.stage[MP_DOWN].predicted = 8;
    v.check[MP_CHECK_BOUND].text = "down: 3 of 8 elements may have overflowed on the way";
    v.check[MP_CHECK_BITS].answer = MP_PASSED;
    v.check[MP_CHECK_BITS].text = "act is not predicted (its function is any)";
    assert_contains(
        row(&v, 0, false),
        " drift=0 but down: 3 of 8 elements may have overflowed on the way  predicted=equal but act "
        "is not predicted (its function is any)  golden=equal\n");
    v.check[MP_CHECK_BOUND].text = v.check[MP_CHECK_BITS].text = "";
    v.stage[MP_DOWN].predicted = 0;

    v.pair[v.pair_count++] = pair("subject host", false, false, 1e-3);
    assert_contains(row(&v, 0, false),
                    "diff=1.00e-03 bits=differ (2/3 pairs equal; worst subject host, equality not promised)");
}

/* Compared in part, and nothing differs: not equal, and no broken promise before which others fade. */
static void an_open_pair_is_not_judged(void **state) {
    (void)state;
    mp_verdict v = passing();
    mp_pair_figures open = pair("path=chunked", true, false, 0);
    open.differing = 0;
    open.note = "not compared: 1 rows";
    v.pair[v.pair_count++] = open;
    assert_contains(row(&v, 0, false), "  diff=n/a bits=not judged (path=chunked)  f64:");
    v.pair[v.pair_count++] = pair("mode=inplace", true, false, 0); /* in signs of zeros */
    assert_contains(row(&v, 0, false), "  diff=0.00e+00 bits=differ (1/3 pairs equal; worst mode=inplace)");
}

/* The largest difference need not be in the stage that is nearest to its bound. */
static void max_abs_is_that_of_any_stage(void **state) {
    (void)state;
    mp_verdict v = passing();
    v.stage[MP_GATE_UP].max_abs = 0.5;
    v.stage[MP_ALIGN].max_abs = 9; /* integers are no difference from float64 */
    assert_contains(row(&v, 0, false), "f64: max-abs=5.00e-01 err/bound=0.43 worst=down");
    v.stage[MP_GATE_UP].max_abs = (double)NAN;
    assert_contains(row(&v, 0, false), "f64: max-abs=nan err/bound=0.43 worst=down");
}

/* On a narrow terminal alone: figures begin a line of their own, and names lose their middle. */
static void rows_fit_the_terminal(void **state) {
    (void)state;
    mp_verdict v = passing();
    const char *wide = "[OK]    M=32 topk=2 act=silu  diff=0.00e+00 bits=equal (path=runner)  "
                       "f64: max-abs=1.95e-03 err/bound=0.43 worst=down drift=0\n";
    assert_string_equal(styled(&v, (mp_row_style){.columns = (int)strlen(wide) - 1}), wide);
    assert_string_equal(styled(&v, (mp_row_style){.columns = (int)strlen(wide) - 2, .name_width = 40}),
                        "[OK]    M=32 topk=2 act=silu\n"
                        "        diff=0.00e+00 bits=equal (path=runner)  f64: max-abs=1.95e-03 "
                        "err/bound=0.43 worst=down drift=0\n");
    assert_contains(styled(&v, (mp_row_style){.columns = 24}), "[OK]    M=32 t...ct=silu\n        diff=");
    assert_contains(styled(&v, (mp_row_style){.columns = 1}), "[OK]    M=32...=silu\n");
}

static void verbose_rows_tell_every_stage(void **state) {
    (void)state;
    mp_verdict v = passing();
    v.stage[MP_DOWN].predicted = 10;
    v.stage[MP_DOWN].time_ns = 2.5e6;
    v.config = "64x64x32x8x4x3";
    const char *text = styled(&v, (mp_row_style){.verbose = true});
    assert_contains(text, "\n        align    90 of 90 integers equal\n"
                          "        gate_up  max-abs=1.00e-03 err/bound=0.25 drift=0 ulps=0 row-rms=0.00e+00 "
                          "rounded-f64=0/4096\n"
                          "        down     max-abs=1.95e-03 err/bound=0.43 drift=0 ulps=0 row-rms=0.00e+00 "
                          "rounded-f64=0/4096 predicted=10/10 2.5 ms\n"
                          "        tiles 64x64x32x8x4x3; 0.50 s\n");
}

/* Each of them, with its place as the tensor has it. */
static void every_stage_that_differs_is_told(void **state) {
    (void)state;
    mp_verdict v = failing();
    const mp_case c = {.M = 4, .topk = 2};
    static const mp_stage stages[] = {MP_GATE_UP, MP_ACT};
    for (int k = 0; k < 2; k++) {
        const mp_stage i = stages[k];
        v.stage[i] = figures(0.5, 2);
        mp_stage_set_shape(&v.stage[i], &c, 8, 10);
        v.stage[i].worst_index = 37;
        v.stage[i].predicted = 80;
        v.stage[i].mispredicted = k + 1;
        v.stage[i].first_index = 79;
        v.stage[i].first_value = 1.5;
        v.stage[i].first_predicted = 1.25;
        v.stage[i].max_ulps = i == MP_ACT ? INT64_MAX : 3;
    }
    const char *text = row(&v, 0, false);
    assert_contains(text,
                    "        gate_up: 3 of 4096 elements beyond their bound; worst [1,1,7]: 0.5, expected");
    assert_contains(text, "        act: 3 of 4096 elements beyond their bound; worst [1,1,7]: 0.5, expected");
    assert_contains(text, "        gate_up: 1 of 80 elements differ from the prediction; first [3,1,9]: 1.5, "
                          "predicted 1.25; by at most 3 ulp\n");
    assert_contains(text,
                    "        act: 2 of 80 elements differ from the prediction; first [3,1,9]: 1.5, predicted "
                    "1.25; NaN on one side\n");
}

static void what_was_not_judged_is_not_shown_as_passed(void **state) {
    (void)state;
    mp_verdict v = passing();
    v.pair_count = 0;
    memset(v.stage, 0, sizeof v.stage);
    assert_contains(row(&v, 0, false), "diff=n/a bits=not judged  f64: not judged\n");
    v.stage[MP_ALIGN] = (mp_stage_figures){.judged = true, .compared = 90, .bit_equal = 88};
    assert_contains(row(&v, 0, false), "  align: 88 of 90 integers equal\n");
    assert_null(strstr(row(&v, 0, false), "golden"));

    mp_run_info info;
    mp_run_info_init(&info);
    info.seconds = 1;
    mp_tally tally = {0};
    mp_tally_add(&tally, &v);
    char text[4096];
    FILE *out = fmemopen(text, sizeof text, "w");
    mp_report_summary(out, &info, &tally, &v, 1);
    fclose(out);
    assert_string_equal(text, "1 case: 1 passed, 0 failed, 0 skipped, 0 crashed, 0 timed out in 1.0 s\n  not "
                              "judged (cases): golden 1\n");
}

/* What a GPU was to measure and did not is seen: in each stage, and of all cases. */
static void who_measured_is_told(void **state) {
    (void)state;
    mp_verdict v[2] = {passing(), passing()};
    mp_run_info info;
    mp_tally tally = {0};
    char text[4096];
    mp_run_info_init(&info);
    assert_null(strstr(styled(&v[0], (mp_row_style){.verbose = true}), "by-cpu"));
    v[0].stage[MP_DOWN] = v[1].stage[MP_GATE_UP] = figures(0.5, 0.5);
    v[0].stage[MP_DOWN].by_cpu = 512;
    assert_contains(styled(&v[0], (mp_row_style){.verbose = true}), " by-cpu=512/4096");
    v[1].stage[MP_GATE_UP].by_cpu = 4096;
    FILE *out = fmemopen(text, sizeof text, "w");
    mp_report_summary(out, &info, &tally, v, 2);
    fclose(out);
    assert_contains(text, "  measured by the CPU: 4608 of 8192 elements of stages that a GPU measures\n");
}

static void failed_rows(void **state) {
    (void)state;
    mp_verdict v = failing();
    assert_string_equal(
        row(&v, 0, false),
        "[FAIL]  M=32 topk=2 act=silu  diff=1.00e-03 bits=differ (1/3 pairs equal; worst path=chunked)  "
        "f64: max-abs=2.50e-01 err/bound=250 worst=down drift=0\n"
        "        bound: down [17]: 0.5 instead of 0.25 (and 1 more)\n"
        "        pair: path=chunked differs\n"
        "        down: 3 of 4096 elements beyond their bound; worst [17]: 0.5, expected 0.25, bound "
        "1.00e-03, err/bound=250\n"
        "        path=chunked: 7 of 100 elements differ, max-abs=1.00e-03, first out [0,1]: 1 -> 2\n"
        "        subject host: 7 of 100 elements differ, max-abs=1.00e+00, first out [0,1]: 1 -> 2 (equality "
        "not promised)\n"
        "        repro: moeparity run --case 'M=32 topk=2 act=silu'\n");
    v.stage[MP_GATE_UP] = figures(-(double)NAN, -(double)NAN); /* a NaN is the worst, and has no sign */
    v.pair[0] = pair("path=runner", true, false, (double)NAN);
    assert_contains(row(&v, 0, false), "diff=nan bits=differ (0/3 pairs equal; worst path=runner)  f64: "
                                       "max-abs=nan err/bound=nan worst=gate_up drift=0\n");
    v.reason = "the subject failed: out of luck";
    assert_contains(row(&v, 0, false), "\n        the subject failed: out of luck\n");
}

static void rows_without_figures(void **state) {
    (void)state;
    mp_verdict v = ended(MP_SKIP, "no GPU");
    assert_string_equal(row(&v, 0, false), "[SKIP]  M=32 topk=2 act=silu  no GPU\n");
    v = ended(MP_CRASH, "killed by\nsignal 11\x1b[2J");
    assert_string_equal(row(&v, 0, false), "[CRASH] M=32 topk=2 act=silu  killed by signal 11 [2J\n"
                                           "        repro: moeparity run --case 'M=32 topk=2 act=silu'\n");
    v = ended(MP_TIMEOUT, "60 s");
    assert_string_equal(row(&v, 0, false), "[TIMEOUT] M=32 topk=2 act=silu  60 s\n"
                                           "        repro: moeparity run --case 'M=32 topk=2 act=silu'\n");
}

static void summary(void **state) {
    (void)state;
    const mp_verdict *v = some_verdicts();
    mp_tally tally = {0};
    for (int i = 0; i < VERDICTS; i++) mp_tally_add(&tally, &v[i]);
    char text[4096];
    FILE *out = fmemopen(text, sizeof text, "w");
    mp_report_summary(out, &some_run, &tally, v, VERDICTS);
    fclose(out);
    assert_string_equal(
        text,
        "7 cases: 1 passed, 1 failed, 3 skipped, 1 crashed, 1 timed out in 12.3 s\n"
        "  skipped 2 cases: no GPU\n"
        "  skipped 1 case: too large: 80 GiB\n"
        "  not judged (cases): golden 2\n"
        "  FAIL M=32 topk=2 act=silu\n"
        "  CRASH M=32 topk=2 act=silu\n"
        "  TIMEOUT M=32 topk=2 act=silu\n"
        "subject host (prediction of sm_90) on a CPU [2J, gcc 12.2.0; reference OpenBLAS 0.3.21 SkylakeX\n"
        "interrupted: the figures cover only the cases run so far\n");
}

static const char *summary_of(const char *subject, const mp_verdict *v, size_t count) {
    static char text[4096];
    const mp_run_info info = {.subject = subject, .device = "", .versions = "", .host = "a CPU", .blas = ""};
    const mp_tally tally = {0};
    FILE *out = fmemopen(text, sizeof text, "w");
    mp_report_summary(out, &info, &tally, v, count);
    fclose(out);
    return text;
}

/* How much weaker a contract is depends on the shape: a matrix of many shapes has one line for it, not one a
 * shape. Numbers are told as a range, words that differ are not put together. */
static void weaker_checks_are_told_once(void **state) {
    (void)state;
    static const char *const weaker[] = {
        "contract any under sm_90, 4.8 times in gate_up, 7.5e+03 times in act",
        "contract any under sm_90, 11 times in gate_up, 7.5e+03 times in act",
        "",
        "contract any under sm_80, 11 times in gate_up, 7.5e+03 times in act",
        "contract any under sm_90, 4.8 times in gate_up",
        "contract any under sm_90, 3.3 times in gate_up, 4 times in act"};
    enum { COUNT = sizeof weaker / sizeof *weaker };
    mp_verdict v[COUNT];
    for (int i = 0; i < COUNT; i++) {
        v[i] = passing();
        v[i].weaker = weaker[i];
    }
    assert_contains(
        summary_of("worker:python3 'my kernel.py'", v, COUNT),
        "  weaker checks in 3 cases: contract any under sm_90, 3.3 to 11 times in gate_up, 4 to 7.5e+03 "
        "times "
        "in act\n"
        "  weaker checks in 1 case: contract any under sm_80, 11 times in gate_up, 7.5e+03 times in act\n"
        "  weaker checks in 1 case: contract any under sm_90, 4.8 times in gate_up\n"
        "subject worker:");
}

/* Somebody's own kernel without a contract: the next thing to do is named, as a line that can be run. */
static void what_finds_a_contract_is_named(void **state) {
    (void)state;
    mp_verdict v = passing();
    v.weaker =
        "rms looks away; contract any: before the last rounding errors may be larger than under sm_90, 4 "
        "times in act";
    assert_contains(summary_of("plugin:./my kernel.so", &v, 1),
                    "in act\n  moeparity infer --subject 'plugin:./my kernel.so' finds a sharper contract\n");
    assert_null(strstr(summary_of("file", &v, 1), "moeparity infer"));
    v.weaker = "rms looks away";
    assert_null(strstr(summary_of("plugin:./mine.so", &v, 1), "moeparity infer"));
}

static void the_summary_names_the_device(void **state) {
    (void)state;
    const mp_run_info on_gpu = {.subject = "cuda",
                                .device = "NVIDIA H100 80GB HBM3",
                                .versions = "driver 13.0, NVRTC 13.0, sm_90",
                                .host = "a CPU",
                                .blas = ""};
    const mp_tally tally = {0};
    char text[1024];
    FILE *out = fmemopen(text, sizeof text, "w");
    mp_report_summary(out, &on_gpu, &tally, NULL, 0);
    fclose(out);
    assert_contains(
        text,
        "\nsubject cuda on NVIDIA H100 80GB HBM3, driver 13.0, NVRTC 13.0, sm_90; reference plain loops\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passed_rows),
        cmocka_unit_test(an_open_pair_is_not_judged),
        cmocka_unit_test(max_abs_is_that_of_any_stage),
        cmocka_unit_test(rows_fit_the_terminal),
        cmocka_unit_test(verbose_rows_tell_every_stage),
        cmocka_unit_test(every_stage_that_differs_is_told),
        cmocka_unit_test(what_was_not_judged_is_not_shown_as_passed),
        cmocka_unit_test(who_measured_is_told),
        cmocka_unit_test(failed_rows),
        cmocka_unit_test(rows_without_figures),
        cmocka_unit_test(summary),
        cmocka_unit_test(weaker_checks_are_told_once),
        cmocka_unit_test(what_finds_a_contract_is_named),
        cmocka_unit_test(the_summary_names_the_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
