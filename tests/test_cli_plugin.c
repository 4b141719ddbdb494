/* SPDX-License-Identifier: Apache-2.0 */
/* Plug-ins through the program: right ones in C and in C++ are judged like any subject, and each way to
 * misbehave has a verdict of its own. MP_PLUGINS is the folder of those in tests/plugins. */
#include "tests/cli_support.h"

#define ACT "moeparity run --case 'M=4 scope=act' --timeout 2 --subject plugin:plugins/"
#define WRONG ACT "wrong.so"

static int link_plugins(void **state) {
    return set_up(state) || symlink(MP_PLUGINS, "plugins");
}

static void a_pipeline_in_c(void **state) {
    (void)state;
    expect(
        "moeparity run --subject plugin:plugins/pipeline.so --case 'M=32 topk=2 act=silu' "
        "--case 'M=8 topk=1 K=64 N=48' --case 'M=8 topk=2 filter=0.3 rsf=2.5' --case 'M=9 mode=no_combine' "
        "--case 'M=9 mode=inplace' --case 'M=9 apply_router_weight_on_input=1' --case 'M=9 act=gelu'",
        0, "7 cases: 6 passed, 0 failed, 1 skipped", "");
    assert_non_null(strstr(out, "pipeline: bf16, gated silu, route layout, no bias: that is all it knows"));
    assert_non_null(strstr(out, "subject plugin:plugins/pipeline.so on "));
    assert_non_null(strstr(out, ", pipeline 1.0, "));
    /* Ids by a map, sentinels, a weight that is kept: a plug-in that says that it knows them. */
    expect("moeparity run --subject plugin:plugins/pipeline.so --case 'M=9 ep_size=4 ep_rank=3 E=2 "
           "expert_map=round_robin routing=padded' --case 'M=9 filter=0.5 sentinel=any data=unused' "
           "--case 'M=9 mode=no_combine no_combine_keep_router_weight=1'",
           0, "3 passed", "");
    expect(
        "moeparity run --subject plugin:plugins/pipeline.so --case 'M=9 weight_row_gap=3 "
        "weight_expert_gap=100 buffer_offset=1' --case M=9 --pair 'weight_row_gap=8' --pair buffer_offset=5",
        0, "2 passed", "");
    /* Without a contract nothing is promised but what a sane kernel meets, and the report says what is given
     * away; a pair shows its bits. */
    expect(
        "moeparity run --case 'M=32 topk=2 act=silu' --pair path=runner --subject plugin:plugins/pipeline.so",
        0, "bits=equal (path=runner)", "");
    assert_non_null(strstr(out, "weaker checks in 1 case: contract any: before the last rounding errors may "
                                "be larger than under sm_90, 4.8 times in gate_up, "));
    /* It is recorded, and verified against itself, if it repeats. */
    expect("moeparity golden record q.h5 --case M=7 --subject plugin:plugins/pipeline.so,any", 0,
           "of 1 of them the contract promises no bits that repeat: nothing of theirs can be verified", "");
    expect("moeparity golden record p.h5 --case M=7 --subject plugin:plugins/pipeline.so", 0,
           "recorded 1 case", "");
    expect("moeparity run --case M=7 --golden p.h5 --subject plugin:plugins/pipeline.so", 0, "1 passed", "");
}

/* A case with a field that a plug-in has never heard of is not run on another problem. */
static void younger_fields_are_a_skip(void **state) {
    (void)state;
    expect("moeparity run --case 'M=4 scope=act filter=0.5 sentinel=E' --subject plugin:plugins/wrong.so", 77,
           "sentinel=E: wrong does not say that it takes sentinel", "");
    expect(
        "moeparity run --case 'M=4 scope=act ep_size=2 expert_map=linear' --subject plugin:plugins/wrong.so",
        77, "expert_map=linear: wrong does not say that it takes expert_map", "");
    expect("moeparity run --case 'M=4 layout=masked' --subject plugin:plugins/wrong.so", 77,
           "layout=masked: wrong does not say that it takes masked", "");
}

