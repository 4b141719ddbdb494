/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity judge on files that others have made: hostile safetensors, what is no file of tensors, HDF5 as
 * other programs write it, and with any byte wrong. */
#include "tests/cli_file_support.h"

#include <hdf5.h>
#include <math.h>
#include <stdbool.h>

static void refuse(const char *path, const char *why) {
    char command[256];
    snprintf(command, sizeof command, "timeout 60 moeparity judge %s", path);
    expect(command, 2, "", why);
    snprintf(command, sizeof command, "timeout 60 moeparity judge r.safetensors %s", path); /* nothing runs */
    expect(command, 2, "", why);
}

#define F32(name, shape, begin, end) \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static void hostile_safetensors(void **state) {
    (void)state;
    static const struct {
        const char *header, *why;
        uint64_t told;
        size_t bytes;
    } files[] = {
        {"{" F32("x", "[2,4]", "0", "32") "," F32("out", "[2,4]", "16", "48") "}",
         "out begins at byte 16 of the data, where the tensor before it ends at 32", 0, 48},
        {"{" F32("x", "[2,4]", "0", "32") "," F32("out", "[2,4]", "40", "72") "}",
         "out begins at byte 40 of the data, where the tensor before it ends at 32", 0, 72},
        {"{" F32("out", "[2,4]", "8", "40") "}", "out begins at byte 8 of the data, where they begin at 0", 0,
         40},
        {"{" F32("out", "[2,4]", "0", "32") "}", "the tensors end at byte 32 of the data, which has 33", 0,
         33},
        {"{" F32("out", "[2,4]", "0", "32") "}", "out: data_offsets: expected two numbers from 0 to 31", 0,
         31},
        {"{" F32("out", "[2,4]", "32", "0") "}", "out: data_offsets: expected two numbers from 0 to 32", 0,
         32},
        {"{" F32("out", "[2,4]", "-1", "31") "}", "out: data_offsets: expected two numbers", 0, 32},
        {"{" F32("out", "[2,5]", "0", "32") "}", "out: data_offsets hold 32 bytes; its shape takes 40", 0,
         32},
        {"{" F32("out", "[2,0]", "0", "0") "}", "K=0: expected an integer from 1", 0, 0},
        {"{" F32("out", "[-2,-4]", "0", "32") "}", "out: axis 0 has -2 elements", 0, 32},
        {"{" F32("out", "[1099511627776,1099511627776]", "0", "32") "}", "at most 2^48 in all", 0, 32},
        {"{" F32("out", "[]", "0", "4") "}", "out: 0 axes; expected 1 to 3", 0, 4},
        {"{" F32("out", "[1,1,1,1]", "0", "4") "}", "out: 4 axes; expected 1 to 3", 0, 4},
        {"{" F32("x", "[1,1]", "0", "4") "," F32("x", "[1,1]", "0", "4") "}",
         "its header is no JSON: duplicate object key", 0, 4},
        {"{\"out\":{\"dtype\":\"F4\",\"shape\":[1,1],\"data_offsets\":[0,1]}}",
         "out: dtype 'F4': expected BF16, F16, F32, F64, F8_E4M3, F8_E5M2, F8_E8M0 or integers", 0, 1},
        {"{\"out\":{\"dtype\":\"F8_E8M0\",\"shape\":[1,1],\"data_offsets\":[0,1]}}",
         "out: ue8m0; expected floats", 0, 1},
        {"{\"out\":7}", "out: data_offsets: expected two numbers", 0, 0},
        {"{\"out\":", "its header is no JSON", 0, 0},
        {"{\"__metadata__\":{\"case\":7}}", "__metadata__: case: expected a text", 0, 0},
        {"{\"__metadata__\":{\"case\":\"M=many\"}," F32("out", "[2,4]", "0", "32") "}", "M=many: expected", 0,
         32},
        {"{\"__metadata__\":{\"contract\":\"sm_91\"}," F32("cache3", "[1,1,4]", "0",
                                                           "16") "," F32("out", "[1,4]", "16", "32") "}",
         "unknown contract 'sm_91'", 0, 32},
        {"{}", "a header of 1152921504606846976 bytes in a file of", UINT64_C(1) << 60, 0},
        {"{}", "a header of 1000 bytes in a file of", 1000, 0},
        {"{}", "holds no tensor that a stage of the case leaves", 0, 0},
        {"{" F32("topk_ids", "[2,4]", "0", "32") "}", "topk_ids: fp32; expected integers", 0, 32},
        {"{\"out\":{\"dtype\":\"I32\",\"shape\":[1,1],\"data_offsets\":[0,4]}}",
         "out: int32; expected floats", 0, 4},
        {"{\"topk_weights\":{\"dtype\":\"F64\",\"shape\":[1,1],\"data_offsets\":[0,8]}}",
         "topk_weights: fp64; expected fp32, or a shorter format", 0, 8},
        {"{" F32("x", "[2,4]", "0",
                 "32") ",\"out\":{\"dtype\":\"F16\",\"shape\":[2,4],\"data_offsets\":[32,48]}}",
         "x is fp32, and out is fp16", 0, 48},
        {"{" F32("x", "[2,4]", "0", "32") "," F32("out", "[3,4]", "32", "80") "}",
         "x [2,4] has M=2, and out [3,4] has M=3", 0, 80},
        {"{" F32("w1", "[1,3,2]", "0", "24") "," F32("cache2", "[1,1]", "24", "28") "}",
         "w1 [1,3,2]: gate and up are 3 columns, an odd number", 0, 28},
        {"{" F32("x", "[2,4]", "0", "32") "," F32("cache1", "[3,2]", "32", "56") "}",
         "cache1 [3,2]: 3 rows; expected M*topk, where x [2,4] has M=2", 0, 56},
    };
    expect(EXPORT "--outputs --out r.safetensors", 0, "", "");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        write_safetensors("h.safetensors", files[i].header, files[i].told, files[i].bytes);
        refuse("h.safetensors", files[i].why);
    }
    expect("head -c 2000 r.safetensors > h.safetensors", 0, "", "");
    refuse("h.safetensors", "h.safetensors: ");
    expect("head -c 5 r.safetensors > h.safetensors", 0, "", "");
    refuse("h.safetensors", "a file of 5 bytes; expected HDF5 or safetensors");
    expect("moeparity export --case 'M=2 E=4 topk=2 K=8 N=4 ep_size=2 expert_map=linear' --outputs --out "
           "m.safetensors",
           0, "", "");
    const int32_t nobody = 8, too_far = 4;
    plant("m.safetensors", "h.safetensors", "topk_ids", 3, 4, &nobody);
    refuse("h.safetensors", "topk_ids of token 1, slot 1 is 8: expected -1 or 0..7 (expert_map)");
    plant("m.safetensors", "h.safetensors", "expert_map", 5, 4, &too_far);
    refuse("h.safetensors", "expert_map of expert 5 is 4: expected -1 (not on this rank) or 0..3");
    const int32_t far = 4, before = -2;
    plant("r.safetensors", "h.safetensors", "topk_ids", 3, 4, &far);
    refuse("h.safetensors", "topk_ids of token 1, slot 1 is 4: expected -1 (not on this rank) or 0..3");
    plant("r.safetensors", "h.safetensors", "topk_ids", 0, 4, &before);
    refuse("h.safetensors", "topk_ids of token 0, slot 0 is -2");
    const float nan = NAN;
    plant("r.safetensors", "h.safetensors", "topk_weights", 5, 4, &nan);
    refuse("h.safetensors", "topk_weights of token 2, slot 1 is nan: expected a finite number");
}

