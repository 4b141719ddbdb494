/* SPDX-License-Identifier: Apache-2.0 */
#include "reports/sha256.h"

#include "base/file.h"

#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>

void mp_sha256(const void *data, size_t size, char text[MP_SHA256_SIZE]) {
    struct sha256_ctx state;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&state);
    sha256_update(&state, size, data);
    sha256_digest(&state, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) sprintf(text + 2 * i, "%02x", digest[i]);
}

mp_status mp_sha256_file(const char *path, size_t most, char text[MP_SHA256_SIZE], size_t *size,
                         mp_error *err) {
    char *data = NULL;
    size_t bytes = 0;
    const mp_status status = mp_file_read_at_most(path, most, &data, &bytes, err);
    if (status == MP_OK) mp_sha256(data, bytes, text);
    if (size) *size = bytes;
    free(data);
    return status;
}
