/* SPDX-License-Identifier: Apache-2.0 */
/* Tuned configurations through the program, on a machine without the device they were tuned for. */
#include "tests/cli_support.h"

#define TILE(n, more) \
    "{\"BLOCK_SIZE_M\": 16, \"BLOCK_SIZE_N\": " #n ", \"BLOCK_SIZE_K\": 64, \"GROUP_SIZE_M\": 1" more "}"
#define NAME "E=8,N=256,device_name=NVIDIA_H200.json"
#define SHOW "moeparity show --case M=8 --subject host "

static void versions(void **state) {
    (void)state;
    static const char *const folders[][2] = {
        {"3_1_0", "{\"8\": " TILE(32, "") "}"},
        {"3_2_0", "{\"8\": " TILE(64, "") "}"},
        {"3_10_0", "{\"8\": " TILE(128, "") "}"},
        {"3_4_0", "{\"8\": " TILE(256, "") "}"},
        {"next", "broken"},
    };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[256];
        snprintf(path, sizeof path, "mkdir -p moe/configs/triton_%s", folders[i][0]);
        assert_int_equal(system(path), 0);
        snprintf(path, sizeof path, "moe/configs/triton_%s/" NAME, folders[i][0]);
        write_file(path, folders[i][1]);
    }
    setenv("SGLANG_MOE_CONFIG_DIR", "moe", 1);
    /* the running version's folder, else the newest, which is not the last in the alphabet */
    static const char *const lines[][2] = {
        {"--device 'NVIDIA H200'", "config    gate_up 16x128x64"},
        {"--device NVIDIA_H200 --triton 3.2.0", "config    gate_up 16x64x64"},
        {"--device NVIDIA_H200 --triton 3_1_0", "config    gate_up 16x32x64"},
        {"--device NVIDIA_H200 --triton 3.3.0", "comes from triton_3_10_0, not from triton_3_3_0"},
        {"--device 'Another GPU'", "default, no E=8,N=256,device_name=Another_GPU.json below moe"},
        {"", "default, no E=8,N=256,device_name=.json below moe (no GPU, no device name)"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char command[256];
        snprintf(command, sizeof command, SHOW "%s", lines[i][0]);
        expect(command, 0, lines[i][1], "");
    }
    expect("moeparity run --case M=8 --subject host --device 'NVIDIA H200' --triton 3.2.0 -v --json t.json",
           0, "\n        tiles 16x64x64x1x4x3 16x64x64x1x4x3 (moe/configs/triton_3_2_0/" NAME " key 8)", "");
    unsetenv("SGLANG_MOE_CONFIG_DIR");
}

/* All of a file is checked, whichever key is asked for; what the compiler fills in may be absent. */
static void files_are_checked_whole(void **state) {
    (void)state;
    static const struct {
        const char *text, *because; /* NULL: taken */
    } files[] = {
        {"{\"8\": " TILE(32, "") ", \"4096\": " TILE(32, ", \"num_warps\": 3") "}",
         "key \"4096\": num_warps=3: expected a power of two in 1..16"},
        {"{\"8\": " TILE(32, "") ", \"4096\": " TILE(24, "") "}",
         "key \"4096\": BLOCK_SIZE_N=24: expected a power of two in 16..256"},
        {"{\"8\": " TILE(32, "") ", \"4096\": {\"BLOCK_SIZE_M\": 16}}",
         "key \"4096\": BLOCK_SIZE_N is missing"},
        {"{\"8\": " TILE(32, "") ", \"4096\": " TILE(32, ", \"num_stage\": 3") "}",
         "key \"4096\": unknown 'num_stage', did you mean 'num_stages'?"},
        {"{\"8\": " TILE(32, "") ", \"9223372036854775808\": " TILE(32, "") "}",
         "key \"9223372036854775808\": expected a token count from 1 to 9223372036854775807"},
        {"{\"8\": " TILE(32, "") ", \"99999999999999999999999\": " TILE(32, "") "}",
         "key \"99999999999999999999999\": expected a token count"},
        {"{\"8\": " TILE(32, "") ", \"-8\": " TILE(32, "") "}", "key \"-8\": expected a token count"},
        {"{\"8\": " TILE(32, "") "} more", "end of file expected"},
        {"{\"8\": " TILE(32, "") ", \"9223372036854775807\": " TILE(32, "") "}", NULL},
        {"{\"8\": " TILE(32, ", \"num_warps\": 4, \"num_stages\": 6") "}", NULL},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char because[256];
        snprintf(because, sizeof because, "moeparity: tuned.json:%s%s", i == 7 ? "1: " : " ",
                 files[i].because ? files[i].because : "");
        write_file("tuned.json", files[i].text);
        expect(SHOW "--config tuned.json", files[i].because ? 2 : 0, "", files[i].because ? because : "");
    }
    assert_non_null(strstr(out, "config    gate_up 16x32x64x1x4x6, down 16x32x64x1x4x6 (tuned.json key 8)"));
    write_file("tuned.json", "{\"8\": " TILE(32, "") "}");
    expect(SHOW "--config tuned.json", 0, "16x32x64x1x4x3", "");
    assert_non_null(strstr(out, "up: key 8 has no num_warps: the compiler's 4; up: key 8 has no num_stages: "
                                "the compiler's 3"));
    expect("moeparity run --case M=8 --subject host --config tuned.json", 0, "1 passed", "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions),
        cmocka_unit_test(files_are_checked_whole),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
