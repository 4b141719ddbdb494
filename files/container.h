/* SPDX-License-Identifier: Apache-2.0 */
/* Files of named tensors that others have written: HDF5 as h5py writes it, and safetensors. Which of the two
 * it is, is seen in the first bytes.
 *
 * Nothing in a file is believed: names, shapes, lengths and offsets are compared with the bytes that are
 * there before anything is allocated by them. libhdf5 itself may crash on metadata that was forged, so that
 * HDF5 is opened by workers (docs/protocol.md). */
#ifndef MP_FILES_CONTAINER_H
#define MP_FILES_CONTAINER_H

#include "moeparity/graph.h"

#include <stdint.h>

/* A tensor as it is stored. dtype is that of its elements; integers of any width become int32 when they are
 * read, unless they are taken for codes. rank 0: the file does not hold it. */
typedef struct mp_member {
    mp_tensor shape; /* data == NULL */
    int integer;     /* bytes of an element of integers, negative where they have a sign; 0: floats */
    uint64_t offset; /* safetensors: of its first byte in the file */
} mp_member;

enum { MP_MEMBER_TEXT_MAX = 1024, MP_PASSED_OVER_MAX = 256 };

typedef struct mp_container {
    char *path;
    int descriptor;                                                   /* safetensors; else -1 */
    int64_t file;                                                     /* HDF5: the id; else -1 */
    mp_member member[MP_TENSOR_COUNT];                                /* by the names of cases/graph.c */
    char case_text[MP_MEMBER_TEXT_MAX], contract[MP_MEMBER_TEXT_MAX]; /* what the file says; "": nothing */
    char passed_over[MP_PASSED_OVER_MAX]; /* names that are no tensor's, separated by ", " */
} mp_container;

/* Opens the file and reads all but the numbers. MP_EINPUT with path and place: not a file, of another format,
 * damaged, a tensor of a dtype or rank that none has, a soft or external link. Close it after MP_OK. */
mp_status mp_container_open(const char *path, mp_container *c, mp_error *err);
/* Takes the bytes of a member for codes of this format, of 8 bits or packed; a packed one has twice as many
 * along the last axis. MP_EINPUT: they are no bytes, of int8 none with a sign, or of another format. */
mp_status mp_container_take_codes(mp_container *c, mp_tensor_id id, mp_dtype codes, mp_error *err);
/* Reads the numbers of a member into t->data, whose count is that of the member: floats as they are stored,
 * integers as int32. MP_EINPUT: they cannot be read, or an integer does not fit. */
mp_status mp_container_read(const mp_container *c, mp_tensor_id id, mp_tensor *t, mp_error *err);
void mp_container_close(mp_container *c);

/* For the formats: which tensor the name is of, or MP_TENSOR_COUNT, which is then noted as passed over. */
mp_tensor_id mp_container_find(mp_container *c, const char *name);
/* Takes a shape from a file: 1 to MP_MAX_RANK axes, none of them empty, at most 2^48 elements. */
mp_status mp_member_set_shape(mp_member *m, mp_dtype dtype, int rank, const int64_t *dim, mp_error *err);
/* Integers of `size` bytes (negative: with a sign) become int32. MP_EINPUT names the first that does not fit.
 * */
mp_status mp_integers_to_int32(const void *from, int size, int64_t count, int32_t *to, mp_error *err);

#endif