/* What act reads and what a contract says that it reads are one. */
static void cache1_cannot_be_shown_and_not_stored(void **state) {
    (void)state;
    expect("moeparity run --case M=7 --subject 'plugin:plugins/pipeline.so,sm_90 act.input=float32'", 3,
           "exposes cache1, and its contract has act.input=float32", "");
}

static void an_activation_in_cpp(void **state) {
    (void)state;
    if (access("plugins/act.so", R_OK) != 0) skip(); /* no C++ compiler */
    expect(ACT "act.so", 0, "1 passed", "");
    expect("moeparity run --case 'M=70 N=100 filter=0.3 scope=act' --subject plugin:plugins/act.so", 0,
           "1 passed", "");
    /* no tokens are a batch too */
    expect("moeparity run --case 'M=0 K=16 N=8' --case 'M=0 K=16 N=8 mode=no_combine' "
           "--subject plugin:plugins/pipeline.so",
           0, "2 passed", "");
    expect("moeparity run --case 'M=0 N=8 scope=act' --subject plugin:plugins/act.so", 0, "1 passed", "");
    expect("moeparity run --case M=4 --subject plugin:plugins/act.so", 77, "not M=4 topk=2 act=silu", "");
    expect(ACT "act.so,fast=1", 2, "", "moeparity: act: it takes no words");
}

static void a_combine_in_cuda(void **state) {
    (void)state;
    if (access("plugins/combine.so", R_OK) != 0) skip(); /* no CUDA compiler */
    expect("CUDA_VISIBLE_DEVICES= moeparity run --case 'M=64 topk=4 scope=combine' --subject "
           "plugin:plugins/combine.so",
           77, "1 skipped", "");
    expect("CUDA_VISIBLE_DEVICES= MOEPARITY_REQUIRE_GPU=1 moeparity run --case 'M=64 topk=4 scope=combine' "
           "--subject plugin:plugins/combine.so",
           3, "1 skipped", "");
}

/* On the device of tests/fake_cuda.c, which copies. */
#define COPY                                                                                                 \
    "LD_PRELOAD=" MP_FAKE_GPU " MOEPARITY_CACHE=cache moeparity run --case 'M=9 topk=1 K=40 scope=combine' " \
    "--json copy.json --subject plugin:plugins/copy.so"

static void graphs_and_streams_are_asked_of_who_offers_them(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    print_message(
        "SKIP: a fake driver is put in front of the program, where a sanitizer wants to be the first\n");
    skip();
#endif
    static const struct {
        const char *words;
        int code;
        const char *text;
    } ways[] = {
        {" --strict", 0, "golden 1, bits 1, ranks 1\n"},
        {",no-graphs --strict", 0, "ranks 1, graph 1\n"},
        {",no-overlap --strict", 0, "ranks 1, streams 1\n"},
        {",waits", 1, "graph: what it begins cannot be recorded: copy: the driver refused it ("},
        {",waits-unseen", 1,
         "graph: what it begins cannot be recorded: cuStreamEndCapture(stream, &captured): "
         "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"},
        {",default-stream", 1, "graph: replayed after other inputs: "},
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char command[512];
        snprintf(command, sizeof command, COPY "%s", ways[i].words);
        expect(command, ways[i].code, ways[i].text, "");
    }
}

static void what_is_no_plugin(void **state) {
    (void)state;
    expect("WRONG_PLUGIN=words " ACT "wrong.so,tile=128", 2, "", "'tile=128': this plug-in takes no words");
    expect(ACT "none.so", 2, "", "moeparity: cannot load the plug-in: plugins/none.so: cannot open");
    write_file("text.so", "this is no library");
    expect("moeparity run --case M=4 --subject plugin:text.so", 2, "",
           "cannot load the plug-in: ./text.so: ");
    expect("moeparity run --case M=4 --subject plugin:", 2, "", "expected plugin:PATH[,words]");
    expect("moeparity run --case M=4 --subject plugin:libm.so.6", 2, "", "./libm.so.6: cannot open");
    static const char *const variants[][2] = {
        {"null", "moeparity_plugin returned NULL"},
        {"abi", "speaks version 2 of the plug-in interface; this program speaks 1"},
        {"size", "its mp_plugin has 16 bytes; expected at least "},
        {"name", "its mp_plugin has no name"},
        {"run", "its mp_plugin has no run"},
        {"device", "wrong works on 'tpu': expected host or cuda"},
    };
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        char command[256];
        snprintf(command, sizeof command, "WRONG_PLUGIN=%s " WRONG, variants[i][0]);
        expect(command, 2, "", variants[i][1]);
    }
    expect("WRONG_PLUGIN=newer " WRONG, 0, "1 passed", ""); /* members that we do not know */
}

