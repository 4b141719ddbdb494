/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity tune which | audit from outside: what is found, exit codes, reports, bad input. */
#include "tests/cli_support.h"

#define DEVICE "NVIDIA_H100_80GB_HBM3"
#define NAME "E=8,N=256,device_name=" DEVICE ".json"
#define BLOCK "E=8,N=256,device_name=" DEVICE ",dtype=fp8_w8a8,block_shape=[128, 128].json"
#define TILE(m, k)                                                      \
    "{\"BLOCK_SIZE_M\":" #m ",\"BLOCK_SIZE_N\":64,\"BLOCK_SIZE_K\":" #k \
    ",\"GROUP_SIZE_M\":1,\"num_warps\":4,\"num_stages\":3}"
#define WHICH "moeparity tune which --device 'NVIDIA H100 80GB HBM3' --E 8 --N 256 "

static void make_tree(void) {
    assert_int_equal(
        system("rm -rf tree flat && mkdir -p tree/configs/triton_3_6_0 tree/configs/triton_3_10_0 flat"), 0);
    write_file("tree/configs/triton_3_6_0/" NAME,
               "{\"64\":" TILE(64, 64) ",\"16\":" TILE(16, 64) ",\"1024\":" TILE(128, 64) "}");
    write_file("tree/configs/triton_3_6_0/" BLOCK,
               "{\n\"1\":" TILE(16, 128) ",\n\"2\":" TILE(16, 256) ",\n\"1024\":" TILE(16, 256) "}");
    write_file("tree/configs/triton_3_10_0/E=8,N=256,device_name=" DEVICE "_down.json",
               "{\"16\":" TILE(32, 64) ",\"1024\":" TILE(128, 64) "}");
    write_file("flat/E=8,N=512,device_name=" DEVICE ".json",
               "{\"1\":" TILE(16, 64) ",\"triton_version\":\"3\"}");
}

/* ---- audit ---- */

static void an_audit_finds_and_fails(void **state) {
    (void)state;
    make_tree();
    expect("moeparity tune audit tree", 1,
           "tree/configs/triton_3_6_0/" BLOCK
           ":3: error k-block-over-group: keys 2, 1024: BLOCK_SIZE_K=256 over a "
           "group of 128: one scale serves 2 groups, wrong numbers\n",
           "");
    assert_non_null(strstr(out, "\nerror   k-block-over-group            2 in 1 file: "));
    assert_non_null(strstr(out, "3 files, 8 keys: 2 errors, 2 warnings, "));
    assert_non_null(strstr(out, ": warning down-elsewhere: the file of down is in triton_3_10_0\n"));
    assert_null(strstr(out, ": note "));
    expect("moeparity tune audit tree -v", 1, ": note ladder-order: key 16: key 16 stands behind 64", "");
    expect("moeparity tune audit tree -q", 1, ": error ", "");
    assert_null(strstr(out, ": warning "));
    expect("moeparity tune audit flat", 0, "1 file, 1 key: 0 errors, 1 warning, ", "");
    expect("moeparity tune audit flat tree/configs/triton_3_6_0/'" NAME "'", 0, "2 files, 4 keys: 0 errors",
           "");
    expect("moeparity tune audit tree --triton 3.10.0", 1, "and not in the folder of Triton 3.10.0", "");
    expect("moeparity tune audit --rules", 0, "error   k-block-over-group ", "");
    assert_int_equal(count_of(out, "\nerror ") + count_of(out, "\nwarning ") + count_of(out, "\nnote ") + 1,
                     38);
}

static void a_baseline_lets_only_new_errors_fail(void **state) {
    (void)state;
    make_tree();
    expect("moeparity tune audit tree --write-baseline known.json", 1, "2 errors", "");
    expect("moeparity tune audit tree --baseline known.json", 0,
           "3 files, 8 keys: 0 errors, 0 warnings, 0 notes; ", "");
    assert_null(strstr(out, ": error "));
    /* moved in the file, and with one more */
    write_file("tree/configs/triton_3_6_0/" BLOCK,
               "{\n\n\n\"1024\":" TILE(16, 256) ",\n\"4\":" TILE(16, 256) ",\n\"2\":" TILE(
                   16, 256) "\n, \"1\":" TILE(16, 128) "}");
    expect("moeparity tune audit tree --baseline known.json", 1, ":5: error k-block-over-group: key 4: ", "");
    assert_null(strstr(out, "1024: BLOCK_SIZE_K"));
    /* the same findings are the same bytes */
    expect("moeparity tune audit tree --write-baseline a.json; moeparity tune audit tree/configs/../configs "
           "--write-baseline b.json; cmp a.json b.json",
           0, "", "");
    make_tree();
    expect("moeparity tune audit flat --baseline known.json", 0, " of the baseline are there no more", "");
}

