/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors as they are stored: what lies there, before a number of it is read. Sizes and layouts come from a
 * file, and the file from anybody: nothing is allocated or read by a size that the bytes of the file do not
 * bear out. */
#include "golden/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES ((size_t)1 << 20)
/* deflate makes at most 1032 bytes of one: a match of 258 bytes costs two bits. */
#define MOST_INFLATION 1032

void mp_shape_text(const mp_tensor *t, char text[MP_SHAPE_TEXT_MAX]) {
    int used = snprintf(text, MP_SHAPE_TEXT_MAX, "%s", mp_dtype_name(t->dtype));
    for (int axis = 0; axis < t->rank; axis++)
        used += snprintf(text + used, MP_SHAPE_TEXT_MAX - (size_t)used, "%c%lld", axis == 0 ? '[' : ',',
                         (long long)t->dim[axis]);
    snprintf(text + used, MP_SHAPE_TEXT_MAX - (size_t)used, "]");
}

mp_tensor mp_golden_planned(const mp_golden_entry *entry, mp_tensor_id id) {
    const bool possible = mp_case_possible_outputs(&entry->c) & MP_IN_SET(id);
    return possible ? mp_case_shape(&entry->c, id, entry->block_size_m) : (mp_tensor){0};
}

bool mp_same_shape(const mp_tensor *a, const mp_tensor *b) {
    if (a->dtype != b->dtype || a->rank != b->rank) return false;
    for (int axis = 0; axis < a->rank; axis++)
        if (a->dim[axis] != b->dim[axis]) return false;
    return true;
}

/* Sizes come from a file: they must be positive, and their product far from overflow. */
static mp_status set_shape(mp_stored *stored, mp_dtype dtype, int rank, const int64_t dim[MP_MAX_RANK],
                           mp_error *err) {
    const int64_t most = (int64_t)1 << 48;
    int64_t elements = 1;
    for (int axis = 0; axis < rank; axis++) {
        if (dim[axis] < 0 || dim[axis] > most / elements)
            return mp_fail(err, MP_EINPUT,
                           "axis %d has %lld elements; expected none or more, and at most 2^48 in all", axis,
                           (long long)dim[axis]);
        if (dim[axis] > 0) elements *= dim[axis]; /* the other axes stay small, even beside an empty one */
    }
    if (mp_dtype_is_packed(dtype) && rank > 0 && dim[rank - 1] % 2 != 0)
        return mp_fail(err, MP_EINPUT, "axis %d has %lld elements of %s; expected an even number", rank - 1,
                       (long long)dim[rank - 1], mp_dtype_name(dtype));
    stored->shape = mp_tensor_shape(dtype, rank, dim[0], dim[1], dim[2]);
    return MP_OK;
}

/* Shape and dtype of a tensor stored in full: those of its dataset. */
static mp_status full_shape(mp_stored *stored, mp_error *err) {
    mp_status status = MP_EINPUT;
    hsize_t dims[MP_MAX_RANK] = {1, 1, 1};
    hid_t type = H5Dget_type(stored->dataset), space = H5Dget_space(stored->dataset);
    int rank = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
    mp_dtype dtype;
    if (rank < 1 || rank > MP_MAX_RANK || type < 0 || !mp_h5_dtype(type, &dtype)) {
        mp_h5_fail(err, status,
                   "rank %d or element type unknown; expected rank 1 to %d of a number format of this "
                   "program, little-endian",
                   rank, MP_MAX_RANK);
        goto out;
    }
    H5Sget_simple_extent_dims(space, dims, NULL);
    /* two elements in a byte; a length whose double wraps around is refused as it is */
    if (mp_dtype_is_packed(dtype) && dims[rank - 1] < INT64_MAX / 2) dims[rank - 1] *= 2;
    status = set_shape(stored, dtype, rank, (int64_t[]){(int64_t)dims[0], (int64_t)dims[1], (int64_t)dims[2]},
                       err);
out:
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    return status;
}

