/* SPDX-License-Identifier: Apache-2.0 */
/* cli/: the program as its users meet it: exit codes, messages, reports, and what is left behind. */
#include "tests/cli_support.h"

#include <math.h>

static void usage_errors(void **state) {
    (void)state;
    expect("moeparity", 2, "", "usage: moeparity COMMAND");
    expect("moeparity frob", 2, "", "moeparity: unknown command 'frob'");
    expect("moeparity run", 2, "", "moeparity: no cases: name a matrix file, or give --case");
    expect("moeparity list", 2, "", "moeparity: no cases: name a matrix file\n");
    expect("moeparity run ok.yaml --jobs 0", 2, "",
           "moeparity: --jobs 0: expected auto or a whole number from 1 to 64");
    expect("moeparity run ok.yaml --repeat two", 2, "", "moeparity: --repeat two: expected a whole number");
    expect("moeparity run ok.yaml --timeout 1s", 2, "", "moeparity: --timeout 1s: expected a whole number");
    expect(
        "moeparity run ok.yaml --subject nope", 2, "",
        "moeparity: unknown subject 'nope': expected ref, host, cuda, auto, plugin:PATH or worker:COMMAND");
    expect("moeparity run ok.yaml --subject ./mine.so", 2, "",
           "plugin:PATH or worker:COMMAND, as plugin:./mine.so\n");
    expect("moeparity run ok.yaml --subject host --against nope", 2, "", "moeparity: unknown subject 'nope'");
    expect("moeparity run ok.yaml --tier huge", 2, "",
           "moeparity: --tier huge: expected smoke, ci or full\n");
    expect("moeparity run ok.yaml --case M=2", 2, "",
           "moeparity: --case and the matrix file ok.yaml exclude each other");
    expect("moeparity run ok.yaml --pair path=runner", 2, "",
           "moeparity: --pair path=runner: there is no --case before it");
    expect("moeparity show", 2, "", "moeparity: no case: give --case 'M=32 topk=2 act=silu'\n");
    expect("moeparity show --case M=4 --subject nope", 2, "", "unknown subject 'nope'");
    expect("moeparity doctor now", 2, "", "moeparity: doctor takes no argument, not 'now'");
    expect("moeparity bench", 2, "",
           "moeparity: bench: expected a word behind it: reference, predict, kernels or suite\n");
    expect("moeparity bench frob", 2, "",
           "moeparity: bench: unknown word 'frob': expected reference, predict, kernels or suite\n");
    expect("moeparity golden", 2, "",
           "moeparity: golden: expected a word behind it: record, verify, diff, ls, merge or refresh\n");
    expect("moeparity golden frob a.h5", 2, "",
           "moeparity: golden: unknown word 'frob': expected record, verify, diff, ls, merge or refresh\n");
    expect("moeparity golden diff a.h5", 2, "", "moeparity: golden diff takes two files, not 1");
    expect("moeparity show M=1", 2, "", "moeparity: show takes no argument, not 'M=1'");
    expect("moeparity run ok.yaml --in-process --jobs 2", 2, "",
           "moeparity: --in-process and --jobs 2 exclude each other");
    expect("moeparity golden record a.h5", 2, "", "moeparity: no cases");
    expect("moeparity golden ls a.h5 --inputs", 2, "", "moeparity: golden ls takes no --inputs");
    expect("moeparity golden ls a.h5 --match M=1", 2, "", "moeparity: golden ls takes no --match");
    expect("moeparity golden verify a.h5 --digest-above 5", 2, "",
           "moeparity: golden verify takes no --digest-above");
    expect("moeparity golden verify a.h5 --tier ci", 2, "", "moeparity: golden verify takes no --tier");
    expect("moeparity golden verify a.h5 --pair path=runner", 2, "",
           "moeparity: golden verify takes no --pair");
    expect("moeparity run ok.yaml --deterministic --repeat 1", 2, "",
           "moeparity: --deterministic and --repeat 1 exclude each other\n");
    expect("moeparity run --case M=2 --tier ci", 2, "", "moeparity: --case and --tier exclude each other");
    expect("moeparity run ok.yaml -q -v", 2, "", "moeparity: --quiet and --verbose exclude each other\n");
    expect("moeparity run ok.yaml --golden-partial", 2, "",
           "moeparity: --golden-partial goes with --golden\n");
    expect("moeparity golden diff a.h5 b.h5 --subject host", 2, "",
           "moeparity: golden diff takes no --subject");
    expect("moeparity worker", 2, "", "moeparity: a worker is started by a run, not by hand");
    expect("moeparity worker now", 2, "", "moeparity: worker takes no argument, not 'now'");
    expect("MOEPARITY_WORKER=1 moeparity run ok.yaml", 2, "", "was started as a worker, and does not serve");
    expect("moeparity bench reference --repeat 3", 2, "", "moeparity: bench reference takes no --repeat");
    expect("moeparity bench predict --repeat 3", 2, "", "moeparity: bench predict takes no --repeat");
}

