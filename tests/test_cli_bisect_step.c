/* SPDX-License-Identifier: Apache-2.0 */
/* The program as git bisect runs it: over the history of a plug-in that somebody has broken. */
#include "tests/cli_support.h"

/* The kernel: act of bf16, with a line for what a commit does to it. */
static void write_kernel(const char *line) {
    char text[4096];
    snprintf(
        text, sizeof text,
        "#include \"moeparity/plugin.h\"\n#include <math.h>\n"
        "static float wide(uint16_t v) {\n"
        "    uint32_t b = (uint32_t)v << 16;\n    float f;\n    memcpy(&f, &b, 4);\n    return f;\n}\n"
        "static uint16_t narrow(float f) {\n"
        "    uint32_t b;\n    memcpy(&b, &f, 4);\n"
        "    return (uint16_t)((b + 0x7FFF + (b >> 16 & 1)) >> 16);\n}\n"
        "static int describe(void *self, const mp_plugin_case *c, mp_plugin_offer *o, mp_plugin_error *err) "
        "{\n"
        "    (void)self, (void)c, (void)o, (void)err;\n    return MP_PLUGIN_OK;\n}\n"
        "static int run(void *self, const mp_plugin_run *r, mp_plugin_error *err) {\n"
        "    (void)self, (void)err;\n"
        "    const int64_t N = r->c->N, rows = r->c->M * r->c->topk;\n"
        "    const uint16_t *in = mp_plugin_data(r, \"cache1\");\n"
        "    uint16_t *out = mp_plugin_data(r, \"cache2\");\n"
        "    for (int64_t s = 0; s < rows; s++)\n        for (int64_t n = 0; n < N; n++) {\n"
        "            float g = wide(in[2 * s * N + n]), u = wide(in[2 * s * N + N + n]);\n"
        "            out[s * N + n] = narrow(g / (1 + expf(-g)) * u);\n        }\n"
        "    %s\n    return MP_PLUGIN_OK;\n}\n"
        "const mp_plugin *moeparity_plugin(void) {\n"
        "    static const mp_plugin p = {.abi_version = MP_PLUGIN_ABI, .struct_size = sizeof(mp_plugin),\n"
        "                                .name = \"kernel\", .describe = describe, .run = run};\n    return "
        "&p;\n}\n",
        line);
    write_file("repository/kernel.c", text);
}

static void must(const char *command) {
    if (sh(command) != 0) fail_msg("%s: %s %s", command, out, err);
}

static void commit(const char *subject, const char *line) {
    char command[512];
    write_kernel(line);
    snprintf(command, sizeof command, "cd repository && git add -A && git commit -q -m '%s'", subject);
    must(command);
}

#define STEP \
    "moeparity bisect step --build 'cc -O1 -fPIC -shared -I " MP_INCLUDE " -o kernel.so kernel.c -lm' "
#define CASE "-- --case 'M=5 N=24 scope=act' --subject plugin:./kernel.so"

static int make_history(void **state) {
    if (set_up(state) != 0) return -1;
    setenv("GIT_CONFIG_GLOBAL", "/dev/null", 1);
    setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
    setenv("GIT_AUTHOR_NAME", "somebody", 1);
    setenv("GIT_AUTHOR_EMAIL", "somebody@example.com", 1);
    setenv("GIT_COMMITTER_NAME", "somebody", 1);
    setenv("GIT_COMMITTER_EMAIL", "somebody@example.com", 1);
    if (sh("command -v git cc") != 0) return 0; /* said by the tests */
    must("git init -q -b trunk repository && echo kernel.so > repository/.gitignore");
    commit("begins", "");
    commit("writes behind its output", "out[rows * N] = 0;");
    commit("no longer does", "/* does not */");
    commit("a comment", "/* the slow way */");
    commit("does not compile", "int n = ;");
    commit("compiles again", "/* compiles */");
    commit("another comment", "/* more of it */");
    commit("the second column is doubled", "for (int64_t s = 0; s < rows; s++) out[s * N + 1] ^= 0x80;");
    commit("and is left so", "for (int64_t s = 0; s < rows; s++) out[s * N + 1] ^= 0x80; /* so */");
    commit("the tip", "for (int64_t s = 0; s < rows; s++) out[s * N + 1] ^= 0x80; /* tip */");
    return 0;
}

static void need_git(void) {
    if (access("repository/.git", F_OK) == 0) return;
    print_message("skipped: no git, or no cc\n");
    skip();
}

