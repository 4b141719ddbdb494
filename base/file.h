/* Whole files: read one, or replace one atomically. */
#ifndef MP_BASE_FILE_H
#define MP_BASE_FILE_H

#include "base/status.h"

#include <stddef.h>

/* Reads a whole file; *data is NUL-terminated (not counted in *size) and freed by the caller. MP_EIO with path and errno text. */
mp_status mp_file_read(const char *path, char **data, size_t *size, mp_error *err);
/* Writes `<path>.tmp.<pid>`, flushes it to the disk and renames it over path. On failure (a full disk too) the temporary file is removed and path
 * is as it was. */
mp_status mp_file_replace(const char *path, const void *data, size_t size, mp_error *err);
/* Creates a directory and its parents; an existing one is fine. */
mp_status mp_file_make_directories(const char *path, mp_error *err);

#endif
