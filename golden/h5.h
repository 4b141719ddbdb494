/* SPDX-License-Identifier: Apache-2.0 */
/* The little of HDF5 that goldens need: errors as mp_error, number formats as HDF5 types, attributes. */
#ifndef MP_GOLDEN_H5_H
#define MP_GOLDEN_H5_H

#include "moeparity/status.h"
#include "moeparity/tensor.h"

#include <hdf5.h>

/* Turns off HDF5's own printing of errors: they travel in mp_error. */
void mp_h5_quiet(void);
/* Like mp_fail, with the innermost message of HDF5's error stack appended (for a system call: the errno text
 * alone). To be called at once: every call into HDF5 clears the stack. */
mp_status mp_h5_fail(mp_error *err, mp_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The HDF5 type with the bits of dtype, little-endian; a new id, or negative. */
hid_t mp_h5_type(mp_dtype dtype);
/* What lies in the file: the tensor, or of a packed one its bytes, with a last axis of half the length. */
mp_tensor mp_h5_layout(const mp_tensor *t);
/* The dtype whose HDF5 type equals `type`; false when there is none. */
bool mp_h5_dtype(hid_t type, mp_dtype *dtype);

/* Whether the group holds `name`. What is found must lie in the file itself: a soft, external or user-defined
 * link is MP_EINPUT, for following it could open any file, or wait for a FIFO. */
mp_status mp_h5_find(hid_t group, const char *name, bool *found, mp_error *err);
mp_status mp_h5_refuse_link(const char *name, H5L_type_t type, mp_error *err); /* any but a hard one */

/* Attributes. Text is stored with a fixed length: it then lies in the object header, which HDF5 guards with a
 * checksum. Writing fails with MP_EIO; reading with MP_EINPUT when the attribute is missing or of another
 * kind, or a text does not fit in size bytes. Integers of up to 64 bits are read.
 *
 * A text of variable length, which h5py makes of a str, is refused: HDF5 1.10 believes whatever length its
 * reference claims, copies gigabytes, and writes beyond its own buffers when the heap holds more. */
mp_status mp_h5_write_text(hid_t object, const char *name, const char *text, mp_error *err);
mp_status mp_h5_write_integers(hid_t object, const char *name, const int64_t *values, int count,
                               mp_error *err);
mp_status mp_h5_read_text(hid_t object, const char *name, char *text, size_t size, mp_error *err);
mp_status mp_h5_read_integers(hid_t object, const char *name, int64_t *values, int capacity, int *count,
                              mp_error *err);
/* Has a file of this access list built in memory; once it is closed *image, which outlives it, holds the
 * bytes (freed by the caller), of which the first mp_h5_image_size are the file. */
bool mp_h5_build_in_memory(hid_t access_list, void **image);
size_t mp_h5_image_size(const void *image);

/* One integer between lo and hi. */
mp_status mp_h5_read_integer(hid_t object, const char *name, int64_t lo, int64_t hi, int64_t *value,
                             mp_error *err);

#endif
