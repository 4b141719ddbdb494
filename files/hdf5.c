/* SPDX-License-Identifier: Apache-2.0 */
/* HDF5 as plain h5py writes it: a dataset a tensor in the root group, the texts as attributes of it. bf16,
 * which numpy has not, is uint16 with the attribute dtype="bf16", or a floating-point type of that form. */
#include "files/formats.h"
#include "golden/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A text of variable length, which h5py makes of a str. libhdf5 1.10 believes the length that the file
 * claims: who reads strangers' files does so in a process of its own. */
static mp_status read_variable_text(hid_t attribute, hid_t type, const char *name, char *text, size_t size,
                                    mp_error *err) {
    char *read = NULL;
    mp_status status = MP_EINPUT;
    if (H5Aread(attribute, type, &read) < 0 || !read)
        mp_h5_fail(err, status, "cannot read attribute '%s'", name);
    else if (strlen(read) >= size)
        mp_fail(err, status, "attribute '%s' has %zu bytes; expected at most %zu", name, strlen(read),
                size - 1);
    else
        status = MP_OK;
    if (status == MP_OK) strcpy(text, read);
    if (read) H5free_memory(read);
    return status;
}

/* "" where there is no such attribute. */
static mp_status read_text(hid_t object, const char *name, char *text, size_t size, mp_error *err) {
    text[0] = '\0';
    if (H5Aexists(object, name) == 0) return MP_OK;
    mp_status status = MP_EINPUT;
    const hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    const hid_t type = attribute < 0 ? H5I_INVALID_HID : H5Aget_type(attribute);
    const hid_t space = attribute < 0 ? H5I_INVALID_HID : H5Aget_space(attribute);
    const bool variable = type >= 0 && H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) > 0;
    if (variable && space >= 0 && H5Sget_simple_extent_npoints(space) == 1)
        status = read_variable_text(attribute, type, name, text, size, err);
    else
        status = mp_h5_read_text(object, name, text, size, err);
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    if (attribute >= 0) H5Aclose(attribute);
    return status;
}

/* The dtype of the elements, and of integers their size. */
static mp_status read_type(hid_t dataset, hid_t type, mp_dtype *dtype, int *integer, mp_error *err) {
    char said[32];
    const H5T_class_t class = H5Tget_class(type);
    const size_t size = H5Tget_size(type);
    *integer = 0;
    mp_status status = read_text(dataset, "dtype", said, sizeof said, err);
    if (status != MP_OK) return status;
    if (said[0]) { /* codes, whatever integers they are stored in */
        const bool codes = class == H5T_INTEGER && H5Tget_sign(type) == H5T_SGN_NONE;
        const bool parsed = mp_dtype_parse(said, dtype), packed = parsed && mp_dtype_is_packed(*dtype);
        if (!parsed || !codes || (packed ? size != 1 : mp_dtype_is_integer(*dtype)) ||
            (!packed && mp_dtype_size(*dtype) != size))
            return mp_fail(
                err, MP_EINPUT,
                "dtype '%s' in %s of %zu bytes: expected bf16 in uint16 (or another format of this "
                "program in unsigned integers of its size)",
                said, codes ? "unsigned integers" : "elements", size);
        return MP_OK;
    }
    if (class == H5T_INTEGER && size <= sizeof(int64_t)) {
        *dtype = MP_I32;
        *integer = H5Tget_sign(type) == H5T_SGN_NONE ? (int)size : -(int)size;
        return MP_OK;
    }
    if (mp_h5_dtype(type, dtype)) return MP_OK;
    return mp_fail(err, MP_EINPUT,
                   "elements of %zu bytes that are no float16, float32, float64, bf16 or integers, "
                   "little-endian; bf16 is uint16 with the attribute dtype='bf16'",
                   size);
}

/* What an element takes in the file: for the size of the dataset alone. */
static mp_dtype of_size(size_t bytes) {
    return bytes == 8 ? MP_FP64 : bytes == 4 ? MP_FP32 : bytes == 2 ? MP_BF16 : MP_E4M3;
}