static void files_that_are_none(void **state) {
    (void)state;
    expect(EXPORT "--outputs --out r.safetensors", 0, "", "");
    expect(EXPORT "--out i.npz", 0, "", "");
    refuse("none.h5", "none.h5: No such file or directory; expected a file of tensors");
    refuse("bin", "bin: a directory; expected");
    expect("mkfifo pipe", 0, "", "");
    refuse("pipe", "pipe: a FIFO; expected");
    refuse("/dev/null", "/dev/null: a device; expected");
    refuse("junk.h5", "junk.h5: a file of 7 bytes");
    refuse("ok.yaml", "ok.yaml: neither HDF5 nor safetensors");
    refuse("i.npz", "i.npz: a zip archive; expected HDF5 or safetensors");
    expect("moeparity golden record g.h5 --case M=2 -q", 0, "", "");
    refuse("g.h5", "g.h5: a golden file: moeparity golden verify compares with it");
    expect("moeparity judge", 2, "", "moeparity: judge takes files of tensors, not 0");
    expect("moeparity judge r.safetensors --subject host", 2, "", "judge takes no --subject");
    expect("moeparity judge r.safetensors --contract nope", 2, "", "unknown contract 'nope'");
    expect("moeparity judge r.safetensors --contract 'sm_90 act.ulps=many'", 2, "", "act.ulps=many");
    expect("moeparity judge r.safetensors --contract 'sm_90 act.input=float32'", 2, "",
           "r.safetensors holds cache1, and act.input=float32 says that what act reads is not stored");
    expect("moeparity judge r.safetensors --json r.safetensors", 2, "", "would be overwritten");
    expect("moeparity run --case 'M=2 data=codes'", 2, "", "name their scheme, quant=...");
    expect("moeparity run --case 'M=2 data=file'", 2, "", "moeparity judge FILE");
}

