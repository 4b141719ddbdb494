/* SPDX-License-Identifier: Apache-2.0 */
/* golden/ as files: reading leaves no trace, no damaged, foreign or newer file passes for a golden, and a
 * failed write leaves nothing behind. */
#include "golden/files.h"
#include "golden/h5.h"
#include "tests/golden_support.h"

#include <hdf5.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void reading_changes_nothing(void **state) {
    (void)state;
    mp_trace trace = random_trace(7);
    mp_golden_difference diff[MP_TENSOR_COUNT];
    struct stat before, after;
    record(path, 0, &trace, SIZE_MAX);
    assert_int_equal(chmod(path, 0444), 0);
    assert_int_equal(stat(path, &before), 0);
    compare(0, &trace, diff);
    assert_int_equal(stat(path, &after), 0);
    assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim);
    assert_int_equal(before.st_size, after.st_size);
    assert_int_equal(clear_directory(), 1);
    free_trace(&trace);
}

/* Every reading call on the file at `path`. True when it is either refused with MP_EINPUT or gives exactly
 * `trace`. */
static bool refused_or_intact(const mp_trace *trace, bool *refused) {
    mp_golden *golden;
    mp_case c = case_with_seed(0);
    mp_golden_difference diff[MP_TENSOR_COUNT];
    int count;
    mp_status status = mp_golden_open(path, &golden, &err);
    if (status == MP_OK) {
        status = compare_with(golden, &c, trace, diff, &count);
        bool equal = count == RECORDED && memcmp(mp_golden_provenance(golden), &who, sizeof who) == 0;
        for (int i = 0; i < count; i++)
            equal &= diff[i].stored && !diff[i].shape_differs && diff[i].differing_rows == 0;
        mp_golden_close(golden);
        if (status == MP_OK) return equal;
    }
    *refused = true;
    return status == MP_EINPUT && strstr(err.text, path) != NULL;
}

/* Flips one bit at many places of the file, one at a time. Padding and free space may change unseen, all else
 * must be noticed. */
static void no_flipped_byte_goes_unnoticed(void **state) {
    (void)state;
    mp_trace trace = random_trace(8);
    for (int digests = 0; digests < 2; digests++) {
        record(path, 0, &trace, digests ? 0 : SIZE_MAX);
        char *data;
        size_t size, refusals = 0, tried = 0;
        read_whole(&data, &size);
        bool refused = false;
        assert_true(refused_or_intact(&trace, &refused) && !refused);
        for (size_t i = 0; i < size; i += 5) {
            refused = false;
            data[i] = (char)(data[i] ^ (1 << (i % 8)));
            write_whole(data, size);
            data[i] = (char)(data[i] ^ (1 << (i % 8)));
            if (!refused_or_intact(&trace, &refused))
                fail_msg("byte %zu of %zu flipped: %s", i, size, err.text);
            refusals += refused;
            tried++;
        }
        assert_true(refusals > tried / 4);
        free(data);
    }
    free_trace(&trace);
}

static void a_damaged_number_names_tensor_and_case(void **state) {
    (void)state;
    mp_trace trace = {.block_size_m = 16};
    trace.t[MP_OUT] =
        random_tensor(MP_BF16, 2, 64, 512, 1); /* random numbers do not compress: most of the file is data */
    mp_golden *golden;
    mp_case c = case_with_seed(0);
    mp_golden_difference diff[MP_TENSOR_COUNT];
    int count;
    record(path, 0, &trace, SIZE_MAX);
    char *data;
    size_t size;
    read_whole(&data, &size);
    data[size / 2] ^= 1;
    write_whole(data, size);
    OK(mp_golden_open(path, &golden, &err));
    assert_int_equal(compare_with(golden, &c, &trace, diff, &count), MP_EINPUT);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, CASE ": out: "));
    if (strstr(err.text, "checksum") == NULL) fail_msg("no checksum in: %s", err.text);
    mp_golden_close(golden);
    free(data);
    free_trace(&trace);
}

/* Another byte among the numbers of a dataset: the structure of the file is whole, the checksum of a chunk is
 * not. */
static void damage(const char *dataset) {
    const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(file, dataset, H5P_DEFAULT);
    haddr_t at = 0;
    hsize_t bytes = 0;
    assert_true(
        H5Dget_chunk_info_by_coord(set, (const hsize_t[MP_MAX_RANK]){0}, &(unsigned){0}, &at, &bytes) >= 0 &&
        bytes > 0);
    H5Dclose(set);
    H5Fclose(file);
    char *data;
    size_t size;
    read_whole(&data, &size);
    data[at] ^= 1;
    write_whole(data, size);
    free(data);
}