static void help_is_no_error(void **state) {
    (void)state;
    expect("moeparity --help", 0, "exit codes:\n   0 all judged cases passed\n", "");
    expect("moeparity --version", 0, "moeparity ", "");
    static const char *const commands[] = {"run",   "list",  "show",   "golden", "golden verify",
                                           "probe", "bench", "doctor", "worker", "help"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char command[64];
        snprintf(command, sizeof command, "moeparity %s --help", commands[i]);
        expect(command, 0, "usage: moeparity ", "");
        assert_string_equal(err, "");
    }
    expect("moeparity frob --help", 2, "", "moeparity: unknown command 'frob'");
}

static void bad_matrices_and_cases(void **state) {
    (void)state;
    expect("moeparity run none.yaml", 2, "",
           "moeparity: none.yaml: No such file or directory; expected a matrix file");
    expect("moeparity run broken.yaml", 2, "", "moeparity: broken.yaml:2: not YAML");
    expect("moeparity run key.yaml", 2, "",
           "moeparity: key.yaml:3: group: unknown key 'axis'; expected one of name, tier, model, axes");
    expect("moeparity run value.yaml", 2, "", "moeparity: value.yaml:3: ");
    expect("moeparity run impossible.yaml", 2, "",
           "moeparity: impossible.yaml:2: group 'a': 'M=32 topk=2 act=relu2' is impossible");
    assert_non_null(strstr(err, "act=relu2 has no gated form: add gated=0"));
    expect("moeparity run ok.yaml none.yaml", 2, "", "none.yaml");
    expect("moeparity list ok.yaml --match M=99", 2, "", "moeparity: no case left of 4: tier ci, match M=99");
    expect("moeparity run ok.yaml --match M=99", 2, "", "moeparity: no case left of 4");
    expect("moeparity run ok.yaml --match size=1", 2, "", "moeparity: unknown field 'size'");
    expect("moeparity run --case M=-1", 2, "",
           "moeparity: case 'M=-1': M=-1: expected an integer from 0 to 2147483647");
    /* never 0 or infinity instead */
    write_file("small.yaml", "groups:\n  - name: a\n    axes: {rsf: [1, 1e-400]}\n");
    expect("moeparity run small.yaml", 2, "",
           "moeparity: small.yaml:3: rsf=1e-400: 1e-400 is too small for a float64: expected a number from");
    expect("moeparity run --case rsf=1e-400", 2, "", "rsf=1e-400: 1e-400 is too small for a float64");
    expect("moeparity list ok.yaml --match 'rsf>1e400'", 2, "", "1e400 is too large for a float64");
    expect("moeparity run --case topq=2", 2, "", "unknown field 'topq', did you mean 'topk'?");
    expect("moeparity run --case M", 2, "", "'M': expected name=value");
    expect("moeparity run --case act=tanh", 2, "", "act=tanh: expected silu, gelu, gelu_tanh");
    expect("moeparity run --case 'mode=no_combine rsf=2'", 2, "",
           "mode=no_combine gives unscaled rows: use rsf=1");
    expect("moeparity run --case M=4 --pair path=walker", 2, "", "path=walker");
    expect("moeparity show --case act=relu2", 2, "", "add gated=0");
    expect("moeparity bench kernels --rounds 8", 2, "", "--rounds goes with --against");
    expect("moeparity bench kernels --subject host", 2, "", "--subject goes with --against");
    expect("moeparity bench kernels --against ref --repeat 3", 2, "", "--repeat does not go with --against");
    expect("moeparity bench predict --case M=1 --case M=2", 2, "", "--case is given twice");
    expect("moeparity bench kernels --subject host --against nobody", 2, "", "nobody");
    expect("moeparity bench kernels --subject host --against plugin:x.so", 2, "", "plugin:x.so is not timed");
    expect("moeparity bench reference --case M=0", 2, "", "M=0: expected at least one token to time");
}

