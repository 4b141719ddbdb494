/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity infer through the program: what it prints, its JSON, its exit codes. */
#include "tests/cli_support.h"

static int link_plugins(void **state) {
    return set_up(state) || symlink(MP_PLUGINS, "plugins");
}

static void expect_in_out(const char *text) {
    if (!strstr(out, text)) fail_msg("no '%s' in\n%s", text, out);
}

static void the_host_is_found(void **state) {
    (void)state;
    expect("moeparity infer --subject host", 0, "\ncontract sm_90 act.bits=reported\n",
           ""); /* the C library's exp is not told apart in bf16 */
    expect_in_out("gate_up  fits\n  arithmetic: sm_90 tensor core, sm_100 tensor core; + bias, * weight; to "
                  "nearest, ties to even: 0 of ");
    expect_in_out("not separated by this data: functions the C library's\n");
    expect_in_out("rows of padding: untouched: 0 of ");
    expect_in_out("order of the sum, as revealed: ascending, 16 at once with the sum before them\n");
    expect_in_out("order of the sum, as revealed: sequential, ascending\n");
    assert_int_equal(count_of(out, "NO HYPOTHESIS FITS"), 0);
}

/* The contract that was found is one that a run passes: of the reference and of a stranger's pipeline. */
static void what_is_found_can_be_pasted(void **state) {
    (void)state;
    expect("moeparity infer --subject ref --json r.json --case 'M=32 topk=4 act=silu data=wide' "
           "--case 'M=32 topk=4 act=silu bias=1 rsf=2.5'",
           0, "\ncontract float64 ", "");
    json_t *report = json_file("r.json");
    assert_string_equal(json_string_value(json_object_get(report, "format")), "moeparity infer");
    assert_true(json_is_true(json_object_get(report, "fits")));
    assert_int_equal(json_array_size(json_object_get(report, "cases")), 2);
    assert_int_equal(json_array_size(json_object_get(report, "stages")), 5);
    assert_non_null(strstr(out, json_string_value(json_object_get(report, "contract"))));
    json_decref(report);
}

static void a_pipeline_in_c(void **state) {
    (void)state;
    expect("moeparity infer --subject plugin:plugins/pipeline.so -v", 0,
           "arithmetic: float32 fma, k ascending; ", "");
    expect_in_out("align    not seen: what it reads or leaves is not shown");
    expect_in_out("not run: pipeline: bf16, gated silu, route layout, no bias: that is all it knows");
    expect_in_out("gate_up.accumulator=fma-ascending");
    expect_in_out("down.accumulator=fma-ascending");
    expect_in_out("rows of filtered slots: zero: 0 of ");
    expect_in_out("by a reciprocal"); /* of two ways to write silu, the other one */
    assert_null(strstr(out, "not separated by this data: functions the C library's, by a reciprocal"));
    expect_in_out("order of the sum, as revealed: sequential, ascending");
}

/* Of one stage, in one process, or in a worker: the same. */
static void a_stage_alone(void **state) {
    (void)state;
    static char first[sizeof out];
    const char *line = "moeparity infer --subject host --stage combine --case 'M=32 topk=8 act=silu rsf=2.5'";
    expect(line, 0, "\ncombine  fits\n", "");
    assert_null(strstr(out, "\ngate_up"));
    strcpy(first, out);
    char command[256];
    snprintf(command, sizeof command, "%s --in-process", line);
    expect(command, 0, "\ncombine  fits\n", "");
    assert_string_equal(first, out);
    snprintf(command, sizeof command, "%s -v", line);
    expect(command, 0, "element-dtype\n", "");
}

static void exit_codes(void **state) {
    (void)state;
    expect("moeparity infer --subject nope", 2, "", "unknown subject 'nope'");
    expect("moeparity infer --subject host --case 'M=0'", 2, "",
           "M=0: expected at least one token to infer from");
    expect("moeparity infer --subject host --with 'dtype=fp61'", 2, "", "dtype=fp61: expected bf16");
    expect("moeparity infer --subject host --with 'dtype=fp16' --case M=1", 2, "",
           "--with is for the usual cases");
    expect("moeparity infer --subject host --stage combin", 2, "", "--stage combin: expected align, ");
    expect("moeparity infer --subject host --case M=4 --case 'M=4 dtype=fp16'", 2, "",
           "cases of bf16 silu and fp16 silu: a contract is of one kind of case");
    expect("moeparity infer --subject host --case M=4 --json nowhere/a.json", 2, "", "cannot write");
    expect("moeparity infer cases.yaml", 2, "", "infer takes no argument, not 'cases.yaml'");
    expect("moeparity infer --subject cuda --case M=4", 77, "", "no CUDA driver");
    expect("MOEPARITY_REQUIRE_GPU=1 moeparity infer --subject cuda --case M=4", 3, "", "no CUDA driver");
    expect("moeparity infer --subject plugin:plugins/pipeline.so --case 'M=4 act=gelu'", 77, "",
           "that is all it knows");
    /* A subject that dies or hangs takes nothing with it. */
    expect("moeparity infer --subject plugin:plugins/wrong.so,crash-run --case 'M=4 scope=act'", 3, "",
           "the worker died of signal 6");
    expect("moeparity infer --timeout 2 --subject plugin:plugins/wrong.so,hang-run --case 'M=4 scope=act'", 3,
           "", "the worker has not answered after 2 s");
    expect("moeparity infer --subject plugin:plugins/wrong.so,exit-run --case 'M=4 scope=act'", 3, "",
           "the worker ended with exit code 0");
    expect("moeparity infer --subject plugin:plugins/wrong.so --case 'M=40 N=64 scope=act'", 0,
           "\nact      fits\n", "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_host_is_found), cmocka_unit_test(what_is_found_can_be_pasted),
        cmocka_unit_test(a_pipeline_in_c), cmocka_unit_test(a_stage_alone), cmocka_unit_test(exit_codes)};
    return cmocka_run_group_tests(tests, link_plugins, tear_down);
}
