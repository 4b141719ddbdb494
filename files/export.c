/* SPDX-License-Identifier: Apache-2.0 */
#include "files/export.h"

#include "base/file.h"
#include "files/export_formats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    mp_status (*write)(const mp_export *e, const char *path, mp_error *err);
} formats[MP_EXPORT_COUNT] = {
    [MP_EXPORT_NPZ] = {"npz", mp_export_npz},
    [MP_EXPORT_H5] = {"h5", mp_export_h5},
    [MP_EXPORT_SAFETENSORS] = {"safetensors", mp_export_safetensors},
    [MP_EXPORT_RAW] = {"raw", mp_export_raw},
};

bool mp_export_format_parse(const char *name, mp_export_format *format) {
    for (int i = 0; i < MP_EXPORT_COUNT; i++) {
        if (strcmp(formats[i].name, name) != 0) continue;
        *format = (mp_export_format)i;
        return true;
    }
    return false;
}

bool mp_export_format_of_path(const char *path, mp_export_format *format) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    if (!dot || strcmp(dot + 1, "raw") == 0) return false;
    return mp_export_format_parse(strcmp(dot, ".hdf5") == 0 ? "h5" : dot + 1, format);
}

mp_status mp_export_write(const mp_export *e, mp_export_format format, const char *path, mp_error *err) {
    return formats[format].write(e, path, err);
}