static void unwritable_reports_stop_the_run_before_it_starts(void **state) {
    (void)state;
    expect("moeparity run ok.yaml --subject host --json nowhere/a.json", 2, "",
           "moeparity: cannot write nowhere/a.json (nowhere/a.json.tmp.");
    expect("moeparity run ok.yaml --subject host --junit /dev/full", 2, "",
           "moeparity: cannot write /dev/full: it exists and is not a regular file");
    expect("moeparity run ok.yaml --subject host --json ''", 2, "",
           "moeparity: --json '': expected FILE, not nothing: write what was found as JSON, "
           "too\n");
    expect("moeparity run ok.yaml --subject host --json newfolder/", 2, "",
           "moeparity: cannot write newfolder/");
    expect("moeparity run ok.yaml --subject host --json new.x --junit ./new.x", 2, "",
           "moeparity: new.x would be overwritten: it is named twice");
    expect("moeparity run ok.yaml --subject host --json a.x --junit a.x", 2, "",
           "moeparity: a.x would be overwritten: it is named twice");
    expect("moeparity run ok.yaml --subject host --junit ok.yaml", 2, "",
           "moeparity: ok.yaml would be overwritten");
    /* An older report may go, what is something else not: it is as it was. */
    expect(
        "cp ok.yaml other.yaml; moeparity run ok.yaml --subject host --json other.yaml; e=$?; cmp ok.yaml "
        "other.yaml && exit $e",
        2, "",
        "moeparity: other.yaml would be overwritten, and is no JSON report: name another file behind --json, "
        "or remove it\n");
    expect("moeparity run ok.yaml --subject host --html other.yaml", 2, "", "and is no page: name another");
    expect("moeparity run ok.yaml --subject host --junit other.yaml", 2, "", "and is no XML report: name");
    expect("moeparity tune audit other.yaml --sarif other.yaml", 2, "", "and is no SARIF file: name another");
    expect(
        "for i in 1 2; do moeparity run ok.yaml --subject host -q --json r.json --html r.html --junit r.xml "
        "--summary r.md || exit; done",
        0, "4 passed", "");
    expect(
        "moeparity run ok.yaml --subject host --json -", 2, "",
        "moeparity: --json -: expected the name of a file: the standard output has the rows (./- is a file)");
    expect("moeparity run ok.yaml --subject host --summary -", 2, "", "moeparity: --summary -: expected the");
    expect("moeparity run ok.yaml --subject host -q --json ./- && rm ./-", 0, "4 passed", "");
    expect(": > r.json; moeparity list ok.yaml --json r.json", 0, "", ""); /* an empty file is nobody's */
    expect("moeparity run ok.yaml --subject host --json .", 2, "",
           "moeparity: cannot write .: it exists and is not a regular file");
}

