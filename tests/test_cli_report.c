/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity report html and report diff, --html and --figures: exit codes, files, and what is no report. */
#include "tests/cli_support.h"

static int make_reports(void **state) {
    if (set_up(state)) return -1;
    expect("moeparity run ok.yaml --subject host --html run.html --json a.json -q", 0, "", "");
    return 0;
}

/* The report with another outcome of its second case, that is a failure. */
static void write_worse(void) {
    json_t *report = json_file("a.json"), *totals = json_object_get(report, "totals");
    json_t *case_1 = json_array_get(json_object_get(report, "verdicts"), 1);
    json_object_set_new(case_1, "outcome", json_string("FAIL"));
    json_object_set_new(case_1, "reason", json_string("bound: \033[31mred"));
    json_object_set_new(totals, "failed", json_integer(1));
    json_object_set_new(totals, "passed", json_integer(3));
    json_object_set_new(totals, "exit_code", json_integer(1));
    assert_int_equal(json_dump_file(report, "b.json", 0), 0);
    json_decref(report);
}

static void pages_are_whole(void **state) {
    (void)state;
    expect("head -c 15 run.html; tail -c 8 run.html", 0, "<!doctype html></html>", "");
    expect("grep -cE '(src|href)=.?(http|//)|url\\(|@import|\\{\\{' run.html", 1, "0", ""); /* no network */
    expect("moeparity report html one.html a.json && grep -o '\"ratio\":{[^}]*}' one.html | head -1", 0,
           "\"ratio\":{\"", ""); /* --html implies --figures */
    expect("moeparity report html two.html a.json " MP_TEST_DATA "/report-1.json && "
           "grep -o '\"name\":\"[a-z0-9.-]*\",\"report\"' two.html",
           0, "\"name\":\"a.json\",\"report\"\n\"name\":\"report-1.json\",\"report\"", "");
    expect("moeparity run ok.yaml --subject host --figures --shard 0/2 --json s0.json -q && "
           "moeparity run ok.yaml --subject host --figures --shard 1/2 --json s1.json -q && "
           "moeparity report merge merged.json s0.json s1.json --html merged.html && "
           "grep -o '\"ratio\":{[^}]*}' merged.html | head -1",
           0, "\"ratio\":{\"", "");
    expect("moeparity run --case M=2 --subject ref --json plain.json -q && grep -c picture plain.json", 1,
           "0", ""); /* nobody asked */
}

static void what_is_no_report_is_refused(void **state) {
    (void)state;
    write_file("broken.json", "{\"format\": \"moeparity report\", ");
    write_file("old.html", "as it was");
    expect("moeparity report html old.html broken.json", 2, "", "broken.json: line 1, column 31: no JSON");
    expect("moeparity report html old.html junk.h5", 2, "", "junk.h5: line 1, column 2: no JSON");
    expect("moeparity report html old.html a.json .", 2, "", "expected");
    expect("moeparity report html old.html none.json", 2, "", "none.json");
    expect("head -c 3000 a.json > cut.json; moeparity report html old.html cut.json", 2, "", "no JSON");
    expect("sed 's/\"judged\": true/\"judged\": 1/' a.json > typed.json; moeparity report diff a.json "
           "typed.json",
           2, "", "typed.json: verdicts[0]: verdict: stages.align: judged: expected true or false");
    expect("mkfifo pipe; moeparity report diff pipe a.json", 2, "", "pipe");
    expect("cat old.html", 0, "as it was", "");
    expect("moeparity report html a.json a.json", 2, "", "a.json would be overwritten: it is named twice");
    expect("cp a.json first.json; moeparity report html first.json a.json; code=$?; cmp first.json a.json || "
           "exit 9; exit $code",
           2, "", "first.json would be overwritten, and is no page: name the file to write first");
    expect("moeparity report html none/at/all.html a.json", 2, "", "none/at/all.html");
    expect("moeparity report html . a.json", 2, "", "");
    expect("moeparity report html x.html", 2, "",
           "takes a page to write, and one or two JSON reports, not 1");
    expect("moeparity report html x.html a.json a.json a.json", 2, "",
           "takes a page to write, and one or two JSON reports, not 4");
    expect("moeparity run ok.yaml --subject host --html", 2, "", "--html");
    expect("moeparity run ok.yaml --subject host --json x --html ./x", 2, "", "it is named twice");
    expect("moeparity report", 2, "", "report");
    expect("ls x.html x 2>&1", 2, "No such file", "");
}

static void a_difference_has_its_exit_code(void **state) {
    (void)state;
    write_worse();
    expect("moeparity report diff a.json a.json", 0, "4 cases: 4 the same\n", "");
    expect("moeparity report diff a.json b.json", 1, "outcome: PASS -> FAIL\n        bound: \\x1b[31mred\n",
           "");
    expect("moeparity report diff a.json b.json -q", 1, "4 cases: 3 the same, 1 worse\n", "");
    expect("moeparity report diff b.json a.json", 0, "\nbetter  ", "");
    expect("moeparity report diff b.json a.json --strict", 1, "1 better", "");
    expect("moeparity report diff b.json a.json --json d.json", 0, "", "");
    json_t *diff = json_file("d.json");
    assert_true(json_is_false(json_object_get(diff, "worse")));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(diff, "counts"), "better")), 1);
    json_decref(diff);
    expect("moeparity report diff a.json b.json --json ./b.json", 2, "", "it is named twice");
    static const char *const numbers[] = {"x", "-1", "nan", "1e999", "0.1x", " 1"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char command[128], message[128];
        snprintf(command, sizeof command, "moeparity report diff a.json b.json '--threshold=%s'", numbers[i]);
        snprintf(message, sizeof message, "--threshold '%s': expected a number from 0", numbers[i]);
        expect(command, 2, "", message);
    }
    expect("moeparity report diff a.json", 2, "", "takes two JSON reports, not 1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_whole),
        cmocka_unit_test(what_is_no_report_is_refused),
        cmocka_unit_test(a_difference_has_its_exit_code),
    };
    return cmocka_run_group_tests(tests, make_reports, tear_down);
}
