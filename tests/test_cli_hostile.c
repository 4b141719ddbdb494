/* SPDX-License-Identifier: Apache-2.0 */
/* The program among libraries that misbehave (tests/preload.c, tests/fake_cuda.c): a GPU whose kernels do
 * nothing, an HDF5 that crashes, workers that hang, a fault that only the case before brings out. */
#include "tests/cli_support.h"

#define ON_FAKE_GPU "LD_PRELOAD=" MP_FAKE_GPU " MOEPARITY_CACHE=cache moeparity "
#define DISTURBED "LD_PRELOAD=" MP_PRELOAD " moeparity "
#define TILE \
    "{\"8\": {\"BLOCK_SIZE_M\": 256, \"BLOCK_SIZE_N\": 256, \"BLOCK_SIZE_K\": 256, \"GROUP_SIZE_M\": 1}}"

/* The command of the first repro of the standard output. */
static void first_repro(char command[4096]) {
    const char *repro = strstr(out, "repro: ");
    assert_non_null(repro);
    assert_int_equal(sscanf(repro, "repro: %4095[^\n]", command), 1);
}

/* Who names a tile asks for it: that it cannot run is no reason to skip the case. */
static void a_tile_that_cannot_run_is_a_failure(void **state) {
    (void)state;
    const char *refused = "the tile that was asked for cannot run: tile 256x256x256x1x4x3 needs ";
    expect(ON_FAKE_GPU "run --case 'M=4 tile=256x256x256x1x4x3' --subject cuda --json t.json", 1, refused,
           "");
    json_t *report = json_file("t.json");
    assert_int_equal(total(report, "failed"), 1);
    json_decref(report);
    write_file("huge.json", TILE);
    expect(ON_FAKE_GPU "run --case M=4 --subject cuda --config huge.json", 1, refused, "");
    expect("mkdir found && cp huge.json 'found/E=8,N=256,device_name=Fake_GPU.json' && "
           "VLLM_TUNED_CONFIG_FOLDER=found " ON_FAKE_GPU "run --case M=4 --subject cuda",
           1, refused, "");
}

/* A grid of no blocks is an error of the driver: where there are no tokens only those kernels are started
 * that have something to do, and those that write align's zero are among them. */
static void no_tokens_start_no_empty_grid(void **state) {
    (void)state;
    static const char *const cases[] = {"M=0 K=64 N=32", "M=0 K=64 N=32 topk=4 fused_sum=1",
                                        "M=0 K=64 N=32 path=chunked", "M=0 scope=align"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char command[256];
        snprintf(command, sizeof command, ON_FAKE_GPU "run --case '%s' --subject cuda", cases[i]);
        expect(command, 1, "integer: align: num_tokens_post_padded[0] of chunk 0 is ", "");
    }
    expect(ON_FAKE_GPU "run --case 'M=0 N=32 scope=act' --case 'M=0 K=32 scope=combine' --subject cuda", 0,
           "2 passed", "");
}

/* Kernels that write nothing: no instruction holds, and there is no table to be kept. */
static void a_probe_of_nothing_does_not_hold(void **state) {
    (void)state;
    expect(ON_FAKE_GPU "probe --vectors 100 --json p.json", 1,
           "ex2 table           8388608 of 8388608 entries differ", "");
    assert_non_null(strstr(out, "the special-function unit of this sm_90 is NOT that of the model"));
    json_t *report = json_file("p.json"), *special = json_object_get(report, "special_unit");
    assert_true(json_is_false(json_object_get(report, "holds")));
    assert_true(json_is_false(json_object_get(special, "holds")));
    assert_int_equal(json_array_size(json_object_get(special, "instructions")), 10);
    json_decref(report);
    expect(ON_FAKE_GPU "probe --vectors 100 --tables new", 3, "",
           "--tables: 8388608 entries of ex2 are more than 127 ulps from the correctly rounded value: "
           "expected none");
    assert_int_equal(access("new/sm_90_ex2.z", F_OK), -1);
    expect(ON_FAKE_GPU "probe --vectors 1 --tables /proc/none", 2, "",
           "cannot create the directory /proc/none");
}

