/* SPDX-License-Identifier: Apache-2.0 */
/* golden merge, refresh and diff, recordings that are resumed, and digests of many rows, from outside. */
#include "tests/cli_golden_support.h"

#include <stdint.h>

#define FIRST "M=1 E=2 topk=1 K=16 N=8 act=silu"
#define RECORD(file, cases) "moeparity golden record " file " " cases " --subject host -q"
#define TINY(fields) "--case '" fields " E=2 topk=1 K=16 N=8'"

static void parts_become_the_whole(void **state) {
    (void)state;
    expect(RECORD("whole.h5", "ok.yaml"), 0, "recorded 4 cases in whole.h5", "");
    for (int shard = 0; shard < 2; shard++) {
        char command[256];
        snprintf(command, sizeof command, RECORD("shard%d.h5", "ok.yaml --shard %d/2"), shard, shard);
        expect(command, 0, "recorded ", "");
    }
    expect("moeparity golden merge all.h5 shard1.h5 shard0.h5", 0, "merged 4 cases of 2 files into all.h5\n",
           "");
    expect("moeparity golden diff whole.h5 all.h5", 0, "equal\n4 cases side by side: 4 equal, 0 differ; ",
           "");
    expect(
        "moeparity golden ls whole.h5 | grep ^root > a; moeparity golden ls all.h5 | grep ^root > b; cmp a b",
        0, "", "");
    expect("moeparity golden verify all.h5 --subject host", 0, "4 cases: 4 passed", "");
    /* the same case twice is one; the file of one source is that source */
    expect("moeparity golden merge twice.h5 all.h5 shard0.h5 all.h5", 0,
           "merged 4 cases of 3 files into twice.h5; those in several files are equal\n", "");
    expect("moeparity golden merge copy.h5 whole.h5 && cmp copy.h5 whole.h5", 0, "", "");
    no_temporary_files();
}

static void a_conflict_is_named_and_nothing_is_written(void **state) {
    (void)state;
    expect("cp whole.h5 other.h5", 0, "", "");
    change_a_bit("other.h5");
    expect("moeparity golden merge out.h5 whole.h5 other.h5", 1,
           "conflict of whole.h5 and other.h5:\n" FIRST ": out: down: token 0 slot 0 column 15, expert ",
           "out.h5 was not written: 1 case is not the same");
    assert_int_equal(access("out.h5", F_OK), -1);
    expect("moeparity golden merge out.h5 whole.h5 junk.h5", 2, "", "junk.h5: not an HDF5 file (7 bytes)");
    expect("moeparity golden merge whole.h5 whole.h5 other.h5", 2, "", "whole.h5 ");
    expect("cp whole.h5 first.h5 && moeparity golden merge first.h5 other.h5; e=$?; cmp first.h5 whole.h5 && "
           "exit $e",
           2, "",
           "moeparity: first.h5 would be overwritten, and is a golden: name the file to write first, or "
           "remove it\n");
    expect("moeparity golden merge out.h5", 2, "",
           "golden merge takes a file to write and at least one golden, not 1");
    expect("moeparity golden merge nowhere/out.h5 whole.h5", 2, "", "cannot write nowhere/out.h5");
    expect("mkdir -p d && moeparity golden merge d whole.h5", 2, "",
           "d: it exists and is not a regular file");
    expect("moeparity golden merge out.h5 d", 2, "", "d: a directory; expected a golden file");
}

/* Who recorded a case is kept where it is not who recorded the others. */
static void makers_are_kept(void **state) {
    (void)state;
    expect("SOURCE_DATE_EPOCH=1 " RECORD("one.h5", TINY("M=1")), 0, "recorded 1 case", "");
    expect("SOURCE_DATE_EPOCH=2 " RECORD("two.h5", TINY("M=2")), 0, "recorded 1 case", "");
    expect(
        "moeparity golden merge both.h5 one.h5 two.h5 && moeparity golden merge again.h5 both.h5 two.h5 && "
        "moeparity golden ls again.h5",
        0, ", several, origin predicted sm_90, fill 1\n", "");
    assert_int_equal(count_of(out, "; made by moeparity "), 2);
    assert_non_null(strstr(out, "1970-01-01T00:00:01Z"));
    assert_non_null(strstr(out, "1970-01-01T00:00:02Z"));
}

