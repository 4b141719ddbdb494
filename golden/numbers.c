/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of a stored tensor: itself, the digests of its rows or the tree over them, and which rows
 * count. */
#include "golden/store.h"

#include <stdio.h>
#include <stdlib.h>

#define PIECE_BYTES ((size_t)1 << 20)

mp_status mp_stored_load(const mp_stored *stored, mp_tensor *t, mp_error *err) {
    *t = stored->shape;
    mp_status status = mp_tensor_alloc(t, MP_POISON_A, err);
    if (status != MP_OK) return status;
    hid_t type = mp_h5_type(t->dtype);
    if (type < 0 || H5Dread(stored->dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, t->data) < 0)
        status = mp_h5_fail(err, MP_EINPUT, "cannot read the stored numbers");
    if (type >= 0) H5Tclose(type);
    return status;
}

/* Reads along the first axis, as many entries at a time as a chunk has: each chunk is decompressed once.
 * Without chunks the pieces are of PIECE_BYTES. */
mp_status mp_stored_read(const mp_stored *stored, mp_stored_visit *visit, void *ctx, mp_error *err) {
    mp_status status = MP_EINPUT;
    char *buffer = NULL;
    const mp_tensor *t = &stored->shape;
    if (mp_tensor_count(t) == 0) return MP_OK; /* of a batch of no tokens */
    hid_t type = mp_h5_type(t->dtype), space = H5Dget_space(stored->dataset);
    const int64_t rows_of_entry = t->rank == 1 ? 0 : mp_tensor_rows(t) / t->dim[0];
    const mp_tensor layout = mp_h5_layout(t);
    const size_t entry_bytes = mp_tensor_bytes(t) / (size_t)layout.dim[0];
    int64_t step = stored->chunk_entries > 0 ? stored->chunk_entries : (int64_t)(PIECE_BYTES / entry_bytes);
    if (step < 1) step = 1;
    if (step > layout.dim[0] || t->rank == 1) step = layout.dim[0]; /* of rank 1: one row */
    if (type < 0 || space < 0) {
        mp_h5_fail(err, status, "cannot read the layout");
        goto out;
    }
    if ((buffer = malloc((size_t)step * entry_bytes)) == NULL) {
        status = mp_fail(err, MP_EMEMORY, "no memory for %zu bytes of the stored tensor",
                         (size_t)step * entry_bytes);
        goto out;
    }
    for (int64_t first = 0; first < layout.dim[0]; first += step) {
        int64_t entries = layout.dim[0] - first < step ? layout.dim[0] - first : step;
        hsize_t start[MP_MAX_RANK] = {(hsize_t)first, 0, 0};
        hsize_t extent[MP_MAX_RANK] = {(hsize_t)entries, (hsize_t)layout.dim[1], (hsize_t)layout.dim[2]};
        hid_t memory = H5Screate_simple(t->rank, extent, NULL);
        bool read = memory >= 0 &&
                    H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, extent, NULL) >= 0 &&
                    H5Dread(stored->dataset, type, memory, space, H5P_DEFAULT, buffer) >= 0;
        if (!read) mp_h5_fail(err, status, "cannot read the stored numbers");
        if (memory >= 0) H5Sclose(memory);
        if (!read) goto out;
        if (visit) visit(ctx, first * rows_of_entry, t->rank == 1 ? 1 : entries * rows_of_entry, buffer);
    }
    status = MP_OK;
out:
    free(buffer);
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    return status;
}

mp_status mp_stored_digests(const mp_stored *stored, uint64_t **digests, mp_error *err) {
    int64_t rows = mp_tensor_rows(&stored->shape);
    if ((*digests = malloc((size_t)rows * sizeof **digests)) == NULL)
        return mp_fail(err, MP_EMEMORY, "no memory for %lld row digests", (long long)rows);
    if (H5Dread(stored->dataset, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, *digests) < 0)
        return mp_h5_fail(err, MP_EINPUT, "cannot read the stored digests");
    return MP_OK;
}

mp_status mp_stored_tree(const mp_stored *stored, mp_tree *tree, mp_error *err) {
    *tree = stored->tree;
    const mp_status status = mp_tree_start(tree, err);
    if (status != MP_OK) return status;
    if (H5Dread(stored->dataset, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, tree->node) < 0)
        return mp_h5_fail(err, MP_EINPUT, "cannot read the stored tree");
    for (int64_t i = 0; i < tree->groups * tree->words; i++)
        if (tree->node[i] >= MP_TREE_P)
            return mp_fail(err, MP_EINPUT,
                           "word %lld of the stored tree is %llu; expected less than 2^61 - 1", (long long)i,
                           (unsigned long long)tree->node[i]);
    return MP_OK;
}

/* A byte for eight rows. */
static mp_status check_bits(hid_t dataset, int64_t bytes, mp_error *err) {
    const mp_tensor bits = mp_tensor_shape(MP_U8, 1, bytes, 1, 1);
    int64_t chunk;
    const hid_t space = H5Dget_space(dataset), type = H5Dget_type(dataset);
    const bool known = type >= 0 && H5Tequal(type, H5T_STD_U8LE) > 0,
               right = known && space >= 0 && H5Sget_simple_extent_ndims(space) == 1 &&
                       H5Sget_simple_extent_npoints(space) == bytes;
    if (type >= 0) H5Tclose(type);
    if (space >= 0) H5Sclose(space);
    return right ? mp_stored_check(dataset, &bits, &chunk, err)
                 : mp_h5_fail(err, MP_EINPUT, "expected %lld bytes of uint8 in one axis", (long long)bytes);
}

mp_status mp_stored_left_out(hid_t group, const char *name, const mp_stored *stored, uint8_t **left_out,
                             mp_error *err) {
    const int64_t bytes = (mp_tensor_rows(&stored->shape) + 7) / 8;
    char dataset_name[64];
    bool found = false;
    *left_out = NULL;
    snprintf(dataset_name, sizeof dataset_name, "%s" MP_LEFT_OUT_SUFFIX, name);
    mp_status status = mp_h5_find(group, dataset_name, &found, err);
    if (status != MP_OK || !found) return status;
    const hid_t dataset = H5Dopen2(group, dataset_name, H5P_DEFAULT);
    status = dataset >= 0 ? check_bits(dataset, bytes, err)
                          : mp_h5_fail(err, MP_EINPUT, "cannot open the dataset");
    if (status == MP_OK && !(*left_out = malloc((size_t)bytes + 1)))
        status = mp_fail(err, MP_EMEMORY, "no memory for %lld bytes", (long long)bytes);
    if (status == MP_OK && H5Dread(dataset, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, *left_out) < 0)
        status = mp_h5_fail(err, MP_EINPUT, "cannot read the marked rows");
    if (dataset >= 0) H5Dclose(dataset);
    if (status != MP_OK) {
        free(*left_out);
        *left_out = NULL;
        mp_error_prefix(err, "%s", dataset_name);
    }
    return status;
}