static void misbehaviour_has_a_verdict(void **state) {
    (void)state;
    static const struct {
        const char *word;
        int code;
        const char *in_out, *in_err;
    } ways[] = {
        {"", 0, "1 passed", ""},
        {",crash-open", 3, "", "the worker died of signal 6 (Aborted) before it answered (subject)"},
        {",exit-open", 3, "", "the worker ended with exit code 0 before it answered (subject)"},
        {",hang-open", 3, "", "the worker has not answered after 2 s (subject)"},
        {",invalid", 2, "", "moeparity: wrong: no such word"},
        {",not-here", 77, "wrong: needs another machine", ""},
        {",crash-describe", 3, "", "the worker died of signal 6 (Aborted) before it answered (tiles)"},
        {",hang-describe", 3, "", "the worker has not answered after 2 s (tiles)"},
        {",no-contract", 3, "describes itself wrongly: unknown contract 'sm_91': expected float64, ", ""},
        {",no-field", 3, "describes itself wrongly: contract: unknown field 'act.ulp'; there are ", ""},
        {",no-value", 3, "describes itself wrongly: contract: 'act.ulps': expected name=value", ""},
        {",no-tensor", 3, "'cache4' is no output of a stage: expected one of ", ""},
        {",no-output", 3, "exposes no output", ""},
        {",no-block", 3, "BLOCK_SIZE_M=7: expected a power of two in 16..256, or 144", ""},
        {",no-stream", 3, "offers graphs, and has no begin", ""},
        {",no-reason", 3, "wrong: failed without a reason", ""},
        {",unterminated", 3, "wrong: xxxxxxxx", ""},
        {",memory", 77, "needs 1048576.0 GiB of host memory", ""},
        {",crash-run", 3, "the worker died of signal 6 (Aborted) before its verdict (run)", ""},
        {",exit-run", 3, "the worker ended with exit code 0 before its verdict (run)", ""},
        {",hang-run", 3, "[TIMEOUT] M=4 topk=2 act=silu scope=act", ""},
        {",failed", 3, "[CRASH] M=4 topk=2 act=silu scope=act  wrong: the kernel said no", ""},
        {",late-words", 3, "[CRASH] M=4 topk=2 act=silu scope=act  wrong: too late", ""},
        {",behind", 1, "guard: cache2: byte 4096 of a buffer of 4096 was written", ""},
        {",before", 1, "guard: cache2: byte -2 of a buffer of 4096 was written", ""},
        {",workspace", 1, "guard: workspace 3: byte 12 of a buffer of 12 was written", ""},
        {",input", 1, "input: cache1 changed", ""},
        {",forgets", 1, "poison: act: token 0 slot 0 column 3, expert 1: never written", ""},
        {",wrong", 1, "bound: act: token 0 slot 0 column 3, expert 1: ", ""},
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char command[256];
        snprintf(command, sizeof command, WRONG "%s", ways[i].word);
        expect(command, ways[i].code, ways[i].in_out, ways[i].in_err);
    }
}

/* Scratch that is not set up anew is right on new buffers, and wrong on those that another run has used. */
static void what_lives_on_the_run_before(void **state) {
    (void)state;
    expect(WRONG ",scratch", 0, "1 passed", "");
    expect(WRONG " --after seed=1 --after M=70 --strict", 0, "1 passed", "");
    expect("moeparity run --case 'M=4 scope=act' --after M=7 --subject plugin:plugins/wrong.so,scratch", 1,
           "sequence: after M=7: ", "");
    assert_non_null(strstr(out, "repro: moeparity run --case 'M=4 topk=2 act=silu scope=act' --after M=7 "
                                "--subject plugin:plugins/wrong.so,scratch"));
}