#define MANY "many.yaml"
static void write_many(void) {
    write_file(
        MANY,
        "groups:\n  - name: a\n    axes: {M: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], seed: [0, 1, 2, 3, 4, 5, 6, "
        "7], E: 2, topk: 1, K: 16, N: 8}\n");
}

/* What was done before Ctrl-C, or before everything was killed, is not done again, and not a byte differs. */
static void a_recording_goes_on(void **state) {
    (void)state;
    char command[256];
    const int signals[] = {SIGINT, SIGKILL};
    write_many();
    setenv("SOURCE_DATE_EPOCH", "1700000000", 1);
    expect("moeparity golden record all.h5 " MANY " --subject host -q --inputs --digest-above 100", 0,
           "recorded 80 cases in all.h5", "");
    for (int i = 0; i < 2; i++) {
        interrupt_after("exec moeparity golden record on.h5 " MANY
                        " --subject host --inputs --digest-above 100",
                        "[OK]", signals[i]);
        if (i == 0)
            assert_non_null(strstr(err, "on.h5 was not written: interrupted\nmoeparity: on.h5.part keeps "));
        assert_int_equal(access("on.h5", F_OK), -1);
        expect("ls on.h5.part | grep -c 'h5$'", 0, "", "");
        const int kept = atoi(out);
        assert_true(kept > 0 && kept < 80);
        expect("moeparity golden record on.h5 " MANY " --subject host", 2, "",
               "of an interrupted recording: --resume goes on with ");
        expect("moeparity golden record on.h5 " MANY " --subject ref --inputs --digest-above 100 --resume", 2,
               "", ": subject is 'host', that of this recording 'ref'; --allow-mixed takes it all the same");
        expect("moeparity golden record on.h5 " MANY " --subject host --digest-above 100 --resume", 2, "",
               ": recorded with --inputs: say the same again");
        expect("moeparity golden record on.h5 " MANY " --subject host --inputs --digest-above 1 --resume", 2,
               "", " was stored by another --digest-above: say the one of then");
        expect("moeparity golden record on.h5 " MANY
               " --subject host --inputs --digest-above 100 --resume --repeat 3 --strict --allow-mixed",
               2, "",
               "on.h5.part: its cases were judged with the usual settings, those of this recording are with "
               "--repeat 3 --strict: say the same again");
        expect("moeparity golden record on.h5 " MANY
               " --subject host -q --inputs --digest-above 100 --resume",
               0, "recorded 80 cases in on.h5", "");
        snprintf(command, sizeof command, "\n%d of them had been kept", kept);
        assert_non_null(strstr(out, command));
        snprintf(command, sizeof command, "%d cases: %d passed", 80 - kept, 80 - kept);
        assert_non_null(strstr(out, command));
        expect("cmp on.h5 all.h5 && rm on.h5 && test ! -e on.h5.part", 0, "", "");
    }
    unsetenv("SOURCE_DATE_EPOCH");
}

/* Two recordings of one file would take each other's cases away: the second is refused while the first one
 * runs, whether it resumes or not, and the first loses nothing by it. */
static void one_recording_at_a_time(void **state) {
    (void)state;
    write_many();
    /* The subject waits for the pipe while it is opened, and then ends: until then it is under way. */
    expect("mkfifo gate", 0, "", "");
    const pid_t first = start("exec moeparity golden record one-at-a-time.h5 " MANY
                              " --subject 'worker:cat gate' > first 2>&1");
    while (access("one-at-a-time.h5.part", F_OK) != 0) usleep(1000);
    expect(
        "moeparity golden record one-at-a-time.h5 " MANY " --subject host", 2, "",
        "moeparity: one-at-a-time.h5.part: another recording of one-at-a-time.h5 is under way: expected one "
        "at a time");
    expect("moeparity golden record one-at-a-time.h5 " MANY " --subject host --resume", 2, "",
           "is under way: expected one at a time");
    expect("moeparity golden record other.h5 " TINY("M=1") " --subject host", 0, "recorded 1 case", "");
    expect("test -d one-at-a-time.h5.part && : > gate", 0, "", "");
    assert_int_equal(finish(first), 3);
    /* Nothing was kept, so nothing is left behind, and the way is free. */
    expect("test ! -e one-at-a-time.h5.part", 0, "", "");
    expect("moeparity golden record one-at-a-time.h5 " TINY("M=1") " --subject host", 0, "recorded 1 case",
           "");
}

/* A kernel that names no contract is recorded and verified under the one of the line; who resumes says the
 * same again, and a prediction says what it predicts. */
