/* SPDX-License-Identifier: Apache-2.0 */
/* Tuned configurations: the lookup rule, its defaults, and files that must be refused. */
#include "base/file.h"
#include "cases/case_tools.h"
#include "moeparity/config.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define DEVICE "NVIDIA H100 80GB HBM3"
#define UP_NAME "E=8,N=256,device_name=NVIDIA_H100_80GB_HBM3.json"
#define DOWN_NAME "E=8,N=256,device_name=NVIDIA_H100_80GB_HBM3_down.json"
#define ENTRY(bm, bn, rest) \
    "{\"BLOCK_SIZE_M\":" #bm ",\"BLOCK_SIZE_N\":" #bn ",\"BLOCK_SIZE_K\":64,\"GROUP_SIZE_M\":4" rest "}"
#define TILE(bm, bn) ENTRY(bm, bn, ",\"num_warps\":4,\"num_stages\":3")

static char root[64];

static void write_text(const char *folder, const char *name, const char *text) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", root, folder);
    assert_int_equal(mp_file_make_directories(path, NULL), MP_OK);
    snprintf(path, sizeof path, "%s/%s/%s", root, folder, name);
    assert_int_equal(mp_file_replace(path, text, strlen(text), NULL), MP_OK);
}

static int make_root(void **state) {
    (void)state;
    strcpy(root, "/tmp/test_config.XXXXXX");
    unsetenv("VLLM_TUNED_CONFIG_FOLDER");
    return mkdtemp(root) && setenv("SGLANG_MOE_CONFIG_DIR", root, 1) == 0 ? 0 : -1;
}

static int remove_root(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", root);
    return system(command);
}

static mp_config resolve_for(const mp_config_query *query, const char *overrides) {
    mp_case c = mp_case_default();
    mp_config config;
    mp_error err = {0};
    assert_int_equal(mp_case_apply(&c, overrides, &err), MP_OK);
    if (mp_config_resolve(&c, query, &config, &err) != MP_OK) fail_msg("%s", err.text);
    return config;
}

static mp_config resolve(const char *overrides) {
    return resolve_for(&(mp_config_query){.device = DEVICE}, overrides);
}

static void expect_refused_query(const mp_config_query *query, mp_status expected, const char *reason) {
    const mp_case c = mp_case_default();
    mp_config config;
    mp_error err = {0};
    assert_int_equal(mp_config_resolve(&c, query, &config, &err), expected);
    if (!strstr(err.text, reason)) fail_msg("expected \"%s\" in \"%s\"", reason, err.text);
}

static void expect_refused(const char *text, const char *reason) {
    write_text("configs/triton_3_2_0", UP_NAME, text);
    expect_refused_query(&(mp_config_query){.device = DEVICE}, MP_EINPUT, reason);
}

static void expect_warning(const mp_config *config, const char *text) {
    if (!strstr(config->warning, text)) fail_msg("expected \"%s\" in \"%s\"", text, config->warning);
}

static void expect_no_warning(const mp_config *config) {
    assert_string_equal(config->warning, "");
}