/* Two axes of words. */
static mp_status tree_shape(mp_stored *stored, mp_error *err) {
    const int64_t rows = mp_tensor_rows(&stored->shape);
    hsize_t dims[2] = {0, 0};
    int64_t group_rows;
    const mp_status status =
        mp_h5_read_integer(stored->dataset, MP_GROUP_ROWS, 1, MP_MOST_GROUP_ROWS, &group_rows, err);
    if (status != MP_OK) return status;
    const hid_t space = H5Dget_space(stored->dataset), type = H5Dget_type(stored->dataset);
    const bool known = type >= 0 && H5Tequal(type, H5T_STD_U64LE) > 0,
               flat = space >= 0 && H5Sget_simple_extent_ndims(space) == 2;
    if (flat) H5Sget_simple_extent_dims(space, dims, NULL);
    if (type >= 0) H5Tclose(type);
    if (space >= 0) H5Sclose(space);
    stored->tree = (mp_tree){.rows = rows,
                             .group_rows = group_rows,
                             .groups = (rows + group_rows - 1) / group_rows,
                             .words = (int)dims[1]};
    if (known && flat && (int64_t)dims[0] == stored->tree.groups && dims[1] >= 2 &&
        dims[1] <= MP_MOST_TREE_WORDS)
        return MP_OK;
    return mp_h5_fail(
        err, MP_EINPUT,
        "a tree of %llu groups of %llu words%s; expected %lld groups of 2 to %d words of uint64",
        (unsigned long long)dims[0], (unsigned long long)dims[1], known ? "" : " of another type",
        (long long)stored->tree.groups, MP_MOST_TREE_WORDS);
}

/* Shape and dtype of a tensor stored as digests: its attributes. */
static mp_status digest_shape(mp_stored *stored, bool tree, mp_error *err) {
    mp_status status;
    int64_t dim[MP_MAX_RANK] = {1, 1, 1};
    int rank;
    char name[16];
    mp_dtype dtype;
    if ((status = mp_h5_read_integers(stored->dataset, "shape", dim, MP_MAX_RANK, &rank, err)) != MP_OK)
        return status;
    if ((status = mp_h5_read_text(stored->dataset, "dtype", name, sizeof name, err)) != MP_OK) return status;
    if (!mp_dtype_parse(name, &dtype)) return mp_fail(err, MP_EINPUT, "dtype '%s' is unknown", name);
    if ((status = set_shape(stored, dtype, rank, dim, err)) != MP_OK) return status;
    if (tree) return tree_shape(stored, err);
    hid_t space = H5Dget_space(stored->dataset), type = H5Dget_type(stored->dataset);
    hssize_t digests =
        space < 0 || H5Sget_simple_extent_ndims(space) != 1 ? -1 : H5Sget_simple_extent_npoints(space);
    const bool known = type >= 0 && H5Tequal(type, H5T_STD_U64LE) > 0;
    if (type >= 0) H5Tclose(type);
    if (space >= 0) H5Sclose(space);
    if (!known || digests != mp_tensor_rows(&stored->shape))
        return mp_h5_fail(err, MP_EINPUT, "%lld row digests%s; expected %lld of uint64 in one axis",
                          (long long)digests, known ? "" : " of another type",
                          (long long)mp_tensor_rows(&stored->shape));
    return MP_OK;
}

/* Only what mp_golden_write stores, or h5py by itself: numbers in the file itself, and filters that are in
 * every HDF5. Another file is never opened, no plug-in loaded, and nothing inflated twice. */