static void reports_are_written(void **state) {
    (void)state;
    make_tree();
    expect("moeparity tune audit tree --json a.json --sarif a.sarif --junit a.xml", 1, "2 errors", "");
    json_t *json = json_file("a.json"), *sarif = json_file("a.sarif");
    const json_t *findings = json_object_get(json, "findings"), *first = NULL, *one;
    size_t i;
    json_array_foreach((json_t *)findings, i, one) {
        if (!first && strcmp(json_string_value(json_object_get(one, "rule")), "k-block-over-group") == 0)
            first = one;
    }
    assert_non_null(first);
    assert_string_equal(json_string_value(json_object_get(first, "key")), "2");
    assert_string_equal(json_string_value(json_object_get(first, "severity")), "error");
    assert_int_equal(json_integer_value(json_object_get(first, "line")), 3);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "new"), "errors")), 2);
    const json_t *run = json_array_get(json_object_get(sarif, "runs"), 0),
                 *rules = json_object_get(json_object_get(json_object_get(run, "tool"), "driver"), "rules"),
                 *results = json_object_get(run, "results");
    assert_string_equal(json_string_value(json_object_get(sarif, "version")), "2.1.0");
    assert_int_equal(json_array_size(rules), 38);
    assert_int_equal(json_array_size(results), json_array_size(findings));
    json_array_foreach((json_t *)results, i, one) {
        const char *id = json_string_value(json_object_get(one, "ruleId"));
        const json_t *rule =
                         json_array_get(rules, (size_t)json_integer_value(json_object_get(one, "ruleIndex"))),
                     *place = json_object_get(json_array_get(json_object_get(one, "locations"), 0),
                                              "physicalLocation"),
                     *file = json_object_get(place, "artifactLocation");
        assert_string_equal(json_string_value(json_object_get(rule, "id")), id);
        const char *uri = json_string_value(json_object_get(file, "uri"));
        assert_ptr_equal(strstr(uri, "tree/configs/triton_3_"), uri); /* relative, and no blank or bracket */
        assert_int_equal(uri[strcspn(uri, " []\\")], 0);
    }
    json_decref(json);
    json_decref(sarif);
    expect("cat a.xml", 0, "<testsuites name=\"moeparity tune audit\" tests=\"3\" failures=\"1\">", "");
    assert_int_equal(count_of(out, "<testcase "), 3);
    assert_non_null(strstr(out, "<failure type=\"k-block-over-group\""));
    /* from elsewhere the address leads back */
    expect("mkdir -p deep/er && cd deep/er && moeparity tune audit ../../tree --sarif up.sarif; grep -c "
           "'\"uri\": \"../../tree/configs/' up.sarif",
           0, "", "");
    no_temporary_files();
}

static void bad_input_is_refused(void **state) {
    (void)state;
    make_tree();
    write_file("notes", "no JSON");
    expect("moeparity tune audit", 2, "", "no files: name tuned files or folders of them");
    expect("moeparity tune audit none", 2, "",
           "none: No such file or directory; expected a tuned file or a folder");
    expect("mkdir -p empty; moeparity tune audit empty", 2, "", "empty: no file E=....json in it");
    expect("moeparity tune audit tree --baseline notes", 2, "", "notes:1: ");
    expect("moeparity tune audit tree --baseline none", 2, "", "none: No such file");
    expect("moeparity tune audit tree --json nowhere/a.json", 2, "", "nowhere/a.json");
    expect("moeparity tune audit tree --json a --sarif a", 2, "",
           "a would be overwritten: it is named twice");
    expect("moeparity tune audit flat/E* --json flat/E*", 2, "", "would be overwritten");
    expect("moeparity tune audit tree --triton next", 2, "", "Triton version 'next': expected numbers");
    expect("moeparity tune audit tree --rules", 2, "", "--rules lists the rules");
    expect("moeparity tune audit tree --json", 2, "", "--json: expected FILE behind it");
    expect("moeparity tune audit notes", 1, "notes:1: error corrupt-json: not JSON", "");
    expect("mkfifo fifo; moeparity tune audit fifo", 2, "", "fifo: a FIFO");
    /* in a folder what cannot be read is a finding, and the others are looked at */
    expect("mkfifo 'flat/E=1,N=1,device_name=X.json'; mkdir 'flat/E=2,N=1,device_name=X.json'; moeparity "
           "tune audit "
           "flat",
           1, "error corrupt-json: a FIFO", "");
    assert_non_null(strstr(out, "E=2,N=1,device_name=X.json: error corrupt-json: "));
    assert_non_null(strstr(out, "3 files, 1 key: 2 errors"));
}