static void a_golden_under_the_contract_of_the_line(void **state) {
    (void)state;
#define PROMISED " --contract 'ieee-any-order act.ulps=4'"
    expect("moeparity golden record own.h5 " TINY("M=3") " --subject ref -q" PROMISED, 0, "recorded 1 case",
           "");
    expect("moeparity golden verify own.h5 --subject ref" PROMISED, 0, "1 passed", "");
    expect("moeparity golden verify own.h5 --subject ref", 1,
           "golden: recorded under another contract (accumulator: IEEE fp32 any order", "");
    expect("moeparity golden record own.h5 " TINY("M=3") " --subject ref --contract nope", 2, "",
           "unknown contract 'nope'");
    expect("moeparity golden refresh own.h5 --subject ref -q" PROMISED, 0, "1 cases as they were, 0 changed",
           "");
    /* one case is kept, for the next one is skipped */
    expect("moeparity golden record own.h5 " TINY("M=1") " " TINY("M=1000000000") " --subject host "
                                                                                  "--contract sm_80",
           77, "1 skipped", "own.h5.part keeps 1 of 2 cases");
    expect("moeparity golden record own.h5 " TINY("M=1") " --subject host --resume", 2, "",
           "own.h5.part: its cases were judged with --contract sm_80, those of this recording are with the "
           "usual");
    expect("moeparity golden record own.h5 " TINY("M=1") " " TINY(
               "M=2") " --subject host --resume --contract sm_80",
           0, "resumed: 1 of 2 cases are kept", "");
    expect("moeparity golden ls own.h5", 0, "origin predicted sm_80, fill", "");
#undef PROMISED
}

/* Parts that are damaged, or none at all. */
static void strange_parts_are_refused(void **state) {
    (void)state;
    write_file("at.h5.part", "a file");
    expect(RECORD("at.h5", TINY("M=1")), 2, "", "at.h5.part: File exists; expected a folder");
    expect("rm at.h5.part && mkdir at.h5.part && cp junk.h5 at.h5.part/0123456789abcdef.h5 && : > "
           "at.h5.part/settings",
           0, "", "");
    expect(RECORD("at.h5", TINY("M=1")), 2, "", "at.h5.part keeps 1 case of an interrupted recording");
    expect(RECORD("at.h5", TINY("M=1") " --resume"), 0, "recorded 1 case in at.h5",
           ""); /* of no case of it */
    interrupt_after("exec moeparity golden record at.h5 " MANY " --subject host --plain", "[OK]", SIGINT);
    expect("moeparity golden record at.h5 " MANY " --subject host --resume", 2, "",
           "judged with --plain, those of this recording are with the usual settings");
    expect("mv at.h5.part/settings kept; moeparity golden record at.h5 " MANY
           " --subject host --plain --resume",
           2, "", "at.h5.part/settings");
    expect("mv kept at.h5.part/settings", 0, "", "");
    expect("for p in at.h5.part/*.h5; do echo no > $p; done", 0, "", "");
    expect("timeout 60 moeparity golden record at.h5 " MANY " --subject host --plain --resume", 2, "",
           "not an HDF5 file (3 bytes)");
    expect("rm -r at.h5.part", 0, "", "");
    /* a case that fails must be mended first: nothing is kept */
    expect(RECORD("bad.h5", TINY("M=1") " " TINY("M=1000000000") " --strict"), 1, "[FAIL]",
           "bad.h5 was not written");
    expect("test ! -e bad.h5.part", 0, "", "");
    expect(RECORD("skip.h5", TINY("M=1") " " TINY("M=1000000000")), 77, "1 skipped",
           "skip.h5.part keeps 1 of 2 cases");
    no_temporary_files();
}

