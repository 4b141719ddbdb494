/* SPDX-License-Identifier: Apache-2.0 */
/* reports/: files are read by other programs, and add up. */
#include "base/file.h"
#include "harness/verdict_json.h"
#include "tests/report_support.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

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

static void json_report_reads_back(void **state) {
    (void)state;
    static mp_verdict back;
    const mp_verdict *v = some_verdicts();
    if (mp_report_json(path, &some_run, v, VERDICTS, &err) != MP_OK) fail_msg("%s", err.text);
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
    assert_string_equal(command, some_run.command);
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
    if (mp_report_junit(path, &some_run, some_verdicts(), VERDICTS, &err) != MP_OK) fail_msg("%s", err.text);
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
    assert_int_equal(mp_report_markdown(path, &some_run, v, FAILURES + 2, &err), MP_OK);
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
    assert_int_equal(mp_report_markdown(path, &some_run, v, 1, &err), MP_OK);
    unsetenv("GITHUB_STEP_SUMMARY");
    assert_int_equal(mp_file_read(path, &text, &size, &err), MP_OK);
    assert_ptr_equal(strstr(text, "before\n### moeparity"), text);
    free(text);
    free(v);
}

static void a_file_that_cannot_be_written_is_an_error(void **state) {
    (void)state;
    const mp_verdict *v = some_verdicts();
    assert_int_equal(mp_report_json("/no/such/directory/r.json", &some_run, v, VERDICTS, &err), MP_EIO);
    assert_contains(err.text, "/no/such/directory/r.json");
    assert_int_equal(mp_report_junit("/no/such/directory/r.xml", &some_run, v, VERDICTS, &err), MP_EIO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_report_reads_back),
        cmocka_unit_test(junit_report_adds_up),
        cmocka_unit_test(markdown),
        cmocka_unit_test(a_file_that_cannot_be_written_is_an_error),
    };
    return cmocka_run_group_tests(tests, create_file, remove_file);
}
