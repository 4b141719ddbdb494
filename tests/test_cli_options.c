/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of cli/options.h, and what is made of them: parsing, help, the manual page, completions. */
#include "tests/cli_support.h"

static void misspelt_words_are_recognised(void **state) {
    (void)state;
    expect("moeparity rnu", 2, "",
           "moeparity: unknown command 'rnu', did you mean 'run'? (moeparity help lists");
    expect("moeparity golden verfy a.h5", 2, "",
           "moeparity: golden: unknown word 'verfy', did you mean 'verify'?: expected record, verify, diff, "
           "ls, merge or refresh\n");
    expect("moeparity run ok.yaml --subjet host", 2, "",
           "moeparity: run: unknown option '--subjet', did you mean '--subject'? (moeparity help run lists "
           "them)\n");
    expect("moeparity run ok.yaml --frobnicate", 2, "",
           "moeparity: run: unknown option '--frobnicate' (moeparity help run lists them)\n");
    expect("moeparity --frobnicate run", 2, "",
           "moeparity: unknown option '--frobnicate' (moeparity help lists them)\n");
    expect("moeparity run ok.yaml -x", 2, "", "moeparity: unknown option '-x' (moeparity help lists them)\n");
    expect("moeparity run ok.yaml --j 3", 2, "", "moeparity: run: --j may be --jobs, --json, --junit\n");
}

static void an_option_is_given_once(void **state) {
    (void)state;
    static const char *const values[][2] = {
        {"match", "M=1"}, {"tier", "ci"},     {"subject", "ref"},  {"against", "ref"}, {"golden", "a.h5"},
        {"repeat", "2"},  {"device", "GPU"},  {"triton", "3.6.0"}, {"config", "a"},    {"jobs", "2"},
        {"timeout", "9"}, {"json", "a.json"}, {"junit", "a.xml"},  {"color", "never"},
    };
    static const char *const switches[] = {"strict",  "fail-fast", "plain",   "in-process",
                                           "dry-run", "quiet",     "verbose", "golden-partial"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const char *name = values[i][0], *value = values[i][1];
        char command[256], expected[256];
        snprintf(command, sizeof command, "moeparity run ok.yaml --%s %s --%s=%s", name, value, name, value);
        snprintf(expected, sizeof expected, "moeparity: --%s is given twice: '%s' and '%s'\n", name, value,
                 value);
        expect(command, 2, "", expected);
    }
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++) {
        char command[256], expected[256];
        snprintf(command, sizeof command, "moeparity run ok.yaml --%s --%s", switches[i], switches[i]);
        snprintf(expected, sizeof expected, "moeparity: --%s is given twice\n", switches[i]);
        expect(command, 2, "", expected);
    }
    expect("moeparity run ok.yaml --subject host --subject ref", 2, "",
           "moeparity: --subject is given twice: 'host' and 'ref'\n");
    expect("moeparity run ok.yaml --json=a.json --json b.json", 2, "",
           "moeparity: --json is given twice: 'a.json' and 'b.json'\n");
    expect("moeparity run ok.yaml --plain --plain", 2, "", "moeparity: --plain is given twice\n");
    expect("moeparity show --case M=1 --case M=2", 2, "",
           "moeparity: --case is given twice: 'M=1' and 'M=2'\n");
    expect("moeparity bench predict --case M=1 --case M=2", 2, "",
           "moeparity: --case is given twice: 'M=1' and 'M=2'\n");
}