/* 10^5 keys, deep brackets, and 4 MiB and more: within seconds. */
static void hostile_files_take_no_time(void **state) {
    (void)state;
    make_tree();
    FILE *file = fopen("flat/E=3,N=1,device_name=X.json", "w");
    fputs("{\"1\":[]", file);
    for (int i = 2; i < 100000; i++) fprintf(file, ",\"%d\":[]", i);
    fputs("}", file);
    fclose(file);
    file = fopen("flat/E=4,N=1,device_name=X.json", "w");
    for (int i = 0; i < 1000000; i++) fputc('[', file);
    fclose(file);
    file = fopen("flat/E=5,N=1,device_name=X.json", "w");
    for (int i = 0; i < 5 << 20; i++) fputc(' ', file);
    fclose(file);
    file = fopen("flat/E=6,N=1,device_name=X.json", "w");
    fputs("{\"1\":{\"\x1b[31m\":1}}", file);
    fclose(file);
    expect("timeout 20 moeparity tune audit flat --json big.json", 1, "expected at most 4194304", "");
    assert_non_null(strstr(out, "keys 1, 2, 3, 4, 5,"));
    assert_non_null(strstr(out, " and 975 more: []: expected an object"));
    assert_non_null(strstr(out,
                           "key 1000: []: expected an object with BLOCK_SIZE_M and the like; no more of this "
                           "rule are listed"));
    assert_null(strchr(out, '\x1b'));
}

/* ---- which ---- */

static void the_file_and_the_key_are_told(void **state) {
    (void)state;
    make_tree();
    expect(WHICH "--sglang tree --triton 3.6.0 --M 40,1,2000 --json w.json", 0,
           "  M=40      key 64  64x64x64x1x4x3  (24 from both 16 and 64: it stands first in the file)", "");
    assert_non_null(strstr(out, "sglang: tree, as SGLANG_MOE_CONFIG_DIR names it\n"));
    assert_non_null(
        strstr(out, "    taken     tree/configs/triton_3_6_0/" NAME " (the running Triton's folder)\n"));
    assert_non_null(
        strstr(out, "a fallback: not in the folder of the running Triton; triton_3_10_0 is the newest"));
    assert_non_null(strstr(
        out,
        "down key 16  64x64x64x1x4x3  (24 away, 1024 is 984; more than 2x)  BLOCK_SIZE_M 32 overridden"));
    assert_non_null(strstr(out, "  M=1       key 16  16x64x64x1x4x3  (below the first key; more than 2x)"));
    assert_non_null(strstr(out, "vllm: no folder to look into: not asked\n"));
    json_t *json = json_file("w.json");
    const json_t *loader = json_array_get(json_object_get(json, "loaders"), 0),
                 *choice = json_array_get(json_object_get(loader, "choices"), 0),
                 *up = json_object_get(choice, "gate_up"), *down = json_object_get(choice, "down");
    assert_int_equal(json_integer_value(json_object_get(up, "key")), 64);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(up, "entry"), "BLOCK_SIZE_M")), 64);
    assert_int_equal(json_integer_value(json_object_get(down, "block_size_m_overridden")), 32);
    json_decref(json);
    /* every key, both sides of where another takes over (middles 40 and 544, of down 520), one beyond */
    expect(WHICH "--sglang tree --triton 3.6.0", 0, "M=15 ", "");
    static const char *const lines[] = {"M=16 ",  "M=39 ",  "M=40 ",  "M=64 ",   "M=520 ",
                                        "M=521 ", "M=544 ", "M=545 ", "M=1024 ", "M=1025 "};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(out, lines[i])) fail_msg("no %s in\n%s", lines[i], out);
    assert_int_equal(count_of(out, "\n  M="), 11);
}

