/* SPDX-License-Identifier: Apache-2.0 */
/* Private to files/: the formats of containers. */
#ifndef MP_FILES_FORMATS_H
#define MP_FILES_FORMATS_H

#include "files/container.h"

#include <stddef.h>

/* The JSON header of a safetensors file whose data has data_bytes bytes and begins at data_offset: fills the
 * members, case and contract of *c. MP_EINPUT: it is no such header, or its tensors overlap, leave gaps, or
 * do not end with the data. */
mp_status mp_safetensors_parse(const char *header, size_t header_bytes, uint64_t data_offset,
                               uint64_t data_bytes, mp_container *c, mp_error *err);

mp_status mp_safetensors_open(mp_container *c, uint64_t file_bytes, mp_error *err); /* of c->descriptor */
mp_status mp_safetensors_read(const mp_container *c, const mp_member *m, mp_tensor *t, mp_error *err);

mp_status mp_hdf5_open(mp_container *c, mp_error *err); /* of c->path */
mp_status mp_hdf5_read(const mp_container *c, mp_tensor_id id, const mp_member *m, mp_tensor *t,
                       mp_error *err);
void mp_hdf5_close(mp_container *c);

#endif