static void a_refresh_is_explained_or_refused(void **state) {
    (void)state;
    expect(RECORD("old.h5", "ok.yaml"), 0, "recorded 4 cases", "");
    expect("cp old.h5 kept.h5; moeparity golden refresh old.h5 --subject host -q", 0,
           "old.h5: 4 cases as they were, 0 changed, 0 new, 0 removed\n", "");
    assert_non_null(strstr(out, "old.h5 stays as it is: nothing has changed\n"));
    assert_non_null(strstr(out, "recorded 4 cases to stand in the place of those in "));
    assert_null(strstr(out, ".fresh"));
    expect("cmp old.h5 kept.h5", 0, "", "");
    /* other bits without a reason */
    change_a_bit("old.h5");
    expect("cp old.h5 kept.h5; moeparity golden refresh old.h5 --subject host -q", 1,
           "\n" FIRST ": refused: out: differ under the same contract, fill version and tiles of their "
           "stages (--allow bits)\n",
           "old.h5 stays as it is: what is refused has no explanation");
    assert_non_null(strstr(out, "\n" FIRST ": out: down: token 0 slot 0 column 15, expert "));
    expect("cmp old.h5 kept.h5 && test ! -e old.h5.fresh", 0, "", "");
    expect("moeparity golden refresh old.h5 --subject host -q --allow missing", 1, "refused: out: ", "");
    expect(
        "ln -s old.h5 link.h5; moeparity golden refresh link.h5 --subject host -q --allow 'inputs, bits'", 0,
        "\n" FIRST
        ": allowed: out: differ under the same contract, fill version and tiles of their stages (allowed)\n",
        "");
    expect("test -L link.h5 && moeparity golden diff old.h5 whole.h5", 0, "equal\n", "");
    /* what explains it: another contract, other tiles; a matrix with other cases */
    expect("moeparity golden refresh old.h5 --subject ref -q", 0, "subject: 'host' -> 'ref'\n", "");
    assert_non_null(strstr(out, FIRST ": legal: no bit differs: the contract has changed\n"));
    expect("moeparity golden refresh old.h5 " TINY("M=1") " " TINY("M=5") " --subject ref -q", 0,
           "M=5 E=2 topk=1 K=16 N=8 act=silu: legal: the case is new\n", "");
    assert_non_null(strstr(out, "M=3 E=2 topk=1 K=16 N=8 act=silu: legal: the case is removed"));
    assert_non_null(strstr(out, "old.h5: 1 cases as they were, 0 changed, 1 new, 3 removed\n"));
    expect("moeparity golden ls old.h5 | grep -c ^M=", 0, "2\n", "");
    /* a case that fails its other checks */
    expect(
        "cp old.h5 kept.h5; moeparity golden refresh old.h5 --subject host --strict -q " TINY("M=1000000000"),
        1, "[FAIL]", "old.h5 stays as it is");
    expect("cmp old.h5 kept.h5 && test ! -e old.h5.fresh && test ! -e old.h5.fresh.part", 0, "", "");
    expect("moeparity golden refresh old.h5 --allow bit", 2, "",
           "--allow: 'bit': expected bits, inputs or missing");
    expect("moeparity golden refresh old.h5 --allow ,", 2, "", "--allow: '': expected bits");
    expect("moeparity golden refresh old.h5 --match M=1", 2, "",
           "--match without a matrix: all cases of a golden");
    expect("moeparity golden refresh old.h5 --tier ci", 2, "", "--tier without a matrix");
    expect("moeparity golden refresh none.h5", 2, "", "none.h5: No such file or directory");
    expect("moeparity golden refresh junk.h5", 2, "", "junk.h5: not an HDF5 file");
}

