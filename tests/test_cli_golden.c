/* SPDX-License-Identifier: Apache-2.0 */
/* cli/ and golden/: recording, verifying and comparing goldens from outside, with good files and bad ones. */
#include "tests/cli_golden_support.h"

/* Another byte among the stored numbers of the first case: the structure of the file is whole, a checksum is
 * not. */
static void damage(const char *path, const char *tensor) {
    char name[128];
    snprintf(name, sizeof name, "M=1 E=2 topk=1 K=16 N=8 act=silu/%s", tensor);
    const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(file, name, H5P_DEFAULT);
    const hsize_t first[2] = {0, 0};
    unsigned mask = 0;
    haddr_t at = 0;
    hsize_t size = 0;
    assert_true(H5Dget_chunk_info_by_coord(set, first, &mask, &at, &size) >= 0 && size > 4);
    H5Dclose(set);
    H5Fclose(file);
    FILE *raw = fopen(path, "r+b");
    assert_true(raw && fseek(raw, (long)at + 3, SEEK_SET) == 0);
    const int byte = fgetc(raw);
    assert_true(fseek(raw, (long)at + 3, SEEK_SET) == 0 && fputc(byte ^ 0x10, raw) != EOF &&
                fclose(raw) == 0);
}

/* As if the golden had been recorded before the fills changed. */
static void lower_fill_version(const char *path) {
    const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT),
                attribute = H5Aopen(file, "fill_version", H5P_DEFAULT);
    long long version = 0;
    assert_true(H5Aread(attribute, H5T_NATIVE_LLONG, &version) >= 0);
    version--;
    assert_true(H5Awrite(attribute, H5T_NATIVE_LLONG, &version) >= 0);
    H5Aclose(attribute);
    H5Fclose(file);
    forget_roots(path);
}

static void bad_goldens(void **state) {
    (void)state;
    expect("moeparity golden record whole.h5 ok.yaml --subject host", 0, "recorded 4 cases in whole.h5", "");
    expect("head -c 3000 whole.h5 > cut.h5; moeparity golden verify cut.h5", 2, "",
           "moeparity: cut.h5: truncated or corrupted HDF5 file of 3000 bytes");
    expect("moeparity run ok.yaml --subject host --golden cut.h5", 2, "", "moeparity: cut.h5: truncated");
    expect("moeparity golden ls junk.h5", 2, "",
           "moeparity: junk.h5: not an HDF5 file (7 bytes); expected a golden file");
    expect("moeparity golden diff whole.h5 junk.h5", 2, "", "moeparity: junk.h5: not an HDF5 file");
    expect("moeparity golden verify none.h5", 2, "",
           "moeparity: none.h5: No such file or directory; expected a golden file");
    H5Fclose(H5Fcreate("foreign.h5", H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT));
    expect("moeparity golden verify foreign.h5", 2, "", "moeparity: foreign.h5: ");
    expect("moeparity golden verify whole.h5 --match M=77", 2, "", "moeparity: no case left of 4");
    expect("moeparity golden record nowhere/a.h5 ok.yaml --subject host", 2, "",
           "moeparity: cannot write nowhere/a.h5 (nowhere/a.h5.tmp.");
    expect("moeparity golden record . ok.yaml --subject host", 2, "",
           "moeparity: cannot write .: it exists and is not a regular file");
    /* the path is part of messages, which are UTF-8 */
    expect("cp cut.h5 \"$(printf 'w\\377.h5')\"; moeparity run --case M=77 --subject host --golden "
           "\"$(printf 'w\\377.h5')\"",
           2, "", "moeparity: w\\xff.h5: truncated");
    expect("cp whole.h5 old.h5", 0, "", "");
    lower_fill_version("old.h5");
    expect("moeparity golden verify old.h5 --subject host", 2, "",
           "moeparity: old.h5 was made with fill version ");
    expect("moeparity golden diff whole.h5 old.h5", 1, "fill_version: ", "");
    assert_int_equal(count_of(out, "\n"), 2); /* and nothing else differs */
    assert_non_null(strstr(out, "\n4 cases side by side: 4 equal, 0 differ; "));
    expect("moeparity golden record inputs.h5 ok.yaml --subject host --inputs", 0, "recorded 4 cases", "");
    damage("inputs.h5", "inputs/x");
    expect("moeparity golden verify inputs.h5 --subject host", 2, "",
           "act=silu: x: cannot read the stored numbers");
    damage("whole.h5", "out");
    expect("moeparity golden verify whole.h5 --subject host", 2, "",
           "moeparity: whole.h5: M=1 E=2 topk=1 K=16 N=8 act=silu: out: cannot read the stored numbers");
    assert_string_equal(out, "");
}

