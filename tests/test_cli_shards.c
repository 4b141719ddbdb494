/* SPDX-License-Identifier: Apache-2.0 */
/* Shards through the program: they cover the matrix, their reports make that of the whole, and what is no
 * whole is refused. */
#include "tests/cli_support.h"

#define RUN "SOURCE_DATE_EPOCH=0 moeparity run ok.yaml --subject host "

/* The report without what is of the run itself: the command line. */
static json_t *results(const char *path) {
    json_t *report = json_file(path);
    json_object_del(json_object_get(report, "run"), "command");
    return report;
}

static void assert_equal_results(const char *a, const char *b) {
    json_t *one = results(a), *other = results(b);
    if (!json_equal(one, other)) {
        sh("diff whole.json merged.json");
        fail_msg("%s and %s differ: %s", a, b, out);
    }
    json_decref(one);
    json_decref(other);
}

static void merged_is_whole(void **state) {
    (void)state;
    expect(RUN "--json whole.json --junit whole.xml --summary whole.md", 0, "4 cases: 4 passed", "");
    expect(RUN "--json 0.json --shard 0/3", 0, "shard 0/3 (--shard): ", "");
    expect(RUN "--json 1.json --shard 1/3", 0, " of 4 cases, ", "");
    expect(RUN "--json 2.json --shard 2/3", 0, "", "");
    json_t *report = json_file("1.json");
    const json_t *info = json_object_get(report, "run");
    assert_int_equal(json_integer_value(json_object_get(info, "shard")), 1);
    assert_int_equal(json_integer_value(json_object_get(info, "shards")), 3);
    assert_int_equal(json_integer_value(json_object_get(info, "cases")), 4);
    json_decref(report);
    expect("moeparity report merge merged.json 2.json 0.json 1.json --junit merged.xml --summary merged.md",
           0, "4 cases: 4 passed", "");
    assert_equal_results("whole.json", "merged.json");
    expect("sed '/name=\"command\"/d' whole.xml > a; sed '/name=\"command\"/d' merged.xml | diff a - && "
           "sed 's/^`moeparity[^`]*`//' whole.md > a; sed 's/^`moeparity[^`]*`//' merged.md | diff a -",
           0, "", "");
    expect("moeparity report merge again.json merged.json && cmp merged.json again.json", 0, "", "");
    expect("moeparity report merge again.json whole.json", 0, "4 cases: 4 passed", "");
}

static void more_shards_than_cases(void **state) {
    (void)state;
    expect("for i in 0 1 2 3 4 5; do " RUN "--json $i.json --shard $i/6 || exit 9; done", 0, "0 of 4 cases",
           "");
    expect("moeparity report merge merged.json ?.json", 0, "4 cases: 4 passed", "");
    assert_equal_results("whole.json", "merged.json");
    expect("moeparity golden record none.h5 ok.yaml --subject host --shard 5/6", 0,
           "none.h5 was not written: this shard has no case", "");
    assert_int_not_equal(access("none.h5", F_OK), 0);
}

