/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 of contents, in 64 lower-case digits. It tells a file from any other one; it is no signature. */
#ifndef MP_REPORTS_SHA256_H
#define MP_REPORTS_SHA256_H

#include "moeparity/status.h"

#include <stddef.h>

enum { MP_SHA256_SIZE = 65 };
void mp_sha256(const void *data, size_t size, char text[MP_SHA256_SIZE]);
/* Of a regular file of at most `most` bytes. MP_EIO. *size, which may be NULL, becomes its size. */
mp_status mp_sha256_file(const char *path, size_t most, char text[MP_SHA256_SIZE], size_t *size,
                         mp_error *err);

#endif
