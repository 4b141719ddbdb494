/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a golden file.
 *
 * The file is built in memory by HDF5's core driver and written in one piece at the end. HDF5 1.10 does not
 * survive a disk that fills up: closing a file whose data cannot be flushed corrupts its memory. This way a
 * full disk only meets mp_file_replace.
 */
#include "base/file.h"
#include "base/printable.h"
#include "golden/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELD(name) \
    { #name, offsetof(mp_provenance, name), sizeof(((mp_provenance *)NULL)->name) }
const mp_provenance_field mp_provenance_fields[MP_PROVENANCE_FIELDS] = {
    FIELD(version), FIELD(commit), FIELD(subject), FIELD(device), FIELD(versions), FIELD(date), FIELD(origin),
};
#undef FIELD

hid_t mp_golden_access(void) {
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (access < 0) return access;
    /* The 1.10 layout has a checksum over every piece of metadata, the older one has none. STRONG: ids left
     * open close with the file. */
    if (H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110) < 0 ||
        H5Pset_file_locking(access, false, true) < 0 || H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) < 0) {
        H5Pclose(access);
        return H5I_INVALID_HID;
    }
    return access;
}

static mp_status write_root(hid_t file, const mp_provenance *who, mp_error *err) {
    mp_status status = mp_h5_write_text(file, "format", MP_GOLDEN_FORMAT, err);
    if (status == MP_OK)
        status = mp_h5_write_integers(file, "format_version", &(int64_t){MP_GOLDEN_FORMAT_VERSION}, 1, err);
    if (status == MP_OK)
        status = mp_h5_write_integers(file, "fill_version", &(int64_t){MP_FILL_VERSION}, 1, err);
    for (int i = 0; status == MP_OK && i < MP_PROVENANCE_FIELDS; i++)
        status = mp_h5_write_text(file, mp_provenance_fields[i].name,
                                  (const char *)who + mp_provenance_fields[i].offset, err);
    return status;
}

mp_status mp_golden_create(const char *path, const mp_provenance *who, size_t digest_above,
                           mp_golden **golden, mp_error *err) {
    hid_t access_list = H5I_INVALID_HID, creation = H5I_INVALID_HID;
    *golden = NULL;
    mp_h5_quiet();

    /* A golden is worth its hours of computing: said before the first case, not after the last. */
    mp_status status = mp_file_writable(path, err);
    if (status != MP_OK) return status;
    mp_golden *g = calloc(1, sizeof *g);
    if (g == NULL || (g->path = strdup(path)) == NULL) {
        free(g);
        return mp_fail(err, MP_EMEMORY, "no memory to create %s", path);
    }
    g->file = H5I_INVALID_HID;
    g->writing = true;
    g->digest_above = digest_above;
    g->who = *who;
    g->fill_version = MP_FILL_VERSION;

    access_list = mp_golden_access();
    creation = H5Pcreate(H5P_FILE_CREATE);
    if (access_list >= 0 && creation >= 0 && mp_h5_build_in_memory(access_list, &g->image) &&
        H5Pset_obj_track_times(creation, false) >= 0 && /* the same content gives the same bytes */
        H5Pset_link_creation_order(creation, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED) >= 0)
        g->file = H5Fcreate(path, H5F_ACC_TRUNC, creation, access_list);
    status = g->file >= 0 ? write_root(g->file, who, err)
                          : mp_h5_fail(err, MP_EIO, "cannot create an HDF5 file in memory");
    if (status != MP_OK) mp_error_prefix(err, "%s", path);
    if (creation >= 0) H5Pclose(creation);
    if (access_list >= 0) H5Pclose(access_list);
    if (status == MP_OK)
        *golden = g;
    else
        mp_golden_close(g);
    return status;
}

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