/* The path of a file below the test's folder; valid until the next call. */
static const char *below(const char *name) {
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static void explicit_tiles_win(void **state) {
    (void)state;
    write_text("configs/triton_3_2_0", UP_NAME, "{\"32\":" TILE(128, 128) "}");
    mp_config config = resolve("tile=32x64x32x8x4x2");
    assert_int_equal(config.up.block_size_m, 32);
    assert_string_equal(config.source, "explicit");
    assert_memory_equal(&config.up, &config.down, sizeof config.up);
    write_text("configs/triton_3_2_0", DOWN_NAME,
               "{\"32\":" TILE(32, 256) "}"); /* an explicit tile is meant for both */
    config = resolve("tile=32x64x32x8x4x2");
    assert_memory_equal(&config.up, &config.down, sizeof config.up);
    config = resolve("tile=32x64x32x8x4x2 tile_down=32x128x64x1x8x3");
    assert_int_equal(config.down.block_size_n, 128);
}

/* Of a case that was put together by a program, which no parser has seen. */
static void bad_explicit_tiles_are_refused(void **state) {
    (void)state;
    const mp_tile good = {32, 64, 32, 8, 4, 2}, bad = {32, 48, 32, 8, 4, 2};
    for (int down = 0; down < 2; down++) {
        mp_case c = mp_case_default();
        mp_config config;
        mp_error err = {0};
        c.tile = down ? good : bad;
        c.tile_down = down ? bad : good;
        assert_int_equal(mp_config_resolve(&c, &(mp_config_query){.device = DEVICE}, &config, &err),
                         MP_EINPUT);
        if (!strstr(err.text, "BLOCK_SIZE_N=48")) fail_msg("%s", err.text);
    }
}

static void defaults_depend_on_tokens_per_expert(void **state) {
    (void)state;
    const mp_tile few = {16, 32, 64, 1, 4, 3}, many = {64, 64, 32, 8, 4, 3};
    mp_config config = resolve("M=8");
    assert_memory_equal(&config.up, &few, sizeof few);
    assert_string_equal(config.source, "default");
    assert_non_null(strstr(config.warning, UP_NAME)); /* a folder is configured and has no such file */
    config = resolve("M=9");
    assert_memory_equal(&config.up, &many, sizeof many);
}

static void nearest_key_and_ties(void **state) {
    (void)state;
    write_text("configs/triton_3_2_0", UP_NAME,
               "{\"64\":" TILE(64, 64) ",\"16\":" TILE(16, 16) ",\"4096\":" TILE(128, 128) "}");
    assert_int_equal(resolve("M=1").up.block_size_m, 16);
    assert_int_equal(resolve("M=39").up.block_size_m, 16);
    assert_int_equal(resolve("M=40").up.block_size_m, 64); /* 24 from both: 64 stands first in the file */
    assert_int_equal(resolve("M=41").up.block_size_m, 64);
    assert_int_equal(resolve("M=2080").up.block_size_m, 64); /* 2016 from both */
    assert_int_equal(resolve("M=2081").up.block_size_m, 128);
    assert_int_equal(resolve("M=100000").up.block_size_m, 128);
    assert_int_equal(resolve("M=100000 path=chunked").up.block_size_m, 128);
    assert_non_null(strstr(resolve("M=41").source, "key 64"));
}

static void chunk_loop_looks_up_a_chunk(void **state) {
    (void)state;
    write_text("configs/triton_3_2_0", UP_NAME, "{\"65536\":" TILE(64, 64) ",\"100000\":" TILE(128, 128) "}");
    assert_int_equal(resolve("M=100000").up.block_size_m, 128);
    assert_int_equal(resolve("M=100000 path=chunked").up.block_size_m, 64);
}

static void newest_triton_folder_first(void **state) {
    (void)state;
    write_text("configs/triton_3_2_0", UP_NAME, "{\"32\":" TILE(16, 16) "}");
    write_text("configs/triton_3_10_0", UP_NAME, "{\"32\":" TILE(128, 128) "}");
    write_text("configs/triton_3_10_1", UP_NAME,
               "{\"32\":" TILE(64, 64) "}"); /* neither first nor last of the names in ASCII order */
    write_text("configs/triton_3_9_1", UP_NAME, "{\"32\":" TILE(32, 32) "}");
    assert_int_equal(resolve("M=32").up.block_size_m, 64);
}

static void plain_folder(void **state) {
    (void)state;
    write_text("plain", UP_NAME, "{\"32\":" TILE(32, 128) "}");
    char path[128];
    snprintf(path, sizeof path, "%s/plain", root);
    setenv("VLLM_TUNED_CONFIG_FOLDER", path, 1);
    assert_int_equal(resolve("M=32").up.block_size_n, 128);
    write_text("configs/triton_3_2_0", UP_NAME, "{\"32\":" TILE(16, 16) "}"); /* asked first */
    assert_int_equal(resolve("M=32").up.block_size_n, 16);
}

static void missing_folders_are_refused(void **state) {
    (void)state;
    const char *const variables[] = {"SGLANG_MOE_CONFIG_DIR", "VLLM_TUNED_CONFIG_FOLDER"};
    for (int i = 0; i < 2; i++) {
        const mp_case c = mp_case_default();
        mp_config config;
        mp_error err = {0};
        setenv(variables[i], "/nowhere", 1);
        assert_int_equal(mp_config_resolve(&c, &(mp_config_query){.device = DEVICE}, &config, &err),
                         MP_EINPUT);
        if (!strstr(err.text, variables[i]) || !strstr(err.text, "=/nowhere: not a folder"))
            fail_msg("%s", err.text);
        unsetenv(variables[i]);
    }
}

static void an_empty_variable_counts_as_unset(void **state) {
    (void)state;
    setenv("SGLANG_MOE_CONFIG_DIR", "", 1);
    setenv("VLLM_TUNED_CONFIG_FOLDER", "", 1);
    const mp_config config = resolve("M=32");
    assert_string_equal(config.source, "default");
    assert_string_equal(config.warning, "");
}

static void down_file_takes_up_block_size_m(void **state) {
    (void)state;
    write_text("configs/triton_3_2_0", UP_NAME, "{\"32\":" TILE(32, 64) "}");
    assert_int_equal(resolve("M=32").down.block_size_n, 64); /* no _down file: the up config serves both */
    write_text("configs/triton_3_2_0", DOWN_NAME, "{\"32\":" TILE(64, 128) "}");
    const mp_config config = resolve("M=32");
    assert_int_equal(config.down.block_size_m, 32);
    assert_int_equal(config.down.block_size_n, 128);
    assert_non_null(strstr(config.warning, "BLOCK_SIZE_M 64 overridden by up's 32"));
}

static void dtype_is_part_of_the_name(void **state) {
    (void)state;
    write_text("configs/triton_3_2_0", UP_NAME, "{\"32\":" TILE(16, 16) "}");
    assert_string_equal(resolve("M=32 dtype=fp32").source, "default");
    assert_int_equal(resolve("M=32 dtype=fp16").up.block_size_m, 16);
    write_text("configs/triton_3_2_0", "E=8,N=256,device_name=NVIDIA_H100_80GB_HBM3,dtype=float32.json",
               "{\"32\":" TILE(32, 32) "}");
    assert_int_equal(resolve("M=32 dtype=fp32").up.block_size_m, 32);
    assert_string_equal(resolve("M=32 quant=fp8-block").source, "default");
    write_text("configs/triton_3_2_0",
               "E=8,N=256,device_name=NVIDIA_H100_80GB_HBM3,dtype=fp8_w8a8,block_shape=[128, 128].json",
               "{\"32\":" TILE(64, 64) "}");
    assert_int_equal(resolve("M=32 quant=fp8-block").up.block_size_m, 64);
    assert_string_equal(resolve("M=32 quant=fp8-block group=64").source, "default");
}

static void broken_files_are_refused(void **state) {
    (void)state;
    char expected[PATH_MAX];
    expect_refused("{\"32\": ", "end of file");
    expect_refused("[1, 2]", "expected a JSON object");
    expect_refused("{}", "no keys");
    expect_refused("{\"32\":" TILE(16, 16) ",\"32\":" TILE(32, 32) "}", "duplicate object key near '\"32\"'");
    expect_refused("{\"32\":" ENTRY(16, 16, ",\"BLOCK_SIZE_M\":16") "}",
                   "duplicate object key near '\"BLOCK_SIZE_M\"'");
    for (const char *const *key =
             (const char *const[]){"-4", "0", "032", "+32", " 32", "many", "32x", "3.2e1", "", NULL};
         *key; key++) {
        char text[512];
        snprintf(text, sizeof text, "{\"8\":" TILE(16, 16) ",\"%s\":" TILE(16, 16) "}", *key);
        snprintf(expected, sizeof expected,
                 "key \"%s\": expected a token count from 1 to 9223372036854775807", *key);
        expect_refused(text, expected);
    }
    expect_refused("{\"9223372036854775808\":" TILE(16, 16) "}",
                   "key \"9223372036854775808\": expected a token count");
    expect_refused("{\"32\":7}", "key \"32\": 7: expected an object");
    expect_refused("{\"32\":{\"BLOCK_SIZE_M\":16}}", "key \"32\": BLOCK_SIZE_N is missing");
    expect_refused("{\"32\":" TILE(48, 64) "}",
                   "BLOCK_SIZE_M=48: expected a power of two in 16..256, or 144");
    expect_refused("{\"32\":" TILE(16, 512) "}", "BLOCK_SIZE_N=512: expected");
    expect_refused("{\"32\":" TILE(16.0, 64) "}", "BLOCK_SIZE_M=16.0: expected");
    expect_refused("{\"32\":" TILE("16", 64) "}", "BLOCK_SIZE_M=\"16\": expected");
    expect_refused("{\"32\":" TILE(null, 64) "}", "BLOCK_SIZE_M=null: expected");
    expect_refused("{\"32\":" TILE(4294967312, 64) "}",
                   "BLOCK_SIZE_M=4294967312"); /* 2^32 + 16 and 16 - 2^32: in 32 bits both are a good 16 */
    expect_refused("{\"32\":" TILE(-4294967280, 64) "}", "BLOCK_SIZE_M=-4294967280");
    expect_refused("{\"32\":" ENTRY(16, 64, ",\"num_warps\":3") "}",
                   "num_warps=3: expected a power of two in 1..16");
    expect_refused("{\"32\":" ENTRY(16, 64, ",\"num_stages\":9") "}", "num_stages=9: expected 1..8");
    expect_refused("{\"32\":" ENTRY(16, 64, ",\"num_stages\":null") "}", "num_stages=null: expected 1..8");
    expect_refused("{\"32\":" ENTRY(16, 64, ",\"USE_TMA\":1") "}", "USE_TMA=1: expected true or false");
    expect_refused("{\"32\":" ENTRY(16, 64, ",\"SPLIT_K\":0") "}", "SPLIT_K=0: expected an integer from 1");
    expect_refused("{\"32\":" ENTRY(16, 64, ",\"kpack\":true") "}", "kpack=true: expected an integer from 1");
    snprintf(expected, sizeof expected, "%s/configs/triton_3_2_0/" UP_NAME ": key \"32\": BLOCK_SIZE_M=48",
             root);
    expect_refused("{\"32\":" TILE(48, 64) "}", expected);
}

/* The key that is not asked for is checked too. */
static void every_entry_is_checked(void **state) {
    (void)state;
    expect_refused("{\"32\":" TILE(16, 16) ",\"4096\":" TILE(16, 24) "}", "key \"4096\": BLOCK_SIZE_N=24");
    expect_refused("{\"32\":" TILE(16, 16) ",\"4096\":[]}", "key \"4096\": []: expected an object");
}

static void unknown_entries_are_named(void **state) {
    (void)state;
    expect_refused(
        "{\"32\":" ENTRY(16, 64, ",\"num_stage\":4") "}",
        "key \"32\": unknown 'num_stage', did you mean 'num_stages'?; expected one of BLOCK_SIZE_M,");
    expect_refused("{\"32\":{\"BLOCK_M\":16}}", "unknown 'BLOCK_M', did you mean 'BLOCK_SIZE_M'?");
    expect_refused("{\"32\":" ENTRY(16, 64, ",\"group_size_n\":4") "}", "did you mean 'GROUP_SIZE_M'?");
    expect_refused("{\"32\":" ENTRY(16, 64, ",\"?\":4") "}", "unknown '?'; expected one of");
}

/* Entries of other vendors and of other kernels are legal; those that mean another kernel are told. */
static void entries_of_others_are_accepted(void **state) {
    (void)state;
    write_text(
        "configs/triton_3_2_0", UP_NAME,
        "{\"32\":" ENTRY(16, 64,
                         ",\"num_warps\":16,\"num_stages\":8,\"USE_TMA\":false,\"SPLIT_K\":1,\"num_ctas\":1,"
                         "\"waves_per_eu\":0,\"matrix_instr_nonkdim\":16,\"kpack\":2") "}");
    mp_config config = resolve("M=32");
    const mp_tile expected = {16, 64, 64, 4, 16, 8};
    assert_memory_equal(&config.up, &expected, sizeof expected);
    expect_no_warning(&config);
    write_text("configs/triton_3_2_0", UP_NAME,
               "{\"32\":" ENTRY(16, 64, ",\"USE_TMA\":true,\"SPLIT_K\":4,\"num_ctas\":2") "}");
    config = resolve("M=32");
    expect_warning(&config, "up: key 32 says USE_TMA, which is not used here");
    expect_warning(&config, "up: key 32 says SPLIT_K 4, used here is 1");
    expect_warning(&config, "up: key 32 says num_ctas 2, used here is 1");
}

static void warps_and_stages_may_be_absent(void **state) {
    (void)state;
    write_text("configs/triton_3_2_0", UP_NAME,
               "{\"32\":" ENTRY(16, 64, "") ",\"64\":" ENTRY(16, 64, ",\"num_warps\":8") "}");
    mp_config config = resolve("M=32");
    const mp_tile both = {16, 64, 64, 4, 4, 3}, stages = {16, 64, 64, 4, 8, 3};
    assert_memory_equal(&config.up, &both, sizeof both);
    expect_warning(&config, "up: key 32 has no num_warps: the compiler's 4");
    expect_warning(&config, "up: key 32 has no num_stages: the compiler's 3");
    config = resolve("M=64");
    assert_memory_equal(&config.up, &stages, sizeof stages);
    assert_null(strstr(config.warning, "num_warps"));
    expect_warning(&config, "up: key 64 has no num_stages: the compiler's 3");
}

/* "triton_version" is taken out by the loader of the flat folder; the other one takes it for a token count.
 */
static void triton_version_belongs_to_the_flat_folder(void **state) {
    (void)state;
    const char *const text = "{\"triton_version\":\"3.4.0\",\"32\":" TILE(64, 128) "}";
    char folder[128];
    snprintf(folder, sizeof folder, "%s/plain", root);
    write_text("plain", UP_NAME, text);
    setenv("VLLM_TUNED_CONFIG_FOLDER", folder, 1);
    mp_config config = resolve("M=32");
    assert_int_equal(config.up.block_size_m, 64);
    expect_no_warning(&config);
    config = resolve_for(&(mp_config_query){.device = DEVICE, .triton = "3_4_0"}, "M=32");
    expect_no_warning(&config);
    config = resolve_for(&(mp_config_query){.device = DEVICE, .triton = "3.6.0"}, "M=32");
    expect_warning(&config, "up: the file says triton_version 3.4.0, not 3.6.0");
    expect_refused(text, "key \"triton_version\": expected a token count");
    expect_refused("{\"triton_version\":3,\"32\":" TILE(16, 16) "}", "triton_version=3: expected a text");
    expect_refused("{\"triton_version\":\"3.2.0\"}", "no keys");
}

/* ---- which folder ---- */

static void the_asked_version_first_then_newest(void **state) {
    (void)state;
    write_text("configs/triton_3_2_0", UP_NAME, "{\"32\":" TILE(32, 32) "}");
    write_text("configs/triton_3_6_0", UP_NAME, "{\"32\":" TILE(64, 64) "}");
    write_text("configs/triton_3_10_0", UP_NAME, "{\"32\":" TILE(128, 128) "}");
    for (const char *const *spelling = (const char *const[]){"3.6.0", "3_6_0", NULL}; *spelling; spelling++) {
        const mp_config config = resolve_for(&(mp_config_query){DEVICE, *spelling, NULL}, "M=32");
        assert_int_equal(config.up.block_size_m, 64);
        expect_no_warning(&config);
    }
    const mp_config config = resolve_for(&(mp_config_query){DEVICE, "3.4.0", NULL}, "M=32");
    assert_int_equal(config.up.block_size_m, 128);
    expect_warning(&config, UP_NAME " comes from triton_3_10_0, not from triton_3_4_0");
    const mp_config newest = resolve("M=32");
    expect_no_warning(&newest);
    expect_refused_query(&(mp_config_query){DEVICE, "3.x", NULL}, MP_EINPUT,
                         "Triton version '3.x': expected numbers as in 3.6.0");
    unsetenv("SGLANG_MOE_CONFIG_DIR");
    const mp_config nowhere = resolve_for(&(mp_config_query){DEVICE, "3.6.0", NULL}, "M=32");
    expect_warning(&nowhere, "SGLANG_MOE_CONFIG_DIR is not set");
}

/* Equal versions spelt differently: the last in ASCII order, in whatever order the folder lists them. A
 * longer version is newer. */
static void ties_of_versions_have_one_winner(void **state) {
    (void)state;
    static const char *const spellings[] = {"03_0%d", "003_%d", "3_%d", "3_00%d", "03_%d", "3_0%d"};
    for (int version = 1; version <= 9; version++) {
        char top[16], name[32], folder[64], asked[16];
        snprintf(top, sizeof top, "%d", version);
        for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
            snprintf(name, sizeof name, spellings[i], version);
            snprintf(folder, sizeof folder, "%s/configs/triton_%s", top, name);
            const bool last = strcmp(spellings[i], "3_%d") == 0, named = strcmp(spellings[i], "03_%d") == 0;
            write_text(folder, UP_NAME,
                       last    ? "{\"32\":" TILE(16, 16) "}"
                       : named ? "{\"32\":" TILE(32, 32) "}"
                               : "{\"32\":" TILE(64, 64) "}");
        }
        setenv("SGLANG_MOE_CONFIG_DIR", below(top), 1);
        assert_int_equal(resolve("M=32").up.block_size_m, 16);
        snprintf(asked, sizeof asked, "03.%d", version);
        assert_int_equal(resolve_for(&(mp_config_query){DEVICE, asked, NULL}, "M=32").up.block_size_m,
                         32); /* the folder of that very name */
        snprintf(folder, sizeof folder, "%s/configs/triton_3_0%d_0", top, version);
        write_text(folder, UP_NAME, "{\"32\":" TILE(128, 128) "}");
        assert_int_equal(resolve("M=32").up.block_size_m, 128);
    }
}

