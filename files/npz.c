/* SPDX-License-Identifier: Apache-2.0 */
/* .npz: a zip archive of stored .npy files, as numpy.savez writes it. A library for zip would bring decoders
 * of half a dozen compressions for what are three fixed records (APPNOTE.TXT 4.3.7, 4.3.12, 4.3.14 to
 * 4.3.16). Sizes are always told in 64 bits, which every reader of numpy's age knows. */
#include "base/file.h"
#include "files/export_formats.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NAME_BYTES = 64,
    HEAD_BYTES = 1024, /* of a member: its zip record and its npy header */
    TAIL_BYTES = 128,
    TEXTS = 2,
    MOST_MEMBERS = MP_TENSOR_COUNT + MP_EXPORT_EXTRAS + TEXTS,
    ZIP64 = 45,               /* the version that reads 64-bit sizes */
    JANUARY_1980 = 1 << 5 | 1 /* the day of all members: equal contents are equal archives */
};

static void put(char **at, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) *(*at)++ = (char)(value >> 8 * i & 0xFF);
}

static void put_bytes(char **at, const void *bytes, size_t size) {
    memcpy(*at, bytes, size);
    *at += size;
}

/* CRC-32 of zip: the reflected polynomial EDB88320. */
static uint32_t crc_of(uint32_t crc, const void *data, size_t size) {
    uint32_t table[256];
    const unsigned char *p = data;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] & 1 ? 0xEDB88320u ^ table[i] >> 1 : table[i] >> 1;
    }
    crc = ~crc;
    for (size_t i = 0; i < size; i++) crc = table[(crc ^ p[i]) & 0xFF] ^ crc >> 8;
    return ~crc;
}

typedef struct member {
    char name[NAME_BYTES], head[HEAD_BYTES];
    size_t zip_bytes, npy_bytes; /* of head */
    const void *data;
    size_t bytes;
    uint32_t crc;
    uint64_t offset;
} member;

typedef struct archive {
    member member[MOST_MEMBERS];
    size_t count;
    uint64_t bytes;
    uint32_t *text[TEXTS]; /* of members that are texts, as numpy has them: four bytes a character */
} archive;

static const char *descr_of(mp_dtype dtype) {
    switch (dtype) {
    case MP_BF16: return "<u2"; /* its codes: numpy has no such type */
    case MP_FP16: return "<f2";
    case MP_FP32: return "<f4";
    case MP_FP64: return "<f8";
    case MP_I32: return "<i4";
    case MP_E4M3:
    case MP_E5M2:
    case MP_U8:
    case MP_UE8M0:
    case MP_I4: /* packed: bytes */
    case MP_U4:
    case MP_E2M1: return "|u1";
    case MP_I8: return "|i1";
    case MP_DTYPE_COUNT: break;
    }
    return "|V1";
}