/* A variable that is not set is no way to leave an option out. */
static void no_value_is_empty(void **state) {
    (void)state;
    static const char *const lines[] = {
        "run ok.yaml --match ''",
        "run ok.yaml --golden ''",
        "run ok.yaml --against=",
        "run ok.yaml --subject=''",
        "run ok.yaml --json ''",
        "run ok.yaml --junit ''",
        "run ok.yaml --device ''",
        "run ok.yaml --triton ''",
        "run ok.yaml --config ''",
        "run --case ''",
        "show --case ''",
        "golden verify a.h5 --case ''",
        "list ok.yaml --match ''",
        "run --case M=1 --pair ''",
        "bench reference --case ''",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char command[256];
        snprintf(command, sizeof command, "moeparity %s", lines[i]);
        expect(command, 2, "", " '': expected ");
        assert_non_null(strstr(err, ", not nothing: "));
    }
    expect("moeparity run --case M=1 --case ' '", 2, "",
           "moeparity: case ' ': an empty case: expected name=value, as in M=32\n");
    expect("moeparity list ok.yaml --match 'M<='", 2, "", "moeparity: M<=: expected an integer from 0 ");
    expect("moeparity list ok.yaml --match 'M>one'", 2, "", "moeparity: M>one: expected an integer from 0 ");
    expect("moeparity list ok.yaml --match ' '", 2, "", "moeparity: an empty match expression");
}

static void values(void **state) {
    (void)state;
    expect("moeparity run ok.yaml --jobs", 2, "",
           "moeparity: --jobs: expected N behind it: worker processes\n");
    expect("moeparity run ok.yaml --plain=yes", 2, "", "moeparity: --plain takes no value: --plain=yes\n");
    expect("moeparity run ok.yaml --color sometimes", 2, "",
           "moeparity: --color sometimes: expected auto, always or never\n");
    expect("moeparity run ok.yaml --tier=", 2, "", "moeparity: --tier : expected smoke, ci or full\n");
    expect("moeparity run ok.yaml --timeout 99999999999999999999", 2, "",
           "moeparity: --timeout 99999999999999999999: expected a whole number from 1 to 1000000\n");
    expect("moeparity probe --seed -1", 2, "",
           "moeparity: --seed -1: expected a whole number from 0 to 9223372036854775807\n");
}

/* Options stand anywhere, in either form, and behind `--` there are none. */
static void options_stand_anywhere(void **state) {
    (void)state;
    static const char *const lines[] = {
        "moeparity list ok.yaml --match M=3", "moeparity list --match=M=3 ok.yaml",
        "moeparity --match M=3 list ok.yaml", "moeparity list --match M=3 -- ok.yaml",
        "moeparity list --matc M=3 ok.yaml",  "POSIXLY_CORRECT=1 moeparity list ok.yaml --match M=3",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        expect(lines[i], 0, "", "");
        assert_string_equal(out, "M=3 E=2 topk=1 K=16 N=8 act=silu\n");
    }
    expect("moeparity list -- --match ok.yaml", 2, "",
           "moeparity: --match: No such file or directory; expected a matrix file, or a name");
}

/* Cases accumulate, and each has the pairs behind it. */
static void cases_and_their_pairs(void **state) {
    (void)state;
    expect("moeparity run --dry-run --case M=3 --pair path=runner --pair mode=inplace --case M=1 --case 'M=2 "
           "seed=1' "
           "--pair layout=sorted --subject host",
           0, "", "");
    assert_non_null(strstr(out, "M=3 topk=2 act=silu\n    = path=runner\n    = mode=inplace\n"
                                "M=1 topk=2 act=silu\n"
                                "M=2 topk=2 act=silu seed=1\n    = layout=sorted\n"
                                "3 cases would run with subject host; nothing was run\n"));
    expect("moeparity run --pair path=runner --case M=3", 2, "",
           "moeparity: --pair path=runner: there is no --case before it, to which it would belong\n");
    char line[1024] = "moeparity run --case M=3";
    for (int i = 0; i < 16; i++) strcat(line, " --pair path=runner");
    expect(line, 2, "", "moeparity: --pair path=runner: a case has at most 15 pairs\n");
}

static void show_tells_the_scheme(void **state) {
    (void)state;
    expect("moeparity show --case 'M=3 K=320 N=192 quant=fp8-block' --subject host", 0,
           "scheme    fp8-block: weights e4m3, a scale in fp32 for 128 x 128 of [n, k]; activations e4m3, a "
           "scale "
           "in fp32 for 128 columns of a row, by fp8; scales scale the sum of each tile of k\n",
           "");
    expect("moeparity show --case 'M=3 K=320 N=192 quant=int4-w4a16-zp group=64' --subject host", 0,
           "scheme    int4-w4a16-zp: weights uint4 around zero points, a scale in bf16 for 1 x 64 of [n, k]; "
           "activations bf16; scales make numbers of codes, which are multiplied\n",
           "");
    expect(
        "moeparity show --case 'M=3 quant=nvfp4' --subject host", 0,
        "one in fp32 for an expert; activations e2m1, a scale in e4m3 for 16 columns of a row, one in fp32 "
        "given, by nvfp4; ",
        "");
}