static mp_status check_layout(hid_t creation, mp_error *err) {
    const H5D_layout_t layout = H5Pget_layout(creation);
    if (layout == H5D_LAYOUT_ERROR) return mp_h5_fail(err, MP_EINPUT, "cannot read the layout");
    if (layout == H5D_VIRTUAL || H5Pget_external_count(creation) != 0)
        return mp_fail(err, MP_EINPUT, "its numbers lie in other files; expected all of them in this one");
    bool seen[3] = {false};
    const int filters = layout == H5D_CHUNKED ? H5Pget_nfilters(creation) : 0;
    for (int i = 0; i < filters; i++) {
        unsigned flags, config, values[8];
        size_t count = sizeof values / sizeof *values;
        const H5Z_filter_t filter =
            H5Pget_filter2(creation, (unsigned)i, &flags, &count, values, 0, NULL, &config);
        const int which = filter == H5Z_FILTER_SHUFFLE      ? 0
                          : filter == H5Z_FILTER_DEFLATE    ? 1
                          : filter == H5Z_FILTER_FLETCHER32 ? 2
                                                            : -1;
        if (which < 0 || seen[which])
            return mp_h5_fail(
                err, MP_EINPUT,
                "filter %d%s; expected shuffle, deflate and fletcher32, each at most once (h5repack "
                "-f GZIP=6 rewrites the file)",
                (int)filter, which < 0 ? "" : " twice");
        seen[which] = true;
    }
    return MP_OK;
}

/* Whether the file holds as many bytes as `bytes` of numbers take, in chunks that are in keeping with them.
 */
static mp_status check_storage(hid_t dataset, hid_t creation, const mp_tensor *layout, int64_t *chunk_entries,
                               mp_error *err) {
    hsize_t chunk[MP_MAX_RANK], held = 0, file_bytes = 0;
    const hsize_t bytes = mp_tensor_bytes(layout);
    const hid_t file = H5Iget_file_id(dataset);
    const bool known = file >= 0 && H5Fget_filesize(file, &file_bytes) >= 0;
    if (file >= 0) H5Fclose(file);
    if (!known) return mp_h5_fail(err, MP_EINPUT, "cannot tell the size of the file");
    if (H5Pget_layout(creation) == H5D_CHUNKED) {
        hsize_t chunk_bytes = mp_dtype_size(layout->dtype), chunks = 1, stored_chunks = 0;
        if (H5Pget_chunk(creation, layout->rank, chunk) != layout->rank)
            return mp_h5_fail(err, MP_EINPUT, "cannot read the shape of its chunks");
        for (int axis = 0; axis < layout->rank;
             axis++) { /* a file that grows may have chunks beyond its ends */
            if (chunk[axis] < 1 || chunk[axis] > (bytes + PIECE_BYTES) / chunk_bytes)
                return mp_fail(err, MP_EINPUT,
                               "chunks of %llu elements along axis %d; expected no more than the "
                               "%llu bytes of the tensor and %zu",
                               (unsigned long long)chunk[axis], axis, (unsigned long long)bytes, PIECE_BYTES);
            chunk_bytes *= chunk[axis];
            chunks *= ((hsize_t)layout->dim[axis] + chunk[axis] - 1) / chunk[axis];
        }
        *chunk_entries = (int64_t)chunk[0];
        const hid_t space = H5Dget_space(dataset);
        const bool counted = space >= 0 && H5Dget_num_chunks(dataset, space, &stored_chunks) >= 0;
        if (space >= 0) H5Sclose(space);
        if (!counted || stored_chunks != chunks)
            return mp_h5_fail(err, MP_EINPUT, "%llu of %llu chunks are stored",
                              (unsigned long long)stored_chunks, (unsigned long long)chunks);
    }
    held = H5Dget_storage_size(dataset);
    const bool inflated = H5Pget_layout(creation) == H5D_CHUNKED && H5Pget_nfilters(creation) > 0;
    if (held > file_bytes || (inflated ? held < bytes / MOST_INFLATION : held < bytes))
        return mp_fail(err, MP_EINPUT,
                       "%llu bytes are stored in a file of %llu, too few for %llu bytes of numbers",
                       (unsigned long long)held, (unsigned long long)file_bytes, (unsigned long long)bytes);
    return MP_OK;
}

