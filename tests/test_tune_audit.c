/* SPDX-License-Identifier: Apache-2.0 */
/* The audit of tuned files: every rule fires where it should, where it should, and nowhere else. */
#include "base/file.h"
#include "harness/tune/audit/audit.h"
#include "harness/tune/audit/baseline.h"

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

static const mp_finding *first_of(const mp_audit *audit, mp_rule rule) {
    for (size_t i = 0; i < audit->finding_count; i++)
        if (audit->finding[i].rule == rule) return &audit->finding[i];
    return NULL;
}

/* A tree of at most three files, and what is found in it: one rule, so many times, the first at this key and
 * line, with this in its reason. Rules that must come with it are in `also`. */
typedef struct row {
    mp_rule rule;
    size_t count;
    const char *key;
    int line;
    const char *reason;
    const char *file[3][2];
    int also; /* a second rule, or -1 */
    const char *triton;
} row;

#define ONE(name, text) \
    {                   \
        { name, text }  \
    }
static const row rows[] = {
    {MP_RULE_CORRUPT_JSON, 1, NULL, 2, "not JSON", ONE(V36 NAME, "{\"1\":" GOOD ",\n"), -1, NULL},
    {MP_RULE_CORRUPT_JSON, 1, NULL, 1, "not a JSON object", ONE(V36 NAME, "[1]"), -1, NULL},
    {MP_RULE_NO_KEYS, 1, NULL, 1, "no keys", ONE(V36 NAME, "{}"), -1, NULL},
    {MP_RULE_KEY_NOT_POSITIVE, 3, "-4", 1, "expected a positive number",
     ONE(V36 NAME,
         "{\"-4\":" GOOD2 ",\"0\":" GOOD2 ",\"1\":" GOOD ",\n\"many\":" GOOD2 ",\"2048\":" GOOD2 "}"),
     MP_RULE_LADDER_SPARSE, NULL},
    {MP_RULE_KEY_SPELLING, 1, "02", 2, "is read as 2", ONE(V36 NAME, "{\"1\":" GOOD ",\n\"02\":" GOOD2 "}"),
     MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_DUPLICATE_KEY, 1, "1", 2, "stands in line 1 already",
     ONE(V36 NAME, "{\"1\":" GOOD ",\n\"1\":" GOOD2 ",\"1024\":" GOOD2 "}"), MP_RULE_LADDER_SPARSE, NULL},
    {MP_RULE_DUPLICATE_KEY, 1, "1", 1, "num_warps of key",
     ONE(V36 NAME, "{\"1\":" TILE(16, 64, 64, FULL ",\"num_warps\":8") ",\n\"1024\":" GOOD2 "}"),
     MP_RULE_LADDER_SPARSE, NULL},
    {MP_RULE_DUPLICATE_KEY, 1, "+2", 2, "the same number as \"2\" in line 1",
     ONE(V36 NAME, "{\"1\":" GOOD ",\"2\":" GOOD ",\n\"+2\":" GOOD2 "}"), -2, NULL},
    {MP_RULE_TRITON_VERSION_KEY, 1, "triton_version", 1, "raises",
     ONE(V36 NAME, "{\"triton_version\":\"3.6.0\",\n\"1\":" GOOD ",\"1024\":" GOOD2 "}"),
     MP_RULE_LADDER_SPARSE, NULL},
    {MP_RULE_ENTRY_NOT_OBJECT, 1, "2", 2, "7: expected an object",
     ONE(V36 NAME, "{\"1\":" GOOD ",\n\"2\":7}"), MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_VALUE_MISSING, 1, "1", 1, "GROUP_SIZE_M is missing",
     ONE(V36 NAME,
         "{\"1\":{\"BLOCK_SIZE_M\":16,\"BLOCK_SIZE_N\":64,\"BLOCK_SIZE_K\":64" FULL "},\"3\":" GOOD "}"),
     MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_VALUE_OUT_OF_RANGE, 1, "1", 1, "BLOCK_SIZE_N=48: expected a power of two",
     ONE(V36 NAME, "{\"1\":" TILE(16, 48, 64, FULL) ",\"2\":" GOOD "}"), -2, NULL},
    {MP_RULE_VALUE_OUT_OF_RANGE, 1, "1", 1, "BLOCK_SIZE_K=8: expected a power of two from 16",
     ONE(V36 NAME, "{\"1\":" TILE(16, 64, 8, FULL) ",\"2\":" GOOD "}"), MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_VALUE_OUT_OF_RANGE, 1, "1", 1, "num_warps=\"4\"",
     ONE(V36 NAME, "{\"1\":" TILE(16, 64, 64, ",\"num_warps\":\"4\",\"num_stages\":3") ",\"2\":" GOOD "}"),
     MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_VALUE_OUT_OF_RANGE, 1, "1", 1, "USE_TMA=1: expected true or false",
     ONE(V36 NAME, "{\"1\":" TILE(16, 64, 64, FULL ",\"USE_TMA\":1") ",\"2\":" GOOD "}"),
     MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_UNKNOWN_ENTRY_KEY, 1, "1", 2, "did you mean 'num_stages'?",
     ONE(V36 NAME, "{\"1\":" TILE(16, 64, 64, FULL ",\n\"num_stage\":2") ",\"2\":" GOOD "}"),
     MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_UNKNOWN_ENTRY_KEY, 1, "1", 1, "SPLIT_K: the kernel of sglang does not take it",
     ONE(V36 NAME, "{\"1\":" TILE(16, 64, 64, FULL ",\"SPLIT_K\":1") ",\"2\":" GOOD "}"),
     MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_UNKNOWN_ENTRY_KEY, 1, "1", 1, "USE_TMA: the kernel of vllm does not take it",
     ONE(NAME, "{\"1\":" TILE(16, 64, 64, FULL ",\"USE_TMA\":true") ",\"2\":" GOOD "}"),
     MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_UNKNOWN_ENTRY_KEY, 1, "1", 1, "the compiler for NVIDIA devices",
     ONE(V36 NAME, "{\"1\":" TILE(16, 64, 64, FULL ",\"kpack\":2") ",\"2\":" GOOD "}"),
     MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_DEFAULTS_LEFT, 2, "1", 1, "no num_warps and num_stages: the compiler's 4 and 3",
     ONE(V36 NAME, "{\"1\":" TILE(16, 64, 64, "") ",\"2\":" TILE(16, 64, 64, ",\"num_warps\":8") "}"),
     MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_K_BLOCK_OVER_GROUP, 1, "2", 2, "BLOCK_SIZE_K=256 over a group of 128: one scale serves 2 groups",
     ONE(V36 BLOCK_S, "{\"1\":" TILE(16, 64, 128, FULL) ",\n\"2\":" TILE(16, 64, 256, FULL) "}"),
     MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_K_BLOCK_STRADDLES_GROUP, 1, "1", 1, "a group of 96 is no multiple of it",
     ONE(V36 "E=8,N=256,device_name=" H100 ",dtype=fp8_w8a8,block_shape=[96, 96].json",
         "{\"1\":" TILE(16, 64, 64, FULL) ",\n\"2\":" TILE(16, 64, 32, FULL) "}"),
     MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_K_BLOCK_CLAMPED, 1, "2", 2, "BLOCK_SIZE_K=256 over block_shape [128, 128]: 128 runs",
     ONE(BLOCK_V, "{\"1\":" TILE(16, 64, 128, FULL) ",\n\"2\":" TILE(16, 64, 256, FULL) "}"),
     MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_BLOCK_OVERHANG, 2, "1", 1, "at keys 1, 3",
     ONE(V36 "E=8,N=80,device_name=" H100 ".json",
         "{\"1\":" TILE(16, 64, 32, FULL) ",\"2\":" TILE(16, 16, 16, FULL) ",\n\"3\":" TILE(16, 64, 16,
                                                                                            FULL) "}"),
     MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_SHARED_MEMORY, 1, "2", 2, "256x256x128 with 3 stages: about 256 KiB of shared memory",
     ONE(V36 NAME, "{\"1\":" TILE(128, 256, 128, ",\"num_warps\":8,\"num_stages\":2") ",\n\"2\":" TILE(
                       256, 256, 128, FULL) "}"),
     MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_NAME_NOBODY_ASKS, 1, NULL, 1, "dtype=bf16",
     ONE(V36 "E=8,N=256,device_name=" H100 ",dtype=bf16.json", RIGHT), -1, NULL},
    {MP_RULE_NAME_NOBODY_ASKS, 1, NULL, 1, "the device name is empty",
     ONE(V36 "E=8,N=256,device_name=.json", RIGHT), -1, NULL},
    {MP_RULE_NAME_NOBODY_ASKS, 1, NULL, 1, "no loader has such parts",
     ONE(V36 "E=8,N=256,device_name=" H100 ",backend=x.json", RIGHT), -1, NULL},
    {MP_RULE_NAME_NOBODY_ASKS, 1, NULL, 1, "sglang asks for " BLOCK_S, ONE(V36 BLOCK_V, RIGHT), -1, NULL},
    {MP_RULE_NAME_NOBODY_ASKS, 1, NULL, 1, "device_name=NVIDIA_H200.json",
     ONE("E=8,N=256,device_name=NVIDIA_H200_NVL.json", RIGHT), -1, NULL},
    {MP_RULE_NAME_NOBODY_ASKS,
     1,
     NULL,
     1,
     "vllm looks for no _down file",
     {{"a/" NAME, RIGHT}, {"a/E=8,N=256,device_name=X_down.json", RIGHT}},
     -2,
     NULL},
    {MP_RULE_NAME_NOBODY_ASKS, 1, NULL, 1, "expected E=...", ONE(V36 "E=8.json", RIGHT), -1, NULL},
    {MP_RULE_FOLDER_NOT_READ,
     1,
     NULL,
     1,
     "beside the folders triton_X_Y_Z",
     {{"configs/" NAME, RIGHT}, {V36 "E=8,N=512,device_name=X.json", RIGHT}},
     MP_RULE_FILE_COPIED,
     NULL},
    {MP_RULE_FOLDER_NOT_READ, 1, NULL, 1, "one level too deep", ONE(V36 "new/" NAME, RIGHT), -1, NULL},
    {MP_RULE_FOLDER_NOT_READ,
     1,
     NULL,
     1,
     "below the folder of the other files",
     {{NAME, RIGHT}, {"old/E=8,N=512,device_name=X.json", LADDER(GOOD2, GOOD)}},
     -1,
     NULL},
    {MP_RULE_VERSION_FOLDER,
     1,
     NULL,
     0,
     "raises on it",
     {{V36 NAME, RIGHT}, {"configs/triton_next/readme", "none"}},
     -1,
     NULL},
    {MP_RULE_OTHER_TRITON, 1, NULL, 1, "in triton_3_6_0, and not in the folder of Triton 3.7.1",
     ONE(V36 NAME, RIGHT), -1, "3.7.1"},
    {MP_RULE_SHORT_DEVICE_NAME, 1, NULL, 1, "NVIDIA_H100_PCIe",
     ONE("E=8,N=256,device_name=NVIDIA_H100.json", RIGHT), -1, NULL},
    {MP_RULE_SHADOWED,
     1,
     NULL,
     1,
     "the same name is in triton_3_6_0 too, with other contents",
     {{V36 NAME, RIGHT}, {"configs/triton_3_10_0/" NAME, LADDER(GOOD2, GOOD)}},
     -1,
     NULL},
    {MP_RULE_SHADOWED_COPY,
     1,
     NULL,
     1,
     "with the same contents",
     {{V36 NAME, RIGHT}, {"configs/triton_3_10_0/" NAME, RIGHT}},
     -1,
     NULL},
    {MP_RULE_DOWN_BLOCK_M,
     4,
     "108",
     6,
     "BLOCK_SIZE_M=16, and up's key 108 has 32, which runs",
     {{V36 NAME, RIGHT}, {V36 DOWN, LADDER(GOOD, TILE(16, 128, 64, FULL))}},
     -1,
     NULL},
    {MP_RULE_DOWN_KEYS,
     1,
     NULL,
     1,
     "without the keys of up 2048; with keys that up has not: 1900",
     {{V36 NAME, "{\"1\":" GOOD ",\"3\":" GOOD2 ",\"2048\":" GOOD "}"},
      {V36 DOWN, "{\"1\":" GOOD ",\"3\":" TILE(32, 32, 64, FULL) ",\"1900\":" GOOD "}"}},
     -2,
     NULL},
    {MP_RULE_DOWN_WITHOUT_UP, 1, NULL, 1, "there is no " NAME, ONE(V36 DOWN, RIGHT), -1, NULL},
    {MP_RULE_DOWN_ELSEWHERE,
     2,
     NULL,
     1,
     "the file of down is in triton_3_6_0",
     {{"configs/triton_3_5_1/" NAME, RIGHT}, {V36 DOWN, LADDER(GOOD2, GOOD)}},
     -1,
     NULL},
    {MP_RULE_TMA_SERVES_DOWN, 1, "1", 1, "no _down file",
     ONE(V36 NAME, LADDER(TILE(16, 64, 64, FULL ",\"USE_TMA\":true"), GOOD2)), MP_RULE_TMA_ON_UP, NULL},
    {MP_RULE_TMA_ON_UP,
     1,
     "1",
     1,
     "USE_TMA for gate_up",
     {{V36 NAME, LADDER(TILE(16, 64, 64, FULL ",\"USE_TMA\":true"), GOOD2)}, {V36 DOWN, RIGHT}},
     -1,
     NULL},
    {MP_RULE_TMA_NO_HARDWARE,
     1,
     "1",
     1,
     "NVIDIA_A100-SXM4-80GB has no tensor memory accelerator",
     {{V36 "E=8,N=256,device_name=NVIDIA_A100-SXM4-80GB.json", RIGHT},
      {V36 "E=8,N=256,device_name=NVIDIA_A100-SXM4-80GB_down.json",
       LADDER(TILE(16, 64, 64, FULL ",\"USE_TMA\":true"), GOOD2)}},
     -1,
     NULL},
    {MP_RULE_LADDER_SINGLE_KEY, 1, "512", 1, "serves every M", ONE(V36 NAME, "{\"512\":" GOOD "}"), -2, NULL},
    {MP_RULE_LADDER_BEGINS_LATE, 1, "2", 1, "the first key is 2",
     ONE(V36 NAME, "{\"2\":" GOOD ",\"3\":" GOOD2 "}"), MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_LADDER_ENDS_EARLY, 1, "1023", 1, "the last key is 1023",
     ONE(V36 NAME, "{\"1\":" GOOD ",\"1023\":" GOOD2 "}"), MP_RULE_LADDER_SPARSE, NULL},
    {MP_RULE_LADDER_SPARSE, 1, "1024", 2, "from M=65 on key 32 serves what is more than 2x away",
     ONE(V36 NAME, "{\"1\":" GOOD ",\"3\":" GOOD ",\"9\":" GOOD ",\"27\":" GOOD ",\"32\":" GOOD2
                   ",\n\"1024\":" GOOD2 "}"),
     -1, NULL},
    {MP_RULE_LADDER_ORDER, 1, "1", 2, "key 1 stands behind 2048",
     ONE(V36 NAME, "{\"2048\":" GOOD2 ",\n\"1\":" GOOD "}"), MP_RULE_LADDER_SPARSE, NULL},
    {MP_RULE_ROWS_COPIED, 1, "1", 1, "all 9 keys", ONE(V36 NAME, LADDER(GOOD, GOOD)), -1, NULL},
    {MP_RULE_ROWS_THRASH, 1, "2", 1, "keys 1 and 3 have one entry, and 2 between them another",
     ONE(V36 NAME, "{\"1\":" GOOD ",\"2\":" GOOD2 ",\"3\":" GOOD "}"), MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_FILE_COPIED,
     1,
     NULL,
     1,
     "the same table as triton_3_6_0/" NAME,
     {{V36 NAME, RIGHT}, {V36 "E=8,N=512,device_name=" H100 ".json", RIGHT}},
     -1,
     NULL},
};
enum { ROWS = sizeof rows / sizeof *rows };