static void defaults_and_exceptions_are_told(void **state) {
    (void)state;
    make_tree();
    expect(WHICH "--sglang tree --triton 3.6.0 --dtype fp32 --M 8,9", 1,
           "    the defaults: in none of 2 folders", "");
    assert_non_null(
        strstr(out, "  M=8       key -  16x32x64x1x4x3  (default)\n  M=9       key -  64x64x32x8x4x3"));
    expect(WHICH "--sglang tree --triton 3.6.0 --deterministic --M 8", 1,
           "the defaults: deterministic inference looks at no file", "");
    assert_non_null(strstr(out, "key -  64x64x32x8x4x3  (default)"));
    expect("mkdir tree/configs/triton_next; " WHICH "--sglang tree --triton 3.6.0", 1,
           "raises: triton_next is no version", "");
    assert_null(strstr(out, "\n  M="));
    expect("rm -r tree/configs/triton_next; mkdir bare; SGLANG_MOE_CONFIG_DIR=bare " WHICH "--triton 3.6.0",
           1, "raises: bare/configs: No such file or directory: the loader lists it", "");
    write_file("tree/configs/triton_3_6_0/" NAME, "{\"triton_version\":\"3\",\"8\":" TILE(16, 64) "}");
    expect(WHICH "--sglang tree --triton 3.6.0", 1, "raises: its key \"triton_version\" is no number", "");
    expect("VLLM_BATCH_INVARIANT=1 " WHICH "--vllm flat --N 512 --M 1", 2, "", "--N is given twice");
    expect("VLLM_BATCH_INVARIANT=1 moeparity tune which --device 'NVIDIA H100 80GB HBM3' --E 8 --N 512 "
           "--vllm flat "
           "--M 1",
           1, "VLLM_BATCH_INVARIANT=1: batch-invariant mode looks at no file", "");
}

static void near_misses_are_told(void **state) {
    (void)state;
    static const char *const files[][2] = {
        {"configs/triton_3_6_0/E=9,N=256,device_name=" DEVICE ".json",
         "E=9: 1 more, as with fused shared experts"},
        {"configs/triton_3_6_0/E=8,N=512,device_name=" DEVICE ".json",
         "N=512: N * 2, another number of shards"},
        {"configs/triton_3_6_0/E=8,N=64,device_name=" DEVICE ".json",
         "N=64: N / 4, another number of shards"},
        {"configs/triton_3_6_0/E=2,N=1024,device_name=" DEVICE ".json", "E/r and N*r with r=4"},
        {"configs/triton_3_6_0/E=8,N=256,device_name=NVIDIA_H100.json", "device_name=NVIDIA_H100 is short"},
        {"configs/triton_3_6_0/E=8,N=256,device_name=.json", "the device name is empty"},
        {"configs/triton_3_6_0/E=8,N=256,device_name=" DEVICE ",dtype=bf16.json",
         "dtype=bf16, which nobody asks for"},
        {"configs/triton_3_6_0/E=8,N=256,device_name=" DEVICE ",per_channel_quant=True.json",
         "with per_channel_quant=True"},
        {"configs/" NAME, "in a folder that nobody reads"},
        {"configs/triton_3_6_0/new/" NAME, "in a folder that nobody reads"},
        {NAME, "in a folder that nobody reads"},
    };
    make_tree();
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char command[512];
        assert_int_equal(system("rm -rf near && mkdir -p near/configs/triton_3_6_0/new"), 0);
        snprintf(command, sizeof command, "near/%s", files[i][0]);
        write_file(command, "{\"8\":" TILE(16, 64) "}");
        expect(WHICH "--sglang near --triton 3.6.0 --M 1", 1, files[i][1], "");
        snprintf(command, sizeof command, "  near misses\n    near/%s\n      ", files[i][0]);
        assert_non_null(strstr(out, command));
    }
    /* what is further away is none */
    assert_int_equal(system("rm -rf near && mkdir -p near/configs/triton_3_6_0"), 0);
    static const char *const far[] = {"E=14,N=256,device_name=" DEVICE, "E=8,N=300,device_name=" DEVICE,
                                      "E=8,N=256,device_name=NVIDIA_H200", "E=9,N=512,device_name=" DEVICE,
                                      "E=8,N=256,device_name=" DEVICE ",dtype=int8_w8a16"};
    for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
        char path[256];
        snprintf(path, sizeof path, "near/configs/triton_3_6_0/%s.json", far[i]);
        write_file(path, "{}");
    }
    expect(WHICH "--sglang near --triton 3.6.0 --M 1", 1, "the defaults", "");
    assert_null(strstr(out, "near misses"));
    expect(WHICH "--sglang tree --triton 3.6.0 --dtype fp8_w8a8 --block-shape 128,128 --M 2", 0,
           "BLOCK_SIZE_K 256 over a group of 128: wrong numbers", "");
    assert_int_equal(system("mv tree/configs/triton_3_6_0/'" BLOCK "' flat"), 0);
    expect(WHICH "--dtype fp8_w8a8 --block-shape 128,128 --vllm flat --M 1", 1,
           "spelt for another loader: vllm writes block_shape=[128,128].json", "");
}

