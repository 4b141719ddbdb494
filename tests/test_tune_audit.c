/* SPDX-License-Identifier: Apache-2.0 */
/* The audit of tuned files beside its rules: right files, findings that are known, files that are named. */
#include "tests/audit_support.h"

#include "harness/tune/audit/baseline.h"

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
        TEST(right_files_have_no_finding),     TEST(fingerprints_survive_reordering),
        TEST(a_baseline_knows_what_was_there), TEST(named_files_are_judged_alone),
        TEST(what_is_named_twice_is_one_file), TEST(what_is_not_there_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
