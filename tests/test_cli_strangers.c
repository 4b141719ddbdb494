/* SPDX-License-Identifier: Apache-2.0 */
/* Files of strangers, through the program: whatever a golden, a matrix or a tuned file claims, it is refused
 * soon and with its name, or it is read; and what it says never reaches a terminal raw. */
#include "tests/cli_support.h"

#include <hdf5.h>

#define FIRST "M=1 E=2 topk=1 K=16 N=8 act=silu"
/* What is only claimed would take more memory, or more time. A sanitizer's shadow takes terabytes. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SOON "timeout 30 moeparity "
#else
#define SOON "ulimit -v 4000000; timeout 30 moeparity "
#endif

/* ---- goldens ---- */

/* The output of the first case made anew, never written, with the type it had. */
static void claim(hid_t file, int rank, const hsize_t *dims, const hsize_t *chunk) {
    const hsize_t growing[] = {H5S_UNLIMITED, H5S_UNLIMITED};
    const hid_t old = H5Dopen2(file, FIRST "/out", H5P_DEFAULT), type = H5Dget_type(old),
                space = H5Screate_simple(rank, dims, growing), creation = H5Pcreate(H5P_DATASET_CREATE);
    assert_true(H5Pset_chunk(creation, rank, chunk) >= 0 && H5Ldelete(file, FIRST "/out", H5P_DEFAULT) >= 0);
    const hid_t made = H5Dcreate2(file, FIRST "/out", type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    assert_true(made >= 0);
    H5Dclose(made);
    H5Pclose(creation);
    H5Sclose(space);
    H5Tclose(type);
    H5Dclose(old);
}

static void one_axis(hid_t file) {
    claim(file, 1, (hsize_t[]){(hsize_t)1 << 40}, (hsize_t[]){1 << 20});
}

static void large_chunk(hid_t file) {
    claim(file, 2, (hsize_t[]){1, 16}, (hsize_t[]){7, 1 << 28}); /* 3.5 GiB of bf16; libhdf5 takes below 4 */
}

static void other_file(hid_t file) {
    assert_true(H5Ldelete(file, FIRST "/out", H5P_DEFAULT) >= 0);
    assert_true(
        H5Lcreate_external("whole.h5", "/" FIRST "/out", file, FIRST "/out", H5P_DEFAULT, H5P_DEFAULT) >= 0);
}

static void soft_link(hid_t file) {
    assert_true(H5Lmove(file, FIRST "/out", file, FIRST "/elsewhere", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    assert_true(H5Lcreate_soft("/" FIRST "/elsewhere", file, FIRST "/out", H5P_DEFAULT, H5P_DEFAULT) >= 0);
}

static void set_integer(hid_t file, const char *object_name, const char *name, long long value) {
    const hid_t object = H5Oopen(file, object_name, H5P_DEFAULT), space = H5Screate(H5S_SCALAR);
    assert_true(H5Adelete(object, name) >= 0);
    const hid_t made = H5Acreate2(object, name, H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Awrite(made, H5T_NATIVE_LLONG, &value) >= 0);
    H5Aclose(made);
    H5Sclose(space);
    H5Oclose(object);
}

static void other_block(hid_t file) {
    set_integer(file, FIRST, "block_size_m", 128);
}

static void version_of_33_bits(hid_t file) {
    set_integer(file, "/", "fill_version", ((long long)1 << 32) + 1); /* 1 in 32 bits, which is right */
}

static void variable_text(hid_t file) {
    const char *text = "sm_90";
    const hid_t object = H5Oopen(file, FIRST, H5P_DEFAULT), type = H5Tcopy(H5T_C_S1),
                space = H5Screate(H5S_SCALAR);
    assert_true(H5Tset_size(type, H5T_VARIABLE) >= 0 && H5Adelete(object, "contract") >= 0);
    const hid_t made = H5Acreate2(object, "contract", type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Awrite(made, type, &text) >= 0);
    H5Aclose(made);
    H5Sclose(space);
    H5Tclose(type);
    H5Oclose(object);
}

static int record_whole(void **state) {
    if (set_up(state)) return -1;
    expect("moeparity golden record whole.h5 ok.yaml --subject host -q", 0, "recorded 4 cases", "");
    return 0;
}

static hid_t fresh_copy(void) {
    expect("cp whole.h5 strange.h5", 0, "", "");
    const hid_t file = H5Fopen("strange.h5", H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(file >= 0);
    return file;
}

static void claims_of_goldens_are_compared_with_their_cases(void **state) {
    (void)state;
    static const struct {
        void (*forge)(hid_t file);
        const char *because;
    } forged[] = {
        {one_axis, FIRST ": out: stored as bf16[1099511627776]; the case has bf16[1,16]"},
        {large_chunk, FIRST ": out: chunks of 268435456 elements along axis 1; expected no more than"},
        {other_file, FIRST ": 'out' is an external link; only what lies in the file itself is read"},
        {soft_link, FIRST ": 'out' is a soft link; only what lies in the file itself is read"},
        {other_block, FIRST ": sorted_token_ids: stored as int32[1,16]; the case has int32[1,128]"},
        {version_of_33_bits, "attribute 'fill_version' is 4294967297; expected 0 to 2147483647"},
        {variable_text,
         "case '" FIRST "': attribute 'contract' is a text of variable length; expected a fixed "
         "one, as numpy.bytes_(text) has in h5py"},
    };
    static const char *const commands[] = {"golden ls strange.h5", "golden verify strange.h5 --subject host",
                                           "run ok.yaml --subject host --golden strange.h5"};
    for (size_t i = 0; i < sizeof forged / sizeof *forged; i++) {
        const hid_t file = fresh_copy();
        forged[i].forge(file);
        H5Fclose(file);
        for (size_t c = 0; c < sizeof commands / sizeof *commands; c++) {
            char command[256], because[512];
            snprintf(command, sizeof command, SOON "%s", commands[c]);
            snprintf(because, sizeof because, "moeparity: strange.h5: %s", forged[i].because);
            expect(command, 2, "", because);
        }
    }
}

/* Every attribute that is used is missed at opening, for a case that is not even asked for too. */
static void attributes_are_missed_at_opening(void **state) {
    (void)state;
    static const char *const of_root[] = {"format",  "format_version", "fill_version", "version", "commit",
                                          "subject", "device",         "versions",     "date",    "origin"};
    static const char *const of_case[] = {"contract", "config", "block_size_m"};
    const size_t roots = sizeof of_root / sizeof *of_root, all = roots + sizeof of_case / sizeof *of_case;
    for (size_t i = 0; i < all; i++) {
        const char *name = i < roots ? of_root[i] : of_case[i - roots];
        char because[128];
        const hid_t file = fresh_copy(), object = H5Oopen(file, i < roots ? "/" : FIRST, H5P_DEFAULT);
        assert_true(H5Adelete(object, name) >= 0);
        H5Oclose(object);
        H5Fclose(file);
        snprintf(because, sizeof because, "%s: attribute '%s' is missing\n",
                 i < roots ? "" : "case '" FIRST "'", name);
        expect("moeparity golden verify strange.h5 --match M=3 --subject host", 2, "", because);
        assert_non_null(strstr(err, "moeparity: strange.h5: "));
    }
}

/* ---- goldens of another writer ---- */

static herr_t copy_attribute(hid_t from, const char *name, const H5A_info_t *info, void *to) {
    (void)info;
    char data[4096];
    const hid_t old = H5Aopen(from, name, H5P_DEFAULT), type = H5Aget_type(old), space = H5Aget_space(old),
                made = H5Acreate2(*(hid_t *)to, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Tget_size(type) <= sizeof data && H5Aread(old, type, data) >= 0);
    assert_true(H5Awrite(made, type, data) >= 0);
    H5Aclose(made);
    H5Sclose(space);
    H5Tclose(type);
    H5Aclose(old);
    return 0;
}

/* As `file[name] = array` writes: contiguous, no filter, no order but that of the names. */
static herr_t copy_object(hid_t from, const char *name, const H5L_info_t *info, void *to) {
    (void)info;
    static char data[1 << 16];
    const hid_t old = H5Oopen(from, name, H5P_DEFAULT);
    hid_t made;
    if (H5Iget_type(old) == H5I_GROUP) {
        made = H5Gcreate2(*(hid_t *)to, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        assert_true(H5Literate(old, H5_INDEX_NAME, H5_ITER_DEC, NULL, copy_object, &made) >= 0);
    } else {
        const hid_t type = H5Dget_type(old), space = H5Dget_space(old);
        assert_true(H5Dget_storage_size(old) > 0 &&
                    H5Sget_simple_extent_npoints(space) * 8 < (hssize_t)sizeof data);
        made = H5Dcreate2(*(hid_t *)to, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        assert_true(H5Dread(old, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
        assert_true(H5Dwrite(made, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
        H5Sclose(space);
        H5Tclose(type);
    }
    assert_true(H5Aiterate2(old, H5_INDEX_NAME, H5_ITER_INC, NULL, copy_attribute, &made) >= 0);
    H5Oclose(made);
    H5Oclose(old);
    return 0;
}

static void a_plain_file_is_a_golden(void **state) {
    (void)state;
    hid_t from = H5Fopen("whole.h5", H5F_ACC_RDONLY, H5P_DEFAULT),
          to = H5Fcreate("plain.h5", H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Literate(from, H5_INDEX_NAME, H5_ITER_DEC, NULL, copy_object, &to) >= 0);
    assert_true(H5Aiterate2(from, H5_INDEX_NAME, H5_ITER_INC, NULL, copy_attribute, &to) >= 0);
    H5Fclose(to);
    H5Fclose(from);
    expect("moeparity golden verify plain.h5 --subject host", 0, "4 cases: 4 passed", "");
    assert_int_equal(count_of(out, "golden=equal"), 4);
    expect("moeparity golden diff plain.h5 whole.h5", 0, "equal\n", "");
}

/* The same by h5py itself, with texts as numpy has them, and as str. */
static void a_file_of_h5py_is_a_golden(void **state) {
    (void)state;
    if (system("python3 -c 'import h5py' 2> /dev/null") != 0) {
        print_message("skipped: no python3 with h5py\n");
        skip();
    }
    write_file("rewrite.py", "import h5py, numpy, sys\n"
                             "from h5py import h5d, h5s\n"
                             "text = numpy.bytes_ if sys.argv[2] == 'fixed' else bytes.decode\n"
                             "def copy(old, new):\n"
                             "    for k, v in old.attrs.items():\n"
                             "        new.attrs[k] = text(v) if isinstance(v, bytes) else v\n"
                             "    for k, v in getattr(old, 'items', dict)():\n"
                             "        if isinstance(v, h5py.Group):\n"
                             "            copy(v, new.create_group(k))\n"
                             "            continue\n"
                             "        t = v.id.get_type()\n"
                             "        a = numpy.empty(v.shape, f'V{t.get_size()}')\n"
                             "        v.id.read(h5s.ALL, h5s.ALL, a, mtype=t)\n"
                             "        d = h5d.create(new.id, k.encode(), t, h5s.create_simple(v.shape))\n"
                             "        d.write(h5s.ALL, h5s.ALL, a, mtype=t)\n"
                             "copy(h5py.File('whole.h5', 'r'), h5py.File(sys.argv[1], 'w'))\n");
    expect("python3 rewrite.py fixed.h5 fixed && moeparity golden verify fixed.h5 --subject host", 0,
           "4 cases: 4 passed", "");
    assert_int_equal(count_of(out, "golden=equal"), 4);
    expect("python3 rewrite.py str.h5 str && moeparity golden verify str.h5 --subject host", 2, "",
           "is a text of variable length; expected a fixed one, as numpy.bytes_(text) has in h5py");
}

/* ---- matrices and tuned files ---- */

/* Each file is loaded once, however often it is included; no file includes itself; nothing is waited for. */
static void includes(void **state) {
    (void)state;
    for (int i = 0; i < 24; i++) {
        char name[32], text[64];
        snprintf(name, sizeof name, "part%d.yaml", i);
        snprintf(text, sizeof text, "include: [part%d.yaml, ./part%d.yaml]\n", i + 1, i + 1);
        write_file(name, i < 23 ? text : "groups:\n  - name: a\n    axes: {M: [1, 2]}\n");
    }
    expect("timeout 30 moeparity list part0.yaml", 0, "M=1 topk=2 act=silu\nM=2 topk=2 act=silu\n", "");
    assert_int_equal(count_of(out, "\n"), 2);
    write_file("loop.yaml", "include: [./loop.yaml]\n");
    expect("timeout 30 moeparity list loop.yaml", 2, "", "loop.yaml");
    assert_int_equal(mkfifo("fifo.yaml", 0600), 0);
    write_file("waits.yaml", "include: [fifo.yaml]\n");
    expect("timeout 30 moeparity list waits.yaml", 2, "", "fifo.yaml: a FIFO; expected a regular file\n");
    write_file("endless.yaml", "include: [/dev/zero]\n");
    expect("timeout 30 moeparity list endless.yaml", 2, "", "/dev/zero: a device; expected a regular file\n");
    expect("timeout 30 moeparity show --case M=1 --config fifo.yaml", 2, "",
           "fifo.yaml: a FIFO; expected a regular file\n");
    expect("timeout 30 moeparity show --case M=1 --config /dev/zero", 2, "",
           "/dev/zero: a device; expected a regular file\n");
}

/* Whatever it comes from: a tuned file, the name of a file, a word of the command line. */
static void no_text_reaches_the_terminal_raw(void **state) {
    (void)state;
    static const char *const commands[] = {
        "moeparity show --case M=1 --config colour.json",
        "moeparity list \"$(printf '\\033[31m.yaml')\"",
        "moeparity run \"$(printf '\\033[31m.yaml')\" --subject host",
        "moeparity golden ls \"$(printf '\\033[31m.h5')\"",
        "moeparity run --case \"$(printf '\\033[31m=1')\"",
        "moeparity run ok.yaml --match \"$(printf '\\033[31m')\"",
        "moeparity \"$(printf '\\033[31m')\"",
        "moeparity run \"$(printf -- '--\\033[31m')\"",
        "moeparity run ok.yaml --subject \"$(printf '\\033[31m')\"",
        "moeparity show --case M=1 --subject host --triton \"$(printf '\\033[31m')\"",
        "VLLM_TUNED_CONFIG_FOLDER=\"$(printf '\\033[31m')\" moeparity show --case M=1 --subject host",
        "moeparity run ok.yaml --subject host --json \"$(printf 'no/\\033[31m')\"",
    };
    write_file("colour.json", "{\"8\": {\"\\u001b[31m\": 1}}");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        expect(commands[i], 2, "", "\\x1b[31m");
        if (strchr(err, '\x1b') || strchr(out, '\x1b')) fail_msg("%s: raw", commands[i]);
    }
    /* where nothing is wrong either */
    expect("cp ok.yaml \"$(printf '\\033[31m.yaml')\"; cp whole.h5 \"$(printf '\\033[31m.h5')\"; "
           "moeparity run \"$(printf '\\033[31m.yaml')\" --subject host --golden \"$(printf "
           "'\\033[31m.h5')\" -v "
           "--json \"$(printf '\\033[31m.json')\"",
           0, "4 passed", "");
    assert_null(strchr(out, '\x1b'));
    expect("moeparity run \"$(printf '\\033[31m.yaml')\" --subject host --dry-run "
           "--golden \"$(printf '\\033[31m.h5')\"",
           0, "4 cases would run", "");
    assert_null(strchr(out, '\x1b'));
    expect("moeparity golden record \"$(printf '\\033[31mnew.h5')\" ok.yaml --subject host", 0,
           "recorded 4 cases in ", "");
    assert_null(strchr(out, '\x1b'));
    expect("VLLM_TUNED_CONFIG_FOLDER=bin moeparity show --case M=1 --subject host "
           "--device \"$(printf '\\033[31m')\"",
           0, "config ", "");
    assert_null(strchr(out, '\x1b'));
}

/* Who may not read a file is told so, not that it is none. */
static void permission_is_named(void **state) {
    (void)state;
    expect("cp whole.h5 locked.h5; cp ok.yaml locked.yaml; echo '{}' > locked.json; chmod 000 locked.*; "
           "mkdir -p closed "
           "tree/configs/triton_3_6_0; chmod 000 closed tree/configs/triton_3_6_0",
           0, "", "");
    /* root may read anything, so it becomes somebody else, who must be able to come here */
    char prefix[64] = "";
    if (geteuid() == 0) {
        if (system("setpriv --reuid 65534 " MP_PROGRAM " --version > out 2>&1") != 0) {
            print_message("skipped: root reads everything, and setpriv cannot start the program\n");
            skip();
        }
        assert_int_equal(chmod(".", 0755), 0);
        strcpy(prefix, "setpriv --reuid 65534 ");
    }
    static const char *const lines[][2] = {
        {"golden verify locked.h5", "locked.h5: Permission denied; expected a golden file\n"},
        {"run --case M=1 --golden locked.h5", "locked.h5: Permission denied; expected a golden file\n"},
        {"list locked.yaml", "locked.yaml: Permission denied; expected a regular file\n"},
        {"show --case M=1 --config locked.json", "locked.json: Permission denied; expected a regular file\n"},
        {"golden record new.h5 --case M=1 --subject host", "cannot write new.h5 (new.h5.tmp."},
        {"run --case M=1 --subject host --device H200", "closed/E=8,N=256,device_name=NVIDIA_H200.json: "},
        {"run --case M=1 --subject host --device H200", "tree/configs/triton_3_6_0/E=8,N=256,device_name="},
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char command[512];
        if (!prefix[0] && i == 4) continue; /* in one's own folder one may write */
        static const char *const folders[] = {"", "VLLM_TUNED_CONFIG_FOLDER=closed ",
                                              "SGLANG_MOE_CONFIG_DIR=tree "};
        snprintf(command, sizeof command, "%s%s" MP_PROGRAM " %s", folders[i < 5 ? 0 : i - 4], prefix,
                 lines[i][0]);
        expect(command, 2, "", lines[i][1]);
        assert_non_null(strstr(err, "Permission denied"));
    }
    expect("chmod -R 700 closed tree", 0, "", "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claims_of_goldens_are_compared_with_their_cases),
        cmocka_unit_test(attributes_are_missed_at_opening),
        cmocka_unit_test(a_plain_file_is_a_golden),
        cmocka_unit_test(a_file_of_h5py_is_a_golden),
        cmocka_unit_test(includes),
        cmocka_unit_test(no_text_reaches_the_terminal_raw),
        cmocka_unit_test(permission_is_named),
    };
    return cmocka_run_group_tests(tests, record_whole, tear_down);
}