/* A package that Python finds is looked at, and not imported. */
static void an_installed_package_is_found(void **state) {
    (void)state;
    make_tree();
    assert_int_equal(
        system("mkdir -p site/vllm/model_executor/layers/fused_moe/configs && echo 'raise SystemExit(1)' "
               "> site/vllm/__init__.py && cp flat/E* "
               "site/vllm/model_executor/layers/fused_moe/configs"),
        0);
    if (system("command -v python3 > /dev/null") != 0) skip();
#define ASK "moeparity tune which --device 'NVIDIA H100 80GB HBM3' --E 8 --N 512 --M 7"
    expect("PYTHONPATH=site " ASK, 0, "vllm: the package in ", "");
    assert_non_null(strstr(out, "in the package's own folder"));
    expect("VLLM_TUNED_CONFIG_FOLDER=flat PYTHONPATH=site " ASK, 0,
           "vllm: VLLM_TUNED_CONFIG_FOLDER=flat, then the package in ", "");
    assert_non_null(strstr(out, "    taken     flat/E=8,N=512"));
    assert_non_null(strstr(out, "    later     "));
    expect(ASK " --vllm site/vllm", 0, "vllm: the package in site/vllm", "");
    expect(ASK " --vllm site", 0, "vllm: the package in site", "");
}

static void bad_questions_are_refused(void **state) {
    (void)state;
    make_tree();
    expect("moeparity tune which", 2, "", "--device is missing");
    expect("moeparity tune which --device X --E 8", 2, "", "--N is missing");
    expect(WHICH "--M 0 --sglang tree", 2, "", "--M 0: expected all, or at most 65536 numbers from 1 on");
    expect(WHICH "--M 1,,2 --sglang tree", 2, "", "--M 1,,2: expected");
    expect(WHICH "--M 99999999999999999999 --sglang tree", 2, "", "--M 9999");
    expect(WHICH "--block-shape 128 --sglang tree", 2, "", "--block-shape 128: expected two numbers");
    expect(WHICH "--block-shape 128,x --sglang tree", 2, "", "--block-shape 128,x: expected two numbers");
    expect(WHICH "--triton next --sglang tree", 2, "", "--triton next: expected numbers as in 3.6.0");
    expect(WHICH "--dtype float8 --sglang tree", 2, "", "--dtype float8: expected bf16, fp16, fp32");
    expect(WHICH "--sglang none", 2, "", "--sglang none: not a folder");
    expect(WHICH "--sglang flat", 2, "", "--sglang flat: neither the package");
    expect("SGLANG_MOE_CONFIG_DIR=none " WHICH, 2, "", "SGLANG_MOE_CONFIG_DIR=none: not a folder");
    expect("moeparity tune which --device X --E 8 --N 3 --dtype int4_w4a16 --sglang tree", 2, "",
           "--N 3: expected an even number");
    expect(WHICH "--sglang tree --json nowhere/w.json", 2, "", "nowhere/w.json");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_audit_finds_and_fails),
        cmocka_unit_test(a_baseline_lets_only_new_errors_fail),
        cmocka_unit_test(reports_are_written),
        cmocka_unit_test(bad_input_is_refused),
        cmocka_unit_test(hostile_files_take_no_time),
        cmocka_unit_test(the_file_and_the_key_are_told),
        cmocka_unit_test(defaults_and_exceptions_are_told),
        cmocka_unit_test(near_misses_are_told),
        cmocka_unit_test(an_installed_package_is_found),
        cmocka_unit_test(bad_questions_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
