/* SPDX-License-Identifier: Apache-2.0 */
/* Tuned files as they stand: keys as Python reads them, places, the nearest key, the sides of crossovers; and
 * the names that loaders ask for. */
#include "base/file.h"
#include "harness/tune/device.h"
#include "cases/case_tools.h"
#include "cases/scheme.h"
#include "harness/tune/table.h"
#include "kernels/tuned_scheme.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/test_table.XXXXXX";

static mp_table load(const char *text) {
    mp_table t;
    mp_error err = {0};
    assert_int_equal(mp_file_replace(path, text, strlen(text), &err), MP_OK);
    if (mp_table_load(path, &t, &err) != MP_OK) fail_msg("%s", err.text);
    return t;
}

static void keys_are_read_as_int_does(void **state) {
    (void)state;
    static const struct {
        const char *key;
        bool number, plain;
        int64_t M;
    } keys[] = {
        {"8", true, true, 8},
        {" 8", true, false, 8},
        {"8\\n", true, false, 8},
        {"+8", true, false, 8},
        {"-8", true, true, -8},
        {"08", true, false, 8},
        {"1_0", true, false, 10},
        {"0", true, true, 0},
        {"1__0", false, false, 0},
        {"_1", false, false, 0},
        {"1_", false, false, 0},
        {"", false, false, 0},
        {"+", false, false, 0},
        {"+ 8", false, false, 0},
        {"8.0", false, false, 0},
        {"0x8", false, false, 0},
        {"\\u0038", true, true, 8},
        {"8e1", false, false, 0},
        {"many", false, false, 0},
        {"- 8", false, false, 0},
        {"9223372036854775808", true, false, INT64_MAX},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"%s\": {}}", keys[i].key);
        mp_table t = load(text);
        assert_int_equal(t.count, 1);
        if (t.row[0].is_number != keys[i].number || t.row[0].is_plain != keys[i].plain ||
            (keys[i].number && t.row[0].M != keys[i].M))
            fail_msg("\"%s\": %d %d %lld", keys[i].key, t.row[0].is_number, t.row[0].is_plain,
                     (long long)t.row[0].M);
        mp_table_free(&t);
    }
}

static void places_are_those_of_the_text(void **state) {
    (void)state;
    mp_table t = load("{\n  \"triton_version\": \"3.6.0\",\n  \"8\": {\"a\": [1, {\"x\": \"}\\\"{\"}],\n"
                      "    \"b\": 2, \"a\": 3},\n\t\"1\": 7, \"8\": {\"c\": {\"d\": 1}}\n}");
    int column;
    assert_int_equal(t.count, 2);
    assert_string_equal(t.triton_version, "3.6.0");
    assert_int_equal(t.triton_line, 2);
    assert_string_equal(t.row[0].key, "8");
    assert_int_equal(t.row[0].line, 3);
    assert_int_equal(t.row[0].column, 3);
    assert_int_equal(mp_table_line(&t, &t.row[0], "b", &column), 4);
    assert_int_equal(column, 5);
    assert_int_equal(mp_table_line(&t, &t.row[0], "none", &column), 3);
    assert_int_equal(t.row[1].line, 5);
    assert_int_equal(t.row[1].column, 2);
    assert_int_equal(t.twice_count, 2);
    assert_true(strcmp(t.twice[0].key, "8") == 0 && strcmp(t.twice[0].name, "a") == 0);
    assert_true(t.twice[0].line == 4 && t.twice[0].first_line == 3 && t.twice[0].column == 13);
    assert_true(strcmp(t.twice[1].key, "8") == 0 && !t.twice[1].name && t.twice[1].line == 5);
    assert_non_null(json_object_get(t.row[0].entry, "c")); /* the last one counts */
    mp_table_free(&t);
}

static void broken_files_say_where(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
        int line;
    } files[] = {{"{\n\"1\": {},\n", "not JSON", 3}, {"", "not JSON", 1},
                 {"[]", "not a JSON object", 1},     {"null", "not JSON", 1},
                 {"{\"1\": {}} x", "not JSON", 1},   {"{\"1\": NaN}", "not JSON", 1}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        mp_table t = load(files[i].text);
        if (!t.broken || !strstr(t.broken, files[i].why) || t.broken_line != files[i].line)
            fail_msg("'%s': %s in line %d", files[i].text, t.broken ? t.broken : "right", t.broken_line);
        assert_null(mp_table_nearest(&t, 1));
        mp_table_free(&t);
    }
    mp_table t;
    mp_error err = {0};
    assert_int_equal(mp_table_load("/nowhere/t.json", &t, &err), MP_EIO);
    mp_table_free(&t);
    assert_int_equal(mp_table_load("/tmp", &t, &err), MP_EIO);
    mp_table_free(&t);
}

