/* SPDX-License-Identifier: Apache-2.0 */
/* A part of a matrix, run as one of several: on another machine, in another job of CI, by another process.
 * The parts do not talk to each other: each cuts the whole matrix itself, and all come to the same cut. */
#ifndef MP_HARNESS_SHARD_H
#define MP_HARNESS_SHARD_H

#include "moeparity/matrix.h"

#include <stdint.h>

enum { MP_SHARDS_MAX = 100000 };

typedef struct mp_shard {
    int index, count; /* 0 to count - 1; 0 of 1 is the whole */
} mp_shard;

/* What the row will cost about, in multiplications: those of its GEMMs in all runs of the case, of its pairs
 * and of what it runs after, and what filling and looking at the tensors takes. A function of the row and of
 * `repeat` (runs of a case; 0: the usual) alone, in integers, so that every machine comes to the same. */
uint64_t mp_row_cost(const mp_matrix_row *row, int repeat);

/* A digest of the name of a case and of its place in the matrix. Their sum, modulo 2^64, over all rows tells
 * whether these are the names of a matrix, each at its place; rows may be added in any order. */
uint64_t mp_row_digest(int64_t row, const char *name);

/* The rows of one shard, in the order of the matrix. */
typedef struct mp_share {
    mp_shard shard;
    mp_matrix matrix; /* the rows are the whole matrix's, which must outlive it: mp_share_free, not
                         mp_matrix_free */
    size_t *place;    /* of each row in the whole */
    size_t cases;     /* of the whole */
    uint64_t names;  /* of the whole: the sum of mp_row_digest over its rows; 0: of files, which alone tell */
    char digest[17]; /* of the whole: names, groups, pairs, and what runs before, in order */
    double part;     /* of the planned cost of the whole; 0 to 1 */
} mp_share;

/* Cuts the matrix: the row that costs most goes first, each to the shard that has least so far; of equals the
 * first. MP_EMEMORY. */
mp_status mp_share_cut(const mp_matrix *whole, mp_shard shard, int repeat, mp_share *share, mp_error *err);
void mp_share_free(mp_share *share);

#endif
