/* SPDX-License-Identifier: Apache-2.0 */
#include "golden/put.h"

#include "golden/store.h"

#include <inttypes.h>
#include <stdio.h>

/* Chunks of about 1 MiB: whole rows, or part of one when a row alone is larger. One chunk is the unit of
 * compression, of the checksum and of reading. */
static void chunk_shape(const mp_tensor *t, hsize_t chunk[MP_MAX_RANK]) {
    int64_t room = ((int64_t)1 << 20) / (int64_t)mp_dtype_size(t->dtype);
    for (int axis = t->rank - 1; axis >= 0; axis--) {
        int64_t extent = t->dim[axis] < room ? t->dim[axis] : room;
        if (extent == 0) extent = 1; /* of a batch of no tokens */
        chunk[axis] = (hsize_t)extent;
        room = room / extent > 0 ? room / extent : 1;
    }
}

static mp_status create_dataset(hid_t group, const char *name, const mp_tensor *t, hid_t type, hid_t *dataset,
                                mp_error *err) {
    mp_status status = MP_EIO;
    hsize_t dims[MP_MAX_RANK], chunk[MP_MAX_RANK];
    const mp_tensor layout = mp_h5_layout(t);
    for (int axis = 0; axis < t->rank; axis++) dims[axis] = (hsize_t)layout.dim[axis];
    chunk_shape(&layout, chunk);

    *dataset = H5I_INVALID_HID;
    hid_t space = H5Screate_simple(t->rank, dims, NULL), creation = H5Pcreate(H5P_DATASET_CREATE);
    if (type < 0 || space < 0 || creation < 0 || H5Pset_chunk(creation, t->rank, chunk) < 0 ||
        H5Pset_shuffle(creation) < 0 || H5Pset_deflate(creation, 6) < 0 || H5Pset_fletcher32(creation) < 0 ||
        H5Pset_obj_track_times(creation, false) < 0 ||
        (*dataset = H5Dcreate2(group, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT)) < 0 ||
        H5Dwrite(*dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, t->data) < 0) {
        mp_h5_fail(err, status, "cannot write %s", name);
        goto out;
    }
    status = MP_OK;
out:
    if (creation >= 0) H5Pclose(creation);
    if (space >= 0) H5Sclose(space);
    return status;
}

/* A chunk may wait in HDF5's cache: only closing says whether it could be written. */
static mp_status close_dataset(hid_t dataset, const char *name, mp_status status, mp_error *err) {
    if (dataset >= 0 && H5Dclose(dataset) < 0 && status == MP_OK)
        return mp_h5_fail(err, MP_EIO, "cannot write %s", name);
    return status;
}

static mp_status put_root(hid_t dataset, const uint64_t *root, mp_error *err) {
    return root ? mp_put_hex(dataset, MP_ROOT, *root, err) : MP_OK;
}

mp_status mp_put_group(hid_t parent, const char *name, hid_t *group, mp_error *err) {
    hid_t creation = H5Pcreate(H5P_GROUP_CREATE);
    *group = H5I_INVALID_HID;
    if (creation >= 0 && H5Pset_obj_track_times(creation, false) >= 0)
        *group = H5Gcreate2(parent, name, H5P_DEFAULT, creation, H5P_DEFAULT);
    mp_status status = *group >= 0 ? MP_OK : mp_h5_fail(err, MP_EIO, "cannot create the group '%s'", name);
    if (creation >= 0) H5Pclose(creation);
    return status;
}

mp_status mp_put_hex(hid_t object, const char *name, uint64_t digest, mp_error *err) {
    char text[32];
    snprintf(text, sizeof text, "%016" PRIx64, digest);
    return mp_h5_write_text(object, name, text, err);
}

mp_status mp_put_full(hid_t group, const char *name, const mp_tensor *t, const uint64_t *root,
                      mp_error *err) {
    hid_t dataset, type = mp_h5_type(t->dtype);
    mp_status status = create_dataset(group, name, t, type, &dataset, err);
    if (status == MP_OK) status = put_root(dataset, root, err);
    status = close_dataset(dataset, name, status, err);
    if (type >= 0) H5Tclose(type);
    return status;
}

/* Words of 64 bits in the place of a tensor, with its shape beside them. */
static mp_status put_words(hid_t group, const char *name, const mp_tensor *shape, const mp_tensor *words,
                           int64_t group_rows, const uint64_t *root, mp_error *err) {
    hid_t dataset;
    mp_status status = create_dataset(group, name, words, H5T_STD_U64LE, &dataset, err);
    if (status == MP_OK) status = mp_h5_write_integers(dataset, "shape", shape->dim, shape->rank, err);
    if (status == MP_OK) status = mp_h5_write_text(dataset, "dtype", mp_dtype_name(shape->dtype), err);
    if (status == MP_OK && group_rows > 0)
        status = mp_h5_write_integers(dataset, MP_GROUP_ROWS, &group_rows, 1, err);
    if (status == MP_OK) status = put_root(dataset, root, err);
    return close_dataset(dataset, name, status, err);
}

mp_status mp_put_digests(hid_t group, const char *name, const mp_tensor *shape, const uint64_t *digests,
                         const uint64_t *root, mp_error *err) {
    char dataset_name[64];
    snprintf(dataset_name, sizeof dataset_name, "%s" MP_DIGEST_SUFFIX, name);
    mp_tensor column = mp_tensor_shape(MP_FP64, 1, mp_tensor_rows(shape), 1, 1); /* 8-byte elements */
    column.data = (void *)digests;
    return put_words(group, dataset_name, shape, &column, 0, root, err);
}

mp_status mp_put_tree(hid_t group, const char *name, const mp_tensor *shape, const mp_tree *tree,
                      const uint64_t *root, mp_error *err) {
    char dataset_name[64];
    snprintf(dataset_name, sizeof dataset_name, "%s" MP_TREE_SUFFIX, name);
    mp_tensor words = mp_tensor_shape(MP_FP64, 2, tree->groups, tree->words, 1);
    words.data = tree->node;
    return put_words(group, dataset_name, shape, &words, tree->group_rows, root, err);
}

mp_status mp_put_left_out(hid_t group, const char *name, int64_t rows, const uint8_t *left_out,
                          mp_error *err) {
    char dataset_name[64];
    hid_t dataset;
    snprintf(dataset_name, sizeof dataset_name, "%s" MP_LEFT_OUT_SUFFIX, name);
    mp_tensor bits = mp_tensor_shape(MP_U8, 1, (rows + 7) / 8, 1, 1);
    bits.data = (void *)left_out;
    const mp_status status = create_dataset(group, dataset_name, &bits, H5T_STD_U8LE, &dataset, err);
    return close_dataset(dataset, dataset_name, status, err);
}
