/* SPDX-License-Identifier: Apache-2.0 */
/* HDF5, as files/hdf5.c reads it, built in memory: HDF5 1.10 does not survive a disk that fills up. */
#include "base/file.h"
#include "files/export_formats.h"
#include "golden/store.h"

#include <stdlib.h>

/* What h5py has no type for is its codes, and an attribute that names it. */
static bool as_codes(mp_dtype dtype) {
    return dtype == MP_BF16 || dtype == MP_E4M3 || dtype == MP_E5M2 || dtype == MP_UE8M0 ||
           mp_dtype_is_packed(dtype);
}

static mp_status write_dataset(hid_t file, const char *name, const mp_tensor *t, mp_error *err) {
    hsize_t dims[MP_MAX_RANK];
    mp_status status = MP_EIO;
    const mp_tensor layout = mp_h5_layout(t);
    for (int i = 0; i < t->rank; i++) dims[i] = (hsize_t)layout.dim[i];
    const bool codes = as_codes(t->dtype);
    const hid_t type =
        !codes ? mp_h5_type(t->dtype) : H5Tcopy(t->dtype == MP_BF16 ? H5T_STD_U16LE : H5T_STD_U8LE);
    const hid_t space = H5Screate_simple(t->rank, dims, NULL);
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    /* without times: the same content gives the same bytes */
    const bool ready =
        type >= 0 && space >= 0 && creation >= 0 && H5Pset_obj_track_times(creation, false) >= 0;
    const hid_t dataset =
        ready ? H5Dcreate2(file, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT) : H5I_INVALID_HID;
    if (dataset >= 0 && H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, t->data) >= 0)
        status = codes ? mp_h5_write_text(dataset, "dtype", mp_dtype_name(t->dtype), err) : MP_OK;
    else
        mp_h5_fail(err, status, "cannot write %s", name);
    if (dataset >= 0) H5Dclose(dataset);
    if (creation >= 0) H5Pclose(creation);
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    return status;
}

mp_status mp_export_h5(const mp_export *e, const char *path, mp_error *err) {
    void *image = NULL;
    mp_h5_quiet();
    const hid_t access = mp_golden_access(), creation = H5Pcreate(H5P_FILE_CREATE);
    const bool ready = access >= 0 && creation >= 0 && mp_h5_build_in_memory(access, &image) &&
                       H5Pset_obj_track_times(creation, false) >= 0;
    const hid_t file = ready ? H5Fcreate(path, H5F_ACC_TRUNC, creation, access) : H5I_INVALID_HID;
    if (creation >= 0) H5Pclose(creation);
    if (access >= 0) H5Pclose(access);
    if (file < 0) return mp_h5_fail(err, MP_EMEMORY, "cannot begin %s", path);
    mp_status status = mp_h5_write_text(file, "case", e->case_text, err);
    if (status == MP_OK && e->contract) status = mp_h5_write_text(file, "contract", e->contract, err);
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++)
        if (e->t[id].data) status = write_dataset(file, mp_tensor_name((mp_tensor_id)id), &e->t[id], err);
    for (int i = 0; i < MP_EXPORT_EXTRAS && status == MP_OK; i++)
        if (e->extra[i].t.data) status = write_dataset(file, e->extra[i].name, &e->extra[i].t, err);
    if (H5Fclose(file) < 0 && status == MP_OK) status = mp_h5_fail(err, MP_EIO, "cannot finish %s", path);
    if (status == MP_OK)
        status = image ? mp_file_replace(path, image, mp_h5_image_size(image), err)
                       : mp_fail(err, MP_EMEMORY, "cannot build %s in memory", path);
    free(image);
    return status;
}
