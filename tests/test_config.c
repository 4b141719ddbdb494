/* SPDX-License-Identifier: Apache-2.0 */
/* Which tile a case gets: its own, or that of a file by its name and key, for up and down, or a default. */
#include "tests/config_support.h"

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

static void named_tiles_are_told_from_defaults(void **state) {
    (void)state;
    assert_false(resolve("M=32").tile_named);
    assert_true(resolve("M=32 tile=32x64x32x8x4x2").tile_named);
    write_text("configs/triton_3_2_0", UP_NAME, "{\"32\":" TILE(64, 64) "}");
    assert_true(resolve("M=32").tile_named);
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

/* ---- which key ---- */

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

static void chunk_loop_looks_up_a_chunk(void **state) {
    (void)state;
    write_text("configs/triton_3_2_0", UP_NAME, "{\"65536\":" TILE(64, 64) ",\"100000\":" TILE(128, 128) "}");
    assert_int_equal(resolve("M=100000").up.block_size_m, 128);
    assert_int_equal(resolve("M=100000 path=chunked").up.block_size_m, 64);
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

/* ---- up and down ---- */

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

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(explicit_tiles_win),
        TEST(bad_explicit_tiles_are_refused),
        TEST(defaults_depend_on_tokens_per_expert),
        TEST(named_tiles_are_told_from_defaults),
        TEST(no_device_finds_no_nameless_file),
        TEST(tile_ranges),
        TEST(nearest_key_and_ties),
        TEST(distant_keys_are_told),
        TEST(chunk_loop_looks_up_a_chunk),
        TEST(dtype_is_part_of_the_name),
        TEST(down_file_takes_up_block_size_m),
        TEST(both_paths_are_told),
        TEST(down_alone_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
