#include "golden/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static mp_status read_root(mp_golden *g, mp_error *err) {
    mp_status status;
    char format[64];
    int64_t number;
    int count;
    if ((status = mp_h5_read_text(g->file, "format", format, sizeof format, err)) != MP_OK ||
        strcmp(format, MP_GOLDEN_FORMAT) != 0) {
        if (status == MP_OK) mp_fail(err, MP_EINPUT, "format is '%s'", format);
        mp_error_prefix(err, "not a golden file, whose format is '" MP_GOLDEN_FORMAT "'");
        return MP_EINPUT;
    }
    if ((status = mp_h5_read_integers(g->file, "format_version", &number, 1, &count, err)) != MP_OK)
        return status;
    if (number < 1 || number > MP_GOLDEN_FORMAT_VERSION)
        return mp_fail(err, MP_EINPUT, "format_version %lld: this program reads versions 1 to %d",
                       (long long)number, MP_GOLDEN_FORMAT_VERSION);
    if ((status = mp_h5_read_integers(g->file, "fill_version", &number, 1, &count, err)) != MP_OK)
        return status;
    g->fill_version = (int)number;
    for (int i = 0; i < MP_PROVENANCE_FIELDS; i++) {
        const mp_provenance_field *field = &mp_provenance_fields[i];
        if ((status = mp_h5_read_text(g->file, field->name, (char *)&g->who + field->offset, field->size,
                                      err)) != MP_OK)
            return status;
    }
    return MP_OK;
}

static herr_t collect_name(hid_t root, const char *name, const H5L_info_t *info, void *ctx) {
    (void)root;
    (void)info;
    mp_golden *g = ctx;
    if (g->count == g->capacity) {
        size_t capacity = g->capacity == 0 ? 64 : 2 * g->capacity;
        char **names = realloc(g->names, capacity * sizeof *names);
        if (names == NULL) return -1;
        g->names = names;
        g->capacity = capacity;
    }
    if (strlen(name) >= MP_CASE_TEXT_MAX || (g->names[g->count] = strdup(name)) == NULL) return -1;
    g->count++;
    return 0;
}

mp_status mp_golden_open(const char *path, mp_golden **golden, mp_error *err) {
    mp_status status = MP_EINPUT;
    hid_t access = H5I_INVALID_HID;
    *golden = NULL;
    mp_h5_quiet();

    struct stat about;
    if (stat(path, &about) != 0)
        return mp_fail(err, status, "%s: %s; expected a golden file", path, strerror(errno));
    if (!S_ISREG(about.st_mode))
        return mp_fail(err, status, "%s: not a regular file; expected a golden file", path);
    mp_golden *g = calloc(1, sizeof *g);
    if (g == NULL || (g->path = strdup(path)) == NULL) {
        free(g);
        return mp_fail(err, MP_EMEMORY, "no memory to open %s", path);
    }
    g->file = H5I_INVALID_HID;

    if (H5Fis_hdf5(path) <= 0) {
        mp_h5_fail(err, status, "not an HDF5 file (%lld bytes); expected a golden file",
                   (long long)about.st_size);
        goto out;
    }
    access = mp_golden_access();
    if (access >= 0) g->file = H5Fopen(path, H5F_ACC_RDONLY, access);
    if (g->file < 0) {
        mp_h5_fail(err, status, "truncated or corrupted HDF5 file of %lld bytes", (long long)about.st_size);
        goto out;
    }
    if ((status = read_root(g, err)) != MP_OK) goto out;
    if (H5Literate(g->file, H5_INDEX_CRT_ORDER, H5_ITER_INC, NULL, collect_name, g) < 0) {
        status = mp_h5_fail(err, MP_EINPUT, "cannot list the cases");
        goto out;
    }
out:
    if (access >= 0) H5Pclose(access);
    if (status == MP_OK) {
        *golden = g;
    } else {
        mp_error_prefix(err, "%s", path);
        mp_golden_close(g);
    }
    return status;
}

const mp_provenance *mp_golden_provenance(const mp_golden *golden) {
    return &golden->who;
}

int mp_golden_fill_version(const mp_golden *golden) {
    return golden->fill_version;
}

