/* SPDX-License-Identifier: Apache-2.0 */
/* A folder for languages that read bytes: NAME.bin of each tensor, and what they are in manifest.json. */
#include "base/file.h"
#include "files/export_formats.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static mp_status write_tensor(const char *folder, const char *name, const mp_tensor *t, json_t *list,
                              mp_error *err) {
    char path[PATH_MAX];
    json_t *shape = json_array();
    for (int i = 0; i < t->rank; i++) json_array_append_new(shape, json_integer(t->dim[i]));
    snprintf(path, sizeof path, "%s.bin", name);
    json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:s}", "name", name, "dtype",
                                          mp_dtype_name(t->dtype), "shape", shape, "file", path));
    snprintf(path, sizeof path, "%s/%s.bin", folder, name);
    return mp_file_replace(path, t->data, mp_tensor_bytes(t), err);
}

static mp_status write_manifest(const char *folder, const mp_export *e, json_t *list, mp_error *err) {
    char path[PATH_MAX];
    json_t *manifest = json_pack("{s:s, s:O}", "case", e->case_text, "tensors", list);
    if (e->contract) json_object_set_new(manifest, "contract", json_string(e->contract));
    char *text = json_dumps(manifest, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
    snprintf(path, sizeof path, "%s/manifest.json", folder);
    const mp_status status = text ? mp_file_replace(path, text, strlen(text), err)
                                  : mp_fail(err, MP_EMEMORY, "no memory for %s", path);
    free(text);
    json_decref(manifest);
    return status;
}

/* What was written of a folder that is not wanted. */
static void remove_folder(const char *folder) {
    char path[PATH_MAX];
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        snprintf(path, sizeof path, "%s/%s.bin", folder, mp_tensor_name((mp_tensor_id)id));
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/manifest.json", folder);
    unlink(path);
    rmdir(folder);
}

mp_status mp_export_raw(const mp_export *e, const char *path, mp_error *err) {
    enum { LONGEST_NAME = 64 };
    char folder[PATH_MAX];
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    const int used = snprintf(folder, sizeof folder, "%.*s.tmp.%ld", (int)length, path, (long)getpid());
    if (length == 0 || used > PATH_MAX - LONGEST_NAME)
        return mp_fail(err, MP_EIO, "cannot write the folder %s: %s", path,
                       length ? "its path is too long" : "it has no name");
    if (mkdir(folder, 0777) != 0)
        return mp_fail(err, MP_EIO, "cannot make the folder %s: %s", folder, strerror(errno));
    json_t *list = json_array();
    mp_status status = MP_OK;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++)
        if (e->t[id].data)
            status = write_tensor(folder, mp_tensor_name((mp_tensor_id)id), &e->t[id], list, err);
    if (status == MP_OK) status = write_manifest(folder, e, list, err);
    json_decref(list);
    if (status == MP_OK && rename(folder, path) != 0)
        status = mp_fail(err, MP_EIO, "cannot rename %s to %s: %s (a folder is replaced if it is empty)",
                         folder, path, strerror(errno));
    if (status != MP_OK) remove_folder(folder);
    return status;
}