static void what_is_no_whole(void **state) {
    (void)state;
    expect(RUN "-q --json 0.json --shard 0/3 && " RUN "-q --json 1.json --shard 1/3 && " RUN
               "-q --json 2.json --shard 2/3",
           0, "", "");
    expect("moeparity report merge new.json 0.json 2.json", 2, "", "of 3 shards there is no report of 1\n");
    expect("moeparity report merge new.json 2.json", 2, "", "there is no report of 0, 1\n");
    expect("moeparity report merge new.json 0.json 1.json 0.json 2.json", 2, "",
           "shard 0 of 3 is there twice: 0.json and 0.json\n");
    expect(RUN "-q --json other.json --shard 1/3 --match 'M<3'", 0, "", "");
    expect("moeparity report merge new.json 0.json other.json 2.json", 2, "",
           "other.json is of another run than 0.json: its matrix is '");
    expect(RUN "-q --json other.json --shard 1/3 --repeat 3", 0, "", "");
    expect("moeparity report merge new.json 0.json other.json 2.json", 2, "",
           "other.json is of another run than 0.json: its line of settings is '--repeat 3', not ''");
    expect("SOURCE_DATE_EPOCH=0 moeparity run ok.yaml -q --subject ref --json other.json --shard 1/3", 0, "",
           "");
    expect("moeparity report merge new.json 0.json other.json 2.json", 2, "",
           "other.json is of another run than 0.json: its subject is 'ref', not 'host'");
    expect(
        "sed 's/\"commit\": \"/&x/' 1.json > other.json; moeparity report merge new.json 0.json other.json "
        "2.json",
        2, "", "its commit is 'x");
    expect(RUN "-q --json other.json --shard 1/4; moeparity report merge new.json 0.json other.json", 2, "",
           "it has 4 shards, not 3");
    expect("moeparity report merge new.json whole.json 0.json", 2, "", "it has 3 shards, not 1");
    /* what somebody has written by hand */
    expect("sed 's/\"shard\": 1/\"shard\": 3/' 1.json > other.json; moeparity report merge new.json 0.json "
           "other.json 2.json",
           2, "", "other.json: shard 3 of 3: expected one from 0 to 2");
    expect("sed 's/\"row\": [0-9]*/\"row\": 99/' 1.json > other.json; moeparity report merge new.json 0.json "
           "other.json 2.json",
           2, "", "other.json: verdicts[0]: row 99 of a matrix of 4 cases");
    expect("sed 's/\"shard\": 0/\"shard\": 1/' 0.json > other.json; moeparity report merge new.json 0.json "
           "other.json 2.json",
           2, "", "is in two shards: '");
    expect(
        "for i in 0 1 2; do sed 's/\"cases\": 4/\"cases\": 9000000000000000000/' $i.json > big$i.json; done; "
        "moeparity report merge new.json big?.json",
        2, "", "of 9000000000000000000 cases these rows are in no report: 4, 5, 6, ");
    expect("for i in 0 1 2; do sed 's/\"shards\": 3/\"shards\": 2147483647/' $i.json > big$i.json; done; "
           "moeparity report merge new.json big?.json",
           2, "", "there is no report of 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, ... (2147483644 of them)");
    expect("moeparity report merge new.json 0.json junk.h5", 2, "", "junk.h5: line 1, column ");
    expect("moeparity report merge new.json none.json", 2, "", "none.json");
    expect("moeparity report merge new.json /tmp", 2, "", "/tmp");
    expect("head -c 3000 0.json > other.json; moeparity report merge new.json other.json", 2, "",
           "other.json: line");
    expect("moeparity report merge new.json", 2, "", "report merge takes a file to write and reports, not 1");
    expect("moeparity report merge 0.json 0.json 1.json 2.json", 2, "", "0.json would be overwritten");
    expect("moeparity report merge new.json 0.json 1.json 2.json --junit new.json", 2, "",
           "would be overwritten");
    expect("moeparity report merge no/such/new.json 0.json 1.json 2.json", 2, "", "no/such/new.json");
    assert_int_not_equal(access("new.json", F_OK), 0);
    no_temporary_files();
}

/* The golden holds three of the four cases: the other one fails, in its shard and in the whole. */
static void the_exit_code_is_that_of_the_whole(void **state) {
    (void)state;
    expect("moeparity golden record some.h5 ok.yaml --subject host --match topk=1", 0, "recorded 3 cases",
           "");
    expect(RUN "-q --golden some.h5 --json whole1.json", 1, "", "");
    expect(RUN "-q --golden some.h5 --json 0.json --shard 0/2; [ $? -le 1 ]", 0, "", "");
    expect(RUN "-q --golden some.h5 --json 1.json --shard 1/2; [ $? -le 1 ]", 0, "", "");
    expect("moeparity report merge merged.json 0.json 1.json --summary merged.md", 1,
           "the golden file does not hold this case", "");
    assert_equal_results("whole1.json", "merged.json");
    expect("cat merged.md", 0, "### moeparity: FAILED", "");
    assert_non_null(strstr(out, "#### Failures"));
    assert_non_null(strstr(out, "moeparity run --case"));
    /* stopped at a failure: what it left out is no mistake of the merge */
    expect(RUN "-q --golden some.h5 --match 'M=2' --fail-fast --json 0.json", 1, "", "");
    expect("moeparity report merge merged.json 0.json", 1, "", "");
}