/* A subject beside itself is as fast as itself; each side's figures are its own. */
static void subjects_are_timed_in_turn(void **state) {
    (void)state;
    double ms, tflops, other_ms, other_tflops, gemms, low, high, all;
    expect("moeparity bench kernels --subject host --against host --rounds 9 "
           "--case 'M=64 topk=2 E=2 K=128 N=64' "
           "--case 'M=3 topk=1 E=2 K=64 N=32 dtype=fp32'",
           0, "geometric mean of 2 cases: GEMMs ", "");
    assert_non_null(strstr(out, "subject  host\nagainst  host\n"));
    const char *row = strstr(out, "TFLOP/s\n");
    assert_non_null(row);
    assert_int_equal(sscanf(row, "TFLOP/s\n%lf %lf %lf %lf %lf %lf .. %lf %lf", &ms, &tflops, &other_ms,
                            &other_tflops, &gemms, &low, &high, &all),
                     8);
    assert_true(ms > 0 && other_ms > 0 && low <= gemms && gemms <= high && all > 0);
    /* 2 * 64 * 2 * (128 * 128 + 64 * 128) operations; printed to a tenth of a TFLOP/s */
    assert_true(fabs(tflops - 2 * 128 * 24576.0 / ms * 1e-9) <= 0.051);
    /* Of filtered slots nothing is multiplied. */
    expect("moeparity bench kernels --subject host --against host --rounds 6 --case 'M=64 topk=2 filter=1'",
           0, "TFLOP/s\n", "");
    assert_int_equal(
        sscanf(strstr(out, "TFLOP/s\n"), "TFLOP/s\n%lf %lf %lf %lf", &ms, &tflops, &other_ms, &other_tflops),
        4);
    assert_true(ms > 0 && tflops == 0 && other_tflops == 0);
    expect("moeparity bench kernels --subject host --against host --config nowhere.json", 2, "",
           "nowhere.json");
    expect("moeparity bench kernels --subject host --against host --case 'scope=act'", 2, "",
           "scope=act: expected scope=all");
}

/* Behind what a run prints; the exit code is the run's. */
static void a_run_tells_where_its_time_went(void **state) {
    (void)state;
    expect("OMP_NUM_THREADS=1 moeparity bench suite --subject host --case 'M=4 topk=1 E=2 K=32 N=16' "
           "--case 'M=2 topk=1'",
           0, "all cases\n", "");
    assert_non_null(strstr(out, "GFLOP/s\n"));
    assert_null(strstr(out, "products of"));
    expect("moeparity bench suite --subject host --strict --golden ok.h5 --case 'M=2 topk=1'", 2, "",
           "moeparity: ");
    expect("moeparity bench suite", 2, "", "moeparity: no cases");
}

static void a_run_tells_the_rates_of_its_gpu(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* the sanitizer must be in front of other libraries */
#endif
    expect("LD_PRELOAD=" MP_FAKE_GPU
           " moeparity bench suite --subject cuda --case 'M=4 topk=1 E=2 K=32 N=16'",
           1, "products of bf16 ", "");
    assert_non_null(strstr(out, " GB/s to it, "));
}

/* A limit on the size of files is a full disk that needs no disk. */
static void a_full_disk(void **state) {
    (void)state;
    char old[64];
    write_file("full.json", "{}");
    expect("trap '' XFSZ; ulimit -f 1; moeparity run ok.yaml --subject host --json full.json > /dev/null", 3,
           "", "to full.json (");
    assert_non_null(strstr(err, "full.json.tmp."));
    assert_non_null(strstr(err, "File too large"));
    read_into(old, sizeof old, "full.json");
    assert_string_equal(old, "{}");
    expect("trap '' XFSZ; ulimit -f 1; moeparity golden record full.h5 ok.yaml --subject host > /dev/null", 2,
           "", "full.h5");
    assert_int_equal(access("full.h5", F_OK), -1);
    assert_int_equal(access("full.h5.part", F_OK), -1);
    no_temporary_files();
}

