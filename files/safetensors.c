/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors: 8 bytes, little-endian, the length of a header; the header, JSON, an object with one entry a
 * tensor, {"dtype": "BF16", "shape": [4, 8], "data_offsets": [begin, end]}, and `__metadata__`, an object of
 * texts; then the data, which the tensors cover without gap or overlap, row-major and little-endian. */
#include "files/formats.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LENGTH_BYTES = 8, MOST_HEADER_BYTES = 100 << 20 /* as the format's own library has it */ };

/* What moeparity has tensors of. size: of an integer's element, negative with a sign; 0: floats. */
static const struct {
    const char *name;
    mp_dtype dtype;
    int size;
} known[] = {{"BF16", MP_BF16, 0},    {"F16", MP_FP16, 0},     {"F32", MP_FP32, 0},      {"F64", MP_FP64, 0},
             {"I32", MP_I32, -4},     {"I64", MP_I32, -8},     {"I16", MP_I32, -2},      {"I8", MP_I32, -1},
             {"F8_E4M3", MP_E4M3, 0}, {"F8_E5M2", MP_E5M2, 0}, {"F8_E8M0", MP_UE8M0, 0}, {"U8", MP_I32, 1},
             {"U16", MP_I32, 2},      {"U32", MP_I32, 4},      {"U64", MP_I32, 8}};
enum { KNOWN = sizeof known / sizeof *known };

static uint64_t element_bytes(int which) {
    const int size = known[which].size;
    return size ? (uint64_t)(size < 0 ? -size : size) : mp_dtype_size(known[which].dtype);
}

/* A part of the data, told by an entry. */
typedef struct span {
    uint64_t begin, end;
    const char *name;
} span;

static int by_place(const void *a, const void *b) {
    const span *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static mp_status take_span(const json_t *entry, uint64_t data_bytes, span *s, mp_error *err) {
    const json_t *offsets = json_object_get(entry, "data_offsets"), *begin = json_array_get(offsets, 0),
                 *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin) ||
        (uint64_t)json_integer_value(end) > data_bytes)
        return mp_fail(err, MP_EINPUT, "data_offsets: expected two numbers from 0 to %llu, in order",
                       (unsigned long long)data_bytes);
    s->begin = (uint64_t)json_integer_value(begin);
    s->end = (uint64_t)json_integer_value(end);
    return MP_OK;
}

/* A tensor that a case may have: others are only asked to lie where they say. */
static mp_status take_member(const json_t *entry, const span *s, uint64_t data_offset, mp_member *m,
                             mp_error *err) {
    const json_t *shape = json_object_get(entry, "shape");
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    int64_t dim[MP_MAX_RANK] = {0};
    int which = 0;
    while (which < KNOWN && (!dtype || strcmp(dtype, known[which].name) != 0)) which++;
    if (which == KNOWN)
        return mp_fail(err, MP_EINPUT,
                       "dtype '%.20s': expected BF16, F16, F32, F64, F8_E4M3, F8_E5M2, F8_E8M0 or integers",
                       dtype ? dtype : "");
    const size_t rank = json_array_size(shape);
    for (size_t i = 0; i < rank && i < MP_MAX_RANK; i++)
        dim[i] = json_integer_value(json_array_get(shape, i));
    const int axes = rank > 100 ? 100 : (int)rank;
    const mp_status status = mp_member_set_shape(m, known[which].dtype, axes, dim, err);
    if (status != MP_OK) return status;
    const uint64_t bytes = (uint64_t)mp_tensor_count(&m->shape) * element_bytes(which);
    if (s->end - s->begin != bytes)
        return mp_fail(err, MP_EINPUT, "data_offsets hold %llu bytes; its shape takes %llu",
                       (unsigned long long)(s->end - s->begin), (unsigned long long)bytes);
    m->integer = known[which].size;
    m->offset = data_offset + s->begin;
    return MP_OK;
}

static mp_status take_text(const json_t *metadata, const char *name, char *text, size_t size, mp_error *err) {
    const json_t *value = json_object_get(metadata, name);
    if (!value) return MP_OK;
    if (!json_is_string(value) || json_string_length(value) >= size)
        return mp_fail(err, MP_EINPUT, "__metadata__: %s: expected a text of at most %zu bytes", name,
                       size - 1);
    memcpy(text, json_string_value(value), json_string_length(value) + 1);
    return MP_OK;
}

/* The data, from its first byte to its last, belongs to one tensor each. */
static mp_status check_cover(span *spans, size_t count, uint64_t data_bytes, mp_error *err) {
    uint64_t at = 0;
    qsort(spans, count, sizeof *spans, by_place);
    for (size_t i = 0; i < count; at = spans[i++].end)
        if (spans[i].begin != at)
            return mp_fail(err, MP_EINPUT, "%.100s begins at byte %llu of the data, where %s at %llu",
                           spans[i].name, (unsigned long long)spans[i].begin,
                           i ? "the tensor before it ends" : "they begin", (unsigned long long)at);
    if (at != data_bytes)
        return mp_fail(err, MP_EINPUT, "the tensors end at byte %llu of the data, which has %llu",
                       (unsigned long long)at, (unsigned long long)data_bytes);
    return MP_OK;
}

