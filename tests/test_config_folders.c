/* SPDX-License-Identifier: Apache-2.0 */
/* Which file a tile is looked up in: of a folder of this Triton, of a device, or one that is named. */
#include "tests/config_support.h"

static void newest_triton_folder_first(void **state) {
    (void)state;
    write_text("configs/triton_3_2_0", UP_NAME, "{\"32\":" TILE(16, 16) "}");
    write_text("configs/triton_3_10_0", UP_NAME, "{\"32\":" TILE(128, 128) "}");
    write_text("configs/triton_3_10_1", UP_NAME,
               "{\"32\":" TILE(64, 64) "}"); /* neither first nor last of the names in ASCII order */
    write_text("configs/triton_3_9_1", UP_NAME, "{\"32\":" TILE(32, 32) "}");
    assert_int_equal(resolve("M=32").up.block_size_m, 64);
}

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

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(newest_triton_folder_first),
        TEST(the_asked_version_first_then_newest),
        TEST(ties_of_versions_have_one_winner),
        TEST(folders_that_are_no_version_are_passed_over),
        TEST(plain_folder),
        TEST(missing_folders_are_refused),
        TEST(an_empty_variable_counts_as_unset),
        TEST(devices_are_spelt_as_the_loaders_do),
        TEST(a_named_file_is_used_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
