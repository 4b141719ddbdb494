/* SPDX-License-Identifier: Apache-2.0 */
/* golden/ and files of strangers: whatever a file claims, it is refused soon, with file, case and reason, or
 * it is read. Nothing is waited for, no other file is opened, and no memory is taken by a size that is only
 * claimed. */
#include "golden/files.h"
#include "harness/goldens/diff.h"
#include "tests/golden_h5py.h"

#include <sys/resource.h>
#include <sys/stat.h>

static void ignore_line(void *ctx, const char *line) {
    (void)ctx, (void)line;
}

/* A case beside itself, whatever its root says. */
static mp_status compare_in_full(void *ctx, const mp_case_diff *d, mp_error *error) {
    static mp_case_diff again;
    const mp_golden_side side = {ctx, d->a};
    const mp_status status = mp_goldens_diff_case(&side, &side, &again, error);
    if (status == MP_OK) assert_true(again.equal);
    return status;
}

/* Everything that reads a golden by itself, on the file at `path`: "" when all of it is taken, else the one
 * error. */
static const char *read_all(void) {
    mp_golden *golden = NULL;
    mp_diff_counts counts;
    err.text[0] = '\0';
    alarm(30);
    mp_status status = mp_golden_open(path, &golden, &err);
    if (status == MP_OK) {
        status = mp_golden_check(golden, &err);
        char text[sizeof err.text];
        memcpy(text, err.text, sizeof text);
        mp_status again = mp_golden_list(golden, ignore_line, NULL, &err);
        if (status == MP_OK) assert_int_equal(again, MP_OK);
        again = mp_goldens_diff(golden, golden, &(mp_align_rules){0}, compare_in_full, golden, &counts, &err);
        assert_int_equal(again, status);
        if (status == MP_OK) assert_true(mp_diff_is_equal(&counts));
        memcpy(err.text, text, sizeof text);
    }
    alarm(0);
    mp_golden_close(golden);
    assert_int_equal(status, err.text[0] ? MP_EINPUT : MP_OK);
    if (status != MP_OK && strncmp(err.text, path, strlen(path)) != 0) fail_msg("no path in: %s", err.text);
    return err.text;
}

static void expect(const char *because) {
    const char *text = read_all();
    if (because[0] == '\0' ? text[0] != '\0' : strstr(text, because) == NULL)
        fail_msg("expected '%s' in: '%s'", because, text);
}

static void expect_of_case(const char *because) {
    char expected[512];
    snprintf(expected, sizeof expected, ": " CASE ": %s", because);
    expect(expected);
}

/* A golden of one case, opened for changes; the trace is kept for comparisons. */
static mp_trace recorded;
static hid_t edit(size_t digest_above) {
    free_trace(&recorded);
    recorded = planned_trace(20);
    record(path, 0, &recorded, digest_above);
    const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(file >= 0);
    return file;
}

static int leave_and_free(void **state) {
    free_trace(&recorded);
    return leave(state);
}

/* How a dataset is made anew. */
typedef struct layout {
    hsize_t dims[3], max[3], chunk[3];
    int rank;
    bool grows;       /* with max; else max is dims */
    hid_t creation;   /* 0: from chunk */
    const void *data; /* NULL: never written */
} layout;

static void replace_dataset(hid_t file, const char *name, hid_t type, layout l) {
    const hid_t space = H5Screate_simple(l.rank, l.dims, l.grows ? l.max : NULL),
                creation = l.creation ? l.creation : H5Pcreate(H5P_DATASET_CREATE);
    if (l.chunk[0]) assert_true(H5Pset_chunk(creation, l.rank, l.chunk) >= 0);
    assert_true(H5Ldelete(file, name, H5P_DEFAULT) >= 0);
    const hid_t set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    assert_true(set >= 0);
    if (l.data) assert_true(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, l.data) >= 0);
    H5Dclose(set);
    H5Pclose(creation);
    H5Sclose(space);
}

static hid_t type_of(hid_t file, const char *name) {
    const hid_t set = H5Dopen2(file, name, H5P_DEFAULT), type = H5Dget_type(set);
    H5Dclose(set);
    return type;
}

#define MANY ((hsize_t)1 << 44)

