/* SPDX-License-Identifier: Apache-2.0 */
/* cli/judge.c: what `run` and `golden verify` share: rows, reports, strictness, repros, names that are found.
 */
#include "tests/cli_support.h"

#include <stdbool.h>

/* `golden verify` takes what `run` takes. */
static void verify_writes_reports_too(void **state) {
    (void)state;
    expect("moeparity golden record v.h5 ok.yaml --subject host -q", 0, "recorded 4 cases in v.h5\n", "");
    assert_null(strstr(out, "[OK]"));
    expect(
        "moeparity golden verify v.h5 --subject host --json v.json --junit v.xml --jobs 2 --repeat 3 --plain "
        "--strict --timeout 60",
        0, "4 cases: 4 passed", "");
    json_t *report = json_file("v.json");
    assert_int_equal(total(report, "passed"), 4);
    json_decref(report);
    expect("grep -c '<testcase' v.xml", 0, "4\n", "");
    expect("moeparity golden verify v.h5 --subject host --json v.h5", 2, "",
           "moeparity: v.h5 would be overwritten, and is no JSON report: ");
    expect("moeparity golden verify v.h5 --case 'M=2 E=2 topk=2 K=16 N=8' --subject host", 0,
           "1 case: 1 passed", "");
    expect("moeparity golden verify v.h5 --case M=77 --subject host", 2, "",
           "moeparity: v.h5 does not hold the case 'M=77 topk=2 act=silu'\n");
    expect("moeparity golden record t.h5 --case 'M=2048 E=8 topk=8 K=2048 N=2048' --subject host --timeout 1",
           3, "[TIMEOUT] M=2048 topk=8 K=2048 N=2048 act=silu  no verdict after 1 s",
           "moeparity: t.h5 was not written: a golden holds only cases that pass\n");
}

static void a_dry_run_runs_nothing(void **state) {
    (void)state;
    expect("moeparity run ok.yaml --subject host --against ref --dry-run --json dry.json", 0,
           "M=1 E=2 topk=1 K=16 N=8 act=silu\n    = path=runner\n", "");
    assert_non_null(strstr(out, "4 cases would run with subject host; nothing was run\n"));
    assert_non_null(strstr(out, "reported: the difference from subject ref\n"));
    assert_non_null(strstr(out, "judged: 3 pairs\n"));
    assert_null(strstr(out, "[OK]"));
    assert_int_equal(access("dry.json", F_OK), -1);
    expect("moeparity golden record dry.h5 ok.yaml --subject host --dry-run", 0, "nothing was run", "");
    assert_int_equal(access("dry.h5", F_OK), -1);
    expect("moeparity run ok.yaml --golden none.h5 --dry-run", 2, "", "moeparity: none.h5: No such file");
    expect("moeparity run ok.yaml --subject nope --dry-run", 2, "", "moeparity: unknown subject 'nope'");
    expect("moeparity run ok.yaml --against nope --dry-run", 2, "", "moeparity: unknown subject 'nope'");
    expect("moeparity run ok.yaml --config none.json --dry-run", 2, "", "moeparity: none.json: No such file");
    expect("moeparity run none.yaml --dry-run", 2, "", "moeparity: none.yaml: No such file");
}

