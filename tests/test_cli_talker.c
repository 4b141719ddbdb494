/* SPDX-License-Identifier: Apache-2.0 */
/* Subjects that are programs, `worker:COMMAND`: a right one is judged like any other, and nonsense, silence
 * and death at any byte have their verdicts. MP_TALKER is tests/plugins/talker.py. */
#include "tests/cli_support.h"

#define TALK "moeparity run --case 'M=4 N=8 scope=act' --timeout 3 --subject \"worker:python3 $TALKER "
#define WORDS(words) TALK words "\""

static int set_up_talker(void **state) {
    setenv("TALKER", MP_TALKER, 1);
    return set_up(state);
}

static void a_program_is_judged(void **state) {
    (void)state;
    expect(WORDS(""), 0, "1 passed", "");
    expect("moeparity run --case 'M=0 N=8 scope=act' --subject \"worker:python3 $TALKER\"", 0, "1 passed",
           ""); /* no tokens: tensors of no bytes */
    expect(WORDS("prints"), 0, "1 passed", "this is no answer");
    assert_non_null(strstr(out, "subject worker:python3 "));
    assert_non_null(strstr(out, ", talker 1.0, "));
    expect(
        "moeparity run --case 'M=7 N=24 filter=0.4 scope=act' --case 'M=70 N=8 topk=1 scope=act' --case M=4 "
        "--jobs 2 --subject \"worker:python3 $TALKER\"",
        0, "3 cases: 2 passed, 0 failed, 1 skipped", "");
    assert_non_null(strstr(out, "act alone, not M=4 topk=2 act=silu"));
    /* It says of no younger field that it knows it. */
    expect(
        "moeparity run --case 'M=4 N=8 scope=act filter=1 sentinel=E' --subject \"worker:python3 $TALKER\"",
        77, "sentinel=E: talker does not say that it takes sentinel", "");
    expect("moeparity show --case 'M=4 N=8 scope=act' --subject \"worker:python3 $TALKER\"", 0,
           "contract  ieee-any-order: ", "");
    /* What is too long for its place ends with three dots. */
    expect(WORDS("wordy"), 0, "weaker checks in 1 case: weak weak ", "");
    assert_non_null(strstr(out, " weak weak ...; contract any: before the last rounding errors may be "));
    assert_non_null(strstr(out, ", talker 1.0, 1.0, "));
    assert_non_null(strstr(out, " 1.0, 1.0, ..."));
    expect(WORDS("unversioned"), 0, ", talker, ", ""); /* no blank where the version would be */
    /* Its repro starts it again. */
    expect(WORDS("wrong"), 1, "begins in act: one row, column 3", "");
    const char *repro = strstr(out, "repro: ");
    char command[4096];
    assert_non_null(repro);
    assert_int_equal(sscanf(repro, "repro: %4095[^\n]", command), 1);
    expect(command, 1, "begins in act: one row, column 3", "");
}

static void no_program(void **state) {
    (void)state;
    expect("moeparity run --case M=4 --subject worker:", 2, "", "expected worker:COMMAND");
    expect("moeparity run --case M=4 --subject \"worker:'a\"", 2, "", "quoted as for a shell");
    expect("moeparity run --case M=4 --subject worker:no-such-program", 2, "",
           "there is no such program on PATH");
    expect("moeparity run --case M=4 --subject 'worker:$(touch here)'", 2, "", "quoted as for a shell");
    assert_int_equal(access("here", F_OK), -1);
    expect("moeparity run --case M=4 --subject worker:true", 3, "",
           "the program ended with exit code 0 before it answered to hello");
    expect("moeparity run --case M=4 --dry-run --subject worker:no-such-program", 0, "nothing was run", "");
}