/* What mp_golden_check says of the file at `path`, which opens: "" when nothing. */
static const char *check(void) {
    mp_golden *golden;
    OK(mp_golden_open(path, &golden, &err));
    const mp_status status = mp_golden_check(golden, &err);
    mp_golden_close(golden);
    assert_int_equal(status, err.text[0] ? MP_EINPUT : MP_OK);
    return err.text;
}

static void the_check_reads_every_number(void **state) {
    (void)state;
    mp_trace trace = planned_trace(14);
    for (int digests = 0; digests < 2; digests++) {
        const char *const places[] = {CASE "/sorted_token_ids", CASE " seed=1/cache2", CASE " seed=1/out"};
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            char dataset[128], expected[128];
            mp_golden *golden;
            OK(mp_golden_create(path, &who, digests ? 0 : SIZE_MAX, &golden, &err));
            for (int64_t seed = 0; seed < 2; seed++) {
                const mp_case c = case_with_seed(seed);
                OK(mp_golden_write(golden, &c, any_contract(), "", &trace, NULL, &err));
            }
            OK(mp_golden_commit(golden, &err));
            assert_string_equal(check(), "");
            snprintf(dataset, sizeof dataset, "%s%s", places[i], digests ? ".digest" : "");
            damage(dataset);
            const int name = (int)strcspn(places[i], "/");
            snprintf(expected, sizeof expected, "%s: %.*s: %s: cannot read the stored ", path, name,
                     places[i], places[i] + name + 1);
            if (strncmp(check(), expected, strlen(expected)) != 0)
                fail_msg("expected '%s' in: %s", expected, err.text);
        }
    }
    free_trace(&trace);
}

static void no_truncated_file_opens(void **state) {
    (void)state;
    mp_trace trace = random_trace(9);
    record(path, 0, &trace, SIZE_MAX);
    char *data;
    size_t size;
    read_whole(&data, &size);
    for (size_t length = 0; length < size; length += length < 100 ? 1 : 97) {
        bool refused = false;
        write_whole(data, length);
        if (!refused_or_intact(&trace, &refused) || !refused)
            fail_msg("%zu of %zu bytes were taken: %s", length, size, err.text);
    }
    free(data);
    free_trace(&trace);
}

static void assert_refused(const char *file, const char *because) {
    mp_golden *golden = (mp_golden *)&err;
    assert_int_equal(mp_golden_open(file, &golden, &err), MP_EINPUT);
    assert_null(golden);
    if (strstr(err.text, file) == NULL || strstr(err.text, because) == NULL)
        fail_msg("expected '%s' in: %s", because, err.text);
}

static void foreign_files_are_refused(void **state) {
    (void)state;
    assert_refused(path, "No such file");
    assert_refused(directory, "a directory; expected a golden file");
    write_whole("", 0);
    assert_refused(path, "0 bytes");
    write_whole("format: moeparity golden\n", 25);
    assert_refused(path, "not an HDF5 file");
    H5Fclose(H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT));
    assert_refused(path, "not a golden file");
}

static void a_newer_format_is_refused(void **state) {
    (void)state;
    mp_trace trace = random_trace(10);
    record(path, 0, &trace, SIZE_MAX);
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT),
          attribute = H5Aopen(file, "format_version", H5P_DEFAULT);
    assert_true(H5Awrite(attribute, H5T_NATIVE_INT64, &(int64_t){3}) >= 0);
    H5Aclose(attribute);
    H5Fclose(file);
    assert_refused(path, "format_version 3: this program reads versions 1 to 2");
    free_trace(&trace);
}

/* Sizes in a file may be any numbers: memory is allocated, and rows are counted, by none that is not
 * checked. */