#define FIRST "M=1 E=2 topk=1 K=16 N=8 act=silu"

/* A text attribute of an object of the file, anew. */
static void set_text(const char *path, const char *object_name, const char *name, const char *text) {
    const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT),
                object = H5Oopen(file, object_name, H5P_DEFAULT), type = H5Tcopy(H5T_C_S1),
                space = H5Screate(H5S_SCALAR);
    assert_true(H5Tset_size(type, strlen(text) + 1) >= 0);
    H5Adelete(object, name);
    if (text[0] != '\0') {
        const hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
        assert_true(H5Awrite(attribute, type, text) >= 0);
        H5Aclose(attribute);
    }
    H5Sclose(space);
    H5Tclose(type);
    H5Oclose(object);
    H5Fclose(file);
    forget_roots(path);
}

/* A file of a stranger, who had the whole of HDF5: each kind of claim ends in bad input, soon, for every
 * command. */
static void goldens_of_strangers(void **state) {
    (void)state;
    char command[512];
    static const char *const kinds[][2] = {
        {"rows", ": " FIRST ": out: stored as bf16[17592186044416,16]; the case has bf16[1,16]"},
        {"link", ": " FIRST ": 'out' is an external link; only what lies in the file itself is read"},
        {"attribute", ": case '" FIRST "': attribute 'contract' is missing"},
    };
    assert_int_equal(mkfifo("fifo", 0600), 0);
    expect("moeparity golden record plain.h5 ok.yaml --subject host", 0, "recorded 4 cases", "");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        expect("cp plain.h5 strange.h5", 0, "", "");
        const hid_t file = H5Fopen("strange.h5", H5F_ACC_RDWR, H5P_DEFAULT),
                    set = H5Dopen2(file, FIRST "/out", H5P_DEFAULT), type = H5Dget_type(set);
        H5Dclose(set);
        if (i < 2) assert_true(H5Ldelete(file, FIRST "/out", H5P_DEFAULT) >= 0);
        if (i == 0) {
            const hsize_t dims[2] = {(hsize_t)1 << 44, 16}, chunk[2] = {1024, 16};
            const hid_t space = H5Screate_simple(2, dims, NULL), creation = H5Pcreate(H5P_DATASET_CREATE);
            H5Pset_chunk(creation, 2, chunk);
            H5Dclose(H5Dcreate2(file, FIRST "/out", type, space, H5P_DEFAULT, creation, H5P_DEFAULT));
            H5Pclose(creation);
            H5Sclose(space);
        }
        if (i == 1) H5Lcreate_external("fifo", "/out", file, FIRST "/out", H5P_DEFAULT, H5P_DEFAULT);
        H5Tclose(type);
        H5Fclose(file);
        if (i == 2) set_text("strange.h5", FIRST, "contract", "");
        static const char *const commands[] = {"golden verify strange.h5 --subject host",
                                               "golden ls strange.h5", "golden diff strange.h5 strange.h5",
                                               "run ok.yaml --subject host --golden strange.h5"};
        for (size_t c = 0; c < sizeof commands / sizeof *commands; c++) {
            char expected[256];
            snprintf(command, sizeof command, "timeout 30 moeparity %s", commands[c]);
            snprintf(expected, sizeof expected, "strange.h5%s", kinds[i][1]);
            expect(command, 2, "", expected);
        }
    }
    for (int of = 0; of < 3; of++) {
        static const char *const commands[] = {"golden verify %s", "golden ls %s", "run ok.yaml --golden %s",
                                               "golden diff %s fifo", "list %s"};
        static const char *const names[] = {"fifo", "/dev/zero", "bin"};
        static const char *const is[] = {"a FIFO", "a device", "a directory"};
        for (size_t c = 0; c < sizeof commands / sizeof *commands; c++) {
            char words[128], expected[128];
            snprintf(words, sizeof words, commands[c], names[of]);
            snprintf(command, sizeof command, "timeout 30 moeparity %s", words);
            snprintf(expected, sizeof expected, "moeparity: %s: %s; expected a %s file\n", names[of], is[of],
                     c == 4 ? "regular" : "golden");
            expect(command, 2, "", expected);
        }
    }
    /* the tuned file of a configured folder */
    expect("mkdir -p tuned && mkfifo 'tuned/E=2,N=8,device_name=.json' && VLLM_TUNED_CONFIG_FOLDER=tuned "
           "timeout 30 "
           "moeparity run ok.yaml --subject host",
           2, "", "tuned/E=2,N=8,device_name=.json: a FIFO; expected a regular file");
    unlink("fifo");
}