/* NumPy Enhancement Proposal 1: magic, version, and a Python literal, padded to 64 bytes by blanks. */
static void make_npy(member *m, const char *descr, const char *shape) {
    char literal[512], *at = m->head + m->zip_bytes;
    const int length = snprintf(literal, sizeof literal,
                                "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, shape);
    const size_t before = 10 + (size_t)length + 1, padded = (before + 63) / 64 * 64;
    put_bytes(&at, "\x93NUMPY\x01\x00", 8);
    put(&at, padded - 10, 2);
    put_bytes(&at, literal, (size_t)length);
    memset(at, ' ', padded - before);
    at[padded - before] = '\n';
    m->npy_bytes = padded;
}

/* What a local header and an entry of the directory have in common, from the version on. */
static void put_entry(char **at, const member *m, int extra_bytes) {
    put(at, ZIP64, 2);
    put(at, 0, 2); /* flags */
    put(at, 0, 2); /* stored */
    put(at, 0, 2);
    put(at, JANUARY_1980, 2);
    put(at, m->crc, 4);
    put(at, UINT32_MAX, 4);
    put(at, UINT32_MAX, 4); /* both sizes: in the extra field */
    put(at, strlen(m->name), 2);
    put(at, (uint64_t)extra_bytes, 2);
}

static void put_sizes(char **at, const member *m, bool offset) {
    put(at, 1, 2);
    put(at, offset ? 24 : 16, 2);
    put(at, m->npy_bytes + m->bytes, 8);
    put(at, m->npy_bytes + m->bytes, 8);
    if (offset) put(at, m->offset, 8);
}

static void add_member(archive *a, const char *name, const char *descr, const char *shape, const void *data,
                       size_t bytes) {
    enum { LOCAL = 30, EXTRA = 20 };
    member *m = &a->member[a->count++];
    char *at = m->head;
    snprintf(m->name, sizeof m->name, "%s.npy", name);
    m->zip_bytes = LOCAL + strlen(m->name) + EXTRA;
    m->data = data;
    m->bytes = bytes;
    make_npy(m, descr, shape);
    m->crc = crc_of(crc_of(0, m->head + m->zip_bytes, m->npy_bytes), data, bytes);
    m->offset = a->bytes;
    put(&at, 0x04034B50, 4);
    put_entry(&at, m, EXTRA);
    put_bytes(&at, m->name, strlen(m->name));
    put_sizes(&at, m, false);
    a->bytes += m->zip_bytes + m->npy_bytes + bytes;
}

/* A text as an array without axes: str(archive["case"]). */
static mp_status add_text(archive *a, int which, const char *name, const char *text, mp_error *err) {
    char descr[32];
    const size_t length = strlen(text);
    uint32_t *wide = calloc(length + 1, sizeof *wide);
    if (!(a->text[which] = wide)) return mp_fail(err, MP_EMEMORY, "no memory for a text");
    for (size_t i = 0; i < length; i++) wide[i] = (unsigned char)text[i];
    snprintf(descr, sizeof descr, "<U%zu", length);
    add_member(a, name, descr, "", wide, length * sizeof *wide);
    return MP_OK;
}

static void add_tensor(archive *a, const char *name, const mp_tensor *t) {
    char shape[96] = "";
    const int64_t last = t->dim[t->rank - 1] / (mp_dtype_is_packed(t->dtype) ? 2 : 1);
    for (int i = 0, used = 0; i < t->rank; i++)
        used += snprintf(shape + used, sizeof shape - (size_t)used, "%" PRId64 ", ",
                         i < t->rank - 1 ? t->dim[i] : last);
    add_member(a, name, descr_of(t->dtype), shape, t->data, mp_tensor_bytes(t));
}

/* The directory behind the members, and where it is found. */
static size_t make_directory(const archive *a, char *directory) {
    enum { EXTRA = 28 };
    char *at = directory;
    for (size_t i = 0; i < a->count; i++) {
        const member *m = &a->member[i];
        put(&at, 0x02014B50, 4);
        put(&at, ZIP64, 2);
        put_entry(&at, m, EXTRA);
        put(&at, 0, 2); /* comment */
        put(&at, 0, 2); /* disk */
        put(&at, 0, 2);
        put(&at, 0, 4);
        put(&at, UINT32_MAX, 4); /* offset: in the extra field */
        put_bytes(&at, m->name, strlen(m->name));
        put_sizes(&at, m, true);
    }
    const uint64_t bytes = (uint64_t)(at - directory), end = a->bytes + bytes;
    put(&at, 0x06064B50, 4); /* the end, in 64 bits */
    put(&at, 44, 8);
    put(&at, ZIP64, 2);
    put(&at, ZIP64, 2);
    put(&at, 0, 4);
    put(&at, 0, 4);
    put(&at, a->count, 8);
    put(&at, a->count, 8);
    put(&at, bytes, 8);
    put(&at, a->bytes, 8);
    put(&at, 0x07064B50, 4); /* where that is */
    put(&at, 0, 4);
    put(&at, end, 8);
    put(&at, 1, 4);
    put(&at, 0x06054B50, 4); /* the end, in 32 bits */
    put(&at, 0, 4);
    put(&at, a->count, 2);
    put(&at, a->count, 2);
    put(&at, UINT32_MAX, 4);
    put(&at, UINT32_MAX, 4);
    put(&at, 0, 2);
    return (size_t)(at - directory);
}

mp_status mp_export_npz(const mp_export *e, const char *path, mp_error *err) {
    enum { ENTRY_BYTES = 46 + NAME_BYTES + 28 };
    archive *a = calloc(1, sizeof *a);
    char *directory = malloc(MOST_MEMBERS * ENTRY_BYTES + TAIL_BYTES);
    mp_part parts[2 * MOST_MEMBERS + 1];
    size_t count = 0;
    mp_status status = a && directory ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for an archive");
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++)
        if (e->t[id].data) add_tensor(a, mp_tensor_name((mp_tensor_id)id), &e->t[id]);
    for (int i = 0; i < MP_EXPORT_EXTRAS && status == MP_OK; i++)
        if (e->extra[i].t.data) add_tensor(a, e->extra[i].name, &e->extra[i].t);
    if (status == MP_OK) status = add_text(a, 0, "case", e->case_text, err);
    if (status == MP_OK && e->contract) status = add_text(a, 1, "contract", e->contract, err);
    if (status == MP_OK) {
        for (size_t i = 0; i < a->count; i++) {
            const member *m = &a->member[i];
            parts[count++] = (mp_part){m->head, m->zip_bytes + m->npy_bytes};
            parts[count++] = (mp_part){m->data, m->bytes};
        }
        parts[count++] = (mp_part){directory, make_directory(a, directory)};
        status = mp_file_replace_parts(path, parts, count, err);
    }
    for (int i = 0; a && i < TEXTS; i++) free(a->text[i]);
    free(directory);
    free(a);
    return status;
}
