/* SPDX-License-Identifier: Apache-2.0 */
/* The command that runs a case again: every setting that is not the usual, and what else the verdict may owe
 * itself to. */
#include "harness/run/repro.h"
#include "harness/run/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 16 };
static mp_matrix matrix[ROWS]; /* one a row, so that rows stay where they are */
static int rows;

static const mp_matrix_row *row_of(const char *text) {
    mp_error err = {0};
    assert_true(rows < ROWS);
    if (mp_matrix_add(&matrix[rows], text, NULL, 0, &err) != MP_OK) fail_msg("%s", err.text);
    return &matrix[rows++].rows[0];
}

static void expect_repro(const mp_matrix_row *row, const mp_matrix_row *after, const mp_settings *settings,
                         const char *expected) {
    mp_text text = {0};
    mp_repro(row, &after, after ? 1 : 0, settings, &text);
    assert_string_equal(mp_text_get(&text), expected);
    mp_text_free(&text);
}

#define TILE " tile=64x64x32x8x4x3"
#define CASE "'M=8 topk=2 act=silu" TILE "'"

static void every_setting_that_is_not_the_usual(void **state) {
    (void)state;
    const mp_matrix_row *row = row_of("M=8" TILE);
    const mp_settings usual = {.subject = "host"};
    expect_repro(row, NULL, &usual, "moeparity run --case " CASE " --subject host");
    for (int i = 0; i < mp_setting_count; i++) {
        const mp_setting *setting = &mp_setting_rows[i];
        mp_settings settings = usual;
        char expected[200] = "moeparity run --case " CASE " --subject host",
             *end = expected + strlen(expected);
        if (setting->offset == offsetof(mp_settings, subject)) continue;
        mp_setting_set(&settings, setting, "a b", setting->usual);
        if (setting->kind != MP_SETTING_TEXT) expect_repro(row, NULL, &settings, expected);
        mp_setting_set(&settings, setting, "a b", setting->kind == MP_SETTING_FLAG ? 1 : 7);
        const size_t left = sizeof expected - strlen(expected);
        if (setting->in_repro && setting->kind == MP_SETTING_TEXT)
            snprintf(end, left, " --%s 'a b'", setting->option);
        else if (setting->in_repro && setting->kind == MP_SETTING_FLAG)
            snprintf(end, left, " --%s", setting->option);
        else if (setting->in_repro)
            snprintf(end, left, " --%s 7", setting->option);
        expect_repro(row, NULL, &settings, expected);
    }
    /* The command line takes whole seconds, from one. */
    expect_repro(row, NULL, &(mp_settings){.subject = "host", .timeout = 0.25},
                 "moeparity run --case " CASE " --subject host --timeout 1");
}

static void a_verification(void **state) {
    (void)state;
    const mp_matrix_row *row = row_of("M=9" TILE), *before = row_of("M=10" TILE);
    mp_settings settings = {.subject = "ref", .golden = "a'b.h5", .golden_required = true, .strict = true};
    expect_repro(row, before, &settings,
                 "moeparity golden verify 'a'\\''b.h5' --case 'M=10 topk=2 act=silu" TILE
                 "' --case 'M=9 topk=2 act=silu" TILE "' --subject ref --strict");
    settings = (mp_settings){.subject = "ref", .golden = "-g.h5", .golden_required = true};
    expect_repro(row, NULL, &settings,
                 "moeparity golden verify ./-g.h5 --case 'M=9 topk=2 act=silu" TILE "' --subject ref");
}

/* Tiles may come from a folder: where the case before has none of its own as well. */
static void tuned_folders(void **state) {
    (void)state;
    const mp_matrix_row *named = row_of("M=11" TILE), *looked_up = row_of("M=12");
    const mp_settings settings = {.subject = "host"};
    setenv("VLLM_TUNED_CONFIG_FOLDER", "/a b", 1);
    const char *const all[] = {"VLLM_TUNED_CONFIG_FOLDER='/a b' moeparity run --case 'M=12 topk=2 act=silu'"
                               " --subject host",
                               "VLLM_TUNED_CONFIG_FOLDER='/a b' moeparity run --case 'M=12 topk=2 act=silu'"
                               " --case 'M=11 topk=2 act=silu" TILE "' --subject host",
                               "moeparity run --case 'M=11 topk=2 act=silu" TILE "' --subject host"};
    expect_repro(looked_up, NULL, &settings, all[0]);
    expect_repro(named, looked_up, &settings, all[1]);
    expect_repro(named, NULL, &settings, all[2]);
    unsetenv("VLLM_TUNED_CONFIG_FOLDER");
}

static void skips_and_passes_need_nothing_before_them(void **state) {
    (void)state;
    const mp_matrix_row *row = row_of("M=13" TILE), *before = row_of("M=14" TILE);
    const mp_settings settings = {.subject = "host"};
    for (int o = 0; o < MP_OUTCOME_COUNT; o++) {
        mp_verdict *v = malloc(sizeof *v);
        assert_non_null(v);
        mp_verdict_begin(row, &before, 1, &settings, (mp_outcome)o, v);
        assert_int_equal(strstr(v->repro, "M=14") != NULL, o != MP_PASS && o != MP_SKIP);
        mp_verdict_free(v);
        free(v);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_setting_that_is_not_the_usual),
        cmocka_unit_test(a_verification),
        cmocka_unit_test(tuned_folders),
        cmocka_unit_test(skips_and_passes_need_nothing_before_them),
    };
    unsetenv("VLLM_TUNED_CONFIG_FOLDER");
    unsetenv("SGLANG_MOE_CONFIG_DIR");
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (int i = 0; i < rows; i++) mp_matrix_free(&matrix[i]);
    return failed;
}
