/* SPDX-License-Identifier: Apache-2.0 */
/* The program makes a failing case small, finds the rows that it needs before it, and writes what somebody
 * else can look at. */
#include "tests/cli_support.h"

#define WRONG "plugin:" MP_PLUGINS "/wrong.so"

static const char *text_of(const json_t *json, const char *name) {
    const char *text = json_string_value(json_object_get(json, name));
    return text ? text : "";
}

/* The line that is printed is the smallest case, and fails when somebody runs it. */
static void a_case_becomes_small(void **state) {
    (void)state;
    expect("moeparity bisect case --case 'M=9 topk=4 E=6 N=24 scope=act filter=0.2 data=wide routing=zipf "
           "seed=4' "
           "--subject " WRONG ",wrong --json small.json",
           1, "smallest M=1 E=1 topk=1 N=4 act=silu scope=act data=integer, after ", "");
    assert_non_null(strstr(out, ": no step makes it smaller\n        begins in act: every row, column 3\n"));
    assert_non_null(strstr(out, "this line has been run, and fails: exit code 1"));
    json_t *report = json_file("small.json");
    assert_string_equal(text_of(report, "format"), "moeparity bisect case");
    assert_string_equal(text_of(report, "signature"), "bound:act");
    assert_string_equal(text_of(report, "edit"), "cache1=0");
    assert_string_equal(text_of(json_object_get(report, "smallest"), "name"),
                        "M=1 E=1 topk=1 N=4 act=silu scope=act data=integer");
    assert_true(json_is_true(json_object_get(report, "repeated")));
    assert_int_equal(sh(text_of(report, "line")), 1);
    json_decref(report);
}

static void crashes_and_hangs_become_small(void **state) {
    (void)state;
    expect("moeparity bisect case --case 'M=7 N=16 scope=act' --subject " WRONG ",crash-run", 1,
           "CRASH: the worker died of signal 6 (Aborted)", "");
    assert_non_null(strstr(out, "smallest M=0 E=1 topk=1 N=1 act=silu scope=act"));
    assert_non_null(strstr(out, "fails: exit code 3"));
    expect("moeparity bisect case --case 'M=2 N=2 scope=act' --subject " WRONG
           ",hang-run --timeout 1 --tries 3",
           1, "--tries or --seconds are spent\n", "");
    assert_non_null(strstr(out, "TIMEOUT: no verdict after 1 s"));
}

static void nothing_to_shrink(void **state) {
    (void)state;
    expect("moeparity bisect case --case 'M=2 N=8 scope=act' --subject " WRONG, 0,
           "M=2 topk=2 N=8 act=silu scope=act: nothing to shrink: it passes\n", "");
    expect("moeparity bisect case --case 'M=2 N=8 scope=act' --out empty --subject " WRONG, 0, "it passes\n",
           "");
    assert_int_not_equal(access("empty", F_OK), 0); /* no folder is left of nothing */
    expect("moeparity bisect case --case 'M=2 N=8 scope=act' --subject " WRONG ",not-here", 77,
           "nothing to shrink: skipped: wrong: needs another machine\n", "");
    expect("moeparity bisect set --case 'M=2 N=8 scope=act' --case 'M=3 N=8 scope=act' --subject " WRONG, 0,
           "2 rows in one process: none fails\n", "");
    expect("moeparity bisect case --case 'M=2 N=8 scope=act' --subject " WRONG ",crash-open", 3, "",
           "the worker died of signal 6");
}

/* 60 rows, one of which spoils those behind it that are small. */
static void rows_that_must_precede(void **state) {
    (void)state;
    char line[8192] = "moeparity bisect set";
    for (int i = 0; i < 60; i++)
        sprintf(line + strlen(line), " --case 'M=%d N=8 scope=act seed=%d'",
                i < 23    ? 65 + i
                : i == 23 ? 64
                          : 66,
                i);
    strcat(line, " --case 'M=3 N=8 scope=act' --subject " WRONG ",flag --json set.json");
    expect(line, 1,
           "row 60, M=3 topk=2 N=8 act=silu scope=act, fails (bound:act) behind these rows, and not behind "
           "fewer of them:\n    row 59, M=66 ",
           "");
    json_t *report = json_file("set.json");
    assert_int_equal(json_array_size(json_object_get(report, "before")), 1);
    assert_true(json_is_true(json_object_get(report, "repeated")));
    assert_true(json_integer_value(json_object_get(report, "tries")) <= 2 + 2 * 6);
    assert_int_equal(sh(text_of(report, "line")), 1);
    json_decref(report);
    /* The case with the row before it becomes smaller, and still needs it. */
    expect(
        "moeparity bisect case --case 'M=70 N=8 scope=act' --case 'M=3 N=8 scope=act seed=2' --subject " WRONG
        ",flag",
        1, "repro: moeparity run --case 'M=70 topk=2 N=8 act=silu scope=act' --case 'M=1 ", "");
    expect("moeparity bisect set --case 'M=70 N=8 scope=act' --case 'M=3 N=8 scope=act' --subject " WRONG
           ",wrong --row 1",
           1,
           "row 1, M=3 topk=2 N=8 act=silu scope=act, fails (bound:act) alone: it needs no row before it\n",
           "");
}