static void without_a_gpu(void **state) {
    (void)state;
    expect("moeparity run ok.yaml --subject cuda", 77, "4 cases: 0 passed, 0 failed, 4 skipped", "");
    assert_int_equal(count_of(out, "[SKIP]"), 1); /* all have one reason */
    assert_non_null(strstr(out, "  skipped 4 cases: "));
    expect("moeparity run ok.yaml --subject cuda -v", 77, "  skipped 4 cases: ", "");
    assert_int_equal(count_of(out, "[SKIP]"), 4);
    expect("MOEPARITY_REQUIRE_GPU=1 moeparity run ok.yaml --subject cuda --json skipped.json", 3, "4 skipped",
           "moeparity: MOEPARITY_REQUIRE_GPU is set and every case was skipped");
    json_t *report = json_file("skipped.json");
    assert_int_equal(total(report, "exit_code"), 3);
    json_decref(report);
    expect("MOEPARITY_REQUIRE_GPU=1 moeparity run ok.yaml --subject host", 0, "4 passed", "");
    expect("MOEPARITY_REQUIRE_GPU=0 moeparity run ok.yaml", 0, "4 passed", "");
    expect("MOEPARITY_REQUIRE_GPU=1 moeparity probe", 3, "", "moeparity: ");
    expect("MOEPARITY_REQUIRE_GPU=1 moeparity bench kernels", 3, "", "moeparity: ");
    expect("moeparity run ok.yaml --subject cuda --in-process --json skipped.json", 77, "4 skipped", "");
    expect("moeparity golden record gpu.h5 ok.yaml --subject cuda", 77, "", "moeparity: ");
    assert_int_equal(access("gpu.h5", F_OK), -1);
    expect("moeparity show --case M=4 --subject cuda", 77, "", "moeparity: ");
    expect("moeparity bench kernels", 77, "", "moeparity: ");
    expect("moeparity doctor", 0, "every case of subject cuda will be skipped: ", "");
    expect("moeparity run ok.yaml", 0, "4 passed", ""); /* auto */
}

static void lists_and_shows(void **state) {
    (void)state;
    expect("moeparity list ok.yaml", 0, "M=1 E=2 topk=1 K=16 N=8 act=silu\n", "");
    assert_int_equal(count_of(out, "\n"), 4);
    expect("moeparity list ok.yaml --match 'M=2 topk>1'", 0, "M=2 E=2 topk=2 K=16 N=8 act=silu\n", "");
    assert_int_equal(count_of(out, "\n"), 1);
    expect("moeparity list ok.yaml --pairs", 0, "    = path=runner\n", "");
    expect("moeparity show --case 'M=4 act=gelu' --subject host", 0, "case      M=4 topk=2 act=gelu\n", "");
    expect("moeparity show --fields", 0, "topk=2  experts per token", "");
}

/* What the Python package reads. */
static void lists_as_json(void **state) {
    (void)state;
    expect("moeparity list ok.yaml --json cases.json", 0, "", "");
    assert_string_equal(out, "");
    json_t *all = json_file("cases.json"), *cases = json_object_get(all, "cases");
    assert_string_equal(json_string_value(json_object_get(all, "format")), "moeparity cases");
    assert_int_equal(json_array_size(cases), 4);
    size_t i, pairs = 0;
    json_t *one;
    json_array_foreach(cases, i, one) {
        char command[256], line[256];
        snprintf(command, sizeof command, "moeparity show --case '%s' --subject ref",
                 json_string_value(json_object_get(one, "name")));
        expect(command, 0, "fields    ", "");
        char *fields = json_dumps(json_object_get(one, "fields"), JSON_PRESERVE_ORDER);
        assert_non_null(fields);
        assert_non_null(strstr(out, fields)); /* the same as of a case alone */
        free(fields);
        snprintf(line, sizeof line, "%s", json_string_value(json_object_get(one, "tier")));
        assert_true(strcmp(line, "smoke") == 0 || strcmp(line, "ci") == 0);
        assert_non_null(json_string_value(json_object_get(one, "group")));
        pairs += json_array_size(json_object_get(one, "pairs"));
    }
    json_decref(all);
    expect("moeparity list ok.yaml --pairs", 0, "", "");
    assert_int_equal(count_of(out, "    = "), (int)pairs);
    expect("moeparity list ok.yaml --json ok.yaml", 2, "", "moeparity: ok.yaml would be overwritten");
    expect("moeparity list ok.yaml --json nowhere/a.json", 2, "", "cannot write nowhere/a.json");
    expect("moeparity list ok.yaml --match M=77 --json none.json", 2, "", "M=77");
    assert_int_equal(access("none.json", F_OK), -1);
    expect("moeparity list --matrices seed", 2, "",
           "--matrices lists what is found by name: expected no matrix");
    expect("moeparity list --matrices --json a.json", 2, "", "--json lists cases, and --matrices has none");
}

