/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the golden commands do to files behind the program's back. */
#ifndef MP_TESTS_CLI_GOLDEN_SUPPORT_H
#define MP_TESTS_CLI_GOLDEN_SUPPORT_H

#include "tests/cli_support.h"

#include <hdf5.h>

static inline herr_t forget_root(hid_t file, const char *name, const H5O_info_t *info, void *ctx) {
    (void)info;
    (void)ctx;
    if (H5Aexists_by_name(file, name, "root", H5P_DEFAULT) > 0)
        assert_true(H5Adelete_by_name(file, name, "root", H5P_DEFAULT) >= 0);
    return 0;
}

/* As a file of others, or of before there were roots: what it says is believed. */
static inline void forget_roots(const char *path) {
    const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(H5Ovisit(file, H5_INDEX_NAME, H5_ITER_INC, forget_root, NULL) >= 0);
    H5Fclose(file);
}

/* The last element of the output of the golden's first case gets another last bit. */
static inline void change_a_bit(const char *path) {
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
    forget_roots(path);
}

#endif