/* Several edits are one list, in their order; what cannot be is refused before anything is run. */
static void edits_of_inputs(void **state) {
    (void)state;
    expect("moeparity run --dry-run --case M=3 --edit 'x[0]=0' --edit='w1*=0.5' --subject host", 0,
           "edited: x[0]=0; w1*=0.5\n", "");
    expect("moeparity show --case M=3 --edit 'x[0]=0' --edit 'w1[1:3]=inf' --subject host", 0,
           "edit      x[0]=0: 512 elements\nedit      w1[1:3]=inf: 524288 elements\n", "");
    expect("moeparity run --case M=3 --edit 'x[0]=0' --edit 'y=1' --subject host", 2, "",
           "moeparity: edit 'y=1': expected the name of an input, as x, w1, w2, topk_ids, topk_weights at "
           "'y=1'\n");
    /* All checks see the edited inputs; a sum of one term that float32 does not hold is no exact one. */
    expect("moeparity run --case 'M=6 E=4 K=64 N=32' --pair path=runner --pair 'ep_size=2 E=2' --after 'M=9 "
           "seed=1' "
           "--case 'M=6 E=4 K=64 N=32 data=onehot dtype=fp32' --edit 'x[:,32:]=0; w1[3]*=0.3' --edit "
           "'topk_ids[2,1]=-1; x[1]*=0.3' --subject host",
           0, "2 passed", "");
    const char *const commands[] = {"run --dry-run", "run", "run --in-process", "show", "export --out x.npz"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char line[256];
        snprintf(line, sizeof line, "moeparity %s --case M=3 --edit 'x[3]=0'", commands[i]);
        expect(line, 2, "", "moeparity: edit 'x[3]=0': index 3 of axis 0 of x, which has 3 elements there\n");
    }
    expect("moeparity run --case M=3 --edit x=0 --golden seed.h5 --subject host", 2, "",
           "moeparity: edit 'x=0' with a golden: it holds what cases without edits leave\n");
    expect("moeparity list seed.yaml --edit x=0", 2, "", "moeparity: list takes no --edit\n");
}

/* So do they have what they run after. */
static void cases_and_what_they_run_after(void **state) {
    (void)state;
    expect(
        "moeparity run --dry-run --case M=3 --after M=9 --pair path=runner --after 'seed=1 M=0' --case M=1 "
        "--case 'M=3' --after seed=2 --subject host",
        0, "judged: 3 sequences", "");
    assert_non_null(strstr(out,
                           "M=3 topk=2 act=silu\n    = path=runner\n    after M=9\n    after seed=1 M=0\n"
                           "    after seed=2\nM=1 topk=2 act=silu\n2 cases would run"));
    expect("moeparity run --after M=9 --case M=3", 2, "",
           "moeparity: --after M=9: there is no --case before it, to which it would belong\n");
    expect(
        "moeparity run --case M=3 --after path=runner", 2, "",
        "moeparity: after 'path=runner' of 'M=3': path=runner instead of path=fused does not run on the same "
        "buffers and weights: the case before may differ in M, routing, seed, filter, data and "
        "lora_routing\n");
    char line[1024] = "moeparity run --case M=3";
    for (int i = 0; i < 9; i++) sprintf(line + strlen(line), " --after M=%d", i);
    expect(line, 2, "", "moeparity: --after M=8: a case runs after at most 8 others\n");
    write_file("after.yaml", "groups: [{name: g, axes: {M: [3, 4]}, after: [M=9, {when: M=4, variant: {M: 0, "
                             "seed: 2}}]}]\n");
    expect("moeparity list after.yaml --pairs", 0,
           "M=3 topk=2 act=silu\n    after M=9\nM=4 topk=2 act=silu\n    after M=9\n    after M=0 seed=2\n",
           "");
    expect("moeparity list after.yaml --json after.json", 0, "", "");
    json_t *all = json_file("after.json");
    const json_t *last = json_array_get(json_object_get(all, "cases"), 1);
    assert_string_equal(json_string_value(json_array_get(json_object_get(last, "after"), 1)), "M=0 seed=2");
    json_decref(all);
}