/* Enough of XML for what the report writes: every tag that opens closes, in order. */
static void assert_well_formed(const char *text) {
    char open_tags[64][64];
    int depth = 0, elements = 0;
    for (const char *p = strchr(text, '<'); p; p = strchr(p, '<')) {
        const char *end = strchr(p, '>');
        assert_non_null(end);
        char name[64] = "";
        sscanf(p + 1 + (p[1] == '/'), "%63[a-z]", name);
        if (p[1] == '/') {
            assert_true(depth > 0);
            assert_string_equal(open_tags[--depth], name);
        } else if (p[1] != '?') {
            elements++;
            for (const char *q = strchr(p, '&'); q && q < end; q = strchr(q + 1, '&'))
                assert_true(q[1] == '#' || !strncmp(q, "&amp;", 5) || !strncmp(q, "&lt;", 4) ||
                            !strncmp(q, "&gt;", 4) || !strncmp(q, "&quot;", 6));
            if (end[-1] != '/') strcpy(open_tags[depth++], name);
            assert_true(depth < 64);
        }
        p = end;
    }
    assert_int_equal(depth, 0);
    assert_true(elements > 1);
}

static void reports_agree_with_the_list(void **state) {
    (void)state;
    static const char *const matrices[] = {"ok.yaml", "$CASES/options.yaml --tier smoke"};
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++) {
        static char command[256], xml[1 << 20], names[1 << 16];
        snprintf(command, sizeof command, "moeparity list %s", matrices[i]);
        expect(command, 0, "M=", "");
        strcpy(names, out);
        const int rows = count_of(names, "\n");
        snprintf(command, sizeof command,
                 "moeparity run %s --subject host --jobs 2 --json r.json --junit r.xml", matrices[i]);
        expect(command, 0, "0 failed, 0 skipped, 0 crashed, 0 timed out", "");
        assert_int_equal(count_of(out, "[OK]"), rows);
        json_t *report = json_file("r.json");
        assert_int_equal(total(report, "cases"), rows);
        assert_int_equal(total(report, "passed"), rows);
        assert_int_equal(total(report, "exit_code"), 0);
        const json_t *verdicts = json_object_get(report, "verdicts");
        assert_int_equal(json_array_size(verdicts), rows);
        char *line = strtok(names, "\n");
        for (int r = 0; r < rows;
             r++, line = strtok(NULL, "\n")) /* in the list's order, whatever the number of workers */
            assert_string_equal(
                json_string_value(json_object_get(json_array_get(verdicts, (size_t)r), "name")), line);
        json_decref(report);
        read_into(xml, sizeof xml, "r.xml");
        assert_well_formed(xml);
        assert_int_equal(count_of(xml, "<testcase "), rows);
    }
}