/* A golden, or a plug-in, of the same name is the same one only with the same contents. */
static void files_of_one_name_and_other_contents(void **state) {
    (void)state;
    const char *const shard[] = {RUN "-q --golden g.h5 --json 0.json --shard 0/2",
                                 RUN "-q --golden g.h5 --json 1.json --shard 1/2"};
    expect("moeparity golden record g.h5 ok.yaml --subject host -q", 0, "", "");
    expect(shard[0], 0, "", "");
    expect("SOURCE_DATE_EPOCH=7 moeparity golden record g.h5 ok.yaml --subject host -q", 0, "", "");
    expect(shard[1], 0, "", "");
    expect("moeparity report merge merged.json 0.json 1.json", 0, "", ""); /* the same, made another day */
    expect(RUN "-q --golden g.h5 --json whole1.json", 0, "", "");
    assert_equal_results("whole1.json", "merged.json");
    expect("moeparity golden record g.h5 ok.yaml --subject ref -q", 0, "", "");
    expect(shard[1], 1, "", "");
    expect("moeparity report merge new.json 0.json 1.json", 2, "",
           "1.json is of another run than 0.json: its line of digests is 'golden ");
#define PLUGIN "moeparity run ok.yaml -q --subject plugin:./p.so "
    expect("cp " MP_PLUGINS "/pipeline.so p.so && " PLUGIN "--json 0.json --shard 0/2; [ $? -le 1 ]", 0, "",
           "");
    expect("printf x >> p.so; " PLUGIN "--json 1.json --shard 1/2; [ $? -le 1 ]", 0, "", "");
    expect("moeparity report merge new.json 0.json 1.json", 2, "", "its line of digests is 'subject ");
}

/* Rows of two shards, exchanged by hand. */
static void names_at_other_rows(void **state) {
    (void)state;
    json_t *report = json_file("whole.json"), *verdicts = json_object_get(report, "verdicts"),
           *first = json_array_get(verdicts, 0), *second = json_array_get(verdicts, 1),
           *name = json_incref(json_object_get(first, "name"));
    json_object_set(first, "name", json_object_get(second, "name"));
    json_object_set_new(second, "name", name);
    assert_int_equal(json_dump_file(report, "other.json", 0), 0);
    json_decref(report);
    expect("moeparity report merge new.json other.json", 2, "",
           "the names of the cases are not those of the matrix, each at its row: their digest is ");
}

/* A merge must not pass where rows are in no report. */
static void rows_that_nobody_ran(void **state) {
    (void)state;
    json_t *report = json_file("whole.json"), *totals = json_object_get(report, "totals");
    json_array_remove(json_object_get(report, "verdicts"), 1);
    json_object_set_new(totals, "cases", json_integer(3));
    json_object_set_new(totals, "passed", json_integer(3));
    assert_int_equal(json_dump_file(report, "cut.json", 0), 0);
    json_decref(report);
    expect("moeparity report merge new.json cut.json", 2, "", "of 4 cases these rows are in no report: 1\n");
}

static void goldens_in_parts(void **state) {
    (void)state;
    expect("moeparity golden record all.h5 ok.yaml --subject host -q", 0, "", "");
    expect("for i in 0 1; do moeparity golden record $i.h5 ok.yaml --subject host -q --shard $i/2 || exit 9; "
           "done",
           0, "recorded 2 cases in 1.h5", "");
    expect("moeparity golden merge put.h5 0.h5 1.h5 && moeparity golden diff all.h5 put.h5", 0, "equal", "");
}