static void claimed_shapes_are_compared_with_the_case(void **state) {
    (void)state;
    const struct {
        const char *tensor;
        layout l;
        const char *because;
    } forged[] = {
        {"out",
         {.rank = 2, .dims = {MANY, 10}, .chunk = {64, 10}},
         "out: stored as bf16[17592186044416,10]; the case has bf16[4,10]"},
        {"out", {.rank = 2, .dims = {MANY, 10}}, "out: stored as bf16[17592186044416,10]; "},
        {"out",
         {.rank = 1, .dims = {(hsize_t)1 << 40}, .chunk = {1 << 20}},
         "out: stored as bf16[1099511627776]; "},
        {"out", {.rank = 2, .dims = {10, 4}}, "out: stored as bf16[10,4]; the case has bf16[4,10]"},
        {"out",
         {.rank = 2, .dims = {(hsize_t)1 << 40, (hsize_t)1 << 20}},
         "out: axis 1 has 1048576 elements; expected"},
        {"out", {.rank = 2, .dims = {0, 10}}, "out: stored as bf16[0,10]; the case has bf16[4,10]"},
        {"num_tokens_post_padded",
         {.rank = 1, .dims = {(hsize_t)1 << 33}, .chunk = {1 << 20}},
         "num_tokens_post_padded: stored as int32[8589934592]; the case has int32[1]"},
        {"sorted_token_ids",
         {.rank = 2, .dims = {1, 101}},
         "sorted_token_ids: stored as int32[1,101]; the case has int32[1,53]"},
    };
    for (size_t i = 0; i < sizeof forged / sizeof *forged; i++) {
        char name[128];
        const hid_t file = edit(SIZE_MAX);
        snprintf(name, sizeof name, CASE "/%s", forged[i].tensor);
        const hid_t type = type_of(file, name);
        replace_dataset(file, name, type, forged[i].l);
        H5Tclose(type);
        H5Fclose(file);
        expect_of_case(forged[i].because);
    }
    /* a tensor that the case does not have */
    mp_golden *golden;
    mp_case c = case_with_seed(0);
    mp_trace trace = {.block_size_m = 16};
    trace.t[MP_CACHE3] = random_tensor(MP_BF16, 3, 4, 1, 10);
    c.topk = 1;
    OK(mp_golden_create(path, &who, SIZE_MAX, &golden, &err));
    OK(mp_golden_write(golden, &c, any_contract(), "", &trace, NULL, &err));
    OK(mp_golden_commit(golden, &err));
    expect("topk=1 K=10 N=6 act=silu: cache3: stored as bf16[4,1,10]; the case has no such tensor");
    free_trace(&trace);
}

/* A comparison knows the shape of the trace, and looks no further where another one is claimed. */
static void a_comparison_reads_no_claimed_shape(void **state) {
    (void)state;
    mp_golden_difference diff[MP_TENSOR_COUNT];
    const hid_t file = edit(SIZE_MAX);
    const hid_t type = type_of(file, CASE "/out");
    uint8_t data[2 * 8 * 10] = {0};
    replace_dataset(file, CASE "/out", type,
                    (layout){.rank = 2, .dims = {8, 10}, .chunk = {8, 10}, .data = data});
    H5Tclose(type);
    H5Fclose(file);
    assert_int_equal(compare(0, &recorded, diff), RECORDED);
    assert_true(diff[OF_OUT].shape_differs);
    assert_string_equal(diff[OF_OUT].first, "bf16[8,10] -> bf16[4,10]");
}

static void numbers_that_are_only_claimed_are_refused(void **state) {
    (void)state;
    const struct {
        layout l;
        const char *because;
    } forged[] = {
        {{.rank = 2,
          .dims = {4, 10},
          .grows = true,
          .max = {H5S_UNLIMITED, H5S_UNLIMITED},
          .chunk = {1 << 20, 2000}},
         "out: chunks of 1048576 elements along axis 0; expected no more than the 80 bytes of the tensor and "
         "1048576"},
        {{.rank = 2,
          .dims = {4, 10},
          .grows = true,
          .max = {H5S_UNLIMITED, H5S_UNLIMITED},
          .chunk = {4, 1 << 28}},
         "out: chunks of 268435456 elements along axis 1"},
        {{.rank = 2, .dims = {4, 10}, .chunk = {2, 10}}, "out: 0 of 2 chunks are stored"},
        {{.rank = 2, .dims = {4, 10}}, "out: 0 bytes are stored in a file of "},
    };
    for (size_t i = 0; i < sizeof forged / sizeof *forged; i++) {
        mp_golden *golden;
        mp_golden_difference diff[MP_TENSOR_COUNT];
        const mp_case c = case_with_seed(0);
        int count;
        const hid_t file = edit(SIZE_MAX), type = type_of(file, CASE "/out");
        replace_dataset(file, CASE "/out", type, forged[i].l);
        H5Tclose(type);
        H5Fclose(file);
        expect_of_case(forged[i].because);
        OK(mp_golden_open(path, &golden, &err));
        assert_int_equal(compare_with(golden, &c, &recorded, diff, &count), MP_EINPUT);
        mp_golden_close(golden);
        if (!strstr(err.text, forged[i].because)) fail_msg("%s", err.text);
    }
}

