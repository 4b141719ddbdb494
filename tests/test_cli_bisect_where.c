/* SPDX-License-Identifier: Apache-2.0 */
/* bisect stage, k and config through the program: faults that tests/plugins/sums.c plants are found where
 * they are, in as few runs as promised; what is right, cannot run or cannot be asked is told as such. */
#include "tests/cli_support.h"

#define SUMS "--subject plugin:plugins/sums.so"
#define SMALL " --case 'M=4 E=4 K=128 N=16 scope=gate_up' "
#define WIDE " --case 'M=64 E=4 K=128 N=64 scope=gate_up data=wide' "

static int link_plugins(void **state) {
    if (set_up(state) || symlink(MP_PLUGINS, "plugins")) return -1;
    write_file("t.json",
               "{\"1\": {\"BLOCK_SIZE_M\": 16, \"BLOCK_SIZE_N\": 32, \"BLOCK_SIZE_K\": 64, "
               "\"GROUP_SIZE_M\": 1, \"num_warps\": 4, \"num_stages\": 3}, \"64\": {\"BLOCK_SIZE_M\": 16, "
               "\"BLOCK_SIZE_N\": 32, \"BLOCK_SIZE_K\": 64, \"GROUP_SIZE_M\": 1, \"num_warps\": 8, "
               "\"num_stages\": 3}}\n");
    return 0;
}

static int64_t integer_of(const json_t *json, const char *name) {
    const json_t *value = json_object_get(json, name);
    if (!json_is_integer(value)) fail_msg("%s is no number", name);
    return json_integer_value(value);
}

/* ---- k ---- */

/* 8 groups of 16: at most 2 + 2 * 3 runs to find one, and 3 more. */
static void expect_group(const char *fault, const char *line, const char *found) {
    char command[512];
    snprintf(command, sizeof command, "moeparity bisect k%s" SUMS ",%s --json k.json", line, fault);
    expect(command, 1, found, "");
    json_t *report = json_file("k.json");
    assert_true(json_is_true(json_object_get(report, "found")));
    assert_int_equal(integer_of(report, "groups"), 8);
    assert_int_equal(integer_of(report, "runs"), (int)json_array_size(json_object_get(report, "tries")));
    if (!(integer_of(report, "search_runs") <= 8 && integer_of(report, "runs") <= 11))
        fail_msg("%s: %d runs", fault, (int)integer_of(report, "runs"));
    json_decref(report);
}

static void each_fault_has_its_group(void **state) {
    (void)state;
    expect_group("drop=16", SMALL,
                 "gate_up parts in group 8 of 8, k 112..127; the error halves with the group's "
                 "numbers: its terms are lost, counted twice or read from elsewhere");
    expect_group("drop=3", SMALL, "gate_up parts in group 8 of 8, k 112..127");
    expect_group("forget=40", SMALL,
                 "in none that begins behind: what is summed before k=48 is lost or changed in "
                 "group 3, k 32..47");
    expect_group("tiny=6", SMALL, "it depends on the magnitude: with x halved");
    expect_group("L=8", WIDE, "all is within the bound: an order or a rounding of the sum");
    expect_group("split=64", WIDE,
                 "and in none on one side: what is before and behind is put together otherwise");
    json_t *report = json_file("k.json"); /* the boundary lies between both ends */
    assert_true(integer_of(json_object_get(report, "last"), "from") < 64);
    assert_true(integer_of(json_object_get(report, "first"), "to") > 64);
    json_decref(report);
}

/* The line of the report repeats what was found, by edits of the inputs; and begins anew from a report. */
static void repro_and_report(void **state) {
    (void)state;
    expect("moeparity bisect k" SMALL SUMS ",forget=40 --weights -v", 1, "zeroed in w1", "");
    const char *repro = strstr(out, "repro    moeparity ");
    assert_non_null(repro);
    assert_non_null(strstr(repro, "--edit 'w1[...,16:]=0'"));
    char line[512];
    snprintf(line, sizeof line, "%.*s", (int)strcspn(repro + 9, "\n"), repro + 9);
    expect(line, 1, "bits: gate_up: token 0 slot 0 column 0", "");
    assert_non_null(strstr(out, "--edit 'w1[...,16:]=0'")); /* the edit reached the subject, and its repro */
    expect("moeparity run" SMALL SUMS ",drop=16 --json r.json -q", 1, "1 failed", "");
    expect("moeparity bisect k --report r.json", 1, "gate_up parts in group 8 of 8", "");
    expect("moeparity bisect k" SMALL SUMS ",drop=16 --edit 'x[...,100:]=0'", 0, "no difference", "");
    /* wrong, but not in what was asked about */
    expect(
        "moeparity bisect k --case 'M=64 E=4 K=16 N=512' --subject plugin:plugins/pipeline.so --contract "
        "sm_90",
        0,
        "of gate_up have the predicted bits; the case fails elsewhere, in bits:down: moeparity bisect stage "
        "tells where that begins",
        "");
}