static void every_rule_fires_and_no_other(void **state) {
    bool fired[MP_RULE_COUNT] = {false};
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        const row *r = &rows[i];
        assert_int_equal(make_root(NULL), 0);
        for (int k = 0; k < 3 && r->file[k][0]; k++) put(r->file[k][0], r->file[k][1]);
        mp_audit audit = audit_with("", r->triton);
        const mp_finding *f = first_of(&audit, r->rule);
        if (!f || count_rule(&audit, r->rule) != r->count)
            fail_msg("row %zu: %s: %zu instead of %zu", i, mp_rules[r->rule].id, count_rule(&audit, r->rule),
                     r->count);
        if (!strstr(f->reason, r->reason)) fail_msg("row %zu: '%s' not in '%s'", i, r->reason, f->reason);
        if (r->key ? !f->key || strcmp(f->key, r->key) != 0 : f->key != NULL)
            fail_msg("row %zu: key %s", i, f->key ? f->key : "none");
        if (f->line != r->line) fail_msg("row %zu: line %d instead of %d", i, f->line, r->line);
        /* -2: several others come with it */
        for (size_t k = 0; k < audit.finding_count && r->also != -2; k++)
            if (audit.finding[k].rule != r->rule && (int)audit.finding[k].rule != r->also)
                fail_msg("row %zu: also %s: %s", i, mp_rules[audit.finding[k].rule].id,
                         audit.finding[k].reason);
        fired[r->rule] = true;
        mp_audit_free(&audit);
        assert_int_equal(remove_root(NULL), 0);
    }
    for (int r = 0; r < MP_RULE_COUNT; r++)
        if (!fired[r]) fail_msg("no row for %s", mp_rules[r].id);
}

