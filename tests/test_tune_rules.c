/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of the audit: every one fires where it should, and no other does. */
#include "tests/audit_support.h"

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

#define FOUR ",\"num_warps\":4,\"num_stages\":4"
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
     ONE(V36 "E=8,N=384,device_name=" H100 ",dtype=fp8_w8a8,block_shape=[96, 96].json",
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
    {MP_RULE_SHARED_MEMORY, 1, "2", 2, "256x256x128 with 3 stages: about 384 KiB of shared memory",
     ONE(V36 NAME, "{\"1\":" TILE(128, 256, 128, ",\"num_warps\":8,\"num_stages\":2") ",\n\"2\":" TILE(
                       256, 256, 128, FULL) "}"),
     MP_RULE_LADDER_ENDS_EARLY, NULL},
    /* w is read in shared memory where fp8 is swapped; of 16 bits it is not, and one step less is kept */
    {MP_RULE_SHARED_MEMORY, 1, "2", 2, "16x256x256 with 4 stages: about 272 KiB of shared memory",
     ONE(V36 "E=8,N=256,device_name=" H100 ",dtype=fp8_w8a8.json",
         "{\"1\":" TILE(16, 32, 256, FOUR) ",\n\"2\":" TILE(16, 256, 256, FOUR) "}"),
     MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_SHARED_MEMORY, 1, "2", 2, "16x256x256 with 4 stages: about 408 KiB of shared memory",
     ONE(V36 NAME, "{\"1\":" TILE(16, 256, 128, FOUR) ",\n\"2\":" TILE(16, 256, 256, FOUR) "}"),
     MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_SHARED_MEMORY, 1, "2", 2, "128x128x256 with 3 stages: about 256 KiB of shared memory",
     ONE(V36 "E=8,N=256,device_name=" H100 ",dtype=int4_w4a16.json",
         "{\"1\":" TILE(16, 256, 256, FOUR) ",\n\"2\":" TILE(128, 128, 256, FULL) "}"),
     MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_SHARED_MEMORY, 1, "2", 2, "64x256x256 with 4 stages: about 320 KiB of shared memory",
     ONE(V36 "E=8,N=256,device_name=" H100 ",dtype=int8_w8a8.json",
         "{\"1\":" TILE(16, 256, 256, FOUR) ",\n\"2\":" TILE(64, 256, 256, FOUR) "}"),
     MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_SHARED_MEMORY, 1, "2", 2, "32x256x256 with 4 stages: about 240 KiB of shared memory",
     ONE(V36 "E=8,N=256,device_name=" H100 ",dtype=int8_w8a16.json",
         "{\"1\":" TILE(16, 256, 256, FOUR) ",\n\"2\":" TILE(32, 256, 256, FOUR) "}"),
     MP_RULE_LADDER_ENDS_EARLY, NULL},
    {MP_RULE_NAME_NOBODY_ASKS, 1, NULL, 1, "dtype=bf16",
     ONE(V36 "E=8,N=256,device_name=" H100 ",dtype=bf16.json", RIGHT), -1, NULL},
    {MP_RULE_NAME_NOBODY_ASKS, 1, NULL, 1, "N=192 is no shard",
     ONE(V36 "E=8,N=192,device_name=" H100 ",dtype=fp8_w8a8,block_shape=[128, 128].json", RIGHT), -1, NULL},
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
    {MP_RULE_FOLDER_NOT_READ,
     1,
     NULL,
     1,
     "in 3_5_1, beside the folders triton_X_Y_Z",
     {{"configs/3_5_1/" NAME, RIGHT}, {V36 "E=8,N=512,device_name=X.json", LADDER(GOOD2, GOOD)}},
     -1,
     NULL},
    {MP_RULE_FOLDER_NOT_READ,
     1,
     NULL,
     1,
     "in new, beside the folders triton_X_Y_Z",
     {{"configs/tuned/new/" NAME, RIGHT}, {V36 "E=8,N=512,device_name=X.json", LADDER(GOOD2, GOOD)}},
     -1,
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_fires_and_no_other),
        cmocka_unit_test(the_page_has_every_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