static void cases_of_other_fields_stand_side_by_side(void **state) {
    (void)state;
    expect(RECORD("s0.h5", TINY("M=4") " " TINY("M=8")), 0, "recorded 2", "");
    expect(RECORD("s1.h5", TINY("M=4 seed=1") " " TINY("M=8")), 0, "recorded 2", "");
    expect("moeparity golden diff s0.h5 s1.h5", 1,
           "1 case side by side: 1 equal, 0 differ; 1 only in s0.h5, 1 only", "");
    expect("moeparity golden diff s0.h5 s1.h5 --map 'M=4 -> seed=1' --json d.json", 1,
           "M=4 E=2 topk=1 K=16 N=8 act=silu: beside M=4 E=2 topk=1 K=16 N=8 act=silu seed=1\n", "");
    assert_non_null(strstr(out, "\nlegend: "));
    assert_non_null(
        strstr(out, "\n2 cases side by side: 1 equal, 1 differs; 0 only in s0.h5, 0 only in s1.h5\n"));
    assert_non_null(strstr(out, "; ulps "));
    json_t *json = json_file("d.json");
    const json_t *counts = json_object_get(json, "counts"), *cases = json_object_get(json, "cases");
    assert_int_equal(json_integer_value(json_object_get(counts, "differing")), 1);
    assert_int_equal(json_array_size(cases), 2);
    const json_t *tensors = json_object_get(json_array_get(cases, 0), "tensors");
    bool told = false;
    for (size_t i = 0; i < json_array_size(tensors); i++) {
        const json_t *t = json_array_get(tensors, i);
        if (strcmp(json_string_value(json_object_get(t, "tensor")), "cache1") != 0) continue;
        assert_string_equal(json_string_value(json_object_get(t, "state")), "differs");
        assert_string_equal(json_string_value(json_object_get(t, "stage")), "gate_up");
        json_int_t elements = 0;
        const char *bin;
        json_t *count;
        json_object_foreach(json_object_get(t, "ulps"), bin, count) elements += json_integer_value(count);
        assert_int_equal(elements, json_integer_value(json_object_get(t, "differing_elements")));
        assert_true(elements > 0);
        told = true;
    }
    assert_true(told);
    json_decref(json);
    expect("moeparity golden diff s0.h5 s1.h5 --ignore seed", 1, "2 cases side by side", "");
    expect("moeparity golden diff s0.h5 s1.h5 --ignore 'seed M'", 2, "",
           "are one case by --ignore and --map");
    expect("moeparity golden diff s0.h5 s1.h5 --ignore sead", 2, "", "--ignore 'sead': ");
    expect("moeparity golden diff s0.h5 s1.h5 --map 'M=4'", 2, "",
           "--map 'M=4': 'M=4': expected TERMS -> FIELDS");
    expect("moeparity golden diff s0.h5 s1.h5 --map 'M=4 -> '", 2, "", "expected TERMS -> FIELDS");
    expect("moeparity golden diff s0.h5 s1.h5 --map 'M=4 -> seed=x'", 2, "", "seed=x");
    expect("moeparity golden diff s0.h5 s1.h5 --map", 2, "", "--map");
    expect("moeparity golden diff s0.h5 s1.h5 --json s0.h5", 2, "", "s0.h5 ");
    expect("moeparity golden diff s0.h5 s1.h5 --json nowhere/d.json", 2, "", "cannot write nowhere/d.json");
}

/* Rows lie elsewhere by another BLOCK_SIZE_M; slot by slot they are the same. */
static void other_tiles_are_compared_by_slots(void **state) {
    (void)state;
    expect(RECORD("t64.h5", "--case 'M=20 E=4 topk=2 K=64 N=64 layout=sorted tile=64x64x32x8x4x3'"), 0,
           "recorded", "");
    expect(RECORD("t16.h5", "--case 'M=20 E=4 topk=2 K=64 N=64 layout=sorted tile=16x64x32x8x4x3'"), 0,
           "recorded", "");
    expect("moeparity golden diff t64.h5 t16.h5 --ignore 'tile tile_down'", 1, ": block_size_m: 64 -> 16\n",
           "");
    assert_non_null(strstr(out, ": sorted_token_ids: not compared: it is padded to another block_size_m\n"));
    assert_int_equal(count_of(out, ": cache1: "), 0);
    assert_int_equal(count_of(out, ": out: "), 0);
}

/* The words of a tree as another digest of a row makes them: S_j changes by e * i^j mod 2^61 - 1. */
static void change_row(const char *path, const char *dataset, int row, uint64_t e) {
    static uint64_t words[2][256];
    const uint64_t p = (UINT64_C(1) << 61) - 1;
    const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), set = H5Dopen2(file, dataset, H5P_DEFAULT);
    assert_true(set >= 0);
    assert_true(H5Dread(set, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, words) >= 0);
    unsigned __int128 term = e;
    for (int j = 0; j < 256; j++) {
        words[row / 512][j] = (uint64_t)((words[row / 512][j] + term) % p);
        term = term * (unsigned)(row % 512 + 1) % p;
    }
    assert_true(H5Dwrite(set, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, words) >= 0);
    H5Dclose(set);
    H5Fclose(file);
    forget_roots(path);
}