static void folders_that_are_no_version_are_passed_over(void **state) {
    (void)state;
    write_text("configs/triton_3_2_0", UP_NAME, "{\"32\":" TILE(16, 16) "}");
    write_text("configs/triton_3_6_0", "another.json", "{}");
    mp_config config = resolve("M=32");
    expect_no_warning(&config);
    write_text("configs/triton_9_main", UP_NAME, "{\"32\":" TILE(64, 64) "}");
    write_text("configs/triton_", UP_NAME, "{\"32\":" TILE(64, 64) "}");
    write_text("configs/other", UP_NAME, "{\"32\":" TILE(64, 64) "}");
    config = resolve("M=32");
    assert_int_equal(config.up.block_size_m, 16);
    expect_warning(&config, "folder triton_9_main passed over: no version");
    expect_warning(&config, "folder triton_ passed over: no version");
    assert_null(strstr(config.warning, "other"));
    const char *said = strstr(config.warning, "triton_9_main");
    assert_null(strstr(said + 1, "triton_9_main")); /* once, for up and down */
}

/* ---- up and down ---- */

static void both_paths_are_told(void **state) {
    (void)state;
    write_text("configs/triton_3_2_0", UP_NAME, "{\"64\":" TILE(32, 64) "}");
    write_text("configs/triton_3_6_0", DOWN_NAME, "{\"16\":" TILE(32, 128) "}");
    char expected[512];
    snprintf(expected, sizeof expected,
             "%s/configs/triton_3_2_0/" UP_NAME " key 64 + %s/configs/triton_3_6_0/" DOWN_NAME " key 16",
             root, root);
    mp_config config = resolve("M=32");
    assert_string_equal(config.source, expected);
    assert_int_equal(config.down.block_size_n, 128);
    snprintf(expected, sizeof expected,
             "up and down come from different folders: %s/configs/triton_3_2_0 and %s/configs/triton_3_6_0",
             root, root);
    expect_warning(&config, expected);
    config = resolve_for(&(mp_config_query){DEVICE, "3.6.0", NULL}, "M=32");
    expect_warning(&config, UP_NAME " comes from triton_3_2_0, not from triton_3_6_0");
    assert_null(strstr(config.warning, DOWN_NAME));
    write_text("configs/triton_3_6_0", UP_NAME, "{\"32\":" TILE(32, 64) "}");
    config = resolve("M=32");
    assert_null(strstr(config.warning, "different folders"));
}