/* What a terminal would obey is shown as what it is. */
static void nothing_of_a_stranger_reaches_the_terminal(void **state) {
    (void)state;
    expect("moeparity golden record colour.h5 ok.yaml --subject host", 0, "recorded 4 cases", "");
    set_text("colour.h5", "/", "device", "\x1b[31mGPU\x07\n\xff");
    expect("moeparity golden ls colour.h5", 0, "subject host on \\x1b[31mGPU\\x07\\n\\xff ", "");
    assert_null(strpbrk(out, "\x1b\x07\xff"));
    set_text("colour.h5", FIRST, "config", "\x1b]0;x\x07");
    expect("moeparity golden ls colour.h5", 2, "", "attribute 'config' is '\\x1b]0;x\\x07'; expected UTF-8");
    assert_null(strpbrk(err, "\x1b\x07"));
    write_file("colour.yaml", "groups:\n  - name: a\n    \"\\e[31m\": 1\n");
    expect("moeparity list colour.yaml", 2, "", "colour.yaml:3: group: unknown key '\\x1b[31m'");
    assert_null(strchr(err, '\x1b'));
}

/* Where the inputs are others, their consequences are not what is told. */
static void other_inputs_are_named_as_such(void **state) {
    (void)state;
    expect("moeparity golden record in.h5 ok.yaml --subject host && moeparity golden ls in.h5", 0, "bytes\n",
           "");
    assert_null(strstr(out, "with inputs")); /* their digest alone */
    expect("moeparity golden record all.h5 ok.yaml --subject host --inputs && moeparity golden ls all.h5", 0,
           "bytes, with inputs\n", "");
    expect("moeparity golden diff in.h5 all.h5", 0, "equal\n", "");
    set_text("in.h5", FIRST, "inputs_digest", "0123456789abcdef");
    expect("moeparity golden verify in.h5 --subject host", 1, "4 cases: 3 passed, 1 failed", "");
    assert_non_null(
        strstr(out, "golden: the inputs differ: the golden's have digest 0123456789abcdef, this program's "));
    expect("moeparity golden diff in.h5 all.h5", 1, FIRST ": inputs: digest 0123456789abcdef -> ", "");
    assert_int_equal(count_of(out, "\nM="), 0);
    set_text("in.h5", FIRST, "inputs_digest", ""); /* a file of before */
    expect("moeparity golden verify in.h5 --subject host", 0, "4 cases: 4 passed", "");
    set_text("in.h5", FIRST, "contract", "none"); /* words for people */
    expect("moeparity golden diff in.h5 all.h5", 0, "equal\n", "");
    set_text("in.h5", FIRST, "contract_digest", "0123456789abcdef");
    set_text("in.h5", FIRST, "config", "any");
    expect("moeparity golden diff in.h5 all.h5", 1, FIRST ": contract: 'none' -> 'accumulator: ", "");
    assert_non_null(strstr(out, "\n" FIRST ": config: 'any' -> '"));
    assert_int_equal(count_of(out, "\nM="), 1);
}

/* A difference of which only the row is known says how to see more. */
static void digests_say_what_they_are(void **state) {
    (void)state;
    expect("moeparity golden record digests.h5 ok.yaml --subject host --digest-above 0", 0,
           "recorded 4 cases", "");
    const hid_t file = H5Fopen("digests.h5", H5F_ACC_RDWR, H5P_DEFAULT),
                set = H5Dopen2(file, FIRST "/out.digest", H5P_DEFAULT);
    unsigned long long digest = 0;
    assert_true(H5Dread(set, H5T_NATIVE_ULLONG, H5S_ALL, H5S_ALL, H5P_DEFAULT, &digest) >= 0);
    digest ^= 1;
    assert_true(H5Dwrite(set, H5T_NATIVE_ULLONG, H5S_ALL, H5S_ALL, H5P_DEFAULT, &digest) >= 0);
    H5Dclose(set);
    H5Fclose(file);
    expect("moeparity golden verify digests.h5 --subject host", 2, "",
           "digests.h5: " FIRST ": out: the root of the tensor is ");
    assert_non_null(strstr(err, ": it was changed after it was made"));
    forget_roots("digests.h5");
    expect("moeparity golden verify digests.h5 --subject host", 1,
           "golden: out: down: token 0 slot 0, expert 0: every row (stored as digests of rows: record with a "
           "larger "
           "--digest-above to see elements)",
           "");
    expect(
        "moeparity golden record full.h5 ok.yaml --subject host && moeparity golden diff full.h5 digests.h5",
        1,
        FIRST ": out: down: token 0 slot 0, expert 0: every row; experts 0 (1 of 1 row) (stored as digests "
              "of rows: ",
        "");
}