#define RUN "moeparity run --timeout 2 --subject plugin:plugins/wrong.so"
#define CASE(m) " --case 'M=" #m " topk=2 act=silu scope=act'"

/* The line behind "repro: " of the n-th row that has one, run as it stands. */
static void run_the_repro(int n, const char *expected, int code) {
    char line[4096];
    const char *from = out;
    for (int i = 0; i <= n; i++) {
        from = strstr(from, "repro: ");
        if (!from) fail_msg("no repro %d in\n%s", i, out);
        from += strlen("repro: ");
    }
    snprintf(line, sizeof line, "%.*s", (int)strcspn(from, "\n"), from);
    if (strcmp(line, expected) != 0) fail_msg("%s\ninstead of\n%s", line, expected);
    expect(line, code, "", "");
}

/* A row that passes alone says so, and its repro fails as it stands: it runs the rows that spoil it. */
static void what_lives_on_other_rows(void **state) {
    (void)state;
    expect(RUN ",flag" CASE(3) CASE(70) CASE(71) CASE(6) CASE(7) " --json flag.json", 1,
           "passes alone; failed after 3 rows of the same process; the last of them is enough\n", "");
    assert_non_null(strstr(out, "5 cases: 4 passed, 1 failed"));
    json_t *all = json_file("flag.json");
    const json_t *spoilt = json_array_get(json_object_get(all, "verdicts"), 3);
    assert_string_equal(json_string_value(json_object_get(spoilt, "history")),
                        "passes alone; failed after 3 rows of the same process; the last of them is enough");
    json_decref(all);
    run_the_repro(0, "moeparity run" CASE(71) CASE(6) " --subject plugin:plugins/wrong.so,flag --timeout 2",
                  1);
    assert_non_null(strstr(out, "2 cases: 1 passed, 1 failed"));

    expect(RUN ",flag-crash" CASE(70) CASE(6), 3, "passes alone; failed after 1 row of the same process\n",
           "");
    run_the_repro(
        0, "moeparity run" CASE(70) CASE(6) " --subject plugin:plugins/wrong.so,flag-crash --timeout 2", 3);
    expect(RUN ",flag-hang" CASE(70) CASE(6), 3, "[TIMEOUT] M=6 ", "");
    run_the_repro(
        0, "moeparity run" CASE(70) CASE(6) " --subject plugin:plugins/wrong.so,flag-hang --timeout 2", 3);
    /* Two runs a row: the ninth is in the fifth. */
    expect(RUN ",worn" CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6), 1,
           "passes alone; failed after 4 rows of the same process\n", "");
    run_the_repro(0,
                  "moeparity run" CASE(1) CASE(2) CASE(3) CASE(4)
                      CASE(5) " --subject plugin:plugins/wrong.so,worn --timeout 2",
                  1);
}

/* One that fails alone as well needs nothing before it. */
static void what_is_wrong_for_itself(void **state) {
    (void)state;
    expect(RUN ",wrong" CASE(70) CASE(6), 1, "2 cases: 0 passed, 2 failed", "");
    assert_null(strstr(out, "of the same process"));
    run_the_repro(1, "moeparity run" CASE(6) " --subject plugin:plugins/wrong.so,wrong --timeout 2", 1);
}

/* In this process nothing can be run again: the line has all that ran before. */
static void in_process_all_rows_are_named(void **state) {
    (void)state;
    expect(RUN ",flag" CASE(70) CASE(71) CASE(6) " --in-process", 1, "3 cases: 2 passed, 1 failed", "");
    assert_null(strstr(out, "passes alone"));
    run_the_repro(
        0, "moeparity run" CASE(70) CASE(71) CASE(6) " --subject plugin:plugins/wrong.so,flag --timeout 2",
        1);
}