static void down_alone_is_told(void **state) {
    (void)state;
    write_text("configs/triton_3_2_0", DOWN_NAME, "{\"32\":" TILE(64, 128) "}");
    const mp_config config = resolve("M=32");
    assert_true(config.tile_named && config.down.block_size_n == 128 && config.up.block_size_n == 64);
    assert_ptr_equal(strstr(config.source, "default + "), config.source);
    expect_warning(&config, "a _down file alone: gate_up has the default tile");
    expect_warning(&config, "default, no " UP_NAME " below ");
}

static void named_tiles_are_told_from_defaults(void **state) {
    (void)state;
    assert_false(resolve("M=32").tile_named);
    assert_true(resolve("M=32 tile=32x64x32x8x4x2").tile_named);
    write_text("configs/triton_3_2_0", UP_NAME, "{\"32\":" TILE(64, 64) "}");
    assert_true(resolve("M=32").tile_named);
}

/* ---- which key ---- */

static void distant_keys_are_told(void **state) {
    (void)state;
    write_text("configs/triton_3_2_0", UP_NAME,
               "{\"4096\":" TILE(64, 64) ",\"64\":" TILE(64, 64) ",\"256\":" TILE(64, 64) "}");
    static const struct {
        const char *overrides, *warning;
    } cases[] = {
        {"M=64", ""},
        {"M=4096", ""},
        {"M=128", ""},
        {"M=63", "up: 63 tokens are below the first key 64"},
        {"M=32", "up: 32 tokens are below the first key 64"},
        {"M=31", "up: 31 tokens are below the first key 64, more than 2x away"},
        {"M=4097", "up: 4097 tokens are above the last key 4096"},
        {"M=8193", "up: 8193 tokens are above the last key 4096, more than 2x away"},
        {"M=129", "up: 129 tokens are served by key 64, more than 2x away"},
        {"M=200", ""},
        {"M=512", ""},
        {"M=513", "up: 513 tokens are served by key 256, more than 2x away"},
        {"M=2176", ""}, /* 1920 from 256 and 4096, which stands first */
        {"M=2175", "up: 2175 tokens are served by key 256, more than 2x away"},
        {"M=2048", "up: 2048 tokens are served by key 256, more than 2x away"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const mp_config config = resolve(cases[i].overrides);
        if (strcmp(config.warning, cases[i].warning) != 0)
            fail_msg("%s: \"%s\" instead of \"%s\"", cases[i].overrides, config.warning, cases[i].warning);
    }
    write_text("configs/triton_3_2_0", UP_NAME,
               "{\"1\":" TILE(64, 64) ",\"9223372036854775807\":" TILE(16, 16) "}");
    const mp_config config = resolve("M=1000");
    assert_string_equal(config.warning, "up: 1000 tokens are served by key 1, more than 2x away");
}

/* ---- another machine's tiles ---- */

static void devices_are_spelt_as_the_loaders_do(void **state) {
    (void)state;
    char folder[128];
    write_text("configs/triton_3_2_0", UP_NAME, "{\"32\":" TILE(16, 16) "}");
    write_text("configs/triton_3_2_0", "E=8,N=256,device_name=NVIDIA_H200_NVL.json",
               "{\"32\":" TILE(32, 32) "}");
    assert_int_equal(
        resolve_for(&(mp_config_query){.device = "NVIDIA_H100_80GB_HBM3"}, "M=32").up.block_size_m, 16);
    assert_int_equal(resolve_for(&(mp_config_query){.device = "NVIDIA H200 NVL"}, "M=32").up.block_size_m,
                     32);
    snprintf(folder, sizeof folder, "%s/plain", root);
    setenv("VLLM_TUNED_CONFIG_FOLDER", folder, 1);
    unsetenv("SGLANG_MOE_CONFIG_DIR");
    write_text("plain", "E=8,N=256,device_name=NVIDIA_H200.json", "{\"32\":" TILE(64, 64) "}");
    write_text("plain", "E=8,N=256,device_name=A_B_C.json", "{\"32\":" TILE(128, 128) "}");
    assert_int_equal(resolve_for(&(mp_config_query){.device = "NVIDIA H200 NVL"}, "M=32").up.block_size_m,
                     64);
    assert_int_equal(resolve_for(&(mp_config_query){.device = "A B/C"}, "M=32").up.block_size_m, 128);
    assert_string_equal(resolve_for(&(mp_config_query){.device = "NVIDIA GH200 480GB"}, "M=32").source,
                        "default");
    char lengthy[200];
    memset(lengthy, 'x', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = '\0';
    expect_refused_query(&(mp_config_query){.device = lengthy}, MP_EINPUT,
                         "has 199 characters: expected at most 128");
}

static void a_named_file_is_used_or_refused(void **state) {
    (void)state;
    write_text("configs/triton_3_2_0", UP_NAME, "{\"32\":" TILE(16, 16) "}");
    write_text("configs/triton_3_2_0", DOWN_NAME, "{\"32\":" TILE(16, 16) "}");
    write_text("mine", "tuned.json", "{\"triton_version\":\"3.4.0\",\"32\":" TILE(64, 128) "}");
    const mp_config_query query = {.device = DEVICE, .file = below("mine/tuned.json")};
    mp_config config = resolve_for(&query, "M=32");
    assert_true(config.tile_named && config.up.block_size_n == 128 && config.down.block_size_n == 128);
    expect_no_warning(&config);
    write_text("mine", "tuned_down.json", "{\"32\":" TILE(64, 256) "}");
    config = resolve_for(&query, "M=32");
    assert_true(config.up.block_size_n == 128 && config.down.block_size_n == 256);
    assert_non_null(strstr(config.source, "/mine/tuned.json key 32 + "));
    config = resolve_for(&query, "M=32 tile=32x64x32x8x4x2");
    assert_int_equal(config.up.block_size_m, 32);
    expect_warning(&config, "/mine/tuned.json is not used: the case has a tile of its own");
    expect_refused_query(&(mp_config_query){.file = below("mine/none.json")}, MP_EIO, "mine/none.json");
    write_text("mine", "text", "{\"32\":" TILE(64, 128) "}"); /* no ending to put _down before */
    assert_int_equal(resolve_for(&(mp_config_query){.file = below("mine/text")}, "M=32").down.block_size_n,
                     128);
}

/* ---- texts and the cache ---- */

#define NO_VERSION "_ passed over: no version as in triton_3_6_0; ..."

/* Numbers at the end of a long text are whole, or the part they belong to is left out. */
static void texts_are_not_cut_inside(void **state) {
    (void)state;
    char folder[PATH_MAX] = "";
    while (strlen(folder) < 2000) strcat(folder, "0123456789abcdefghijklmnopqrstuvwxyz0123456789/");
    strcat(folder, "configs/triton_3_2_0");
    write_text(folder, UP_NAME, "{\"123456789\":" TILE(16, 16) "}");
    write_text(folder, DOWN_NAME, "{\"987654321\":" TILE(16, 16) "}");
    *strstr(folder, "/configs") = '\0';
    setenv("SGLANG_MOE_CONFIG_DIR", below(folder), 1);
    mp_config config = resolve("M=32");
    assert_non_null(strstr(config.source, UP_NAME " key 123456789 + "));
    assert_string_equal(config.source + strlen(config.source) - 14, " key 987654321");
    for (int i = 0; i < 60; i++) { /* more than there is room for */
        char bad[PATH_MAX];
        snprintf(bad, sizeof bad, "%s/configs/triton_%0200d_", folder, i);
        write_text(bad, "another.json", "{}");
    }
    config = resolve("M=32");
    const size_t length = strlen(config.warning);
    assert_true(length > sizeof config.warning - 300 && length < sizeof config.warning);
    assert_string_equal(config.warning + length - strlen(NO_VERSION), NO_VERSION);
}

static void files_are_read_once(void **state) {
    (void)state;
    const struct timespec then[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}},
                          later[2] = {{.tv_sec = 1000}, {.tv_sec = 1000, .tv_nsec = 1}};
    write_text("configs/triton_3_2_0", UP_NAME, "{\"32\":" TILE(16, 16) "}");
    const char *path = below("configs/triton_3_2_0/" UP_NAME);
    assert_int_equal(utimensat(AT_FDCWD, path, then, 0), 0);
    assert_int_equal(resolve("M=32").up.block_size_n, 16);
    write_text("configs/triton_3_2_0", UP_NAME, "{\"32\":" TILE(16, 32) "}");
    assert_int_equal(utimensat(AT_FDCWD, path, then, 0), 0);
    assert_int_equal(resolve("M=32").up.block_size_n, 16); /* nothing says that it is another file */
    assert_int_equal(utimensat(AT_FDCWD, path, later, 0), 0);
    assert_int_equal(resolve("M=32").up.block_size_n, 32);
    write_text("configs/triton_3_2_0", UP_NAME, "{\"32\":" TILE(16, 256) "}");
    assert_int_equal(utimensat(AT_FDCWD, path, later, 0), 0);
    assert_int_equal(resolve("M=32").up.block_size_n, 256); /* of another size */
    write_text("configs/triton_3_6_0", UP_NAME, "{\"32\":" TILE(16, 128) "}");
    assert_int_equal(utimensat(AT_FDCWD, below("configs/triton_3_6_0/" UP_NAME), later, 0), 0);
    assert_int_equal(resolve("M=32").up.block_size_n, 128); /* in another place */
}

static void threads_may_resolve_together(void **state) {
    (void)state;
    write_text("configs/triton_3_2_0", UP_NAME, "{\"32\":" TILE(16, 128) "}");
    int wrong = 0;
#pragma omp parallel for reduction(+ : wrong) num_threads(8)
    for (int i = 0; i < 200; i++) {
        const mp_case c = mp_case_default();
        mp_config config;
        wrong += mp_config_resolve(&c, &(mp_config_query){.device = DEVICE}, &config, NULL) != MP_OK ||
                 config.up.block_size_n != 128;
    }
    assert_int_equal(wrong, 0);
}

static void published_files_load(void **state) {
    (void)state;
    setenv("VLLM_TUNED_CONFIG_FOLDER", MP_TEST_DATA "/tuned-configs", 1);
    const mp_config config = resolve("M=4 E=128 N=768");
    const mp_tile expected = {16, 64, 64, 64, 4, 5};
    assert_memory_equal(&config.up, &expected, sizeof expected);
}

static void no_device_finds_no_nameless_file(void **state) {
    (void)state;
    mp_case c = mp_case_default();
    mp_config config;
    unsetenv("SGLANG_MOE_CONFIG_DIR");
    assert_int_equal(mp_config_resolve(&c, NULL, &config, NULL), MP_OK);
    assert_string_equal(config.source, "default");
    assert_string_equal(config.warning, "");
}

static void tile_ranges(void **state) {
    (void)state;
    const mp_tile good = {16, 16, 32, 1, 1, 1}, largest = {256, 256, 256, 65536, 16, 8};
    assert_int_equal(mp_tile_validate(&good, NULL), MP_OK);
    assert_int_equal(mp_tile_validate(&largest, NULL), MP_OK);
    const int bad[][2] = {{0, 8},     {0, 512}, {1, 24}, {2, 16}, {2, 512}, {3, 0},
                          {3, 65537}, {4, 3},   {4, 32}, {5, 0},  {5, 9}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mp_tile tile = good;
        int *const fields[] = {&tile.block_size_m, &tile.block_size_n, &tile.block_size_k,
                               &tile.group_size_m, &tile.num_warps,    &tile.num_stages};
        *fields[bad[i][0]] = bad[i][1];
        assert_int_equal(mp_tile_validate(&tile, NULL), MP_EINPUT);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(explicit_tiles_win),
        TEST(bad_explicit_tiles_are_refused),
        TEST(defaults_depend_on_tokens_per_expert),
        TEST(nearest_key_and_ties),
        TEST(chunk_loop_looks_up_a_chunk),
        TEST(newest_triton_folder_first),
        TEST(plain_folder),
        TEST(missing_folders_are_refused),
        TEST(an_empty_variable_counts_as_unset),
        TEST(down_file_takes_up_block_size_m),
        TEST(dtype_is_part_of_the_name),
        TEST(broken_files_are_refused),
        TEST(every_entry_is_checked),
        TEST(unknown_entries_are_named),
        TEST(entries_of_others_are_accepted),
        TEST(warps_and_stages_may_be_absent),
        TEST(triton_version_belongs_to_the_flat_folder),
        TEST(the_asked_version_first_then_newest),
        TEST(ties_of_versions_have_one_winner),
        TEST(folders_that_are_no_version_are_passed_over),
        TEST(both_paths_are_told),
        TEST(down_alone_is_told),
        TEST(named_tiles_are_told_from_defaults),
        TEST(distant_keys_are_told),
        TEST(devices_are_spelt_as_the_loaders_do),
        TEST(a_named_file_is_used_or_refused),
        TEST(texts_are_not_cut_inside),
        TEST(files_are_read_once),
        TEST(threads_may_resolve_together),
        TEST(published_files_load),
        TEST(no_device_finds_no_nameless_file),
        TEST(tile_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