mp_status mp_golden_case_count(mp_golden *golden, size_t *count, mp_error *err) {
    if (golden->writing) return mp_fail(err, MP_EINTERNAL, "%s is open for writing", golden->path);
    *count = golden->count;
    return MP_OK;
}

mp_status mp_golden_case_name(mp_golden *golden, size_t index, char text[MP_CASE_TEXT_MAX], mp_error *err) {
    if (index >= golden->count)
        return mp_fail(err, MP_EINTERNAL, "case %zu of %zu asked for in %s", index, golden->count,
                       golden->path);
    snprintf(text, MP_CASE_TEXT_MAX, "%s", golden->names[index]);
    return MP_OK;
}

bool mp_golden_has(mp_golden *golden, const char *case_text) {
    return H5Lexists(golden->file, case_text, H5P_DEFAULT) > 0;
}

mp_status mp_golden_contract(mp_golden *golden, const mp_case *c, char *text, size_t size, mp_error *err) {
    char name[MP_CASE_TEXT_MAX];
    mp_case_text(c, name, sizeof name);
    const hid_t group = mp_golden_open_case(golden, name, err);
    if (group < 0) return MP_EINPUT;
    const mp_status status = mp_h5_read_text(group, "contract", text, size, err);
    H5Gclose(group);
    return status;
}

hid_t mp_golden_open_case(mp_golden *golden, const char *name, mp_error *err) {
    if (!mp_golden_has(golden, name)) {
        mp_fail(err, MP_EINPUT, "%s: no case '%s' among its %zu", golden->path, name, golden->count);
        return H5I_INVALID_HID;
    }
    hid_t group = H5Gopen2(golden->file, name, H5P_DEFAULT);
    if (group < 0) mp_h5_fail(err, MP_EINPUT, "%s: cannot open the case '%s'", golden->path, name);
    return group;
}

mp_status mp_golden_block_size_m(mp_golden *golden, const mp_case *c, int64_t *block_size_m, mp_error *err) {
    char name[MP_CASE_TEXT_MAX];
    int count = 0;
    mp_case_text(c, name, sizeof name);
    const hid_t group = mp_golden_open_case(golden, name, err);
    if (group < 0) return MP_EINPUT;
    const mp_status status = mp_h5_read_integers(group, "block_size_m", block_size_m, 1, &count, err);
    H5Gclose(group);
    return status;
}

/* Sizes come from a file: they must be positive, and their product far from overflow. */
static mp_status set_shape(mp_stored *stored, mp_dtype dtype, int rank, const int64_t dim[MP_MAX_RANK],
                           mp_error *err) {
    const int64_t most = (int64_t)1 << 48;
    int64_t elements = 1;
    for (int axis = 0; axis < rank; axis++) {
        if (dim[axis] < 1 || dim[axis] > most / elements)
            return mp_fail(err, MP_EINPUT,
                           "axis %d has %lld elements; expected at least 1 and at most 2^48 in all", axis,
                           (long long)dim[axis]);
        elements *= dim[axis];
    }
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
                   "rank %d or element type unknown; expected rank 1 to %d of a known number format", rank,
                   MP_MAX_RANK);
        goto out;
    }
    H5Sget_simple_extent_dims(space, dims, NULL);
    status = set_shape(stored, dtype, rank, (int64_t[]){(int64_t)dims[0], (int64_t)dims[1], (int64_t)dims[2]},
                       err);
out:
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    return status;
}

/* Shape and dtype of a tensor stored as digests: its attributes. */
static mp_status digest_shape(mp_stored *stored, mp_error *err) {
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
    hid_t space = H5Dget_space(stored->dataset);
    hssize_t digests = space < 0 ? -1 : H5Sget_simple_extent_npoints(space);
    if (space >= 0) H5Sclose(space);
    if (digests != mp_tensor_rows(&stored->shape))
        return mp_h5_fail(err, MP_EINPUT, "%lld row digests; expected %lld", (long long)digests,
                          (long long)mp_tensor_rows(&stored->shape));
    return MP_OK;
}