static void the_page_has_every_rule(void **state) {
    (void)state;
    char *page = NULL;
    size_t size;
    assert_int_equal(mp_file_read(MP_TUNE_PAGE, &page, &size, NULL), MP_OK);
    for (int r = 0; r < MP_RULE_COUNT; r++) {
        char line[2048];
        snprintf(line, sizeof line, "| `%s` | %s | %s | %s |\n", mp_rules[r].id,
                 mp_severity_name(mp_rules[r].severity), mp_rules[r].summary, mp_rules[r].help);
        if (!strstr(page, line)) fail_msg("not in the page: %s", line);
    }
    free(page);
}

/* Names of both loaders, and entries that are legal and look odd. */
static void right_files_have_no_finding(void **state) {
    (void)state;
    static const char *const files[][2] = {
        {"s/" V36 NAME, RIGHT},
        {"s/" V36 DOWN, LADDER(TILE(16, 128, 64, FULL ",\"USE_TMA\":true"), TILE(32, 128, 64, FULL))},
        {"s/" V36 BLOCK_S,
         LADDER(TILE(16, 64, 128, FULL), TILE(64, 256, 64, ",\"num_warps\":8,\"num_stages\":6"))},
        {"s/" V36 "E=257,N=256,device_name=" H100 ",dtype=fp8_w8a8,per_channel_quant=True.json",
         LADDER(TILE(8, 64, 256, FULL), TILE(32, 64, 256, FULL ",\"num_ctas\":1"))},
        {"s/" V36 "E=16,N=256,device_name=AMD_Instinct_MI300X.json",
         LADDER(TILE(16, 16, 64, FULL ",\"waves_per_eu\":0,\"matrix_instr_nonkdim\":16,\"kpack\":2"),
                TILE(16, 32, 64, ",\"num_warps\":8,\"num_stages\":0"))},
        {"v/" NAME,
         "{\"triton_version\":\"3.6.0\",\n" STEPS(TILE(32, 32, 64, FULL ",\"SPLIT_K\":1"), GOOD) "}"},
        {"v/" BLOCK_V, LADDER(TILE(16, 32, 128, FULL), GOOD2)},
        {"v/E=8,N=256,device_name=NVIDIA_H200,dtype=int8_w8a16.json", LADDER(TILE(16, 128, 128, FULL), GOOD)},
        {"v/E=8,N=256,device_name=AMD_X,dtype=int4_w4a16,backend=flydsl.json",
         LADDER("{\"tile_m\":16,\"tile_n\":64}", "{\"tile_m\":64,\"tile_n\":64}")},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) put(files[i][0], files[i][1]);
    mp_audit audit = audit_with("", NULL);
    for (size_t i = 0; i < audit.finding_count; i++)
        fail_msg("%s: %s: %s", audit.file[audit.finding[i].file].table.path,
                 mp_rules[audit.finding[i].rule].id, audit.finding[i].reason);
    assert_int_equal(audit.table_count, sizeof files / sizeof *files);
    assert_int_equal(audit.entry_count, 9 * audit.table_count);
    mp_audit_free(&audit);
}

