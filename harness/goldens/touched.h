/* SPDX-License-Identifier: Apache-2.0 */
/* Which experts and which tiles of a GEMM's output a set of elements touches. */
#ifndef MP_HARNESS_GOLDENS_TOUCHED_H
#define MP_HARNESS_GOLDENS_TOUCHED_H

#include "harness/judge/where.h"

typedef struct mp_touched {
    const mp_where *where;
    unsigned char *row;            /* [where->rows] */
    int64_t *block;                /* of each slot; NULL: tiles are not known */
    int64_t blocks, block_columns; /* tiles down and across */
    unsigned char *tile;           /* [blocks, block_columns]: 1 exists, 2 is touched */
} mp_touched;

/* Nothing is touched yet. *where is read as long as *touched lives. MP_EMEMORY. Free with mp_touched_free,
 * after an error too. */
mp_status mp_touched_start(mp_touched *touched, const mp_where *where, mp_error *err);
/* column -1: an element of the row, nobody knows which; its tiles are then not known either. */
void mp_touched_add(mp_touched *touched, int64_t row, int64_t column);
int64_t mp_touched_experts(const mp_touched *touched);
/* "3 (12 of 14 rows), 5 (1 of 8 rows)", most rows first, at most six of them; "" where rows have no expert.
 */
void mp_touched_text(const mp_touched *touched, char *text, size_t size);
/* *tiles: how many hold a row of some slot; 0: not known. */
int64_t mp_touched_tiles(const mp_touched *touched, int64_t *tiles);
void mp_touched_free(mp_touched *touched);

#endif
