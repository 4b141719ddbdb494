/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors, as files/safetensors.c reads it. */
#include "base/file.h"
#include "files/export_formats.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *name_of(mp_dtype dtype) {
    switch (dtype) {
    case MP_BF16: return "BF16";
    case MP_FP16: return "F16";
    case MP_FP32: return "F32";
    case MP_FP64: return "F64";
    case MP_I32: return "I32";
    case MP_E4M3: return "F8_E4M3";
    case MP_E5M2: return "F8_E5M2";
    case MP_I8: return "I8";
    case MP_UE8M0: return "F8_E8M0";
    case MP_U8:
    case MP_I4: /* packed: bytes */
    case MP_U4:
    case MP_E2M1: return "U8";
    case MP_DTYPE_COUNT: break;
    }
    return "";
}

static json_t *entry_of(const mp_tensor *t, uint64_t begin) {
    json_t *shape = json_array();
    for (int i = 0; i < t->rank; i++) {
        const bool halved = i == t->rank - 1 && mp_dtype_is_packed(t->dtype);
        json_array_append_new(shape, json_integer(halved ? t->dim[i] / 2 : t->dim[i]));
    }
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", name_of(t->dtype), "shape", shape, "data_offsets",
                     (json_int_t)begin, (json_int_t)(begin + mp_tensor_bytes(t)));
}

mp_status mp_export_safetensors(const mp_export *e, const char *path, mp_error *err) {
    enum { ALIGNMENT = 8 };
    mp_part parts[MP_TENSOR_COUNT + MP_EXPORT_EXTRAS + 2];
    size_t count = 2;
    uint64_t at = 0;
    unsigned char length[8];
    json_t *metadata = json_pack("{s:s}", "case", e->case_text), *header = json_object();
    if (e->contract) json_object_set_new(metadata, "contract", json_string(e->contract));
    json_object_set_new(header, "__metadata__", metadata);
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const mp_tensor *t = &e->t[id];
        if (!t->data) continue;
        json_object_set_new(header, mp_tensor_name((mp_tensor_id)id), entry_of(t, at));
        parts[count++] = (mp_part){t->data, mp_tensor_bytes(t)};
        at += mp_tensor_bytes(t);
    }
    for (int i = 0; i < MP_EXPORT_EXTRAS; i++) {
        const mp_tensor *t = &e->extra[i].t;
        if (!t->data) continue;
        json_object_set_new(header, e->extra[i].name, entry_of(t, at));
        parts[count++] = (mp_part){t->data, mp_tensor_bytes(t)};
        at += mp_tensor_bytes(t);
    }
    char *text = json_dumps(header, JSON_COMPACT | JSON_PRESERVE_ORDER), *padded = NULL;
    const size_t used = text ? strlen(text) : 0, size = (used + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    mp_status status = text && (padded = malloc(size + 1))
                           ? MP_OK
                           : mp_fail(err, MP_EMEMORY, "no memory for the header of %s", path);
    if (status == MP_OK) {
        memset(padded, ' ', size);
        memcpy(padded, text, used);
        for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)size >> 8 * i & 0xFF);
        parts[0] = (mp_part){length, sizeof length};
        parts[1] = (mp_part){padded, size};
        status = mp_file_replace_parts(path, parts, count, err);
    }
    free(padded);
    free(text);
    json_decref(header);
    return status;
}