static void what_vanishes_again_is_told(void **state) {
    (void)state;
    expect("moeparity bisect k" SMALL SUMS ",gone=20 --exhaustive", 1,
           "it vanishes again where more terms are left, of k = 48 64 80 96 112", "");
    expect("moeparity bisect k" SMALL SUMS ",gone=20", 1, "--exhaustive tries all", "");
    expect("moeparity bisect k" SMALL SUMS ",drop=16 --exhaustive --group 32", 1,
           "in group 4 of 4, k 96..127", "");
}

/* What is seen behind an activation depends on the magnitude of a right sum too: nothing is said of it. */
static void behind_an_activation_magnitude_tells_nothing(void **state) {
    (void)state;
    expect("moeparity bisect k --case 'M=8 E=4 K=128 N=16' --subject 'plugin:plugins/pipeline.so,fused any'",
           1, "gate_up parts in group 4 of 4, k 96..127", "");
    assert_non_null(strstr(out, "the bounds of act, for the subject does not show what is summed"));
    assert_null(strstr(out, "magnitude"));
}

static void down_is_zeroed_in_what_is_an_input(void **state) {
    (void)state;
    expect("moeparity bisect k --case 'M=4 E=4 K=16 N=128 scope=down' " SUMS ",drop=16", 1,
           "zeroed in cache2", "");
    assert_non_null(strstr(out, "down parts in group 8 of 8, k 112..127"));
    expect("moeparity bisect k --case 'M=4 E=4 K=64 N=48' --stage down --subject plugin:plugins/pipeline.so "
           "--contract 'sm_90 gate_up.accumulator=fma-ascending down.accumulator=fma-ascending'",
           0, "no difference: all 512 elements of down have the predicted bits", "");
    assert_non_null(strstr(out, "zeroed in w2"));
    expect("moeparity bisect k --case 'M=4 E=4 K=64 N=48' --subject host", 0,
           "no difference: all 768 elements of gate_up are within their bounds", "");
}

/* Another contract than the subject's own: what is no failure under `any` is one under sm_90. */
static void contract_of_the_line(void **state) {
    (void)state;
    expect("moeparity run" WIDE SUMS ",split=64 --repeat 1", 1, "1 failed", "");
    expect("moeparity run" WIDE SUMS ",split=64 --repeat 1 --contract any", 0, "1 passed", "");
    expect("moeparity run" WIDE SUMS " --contract sm_91", 2, "", "sm_91");
    expect("moeparity run" WIDE SUMS ",L=8 --contract 'sm_90 gate_up.group=8' --repeat 1", 0,
           "predicted=equal", "");
}

static void what_k_cannot_be_asked(void **state) {
    (void)state;
    expect("moeparity bisect k", 2, "", "no case: give --case 'M=32 topk=2 act=silu', or --report");
    expect("moeparity bisect k --case 'M=4 scope=act' --subject host", 2, "",
           "has no gate_up: expected a case");
    expect("moeparity bisect k --case 'M=0' --subject host", 2, "", "has no tokens: nothing is summed");
    expect("moeparity bisect k" SMALL SUMS " --group 0", 2, "", "--group 0: expected a whole number from 1");
    expect("moeparity bisect k" SMALL SUMS " --stage act", 2, "", "--stage act: expected gate_up or down");
    expect("moeparity bisect k" SMALL SUMS " --edit 'x[9]=0'", 2, "", "index 9 of axis 0 of x");
    expect("moeparity bisect k" SMALL "--subject plugin:plugins/none.so", 2, "", "none.so");
    expect("moeparity bisect k" SMALL "--subject plugin:plugins/pipeline.so", 77, "",
           "pipeline: bf16, gated silu");
    expect("moeparity bisect k --case 'M=4 scope=gate_up' --subject plugin:plugins/wrong.so,crash-run", 3, "",
           "");
    expect("moeparity bisect k" SMALL SUMS " --json /nowhere/k.json", 2, "", "/nowhere/k.json");
    write_file("no.json", "{\"verdicts\": [");
    expect("moeparity bisect k --report no.json", 2, "", "no.json");
    expect("moeparity bisect k --report .", 2, "", "");
}