/* What was asked for and is not judged is no success. */
static void strictness(void **state) {
    (void)state;
    expect("moeparity run ok.yaml --subject host --strict", 0, "4 passed", "");
    expect("moeparity run $CASES/stages.yaml --subject host --strict --tier smoke", 0, "0 failed, 0 skipped",
           "");
    expect("moeparity golden record s.h5 ok.yaml --subject host --match M=1 -q", 0, "recorded 1 case", "");
    expect("moeparity run ok.yaml --subject host --golden s.h5", 1, "4 cases: 1 passed, 3 failed", "");
    assert_non_null(strstr(out, "golden: the golden file does not hold this case"));
    expect("moeparity run ok.yaml --subject host --golden s.h5 --golden-partial", 0, "golden 3", "");
    expect("moeparity run ok.yaml --subject host --golden s.h5 --golden-partial --strict", 0, "4 passed", "");
    expect("moeparity run ok.yaml --subject cuda --strict --json s.json", 1, "4 cases: 0 passed, 4 failed",
           "");
    assert_non_null(strstr(out, "strict: skipped: no CUDA driver"));
    json_t *report = json_file("s.json");
    assert_int_equal(total(report, "failed"), 4);
    assert_int_equal(total(report, "exit_code"), 1);
    json_decref(report);
    expect("moeparity golden verify s.h5 --subject cuda --strict", 1, "strict: skipped: no CUDA driver", "");
    /* what passes otherwise: a variant, or a subject, with which there was nothing to compare */
    expect("moeparity run --case 'M=4 scope=align' --pair tile=128x32x32x1x4x3 --subject host", 0, "pair 1",
           "");
    expect("moeparity run --case 'M=4 scope=align' --pair tile=128x32x32x1x4x3 --subject host --strict", 1,
           "pair: strict: not judged: tile=128x32x32x1x4x3: nothing to compare", "");
    expect("moeparity run --case 'M=4 scope=act filter=1' --subject host --against ref", 0, "1 passed", "");
    expect("moeparity run --case 'M=4 scope=act filter=1' --subject host --against ref --strict", 1,
           "pair: strict: subject ref: nothing to compare", "");
    expect("moeparity run --case 'M=4 topk=4 K=16 N=8 fused_sum=1' --subject host --strict --golden s.h5", 1,
           "golden: the golden file does not hold this case", "");
}

static void the_first_failure_ends_it(void **state) {
    (void)state;
    expect("moeparity run ok.yaml --subject cuda --strict --fail-fast", 1, "", "");
    expect("moeparity golden record other.h5 --case M=8 --case 'M=8 seed=1' --case 'M=8 seed=2' --subject "
           "ref -q",
           0, "recorded 3 cases", "");
    expect("moeparity golden verify other.h5 --subject host --fail-fast", 1, "1 case: 0 passed, 1 failed",
           "");
    assert_non_null(strstr(out, "stopped after it: 2 of 3 cases were not run\n"));
    expect("moeparity golden verify other.h5 --subject host", 1, "3 cases: 0 passed, 3 failed", "");
    assert_null(strstr(out, "stopped"));
}

/* The command of a repro, from the row of the case whose name ends in `name`. */
static void repro_of(const char *name, char command[4096]) {
    char *row = strstr(out, name), *repro = row ? strstr(row, "repro: ") : NULL;
    if (!repro) fail_msg("no repro of %s in\n%s", name, out);
    snprintf(command, 4096, "%s", repro + strlen("repro: "));
    command[strcspn(command, "\n")] = '\0';
}

/* A repro runs its case alone where it fails alone (what fails behind others: tests/test_cli_plugin.c). */
static void repros_run_again(void **state) {
    (void)state;
    char command[4096];
    expect("moeparity golden record plain.h5 --case M=8 --case 'M=8 seed=1' --subject ref -q && "
           "moeparity golden verify plain.h5 --subject host --plain",
           1, "2 cases: 0 passed, 2 failed", "");
    repro_of("[FAIL]  M=8 topk=2 act=silu  ", command);
    assert_string_equal(command,
                        "moeparity golden verify plain.h5 --case 'M=8 topk=2 act=silu' --subject host "
                        "--plain");
    repro_of("[FAIL]  M=8 topk=2 act=silu seed=1", command);
    assert_string_equal(command,
                        "moeparity golden verify plain.h5 --case 'M=8 topk=2 act=silu seed=1' --subject host "
                        "--plain");
    expect(command, 1, "1 case: 0 passed, 1 failed", "");
}

