/* SPDX-License-Identifier: Apache-2.0 */
#include "files/container.h"

#include "base/file.h"
#include "files/formats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

mp_tensor_id mp_container_find(mp_container *c, const char *name) {
    int id = 0;
    while (id < MP_TENSOR_COUNT && strcmp(mp_tensor_name((mp_tensor_id)id), name) != 0) id++;
    if (id < MP_TENSOR_COUNT) return (mp_tensor_id)id;
    const size_t used = strlen(c->passed_over), left = sizeof c->passed_over - used;
    const int length = snprintf(c->passed_over + used, left, "%s%s", used ? ", " : "", name);
    if (length >= (int)left) /* the last one is cut: it says so, and no further one is told */
        memcpy(c->passed_over + sizeof c->passed_over - 4, "...", 4);
    return MP_TENSOR_COUNT;
}

mp_status mp_member_set_shape(mp_member *m, mp_dtype dtype, int rank, const int64_t *dim, mp_error *err) {
    const int64_t most = (int64_t)1 << 48;
    int64_t known[MP_MAX_RANK] = {1, 1, 1}, elements = 1;
    if (rank < 1 || rank > MP_MAX_RANK)
        return mp_fail(err, MP_EINPUT, "%d axes; expected 1 to %d", rank, MP_MAX_RANK);
    for (int axis = 0; axis < rank; axis++) {
        if (dim[axis] < 0 || dim[axis] > most / elements)
            return mp_fail(err, MP_EINPUT,
                           "axis %d has %lld elements; expected none or more, and at most 2^48 in all", axis,
                           (long long)dim[axis]);
        if (dim[axis] > 0) elements *= dim[axis]; /* the other axes stay small, even beside an empty one */
        known[axis] = dim[axis];
    }
    m->shape = mp_tensor_shape(dtype, rank, known[0], known[1], known[2]);
    return MP_OK;
}

static int64_t integer_at(const void *from, int size, int64_t i) {
    const size_t bytes = (size_t)(size < 0 ? -size : size);
    uint64_t code = 0;
    memcpy(&code, (const char *)from + (size_t)i * bytes, bytes);
    if (size > 0) return code > INT64_MAX ? INT64_MAX : (int64_t)code;
    const int unused = 64 - 8 * (int)bytes;
    return (int64_t)(code << unused) >> unused; /* extends the sign */
}

mp_status mp_integers_to_int32(const void *from, int size, int64_t count, int32_t *to, mp_error *err) {
    for (int64_t i = 0; i < count; i++) {
        const int64_t value = integer_at(from, size, i);
        if (value < INT32_MIN || value > INT32_MAX)
            return mp_fail(err, MP_EINPUT, "element %lld is %lld; expected a number that fits into int32",
                           (long long)i, (long long)value);
        to[i] = (int32_t)value;
    }
    return MP_OK;
}

mp_status mp_container_take_codes(mp_container *c, mp_tensor_id id, mp_dtype codes, mp_error *err) {
    mp_member *m = &c->member[id];
    if (m->shape.dtype == codes && m->integer == 0) return MP_OK; /* the file names it */
    if (m->integer != (codes == MP_I8 ? -1 : 1))
        return mp_fail(err, MP_EINPUT, "%s: %s; expected codes of %s, or in %s", mp_tensor_name(id),
                       mp_dtype_name(m->shape.dtype), mp_dtype_name(codes),
                       codes == MP_I8 ? "int8" : "uint8");
    m->integer = 0;
    m->shape.dtype = codes;
    if (mp_dtype_is_packed(codes)) m->shape.dim[m->shape.rank - 1] *= 2;
    return MP_OK;
}

static mp_status open_by_format(mp_container *c, size_t bytes, mp_error *err) {
    static const unsigned char hdf5[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1A, '\n'};
    unsigned char first[9];
    if (pread(c->descriptor, first, sizeof first, 0) != (ssize_t)sizeof first)
        return mp_fail(err, MP_EINPUT, "a file of %zu bytes; expected HDF5 or safetensors", bytes);
    if (memcmp(first, hdf5, sizeof hdf5) == 0) {
        close(c->descriptor);
        c->descriptor = -1;
        return mp_hdf5_open(c, err);
    }
    if (memcmp(first, "PK", 2) == 0)
        return mp_fail(err, MP_EINPUT,
                       "a zip archive; expected HDF5 or safetensors (moeparity.files.judge reads .npz)");
    if (first[8] != '{') return mp_fail(err, MP_EINPUT, "neither HDF5 nor safetensors");
    return mp_safetensors_open(c, bytes, err);
}

mp_status mp_container_open(const char *path, mp_container *c, mp_error *err) {
    mp_error why = {0};
    size_t bytes = 0;
    *c = (mp_container){.descriptor = -1, .file = -1};
    if (mp_file_open(path, "a file of tensors, HDF5 or safetensors", &c->descriptor, &bytes, &why) != MP_OK)
        return mp_fail(err, MP_EINPUT, "%s", why.text);
    mp_status status = (c->path = strdup(path)) ? open_by_format(c, bytes, err)
                                                : mp_fail(err, MP_EMEMORY, "no memory to open it");
    if (status == MP_OK) return MP_OK;
    mp_error_prefix(err, "%s", path);
    mp_container_close(c);
    return status;
}

mp_status mp_container_read(const mp_container *c, mp_tensor_id id, mp_tensor *t, mp_error *err) {
    const mp_member *m = &c->member[id];
    if (mp_tensor_count(t) != mp_tensor_count(&m->shape) || t->dtype != m->shape.dtype)
        return mp_fail(err, MP_EINTERNAL, "%s is read into another shape", mp_tensor_name(id));
    const mp_status status =
        c->file >= 0 ? mp_hdf5_read(c, id, m, t, err) : mp_safetensors_read(c, m, t, err);
    if (status != MP_OK) mp_error_prefix(err, "%s: %s", c->path, mp_tensor_name(id));
    return status;
}

void mp_container_close(mp_container *c) {
    if (c->file >= 0) mp_hdf5_close(c);
    if (c->descriptor >= 0) close(c->descriptor);
    free(c->path);
    *c = (mp_container){.descriptor = -1, .file = -1};
}