static void what_engines_tell(void **state) {
    (void)state;
    expect("moeparity list ok.yaml --shard 0/2 > a; moeparity list ok.yaml --shard 1/2 >> a; sort a > b; "
           "moeparity list ok.yaml | sort | cmp - b",
           0, "", "shard 1/2 (--shard): ");
    expect("GTEST_TOTAL_SHARDS=2 GTEST_SHARD_INDEX=1 GTEST_SHARD_STATUS_FILE=seen moeparity run ok.yaml "
           "--subject host --dry-run && ls seen",
           0, "shard 1/2 (GTEST_SHARD_INDEX): 2 of 4 cases", "");
    expect(
        "OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=2 PMI_RANK=0 PMI_SIZE=2 SLURM_ARRAY_TASK_ID=1 moeparity "
        "run ok.yaml --subject host --dry-run",
        0, "4 cases would run", "");
    expect("JOB_COMPLETION_INDEX=3 moeparity run ok.yaml --subject host --dry-run --shard auto/4", 0,
           "shard 3/4 (JOB_COMPLETION_INDEX): 1 of 4 cases", "");
    expect(
        "GTEST_TOTAL_SHARDS=2 GTEST_SHARD_INDEX=1 moeparity golden record all.h5 ok.yaml --subject host -q",
        0, "recorded 4 cases in all.h5",
        ""); /* half a golden in place of a whole one is nothing to get unasked */
    expect("GTEST_TOTAL_SHARDS=2 GTEST_SHARD_INDEX=1 moeparity golden verify all.h5 --subject host", 0,
           "2 cases: 2 passed", "");
    expect("moeparity golden record part.h5 ok.yaml --subject host -q --shard 1/2", 0, "recorded 2 cases",
           "");
    expect("GTEST_TOTAL_SHARDS=2 GTEST_SHARD_INDEX=2 moeparity run ok.yaml", 2, "", "shard 2 of 2");
    expect("GTEST_TOTAL_SHARDS=2 GTEST_SHARD_INDEX=0 GTEST_SHARD_STATUS_FILE=no/such moeparity list ok.yaml",
           2, "", "GTEST_SHARD_STATUS_FILE=no/such: No such file or directory");
    expect("moeparity run ok.yaml --shard auto", 2, "", "no engine tells which shard this is");
    expect("moeparity run ok.yaml --shard", 2, "", "--shard: expected I/N behind it");
    expect("moeparity judge t.h5 --shard 0/2", 2, "", "judge takes no --shard");
}

static void two_processes_of_mpirun(void **state) {
    (void)state;
    if (system("command -v mpirun > /dev/null 2>&1") != 0) {
        print_message("no mpirun here\n");
        skip();
    }
    expect(
        "SOURCE_DATE_EPOCH=0 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "
        "OMPI_MCA_rmaps_base_oversubscribe=1 mpirun -n 2 sh -c "
        "'moeparity run ok.yaml --subject host --shard auto --json mpi$OMPI_COMM_WORLD_RANK$PMI_RANK.json'",
        0, "", "");
    assert_int_equal(count_of(out, "shard "), 2);
    expect("moeparity report merge merged.json mpi*.json", 0, "4 cases: 4 passed", "");
    assert_equal_results("whole.json", "merged.json");
}

static void summaries_of_ci(void **state) {
    (void)state;
    expect("echo before > step; GITHUB_STEP_SUMMARY=$PWD/step moeparity run ok.yaml -q --subject host "
           "--summary step && "
           "cat step",
           0, "before\n### moeparity: passed\n", "");
    assert_non_null(strstr(out, "| 4 | 4 | 0 | 0 | 0 | 0 | "));
    expect("GITHUB_STEP_SUMMARY=$PWD/other moeparity run ok.yaml -q --subject host --shard 0/2 --summary "
           "step && cat "
           "step; ls other",
           2, "Shard 0/2: 2 of 4 cases.", "other");
    assert_null(strstr(out, "before"));
    expect("moeparity run ok.yaml -q --subject cuda --summary step && cat step; cat step", 0, "| 4 | ", "");
    assert_non_null(strstr(out, "### moeparity: skipped"));
    assert_non_null(strstr(out, "#### Skipped"));
    expect("moeparity run ok.yaml --subject host --summary no/such", 2, "", "cannot write no/such");
    expect("moeparity run ok.yaml --subject host --summary a --json a", 2, "", "a would be overwritten");
    no_temporary_files();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merged_is_whole),
        cmocka_unit_test(more_shards_than_cases),
        cmocka_unit_test(what_is_no_whole),
        cmocka_unit_test(the_exit_code_is_that_of_the_whole),
        cmocka_unit_test(files_of_one_name_and_other_contents),
        cmocka_unit_test(names_at_other_rows),
        cmocka_unit_test(rows_that_nobody_ran),
        cmocka_unit_test(goldens_in_parts),
        cmocka_unit_test(what_engines_tell),
        cmocka_unit_test(two_processes_of_mpirun),
        cmocka_unit_test(summaries_of_ci),
    };
    setenv("OMP_NUM_THREADS", "1",
           1); /* the planned memory is that of all threads, and mpirun binds to cores */
    return cmocka_run_group_tests_name("cli shards", tests, set_up, tear_down);
}