/* Whatever the name of a file is, a shell gives it back. */
static void repros_survive_any_name(void **state) {
    (void)state;
    static const char *const names[] = {"it's a $HOME \"x\".h5", "gr\303\274n;*.h5", "a\nb\377.h5"};
    char command[4096];
    expect("moeparity golden record name.h5 --case 'M=1 K=16 N=8' --subject host -q", 0, "recorded", "");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(rename(i ? names[i - 1] : "name.h5", names[i]), 0);
        setenv("NAME", names[i], 1);
        expect("moeparity run --case 'M=1 K=16 N=8' --subject cuda --strict --golden \"$NAME\"", 1,
               "1 failed", "");
        repro_of("[FAIL]", command);
        setenv("REPRO", command, 1);
        expect("bash -c \"$REPRO\"", 1, "strict: skipped: no CUDA driver", "");
    }
}

/* The command in a report is one that a shell takes, too. */
static void the_command_of_a_report_is_shell_safe(void **state) {
    (void)state;
    expect("moeparity run --case 'M=3 topk=1' --pair path=runner --subject host --json \"it's.json\"", 0,
           "1 passed", "");
    json_t *report = json_file("it's.json");
    const char *command = json_string_value(json_object_get(json_object_get(report, "run"), "command"));
    assert_string_equal(command, "moeparity run --case 'M=3 topk=1' --pair path=runner --subject host --json "
                                 "'it'\\''s.json'");
    assert_int_equal(remove("it's.json"), 0);
    expect(command, 0, "1 passed", "");
    assert_int_equal(access("it's.json", F_OK), 0);
    json_decref(report);
}

static void quiet_and_verbose(void **state) {
    (void)state;
    expect("moeparity run ok.yaml --subject host -q", 0, "4 cases: 4 passed", "");
    assert_int_equal(strncmp(out, "4 cases: ", 9), 0);
    expect("moeparity run ok.yaml --subject cuda --quiet", 77, "4 cases: ", "");
    assert_null(strstr(out, "[SKIP]"));
    expect("moeparity golden record q.h5 --case M=8 --subject ref -q; moeparity golden verify q.h5 --subject "
           "host -q",
           1, "[FAIL]", "");
    expect("moeparity run ok.yaml --subject host -v", 0, "\n        gate_up  max-abs=", "");
    assert_int_equal(count_of(out, "        gate_up  max-abs="), 4);
    assert_int_equal(count_of(out, "        tiles "), 4);
}

static void colors(void **state) {
    (void)state;
    static const struct {
        const char *environment, *options;
        bool colored, on_terminal;
    } e[] = {
        {"", "", false, false},
        {"", "--color always", true, false},
        {"FORCE_COLOR=1", "", true, false},
        {"FORCE_COLOR=0", "", false, false},
        {"FORCE_COLOR=1 NO_COLOR=1", "", false, false},
        {"FORCE_COLOR=1", "--color=never", false, false},
        {"NO_COLOR=1", "--color always", true, false},
        {"", "", true, true},
        {"NO_COLOR=1", "", false, true},
        {"NO_COLOR=", "", true, true},
        {"TERM=dumb", "", false, true},
        {"", "--color never", false, true},
    };
    for (size_t i = 0; i < sizeof e / sizeof *e; i++) {
        char command[256];
        snprintf(command, sizeof command, "%s moeparity run ok.yaml --match M=1 --subject host %s",
                 e[i].environment, e[i].options);
        if (e[i].on_terminal)
            assert_int_equal(on_terminal(command, 200), 0);
        else
            expect(command, 0, "1 passed", "");
        if ((strstr(out, "\033[32m") != NULL) != e[i].colored) fail_msg("%s:\n%s", command, out);
    }
}