static void goldens_come_back_and_a_changed_bit_is_found(void **state) {
    (void)state;
    expect("moeparity golden record a.h5 ok.yaml --subject host", 0, "[OK]    M=2 E=2 topk=2", "");
    expect("moeparity golden ls a.h5", 0, "M=2 E=2 topk=2 K=16 N=8 act=silu: 7 tensors in full", "");
    expect("moeparity golden verify a.h5 --subject host", 0, "4 cases: 4 passed", "");
    assert_int_equal(count_of(out, "golden=equal"), 4);
    expect("moeparity golden record b.h5 ok.yaml --subject host && moeparity golden diff a.h5 b.h5", 0,
           "equal\n", "");
    expect(
        "moeparity golden record c.h5 ok.yaml --subject host --match M=3 && moeparity golden diff a.h5 c.h5",
        1, "M=1", "");

    change_a_bit("b.h5");
    expect("moeparity golden diff a.h5 b.h5", 1, "out", "");
    expect("moeparity run ok.yaml --subject host --golden b.h5", 1, "1 failed", "");
    expect("moeparity golden verify b.h5 --subject host", 1, "4 cases: 3 passed, 1 failed", "");
    assert_non_null(strstr(out, "golden: out: down: token 0 slot 0 column 15, expert "));
    assert_non_null(strstr(out, "begins in down: every row, column 15\n"));

    char *repro = strstr(out, "repro: ");
    assert_non_null(repro);
    char command[2048];
    snprintf(command, sizeof command, "%s", repro + strlen("repro: "));
    command[strcspn(command, "\n")] = '\0';
    expect(command, 1, "1 case: 0 passed, 1 failed", "");
    assert_non_null(strstr(out, "golden: out: down: token 0 slot 0 column 15, expert "));
}

static void a_case_that_does_not_pass_is_not_recorded(void **state) {
    (void)state;
    write_file(
        "large.yaml", MATRIX
        "  - name: too large for any machine\n    axes: {M: 1000000000, E: 2, topk: 1, K: 8192, N: 8}\n");
    expect("moeparity golden record large.h5 large.yaml --subject host", 77, "[SKIP]",
           "large.h5 was not written: a golden holds only cases that pass");
    assert_int_equal(count_of(out, "[OK]"), 4); /* those before it */
    assert_int_equal(count_of(out, "recorded "), 0);
    assert_int_equal(access("large.h5", F_OK), -1);
    /* The report ends with the exit code that the program ends with. */
    expect("rm -rf large.h5.part; moeparity golden record large.h5 large.yaml --subject host --json "
           "skipped.json",
           77, "[SKIP]", "");
    json_t *report = json_file("skipped.json");
    assert_int_equal(total(report, "passed"), 4);
    assert_int_equal(total(report, "exit_code"), 77);
    json_decref(report);
    expect("rm -rf large.h5.part; MOEPARITY_REQUIRE_GPU=1 moeparity golden record large.h5 large.yaml "
           "--subject host",
           3, "[SKIP]", "MOEPARITY_REQUIRE_GPU is set and a case was skipped");
    expect("rm -rf large.h5.part; moeparity golden record large.h5 large.yaml --subject host --strict --json "
           "large.json",
           1, "[FAIL]  M=1000000000", "large.h5 was not written: a golden holds only cases that pass");
    expect("grep -c '\"outcome\": \"FAIL\"' large.json", 0, "1\n", "");
    expect("moeparity golden record same.x ok.yaml --subject host --junit same.x", 2, "",
           "same.x would be overwritten: it is named twice");
    expect("cp ok.yaml first.yaml; moeparity golden record first.yaml ok.yaml --subject host", 2, "",
           "first.yaml would be overwritten, and is no golden file: name the file to write first");
    expect("cmp ok.yaml first.yaml", 0, "", "");
    no_temporary_files();
}

