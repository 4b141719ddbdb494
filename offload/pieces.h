/* SPDX-License-Identifier: Apache-2.0 */
/* A grouped GEMM cut into pieces that the device computes at a time: so many columns of the weights of some
 * experts by so many of their slots. */
#ifndef MP_OFFLOAD_PIECES_H
#define MP_OFFLOAD_PIECES_H

#include "ref/gemm_tasks.h"

/* At most MP_TILE slots of one expert: tasks.order[first .. first+count). */
typedef struct mp_row_block {
    int64_t expert, first, count;
    int64_t row;    /* slots in the blocks before it */
    int64_t matrix; /* experts in the blocks before it, but for its own */
} mp_row_block;

/* Of all slots that are in a task, experts ascending; free(*blocks). MP_EMEMORY only. */
mp_status mp_row_blocks(const mp_gemm_tasks *tasks, mp_row_block **blocks, int64_t *count, mp_error *err);

/* The block that has a row of their order. */
const mp_row_block *mp_block_of_row(const mp_row_block *blocks, int64_t count, int64_t row);

/* The most that a piece may hold; rows 0: there is too little memory. */
typedef struct mp_piece_limits {
    int64_t rows, matrices, columns;
    size_t a_bytes, w_bytes, result_bytes; /* that it takes, rows that tiles overhang included */
} mp_piece_limits;

/* In `bytes` of the device, and no more than all of it takes, results in `most` bytes. padded: float64
 * numbers of a decoded row of k; results: how many of a slot and column. */
mp_piece_limits mp_piece_limits_of(const mp_gemm_problem *problem, int64_t padded, int results, size_t bytes,
                                   size_t most);

typedef struct mp_piece {
    int64_t n0, n;      /* columns */
    int64_t begin, end; /* row blocks */
    int64_t rows;       /* slots in them */
} mp_piece;

/* The one behind *piece, which is zeroed for the first; false: there is none. All row blocks come with all
 * columns, each once. */
bool mp_next_piece(const mp_row_block *blocks, int64_t count, int64_t columns, const mp_piece_limits *limits,
                   mp_piece *piece);

#endif
