/* SPDX-License-Identifier: Apache-2.0 */
#include "golden/h5.h"

#include "golden/files.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_TEXT_BYTES ((size_t)1 << 16) /* of an attribute: what an object header can hold */

void mp_h5_quiet(void) {
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

static herr_t take_innermost(unsigned depth, const H5E_error2_t *error, void *text) {
    if (depth == 0 && error->desc != NULL) snprintf(text, 512, "%s", error->desc);
    return 0;
}

mp_status mp_h5_fail(mp_error *err, mp_status status, const char *format, ...) {
    char context[640], raw[512] = "", *detail = raw;
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof context, format, args);
    va_end(args);
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_innermost, raw);
    H5Eclear2(H5E_DEFAULT);
    /* The file driver's messages hold a date, a line break and pointers around the one thing of use: the
     * errno text. */
    char *system_text = strstr(raw, "error message = '");
    if (system_text != NULL) {
        detail = system_text + strlen("error message = '");
        detail[strcspn(detail, "'")] = '\0';
    }
    detail[strcspn(detail, "\n")] = '\0';
    if (*detail == '\0') return mp_fail(err, status, "%s", context);
    return mp_fail(err, status, "%s (HDF5: %s)", context, detail);
}

/* Every binary format of mp_format has the IEEE shape sign | exponent | fraction without gaps, so its fields
 * follow from its size, precision and emin. A reader that knows only IEEE rules takes the top exponent for
 * Inf and NaN: true for all formats but e4m3fn, whose codes from 256 to 448 such a reader shows as Inf or
 * NaN. The stored bits are exact in any case, and this program decodes them itself. What HDF5 has no type for
 * is bytes with a tag. */
static hid_t tagged_byte(const char *tag) {
    const hid_t type = H5Tcreate(H5T_OPAQUE, 1);
    if (type >= 0 && H5Tset_tag(type, tag) >= 0) return type;
    if (type >= 0) H5Tclose(type);
    return H5I_INVALID_HID;
}

hid_t mp_h5_type(mp_dtype dtype) {
    if (dtype == MP_I32) return H5Tcopy(H5T_STD_I32LE);
    if (dtype == MP_I8) return H5Tcopy(H5T_STD_I8LE);
    if (dtype == MP_U8) return H5Tcopy(H5T_STD_U8LE);
    if (dtype == MP_UE8M0 || mp_dtype_is_packed(dtype)) return tagged_byte(mp_dtype_name(dtype));
    const mp_format *format = mp_dtype_format(dtype);
    size_t bits = (size_t)format->bits, fraction = (size_t)format->precision - 1,
           exponent = bits - 1 - fraction;
    hid_t type = H5Tcopy(H5T_IEEE_F64LE);
    if (type < 0) return type;
    /* From wide to narrow: fields first, then what surrounds them. */
    if (H5Tset_fields(type, bits - 1, fraction, exponent, 0, fraction) < 0 ||
        H5Tset_precision(type, bits) < 0 || H5Tset_size(type, bits / 8) < 0 ||
        H5Tset_ebias(type, (size_t)(1 - format->emin)) < 0) {
        H5Tclose(type);
        return H5I_INVALID_HID;
    }
    return type;
}

mp_tensor mp_h5_layout(const mp_tensor *t) {
    mp_tensor layout = *t;
    if (!mp_dtype_is_packed(t->dtype)) return layout;
    layout.dtype = MP_U8;
    layout.dim[t->rank - 1] = (int64_t)mp_tensor_row_bytes(t);
    return layout;
}

bool mp_h5_dtype(hid_t type, mp_dtype *dtype) {
    for (int i = 0; i < MP_DTYPE_COUNT; i++) {
        hid_t known = mp_h5_type((mp_dtype)i);
        bool equal = known >= 0 && H5Tequal(type, known) > 0;
        if (known >= 0) H5Tclose(known);
        if (equal) {
            *dtype = (mp_dtype)i;
            return true;
        }
    }
    return false;
}

static mp_status write_attribute(hid_t object, const char *name, hid_t type, hid_t space, const void *data,
                                 mp_error *err) {
    mp_status status = MP_EIO;
    hid_t attribute = type < 0 || space < 0 ? H5I_INVALID_HID
                                            : H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    if (attribute >= 0 && H5Awrite(attribute, type, data) >= 0) status = MP_OK;
    if (status != MP_OK) mp_h5_fail(err, status, "cannot write attribute '%s'", name);
    if (attribute >= 0) H5Aclose(attribute);
    return status;
}

mp_status mp_h5_write_text(hid_t object, const char *name, const char *text, mp_error *err) {
    hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    if (type >= 0) {
        H5Tset_size(type, strlen(text) + 1);
        H5Tset_cset(type, H5T_CSET_UTF8);
    }
    mp_status status = write_attribute(object, name, type, space, text, err);
    if (type >= 0) H5Tclose(type);
    if (space >= 0) H5Sclose(space);
    return status;
}

mp_status mp_h5_write_integers(hid_t object, const char *name, const int64_t *values, int count,
                               mp_error *err) {
    hsize_t length = (hsize_t)count;
    hid_t space = count == 1 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &length, NULL);
    mp_status status = write_attribute(object, name, H5T_STD_I64LE, space, values, err);
    if (space >= 0) H5Sclose(space);
    return status;
}