/* Every command has help of both kinds, and the manual page and the completions name all there is. */
static void everything_is_told(void **state) {
    (void)state;
    static const char *const commands[] = {"run",           "list",          "coverage",
                                           "show",          "judge",         "export",
                                           "golden record", "golden verify", "golden diff",
                                           "golden ls",     "golden merge",  "golden refresh",
                                           "report merge",  "report diff",   "report html",
                                           "infer",         "bisect stage",  "bisect k",
                                           "bisect config", "bisect case",   "bisect set",
                                           "bisect step",   "tune which",    "tune audit",
                                           "tune verify",   "tune diff",     "tune certificate",
                                           "tune check",    "probe",         "bench reference",
                                           "bench predict", "bench kernels", "bench suite",
                                           "doctor",        "help"};
    static char manual[1 << 18], bash[1 << 18], zsh[1 << 18];
    expect("moeparity help --man > m; moeparity help --bash > b; moeparity help --zsh > z", 0, "", "");
    read_into(manual, sizeof manual, "m");
    read_into(bash, sizeof bash, "b");
    read_into(zsh, sizeof zsh, "z");
    expect("moeparity help", 0, "usage: moeparity COMMAND", "");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char line[256], option[64];
        snprintf(line, sizeof line, "\n  %s ", commands[i]);
        expect("moeparity help", 0, line, "");
        snprintf(line, sizeof line, "moeparity help %s", commands[i]);
        expect(line, 0, commands[i], "");
        assert_non_null(strstr(out, "--help"));
        snprintf(line, sizeof line, ".SS %s\n", commands[i]);
        assert_non_null(strstr(manual, line));
        snprintf(line, sizeof line, "    '%s') files='", commands[i]);
        assert_non_null(strstr(bash, line));
        snprintf(line, sizeof line, "    '%s')\n        _arguments", commands[i]);
        assert_non_null(strstr(zsh, line));
        /* each option of the help, in both scripts */
        snprintf(line, sizeof line, "moeparity %s --help", commands[i]);
        expect(line, 0, "usage: moeparity ", "");
        for (const char *p = strstr(out, "  --"); p; p = strstr(p + 1, "  --")) {
            assert_int_equal(sscanf(p, " --%59[A-Za-z-]", option), 1);
            assert_non_null(strstr(bash, option));
            assert_non_null(strstr(zsh, option));
        }
    }
    assert_null(strstr(bash, "--man")); /* for the build, not for people */
    expect("moeparity help golden", 0, "usage: moeparity golden record FILE", "");
    assert_non_null(strstr(out, "usage: moeparity golden ls FILE\n"));
    expect("moeparity help run", 0, "May be given more", "");
    /* An option that means another thing of another command says so there. */
    static const char *const own[][2] = {
        {"run", "seconds before a case counts as hung [600]"},
        {"judge", "seconds before a file counts as hung [600]"},
        {"infer", "seconds for all cases and questions together [600]"},
        {"run", "what was asked for and not judged fails, and so does a skip"},
        {"judge", "what a file can be asked and was not judged fails, and so does a skip"},
        {"run", "--case TEXT       one case, as `name=value ...`\n"},
        {"judge", "--case TEXT       what the shapes do not tell of the case, as `act=gelu rsf=2.5`\n"},
        {"show", "--case TEXT       the case, as `name=value ...`\n"},
    };
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        char line[64];
        snprintf(line, sizeof line, "moeparity %s --help", own[i][0]);
        expect(line, 0, own[i][1], "");
    }
    expect("moeparity help frob", 2, "", "moeparity: unknown command 'frob'");
}

