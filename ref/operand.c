/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/operand.h"

#include <assert.h>

static int64_t blocks(int64_t length, int64_t block) {
    return (length + block - 1) / block;
}

int64_t mp_operand_scale_row(const mp_operand *o, int64_t row) {
    if (!o->scale) return 0;
    assert(o->block_rows > 0 && o->block_columns > 0);
    const int64_t n = o->codes->dim[o->codes->rank - 2];
    return (row / n * blocks(n, o->block_rows) + row % n / o->block_rows) *
           blocks(mp_tensor_row_length(o->codes), o->block_columns);
}

double mp_operand_scale(const mp_operand *o, int64_t scale_row, int64_t k) {
    return o->scale ? mp_decode(o->scale->dtype, o->scale->data, scale_row + k / o->block_columns) : 1;
}

void mp_operand_decode(const mp_operand *o, int64_t row, int64_t first, int64_t n, double *out) {
    const int64_t length = mp_tensor_row_length(o->codes), scales = mp_operand_scale_row(o, row);
    mp_decode_row(o->codes->dtype, o->codes->data, row * length + first, n, out);
    for (int64_t i = 0; i < n && o->scale;) { /* a block at a time */
        const int64_t block = (first + i) / o->block_columns, rest = (block + 1) * o->block_columns - first,
                      end = rest < n ? rest : n;
        const double zero = o->zero ? mp_decode(o->zero->dtype, o->zero->data, scales + block) : 0,
                     scale = mp_operand_scale(o, scales, first + i);
        for (; i < end; i++) out[i] = (out[i] - zero) * scale;
    }
    for (int64_t i = 0; i < n && o->squared; i++) out[i] *= out[i];
}