/* Against the rule written out: min over the keys in the file's order. */
static void the_nearest_key_is_that_of_the_rule(void **state) {
    (void)state;
    unsigned random = 1;
    for (int round = 0; round < 300; round++) {
        char text[1024] = "{";
        int64_t keys[12];
        int count = 0;
        for (int i = 0; i < 12; i++) {
            random = random * 1664525u + 1013904223u;
            const int64_t key = (int64_t)(random >> 16) % (round % 2 ? 40 : 4000) + 1;
            bool known = false;
            for (int k = 0; k < count; k++) known = known || keys[k] == key;
            if (known) continue;
            keys[count++] = key;
            sprintf(text + strlen(text), "%s\"%lld\": {}", count > 1 ? ", " : "", (long long)key);
        }
        strcat(text, "}");
        mp_table t = load(text);
        size_t sides;
        int64_t *side = mp_table_sides(&t, &sides);
        int64_t before = 0;
        for (int64_t M = 1; M < 4100; M++) {
            int64_t best = keys[0];
            for (int k = 1; k < count; k++)
                if (llabs(keys[k] - M) < llabs(best - M)) best = keys[k];
            assert_int_equal(mp_table_nearest(&t, M)->M, best);
            /* where another key takes over both sides are among the sides */
            bool here = false, one_before = false;
            for (size_t i = 0; i < sides; i++) {
                here = here || side[i] == M;
                one_before = one_before || side[i] == M - 1;
            }
            if (before && best != before) assert_true(here && one_before);
            for (int k = 0; k < count; k++)
                if (keys[k] == M) assert_true(here);
            before = best;
        }
        for (size_t i = 1; i < sides; i++) assert_true(side[i] > side[i - 1]);
        free(side);
        mp_table_free(&t);
    }
}

static void one_number_in_two_spellings(void **state) {
    (void)state;
    mp_table t = load("{\"8\": {\"a\": 1}, \"12\": {\"a\": 2}, \" 8\": {\"a\": 3}}");
    assert_int_equal(t.step_count, 2);
    assert_int_equal(mp_table_number(mp_table_nearest(&t, 7), "a", 0), 3);  /* the last entry */
    assert_int_equal(mp_table_number(mp_table_nearest(&t, 10), "a", 0), 3); /* the first place */
    mp_table_free(&t);
}

/* A case's name leads back to a case that asks for the same file. */
static void names_of_quantised_cases_lead_back(void **state) {
    (void)state;
    for (int quant = 0; quant < MP_SCHEME_COUNT; quant++)
        for (int group = 0; group <= 64; group += 64) {
            mp_case c = mp_case_default(), back = c;
            char name[2][MP_TUNED_NAME_SIZE];
            mp_tuned_parts parts;
            c.quant = (mp_quant)quant;
            c.group = group;
            if (mp_case_validate(&c, NULL) != MP_OK) continue;
            mp_tuned_key key = {.E = c.E, .N = c.N, .device = "X"};
            mp_tuned_key_of_case(&c, &key);
            if (quant && !*key.dtype) continue; /* no name tells the scheme */
            mp_tuned_name(&mp_loaders[MP_LOADER_SGLANG], &key, false, name[0]);
            assert_true(mp_tuned_parse(name[0], &parts));
            assert_true(mp_tuned_case_of_name(&parts, &back));
            mp_tuned_key_of_case(&back, &key);
            mp_tuned_name(&mp_loaders[MP_LOADER_SGLANG], &key, false, name[1]);
            assert_string_equal(name[0], name[1]);
            assert_true(back.quant <= c.quant); /* the first of that name */
            if (key.block_k && back.quant == c.quant) assert_int_equal(mp_case_compare(&c, &back), 0);
        }
    mp_case c = mp_case_default();
    mp_tuned_parts parts;
    assert_true(mp_tuned_parse("E=8,N=256,device_name=X,dtype=fp8_w8a8,block_shape=[64, 128].json", &parts));
    assert_false(mp_tuned_case_of_name(&parts, &c)); /* no scheme has such blocks */
    assert_true(mp_tuned_parse("E=8,N=256,device_name=X,dtype=float8.json", &parts));
    assert_false(mp_tuned_case_of_name(&parts, &c));
    assert_int_equal(c.quant, MP_SCHEME_NONE);
}