/* ---- HDF5 as others write it ---- */

typedef struct h5_tensor {
    const char *name;
    hid_t type;
    int rank;
    hsize_t dim[4];
    const void *data;
    const char *dtype; /* attribute, or NULL */
} h5_tensor;

static void write_text_attribute(hid_t object, const char *name, const char *text) {
    const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(type, H5T_VARIABLE); /* as h5py does */
    const hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Awrite(attribute, type, &text) >= 0);
    H5Aclose(attribute);
    H5Sclose(space);
    H5Tclose(type);
}

static void write_h5(const char *path, const char *case_text, const h5_tensor *t, size_t count,
                     bool chunked) {
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(file >= 0);
    if (case_text) write_text_attribute(file, "case", case_text);
    for (size_t i = 0; i < count; i++) {
        const hid_t space = t[i].rank ? H5Screate_simple(t[i].rank, t[i].dim, NULL) : H5Screate(H5S_SCALAR),
                    creation = H5Pcreate(H5P_DATASET_CREATE);
        if (chunked && t[i].rank) {
            H5Pset_chunk(creation, t[i].rank, (hsize_t[]){1, 2, 1, 1});
            H5Pset_shuffle(creation);
            H5Pset_deflate(creation, 4);
        }
        const hid_t set = H5Dcreate2(file, t[i].name, t[i].type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
        assert_true(set >= 0);
        if (t[i].data) assert_true(H5Dwrite(set, t[i].type, H5S_ALL, H5S_ALL, H5P_DEFAULT, t[i].data) >= 0);
        if (t[i].dtype) write_text_attribute(set, "dtype", t[i].dtype);
        H5Dclose(set);
        H5Pclose(creation);
        H5Sclose(space);
    }
    H5Fclose(file);
}

static void hdf5_of_others(void **state) {
    (void)state;
    /* combine of two tokens: bf16 1, 2, 3, 4 and their sums; -1 leaves a slot out */
    static const uint16_t cache3[2][2][2] = {{{0x3F80, 0x4000}, {0x4040, 0x4080}},
                                             {{0x3F80, 0x3F80}, {0x7FC0, 0x7FC0}}};
    static const uint16_t right[2][2] = {{0x4080, 0x40C0}, {0x3F80, 0x3F80}},
                          wrong[2][2] = {{0x4080, 0x40C0}, {0x3F80, 0x4000}};
    static const int64_t ids[2][2] = {{0, 1}, {1, -1}}, far[2][2] = {{0, 1}, {INT64_C(1) << 40, 0}};
    static const int8_t small_ids[2][2] = {{0, 1}, {1, -1}};
    static const float floats[2][2] = {{4, 6}, {1, 1}};
    h5_tensor t[] = {{"cache3", H5T_STD_U16LE, 3, {2, 2, 2}, cache3, "bf16"},
                     {"out", H5T_STD_U16LE, 2, {2, 2}, right, "bf16"},
                     {"topk_ids", H5T_STD_I64LE, 2, {2, 2}, ids, NULL},
                     {"notes", H5T_NATIVE_FLOAT, 2, {2, 2}, floats, NULL}};
    expect(EXPORT "--outputs --out r.safetensors", 0, "", "");
    for (int chunked = 0; chunked < 2; chunked++) {
        write_h5("k.h5", "act=silu", t, 4, chunked);
        expect("moeparity judge k.h5", 0, "judged: combine; not judged: gate_up..down", "");
        assert_non_null(strstr(out, "passed over in the file: notes"));
    }
    t[2] = (h5_tensor){"topk_ids", H5T_STD_I8LE, 2, {2, 2}, small_ids, NULL};
    write_h5("k.h5", NULL, t, 3, false);
    expect("moeparity judge k.h5", 0, "1 passed", "");
    t[1].data = wrong;
    write_h5("k.h5", NULL, t, 3, false);
    expect("moeparity judge k.h5", 1, "combine: token 1 column 1: 2 instead of 1", "");
    t[1].data = right;
    t[2] = (h5_tensor){"topk_ids", H5T_STD_I64LE, 2, {2, 2}, far, NULL};
    write_h5("k.h5", NULL, t, 3, false);
    refuse("k.h5", "topk_ids: element 2 is 1099511627776; expected a number that fits into int32");
    t[2] = (h5_tensor){"topk_ids", H5T_NATIVE_FLOAT, 2, {2, 2}, floats, NULL};
    write_h5("k.h5", NULL, t, 3, false);
    refuse("k.h5", "topk_ids: fp32; expected integers");
    t[2] = (h5_tensor){"topk_ids", H5T_STD_I32LE, 2, {2, 3}, NULL, NULL};
    write_h5("k.h5", NULL, t, 3, false);
    refuse("k.h5", "topk_ids"); /* nothing was written */
    static const int32_t wide[2][3] = {{0}};
    t[2].data = wide;
    write_h5("k.h5", NULL, t, 3, false);
    refuse("k.h5", "topk_ids [2,3] has topk=3, and cache3 [2,2,2] has topk=2");
    t[1] = (h5_tensor){"out", H5T_STD_U16LE, 2, {2, 2}, right, NULL};
    write_h5("k.h5", NULL, t, 2, false);
    refuse("k.h5", "out: int32; expected floats");
    t[1].dtype = "bf17";
    write_h5("k.h5", NULL, t, 2, false);
    refuse("k.h5", "out: dtype 'bf17' in unsigned integers of 2 bytes: expected bf16");
    t[1].dtype = "fp32";
    write_h5("k.h5", NULL, t, 2, false);
    refuse("k.h5", "out: dtype 'fp32' in unsigned integers of 2 bytes");
    t[1] = (h5_tensor){"out", H5T_IEEE_F32BE, 2, {2, 2}, floats, NULL};
    write_h5("k.h5", NULL, t, 2, false);
    refuse("k.h5", "out: elements of 4 bytes that are no float16, float32");
    t[1] = (h5_tensor){"out", H5T_NATIVE_FLOAT, 4, {1, 1, 2, 2}, floats, NULL};
    write_h5("k.h5", NULL, t, 2, false);
    refuse("k.h5", "out: 4 axes; expected 1 to 3");
    t[1] = (h5_tensor){"out", H5T_NATIVE_FLOAT, 0, {0}, floats, NULL};
    write_h5("k.h5", NULL, t, 2, false);
    refuse("k.h5", "out: 0 axes");
    t[1] = (h5_tensor){"out", H5T_STD_U16LE, 2, {1 << 20, 1 << 20}, NULL, "bf16"};
    write_h5("k.h5", NULL, t, 2, false);
    refuse("k.h5", "out: 0 bytes are stored in a file of");
    t[1] = (h5_tensor){"out", H5T_STD_U16LE, 2, {2, 2}, right, "bf16"};
    char long_text[2000];
    memset(long_text, 'M', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    write_h5("k.h5", long_text, t, 2, false);
    refuse("k.h5", "attribute 'case' has 1999 bytes; expected at most 1023");
    const hid_t file = H5Fcreate("k.h5", H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_external("other.h5", "/out", file, "out", H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(file);
    refuse("k.h5", "'out' is an external link");
    write_h5("whole.h5", NULL, t, 2, false);
    expect("head -c 1000 whole.h5 > k.h5", 0, "", "");
    refuse("k.h5", "k.h5: truncated or corrupted HDF5 file");
}

/* A byte of the file, one after the other: an error with its code, a verdict, never anything else. */
static void any_byte_may_be_wrong(void **state) {
    (void)state;
    expect("moeparity export --case 'M=1 E=1 topk=1 N=4 scope=act' --outputs --out b.h5", 0, "", "");
    FILE *file = fopen("b.h5", "r");
    static char bytes[1 << 16];
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    for (size_t i = 0; i < size; i += 61) {
        const char right = bytes[i];
        bytes[i] = (char)~right;
        file = fopen("k.h5", "w");
        fwrite(bytes, 1, size, file);
        fclose(file);
        bytes[i] = right;
        const int code = sh("timeout 60 moeparity judge k.h5 --timeout 20");
        const bool told = code == 0 || code == 1 || strstr(err, "moeparity: k.h5");
        if ((code != 0 && code != 1 && code != 2) || !told) fail_msg("byte %zu: exit %d\n%s", i, code, err);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_safetensors),
        cmocka_unit_test(files_that_are_none),
        cmocka_unit_test(hdf5_of_others),
        cmocka_unit_test(any_byte_may_be_wrong),
    };
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