/* What stands elsewhere in the file, or in another order, is the same finding; another value is another. */
static void fingerprints_survive_reordering(void **state) {
    (void)state;
    static const char *const texts[] = {
        "{\"1\":" TILE(16, 64, 128, FULL) ",\"2\":" TILE(16, 64, 256, FULL) ",\"4\":" TILE(32, 64, 256,
                                                                                           FULL) "}",
        "{\n\n\"4\":" TILE(32, 64, 256, FULL) ",\n\n\"2\":" TILE(16, 64, 256, FULL) ",\n\"1\":" TILE(
            16, 64, 128, FULL) "\n}",
        "{\"1\":" TILE(16, 64, 128, FULL) ",\"2\":" TILE(16, 64, 512, FULL) ",\"4\":" TILE(32, 64, 256,
                                                                                           FULL) "}",
    };
    char fingerprint[3][2][17];
    for (int i = 0; i < 3; i++) {
        put(V36 BLOCK_S, texts[i]);
        mp_audit audit = audit_with("", NULL);
        assert_int_equal(count_rule(&audit, MP_RULE_K_BLOCK_OVER_GROUP), 2);
        for (size_t k = 0; k < audit.finding_count; k++)
            if (audit.finding[k].rule == MP_RULE_K_BLOCK_OVER_GROUP)
                strcpy(fingerprint[i][audit.finding[k].key[0] == '4'], audit.finding[k].fingerprint);
        mp_audit_free(&audit);
    }
    assert_string_equal(fingerprint[0][0], fingerprint[1][0]);
    assert_string_equal(fingerprint[0][1], fingerprint[1][1]);
    assert_string_not_equal(fingerprint[0][0], fingerprint[0][1]);
    assert_string_not_equal(fingerprint[0][0], fingerprint[2][0]);
    assert_string_equal(fingerprint[0][1], fingerprint[2][1]);
}