/* Every variable of the manual page is in the help too. */
static void the_variables_are_told(void **state) {
    (void)state;
    static char manual[1 << 18];
    int count = 0;
    expect("moeparity help --man > m; moeparity help", 0, "\nvariables of the environment:\n", "");
    read_into(manual, sizeof manual, "m");
    const char *p = strstr(manual, ".SH ENVIRONMENT\n");
    assert_non_null(p);
    for (; (p = strstr(p, "\n.B ")); p++, count++) {
        char name[64], line[80];
        assert_int_equal(sscanf(p, "\n.B %63s", name), 1);
        snprintf(line, sizeof line, "\n  %s ", name);
        if (!strstr(out, line)) fail_msg("moeparity help does not tell %s", name);
    }
    assert_true(count >= 13);
}

static void the_manual_page_is_clean(void **state) {
    (void)state;
    if (system("command -v groff > /dev/null") != 0) {
        print_message("skipped: no groff to read the page with\n");
        skip();
    }
    expect("moeparity help --man > moeparity.1 && groff -man -ww -Tutf8 moeparity.1 | sed "
           "'s/\\x1b\\[[0-9;]*m//g; s/.\\x08//g'",
           0, "MOEPARITY(1)", "");
    assert_string_equal(err, "");
    assert_non_null(strstr(out, "--golden-partial"));
    assert_non_null(strstr(out, "SOURCE_DATE_EPOCH"));
}

/* What bash completes at the end of the line. */
static void completed(const char *line, int words, const char *expected) {
    char command[1024];
    snprintf(command, sizeof command,
             "moeparity help --bash > complete.bash && bash -c 'source ./complete.bash; COMP_WORDS=(%s) "
             "COMP_CWORD=%d; "
             "_moeparity; printf \"%%s \" \"${COMPREPLY[@]}\"'",
             line, words);
    expect(command, 0, expected, "");
}

static void bash_completes(void **state) {
    (void)state;
    if (system("command -v bash > /dev/null") != 0) {
        print_message("skipped: no bash\n");
        skip();
    }
    completed("moeparity \"\"", 1,
              "run list coverage show judge export golden report infer bisect tune probe bench doctor worker "
              "help --version --help ");
    completed("moeparity golden \"\"", 2, "record verify diff ls merge refresh ");
    completed("moeparity golden verify --st", 3, "--strict ");
    completed("moeparity run --tier \"\"", 3, "smoke ci full ");
    completed("moeparity run ok.y", 2, "ok.yaml ");
    completed("moeparity run --against h", 3, "host ");
    /* of one name, and other values in other commands */
    completed("moeparity tune verify --against ok.y", 4, "ok.yaml ");
    completed("moeparity infer --stage \"\"", 3, "align gate_up act down combine ");
    completed("moeparity bisect k --stage \"\"", 4, "gate_up down ");
    completed("moeparity run sti", 2, "");
    assert_null(strstr(out, "ok.yaml"));
    completed("moeparity run see", 2, "seed.yaml ");
}

static void zsh_reads_its_script(void **state) {
    (void)state;
    if (system("command -v zsh > /dev/null") != 0) {
        print_message("skipped: no zsh\n");
        skip();
    }
    expect("moeparity help --zsh > _moeparity && zsh -n _moeparity", 0, "", "");
    assert_string_equal(err, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misspelt_words_are_recognised),
        cmocka_unit_test(an_option_is_given_once),
        cmocka_unit_test(no_value_is_empty),
        cmocka_unit_test(values),
        cmocka_unit_test(options_stand_anywhere),
        cmocka_unit_test(cases_and_their_pairs),
        cmocka_unit_test(show_tells_the_scheme),
        cmocka_unit_test(edits_of_inputs),
        cmocka_unit_test(cases_and_what_they_run_after),
        cmocka_unit_test(everything_is_told),
        cmocka_unit_test(the_variables_are_told),
        cmocka_unit_test(the_manual_page_is_clean),
        cmocka_unit_test(bash_completes),
        cmocka_unit_test(zsh_reads_its_script),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