/* Nobody else's code is run by the program itself. */
static void it_is_loaded_by_a_worker_alone(void **state) {
    (void)state;
    expect("WRONG_PLUGIN=crash " WRONG " --dry-run", 0, "nothing was run", "");
    expect("WRONG_PLUGIN=crash " WRONG, 3, "", "the worker died of signal 6 (Aborted)");
    expect("WRONG_PLUGIN=crash moeparity show --case 'M=4 scope=act' --subject plugin:plugins/wrong.so", 3,
           "", "died of signal 6 (Aborted)");
    expect("moeparity show --case 'M=4 scope=act' --subject plugin:plugins/wrong.so", 0,
           "contract  any: ", "");
    expect("moeparity run --case 'M=4 scope=act' --subject plugin:plugins/wrong.so", 0,
           "weaker checks in 1 case: contract any: before the last rounding errors may be larger than under "
           "sm_90, 7.5e+03 times in act",
           "");
}

/* What a smaller batch does not show is not proven by what it does. */
static void a_smaller_batch_that_hides_is_not_proven(void **state) {
    (void)state;
    write_file("E=4,N=32,device_name=Nobodys.json",
               "{\"16\": {\"BLOCK_SIZE_M\": 16, \"BLOCK_SIZE_N\": 32, \"BLOCK_SIZE_K\": 32, "
               "\"GROUP_SIZE_M\": 1, \"num_warps\": 4, \"num_stages\": 2}}");
#define PROVE(words)                                                                             \
    "moeparity tune verify E=4,N=32,device_name=Nobodys.json -v --with 'K=64 topk=2' --subject " \
    "'plugin:plugins/pipeline.so," words "'"
    expect(PROVE("ieee-any-order"), 0, "3 batch sizes: 3 proven", "");
    expect(PROVE("shy ieee-any-order"), 1, "[--] M=1 (below all keys): does not show cache2", "");
    assert_non_null(strstr(out, "3 batch sizes: 2 proven, 0 refuted, 1 not proven"));
}

/* Nor is a tile by the stages before those that it is for: cache1 says nothing of down. */
static void what_shows_no_output_is_not_proven(void **state) {
    (void)state;
    write_file("E=4,N=32,device_name=Few.json",
               "{\"4\": {\"BLOCK_SIZE_M\": 16, \"BLOCK_SIZE_N\": 32, \"BLOCK_SIZE_K\": 32, "
               "\"GROUP_SIZE_M\": 1, \"num_warps\": 4, \"num_stages\": 2}}");
#define PROVE_FEW(words)                                                                                     \
    "moeparity tune verify E=4,N=32,device_name=Few.json -v --with 'K=64 topk=2' --most 8 --each --subject " \
    "'plugin:plugins/pipeline.so," words "'"
    expect(PROVE_FEW("ieee-any-order"), 0, "3 batch sizes: 3 proven", "");
    expect(PROVE_FEW("shy ieee-any-order"), 1, "3 batch sizes: 0 proven, 0 refuted, 3 not proven", "");
    assert_non_null(strstr(out, "not judged: nothing is exposed from act on"));
    expect("moeparity run --case 'M=8 topk=2 K=64 N=32' --strict --subject "
           "'plugin:plugins/pipeline.so,shy ieee-any-order'",
           1, "bound: strict: not judged: nothing is exposed from act on", "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pipeline_in_c),
        cmocka_unit_test(younger_fields_are_a_skip),
        cmocka_unit_test(cache1_cannot_be_shown_and_not_stored),
        cmocka_unit_test(an_activation_in_cpp),
        cmocka_unit_test(a_combine_in_cuda),
        cmocka_unit_test(graphs_and_streams_are_asked_of_who_offers_them),
        cmocka_unit_test(what_is_no_plugin),
        cmocka_unit_test(misbehaviour_has_a_verdict),
        cmocka_unit_test(what_lives_on_the_run_before),
        cmocka_unit_test(what_lives_on_other_rows),
        cmocka_unit_test(what_is_wrong_for_itself),
        cmocka_unit_test(in_process_all_rows_are_named),
        cmocka_unit_test(it_is_loaded_by_a_worker_alone),
        cmocka_unit_test(a_smaller_batch_that_hides_is_not_proven),
        cmocka_unit_test(what_shows_no_output_is_not_proven),
    };
    return cmocka_run_group_tests(tests, link_plugins, tear_down);
}