mp_status mp_h5_find(hid_t group, const char *name, bool *found, mp_error *err) {
    H5L_info_t info;
    const htri_t exists = H5Lexists(group, name, H5P_DEFAULT);
    *found = exists > 0;
    if (exists == 0) return MP_OK;
    if (exists < 0 || H5Lget_info(group, name, &info, H5P_DEFAULT) < 0)
        return mp_h5_fail(err, MP_EINPUT, "cannot look for '%s'", name);
    return info.type == H5L_TYPE_HARD ? MP_OK : mp_h5_refuse_link(name, info.type, err);
}

mp_status mp_h5_refuse_link(const char *name, H5L_type_t type, mp_error *err) {
    return mp_fail(err, MP_EINPUT,
                   "'%s' is %s link; only what lies in the file itself is read: put a copy there", name,
                   type == H5L_TYPE_SOFT       ? "a soft"
                   : type == H5L_TYPE_EXTERNAL ? "an external"
                                               : "a user-defined");
}

/* An open attribute with its type and its number of elements. */
typedef struct attribute {
    hid_t id, type, space;
    hssize_t elements;
} attribute;

static void close_attribute(attribute *a) {
    if (a->space >= 0) H5Sclose(a->space);
    if (a->type >= 0) H5Tclose(a->type);
    if (a->id >= 0) H5Aclose(a->id);
}

static mp_status open_attribute(hid_t object, const char *name, attribute *a, mp_error *err) {
    *a = (attribute){H5I_INVALID_HID, H5I_INVALID_HID, H5I_INVALID_HID, -1};
    const htri_t exists = H5Aexists(object, name);
    if (exists == 0) return mp_fail(err, MP_EINPUT, "attribute '%s' is missing", name);
    if (exists < 0 || (a->id = H5Aopen(object, name, H5P_DEFAULT)) < 0 ||
        (a->type = H5Aget_type(a->id)) < 0 || (a->space = H5Aget_space(a->id)) < 0)
        return mp_h5_fail(err, MP_EINPUT, "cannot read attribute '%s'", name);
    a->elements = H5Sget_simple_extent_npoints(a->space);
    return MP_OK;
}

/* A text of fixed length, in the padding of C, numpy or Fortran, allocated by malloc; NULL when it cannot be
 * read. */
static char *copy_text(const attribute *a, size_t size) {
    char *text = calloc(1, size + 1);
    if (text == NULL || H5Aread(a->id, a->type, text) < 0) {
        free(text);
        return NULL;
    }
    if (H5Tget_strpad(a->type) == H5T_STR_SPACEPAD)
        for (size_t length = strlen(text); length > 0 && text[length - 1] == ' '; length--)
            text[length - 1] = '\0';
    return text;
}

mp_status mp_h5_read_text(hid_t object, const char *name, char *text, size_t size, mp_error *err) {
    attribute a;
    char *read = NULL;
    mp_status status = open_attribute(object, name, &a, err);
    if (status != MP_OK) goto out;
    status = MP_EINPUT;
    if (H5Tget_class(a.type) != H5T_STRING || a.elements != 1) {
        mp_h5_fail(err, status, "attribute '%s' is not one text", name);
        goto out;
    }
    if (H5Tis_variable_str(a.type) != 0) {
        mp_fail(
            err, status,
            "attribute '%s' is a text of variable length; expected a fixed one, as numpy.bytes_(text) has in "
            "h5py",
            name);
        goto out;
    }
    const size_t stored = H5Tget_size(a.type);
    if (stored <= MOST_TEXT_BYTES && (read = copy_text(&a, stored)) == NULL) {
        mp_h5_fail(err, status, "cannot read attribute '%s'", name);
        goto out;
    }
    const size_t length = read ? strlen(read) : stored;
    if (length >= size) {
        mp_fail(err, status, "attribute '%s' has %zu bytes; expected at most %zu", name, length, size - 1);
        goto out;
    }
    memcpy(text, read, length + 1);
    status = MP_OK;
out:
    free(read);
    close_attribute(&a);
    return status;
}

mp_status mp_h5_read_integers(hid_t object, const char *name, int64_t *values, int capacity, int *count,
                              mp_error *err) {
    attribute a;
    mp_status status = open_attribute(object, name, &a, err);
    if (status != MP_OK) goto out;
    status = MP_EINPUT;
    if (H5Tget_class(a.type) != H5T_INTEGER || H5Tget_size(a.type) > sizeof *values || a.elements < 1 ||
        a.elements > capacity) {
        mp_h5_fail(err, status, "attribute '%s' is not 1 to %d integers of at most 64 bits", name, capacity);
        goto out;
    }
    if (H5Aread(a.id, H5T_NATIVE_INT64, values) < 0) {
        mp_h5_fail(err, status, "cannot read attribute '%s'", name);
        goto out;
    }
    *count = (int)a.elements;
    status = MP_OK;
out:
    close_attribute(&a);
    return status;
}

mp_status mp_h5_read_integer(hid_t object, const char *name, int64_t lo, int64_t hi, int64_t *value,
                             mp_error *err) {
    int count;
    const mp_status status = mp_h5_read_integers(object, name, value, 1, &count, err);
    if (status != MP_OK || (*value >= lo && *value <= hi)) return status;
    return mp_fail(err, MP_EINPUT, "attribute '%s' is %lld; expected %lld to %lld", name, (long long)*value,
                   (long long)lo, (long long)hi);
}

const char *mp_golden_library_version(void) {
    static char text[32];
    unsigned major = 0, minor = 0, release = 0;
    H5get_libversion(&major, &minor, &release);
    snprintf(text, sizeof text, "%u.%u.%u", major, minor, release);
    return text;
}
