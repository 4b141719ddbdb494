/* SPDX-License-Identifier: Apache-2.0 */
/* A dense row-major tensor, and buffers between guard zones. */
#ifndef MOEPARITY_TENSOR_H
#define MOEPARITY_TENSOR_H

#include "moeparity/dtype.h"
#include "moeparity/space.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MP_MAX_RANK 3

/* Absent tensors have data == NULL. Rows are the elements along the last axis; dims before it count rows. */
typedef struct mp_tensor {
    mp_dtype dtype;
    int rank;
    int64_t dim[MP_MAX_RANK];
    void *data;
    struct mp_maker *maker; /* NULL: the data are there. Else they are made for who asks: mp_tensor_make */
} mp_tensor;

mp_tensor mp_tensor_shape(mp_dtype dtype, int rank, int64_t d0, int64_t d1,
                          int64_t d2);       /* data == NULL; unused dims are 1 */
int64_t mp_tensor_count(const mp_tensor *t); /* elements */
size_t mp_tensor_bytes(const mp_tensor *t);
int64_t mp_tensor_rows(const mp_tensor *t);       /* elements / last dim; rank 1: 1 row */
int64_t mp_tensor_row_length(const mp_tensor *t); /* elements in a row */
size_t mp_tensor_row_bytes(const mp_tensor *t);
void *mp_tensor_row(const mp_tensor *t, int64_t row);

/* Allocates t->data (shape already set) between two guard zones and fills all of it with `poison` (a 32-bit
 * pattern; both patterns in use are NaN in every float format, and an impossible index). MP_EMEMORY on
 * failure, MP_EINTERNAL for a negative axis and odd rows of a packed format. Free with mp_tensor_free. */
mp_status mp_tensor_alloc(mp_tensor *t, uint32_t poison, mp_error *err);
/* The same without poison, for data that are written at once and whole. */
mp_status mp_tensor_alloc_unfilled(mp_tensor *t, mp_error *err);
void mp_tensor_free(mp_tensor *t); /* takes an absent tensor; sets data = NULL */
/* To be called before the data of inputs are read, by one thread at a time: makes what of the matrices that
 * are marked, [dim[0]], or of all where it is NULL, is not there yet. Of most tensors all is. */
void mp_tensor_make(const mp_tensor *t, const bool *matrices);
/* The same of activations, by rows: those that are named, [count], but for negative ones, or the first
 * `count` where it is NULL; t may be a window of such a tensor. */
void mp_tensor_make_rows(const mp_tensor *t, const int64_t *rows, int64_t count);
/* First changed guard byte: returns true when both zones are intact; else *offset is its byte offset relative
 * to the data (negative: before it; >= bytes: behind it). */
bool mp_tensor_guards_intact(const mp_tensor *t, int64_t *offset);
/* 64-bit digest (XXH3) of the data, and of one row. */
uint64_t mp_digest(const void *data, size_t bytes); /* XXH3 */
uint64_t mp_tensor_digest(const mp_tensor *t);
uint64_t mp_tensor_row_digest(const mp_tensor *t, int64_t row);

#ifdef __cplusplus
}
#endif

#endif