static void the_terminal_names_subject_cpu_and_reference(void **state) {
    (void)state;
    expect("moeparity run ok.yaml --subject host", 0, "\nsubject host (prediction of sm_90) on ", "");
    expect("moeparity run ok.yaml --subject host --contract sm_80", 0,
           "\nsubject host (prediction by the --contract) on ", "");
    assert_non_null(strstr(out, "; reference "));
    assert_true(strstr(out, "gcc ") || strstr(out, "lang "));
    expect("moeparity run ok.yaml --subject ref --plain", 0, "\nsubject ref on ", "");
    assert_non_null(strstr(out, "; reference plain loops\n"));
    expect("moeparity golden record who.h5 ok.yaml --subject host && moeparity golden ls who.h5", 0,
           "origin predicted sm_90", "");
    assert_true(strstr(out, "gcc ") || strstr(out, "lang ")); /* the provenance, too */
}

/* A report that did not arrive is no success. */
static void output_that_is_lost(void **state) {
    (void)state;
    expect("moeparity golden record lost.h5 --case M=1 --subject host > /dev/full", 3, "",
           "moeparity: cannot write to the standard output");
    expect("moeparity list ok.yaml > /dev/full", 3, "", "moeparity: cannot write to the standard output");
    expect("moeparity run ok.yaml --subject host > /dev/full", 3, "",
           "moeparity: cannot write to the standard output");
    expect("moeparity run ok.yaml --subject host --json /dev/stdout > o.json", 2, "", "");
}

/* A folder of tuned configurations that is not there is not the same as none. */
static void tuned_folders(void **state) {
    (void)state;
    expect("SGLANG_MOE_CONFIG_DIR=/nowhere moeparity run ok.yaml --subject host", 2, "",
           "moeparity: SGLANG_MOE_CONFIG_DIR=/nowhere: not a folder");
    if (system("mkdir -p 'odd[1]/configs/triton_3_2_0' && echo broken > "
               "'odd[1]/configs/triton_3_2_0/E=2,N=8,device_name=.json'") != 0)
        fail();
    expect("SGLANG_MOE_CONFIG_DIR='odd[1]' moeparity run ok.yaml --subject host", 2, "",
           "odd[1]/configs/triton_3_2_0/E=2,N=8,device_name=.json:1: ");
    expect("SGLANG_MOE_CONFIG_DIR='odd[1]' moeparity run --case 'M=1 E=2 K=16 N=8 tile=16x32x32x1x4x2' "
           "--pair tile=auto --subject host",
           2, "", "odd[1]/configs");
    expect("VLLM_TUNED_CONFIG_FOLDER=bin moeparity run ok.yaml --subject host", 0,
           "  tiles of 4 cases: default, no E=2,N=8,device_name=.json below bin", "");
    expect("mkdir -p 'tuned/E=2,N=8,device_name=.json'; VLLM_TUNED_CONFIG_FOLDER=tuned moeparity run ok.yaml "
           "--subject host",
           2, "", "moeparity: tuned/E=2,N=8,device_name=.json: a directory; expected a regular file");
    expect("moeparity run ok.yaml --subject host", 0, "4 passed", "");
    assert_null(strstr(out, "tiles of"));
    write_file("mine.json", "{\"4\": {\"BLOCK_SIZE_M\": 32, \"BLOCK_SIZE_N\": 64, \"BLOCK_SIZE_K\": 32, "
                            "\"GROUP_SIZE_M\": 1, \"num_warps\": 4, \"num_stages\": 3}}");
    expect("moeparity show --case M=4 --subject host --config mine.json", 0, "(mine.json key 4", "");
    expect("moeparity run ok.yaml --subject host --config mine.json -v", 0, "tiles 32x64x32x1x4x3 ", "");
    expect("moeparity run --case M=4 --subject host --config none.json", 2, "", "none.json");
    expect("moeparity show --case M=4 --subject host --triton three", 2, "", "three");
    expect("mkdir -p 'dev'; cp mine.json 'dev/E=8,N=256,device_name=NVIDIA_H200.json'; "
           "VLLM_TUNED_CONFIG_FOLDER=dev moeparity show --case M=4 --subject host --device 'NVIDIA H200'",
           0, "(dev/E=8,N=256,device_name=NVIDIA_H200.json key 4", "");
}

