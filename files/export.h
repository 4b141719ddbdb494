/* SPDX-License-Identifier: Apache-2.0 */
/* Writes named tensors, and texts about them, for other programs. */
#ifndef MP_FILES_EXPORT_H
#define MP_FILES_EXPORT_H

#include "moeparity/graph.h"

typedef enum mp_export_format {
    MP_EXPORT_NPZ,         /* numpy.load; bf16 as uint16 */
    MP_EXPORT_H5,          /* h5py; bf16 as uint16 with the attribute dtype="bf16" */
    MP_EXPORT_SAFETENSORS, /* with case and contract in __metadata__ */
    MP_EXPORT_RAW,         /* a folder: NAME.bin, row-major and little-endian, and manifest.json */
    MP_EXPORT_COUNT
} mp_export_format;

/* By "npz", "h5", "safetensors", "raw"; by the end of a path, where .hdf5 is h5 too and a path without one is
 * no format. */
bool mp_export_format_parse(const char *name, mp_export_format *format);
bool mp_export_format_of_path(const char *path, mp_export_format *format);

/* An array beside the case's own tensors, under a name of at most 48 characters. */
typedef struct mp_export_extra {
    const char *name;
    mp_tensor t;
} mp_export_extra;
enum { MP_EXPORT_EXTRAS = 4 };

typedef struct mp_export {
    const char *case_text, *contract;        /* contract: NULL: none */
    mp_tensor t[MP_TENSOR_COUNT];            /* those with data are written */
    mp_export_extra extra[MP_EXPORT_EXTRAS]; /* and so are these, behind them; but not into a raw folder */
} mp_export;

/* Writes a temporary file (or folder) beside it and renames that: on an error `path` is as it was. A folder
 * must not be there yet, or be empty. MP_EIO, MP_EMEMORY. */
mp_status mp_export_write(const mp_export *e, mp_export_format format, const char *path, mp_error *err);

#endif