mp_status mp_stored_check(hid_t dataset, const mp_tensor *shape, int64_t *chunk_entries, mp_error *err) {
    const hid_t creation = H5Dget_create_plist(dataset);
    if (creation < 0) return mp_h5_fail(err, MP_EINPUT, "cannot open the dataset");
    mp_status status = check_layout(creation, err);
    if (status == MP_OK) status = check_storage(dataset, creation, shape, chunk_entries, err);
    H5Pclose(creation);
    return status;
}

static mp_status check_shape(const mp_stored *stored, const mp_tensor *plan, mp_error *err) {
    char is[MP_SHAPE_TEXT_MAX], expected[MP_SHAPE_TEXT_MAX] = "no such tensor";
    if (plan == NULL || mp_same_shape(&stored->shape, plan)) return MP_OK;
    mp_shape_text(&stored->shape, is);
    if (plan->rank > 0) mp_shape_text(plan, expected);
    return mp_fail(err, MP_EINPUT, "stored as %s; the case has %s", is, expected);
}

/* What lies in the dataset, of which check_storage needs the size alone. */
static mp_tensor held(const mp_stored *stored) {
    if (stored->tree.words > 0)
        return mp_tensor_shape(MP_FP64, 2, stored->tree.groups, stored->tree.words, 1);
    /* digests have 8 bytes each */
    if (stored->digest) return mp_tensor_shape(MP_FP64, 1, mp_tensor_rows(&stored->shape), 1, 1);
    return mp_h5_layout(&stored->shape);
}

static mp_status open_dataset(hid_t group, const char *name, bool tree, const mp_tensor *plan,
                              mp_stored *stored, mp_error *err) {
    stored->dataset = H5Dopen2(group, name, H5P_DEFAULT);
    const hid_t creation = stored->dataset < 0 ? H5I_INVALID_HID : H5Dget_create_plist(stored->dataset);
    if (creation < 0) return mp_h5_fail(err, MP_EINPUT, "cannot open the dataset");
    mp_status status = check_layout(creation, err);
    if (status == MP_OK) status = stored->digest ? digest_shape(stored, tree, err) : full_shape(stored, err);
    if (status == MP_OK) status = check_shape(stored, plan, err);
    if (status == MP_OK) {
        const mp_tensor layout = held(stored);
        status = check_storage(stored->dataset, creation, &layout, &stored->chunk_entries, err);
    }
    if (status == MP_OK)
        status = mp_read_hex(stored->dataset, MP_ROOT, &stored->has_root, &stored->root, err);
    H5Pclose(creation);
    return status;
}

mp_status mp_stored_open(hid_t group, const char *name, const mp_tensor *plan, mp_stored *stored,
                         mp_error *err) {
    static const char *const suffixes[] = {"", MP_DIGEST_SUFFIX, MP_TREE_SUFFIX};
    enum { FULL, DIGESTS, TREE, WAYS };
    char dataset[64];
    bool found = false;
    int way = FULL;
    mp_status status = MP_OK;
    *stored = (mp_stored){.dataset = H5I_INVALID_HID};
    for (; way < WAYS; way++) {
        snprintf(dataset, sizeof dataset, "%s%s", name, suffixes[way]);
        if ((status = mp_h5_find(group, dataset, &found, err)) != MP_OK || found) break;
    }
    if (status != MP_OK || !found) return status;
    stored->digest = way != FULL;
    status = open_dataset(group, dataset, way == TREE, plan, stored, err);
    if (status != MP_OK) {
        mp_error_prefix(err, "%s", name);
        mp_stored_close(stored);
    }
    return status;
}

void mp_stored_close(mp_stored *stored) {
    if (stored->dataset >= 0) H5Dclose(stored->dataset);
    stored->dataset = H5I_INVALID_HID;
}
