/* SPDX-License-Identifier: Apache-2.0 */
/* Goldens as a program in Python would write them with h5py, made by the C library. */
#ifndef MP_TESTS_GOLDEN_H5PY_H
#define MP_TESTS_GOLDEN_H5PY_H

#include "golden/h5.h"
#include "tests/golden_support.h"

/* As `attrs[name] = numpy.bytes_("text")` does: of fixed length, without a NUL at its end. */
static inline void numpy_bytes(hid_t object, const char *name, const char *text) {
    const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    assert_true(H5Tset_size(type, text[0] ? strlen(text) : 1) >= 0 &&
                H5Tset_strpad(type, H5T_STR_NULLPAD) >= 0);
    const hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Awrite(attribute, type, text) >= 0);
    H5Aclose(attribute);
    H5Sclose(space);
    H5Tclose(type);
}

static inline void small_integer(hid_t object, const char *name, hid_t type, int value) {
    const hid_t space = H5Screate(H5S_SCALAR),
                attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Awrite(attribute, H5T_NATIVE_INT, &value) >= 0);
    H5Aclose(attribute);
    H5Sclose(space);
}

/* What `file[name] = array` makes: contiguous, in the oldest format, in no order but that of the names. */
static inline void write_like_h5py(const mp_trace *trace, const mp_inputs *inputs) {
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    static const char *const texts[][2] = {
        {"format", "moeparity golden"}, {"version", "3.9"},           {"commit", ""},
        {"subject", "numpy"},           {"device", "Gerät"},          {"versions", "h5py 3.9"},
        {"date", "2026-01-02"},         {"origin", "another program"}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) numpy_bytes(file, texts[i][0], texts[i][1]);
    small_integer(file, "format_version", H5T_STD_I32LE, 1);
    small_integer(file, "fill_version", H5T_STD_U8LE, MP_FILL_VERSION);
    for (int64_t seed = 1; seed >= 0; seed--) {
        char name[MP_CASE_TEXT_MAX];
        const mp_case c = case_with_seed(seed);
        mp_case_text(&c, name, sizeof name);
        const hid_t group = H5Gcreate2(file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                    sub = H5Gcreate2(group, "inputs", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        numpy_bytes(group, "contract", "FLOAT64");
        numpy_bytes(group, "config", "");
        small_integer(group, "block_size_m", H5T_STD_I64BE, 16);
        for (int i = 0; i < MP_TENSOR_COUNT + MP_TENSOR_COUNT; i++) {
            const mp_tensor *t = i < MP_TENSOR_COUNT ? &trace->t[i] : &inputs->t[i - MP_TENSOR_COUNT];
            if (t->data == NULL) continue;
            const hsize_t dims[3] = {(hsize_t)t->dim[0], (hsize_t)t->dim[1], (hsize_t)t->dim[2]};
            const hid_t type = mp_h5_type(t->dtype), space = H5Screate_simple(t->rank, dims, NULL),
                        set = i < MP_TENSOR_COUNT
                                  ? H5Dcreate2(group, mp_tensor_name((mp_tensor_id)i), type, space,
                                               H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT)
                                  : H5Dcreate2(sub, mp_tensor_name((mp_tensor_id)(i - MP_TENSOR_COUNT)), type,
                                               space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
            assert_true(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, t->data) >= 0);
            H5Dclose(set);
            H5Sclose(space);
            H5Tclose(type);
        }
        H5Gclose(sub);
        H5Gclose(group);
    }
    H5Fclose(file);
}

#endif
