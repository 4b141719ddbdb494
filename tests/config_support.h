/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of tuned configurations share: a folder of its own for each, files in it, and what of them
 * is resolved. */
#ifndef MP_TESTS_CONFIG_SUPPORT_H
#define MP_TESTS_CONFIG_SUPPORT_H

#include "base/file.h"
#include "cases/case_tools.h"
#include "moeparity/config.h"

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
#define ENTRY(bm, bn, rest) \
    "{\"BLOCK_SIZE_M\":" #bm ",\"BLOCK_SIZE_N\":" #bn ",\"BLOCK_SIZE_K\":64,\"GROUP_SIZE_M\":4" rest "}"
#define TILE(bm, bn) ENTRY(bm, bn, ",\"num_warps\":4,\"num_stages\":3")

static char root[64];

static inline void write_text(const char *folder, const char *name, const char *text) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", root, folder);
    assert_int_equal(mp_file_make_directories(path, NULL), MP_OK);
    snprintf(path, sizeof path, "%s/%s/%s", root, folder, name);
    assert_int_equal(mp_file_replace(path, text, strlen(text), NULL), MP_OK);
}

static inline int make_root(void **state) {
    (void)state;
    strcpy(root, "/tmp/test_config.XXXXXX");
    unsetenv("VLLM_TUNED_CONFIG_FOLDER");
    return mkdtemp(root) && setenv("SGLANG_MOE_CONFIG_DIR", root, 1) == 0 ? 0 : -1;
}

static inline int remove_root(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", root);
    return system(command);
}

static inline mp_config resolve_for(const mp_config_query *query, const char *overrides) {
    mp_case c = mp_case_default();
    mp_config config;
    mp_error err = {0};
    assert_int_equal(mp_case_apply(&c, overrides, &err), MP_OK);
    if (mp_config_resolve(&c, query, &config, &err) != MP_OK) fail_msg("%s", err.text);
    return config;
}

static inline mp_config resolve(const char *overrides) {
    return resolve_for(&(mp_config_query){.device = DEVICE}, overrides);
}

static inline void expect_refused_query(const mp_config_query *query, mp_status expected,
                                        const char *reason) {
    const mp_case c = mp_case_default();
    mp_config config;
    mp_error err = {0};
    assert_int_equal(mp_config_resolve(&c, query, &config, &err), expected);
    if (!strstr(err.text, reason)) fail_msg("expected \"%s\" in \"%s\"", reason, err.text);
}

static inline void expect_refused(const char *text, const char *reason) {
    write_text("configs/triton_3_2_0", UP_NAME, text);
    expect_refused_query(&(mp_config_query){.device = DEVICE}, MP_EINPUT, reason);
}

static inline void expect_warning(const mp_config *config, const char *text) {
    if (!strstr(config->warning, text)) fail_msg("expected \"%s\" in \"%s\"", text, config->warning);
}

static inline void expect_no_warning(const mp_config *config) {
    assert_string_equal(config->warning, "");
}

/* The path of a file below the test's folder; valid until the next call. */
static inline const char *below(const char *name) {
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)

#endif
