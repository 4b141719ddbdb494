/* The little of HDF5 that goldens need: errors as mp_error, number formats as HDF5 types, attributes. */
#ifndef MP_GOLDEN_H5_H
#define MP_GOLDEN_H5_H

#include "base/dtype.h"
#include "base/status.h"

#include <hdf5.h>

/* Turns off HDF5's own printing of errors: they travel in mp_error. */
void mp_h5_quiet(void);
/* Like mp_fail, with the innermost message of HDF5's error stack appended (for a system call: the errno text
 * alone). To be called at once: every call into HDF5 clears the stack. */
mp_status mp_h5_fail(mp_error *err, mp_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The HDF5 type with the bits of dtype, little-endian; a new id, or negative. */
hid_t mp_h5_type(mp_dtype dtype);
/* The dtype whose HDF5 type equals `type`; false when there is none. */
bool mp_h5_dtype(hid_t type, mp_dtype *dtype);

/* Attributes. Text is stored with a fixed length: it then lies in the object header, which HDF5 guards with a
 * checksum. Writing fails with MP_EIO; reading with MP_EINPUT when the attribute is missing or of another
 * kind. */
mp_status mp_h5_write_text(hid_t object, const char *name, const char *text, mp_error *err);
mp_status mp_h5_write_integers(hid_t object, const char *name, const int64_t *values, int count,
                               mp_error *err);
mp_status mp_h5_read_text(hid_t object, const char *name, char *text, size_t size, mp_error *err);
mp_status mp_h5_read_integers(hid_t object, const char *name, int64_t *values, int capacity, int *count,
                              mp_error *err);

#endif