static void a_baseline_knows_what_was_there(void **state) {
    (void)state;
    mp_error err = {0};
    size_t gone;
    put(V36 BLOCK_S, "{\"1\":" TILE(16, 64, 256, FULL) ",\"2\":" TILE(16, 64, 128, FULL) "}");
    mp_audit audit = audit_with("", NULL);
    assert_int_equal(audit.count[MP_SEVERITY_ERROR], 1);
    assert_int_equal(mp_baseline_write(below("known.json"), &audit, &err), MP_OK);
    mp_audit_free(&audit);
    put(V36 BLOCK_S,
        "{\n\"1\":" TILE(16, 64, 256, FULL) ",\n\"2\":" TILE(16, 64, 256, FULL) ",\"1024\":" GOOD "}");
    audit = audit_with("", NULL);
    assert_int_equal(mp_baseline_apply(below("known.json"), &audit, &gone, &err), MP_OK);
    assert_int_equal(audit.count[MP_SEVERITY_ERROR], 2);
    assert_int_equal(audit.fresh[MP_SEVERITY_ERROR], 1);
    assert_int_equal(gone, 1); /* that the ladder ends early */
    const char *const bad[][2] = {
        {"{", "expected a baseline"},
        {"{}", "format ''"},
        {"{\"format\":\"moeparity audit baseline\"}", "schema_version: expected 1"},
        {"{\"format\":\"moeparity audit baseline\",\"schema_version\":1,\"findings\":{}}", "expected a list"},
        {"{\"format\":\"moeparity audit "
         "baseline\",\"schema_version\":1,\"findings\":[{\"fingerprint\":\"7\"}]}",
         "findings[0].fingerprint"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put("known.json", bad[i][0]);
        assert_int_equal(mp_baseline_apply(below("known.json"), &audit, &gone, &err), MP_EINPUT);
        if (!strstr(err.text, bad[i][1])) fail_msg("%s", err.text);
    }
    mp_audit_free(&audit);
}

/* A file that is named has no folder that speaks against it; its partner is looked for beside it. */
static void named_files_are_judged_alone(void **state) {
    (void)state;
    put("new/" BLOCK_S, LADDER(TILE(16, 64, 256, FULL), GOOD2));
    mp_audit audit = audit_with("new/" BLOCK_S, NULL);
    assert_int_equal(count_rule(&audit, MP_RULE_K_BLOCK_OVER_GROUP), 5); /* as sglang spells it */
    assert_int_equal(audit.finding_count, 5);
    mp_audit_free(&audit);
    put("new/any.json", RIGHT);
    audit = audit_with("new/any.json", NULL);
    assert_int_equal(audit.finding_count, 0);
    mp_audit_free(&audit);
    put("new/" DOWN, RIGHT);
    audit = audit_with("new/" DOWN, NULL);
    assert_int_equal(count_rule(&audit, MP_RULE_DOWN_WITHOUT_UP), 1);
    mp_audit_free(&audit);
    put("new/" NAME, RIGHT);
    audit = audit_with("new/" DOWN, NULL);
    assert_int_equal(audit.finding_count, 0);
    mp_audit_free(&audit);
}

static void what_is_named_twice_is_one_file(void **state) {
    (void)state;
    mp_audit audit;
    mp_error err = {0};
    put(V36 NAME, RIGHT);
    char *paths[] = {root, strdup(below(V36 NAME)), strdup(below("configs"))};
    assert_int_equal(mp_audit_paths(paths, 3, &(mp_audit_options){0}, &audit, &err), MP_OK);
    assert_int_equal(audit.table_count, 1);
    assert_int_equal(audit.finding_count, 0);
    mp_audit_free(&audit);
    free(paths[1]);
    free(paths[2]);
}

static void what_is_not_there_is_refused(void **state) {
    (void)state;
    mp_audit audit;
    mp_error err = {0};
    char *none = strdup(below("none")), *empty = strdup(below("empty"));
    put("empty/readme", "no tuned file");
    assert_int_equal(mp_audit_paths(&none, 1, &(mp_audit_options){0}, &audit, &err), MP_EINPUT);
    mp_audit_free(&audit);
    assert_int_equal(mp_audit_paths(&empty, 1, &(mp_audit_options){0}, &audit, &err), MP_EINPUT);
    assert_non_null(strstr(err.text, "no file E=....json in it"));
    mp_audit_free(&audit);
    assert_int_equal(mp_audit_paths(&empty, 1, &(mp_audit_options){.triton = "next"}, &audit, &err),
                     MP_EINPUT);
    mp_audit_free(&audit);
    free(none);
    free(empty);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)
int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_fires_and_no_other),
        cmocka_unit_test(the_page_has_every_rule),
        TEST(right_files_have_no_finding),
        TEST(fingerprints_survive_reordering),
        TEST(a_baseline_knows_what_was_there),
        TEST(named_files_are_judged_alone),
        TEST(what_is_named_twice_is_one_file),
        TEST(what_is_not_there_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
