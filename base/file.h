/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files: read one, or replace one atomically. */
#ifndef MP_BASE_FILE_H
#define MP_BASE_FILE_H

#include "moeparity/status.h"

#include <stdbool.h>
#include <stddef.h>

/* Opens a regular file for reading; *fd is the caller's to close, *size the bytes it says to have. Anything
 * else
 * - a directory, a FIFO, a device, a socket - is refused at once, without waiting for its other end. MP_EIO
 * "PATH: Permission denied; expected WHAT", with `what` like "a golden file". */
mp_status mp_file_open(const char *path, const char *what, int *fd, size_t *size, mp_error *err);
/* Reads a whole regular file of at most MP_FILE_MOST_BYTES, or of at most `most`; *data is NUL-terminated
 * (not counted in *size) and freed by the caller. MP_EIO with path and errno text, or size and limit. */
#define MP_FILE_MOST_BYTES ((size_t)256 << 20)
mp_status mp_file_read(const char *path, char **data, size_t *size, mp_error *err);
mp_status mp_file_read_at_most(const char *path, size_t most, char **data, size_t *size, mp_error *err);
/* MP_EIO where mp_file_replace could not write: what is there is not a regular file, or it is this program's
 * own output, or no file can be made beside it. */
mp_status mp_file_writable(const char *path, mp_error *err);
/* Writes `<path>.tmp.<pid>`, flushes it to the disk and renames it over path; where path is a link, over the
 * file it leads to. On failure (a full disk too) the temporary file is removed and path is as it was. */
mp_status mp_file_replace(const char *path, const void *data, size_t size, mp_error *err);
/* The same of several parts, one behind the other. */
typedef struct mp_part {
    const void *data;
    size_t size;
} mp_part;
mp_status mp_file_replace_parts(const char *path, const mp_part *parts, size_t count, mp_error *err);
/* Writes all bytes, however many calls that takes. False with errno. */
bool mp_write_all(int fd, const void *data, size_t size);
/* Whether both paths lead to one file, which need not be there yet. Hard links are different files: a
 * replacement parts them. */
bool mp_file_same(const char *a, const char *b);
/* Creates a directory and its parents; an existing one is fine. */
mp_status mp_file_make_directories(const char *path, mp_error *err);

#endif
