/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/operand.h"

#include <assert.h>

static int64_t blocks(int64_t length, int64_t block) {
    return (length + block - 1) / block;
}

/* Rows of a matrix [n, k] of the codes. */
static int64_t matrix_rows(const mp_operand *o) {
    return o->codes->dim[o->codes->rank - 2];
}

int64_t mp_operand_scale_row(const mp_operand *o, int64_t row) {
    if (!o->scale) return 0;
    assert(o->block_rows > 0 && o->block_columns > 0);
    const int64_t n = matrix_rows(o), in_row = blocks(mp_tensor_row_length(o->codes), o->block_columns);
    if (o->block_rows == 1) return row * in_row; /* most have it, and divisions are slow */
    return (row / n * blocks(n, o->block_rows) + row % n / o->block_rows) * in_row;
}

double mp_operand_scale(const mp_operand *o, int64_t scale_row, int64_t k) {
    return o->scale ? mp_decode(o->scale->dtype, o->scale->data, scale_row + k / o->block_columns) : 1;
}

void mp_operand_scales(const mp_operand *o, int64_t row, int64_t count, int64_t k, float *scales) {
    const int64_t n = matrix_rows(o);
    for (int64_t i = 0; i < count;) { /* a block at a time, which ends with its matrix */
        const int64_t in_matrix = (row + i) % n, left = n - in_matrix,
                      in_block = o->scale ? o->block_rows - in_matrix % o->block_rows : count,
                      rows = in_block < left ? in_block : left, end = count - i < rows ? count : i + rows;
        const float scale = (float)mp_operand_scale(o, mp_operand_scale_row(o, row + i), k);
        for (; i < end; i++) scales[i] = scale;
    }
}

static double zero_of(const mp_operand *o, int64_t row, int64_t block) {
    if (!o->zeros) return o->zero;
    const int64_t n = matrix_rows(o), in_row = blocks(mp_tensor_row_length(o->codes), o->block_columns),
                  rows = blocks(n, o->block_rows), at = row / n * rows + row % n / o->block_rows;
    const uint8_t *zeros = o->zeros->data;
    if (!o->zeros_in_pairs) return zeros[at * in_row + block];
    return zeros[at / 2 * in_row + block] >> (at % 2 * 4) & 0xF;
}

double mp_operand_global(const mp_operand *o, int64_t row) {
    if (!o->global) return 1;
    const int64_t n = matrix_rows(o), globals = o->global->dim[o->global->rank - 1], r = row % n;
    const int64_t which = o->globals_alternate ? r % globals : r * globals / n;
    return mp_decode(o->global->dtype, o->global->data, row / n * globals + which);
}

/* To float32, and then to the format: by rows, which took a third of the time of quantised cases one by
 * one. */
static void round_row(mp_dtype dtype, int64_t n, double *numbers) {
    enum { PIECE = 256 };
    float single[PIECE];
    uint64_t codes[PIECE]; /* of any format */
    for (int64_t k = 0; k < n; k += PIECE, numbers += PIECE) {
        const int64_t here = n - k < PIECE ? n - k : PIECE;
        for (int64_t i = 0; i < here; i++) single[i] = (float)numbers[i];
        mp_encode_row_f32(dtype, codes, 0, here, single);
        mp_decode_row(dtype, codes, 0, here, numbers);
    }
}

void mp_operand_decode(const mp_operand *o, int64_t row, int64_t first, int64_t n, double *out) {
    const int64_t length = mp_tensor_row_length(o->codes), scales = mp_operand_scale_row(o, row);
    const double global = mp_operand_global(o, row);
    mp_decode_row(o->codes->dtype, o->codes->data, row * length + first, n, out);
    for (int64_t i = 0; i < n && o->scale;) { /* a block at a time */
        const int64_t block = (first + i) / o->block_columns, rest = (block + 1) * o->block_columns - first,
                      end = rest < n ? rest : n;
        const double zero = zero_of(o, row, block), scale = mp_operand_scale(o, scales, first + i);
        for (; i < end; i++) out[i] = (out[i] - zero) * scale * global;
    }
    if (o->rounds) round_row(o->rounded, n, out);
}