static void rows_are_told_from_few_words(void **state) {
    (void)state;
#define LARGE "M=600 E=2 topk=1 K=16 N=8 act=silu"
    expect(RECORD("tree.h5", "--digest-above 0 --case '" LARGE "'"), 0, "recorded 1", "");
    expect("moeparity golden verify tree.h5 --subject host -q", 0, "1 passed", "");
    expect("moeparity golden diff tree.h5 tree.h5", 0, "equal\n", "");
    expect(RECORD("in_full.h5", "--case '" LARGE "'"), 0, "recorded 1", "");
    expect("moeparity golden diff in_full.h5 tree.h5", 0, "equal\n", "");
    change_row("tree.h5", LARGE "/out.tree", 555, 77);
    expect("moeparity golden verify tree.h5 --subject host -q", 1,
           "golden: out: down: token 555 slot 0, expert ", "");
    assert_non_null(strstr(out, ": one row (stored as digests of rows: record with a larger --digest-above"));
    expect("moeparity golden diff in_full.h5 tree.h5", 1, LARGE ": out: down: token 555 slot 0, expert ", "");
    for (int row = 0; row < 129; row++)
        change_row("tree.h5", LARGE "/out.tree", 3 * row, (uint64_t)(row * row) + 5);
    expect("moeparity golden verify tree.h5 --subject host -q", 1,
           "; beside them more than 128 of rows 0..511 (stored", "");
    expect("moeparity golden diff tree.h5 in_full.h5", 1, "; beside them more than 128 of rows 0..511 differ",
           "");
}

/* A tensor of which nothing is compared any more: each row is marked as one without a result. */
static void leave_out_every_row(const char *path, const char *tensor) {
    static uint64_t words[2][256];
    unsigned char marks[600 / 8];
    char name[128];
    const hsize_t bytes = sizeof marks;
    const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), space = H5Screate_simple(1, &bytes, NULL);
    snprintf(name, sizeof name, "%s.tree", tensor);
    const hid_t tree = H5Dopen2(file, name, H5P_DEFAULT);
    assert_true(H5Dwrite(tree, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, words) >= 0);
    snprintf(name, sizeof name, "%s.left_out", tensor);
    memset(marks, 0xff, sizeof marks);
    const hid_t set = H5Dcreate2(file, name, H5T_STD_U8LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Dwrite(set, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, marks) >= 0);
    H5Dclose(set);
    H5Dclose(tree);
    H5Sclose(space);
    H5Fclose(file);
    forget_roots(path);
}

static void marks_hide_no_row(void **state) {
    (void)state;
    expect(RECORD("marked.h5", "--digest-above 0 --case '" LARGE "'"), 0, "recorded 1", "");
    leave_out_every_row("marked.h5", LARGE "/out");
    expect("moeparity golden verify marked.h5 --subject host -q", 1,
           "golden: out: the golden leaves out 600 rows that hold a result, first row 0", "");
    expect("moeparity golden merge new.h5 marked.h5", 2, "",
           "marked.h5: " LARGE ": out.left_out marks row 0, which holds a result by the case");
    expect("moeparity golden diff marked.h5 marked.h5", 2, "", "out.left_out marks row 0");
    expect("moeparity golden refresh marked.h5 --subject host", 2, "", "out.left_out marks row 0");
}

/* Rows that a case does leave out, in every layout. */
static void marks_of_the_case_are_taken(void **state) {
    (void)state;
    static const char *const cases[] = {"layout=sorted", "layout=sorted filter=0.3",
                                        "layout=masked filter=0.3", "filter=0.3",
                                        "layout=sorted ep_size=2 expert_map=linear"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[512];
        snprintf(line, sizeof line,
                 "moeparity golden record m.h5 --digest-above %zu --subject ref -q --case 'M=400 E=6 topk=2 "
                 "K=16 N=16 %s'",
                 i % 2 ? (size_t)1 << 20 : 0, cases[i]);
        expect(line, 0, "recorded 1", "");
        expect("rm -f again.h5 && moeparity golden diff m.h5 m.h5 && moeparity golden merge again.h5 m.h5", 0,
               "merged 1 case", "");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_become_the_whole),
        cmocka_unit_test(a_conflict_is_named_and_nothing_is_written),
        cmocka_unit_test(makers_are_kept),
        cmocka_unit_test(a_recording_goes_on),
        cmocka_unit_test(one_recording_at_a_time),
        cmocka_unit_test(a_golden_under_the_contract_of_the_line),
        cmocka_unit_test(strange_parts_are_refused),
        cmocka_unit_test(a_refresh_is_explained_or_refused),
        cmocka_unit_test(cases_of_other_fields_stand_side_by_side),
        cmocka_unit_test(other_tiles_are_compared_by_slots),
        cmocka_unit_test(rows_are_told_from_few_words),
        cmocka_unit_test(marks_hide_no_row),
        cmocka_unit_test(marks_of_the_case_are_taken),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