/* Kernels that write nothing: every stage differs, and each says where. */
static void every_stage_that_differs_is_in_the_report(void **state) {
    (void)state;
    static const char *const stages[] = {"gate_up", "act", "down", "combine"};
    static const json_int_t shapes[][3] = {{5, 2, 16}, {5, 2, 8}, {5, 2, 16}, {5, 16, 0}};
    expect(ON_FAKE_GPU "run --case 'M=5 E=2 K=16 N=8' --subject cuda --json all.json", 1, "1 failed", "");
    json_t *report = json_file("all.json");
    const json_t *v = json_array_get(json_object_get(report, "verdicts"), 0);
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        const json_t *stage = json_object_get(json_object_get(v, "stages"), stages[i]),
                     *shape = json_object_get(stage, "shape"), *first = json_object_get(stage, "first");
        const size_t rank = shapes[i][2] ? 3 : 2;
        json_int_t count = 1;
        assert_int_equal(json_array_size(shape), rank);
        assert_int_equal(json_array_size(first), rank);
        for (size_t d = 0; d < rank; d++) {
            assert_int_equal(json_integer_value(json_array_get(shape, d)), shapes[i][d]);
            count *= shapes[i][d];
        }
        assert_int_equal(json_integer_value(json_object_get(stage, "mispredicted")), count);
        char line[64];
        snprintf(line, sizeof line, "\n        %s: %lld of %lld elements differ", stages[i], (long long)count,
                 (long long)count);
        assert_non_null(strstr(out, line)); /* and on the terminal */
    }
    const json_t *worst = json_object_get(json_object_get(json_object_get(v, "stages"), "gate_up"), "worst");
    assert_int_equal(json_array_size(worst), 3);
    const json_t *align = json_object_get(json_object_get(v, "stages"), "align");
    assert_int_equal(json_array_size(json_object_get(align, "shape")), 2); /* of sorted_token_ids */
    assert_int_equal(json_array_size(json_object_get(align, "worst")), 2);
    json_decref(report);
}

/* Whatever the length of a name is: in messages, rows, reports and repros. */
static void texts_are_whole(void **state) {
    (void)state;
    static char name[2048], command[8192], repro[4096], xml[1 << 16], expected[4096];
    for (int i = 0; i < 9; i++) {
        memset(name + strlen(name), 'a' + i, 200);
        strcat(name, i < 8 ? "/" : "/t.json");
    }
    snprintf(command, sizeof command, "moeparity list %s", name);
    snprintf(expected, sizeof expected, "moeparity: %s: No such file or directory; expected a matrix file\n",
             name);
    expect(command, 2, "", "moeparity: ");
    assert_string_equal(err, expected);
    write_file("t.json", TILE);
    snprintf(command, sizeof command,
             "mkdir -p $(dirname %s) && mv t.json %s && " ON_FAKE_GPU
             "run --case M=4 --subject cuda --config %s --json long.json --junit long.xml",
             name, name, name);
    expect(command, 1, "1 failed", "");
    json_t *report = json_file("long.json");
    const json_t *v = json_array_get(json_object_get(report, "verdicts"), 0);
    snprintf(expected, sizeof expected,
             "moeparity run --case 'M=4 topk=2 act=silu' --subject cuda --config %s", name);
    first_repro(repro);
    assert_string_equal(repro, expected);
    assert_string_equal(json_string_value(json_object_get(v, "repro")), expected);
    assert_non_null(strstr(json_string_value(json_object_get(v, "config")), name));
    read_into(xml, sizeof xml, "long.xml");
    assert_non_null(strstr(xml, name));
    assert_null(strstr(xml, "..."));
    json_decref(report);
}

/* A row that fails only behind another one: its repro runs both. */
static void a_repro_replays_the_case_before(void **state) {
    (void)state;
    static const char *const first = "--case 'M=8 E=2 topk=1 K=16 N=8 act=gelu_tanh'",
                             *const second = "--case 'M=2 E=2 topk=1 K=16 N=8 act=gelu_tanh'";
    char command[1024], repro[4096], expected[1024];
    long calls = 0;
    snprintf(command, sizeof command, "MP_COUNT=1 " DISTURBED "run %s --subject host --in-process", first);
    expect(command, 0, "1 passed", " calls of exp\n");
    const char *count = strstr(err, " calls of exp");
    while (count > err && count[-1] >= '0' && count[-1] <= '9') count--;
    assert_int_equal(sscanf(count, "%ld", &calls), 1);
    snprintf(expected, sizeof expected, "%ld", calls);
    setenv("MP_EXP_LIMIT", expected, 1);
    snprintf(command, sizeof command, DISTURBED "run %s --subject host", second);
    expect(command, 0, "1 passed", ""); /* alone it passes */
    snprintf(command, sizeof command, DISTURBED "run %s %s --subject host", first, second);
    expect(command, 1, "2 cases: 1 passed, 1 failed", "");
    first_repro(repro);
    snprintf(expected, sizeof expected, "moeparity run %s %s --subject host", first, second);
    assert_string_equal(repro, expected);
    snprintf(command, sizeof command, "LD_PRELOAD=" MP_PRELOAD " %s", repro);
    expect(command, 1, "2 cases: 1 passed, 1 failed", "");
    unsetenv("MP_EXP_LIMIT");
}