/* The other side of the same bounds: what deflate can do at its best, and chunks that reach beyond the
 * tensor. */
static void dense_and_roomy_chunks_are_read(void **state) {
    (void)state;
    mp_golden_difference diff[MP_TENSOR_COUNT];
    mp_trace zeros = {.block_size_m = 16};
    zeros.t[MP_OUT] = mp_tensor_shape(MP_FP32, 2, 64, 1 << 18, 1);
    OK(mp_tensor_alloc(&zeros.t[MP_OUT], 0, &err));
    record(path, 0, &zeros, SIZE_MAX);
    assert_int_equal(compare(0, &zeros, diff), 1);
    assert_int_equal(diff[0].differing_rows, 0);
    free_trace(&zeros);

    const hid_t file = edit(SIZE_MAX), type = type_of(file, CASE "/out");
    replace_dataset(file, CASE "/out", type,
                    (layout){.rank = 2,
                             .dims = {4, 10},
                             .grows = true,
                             .max = {H5S_UNLIMITED, 10},
                             .chunk = {128, 10},
                             .data = recorded.t[MP_OUT].data});
    H5Tclose(type);
    H5Fclose(file);
    expect("");
    assert_int_equal(compare(0, &recorded, diff), RECORDED);
    assert_int_equal(diff[OF_OUT].differing_rows, 0);
}