/* What a run has reported is where both begin. */
static void from_a_report(void **state) {
    (void)state;
    expect("moeparity run --case 'M=1 N=8 scope=act' --case 'M=70 N=8 scope=act' --case 'M=3 N=8 scope=act' "
           "--subject " WRONG ",flag --json run.json",
           1, "passes alone; failed after 2 rows", "");
    expect("moeparity bisect case --report run.json --no-values", 1,
           "smallest M=1 E=1 topk=1 N=4 act=silu scope=act", "");
    expect("moeparity bisect set --report run.json --name 'M=3 topk=2 N=8 act=silu scope=act'", 1,
           "behind these rows, and not behind fewer of them:\n    row 0, M=70 ", "");
    expect("moeparity bisect case --report run.json --index 0", 2, "",
           "run.json: M=1 topk=2 N=8 act=silu scope=act has not failed, it is a PASS");
    expect("moeparity bisect case --report run.json --index 3", 2, "", "--index 3: run.json has 3 verdicts");
    expect("moeparity bisect case --report run.json --name M=9", 2, "",
           "--name 'M=9': run.json has no such case");
    expect("moeparity bisect case --report run.json --case M=9", 2, "",
           "its failure tells the cases: remove --case");
    expect("moeparity bisect case --index 1 --case M=9", 2, "", "give that too");
    /* a line that somebody has forged: no command of it runs, no variable of it counts */
    expect("sed 's/\"repro\": \"moeparity/\"repro\": \"$(touch forged) moeparity/' run.json > forged.json; "
           "moeparity bisect case --report forged.json",
           2, "", "forged.json: this repro cannot be split into words: $(touch forged) moeparity run");
    assert_int_not_equal(access("forged", F_OK), 0);
    expect("sed 's/\"repro\": \"moeparity run/\"repro\": \"rm -r/' run.json > forged.json; "
           "moeparity bisect case --report forged.json",
           2, "", "forged.json: this repro is no line of moeparity run: rm -r");
    /* another subject over the one of the report */
    expect("moeparity bisect case --report run.json --subject " WRONG, 0, "nothing to shrink: it passes", "");
}

static void hostile(void **state) {
    (void)state;
    write_file("junk.json", "{\"schema_version\": 1, \"verdicts\": [");
    expect("moeparity bisect case --report junk.json", 2, "", "junk.json");
    expect("moeparity bisect case --report none.json", 2, "", "none.json: No such file");
    expect("moeparity bisect case --report .", 2, "", ".");
    expect("moeparity bisect case --subject host", 2, "", "no cases");
    expect("moeparity bisect case --case M=1 --subject nobody", 2, "", "unknown subject 'nobody'");
    expect("moeparity bisect set none.yaml --subject host", 2, "", "none.yaml: No such file");
    expect("moeparity bisect set --case 'M=1 N=8 scope=act' --row 5 --subject host", 2, "", "row 5 of 1");
    expect("moeparity bisect case --case M=1 --subject host --out small.txt", 2, "",
           "small.txt: expected a name that ends in .npz or .h5, or a folder");
    expect("moeparity bisect case --case M=1 --subject host --out none/small.npz", 2, "", "none/small.npz");
    expect("moeparity bisect case --case M=1 --subject host --json none/small.json", 2, "",
           "none/small.json");
    char line[4096] = "moeparity bisect case --subject host";
    for (int i = 0; i < 40; i++) sprintf(line + strlen(line), " --case 'M=1 N=8 scope=act seed=%d'", i);
    expect(line, 2, "",
           "39 rows before the case: expected at most 32; moeparity bisect set finds those that it needs");
}

/* Files that speak for themselves. */
static void files_for_others(void **state) {
    (void)state;
    expect("moeparity bisect case --case 'M=9 N=24 scope=act' --subject " WRONG
           ",wrong --no-values --out folder",
           1, "wrote folder/repro.npz and folder/repro.py\n", "");
    expect("moeparity bisect case --case 'M=9 N=24 scope=act' --subject " WRONG
           ",wrong --no-values --out one.h5",
           1, "wrote one.h5 and one.py\n", "");
    expect("grep -c . folder/repro.py && cat one.py", 0, "h5py.File(path)", "");
    assert_true(atoi(out) < 40);
    assert_non_null(strstr(out, "# case: M=1 E=1 topk=1 N=4 act=silu scope=act data=integer\n"));
    if (system("command -v python3 > /dev/null") == 0)
        expect(
            "mkdir -p none/numpy && echo 'raise ImportError(\"no numpy here\")' > none/numpy/__init__.py && "
            "PYTHONPATH=none python3 folder/repro.py",
            2, "", "no numpy here: this program needs numpy, as of pip install\n");
    /* what the subject has left is judged as it lies there, and fails too */
    expect("moeparity judge one.h5", 1, "bound: act: token 0 slot 0 column 3", "");
    /* one that does not survive leaves the inputs and what was expected */
    expect("moeparity bisect case --case 'M=1 N=8 scope=act' --subject " WRONG
           ",crash-run --tries 1 --out dead.h5",
           1, "wrote dead.h5 and dead.py\n", "");
    expect("moeparity judge dead.h5", 2, "", "dead.h5");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_case_becomes_small), cmocka_unit_test(crashes_and_hangs_become_small),
        cmocka_unit_test(nothing_to_shrink),    cmocka_unit_test(rows_that_must_precede),
        cmocka_unit_test(from_a_report),        cmocka_unit_test(hostile),
        cmocka_unit_test(files_for_others),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