static mp_status take_header(json_t *header, uint64_t data_offset, uint64_t data_bytes, mp_container *c,
                             mp_error *err) {
    const char *name;
    json_t *entry;
    size_t count = 0;
    mp_status status = MP_OK;
    span *spans = malloc((json_object_size(header) + 1) * sizeof *spans);
    if (!spans) return mp_fail(err, MP_EMEMORY, "no memory for its tensors");
    json_object_foreach(header, name, entry) {
        if (strcmp(name, "__metadata__") == 0) {
            status = take_text(entry, "case", c->case_text, sizeof c->case_text, err);
            if (status == MP_OK) status = take_text(entry, "contract", c->contract, sizeof c->contract, err);
            if (status != MP_OK) break;
            continue;
        }
        span *s = &spans[count++];
        s->name = name;
        status = take_span(entry, data_bytes, s, err);
        const mp_tensor_id id = status == MP_OK ? mp_container_find(c, name) : MP_TENSOR_COUNT;
        if (id != MP_TENSOR_COUNT) status = take_member(entry, s, data_offset, &c->member[id], err);
        if (status != MP_OK) {
            mp_error_prefix(err, "%.100s", name);
            break;
        }
    }
    if (status == MP_OK) status = check_cover(spans, count, data_bytes, err);
    free(spans);
    return status;
}

mp_status mp_safetensors_parse(const char *text, size_t bytes, uint64_t data_offset, uint64_t data_bytes,
                               mp_container *c, mp_error *err) {
    json_error_t why;
    json_t *header = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &why);
    if (!header)
        return mp_fail(err, MP_EINPUT, "its header is no JSON: %s at byte %d", why.text, why.position);
    const mp_status status = json_is_object(header) ? take_header(header, data_offset, data_bytes, c, err)
                                                    : mp_fail(err, MP_EINPUT, "its header is no object");
    json_decref(header);
    return status;
}

/* All bytes from `offset` on: a file that ends before has changed since it was opened. */
static mp_status read_bytes(int descriptor, void *to, uint64_t bytes, uint64_t offset, mp_error *err) {
    for (char *p = to; bytes > 0;) {
        const size_t most = bytes < (uint64_t)1 << 30 ? (size_t)bytes : (size_t)1 << 30;
        const ssize_t got = pread(descriptor, p, most, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0)
            return mp_fail(err, MP_EINPUT, "cannot read %llu bytes at %llu: %s", (unsigned long long)bytes,
                           (unsigned long long)offset, got < 0 ? strerror(errno) : "the file ends");
        p += got;
        bytes -= (uint64_t)got;
        offset += (uint64_t)got;
    }
    return MP_OK;
}

mp_status mp_safetensors_open(mp_container *c, uint64_t file_bytes, mp_error *err) {
    unsigned char length[LENGTH_BYTES];
    uint64_t header_bytes = 0;
    mp_status status = read_bytes(c->descriptor, length, sizeof length, 0, err);
    if (status != MP_OK) return status;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--) header_bytes = header_bytes << 8 | length[i];
    if (header_bytes > MOST_HEADER_BYTES || header_bytes > file_bytes - LENGTH_BYTES)
        return mp_fail(err, MP_EINPUT,
                       "neither HDF5 nor safetensors: a header of %llu bytes in a file of %llu",
                       (unsigned long long)header_bytes, (unsigned long long)file_bytes);
    char *header = malloc((size_t)header_bytes + 1);
    if (!header)
        return mp_fail(err, MP_EMEMORY, "no memory for a header of %llu bytes",
                       (unsigned long long)header_bytes);
    status = read_bytes(c->descriptor, header, header_bytes, LENGTH_BYTES, err);
    if (status == MP_OK)
        status = mp_safetensors_parse(header, (size_t)header_bytes, LENGTH_BYTES + header_bytes,
                                      file_bytes - LENGTH_BYTES - header_bytes, c, err);
    free(header);
    return status;
}

mp_status mp_safetensors_read(const mp_container *c, const mp_member *m, mp_tensor *t, mp_error *err) {
    const int64_t count = mp_tensor_count(t);
    if (!m->integer) return read_bytes(c->descriptor, t->data, mp_tensor_bytes(t), m->offset, err);
    const uint64_t bytes = (uint64_t)count * (uint64_t)(m->integer < 0 ? -m->integer : m->integer);
    void *raw = malloc((size_t)bytes);
    if (!raw) return mp_fail(err, MP_EMEMORY, "no memory for %llu bytes", (unsigned long long)bytes);
    mp_status status = read_bytes(c->descriptor, raw, bytes, m->offset, err);
    if (status == MP_OK) status = mp_integers_to_int32(raw, m->integer, count, t->data, err);
    free(raw);
    return status;
}