mp_status mp_stored_open(hid_t group, const char *name, mp_stored *stored, mp_error *err) {
    mp_status status;
    char digest_name[64];
    snprintf(digest_name, sizeof digest_name, "%s" MP_DIGEST_SUFFIX, name);
    *stored = (mp_stored){.dataset = H5I_INVALID_HID};
    htri_t full = H5Lexists(group, name, H5P_DEFAULT);
    htri_t digest = full == 0 ? H5Lexists(group, digest_name, H5P_DEFAULT) : 0;
    if (full == 0 && digest == 0) return MP_OK;

    stored->digest = digest > 0;
    if (full >= 0 && digest >= 0)
        stored->dataset = H5Dopen2(group, stored->digest ? digest_name : name, H5P_DEFAULT);
    if (stored->dataset < 0)
        status = mp_h5_fail(err, MP_EINPUT, "cannot open the dataset");
    else
        status = stored->digest ? digest_shape(stored, err) : full_shape(stored, err);
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

/* Reads along the first axis, as many entries at a time as a chunk has: each chunk is decompressed once. */
mp_status mp_stored_read(const mp_stored *stored, mp_stored_visit *visit, void *ctx, mp_error *err) {
    mp_status status = MP_EINPUT;
    char *buffer = NULL;
    const mp_tensor *t = &stored->shape;
    hsize_t chunk[MP_MAX_RANK] = {1, 1, 1};
    hid_t type = mp_h5_type(t->dtype), creation = H5Dget_create_plist(stored->dataset),
          space = H5Dget_space(stored->dataset);
    if (type < 0 || creation < 0 || space < 0 || H5Pget_chunk(creation, t->rank, chunk) != t->rank) {
        mp_h5_fail(err, status, "cannot read the layout");
        goto out;
    }
    int64_t step = (int64_t)chunk[0] < t->dim[0] ? (int64_t)chunk[0] : t->dim[0];
    if (t->rank == 1) step = t->dim[0]; /* one row */
    const int64_t rows_of_entry = t->rank == 1 ? 0 : mp_tensor_rows(t) / t->dim[0];
    const size_t entry_bytes = mp_tensor_bytes(t) / (size_t)t->dim[0];
    if ((buffer = malloc((size_t)step * entry_bytes)) == NULL) {
        status = mp_fail(err, MP_EMEMORY, "no memory for %zu bytes of the stored tensor",
                         (size_t)step * entry_bytes);
        goto out;
    }
    for (int64_t first = 0; first < t->dim[0]; first += step) {
        int64_t entries = t->dim[0] - first < step ? t->dim[0] - first : step;
        hsize_t start[MP_MAX_RANK] = {(hsize_t)first, 0, 0};
        hsize_t extent[MP_MAX_RANK] = {(hsize_t)entries, (hsize_t)t->dim[1], (hsize_t)t->dim[2]};
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
    if (creation >= 0) H5Pclose(creation);
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

static mp_status check_tensor(hid_t group, const char *name, mp_error *err) {
    mp_stored stored;
    uint64_t *digests = NULL;
    mp_status status = mp_stored_open(group, name, &stored, err);
    if (status != MP_OK || stored.dataset < 0) return status;
    status =
        stored.digest ? mp_stored_digests(&stored, &digests, err) : mp_stored_read(&stored, NULL, NULL, err);
    if (status != MP_OK) mp_error_prefix(err, "%s", name);
    free(digests);
    mp_stored_close(&stored);
    return status;
}

mp_status mp_golden_check(mp_golden *golden, mp_error *err) {
    mp_status status = MP_OK;
    for (size_t i = 0; i < golden->count && status == MP_OK; i++) {
        const hid_t group = mp_golden_open_case(golden, golden->names[i], err);
        if (group < 0) return MP_EINPUT;
        for (int t = 0; t < MP_TENSOR_COUNT && status == MP_OK; t++)
            status = check_tensor(group, mp_tensor_name((mp_tensor_id)t), err);
        const hid_t inputs = status == MP_OK && H5Lexists(group, "inputs", H5P_DEFAULT) > 0
                                 ? H5Gopen2(group, "inputs", H5P_DEFAULT)
                                 : H5I_INVALID_HID;
        for (int t = 0; inputs >= 0 && t < MP_TENSOR_COUNT && status == MP_OK; t++)
            status = check_tensor(inputs, mp_tensor_name((mp_tensor_id)t), err);
        if (inputs >= 0) H5Gclose(inputs);
        H5Gclose(group);
        if (status != MP_OK) mp_error_prefix(err, "%s: %s", golden->path, golden->names[i]);
    }
    return status;
}
