/* SPDX-License-Identifier: Apache-2.0 */
/* reports/: what the rows say, and that both files are read by other programs and add up. */
#include "base/file.h"
#include "harness/verdict_json.h"
#include "harness/verdict_make.h"
#include "reports/report.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/moeparity_report_XXXXXX";
static mp_error err;

static int create_file(void **state) {
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state) {
    (void)state;
    return unlink(path);
}

static mp_pair_figures pair(const char *text, bool required, bool equal, double max_abs) {
    mp_pair_figures p = {.required = required,
                         .bits_equal = equal,
                         .compared = 100,
                         .differing = equal ? 0 : 7,
                         .max_abs = max_abs};
    p.text = text;
    p.note = "";
    if (!equal) strcpy(p.first, "out [0,1]: 1 -> 2");
    return p;
}

static mp_stage_figures figures(double max_abs, double ratio) {
    return (mp_stage_figures){.judged = true,
                              .compared = 4096,
                              .failed = ratio <= 1 ? 0 : 3,
                              .max_abs = max_abs,
                              .max_ratio = ratio,
                              .worst_index = 17,
                              .worst_value = 0.5,
                              .worst_expected = 0.25,
                              .worst_bound = 0.001};
}

static mp_verdict passing(void) {
    mp_verdict v; /* its texts are literals: there is nothing to free */
    mp_verdict_init(&v);
    v.outcome = MP_PASS;
    v.pair_count = 1;
    v.seconds = 0.5;
    strcpy(v.name, "M=32 topk=2 act=silu");
    v.group = "smoke";
    v.repro = "moeparity run --case 'M=32 topk=2 act=silu'";
    v.stage[MP_ALIGN] =
        (mp_stage_figures){.judged = true, .compared = 90, .bit_equal = 90, .worst_index = -1};
    v.stage[MP_GATE_UP] = figures(1e-3, 0.25);
    v.stage[MP_DOWN] = figures(1.953125e-3, 0.43);
    v.pair[0] = pair("path=runner", true, true, 0);
    for (int i = 0; i < MP_CHECK_COUNT; i++) v.check[i].answer = MP_PASSED;
    v.check[MP_CHECK_GOLDEN].answer = MP_NOT_JUDGED;
    return v;
}

static mp_verdict failing(void) {
    mp_verdict v = passing();
    v.outcome = MP_FAIL;
    v.stage[MP_DOWN] = figures(0.25, 250);
    v.check[MP_CHECK_BOUND] = (mp_check_result){MP_FAILED, 2, "down [17]: 0.5 instead of 0.25"};
    v.check[MP_CHECK_PAIR] = (mp_check_result){MP_FAILED, 1, "path=chunked differs"};
    v.reason = "bound: down [17]: 0.5 instead of 0.25";
    v.pair_count = 3;
    v.pair[1] = pair("path=chunked", true, false, 1e-3);
    v.pair[2] = pair("subject host", false, false, 1.0);
    return v;
}

static mp_verdict ended(mp_outcome outcome, const char *reason) {
    mp_verdict v = passing();
    v.outcome = outcome;
    v.reason = reason;
    return v;
}

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