/* Metadata on which libhdf5 dies, or loops: the file is bad input for every command, and is named. */
static void a_golden_that_libhdf5_does_not_survive(void **state) {
    (void)state;
    static const char *const commands[] = {"golden ls crash.h5", "golden verify crash.h5 --subject host",
                                           "golden diff plain.h5 crash.h5",
                                           "run --case 'M=1 K=16 N=8' --subject host --golden crash.h5"};
    expect("moeparity golden record plain.h5 --case 'M=1 K=16 N=8' --subject host && cp plain.h5 crash.h5 && "
           "cp plain.h5 hang.h5",
           0, "recorded 1 case", "");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char command[512];
        snprintf(command, sizeof command, DISTURBED "%s", commands[i]);
        expect(command, 2, "",
               "moeparity: crash.h5: libhdf5 crashed while it was read (signal 11): damaged or forged\n");
    }
    expect("timeout 30 env " DISTURBED "golden verify hang.h5 --subject host --timeout 1", 2, "",
           "moeparity: hang.h5: not read after 1 s\n");
    expect("timeout 30 env " DISTURBED
           "run --case 'M=1 K=16 N=8' --subject host --golden hang.h5 --timeout 1",
           2, "", "moeparity: hang.h5: not read after 1 s\n");
}

/* --timeout counts for the start of a worker too. */
static void a_worker_that_hangs_at_its_start(void **state) {
    (void)state;
    static const char *const commands[] = {"run --case M=1", "golden record h.h5 --case M=1",
                                           "run --case M=1 --jobs 2"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char command[512];
        snprintf(command, sizeof command,
                 "MP_WORKER_HANGS=1 timeout 30 env " DISTURBED "%s --subject host --timeout 1", commands[i]);
        expect(command, 3, "", "moeparity: the worker has not answered after 1 s");
    }
    assert_int_equal(access("h.h5", F_OK), -1);
}

/* In whichever command: the watchdog ends it, and what hung is named. */
static void a_case_that_hangs(void **state) {
    (void)state;
    static const struct {
        const char *command, *in_err;
    } lines[] = {
        {"run --case 'M=2 K=16 N=8 act=gelu_tanh' --subject host --json hang.json", ""},
        {"golden verify two.h5 --subject host --json hang.json", ""},
        {"golden record no.h5 --case 'M=2 K=16 N=8 act=gelu_tanh' --subject host",
         "moeparity: no.h5 was not written: a golden holds only cases that pass\n"},
    };
    expect("moeparity golden record two.h5 --case 'M=2 K=16 N=8 act=gelu_tanh' --subject host", 0,
           "recorded 1 case", "");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char command[512];
        snprintf(command, sizeof command, "MP_EXP_HANGS=1 timeout 30 env " DISTURBED "%s --timeout 1",
                 lines[i].command);
        expect(command, 3, "[TIMEOUT] M=2 topk=2 K=16 N=8 act=gelu_tanh  no verdict after 1 s (",
               lines[i].in_err);
        if (i == 2) break;
        json_t *report = json_file("hang.json");
        assert_int_equal(total(report, "timed_out"), 1);
        assert_int_equal(total(report, "exit_code"), 3);
        json_decref(report);
    }
    assert_int_equal(access("no.h5", F_OK), -1);
}

/* float64's own bound is one of the small values that gelu has at negative gates: a reference of which only
 * those are 2 % off is no longer the subject's. */
static void the_bound_of_gelu_is_as_small_as_gelu(void **state) {
    (void)state;
    static const char *const run = "run --case 'scope=act act=gelu data=exhaustive M=128 topk=1 N=512' "
                                   "--subject ref --repeat 1 --json gelu.json";
    char command[512];
    snprintf(command, sizeof command, DISTURBED "%s", run);
    expect(command, 0, "1 passed", "");
    snprintf(command, sizeof command, "MP_ERFC_LIMIT=33000 " DISTURBED "%s",
             run); /* the subject takes 32640 */
    expect(command, 1, "        bound: act: ", "");
    json_t *report = json_file("gelu.json");
    const json_t *v = json_array_get(json_object_get(report, "verdicts"), 0),
                 *act = json_object_get(json_object_get(v, "stages"), "act");
    assert_in_range(json_integer_value(json_object_get(act, "failed")), 10, 1000);
    json_decref(report);
}

int main(void) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    puts(
        "SKIP: every test puts a library in front of the program's, where a sanitizer wants to be the first");
    return 77;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tile_that_cannot_run_is_a_failure),
        cmocka_unit_test(no_tokens_start_no_empty_grid),
        cmocka_unit_test(a_probe_of_nothing_does_not_hold),
        cmocka_unit_test(every_stage_that_differs_is_in_the_report),
        cmocka_unit_test(texts_are_whole),
        cmocka_unit_test(a_repro_replays_the_case_before),
        cmocka_unit_test(a_golden_that_libhdf5_does_not_survive),
        cmocka_unit_test(a_worker_that_hangs_at_its_start),
        cmocka_unit_test(a_case_that_hangs),
        cmocka_unit_test(the_bound_of_gelu_is_as_small_as_gelu),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
