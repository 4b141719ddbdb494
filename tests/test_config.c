/* Tuned configurations: the lookup rule, its defaults, and files that must be refused. */
#include "base/file.h"
#include "kernels/config.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DEVICE "NVIDIA H100 80GB HBM3"
#define UP_NAME "E=8,N=256,device_name=NVIDIA_H100_80GB_HBM3.json"
#define DOWN_NAME "E=8,N=256,device_name=NVIDIA_H100_80GB_HBM3_down.json"
#define TILE(bm, bn)                                  \
    "{\"BLOCK_SIZE_M\":" #bm ",\"BLOCK_SIZE_N\":" #bn \
    ",\"BLOCK_SIZE_K\":64,\"GROUP_SIZE_M\":4,\"num_warps\":4,\"num_stages\":3,\"USE_TMA\":false}"

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

static mp_config resolve(const char *overrides) {
    mp_case c = mp_case_default();
    mp_config config;
    mp_error err = {0};
    assert_int_equal(mp_case_apply(&c, overrides, &err), MP_OK);
    if (mp_config_resolve(&c, DEVICE, &config, &err) != MP_OK) fail_msg("%s", err.text);
    return config;
}

static void expect_refused(const char *text, const char *reason) {
    mp_case c = mp_case_default();
    mp_config config;
    mp_error err = {0};
    write_text("configs/triton_3_2_0", UP_NAME, text);
    assert_int_equal(mp_config_resolve(&c, DEVICE, &config, &err), MP_EINPUT);
    if (!strstr(err.text, reason)) fail_msg("expected \"%s\" in \"%s\"", reason, err.text);
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
        assert_int_equal(mp_config_resolve(&c, DEVICE, &config, &err), MP_EINPUT);
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
               "{\"triton_version\":\"3.2.0\",\"64\":" TILE(64, 64) ",\"16\":" TILE(16, 16) ",\"4096\":" TILE(
                   128, 128) "}");
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
        assert_int_equal(mp_config_resolve(&c, DEVICE, &config, &err), MP_EINPUT);
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
}

static void broken_files_are_refused(void **state) {
    (void)state;
    expect_refused("{\"32\": ", "end of file");
    expect_refused("[1, 2]", "expected a JSON object");
    expect_refused("{}", "no keys");
    expect_refused("{\"triton_version\":\"3.2.0\"}", "no keys");
    expect_refused("{\"32\":" TILE(16, 16) ",\"32\":" TILE(32, 32) "}", "duplicate");
    expect_refused("{\"-4\":" TILE(16, 16) "}", "key \"-4\"");
    expect_refused("{\"0\":" TILE(16, 16) "}", "key \"0\"");
    expect_refused("{\"many\":" TILE(16, 16) "}", "key \"many\"");
    expect_refused("{\"32x\":" TILE(16, 16) "}", "key \"32x\"");
    expect_refused("{\"32\":7}", "key \"32\"");
    expect_refused("{\"32\":{\"BLOCK_SIZE_M\":16}}", "BLOCK_SIZE_N is missing");
    expect_refused("{\"32\":" TILE(48, 64) "}", "BLOCK_SIZE_M=48");
    expect_refused("{\"32\":" TILE(16, 512) "}", "BLOCK_SIZE_N=512");
    expect_refused("{\"32\":" TILE(99999999999, 64) "}", "BLOCK_SIZE_M");
    expect_refused("{\"32\":" TILE(4294967312, 64) "}",
                   "BLOCK_SIZE_M"); /* 2^32 + 16 and 16 - 2^32: in 32 bits both are a good 16 */
    expect_refused("{\"32\":" TILE(-4294967280, 64) "}", "BLOCK_SIZE_M");
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
    assert_int_equal(mp_config_resolve(&c, "", &config, NULL), MP_OK);
    assert_string_equal(config.source, "default");
    assert_string_equal(config.warning, "");
}

static void tile_ranges(void **state) {
    (void)state;
    const mp_tile good = {16, 16, 32, 1, 1, 1}, largest = {256, 256, 256, 64, 8, 5};
    assert_int_equal(mp_tile_validate(&good, NULL), MP_OK);
    assert_int_equal(mp_tile_validate(&largest, NULL), MP_OK);
    const int bad[][2] = {{0, 8}, {0, 512}, {1, 24}, {2, 16}, {2, 512},
                          {3, 0}, {4, 3},   {4, 16}, {5, 0},  {5, 6}};
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
        TEST(published_files_load),
        TEST(no_device_finds_no_nameless_file),
        TEST(tile_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
