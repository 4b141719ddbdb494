/* cli/ and golden/: recording, verifying and comparing goldens from outside, with good files and bad ones. */
#include "tests/cli_support.h"

#include <hdf5.h>

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
    expect("moeparity run --case M=77 --subject host --golden whole.h5", 2, "",
           "moeparity: whole.h5 holds none of the 1 cases to run");
    /* the path is part of a worker's message, which is JSON and therefore UTF-8 */
    expect("cp whole.h5 \"$(printf 'w\\377.h5')\"; moeparity run --case M=77 --subject host --golden "
           "\"$(printf 'w\\377.h5')\"",
           2, "", "moeparity: w\\xff.h5 holds none of the 1 cases to run");
    expect("cp whole.h5 old.h5", 0, "", "");
    lower_fill_version("old.h5");
    expect("moeparity golden verify old.h5 --subject host", 2, "",
           "moeparity: old.h5 was made with fill version ");
    expect("moeparity golden record inputs.h5 ok.yaml --subject host --inputs", 0, "recorded 4 cases", "");
    damage("inputs.h5", "inputs/x");
    expect("moeparity golden verify inputs.h5 --subject host", 2, "",
           "act=silu: x: cannot read the stored numbers");
    damage("whole.h5", "out");
    expect("moeparity golden verify whole.h5 --subject host", 2, "",
           "moeparity: whole.h5: M=1 E=2 topk=1 K=16 N=8 act=silu: out: cannot read the stored numbers");
    assert_string_equal(out, "");
}

/* The last element of the output of the golden's first case gets another last bit. */
static void change_a_bit(const char *path) {
    unsigned char data[4096];
    const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT),
                set = H5Dopen2(file, "M=1 E=2 topk=1 K=16 N=8 act=silu/out", H5P_DEFAULT);
    assert_true(set >= 0);
    const hid_t type = H5Dget_type(set);
    assert_true(H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    data[15 * H5Tget_size(type)] ^= 1;
    assert_true(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    H5Tclose(type);
    H5Dclose(set);
    H5Fclose(file);
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
    assert_non_null(strstr(out, "golden: out: 1 of 1 rows differ (row 0), first [0,15]: "));

    char *repro = strstr(out, "repro: ");
    assert_non_null(repro);
    char command[2048];
    snprintf(command, sizeof command, "%s", repro + strlen("repro: "));
    command[strcspn(command, "\n")] = '\0';
    expect(command, 1, "1 case: 0 passed, 1 failed", "");
    assert_non_null(strstr(out, "golden: out: 1 of 1 rows differ"));
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
    no_temporary_files();
}

/* What verify alone calls a failure is repeated by verify alone. */
static void the_repro_of_a_verification_fails_too(void **state) {
    (void)state;
    char command[1024];
    expect("moeparity golden record float64.h5 --case 'M=8 topk=2' --subject ref", 0, "recorded 1 case", "");
    expect("moeparity golden verify float64.h5 --subject host", 1, "golden: made under another contract", "");
    const char *repro = strstr(out, "repro: ");
    assert_non_null(repro);
    assert_int_equal(sscanf(repro, "repro: %1023[^\n]", command), 1);
    expect(command, 1, "golden: made under another contract", "");
}

static void ctrl_c_during_verify_is_no_success(void **state) {
    (void)state;
    expect("moeparity golden record long.h5 long.yaml --subject host", 0, "recorded", "");
    assert_int_equal(interrupt_after("exec moeparity golden verify long.h5 --subject host", "[OK]", SIGINT),
                     3);
    assert_non_null(strstr(out, "interrupted"));
    assert_null(strstr(out, "16 passed"));
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
        cmocka_unit_test(goldens_come_back_and_a_changed_bit_is_found),
        cmocka_unit_test(a_case_that_does_not_pass_is_not_recorded),
        cmocka_unit_test(the_repro_of_a_verification_fails_too),
        cmocka_unit_test(ctrl_c_during_verify_is_no_success),
        cmocka_unit_test(ctrl_c_hides_no_failure),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