/* ---- config ---- */

static void keys_of_a_tile(void **state) {
    (void)state;
    expect("moeparity bisect config" SMALL SUMS
           ",tile=1 --good tile=64x128x32x8x4x3 --bad tile=64x256x64x4x8x3 -v "
           "--json c.json",
           1,
           "BLOCK_SIZE_K=64 and num_warps=8 together make it fail, and no fewer of them do; with the good "
           "BLOCK_SIZE_K=32 and num_warps=4, each alone, it passes",
           "");
    assert_non_null(strstr(out, "tile=64x128x64x8x8x3")); /* the least change of the good tile that fails */
    json_t *report = json_file("c.json");
    assert_int_equal(json_array_size(json_object_get(report, "least")), 2);
    assert_int_equal(json_array_size(json_object_get(report, "together")), 1);
    assert_int_equal(json_array_size(json_object_get(report, "alone")), 0);
    json_decref(report);
    /* One key alone; the tile that lies on the way to it and does not fit is no failure. */
    expect("moeparity bisect config" SMALL SUMS
           ",tile=1 --good tile=64x256x32x8x4x3 --bad tile=64x128x32x8x4x5 -v",
           1, "BLOCK_SIZE_N=128 and num_stages=5 together make it fail, and no fewer of them do that can run",
           "");
    assert_non_null(strstr(out, "cannot run"));
    assert_non_null(strstr(out, "1 of them with a tile that cannot run"));
    /* The case's own tile is the bad one, the default the good one; and both from a tuned file. */
    expect("moeparity bisect config --case 'M=4 E=4 K=128 N=16 scope=gate_up tile=16x32x64x1x4x5' " SUMS
           ",tile=1",
           1, "num_stages=5 alone makes it fail", "");
    expect("moeparity bisect config" SMALL SUMS ",tile=1 --good t.json:1 --bad t.json:64", 1,
           "num_warps=8 alone makes it fail", "");
}

static void what_config_cannot_be_asked(void **state) {
    (void)state;
    expect("moeparity bisect config" SMALL SUMS ",tile=1 --good t.json:1 --bad t.json:2", 2, "",
           "--bad: t.json has no key 2");
    expect("moeparity bisect config" SMALL SUMS ",tile=1 --good tile=64x128x32x8x4x3", 2, "",
           "--bad: no tile: the case names none");
    expect("moeparity bisect config" SMALL SUMS ",tile=1 --bad tile=64x128x32x8x4", 2, "", "--bad: ");
    expect("moeparity bisect config" SMALL SUMS ",tile=1 --bad nonsense", 2, "",
           "--bad: 'nonsense': expected tile=");
    expect("moeparity bisect config" SMALL SUMS ",tile=1 --bad 'M=4 tile=64x128x32x8x4x3 N=32'", 2, "",
           "expected tile=, and tile_down=, and nothing else");
    expect("moeparity bisect config" SMALL SUMS
           ",tile=1 --good tile=64x128x32x8x4x3 --bad tile=64x128x32x8x4x3",
           2, "", "the good tile and the bad one are the same");
    expect("moeparity bisect config" SMALL SUMS
           ",tile=1 --good tile=64x64x32x8x4x5 --bad tile=64x128x64x8x8x3",
           2, "", "the good tile fails, too");
    expect("moeparity bisect config" SMALL SUMS
           ",tile=1 --good tile=64x128x32x8x4x3 --bad tile=64x256x32x8x4x4",
           77, "", "the bad tile cannot run: the tile that was asked for cannot run: ");
    expect("moeparity bisect config" SMALL SUMS
           ",tile=1 --good tile=64x128x32x8x4x3 --bad tile=64x64x32x8x4x3",
           0, "no difference: the bad tile passes", "");
}

/* ---- stage ---- */