static void forged_shapes_are_refused(void **state) {
    (void)state;
    mp_trace trace = {.block_size_m = 16};
    trace.t[MP_OUT] = random_tensor(MP_BF16, 2, 4, 10, 1);
    const struct {
        int64_t shape[2];
        const char *because;
    } forged[] = {
        {{(int64_t)1 << 40, (int64_t)1 << 40}, "axis 1 has 1099511627776 elements"},
        {{4, (int64_t)1 << 47}, "at most 2^48 in all"}, /* the rows are as many as the digests */
        {{4, 0}, "the case has"},
        {{-4, 10}, "axis 0 has -4 elements"},
        {{5, 10}, "4 row digests; expected 5"},
        {{3, 10}, "4 row digests; expected 3"},
    };
    for (size_t i = 0; i < sizeof forged / sizeof *forged; i++) {
        record(path, 0, &trace, 0);
        assert_string_equal(check(), "");
        hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT),
              set = H5Dopen2(file, CASE "/out.digest", H5P_DEFAULT);
        assert_true(H5Adelete(set, "shape") >= 0); /* HDF5 1.10 cannot overwrite it */
        OK(mp_h5_write_integers(set, "shape", forged[i].shape, 2, &err));
        H5Dclose(set);
        H5Fclose(file);
        if (strstr(check(), forged[i].because) == NULL)
            fail_msg("expected '%s' in: %s", forged[i].because, err.text);
    }
    free_trace(&trace);
}

/* Records a trace that does not fit below a limit on file sizes; run in a child, because the limit is the
 * process's. The exit code is 0 when the failure is a clean MP_EIO that names the path. */
static void record_on_full_disk(rlim_t limit) {
    signal(SIGXFSZ, SIG_IGN);
    mp_trace trace = {.block_size_m = 16};
    trace.t[MP_CACHE1] = random_tensor(MP_FP32, 2, 3, 1000, 1);
    trace.t[MP_OUT] = random_tensor(MP_BF16, 2, 600, 4000, 1);
    mp_golden *golden = NULL;
    mp_case c = case_with_seed(1);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){limit, RLIM_INFINITY});
    mp_status status = mp_golden_create(path, &who, SIZE_MAX, &golden, &err);
    if (status == MP_OK) {
        mp_status written = mp_golden_write(golden, &c, any_contract(), "", &trace, NULL, &err);
        status = mp_golden_commit(golden, &err);
        if (written != MP_OK && status == MP_OK) _exit(2);
    }
    if (status != MP_EIO || strstr(err.text, path) == NULL || strchr(err.text, '\n') != NULL) {
        fprintf(stderr, "limit %llu: status %s: %s\n", (unsigned long long)limit, mp_status_name(status),
                err.text);
        _exit(1);
    }
    free_trace(&trace);
    exit(0); /* not _exit: HDF5's own clean-up at exit must work as well */
}

static void a_full_disk_leaves_the_old_file(void **state) {
    (void)state;
    mp_trace trace = random_trace(11);
    mp_golden_difference diff[MP_TENSOR_COUNT];
    record(path, 0, &trace, SIZE_MAX);
    const rlim_t limits[] = {0, 100, 1000, 3000, 10000, 100000, 1500000, 4000000};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        int code;
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) record_on_full_disk(limits[i]);
        assert_int_equal(waitpid(child, &code, 0), child);
        if (!WIFEXITED(code) || WEXITSTATUS(code) != 0)
            fail_msg("limit of %llu bytes: wait status %x", (unsigned long long)limits[i], code);
        assert_int_equal(compare(0, &trace, diff), RECORDED);
        for (int t = 0; t < RECORDED; t++) assert_int_equal(diff[t].differing_rows, 0);
    }
    assert_int_equal(clear_directory(), 1); /* no temporary file */
    free_trace(&trace);
}

static void without_commit_nothing_is_left(void **state) {
    (void)state;
    mp_trace trace = random_trace(12);
    mp_golden *golden;
    mp_case c = case_with_seed(0);
    OK(mp_golden_create(path, &who, SIZE_MAX, &golden, &err));
    OK(mp_golden_write(golden, &c, any_contract(), "", &trace, NULL, &err));
    mp_golden_close(golden);
    mp_golden_close(NULL);
    assert_int_equal(clear_directory(), 0);

    char nowhere[256];
    snprintf(nowhere, sizeof nowhere, "%s/no/such/golden.h5", directory);
    assert_int_equal(mp_golden_create(nowhere, &who, SIZE_MAX, &golden, &err), MP_EIO);
    assert_non_null(strstr(err.text, nowhere));
    assert_non_null(strstr(err.text, "No such file or directory"));
    free_trace(&trace);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(reading_changes_nothing),
        TEST(no_flipped_byte_goes_unnoticed),
        TEST(a_damaged_number_names_tensor_and_case),
        TEST(the_check_reads_every_number),
        TEST(no_truncated_file_opens),
        TEST(foreign_files_are_refused),
        TEST(a_newer_format_is_refused),
        TEST(forged_shapes_are_refused),
        TEST(a_full_disk_leaves_the_old_file),
        TEST(without_commit_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
