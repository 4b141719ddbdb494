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
    expect_in_out("gate_up  fits\n  arithmetic: sm_90 tensor core, sm_100 tensor core, sm_120 tensor "
                  "core; + bias, * weight; to "
                  "nearest, ties to even: 0 of ");
    expect_in_out("not separated by this data: functions the C library's\n");
    expect_in_out("rows of padding: untouched: 0 of ");
    expect_in_out("order of the sum, as revealed: ascending, 16 at once with the sum before them\n");
    expect_in_out("order of the sum, as revealed: sequential, ascending\n");
    assert_int_equal(count_of(out, "NO HYPOTHESIS FITS"), 0);
}

static void a_reference_is_found(void **state) {
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

/* Judges the plug-in with this contract behind its path; *report is then that of the run. */
static void run_with(const char *contract, int code, const char *in_out, json_t **report) {
    char command[2048];
    snprintf(command, sizeof command,
             "moeparity run --case 'M=32 topk=2 act=silu data=wide' --case 'M=8 topk=2 filter=0.3 rsf=2.5' "
             "--json p.json --subject 'plugin:plugins/pipeline.so,%s'",
             contract);
    expect(command, code, in_out, "");
    *report = json_file("p.json");
}

/* The line that was printed for a plug-in, of `out`, pasted into that plug-in: it passes with all the bits
 * that the line requires, and a line that says something else fails. */
static void paste_the_line(void) {
    char line[1024], wrong[1200];
    const char *at = strstr(out, "\ncontract ");
    json_t *report;
    assert_non_null(at);
    assert_int_equal(sscanf(at, "\ncontract %1023[^\n]", line), 1);
    assert_non_null(strstr(line, "gate_up.bits=required act.bits=reported down.bits=required "
                                 "combine.bits=required"));
    run_with(line, 0, "2 cases: 2 passed", &report);
    assert_null(strstr(out, "weaker checks"));
    for (size_t i = 0; i < 2; i++) {
        const json_t *v = json_array_get(json_object_get(report, "verdicts"), i);
        const json_t *bits = json_object_get(json_object_get(v, "checks"), "bits"),
                     *stages = json_object_get(v, "stages"), *stage;
        const char *name;
        int predicted = 0;
        assert_string_equal(json_string_value(json_object_get(bits, "answer")), "passed");
        json_object_foreach((json_t *)stages, name, stage) {
            predicted += json_integer_value(json_object_get(stage, "predicted")) > 0;
            assert_int_equal(json_integer_value(json_object_get(stage, "mispredicted")), 0);
        }
        assert_int_equal(predicted, 4); /* all but align, which it does not show */
    }
    json_decref(report);
    static const char *const others[][2] = {
        {"combine.variant=round-then-scale", "bits: combine: "},
        {"gate_up.accumulator=tensor-core gate_up.group=16 gate_up.fraction_bits=25 "
         "gate_up.result_fraction_bits=23 gate_up.zero_exponent=-133",
         "bits: gate_up: "},
        {"down.filtered=untouched", "poison: "},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(wrong, sizeof wrong, "%s %s", line, others[i][0]);
        run_with(wrong, 1, others[i][1], &report);
        json_decref(report);
    }
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
    assert_null(strstr(out, "align.deterministic=1"));
    assert_null(strstr(out, "align.batch_invariant=1"));
    assert_null(strstr(out, "clamp_nan")); /* silu clamps nothing */
    paste_the_line();
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
           "the worker died of signal 6 (Aborted) before it answered (run M=4 topk=2 act=silu scope=act");
    expect("moeparity infer --timeout 2 --subject plugin:plugins/wrong.so,hang-run --case 'M=4 scope=act'", 3,
           "", "the worker has not answered after 2 s");
    expect("moeparity infer --subject plugin:plugins/wrong.so,exit-run --case 'M=4 scope=act'", 3, "",
           "the worker ended with exit code 0");
    expect("moeparity infer --subject plugin:plugins/wrong.so --case 'M=40 N=64 scope=act'", 0,
           "\nact      fits\n", "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_host_is_found), cmocka_unit_test(a_reference_is_found),
        cmocka_unit_test(a_pipeline_in_c), cmocka_unit_test(a_stage_alone), cmocka_unit_test(exit_codes)};
    return cmocka_run_group_tests(tests, link_plugins, tear_down);
}
