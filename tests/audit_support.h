/* SPDX-License-Identifier: Apache-2.0 */
/* Trees of tuned files in a folder of their own, and what an audit of them finds. */
#ifndef MP_TESTS_AUDIT_SUPPORT_H
#define MP_TESTS_AUDIT_SUPPORT_H

#include "base/file.h"
#include "harness/tune/audit/audit.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define H100 "NVIDIA_H100_80GB_HBM3"
#define NAME "E=8,N=256,device_name=" H100 ".json"
#define DOWN "E=8,N=256,device_name=" H100 "_down.json"
#define BLOCK_S "E=8,N=256,device_name=" H100 ",dtype=fp8_w8a8,block_shape=[128, 128].json"
#define BLOCK_V "E=8,N=256,device_name=" H100 ",dtype=fp8_w8a8,block_shape=[128,128].json"
#define V36 "configs/triton_3_6_0/"
#define TILE(m, n, k, more) \
    "{\"BLOCK_SIZE_M\":" #m ",\"BLOCK_SIZE_N\":" #n ",\"BLOCK_SIZE_K\":" #k ",\"GROUP_SIZE_M\":1" more "}"
#define FULL ",\"num_warps\":4,\"num_stages\":3"
#define GOOD TILE(16, 64, 64, FULL)
#define GOOD2 TILE(32, 64, 64, FULL)
/* A ladder that is right: from 1 on, no gap of more than 3x, to 1024. */
#define STEPS(first, last)                                                                   \
    "\"1\":" first ",\n\"2\":" first ",\n\"4\":" first ",\n\"12\":" first ",\n\"36\":" first \
    ",\n\"108\":" last ",\n\"324\":" last ",\n\"972\":" last ",\n\"2048\":" last
#define LADDER(first, last) "{" STEPS(first, last) "}"
#define RIGHT LADDER(GOOD, GOOD2)

static char root[64];

static const char *below(const char *name) {
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static void put(const char *name, const char *text) {
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", below(name));
    *strrchr(folder, '/') = '\0';
    assert_int_equal(mp_file_make_directories(folder, NULL), MP_OK);
    assert_int_equal(mp_file_replace(below(name), text, strlen(text), NULL), MP_OK);
}

static int make_root(void **state) {
    (void)state;
    strcpy(root, "/tmp/test_audit.XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", root);
    return system(command);
}

static mp_audit audit_with(const char *name, const char *triton) {
    mp_audit audit;
    mp_error err = {0};
    char *path = strdup(*name ? below(name) : root);
    if (mp_audit_paths(&path, 1, &(mp_audit_options){.triton = triton}, &audit, &err) != MP_OK)
        fail_msg("%s", err.text);
    free(path);
    return audit;
}

static size_t count_rule(const mp_audit *audit, mp_rule rule) {
    size_t n = 0;
    for (size_t i = 0; i < audit->finding_count; i++) n += audit->finding[i].rule == rule;
    return n;
}

#endif