/* The one that made column 1 wrong is found, past one that does not compile. */
static void a_regression_is_found(void **state) {
    (void)state;
    need_git();
    must("cd repository && git bisect start HEAD HEAD~9");
    expect("cd repository && git bisect run " STEP "--fails-in bound:act " CASE, 0,
           "bisect step: good: 1 case passed", "");
    assert_non_null(strstr(out, "bisect step: bad: 1 case failed"));
    assert_non_null(strstr(out, "bisect step: cannot be tested: --build '")); /* it was in the way */
    must("cd repository && git show -s --format=%s refs/bisect/bad");
    assert_string_equal(out, "the second column is doubled\n");
    must("cd repository && git bisect reset");
}

/* Each commit for itself. */
static void every_commit_has_its_answer(void **state) {
    (void)state;
    need_git();
    static const struct {
        const char *commit, *says;
        int code;
    } commits[] = {
        {"HEAD", "bisect step: bad: 1 case failed\n", 1},
        {"HEAD~3", "bisect step: good: 1 case passed\n", 0},
        {"HEAD~8", "bisect step: cannot be tested: it fails otherwise than asked for, in guard\n", 125},
        {"HEAD~5", "' failed with exit code 1\n", 125},
        {"HEAD~9", "bisect step: good: 1 case passed\n", 0},
    };
    for (size_t i = 0; i < sizeof commits / sizeof *commits; i++) {
        char command[1024];
        snprintf(command, sizeof command,
                 "cd repository && git checkout -q %s && " STEP "--fails-in bound:act " CASE,
                 commits[i].commit);
        expect(command, commits[i].code, commits[i].says, "");
        must("cd repository && git checkout -q trunk");
    }
    /* Without --fails-in any failure is bad. */
    must("cd repository && git checkout -q HEAD~8");
    expect("cd repository && " STEP CASE, 1, "bisect step: bad: 1 case failed\n", "");
    must("cd repository && git checkout -q trunk");
}

/* What cannot be tested, and what can never be: git ends there, or goes on. */
static void what_git_is_told(void **state) {
    (void)state;
    expect("moeparity bisect step -- --case 'M=2 N=8 scope=act' --subject host", 0,
           "bisect step: good: ", "");
    expect("moeparity bisect step -- --case 'M=2 N=8 scope=act' --subject plugin:./none.so", 125,
           "bisect step: cannot be tested: nothing was judged (exit code 2)", "cannot load the plug-in");
    /* what was not asked did not pass */
    expect("moeparity bisect step --fails-in graph -- --case 'M=2 N=8 scope=act' --subject host", 125,
           "bisect step: cannot be tested: no case that passed was judged in what --fails-in asks for\n", "");
    expect("moeparity bisect step --fails-in bound:down -- --case 'M=2 N=8 scope=act' --subject host", 125,
           "no case that passed was judged", "");
    expect("moeparity bisect step --fails-in bound:act -- --case 'M=2 N=8 scope=act' --subject host", 0,
           "bisect step: good: 1 case passed\n", "");
    expect("moeparity bisect step -- none.yaml --subject host", 125, "cannot be tested",
           "none.yaml: No such file");
    expect("CUDA_VISIBLE_DEVICES= moeparity bisect step -- --case M=2 --subject cuda", 125,
           "bisect step: cannot be tested: every case was skipped\n", "");
    expect("moeparity bisect step --build 'sleep 20' --build-timeout 1 -- --case M=1 --subject host", 125,
           "cannot be tested: --build 'sleep 20' took too long\n", "");
    static const struct {
        const char *line, *why;
    } wrong[] = {
        {"--fals-in guard -- --case M=1", "unknown option '--fals-in', did you mean '--fails-in'?"},
        {"--fails-in bond -- --case M=1",
         "--fails-in: 'bond': expected CRASH, TIMEOUT, or one of bound, rms, "},
        {"--fails-in bound:nowhere -- --case M=1", "'bound:nowhere': expected"},
        {"-- --case M=1 --subjct host", "unknown option '--subjct', did you mean '--subject'?"},
        {"-- --case M=-1", "M=-1: expected an integer"},
        {"-- --subject host", "behind --: no cases"},
        {"-- --case M=1 --jobs 2 --in-process", "--in-process and --jobs 2 exclude each other"},
        {"", "takes the arguments of moeparity run behind --"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char command[256];
        snprintf(command, sizeof command, "moeparity bisect step %s", wrong[i].line);
        expect(command, 129, "", wrong[i].why);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_regression_is_found),
                                       cmocka_unit_test(every_commit_has_its_answer),
                                       cmocka_unit_test(what_git_is_told)};
    return cmocka_run_group_tests(tests, make_history, tear_down);
}