static void no_link_is_followed(void **state) {
    (void)state;
    char fifo[128], other[128];
    snprintf(fifo, sizeof fifo, "%s/fifo", directory);
    snprintf(other, sizeof other, "%s/other.h5", directory);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    mp_trace trace = planned_trace(20);
    record(other, 0, &trace, SIZE_MAX);
    free_trace(&trace);
    const char *const places[] = {CASE "/out", CASE "/cache1", CASE "/inputs", CASE, CASE " seed=1"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        for (int kind = 0; kind < 3; kind++) {
            const char *name = strchr(places[i], '/') ? strchr(places[i], '/') + 1 : places[i];
            char expected[256];
            const hid_t file = edit(SIZE_MAX);
            if (H5Lexists(file, places[i], H5P_DEFAULT) > 0)
                assert_true(H5Ldelete(file, places[i], H5P_DEFAULT) >= 0);
            const herr_t made =
                kind == 0 ? H5Lcreate_soft("/" CASE "/cache3", file, places[i], H5P_DEFAULT, H5P_DEFAULT)
                          : H5Lcreate_external(kind == 1 ? fifo : other, "/" CASE "/out", file, places[i],
                                               H5P_DEFAULT, H5P_DEFAULT);
            assert_true(made >= 0);
            H5Fclose(file);
            snprintf(expected, sizeof expected,
                     "'%s' is %s link; only what lies in the file itself is read: put a copy there", name,
                     kind == 0 ? "a soft" : "an external");
            expect(expected);
            if (name != places[i]) expect(": " CASE ": ");
        }
}

static void numbers_in_other_files_are_refused(void **state) {
    (void)state;
    char fifo[128];
    snprintf(fifo, sizeof fifo, "%s/fifo", directory);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    for (int virtual = 0; virtual < 2; virtual ++) {
        const hid_t file = edit(SIZE_MAX), type = type_of(file, CASE "/out"),
                    creation = H5Pcreate(H5P_DATASET_CREATE);
        const hsize_t dims[2] = {4, 10};
        const hid_t space = H5Screate_simple(2, dims, NULL);
        assert_true(virtual ? H5Pset_virtual(creation, space, fifo, "/out", space) >= 0
                            : H5Pset_external(creation, fifo, 0, 80) >= 0);
        replace_dataset(file, CASE "/out", type, (layout){.rank = 2, .dims = {4, 10}, .creation = creation});
        H5Sclose(space);
        H5Tclose(type);
        H5Fclose(file);
        expect_of_case("out: its numbers lie in other files; expected all of them in this one");
    }
}

static void other_filters_are_refused(void **state) {
    (void)state;
    for (int twice = 0; twice < 2; twice++) {
        const hid_t file = edit(SIZE_MAX), type = type_of(file, CASE "/out"),
                    creation = H5Pcreate(H5P_DATASET_CREATE);
        if (twice) assert_true(H5Pset_deflate(creation, 6) >= 0 && H5Pset_deflate(creation, 6) >= 0);
        if (!twice) assert_true(H5Pset_nbit(creation) >= 0);
        replace_dataset(file, CASE "/out", type,
                        (layout){.rank = 2,
                                 .dims = {4, 10},
                                 .chunk = {4, 10},
                                 .creation = creation,
                                 .data = recorded.t[MP_OUT].data});
        H5Tclose(type);
        H5Fclose(file);
        expect_of_case(twice ? "out: filter 1 twice; expected shuffle" : "out: filter 5; expected shuffle");
    }
}

static void other_digests_are_refused(void **state) {
    (void)state;
    const double numbers[4] = {1, 2, 3, 4};
    hid_t file = edit(0);
    hid_t set = H5Dopen2(file, CASE "/out.digest", H5P_DEFAULT);
    replace_dataset(file, CASE "/out.digest", H5T_IEEE_F64LE,
                    (layout){.rank = 1, .dims = {4}, .data = numbers});
    hid_t made = H5Dopen2(file, CASE "/out.digest", H5P_DEFAULT);
    OK(mp_h5_write_text(made, "dtype", "bf16", &err));
    OK(mp_h5_write_integers(made, "shape", (int64_t[]){4, 10}, 2, &err));
    H5Dclose(made);
    H5Dclose(set);
    H5Fclose(file);
    expect_of_case("out: 4 row digests of another type; expected 4 of uint64 in one axis");
    const char *const dtypes[] = {"bf17", "\x1b[31m", "bf16 and something longer"};
    for (int i = 0; i < 3; i++) {
        file = edit(0);
        set = H5Dopen2(file, CASE "/out.digest", H5P_DEFAULT);
        assert_true(H5Adelete(set, "dtype") >= 0);
        OK(mp_h5_write_text(set, "dtype", dtypes[i], &err));
        H5Dclose(set);
        H5Fclose(file);
        expect_of_case(i == 2   ? "out: attribute 'dtype' has 25 bytes; expected at most 15"
                       : i == 1 ? "out: dtype '\\x1b[31m' is unknown"
                                : "out: dtype 'bf17' is unknown");
    }
}

/* ---- attributes ---- */

typedef enum kind { MISSING, INTEGER, INTEGERS, REAL, TEXT, GROUP_OF_TEXTS } kind;

static void replace_attribute(hid_t object, const char *name, kind how, int64_t number, const char *text) {
    if (H5Aexists(object, name) > 0) assert_true(H5Adelete(object, name) >= 0);
    const double real = (double)number;
    const hsize_t two = 2;
    const hid_t pair = H5Screate_simple(1, &two, NULL), scalar = H5Screate(H5S_SCALAR);
    hid_t attribute = H5I_INVALID_HID;
    switch (how) {
    case MISSING: break;
    case INTEGER: OK(mp_h5_write_integers(object, name, &number, 1, &err)); break;
    case INTEGERS: OK(mp_h5_write_integers(object, name, (int64_t[]){number, number}, 2, &err)); break;
    case TEXT: OK(mp_h5_write_text(object, name, text, &err)); break;
    case REAL:
        attribute = H5Acreate2(object, name, H5T_IEEE_F64LE, scalar, H5P_DEFAULT, H5P_DEFAULT);
        assert_true(H5Awrite(attribute, H5T_NATIVE_DOUBLE, &real) >= 0);
        break;
    case GROUP_OF_TEXTS:
        attribute = H5Acreate2(object, name, H5T_C_S1, pair, H5P_DEFAULT, H5P_DEFAULT);
        assert_true(H5Awrite(attribute, H5T_C_S1, "ab") >= 0);
        break;
    }
    if (attribute >= 0) H5Aclose(attribute);
    H5Sclose(pair);
    H5Sclose(scalar);
}

static char long_text[5000];

static void every_attribute_is_checked(void **state) {
    (void)state;
    memset(long_text, 'x', sizeof long_text - 1);
    const struct {
        const char *object, *name;
        kind how;
        int64_t number;
        const char *text, *because;
    } forged[] = {
        {"/", "format", MISSING, 0, "", "attribute 'format' is missing"},
        {"/", "format", INTEGER, 1, "", "attribute 'format' is not one text"},
        {"/", "format", TEXT, 0, "golden\x1b[2J", "format is 'golden\\x1b[2J'"},
        {"/", "format_version", MISSING, 0, "", "attribute 'format_version' is missing"},
        {"/", "format_version", INTEGER, ((int64_t)1 << 32) + 1, "",
         "format_version 4294967297: this program reads"},
        {"/", "format_version", TEXT, 0, "1", "attribute 'format_version' is not 1 to 1 integers"},
        {"/", "fill_version", MISSING, 0, "", "attribute 'fill_version' is missing"},
        {"/", "fill_version", INTEGER, ((int64_t)1 << 32) + 1, "",
         "attribute 'fill_version' is 4294967297; expected 0 to 2147483647"},
        {"/", "fill_version", INTEGER, -1, "", "attribute 'fill_version' is -1"},
        {"/", "fill_version", INTEGERS, 1, "", "attribute 'fill_version' is not 1 to 1 integers"},
        {"/", "fill_version", REAL, 1, "", "attribute 'fill_version' is not 1 to 1 integers"},
        {"/", "device", MISSING, 0, "", "attribute 'device' is missing"},
        {"/", "device", GROUP_OF_TEXTS, 0, "", "attribute 'device' is not one text"},
        {"/", "device", TEXT, 0, long_text, "attribute 'device' has 4999 bytes; expected at most 127"},
        {CASE, "contract", MISSING, 0, "", "case '" CASE "': attribute 'contract' is missing"},
        {CASE, "contract", INTEGER, 3, "", "case '" CASE "': attribute 'contract' is not one text"},
        {CASE, "contract", TEXT, 0, long_text, "attribute 'contract' has 4999 bytes; expected at most 4095"},
        {CASE, "contract", TEXT, 0, "\x1b]0;x\x07",
         "attribute 'contract' is '\\x1b]0;x\\x07'; expected UTF-8 without control"},
        {CASE, "config", MISSING, 0, "", "case '" CASE "': attribute 'config' is missing"},
        {CASE, "config", TEXT, 0, "\xff", "attribute 'config' is '\\xff'; expected UTF-8"},
        {CASE, "block_size_m", MISSING, 0, "", "case '" CASE "': attribute 'block_size_m' is missing"},
        {CASE, "block_size_m", INTEGER, 0, "", "attribute 'block_size_m' is 0; expected 1 to 256"},
        {CASE, "block_size_m", INTEGER, ((int64_t)1 << 32) + 16, "",
         "attribute 'block_size_m' is 4294967312"},
        {CASE, "block_size_m", INTEGER, 32, "",
         "sorted_token_ids: stored as int32[1,53]; the case has int32[1,101]"},
        {CASE, "block_size_m", REAL, 16, "", "attribute 'block_size_m' is not 1 to 1 integers"},
        {CASE, "inputs_digest", TEXT, 0, "xyz",
         "attribute 'inputs_digest' is 'xyz'; expected 16 hexadecimal digits"},
        {CASE, "inputs_digest", TEXT, 0, "-000000000000001",
         "attribute 'inputs_digest' is '-000000000000001'"},
        {CASE, "inputs_digest", INTEGER, 1, "", "attribute 'inputs_digest' is not one text"},
    };
    for (size_t i = 0; i < sizeof forged / sizeof *forged; i++) {
        const hid_t file = edit(SIZE_MAX), object = H5Oopen(file, forged[i].object, H5P_DEFAULT);
        replace_attribute(object, forged[i].name, forged[i].how, forged[i].number, forged[i].text);
        H5Oclose(object);
        H5Fclose(file);
        expect(forged[i].because);
    }
}

/* As `attrs[name] = "text"` does in h5py: refused, with what to write instead. */
static void texts_of_variable_length_are_refused(void **state) {
    (void)state;
    for (int root = 0; root < 2; root++) {
        const char *name = root ? "device" : "contract", *text = "FLOAT64";
        const hid_t file = edit(SIZE_MAX), object = H5Oopen(file, root ? "/" : CASE, H5P_DEFAULT),
                    type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
        assert_true(H5Tset_size(type, H5T_VARIABLE) >= 0 && H5Tset_cset(type, H5T_CSET_UTF8) >= 0);
        assert_true(H5Adelete(object, name) >= 0);
        const hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
        assert_true(H5Awrite(attribute, type, &text) >= 0);
        H5Aclose(attribute);
        H5Sclose(space);
        H5Tclose(type);
        H5Oclose(object);
        H5Fclose(file);
        expect(root ? "golden.h5: attribute 'device' is a text of variable length; expected a fixed one, as "
                      "numpy.bytes_(text) has in h5py"
                    : "case '" CASE
                      "': attribute 'contract' is a text of variable length; expected a fixed one");
    }
}

/* Provenance is only shown: it is kept, without what a terminal would obey. */
static void provenance_is_safe_to_print(void **state) {
    (void)state;
    const hid_t file = edit(SIZE_MAX);
    replace_attribute(file, "device", TEXT, 0, "GPU\x1b[31m \xff\nnext");
    H5Fclose(file);
    expect("");
    mp_golden *golden;
    OK(mp_golden_open(path, &golden, &err));
    assert_string_equal(mp_golden_provenance(golden)->device, "GPU\\x1b[31m \\xff\\nnext");
    mp_golden_close(golden);
}

/* Callers look cases up by their text, and run what the names say. */
static void only_names_of_cases_are_taken(void **state) {
    (void)state;
    char longest[MP_CASE_TEXT_MAX + 1];
    memset(longest, 'M', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    const struct {
        const char *name, *because;
    } names[] = {{"M=-1", "case 'M=-1': M=-1: expected an integer from 0"},
                 {"M=4 colour=red", "case 'M=4 colour=red': unknown field 'colour'"},
                 {"topk=2 M=4", "case 'topk=2 M=4': expected the name 'M=4 topk=2 act=silu'"},
                 {"\x1b[31m", "case '\\x1b[31m': "},
                 {longest, "a name of 1024 bytes; expected the text of a case, at most 1023"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const hid_t file = edit(SIZE_MAX);
        assert_true(H5Lmove(file, CASE, file, names[i].name, H5P_DEFAULT, H5P_DEFAULT) >= 0);
        H5Fclose(file);
        expect(names[i].because);
    }
    const hid_t file = edit(SIZE_MAX); /* a dataset where a case should be */
    assert_true(H5Lcreate_hard(file, CASE "/out", file, CASE " seed=1", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    H5Fclose(file);
    expect("case '" CASE " seed=1': cannot open the case; expected a group");
}

/* ---- files that are no files, and files of another writer ---- */

static void only_readable_files_are_opened(void **state) {
    (void)state;
    mp_golden *golden;
    char expected[256];
    assert_int_equal(mkfifo(path, 0600), 0);
    expect(": a FIFO; expected a golden file");
    assert_int_equal(unlink(path), 0);
    alarm(20);
    assert_int_equal(mp_golden_open("/dev/zero", &golden, &err), MP_EINPUT);
    assert_string_equal(err.text, "/dev/zero: a device; expected a golden file");
    alarm(0);

    H5Fclose(edit(SIZE_MAX));
    assert_int_equal(chmod(path, 0), 0);
    assert_int_equal(chmod(directory, 0755), 0);
    const uid_t user = geteuid();
    if (user == 0) assert_int_equal(seteuid(65534), 0); /* root may read anything */
    const mp_status status = mp_golden_open(path, &golden, &err);
    if (user == 0) assert_int_equal(seteuid(user), 0);
    assert_int_equal(status, MP_EINPUT);
    snprintf(expected, sizeof expected, "%s: Permission denied; expected a golden file", path);
    assert_string_equal(err.text, expected);
}

static void a_file_of_h5py_is_a_golden(void **state) {
    (void)state;
    mp_golden *golden;
    mp_golden_difference diff[MP_TENSOR_COUNT];
    mp_inputs inputs;
    const mp_case c = case_with_seed(0);
    recorded = planned_trace(21);
    OK(mp_inputs_create(&c, &inputs, &err));
    write_like_h5py(&recorded, &inputs);
    mp_inputs_destroy(&inputs);
    expect("");
    OK(mp_golden_open(path, &golden, &err));
    assert_string_equal(mp_golden_provenance(golden)->device, "Gerät");
    assert_int_equal(mp_golden_fill_version(golden), MP_FILL_VERSION);
    const mp_golden_entry *entry = mp_golden_find(golden, CASE);
    assert_string_equal(entry->contract, "FLOAT64");
    assert_int_equal(entry->block_size_m, 16);
    /* it knows no digest of its contract: the sentence decides */
    assert_false(entry->has_contract_digest || mp_golden_same_contract(entry, any_contract()));
    for (size_t i = 0; i < 2; i++)
        assert_string_equal(mp_golden_at(golden, i)->name, i == 0 ? CASE : CASE " seed=1");
    mp_golden_close(golden);
    for (int64_t seed = 0; seed < 2; seed++) {
        assert_int_equal(compare(seed, &recorded, diff), RECORDED);
        for (int t = 0; t < RECORDED; t++) assert_true(diff[t].stored && diff[t].differing_rows == 0);
    }
    ((uint16_t *)recorded.t[MP_CACHE3].data)[25] ^= 1;
    compare(1, &recorded, diff);
    assert_int_equal(diff[OF_CACHE3].differing, 1);
    assert_int_equal(strncmp(diff[OF_CACHE3].first, "[1,0,5]: ", 9), 0);
}

/* Contiguous tensors are read in pieces: of many rows, of single rows, and at once where there is one row. */
static void contiguous_tensors_are_read_to_their_end(void **state) {
    (void)state;
    const int64_t shapes[][3] = {{300000, 1, 1}, {900, 700, 1}, {3, 600000, 1}, {5, 3, 100000}};
    const int ranks[] = {1, 2, 2, 3};
    for (int s = 0; s < 4; s++) {
        mp_golden_difference diff[MP_TENSOR_COUNT];
        mp_trace trace = {.block_size_m = 16};
        mp_tensor *t = &trace.t[MP_OUT];
        *t = random_tensor(MP_FP32, ranks[s], shapes[s][0], shapes[s][1], shapes[s][2]);
        write_like_h5py(&trace, &(mp_inputs){0});
        assert_int_equal(compare(0, &trace, diff), 1);
        assert_int_equal(diff[0].differing_rows, 0);
        const int64_t count = mp_tensor_count(t), length = mp_tensor_row_length(t);
        for (int64_t i = 0; i < count; i += length)
            ((uint32_t *)t->data)[i + (i / length * 977 + length - 1) % length] ^= 1;
        compare(0, &trace, diff);
        assert_int_equal(diff[0].differing_rows, count / length);
        assert_int_equal(diff[0].differing, count / length);
        free_trace(&trace);
    }
}

#define STRANGE(function) cmocka_unit_test_setup_teardown(function, enter, leave_and_free)

int main(void) {
#ifndef __SANITIZE_ADDRESS__
    /* Memory that is only claimed would have to be more than this. */
    setrlimit(RLIMIT_AS, &(struct rlimit){(rlim_t)2 << 30, (rlim_t)2 << 30});
#endif
    const struct CMUnitTest tests[] = {
        STRANGE(claimed_shapes_are_compared_with_the_case),
        STRANGE(a_comparison_reads_no_claimed_shape),
        STRANGE(numbers_that_are_only_claimed_are_refused),
        STRANGE(dense_and_roomy_chunks_are_read),
        STRANGE(no_link_is_followed),
        STRANGE(numbers_in_other_files_are_refused),
        STRANGE(other_filters_are_refused),
        STRANGE(other_digests_are_refused),
        STRANGE(every_attribute_is_checked),
        STRANGE(texts_of_variable_length_are_refused),
        STRANGE(provenance_is_safe_to_print),
        STRANGE(only_names_of_cases_are_taken),
        STRANGE(only_readable_files_are_opened),
        STRANGE(a_file_of_h5py_is_a_golden),
        STRANGE(contiguous_tensors_are_read_to_their_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