static void names_are_spelt_and_read(void **state) {
    (void)state;
    static const struct {
        mp_loader_id loader;
        mp_tuned_key key;
        bool down;
        const char *name;
    } names[] = {
        {MP_LOADER_SGLANG,
         {8, 256, "NVIDIA H100 PCIe", "", 0, 0, false},
         false,
         "E=8,N=256,device_name=NVIDIA_H100_PCIe.json"},
        {MP_LOADER_SGLANG,
         {8, 256, "A  B/C", "fp8_w8a8", 128, 64, true},
         true,
         "E=8,N=256,device_name=A__B/C,dtype=fp8_w8a8,block_shape=[128, "
         "64],per_channel_quant=True_down.json"},
        {MP_LOADER_VLLM,
         {8, 256, "A  B/C", "fp8_w8a8", 128, 64, true},
         true,
         "E=8,N=256,device_name=A_B_C,dtype=fp8_w8a8,block_shape=[128,64].json"},
        {MP_LOADER_VLLM,
         {8, 256, "NVIDIA H200 NVL", "", 128, 0, false},
         false,
         "E=8,N=256,device_name=NVIDIA_H200.json"},
        {MP_LOADER_VLLM,
         {8, 256, "NVIDIA GH200 480GB", "", 0, 0, false},
         false,
         "E=8,N=256,device_name=NVIDIA_GH200_480GB.json"},
        {MP_LOADER_SGLANG,
         {8, 256, "X", "int4_w4a16", 0, 0, false},
         false,
         "E=8,N=128,device_name=X,dtype=int4_w4a16.json"},
        {MP_LOADER_VLLM,
         {8, 256, "X", "int4_w4a16", 0, 0, false},
         false,
         "E=8,N=256,device_name=X,dtype=int4_w4a16.json"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[MP_TUNED_NAME_SIZE];
        mp_tuned_parts parts;
        mp_tuned_name(&mp_loaders[names[i].loader], &names[i].key, names[i].down, name);
        assert_string_equal(name, names[i].name);
        assert_true(mp_tuned_parse(name, &parts));
        assert_false(parts.other);
        assert_int_equal(parts.E, 8);
        assert_string_equal(parts.dtype, names[i].key.dtype);
        assert_int_equal(parts.down, strstr(name, "_down") != NULL);
        assert_int_equal(parts.per_channel, strstr(name, "per_channel") != NULL);
        assert_int_equal(parts.block_k, strstr(name, "block_shape") ? 64 : 0);
    }
    mp_tuned_parts parts;
    static const char *const none[] = {"",
                                       ".json",
                                       "E=8.json",
                                       "E=,N=1,device_name=X.json",
                                       "E=8,N=8.json",
                                       "E=8,N=8,device_name=X.jso",
                                       "e=8,N=8,device_name=X.json"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) assert_false(mp_tuned_parse(none[i], &parts));
    assert_true(mp_tuned_parse("E=8,N=8,device_name=,backend=x,dtype=int8.json", &parts));
    assert_true(parts.other && strcmp(parts.dtype, "int8") == 0 && !*parts.device);
}

static void devices_are_told_apart(void **state) {
    (void)state;
    assert_int_equal(mp_device_by_name("NVIDIA_H20").arch, 90);
    assert_int_equal(mp_device_by_name("NVIDIA_H20-3e").arch, 90);
    assert_int_equal(mp_device_by_name("NVIDIA H100 80GB HBM3").shared_bytes, 232448);
    assert_int_equal(mp_device_by_name("NVIDIA_A100-SXM4-80GB").arch, 80); /* and no A10 */
    assert_int_equal(mp_device_by_name("NVIDIA_A10").arch, 86);
    assert_int_equal(mp_device_by_name("NVIDIA_L20Y").arch, 0); /* not known to be an L20 */
    assert_int_equal(mp_device_by_name("NVIDIA_L20Y").vendor, MP_NVIDIA);
    assert_int_equal(mp_device_by_name("NVIDIA_GeForce_RTX_4090").arch, 89);
    assert_int_equal(mp_device_by_name("AMD_Instinct_MI355X").vendor, MP_AMD);
    assert_int_equal(mp_device_by_name("AMD_Instinct_MI300X").shared_bytes, 0); /* pipelines otherwise */
    assert_int_equal(mp_device_by_name("Another").vendor, MP_VENDOR_UNKNOWN);
    assert_int_equal(mp_device_by_name("").vendor, MP_VENDOR_UNKNOWN);
}

static int make_file(void **state) {
    (void)state;
    const int fd = mkstemp(path);
    return fd >= 0 ? close(fd) : -1;
}

static int remove_file(void **state) {
    (void)state;
    return unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_read_as_int_does),
        cmocka_unit_test(places_are_those_of_the_text),
        cmocka_unit_test(broken_files_say_where),
        cmocka_unit_test(the_nearest_key_is_that_of_the_rule),
        cmocka_unit_test(one_number_in_two_spellings),
        cmocka_unit_test(names_are_spelt_and_read),
        cmocka_unit_test(names_of_quantised_cases_lead_back),
        cmocka_unit_test(devices_are_told_apart),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