static void misbehaviour_has_a_verdict(void **state) {
    (void)state;
    static const struct {
        const char *word;
        int code;
        const char *in_out, *in_err;
    } ways[] = {
        {"newer", 2, "", "speaks protocol 2 of subjects; this program speaks 1"},
        {"nameless", 2, "", "gave no name"},
        {"exit-hello", 3, "", "the program ended with exit code 5 before it answered to hello"},
        {"kill-hello", 3, "",
         "the program died of signal 11 (Segmentation fault) before it answered to hello"},
        {"nonsense-hello", 3, "", "the program: a message that is no JSON came: "},
        {"long-hello", 3, "", "the program: a message of 4294967295 bytes came; expected at most "},
        {"else-hello", 3, "", "the program: something else was said before it answered to hello"},
        {"hang-hello", 3, "", "the worker has not answered after 3 s (subject)"},
        {"exit-describe", 3, "[CRASH] M=4 topk=2 N=8 act=silu scope=act  the program ended with exit code 5",
         ""},
        {"nonsense-describe", 3, "[CRASH] M=4 topk=2 N=8 act=silu scope=act  the program: a message", ""},
        {"no-contract", 3, "describes itself wrongly: unknown contract 'sm_91'", ""},
        {"no-tensor", 3, "describes itself wrongly: 'cache4' is no output of a stage", ""},
        {"no-words", 3, "describes itself wrongly: '?' is no output of a stage", ""},
        {"'odd={\\\"contract\\\": 5}'", 3, "describes itself wrongly: contract: expected a text", ""},
        {"'odd={\\\"exposes\\\": \\\"out\\\"}'", 3, "exposes: expected a list of names", ""},
        {"'odd={\\\"workspace_bytes\\\": [-1]}'", 3, "workspace_bytes: expected a list of numbers", ""},
        {"'odd={\\\"workspace_bytes\\\": [1,1,1,1,1]}'", 3, "workspace_bytes: expected a list of numbers",
         ""},
        {"'odd={\\\"host_bytes\\\": -3}'", 3, "host_bytes: expected a whole number", ""},
        {"'odd={\\\"host_bytes\\\": 4000000000000}'", 77, "GiB of host memory, ", ""},
        {"'odd={\\\"block_size_m\\\": 1.5}'", 3, "block_size_m: expected a whole number", ""},
        {"'odd={\\\"block_size_m\\\": 99999999999}'", 3, "expected a power of two in 16..256, or 144", ""},
        {"'odd={\\\"weaker\\\": 1}'", 3, "weaker: expected a text", ""},
        {"'odd={\\\"weaker\\\": \\\"rms looks away\\\"}'", 0, "weaker checks in 1 case: rms looks away", ""},
        {"'odd={\\\"contract\\\": \\\"any\\\", \\\"contract_fields\\\": \\\"\\\"}'", 0,
         "weaker checks in 1 case: contract any: before the last rounding errors may be larger than under "
         "sm_90, ",
         ""},
        {"silent", 0, "weaker checks in 1 case: contract any: ", ""},
        {"'left=[\\\"cache2\\\"]'", 0, "1 passed", ""},
        {"'left=[]'", 3, "left: no output was left", ""},
        {"left=1", 3, "left: expected a list of names", ""},
        {"'left=[\\\"cache1\\\"]'", 3, "left: 'cache1' is no output that the subject exposes", ""},
        {"'left=[{}]'", 3, "left: '?' is no output that the subject exposes", ""},
        {"on=tpu", 2, "", "works on 'tpu': expected host or cuda"},
        {"on=host", 0, "1 passed", ""},
        {"unreadable", 3, "[CRASH] M=4 topk=2 N=8 act=silu scope=act  weights.bin: not there", ""},
        {"exit-run", 3, "the program ended with exit code 5 before it answered to run", ""},
        {"kill-run", 3, "the program died of signal 11 (Segmentation fault) before it answered to run", ""},
        {"nonsense-run", 3, "the program: a message that is no JSON came: ", ""},
        {"else-run", 3, "the program: something else was said before it answered to run", ""},
        {"hang-run", 3, "[TIMEOUT] M=4 topk=2 N=8 act=silu scope=act  no verdict after 3 s (run)", ""},
        {"failed", 3, "[CRASH] M=4 topk=2 N=8 act=silu scope=act  the kernel said no", ""},
        {"behind", 1, "guard: shared cache2: byte 128 of a buffer of 128 was written", ""},
        {"workspace", 1, "guard: shared workspace 1: byte 12 of a buffer of 12 was written", ""},
        {"input", 1, "input: shared cache1 changed: digest ", ""},
        {"die-at-0", 3, "", "the program ended with exit code 0 before it answered to hello"},
        {"die-at-3", 3, "", "the program ended with exit code 0 before it answered to hello"},
        {"die-at-20", 3, "", "the program ended with exit code 0 before it answered to hello"},
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char command[512];
        snprintf(command, sizeof command, TALK "%s\"", ways[i].word);
        expect(command, ways[i].code, ways[i].in_out, ways[i].in_err);
    }
}

/* Which outputs a run has left must be the same in each run of a case, told or not. */
static void every_run_leaves_the_same(void **state) {
    (void)state;
#define ALL "[\\\"num_tokens_post_padded\\\",\\\"expert_ids\\\",\\\"sorted_token_ids\\\"]"
#define ONE "[\\\"num_tokens_post_padded\\\"]"
    static const struct {
        const char *leaves;
        int code;
        const char *in_out;
    } ways[] = {
        {"[null]", 0, "1 passed"},
        {"[" ALL "]", 0, "1 passed"},
        {"[null," ALL "]", 0, "1 passed"},
        {"[" ALL ",null]", 0, "1 passed"},
        {"[null," ONE "]", 3,
         "[CRASH] M=4 topk=2 act=silu scope=align  left: other outputs than in the run before"},
        {"[" ALL "," ONE "]", 3, "left: other outputs than in the run before"},
        {"[null,null," ONE "]", 3, "left: other outputs than in the run before"},
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char command[512];
        snprintf(command, sizeof command,
                 "moeparity run --case 'M=4 topk=2 scope=align' --repeat 4 --timeout 9 "
                 "--subject \"worker:python3 $TALKER 'leaves=%s'\"",
                 ways[i].leaves);
        expect(command, ways[i].code, ways[i].in_out, "");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_is_judged),
        cmocka_unit_test(no_program),
        cmocka_unit_test(misbehaviour_has_a_verdict),
        cmocka_unit_test(every_run_leaves_the_same),
    };
    if (system("python3 -c pass 2> /dev/null") != 0) {
        puts("SKIP: no python3");
        return 77;
    }
    return cmocka_run_group_tests(tests, set_up_talker, tear_down);
}
