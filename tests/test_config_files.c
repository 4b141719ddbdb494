/* SPDX-License-Identifier: Apache-2.0 */
/* What stands in a file of tiles: what must be refused, what others write, what is read once. */
#include "tests/config_support.h"

#include <fcntl.h>
#include <sys/stat.h>

static void published_files_load(void **state) {
    (void)state;
    setenv("VLLM_TUNED_CONFIG_FOLDER", MP_TEST_DATA "/tuned-configs", 1);
    const mp_config config = resolve("M=4 E=128 N=768");
    const mp_tile expected = {16, 64, 64, 64, 4, 5};
    assert_memory_equal(&config.up, &expected, sizeof expected);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(published_files_load),
        TEST(broken_files_are_refused),
        TEST(every_entry_is_checked),
        TEST(unknown_entries_are_named),
        TEST(entries_of_others_are_accepted),
        TEST(warps_and_stages_may_be_absent),
        TEST(triton_version_belongs_to_the_flat_folder),
        TEST(texts_are_not_cut_inside),
        TEST(files_are_read_once),
        TEST(threads_may_resolve_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