/* On a terminal a status line says what runs, and gives way to the rows; nothing of it is in a file. */
static void the_terminal_talks(void **state) {
    (void)state;
    assert_int_equal(on_terminal("moeparity run ok.yaml --subject host --color never", 200), 0);
    assert_non_null(strstr(out, "\r\033[K[0/4] M=1 E=2 topk=1 K=16 N=8 act=silu"));
    assert_non_null(strstr(out, "\r\033[K[OK]    M=1 E=2 topk=1 K=16 N=8 act=silu"));
    assert_non_null(strstr(out, " s left"));
    assert_int_equal(on_terminal("moeparity golden record p.h5 ok.yaml --subject host", 200), 0);
    assert_non_null(strstr(out, "\r\033[K[1/4] M=2 "));
    assert_int_equal(on_terminal("moeparity golden verify p.h5 --subject host", 200), 0);
    assert_non_null(strstr(out, "\r\033[K[3/4] "));
    /* 36 columns: figures on a line of their own, names without their middle */
    assert_int_equal(on_terminal("moeparity run ok.yaml --subject host --color never", 36), 0);
    assert_non_null(strstr(out, "[OK]    M=1 E=2 topk... N=8 act=silu\r\n        diff=0.00e+00 bits=equal"));
    for (const char *line = out, *end; (end = strstr(line, "\r\033[K")) != NULL; line = end + 4) {
        const char *next = strpbrk(end + 4, "\r\n");
        if (end[4] == '[' && next) assert_in_range(next - end - 4, 1, 36);
    }
    expect("moeparity run ok.yaml --subject host", 0, "4 passed", "");
    assert_string_equal(err, "");
    assert_null(strstr(out, "\033"));
}

/* Two runs with equal results write equal bytes. */
static void reports_are_reproducible(void **state) {
    (void)state;
    expect("export SOURCE_DATE_EPOCH=1700000000; for i in 1 2; do mkdir -p run$i; (cd run$i; moeparity run "
           "../ok.yaml "
           "--subject host --jobs 2 --json r.json --junit r.xml); done; cmp run1/r.json run2/r.json && cmp "
           "run1/r.xml "
           "run2/r.xml",
           0, "4 passed", "");
    json_t *report = json_file("run1/r.json");
    const json_t *run = json_object_get(report, "run");
    assert_string_equal(json_string_value(json_object_get(run, "date")), "2023-11-14T22:13:20Z");
    json_decref(report);
    expect("SOURCE_DATE_EPOCH=soon moeparity run ok.yaml --subject host", 2, "",
           "moeparity: SOURCE_DATE_EPOCH=soon: expected a number of seconds since 1970\n");
    expect("SOURCE_DATE_EPOCH=-1 moeparity doctor", 2, "", "moeparity: SOURCE_DATE_EPOCH=-1: expected");
    expect("SOURCE_DATE_EPOCH=1700000000 moeparity golden record d.h5 --case M=1 --subject host && "
           "moeparity golden ls d.h5",
           0, "2023-11-14T22:13:20Z", "");
}

/* What comes with the program is found by its name; a file here goes before it. */
static void supplies_are_found_by_name(void **state) {
    (void)state;
    expect("moeparity list --matrices", 0, "seed.yaml ", "");
    assert_non_null(strstr(out, "seed.h5 "));
    expect("moeparity doctor", 0, "matrix      seed.yaml ", "");
    expect("moeparity list seed > a; moeparity list seed.yaml > b; moeparity list $CASES/seed.yaml > c; cmp "
           "a b && cmp b "
           "c",
           0, "", "");
    expect("cp ok.yaml seed; moeparity list seed; rm seed", 0, "M=1 E=2 topk=1", "");
    expect("moeparity golden ls seed", 0, "origin predicted sm_90", "");
    expect("moeparity golden verify seed.h5 --subject host --match 'M=8 scope=all' --dry-run", 0, "would run",
           "");
    expect("moeparity list ./seed.yaml", 2, "",
           "moeparity: ./seed.yaml: No such file or directory; expected a matrix file\n");
    expect("moeparity list sede", 2, "",
           "moeparity: sede: No such file or directory; expected a matrix file, or a name that moeparity "
           "list --matrices tells\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verify_writes_reports_too),
        cmocka_unit_test(a_dry_run_runs_nothing),
        cmocka_unit_test(strictness),
        cmocka_unit_test(the_first_failure_ends_it),
        cmocka_unit_test(repros_run_again),
        cmocka_unit_test(repros_survive_any_name),
        cmocka_unit_test(the_command_of_a_report_is_shell_safe),
        cmocka_unit_test(quiet_and_verbose),
        cmocka_unit_test(colors),
        cmocka_unit_test(the_terminal_talks),
        cmocka_unit_test(reports_are_reproducible),
        cmocka_unit_test(supplies_are_found_by_name),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