static mp_status read_member(hid_t file, const char *name, mp_member *m, mp_error *err) {
    int64_t chunk_entries = 0, dim[MP_MAX_RANK] = {0};
    hsize_t dims[H5S_MAX_RANK];
    mp_dtype dtype;
    mp_tensor stored;
    mp_status status = MP_EINPUT;
    const hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
    const hid_t type = dataset < 0 ? H5I_INVALID_HID : H5Dget_type(dataset);
    const hid_t space = dataset < 0 ? H5I_INVALID_HID : H5Dget_space(dataset);
    const int rank = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
    if (rank < 0 || type < 0) {
        mp_h5_fail(err, status, "cannot open the dataset");
        goto out;
    }
    H5Sget_simple_extent_dims(space, dims, NULL);
    for (int i = 0; i < rank && i < MP_MAX_RANK; i++)
        dim[i] = dims[i] <= INT64_MAX ? (int64_t)dims[i] : INT64_MAX;
    if ((status = read_type(dataset, type, &dtype, &m->integer, err)) != MP_OK) goto out;
    if ((status = mp_member_set_shape(m, dtype, rank, dim, err)) != MP_OK) goto out;
    stored = m->shape;
    stored.dtype = of_size(H5Tget_size(type));
    if (mp_dtype_is_packed(dtype)) m->shape.dim[m->shape.rank - 1] *= 2; /* two codes a byte */
    status = mp_stored_check(dataset, &stored, &chunk_entries, err);
out:
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    if (dataset >= 0) H5Dclose(dataset);
    return status;
}

static herr_t note_name(hid_t root, const char *name, const H5L_info_t *info, void *c) {
    (void)root, (void)info;
    mp_container_find(c, name);
    return 0;
}

mp_status mp_hdf5_open(mp_container *c, mp_error *err) {
    char format[64];
    mp_h5_quiet();
    const hid_t access = mp_golden_access();
    if (access < 0) return mp_h5_fail(err, MP_EMEMORY, "cannot open HDF5");
    c->file = H5Fopen(c->path, H5F_ACC_RDONLY, access);
    H5Pclose(access);
    if (c->file < 0) return mp_h5_fail(err, MP_EINPUT, "truncated or corrupted HDF5 file");
    mp_status status = read_text(c->file, "format", format, sizeof format, err);
    if (status == MP_OK && strcmp(format, MP_GOLDEN_FORMAT) == 0)
        status = mp_fail(err, MP_EINPUT, "a golden file: moeparity golden verify compares with it");
    if (status == MP_OK) status = read_text(c->file, "case", c->case_text, sizeof c->case_text, err);
    if (status == MP_OK) status = read_text(c->file, "contract", c->contract, sizeof c->contract, err);
    if (status == MP_OK && H5Literate(c->file, H5_INDEX_NAME, H5_ITER_INC, NULL, note_name, c) < 0)
        status = mp_h5_fail(err, MP_EINPUT, "cannot list its datasets");
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        const char *name = mp_tensor_name((mp_tensor_id)id);
        bool found;
        status = mp_h5_find(c->file, name, &found, err);
        if (status == MP_OK && found) status = read_member(c->file, name, &c->member[id], err);
        if (status != MP_OK) mp_error_prefix(err, "%s", name);
    }
    return status;
}

mp_status mp_hdf5_read(const mp_container *c, mp_tensor_id id, const mp_member *m, mp_tensor *t,
                       mp_error *err) {
    const int64_t count = mp_tensor_count(t);
    int64_t *wide = NULL;
    mp_status status = MP_EINPUT;
    const hid_t dataset = H5Dopen2(c->file, mp_tensor_name(id), H5P_DEFAULT);
    const hid_t type = dataset < 0 ? H5I_INVALID_HID : H5Dget_type(dataset);
    /* Floats and codes are read as they are stored: no bit is converted. */
    const hid_t memory = m->integer ? H5T_NATIVE_INT64 : type;
    if (m->integer && !(wide = malloc((size_t)count * sizeof *wide)))
        status = mp_fail(err, MP_EMEMORY, "no memory for %lld integers", (long long)count);
    else if (type < 0 ||
             H5Dread(dataset, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, wide ? (void *)wide : t->data) < 0)
        mp_h5_fail(err, status, "cannot read the stored numbers");
    else
        status = wide ? mp_integers_to_int32(wide, -(int)sizeof *wide, count, t->data, err) : MP_OK;
    free(wide);
    if (type >= 0) H5Tclose(type);
    if (dataset >= 0) H5Dclose(dataset);
    return status;
}

void mp_hdf5_close(mp_container *c) {
    H5Fclose(c->file);
    c->file = -1;
}
