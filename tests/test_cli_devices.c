/* SPDX-License-Identifier: Apache-2.0 */
/* --devices: a driver that tells of two GPUs, and a program that says which one it sees. No kernel runs. */
#include "tests/cli_support.h"

#include <stdbool.h>

#define WITH(variables) variables " MP_FAKE_DEVICES=2 LD_PRELOAD=" MP_FAKE_GPU " moeparity "
#define TWO WITH("CUDA_VISIBLE_DEVICES=GPU-slow,GPU-quick")
#define SUBJECT(how) "--subject 'worker:python3 " MP_TALKER " " how "' "

static const char *text_of(const json_t *verdict, const char *key) {
    return json_string_value(json_object_get(verdict, key));
}

/* Each worker and its program see one; the one that is free sooner gets more. */
static void rows_go_to_the_device_that_is_free(void **state) {
    (void)state;
    int rows[2] = {0};
    json_t *v;
    size_t i;
    expect(TWO "run act.yaml --devices all --json r.json " SUBJECT("visible"), 0, "12 passed", "");
    json_t *report = json_file("r.json");
    json_array_foreach(json_object_get(report, "verdicts"), i, v) {
        const bool quick = strcmp(text_of(v, "device"), "1") == 0;
        assert_non_null(strstr(text_of(v, "weaker"), quick ? "sees GPU-quick" : "sees GPU-slow"));
        assert_null(strstr(text_of(v, "repro"), "--devices")); /* it passed */
        rows[quick]++;
    }
    assert_int_equal(rows[0] + rows[1], 12);
    assert_in_range(rows[0], 1, 2); /* the other one has had ten while it was at its first */
    json_decref(report);
}

static void one_of_several(void **state) {
    (void)state;
    expect(TWO "run act.yaml --match seed=0 --devices 1 " SUBJECT("visible"), 0, "sees GPU-quick", "");
    assert_non_null(strstr(out, "device of 1 case: 1"));
    expect(WITH("unset CUDA_VISIBLE_DEVICES;") "run act.yaml --match seed=0 --devices 1 " SUBJECT("visible"),
           0, "sees 1", "");
    expect(TWO "run act.yaml --match seed=0 " SUBJECT("visible"), 0, "sees GPU-slow,GPU-quick", "");
    assert_null(strstr(out, "device of"));
}

/* What fails is repeated on the device on which it failed; what a dead worker leaves, too. */
static void the_repro_names_the_device(void **state) {
    (void)state;
    expect(TWO "run act.yaml --match seed=0 --devices 1 " SUBJECT("wrong"), 1, " --devices 1\n", "");
    expect(TWO "run act.yaml --match seed=0 --devices 1 --json r.json " SUBJECT("kill-run"), 3,
           " --devices 1\n", "");
    json_t *report = json_file("r.json");
    assert_string_equal(text_of(json_array_get(json_object_get(report, "verdicts"), 0), "device"), "1");
    json_decref(report);
    /* behind others, it is run again on the same one */
    expect(TWO "run act.yaml --match 'seed<4' --devices 1,0 --jobs 1 " SUBJECT("wrong"), 1, "4 failed", "");
    assert_int_equal(count_of(out, " --devices 1\n") + count_of(out, " --devices 0\n"), 4);
    assert_int_equal(count_of(out, "repro: "), 4);
}

static void jobs_are_those_of_each(void **state) {
    (void)state;
    expect(TWO "run act.yaml --match 'seed<4' --devices all --jobs 2 " SUBJECT("visible"), 0, "4 passed", "");
    expect(TWO "run act.yaml --devices all --jobs 40 " SUBJECT("visible"), 2, "",
           "devices all need 80 workers: expected at most 64");
}

static void what_is_not_there(void **state) {
    (void)state;
    expect(TWO "run act.yaml --devices 2 " SUBJECT(""), 2, "",
           "there is no device 2: this machine has 2, from 0 on");
    expect(TWO "run act.yaml --devices 0,x " SUBJECT(""), 2, "",
           "expected the numbers of devices, as 0,1, or all");
    expect(TWO "run act.yaml --devices 0,0 " SUBJECT(""), 2, "", "0 is named twice");
    expect(TWO "run act.yaml --devices 5 --dry-run " SUBJECT(""), 2, "", "there is no device 5");
    expect(TWO "golden record g.h5 act.yaml --devices 0,1 " SUBJECT(""), 2, "",
           "devices 0,1 need 2 workers: expected at most 1, as a recording has");
    expect(TWO "golden record g.h5 act.yaml --match seed=0 --devices 1 " SUBJECT("") "-q", 0,
           "recorded 1 case", "");
    expect(TWO "run act.yaml --devices 0 --in-process " SUBJECT(""), 2, "",
           "--in-process and --devices exclude each other: CUDA_VISIBLE_DEVICES says which");
    expect("MP_FAKE_DEVICES=0 LD_PRELOAD=" MP_FAKE_GPU " moeparity run act.yaml --devices all", 2, "",
           "there is no device on this machine");
    expect("LD_PRELOAD=" MP_PRELOAD " moeparity run act.yaml --devices 0 " SUBJECT(""), 2, "",
           "--devices 0: ");
    expect("moeparity run act.yaml --devices", 2, "", "--devices: expected LIST behind it");
}

static int with_a_matrix(void **state) {
    if (set_up(state)) return -1;
    write_file("act.yaml",
               "groups:\n  - name: act\n    axes: {M: 4, N: 8, scope: act, seed: [0, 1, 2, 3, 4, 5, 6, 7, "
               "8, 9, 10, 11]}\n");
    return 0;
}

int main(void) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    puts(
        "SKIP: every test puts a library in front of the program's, where a sanitizer wants to be the first");
    return 77;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_go_to_the_device_that_is_free),
        cmocka_unit_test(one_of_several),
        cmocka_unit_test(the_repro_names_the_device),
        cmocka_unit_test(jobs_are_those_of_each),
        cmocka_unit_test(what_is_not_there),
    };
    return cmocka_run_group_tests_name("cli devices", tests, with_a_matrix, tear_down);
}
