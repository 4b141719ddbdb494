/* SPDX-License-Identifier: Apache-2.0 */
/* Private to files/: how each format is written. */
#ifndef MP_FILES_EXPORT_FORMATS_H
#define MP_FILES_EXPORT_FORMATS_H

#include "files/export.h"

typedef mp_status mp_export_writer(const mp_export *e, const char *path, mp_error *err);
mp_export_writer mp_export_npz, mp_export_h5, mp_export_safetensors, mp_export_raw;

#endif