static mp_status write_dataset(hid_t group, const char *name, const mp_tensor *t, hid_t type, hid_t *dataset,
                               mp_error *err) {
    mp_status status = MP_EIO;
    hsize_t dims[MP_MAX_RANK], chunk[MP_MAX_RANK];
    for (int axis = 0; axis < t->rank; axis++) dims[axis] = (hsize_t)t->dim[axis];
    chunk_shape(t, chunk);

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

static mp_status write_full(hid_t group, const char *name, const mp_tensor *t, mp_error *err) {
    hid_t dataset, type = mp_h5_type(t->dtype);
    mp_status status = write_dataset(group, name, t, type, &dataset, err);
    /* A chunk may wait in HDF5's cache: only closing says whether it could be written. */
    if (dataset >= 0 && H5Dclose(dataset) < 0 && status == MP_OK)
        status = mp_h5_fail(err, MP_EIO, "cannot write %s", name);
    if (type >= 0) H5Tclose(type);
    return status;
}

static mp_status write_digest(hid_t group, const char *name, const mp_tensor *t, mp_error *err) {
    mp_status status = MP_EMEMORY;
    hid_t dataset = H5I_INVALID_HID;
    char digest_name[64];
    snprintf(digest_name, sizeof digest_name, "%s" MP_DIGEST_SUFFIX, name);
    int64_t rows = mp_tensor_rows(t);
    uint64_t *digests = malloc((size_t)rows * sizeof *digests);
    if (digests == NULL) {
        mp_fail(err, status, "no memory for %lld row digests of %s", (long long)rows, name);
        goto out;
    }
    for (int64_t row = 0; row < rows; row++) digests[row] = mp_tensor_row_digest(t, row);
    mp_tensor column = mp_tensor_shape(MP_FP64, 1, rows, 1, 1); /* 8-byte elements: for the chunk shape */
    column.data = digests;
    if ((status = write_dataset(group, digest_name, &column, H5T_STD_U64LE, &dataset, err)) != MP_OK ||
        (status = mp_h5_write_integers(dataset, "shape", t->dim, t->rank, err)) != MP_OK ||
        (status = mp_h5_write_text(dataset, "dtype", mp_dtype_name(t->dtype), err)) != MP_OK)
        goto out;
out:
    if (dataset >= 0 && H5Dclose(dataset) < 0 && status == MP_OK)
        status = mp_h5_fail(err, MP_EIO, "cannot write %s", digest_name);
    free(digests);
    return status;
}

static mp_status create_group(hid_t parent, const char *name, hid_t *group, mp_error *err) {
    hid_t creation = H5Pcreate(H5P_GROUP_CREATE);
    *group = H5I_INVALID_HID;
    if (creation >= 0 && H5Pset_obj_track_times(creation, false) >= 0)
        *group = H5Gcreate2(parent, name, H5P_DEFAULT, creation, H5P_DEFAULT);
    mp_status status = *group >= 0 ? MP_OK : mp_h5_fail(err, MP_EIO, "cannot create the group '%s'", name);
    if (creation >= 0) H5Pclose(creation);
    return status;
}

static mp_status write_inputs(hid_t group, const mp_inputs *inputs, mp_error *err) {
    hid_t sub;
    mp_status status = create_group(group, MP_INPUTS_GROUP, &sub, err);
    for (int i = 0; status == MP_OK && i < MP_TENSOR_COUNT; i++)
        if (inputs->t[i].data != NULL)
            status = write_full(sub, mp_tensor_name((mp_tensor_id)i), &inputs->t[i], err);
    if (sub >= 0) H5Gclose(sub);
    return status;
}

static mp_status write_a_digest(hid_t group, const char *name, uint64_t digest, mp_error *err) {
    char text[32];
    snprintf(text, sizeof text, "%016" PRIx64, digest);
    return mp_h5_write_text(group, name, text, err);
}

/* What read.c refuses is not written. */
static mp_status check_text(const char *name, const char *text, mp_error *err) {
    char printable[MP_GOLDEN_TEXT_MAX];
    if (strlen(text) >= MP_GOLDEN_TEXT_MAX)
        return mp_fail(err, MP_EINPUT, "%s of %zu bytes; expected at most %d", name, strlen(text),
                       MP_GOLDEN_TEXT_MAX - 1);
    mp_text_printable(text, printable, sizeof printable);
    if (strcmp(text, printable) == 0) return MP_OK;
    return mp_fail(err, MP_EINPUT, "%s is '%s'; expected UTF-8 without control characters", name, text);
}

void mp_golden_store_inputs(mp_golden *golden) {
    golden->store_inputs = true;
}

mp_status mp_golden_write(mp_golden *golden, const mp_case *c, const mp_contract *contract,
                          const char *config, const mp_trace *trace, const mp_inputs *inputs, mp_error *err) {
    char name[MP_CASE_TEXT_MAX], contract_text[MP_CONTRACT_TEXT_MAX];
    mp_case_text(c, name, sizeof name);
    mp_contract_text(contract, contract_text, sizeof contract_text);
    if (!golden->writing) return mp_fail(err, MP_EINTERNAL, "%s is open for reading only", golden->path);
    if (H5Lexists(golden->file, name, H5P_DEFAULT) > 0)
        return mp_fail(err, MP_EINPUT, "case '%s' recorded twice in one golden file", name);
    if (check_text("config", config, err) != MP_OK) return MP_EINPUT;

    const int64_t block_size_m = trace->block_size_m;
    hid_t group;
    mp_status status = create_group(golden->file, name, &group, err);
    if (status != MP_OK) goto out;
    if ((status = mp_h5_write_text(group, "contract", contract_text, err)) != MP_OK ||
        (status = write_a_digest(group, "contract_digest", mp_contract_digest(contract), err)) != MP_OK ||
        (status = mp_h5_write_text(group, "config", config, err)) != MP_OK ||
        (status = mp_h5_write_integers(group, "block_size_m", &block_size_m, 1, err)) != MP_OK)
        goto out;
    if (inputs != NULL &&
        (status = write_a_digest(group, "inputs_digest", mp_inputs_digest(inputs), err)) != MP_OK)
        goto out;
    for (int i = 0; i < MP_TENSOR_COUNT; i++) {
        const mp_tensor *t = &trace->t[i];
        if (t->data == NULL) continue;
        const char *tensor = mp_tensor_name((mp_tensor_id)i);
        bool digest = mp_tensor_bytes(t) > golden->digest_above;
        status = digest ? write_digest(group, tensor, t, err) : write_full(group, tensor, t, err);
        if (status != MP_OK) goto out;
    }
    if (inputs != NULL && golden->store_inputs) status = write_inputs(group, inputs, err);
out:
    if (group >= 0) H5Gclose(group);
    if (status != MP_OK) {
        golden->failed = true;
        mp_error_prefix(err, "%s: %s", golden->path, name);
    }
    return status;
}

mp_status mp_golden_commit(mp_golden *golden, mp_error *err) {
    mp_status status = MP_EIO;
    if (golden->failed) {
        mp_fail(err, status, "%s is not written: recording a case into it failed", golden->path);
        goto out;
    }
    hid_t file = golden->file;
    golden->file = H5I_INVALID_HID;
    if (H5Fclose(file) < 0 || golden->image == NULL) {
        mp_h5_fail(err, status, "cannot finish %s", golden->path);
        goto out;
    }
    status = mp_file_replace(golden->path, golden->image, mp_h5_image_size(golden->image), err);
out:
    mp_golden_close(golden);
    return status;
}

void mp_golden_close(mp_golden *golden) {
    if (golden == NULL) return;
    if (golden->file >= 0) H5Fclose(golden->file);
    free(golden->image);
    for (size_t i = 0; i < golden->count; i++) {
        free(golden->entries[i].name);
        free(golden->entries[i].contract);
        free(golden->entries[i].config);
    }
    free(golden->entries);
    free(golden->by_name);
    free(golden->path);
    free(golden);
}