/* No parent survives a crash of a case in process: what repeats it is on stderr before the case begins. */
static void in_process_the_repro_comes_first(void **state) {
    (void)state;
    expect("moeparity run ok.yaml --subject host --in-process --repeat 3", 0, "4 passed",
           "case 4/4: moeparity run --case 'M=3 E=2 topk=1 K=16 N=8 act=silu' --pair path=runner --case 'M=2 "
           "E=2 topk=2 K=16 N=8 act=silu' --subject host --repeat 3\n");
    assert_non_null(strstr(err, "case 1/4: moeparity run --case 'M=1 E=2 topk=1 K=16 N=8 act=silu' --pair "
                                "path=runner --subject host --repeat 3\n"));
    expect("moeparity run ok.yaml --subject host", 0, "4 passed", "");
    assert_string_equal(err, "");
}

static void leaves_a_valid_report(const char *how, int signal_number) {
    char command[128];
    remove("i.json"), remove("i.xml"); /* of the signal before */
    snprintf(command, sizeof command,
             "exec moeparity run long.yaml --subject host %s --json i.json --junit i.xml", how);
    const int code = interrupt_after(command, "[OK]", signal_number);
    if (code != 3 || !strstr(out, "interrupted"))
        fail_msg("signal %d, '%s': exit %d\n%s", signal_number, how, code, out);
    json_t *report = json_file("i.json");
    const json_t *verdicts = json_object_get(report, "verdicts");
    assert_in_range(json_array_size(verdicts), 1, 15);
    assert_int_equal(total(report, "cases"), json_array_size(verdicts));
    assert_int_equal(total(report, "passed"), json_array_size(verdicts));
    assert_true(json_is_true(json_object_get(json_object_get(report, "run"), "interrupted")));
    assert_string_equal(json_string_value(json_object_get(json_array_get(verdicts, 0), "outcome")), "PASS");
    json_decref(report);
    char xml[1 << 16];
    read_into(xml, sizeof xml, "i.xml");
    assert_well_formed(xml);
    no_temporary_files();
}

/* In process, the case that runs is judged before the run ends; a worker is killed in the middle of it. */
static void signals_leave_a_valid_report(void **state) {
    (void)state;
    const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        leaves_a_valid_report("", signals[i]);
        leaves_a_valid_report("--in-process", signals[i]);
    }
}

/* nohup: who has a signal ignored wants the run to outlive it. */
static void ignored_signals_stay_ignored(void **state) {
    (void)state;
    assert_int_equal(
        interrupt_after("trap '' HUP; exec moeparity run long.yaml --match 'seed<4' --subject host", "[OK]",
                        SIGHUP),
        0);
    assert_non_null(strstr(out, "4 cases: 4 passed"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage_errors),
        cmocka_unit_test(help_is_no_error),
        cmocka_unit_test(bad_matrices_and_cases),
        cmocka_unit_test(unwritable_reports_stop_the_run_before_it_starts),
        cmocka_unit_test(subjects_are_timed_in_turn),
        cmocka_unit_test(a_run_tells_where_its_time_went),
        cmocka_unit_test(a_run_tells_the_rates_of_its_gpu),
        cmocka_unit_test(a_full_disk),
        cmocka_unit_test(without_a_gpu),
        cmocka_unit_test(lists_and_shows),
        cmocka_unit_test(lists_as_json),
        cmocka_unit_test(reports_agree_with_the_list),
        cmocka_unit_test(signals_leave_a_valid_report),
        cmocka_unit_test(ignored_signals_stay_ignored),
        cmocka_unit_test(the_terminal_names_subject_cpu_and_reference),
        cmocka_unit_test(output_that_is_lost),
        cmocka_unit_test(tuned_folders),
        cmocka_unit_test(in_process_the_repro_comes_first),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