static void assert_contains(const char *text, const char *part) {
    if (strstr(text, part) == NULL) fail_msg("expected '%s' in:\n%s", part, text);
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

#define VERDICTS 7
static mp_verdict *some_verdicts(void) {
    static mp_verdict v[VERDICTS];
    v[0] = passing();
    v[1] = ended(MP_SKIP, "no GPU");
    v[2] = failing();
    v[3] = ended(MP_SKIP, "too large: 80 GiB");
    v[4] = ended(MP_CRASH, "signal 11: <&\"'>\x01 \xff gr\xc3\xbc\xc3\x9f \xed\xa0\x80 ]]>");
    v[5] = ended(MP_SKIP, "no GPU");
    v[6] = ended(MP_TIMEOUT, "hung\nfor 60 s");
    v[3].group = "large & wide";
    v[2].stage[MP_ACT].max_abs = (double)NAN;
    return v;
}

static const mp_run_info info = {.device = "",
                                 .version = "0.1.0",
                                 .commit = "abc",
                                 .command = "moeparity run \"a b\" <x>",
                                 .subject = "host",
                                 .host = "a CPU\x1b[2J",
                                 .versions = "gcc 12.2.0",
                                 .blas = "OpenBLAS 0.3.21 SkylakeX",
                                 .date = "2026-01-02T03:04:05Z",
                                 .settings = "",
                                 .matrix = "0123456789abcdef",
                                 .names = "00112233445566aa",
                                 .files = "golden 0123456789abcdef",
                                 .seconds = 12.34,
                                 .interrupted = true};

static void summary(void **state) {
    (void)state;
    const mp_verdict *v = some_verdicts();
    mp_tally tally = {0};
    for (int i = 0; i < VERDICTS; i++) mp_tally_add(&tally, &v[i]);
    char text[4096];
    FILE *out = fmemopen(text, sizeof text, "w");
    mp_report_summary(out, &info, &tally, v, VERDICTS);
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

static void json_report_reads_back(void **state) {
    (void)state;
    static mp_verdict back;
    const mp_verdict *v = some_verdicts();
    if (mp_report_json(path, &info, v, VERDICTS, &err) != MP_OK) fail_msg("%s", err.text);
    json_error_t problem;
    json_t *report = json_load_file(path, 0, &problem);
    if (report == NULL) fail_msg("%s", problem.text);
    const char *command, *format;
    int version, cases, passed, failed, skipped, crashed, timed_out, exit_code, interrupted;
    json_t *verdicts;
    assert_int_equal(json_unpack_ex(report, &problem, JSON_STRICT,
                                    "{s:s, s:i, s:{s:s, s:b *}, s:{s:i, s:i, s:i, s:i, s:i, s:i, s:i}, s:o}",
                                    "format", &format, "schema_version", &version, "run", "command", &command,
                                    "interrupted", &interrupted, "totals", "cases", &cases, "passed", &passed,
                                    "failed", &failed, "skipped", &skipped, "crashed", &crashed, "timed_out",
                                    &timed_out, "exit_code", &exit_code, "verdicts", &verdicts),
                     0);
    assert_string_equal(format, "moeparity report");
    assert_int_equal(version, MP_REPORT_SCHEMA_VERSION);
    assert_string_equal(command, info.command);
    assert_true(interrupted);
    assert_int_equal(cases, passed + failed + skipped + crashed + timed_out);
    assert_int_equal(cases, VERDICTS);
    assert_int_equal(exit_code, 1); /* interrupted, after a failure */
    assert_int_equal(json_array_size(verdicts), VERDICTS);
    for (size_t i = 0; i < VERDICTS; i++) {
        if (mp_verdict_from_json(json_array_get(verdicts, i), &back, &err) != MP_OK) fail_msg("%s", err.text);
        assert_int_equal(back.outcome, v[i].outcome);
        mp_verdict_free(&back);
    }
    json_decref(report);
}

/* Python's XML parser checks that the report is well formed; then the attributes of every suite and of the
 * whole must add up. */
static const char *const xml_check =
    "import sys, xml.etree.ElementTree as tree\n"
    "root = tree.parse(sys.argv[1]).getroot()\n"
    "suites = root.findall('testsuite')\n"
    "def total(node, cases):\n"
    "    count = lambda tag: len([c for c in cases if c.find(tag) is not None])\n"
    "    assert int(node.get('tests')) == len(cases), 'tests'\n"
    "    assert int(node.get('failures')) == count('failure'), 'failures'\n"
    "    assert int(node.get('errors')) == count('error'), 'errors'\n"
    "    assert int(node.get('skipped')) == count('skipped'), 'skipped'\n"
    "    assert abs(float(node.get('time')) - sum(float(c.get('time')) for c in cases)) < 1e-5, 'time'\n"
    "total(root, root.findall('testsuite/testcase'))\n"
    "for suite in suites: total(suite, suite.findall('testcase'))\n"
    "assert [s.get('name') for s in suites] == ['smoke', 'large & wide'], 'names'\n"
    "assert [root.get(k) for k in ('tests', 'failures', 'errors', 'skipped')] == ['7', '1', '2', '3'], "
    "'totals'\n"
    "assert suites[0].find('properties/property[@name=\"command\"]').get('value') == 'moeparity run \"a b\" "
    "<x>', 'command'\n"
    "errors = root.findall('.//error')\n"
    "assert errors[0].get('message') == 'signal 11: <&\"\\'>? ? gr\\u00fc\\u00df ??? ]]>', "
    "errors[0].get('message')\n"
    "assert errors[1].get('message') == 'hung\\nfor 60 s', 'line break'\n"
    "assert 'repro: moeparity run --case' in errors[0].text, 'repro'\n";

static void junit_report_adds_up(void **state) {
    (void)state;
    if (system("python3 -c 'import xml.etree.ElementTree' 2> /dev/null") != 0) {
        print_message("skipped: no python3 to read the XML with\n");
        skip();
    }
    if (mp_report_junit(path, &info, some_verdicts(), VERDICTS, &err) != MP_OK) fail_msg("%s", err.text);
    setenv("XML_CHECK", xml_check, 1);
    char command[128];
    snprintf(command, sizeof command, "python3 -c \"$XML_CHECK\" %s", path);
    assert_int_equal(system(command), 0);
}

/* Texts that would end a cell, a fence or the table; more failures than a page shows; the largest drift. */
static void markdown(void **state) {
    (void)state;
    enum { FAILURES = 103 };
    mp_verdict *v = calloc(FAILURES + 2, sizeof *v);
    char *text;
    size_t size;
    assert_non_null(v);
    for (int i = 0; i < FAILURES; i++) {
        v[i] = passing();
        v[i].outcome = MP_CRASH;
        v[i].reason = "a|b *c* <d> `e`\nf";
        v[i].repro = "moeparity run --case 'M=1' --subject 'worker:a|b ``c`'";
    }
    v[FAILURES] = passing();
    v[FAILURES].stage[MP_GATE_UP].max_drift = 0.25;
    v[FAILURES + 1] = passing();
    v[FAILURES + 1].stage[MP_DOWN].max_drift = (double)NAN;
    assert_int_equal(mp_report_markdown(path, &info, v, FAILURES + 2, &err), MP_OK);
    assert_int_equal(mp_file_read(path, &text, &size, &err), MP_OK);
    assert_non_null(strstr(text, "### moeparity: BROKEN\n"));
    assert_non_null(strstr(text, "| 105 | 2 | 0 | 0 | 103 | 0 | 12.3 | 3 |\n"));
    assert_non_null(strstr(text, "`moeparity run \"a b\" <x>`<br>"));
    assert_non_null(strstr(text,
                           " | a\\|b \\*c\\* \\<d\\> \\`e\\` f | ``` moeparity run --case 'M=1' --subject "
                           "'worker:a\\|b ``c`' ``` |\n"));
    assert_non_null(strstr(text, "\n3 more are in the other reports.\n"));
    const char *nan = strstr(text, "| down | nan |"), *less = strstr(text, "| gate_up | 0.25 |");
    assert_true(nan && less && nan < less);
    free(text);
    /* where others have written before, it comes behind them */
    setenv("GITHUB_STEP_SUMMARY", path, 1);
    assert_int_equal(mp_file_replace(path, "before\n", 7, &err), MP_OK);
    assert_int_equal(mp_report_markdown(path, &info, v, 1, &err), MP_OK);
    unsetenv("GITHUB_STEP_SUMMARY");
    assert_int_equal(mp_file_read(path, &text, &size, &err), MP_OK);
    assert_ptr_equal(strstr(text, "before\n### moeparity"), text);
    free(text);
    free(v);
}

static void a_file_that_cannot_be_written_is_an_error(void **state) {
    (void)state;
    const mp_verdict *v = some_verdicts();
    assert_int_equal(mp_report_json("/no/such/directory/r.json", &info, v, VERDICTS, &err), MP_EIO);
    assert_contains(err.text, "/no/such/directory/r.json");
    assert_int_equal(mp_report_junit("/no/such/directory/r.xml", &info, v, VERDICTS, &err), MP_EIO);
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
        cmocka_unit_test(the_summary_names_the_device),
        cmocka_unit_test(json_report_reads_back),
        cmocka_unit_test(junit_report_adds_up),
        cmocka_unit_test(markdown),
        cmocka_unit_test(a_file_that_cannot_be_written_is_an_error),
    };
    return cmocka_run_group_tests(tests, create_file, remove_file);
}
