/* SPDX-License-Identifier: Apache-2.0 */
#include "offload/pieces.h"

#include "offload/device/params.h"
#include "offload/offload.h"

#include <stdlib.h>

/* What a piece takes at most of the device's memory, in eighths of this: decoded weights four, decoded
 * activations two, results one, and one is left over. */
#define UNITS 8

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

mp_status mp_row_blocks(const mp_gemm_tasks *tasks, mp_row_block **blocks, int64_t *count, mp_error *err) {
    int64_t all = 0;
    for (int64_t i = 0; i < tasks->count; i++)
        if (tasks->task[i].n0 == 0) all += (tasks->task[i].count + MP_TILE - 1) / MP_TILE;
    *count = 0;
    *blocks = calloc((size_t)(all > 0 ? all : 1), sizeof **blocks);
    if (!*blocks) return mp_fail(err, MP_EMEMORY, "gemm: no memory for %lld blocks of rows", (long long)all);
    for (int64_t i = 0; i < tasks->count; i++) {
        const mp_gemm_task *t = &tasks->task[i];
        if (t->n0 > 0) continue; /* other columns of the same slots */
        for (int64_t r = 0; r < t->count; r += MP_TILE, ++*count) {
            mp_row_block *b = &(*blocks)[*count];
            *b = (mp_row_block){
                .expert = t->expert, .first = t->first + r, .count = min64(MP_TILE, t->count - r)};
            if (*count == 0) continue;
            b->row = b[-1].row + b[-1].count;
            b->matrix = b[-1].matrix + (b->expert != b[-1].expert);
        }
    }
    return MP_OK;
}

const mp_row_block *mp_block_of_row(const mp_row_block *blocks, int64_t count, int64_t row) {
    int64_t first = 0, end = count; /* it is among first .. end */
    while (end - first > 1) {
        const int64_t middle = first + (end - first) / 2;
        if (blocks[middle].row <= row)
            first = middle;
        else
            end = middle;
    }
    return &blocks[first];
}

mp_piece_limits mp_piece_limits_of(const mp_gemm_problem *p, int64_t padded, int results, size_t bytes,
                                   size_t most) {
    const int64_t E = p->w.codes->dim[0], N = p->w.codes->dim[1],
                  slots = (p->slots + MP_TILE - 1) / MP_TILE * MP_TILE;
    const size_t unit = bytes / UNITS < most ? bytes / UNITS : most;
    const int64_t numbers = (int64_t)(unit / sizeof(double)), w_rows = 4 * numbers / padded - MP_TILE;
    mp_piece_limits l = {.columns = N <= w_rows ? N : w_rows / MP_TILE * MP_TILE};
    if (l.columns < 1) return (mp_piece_limits){0};
    l.matrices = min64(E, w_rows / l.columns);
    l.rows = min64(2 * numbers / padded - MP_TILE, numbers / (results * l.columns)) / MP_TILE * MP_TILE;
    l.rows = min64(l.rows, slots);
    if (l.rows < 1) return (mp_piece_limits){0};
    l.a_bytes = (size_t)((l.rows + MP_TILE) * padded) * sizeof(double);
    l.w_bytes = (size_t)((l.matrices * l.columns + MP_TILE) * padded) * sizeof(double);
    l.result_bytes = (size_t)(results * l.rows * l.columns) * sizeof(double);
    return l;
}

bool mp_next_piece(const mp_row_block *blocks, int64_t count, int64_t columns, const mp_piece_limits *limits,
                   mp_piece *piece) {
    int64_t n0 = piece->n0, begin = piece->end;
    if (begin == count) { /* the next columns of all blocks */
        n0 += piece->n;
        begin = 0;
    }
    if (count == 0 || n0 >= columns) return false;
    *piece = (mp_piece){.n0 = n0, .n = min64(limits->columns, columns - n0), .begin = begin, .end = begin};
    while (piece->end < count) {
        const mp_row_block *b = &blocks[piece->end];
        if (piece->rows + b->count > limits->rows || b->matrix - blocks[begin].matrix >= limits->matrices)
            break;
        piece->rows += b->count;
        piece->end++;
    }
    return true;
}