static void first_stage_and_its_picture(void **state) {
    (void)state;
    static char svg[400000];
    expect("moeparity bisect stage" SMALL SUMS ",drop=16 --svg s.svg --json s.json", 1,
           "found    begins in gate_up: every row, every column", "");
    read_into(svg, sizeof svg, "s.svg");
    assert_memory_equal(svg, "<svg xmlns=", 11);
    assert_string_equal(svg + strlen(svg) - 7, "</svg>\n");
    assert_true(strlen(svg) < 300000);
    const char *const told[] = {"parts here first",
                                "expert 0",
                                "prefers-color-scheme:dark",
                                "ulps from the predicted",
                                "8 rows by expert, columns 0 to 31",
                                "class=\"s",
                                "tiles of 16 x 32"};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (!strstr(svg, told[i])) fail_msg("the picture has no '%s'", told[i]);
    assert_null(strstr(svg, "class=\"s0\" d=")); /* every element has other bits */
    json_t *report = json_file("s.json");
    assert_string_equal(json_string_value(json_object_get(report, "stage")), "gate_up");
    assert_non_null(json_object_get(report, "verdict"));
    json_decref(report);
    expect("moeparity bisect stage" SMALL SUMS ",expert=3 --svg s.svg", 1,
           "found    begins in gate_up: expert 3 only, 3 of its 3 rows, columns 16..31", "");
    read_into(svg, sizeof svg, "s.svg");
    assert_non_null(strstr(svg, "expert 3 only, 3 of its 3 rows, columns 16..31</text>"));
    expect("moeparity bisect stage" SMALL SUMS ",drop=16 --svg s.svg --show ratio", 1, "gate_up", "");
    read_into(svg, sizeof svg, "s.svg");
    assert_non_null(strstr(svg, "error over bound: at most"));
    expect("moeparity bisect stage --case 'M=4 scope=act' --subject plugin:plugins/wrong.so,behind", 0,
           "the case fails all the same: guard: ", "");
    expect("moeparity bisect stage --case 'M=8 E=4 K=64 N=48' --subject host --svg s.svg", 0,
           "no difference: every stage that is shown keeps its bounds", "");
}

static void two_subjects(void **state) {
    (void)state;
    static char svg[400000];
    /* Sums in another order than host's: some bits of gate_up differ, and what follows from them. */
    expect("moeparity bisect stage --case 'M=128 E=4 K=256 N=128' --subject plugin:plugins/pipeline.so "
           "--against host "
           "--svg s.svg",
           1, "found    begins in gate_up: ", "");
    assert_non_null(strstr(out, "> gate_up  parts; "));
    assert_non_null(strstr(out, "  align    not shown"));
    assert_non_null(strstr(out, "later stages follow from it"));
    read_into(svg, sizeof svg, "s.svg");
    assert_non_null(strstr(svg, "ulps from subject host: "));
    expect("moeparity bisect stage --case 'M=8 E=4 K=64 N=48' --subject host --against host", 0,
           "no difference: all ", "");
    expect(
        "moeparity bisect stage --case 'M=8 scope=act' --subject host --against plugin:plugins/pipeline.so",
        77, "", "pipeline: bf16");
    expect("moeparity bisect stage --case M=8 --subject host --against nobody", 2, "", "nobody");
    expect("moeparity bisect stage --case M=8 --subject host --svg .", 2, "", "");
    expect("moeparity bisect stage --case M=8 --subject host --svg a.svg --json a.svg", 2, "",
           "a.svg would be overwritten: it is named twice");
    expect("moeparity bisect stage --case M=8 --subject host --svg", 2, "", "--svg: expected FILE behind it");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_fault_has_its_group),
        cmocka_unit_test(repro_and_report),
        cmocka_unit_test(what_vanishes_again_is_told),
        cmocka_unit_test(behind_an_activation_magnitude_tells_nothing),
        cmocka_unit_test(down_is_zeroed_in_what_is_an_input),
        cmocka_unit_test(contract_of_the_line),
        cmocka_unit_test(what_k_cannot_be_asked),
        cmocka_unit_test(keys_of_a_tile),
        cmocka_unit_test(what_config_cannot_be_asked),
        cmocka_unit_test(first_stage_and_its_picture),
        cmocka_unit_test(two_subjects),
    };
    return cmocka_run_group_tests(tests, link_plugins, tear_down);
}