/* What verify alone calls a failure is repeated by verify alone. */
static void the_repro_of_a_verification_fails_too(void **state) {
    (void)state;
    char command[1024];
    expect("moeparity golden record float64.h5 --case 'M=8 topk=2 K=32 N=16' --subject ref", 0,
           "recorded 1 case", "");
    expect("moeparity golden verify float64.h5 --subject host", 1, "golden: recorded under another contract",
           "");
    const char *repro = strstr(out, "repro: ");
    assert_non_null(repro);
    assert_int_equal(sscanf(repro, "repro: %1023[^\n]", command), 1);
    expect(command, 1, "golden: recorded under another contract", "");
    /* so it is for run: whatever the bits are, and repeated by its repro; a part is not judged, and named */
    expect("moeparity run --case 'M=8 topk=2 K=32 N=16' --subject host --golden float64.h5", 1,
           "golden: recorded under another contract", "");
    repro = strstr(out, "repro: ");
    assert_int_equal(sscanf(repro ? repro : "", "repro: %1023[^\n]", command), 1);
    expect(command, 1, "golden: recorded under another contract", "");
    expect("moeparity run --case 'M=8 topk=2 K=32 N=16' --subject host --golden float64.h5 --golden-partial",
           0,
           "\n  not compared with the golden: 1 case (M=8 topk=2 K=32 N=16 act=silu): recorded under another "
           "contract",
           "");
    /* a case that is not in the file fails alone as it does beside others */
    expect("moeparity run --case 'M=77 K=32 N=16' --case 'M=8 K=32 N=16' --subject host --golden float64.h5 "
           "--golden-partial",
           0,
           "\n  not compared with the golden: 1 case (M=77 topk=2 K=32 N=16 act=silu): the golden file does "
           "not hold "
           "this case\n",
           "");
    expect("moeparity run --case 'M=77 K=32 N=16' --subject host --golden float64.h5", 1,
           "the golden file does not hold", "");
    repro = strstr(out, "repro: ");
    assert_int_equal(sscanf(repro ? repro : "", "repro: %1023[^\n]", command), 1);
    expect(command, 1, "the golden file does not hold", "");
}

static void ctrl_c_during_verify_is_no_success(void **state) {
    (void)state;
    expect("moeparity golden record long.h5 long.yaml --match 'seed<4' --subject host", 0, "recorded 4 cases",
           "");
    assert_int_equal(interrupt_after("exec moeparity golden verify long.h5 --subject host", "[OK]", SIGINT),
                     3);
    assert_non_null(strstr(out, "interrupted"));
    assert_null(strstr(out, "4 passed"));
}

/* Nothing is written, and what was there stays. */
static void ctrl_c_during_record_writes_nothing(void **state) {
    (void)state;
    const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    const char *const old = "\211HDF\r\n\032\nold";
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        char kept[64];
        write_file("kept.h5", old);
        const int code = interrupt_after("exec moeparity golden record kept.h5 long.yaml --subject host",
                                         "[OK]", signals[i]);
        if (code != 3 || !strstr(err, "moeparity: kept.h5 was not written: interrupted"))
            fail_msg("signal %d: exit %d\n%s\n%s", signals[i], code, out, err);
        read_into(kept, sizeof kept, "kept.h5");
        assert_string_equal(kept, old);
        no_temporary_files();
        expect("rm -r kept.h5.part", 0, "", ""); /* what it has kept: tests/test_cli_goldens.c */
    }
}

/* What was found before Ctrl-C stays found. */
static void ctrl_c_hides_no_failure(void **state) {
    (void)state;
    expect("moeparity golden record f.h5 ok.yaml --subject host", 0, "recorded", "");
    change_a_bit("f.h5");
    assert_int_equal(
        interrupt_after("exec moeparity run ok.yaml long.yaml --subject host --golden f.h5 --json f.json",
                        "[FAIL]", SIGINT),
        1);
    assert_non_null(strstr(out, "interrupted"));
    json_t *report = json_file("f.json");
    assert_int_equal(total(report, "exit_code"), 1);
    json_decref(report);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_goldens),
        cmocka_unit_test(goldens_of_strangers),
        cmocka_unit_test(nothing_of_a_stranger_reaches_the_terminal),
        cmocka_unit_test(other_inputs_are_named_as_such),
        cmocka_unit_test(digests_say_what_they_are),
        cmocka_unit_test(goldens_come_back_and_a_changed_bit_is_found),
        cmocka_unit_test(a_case_that_does_not_pass_is_not_recorded),
        cmocka_unit_test(the_repro_of_a_verification_fails_too),
        cmocka_unit_test(ctrl_c_during_verify_is_no_success),
        cmocka_unit_test(ctrl_c_during_record_writes_nothing),
        cmocka_unit_test(ctrl_c_hides_no_failure),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
