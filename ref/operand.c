/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/operand.h"

#include <assert.h>

void mp_operand_decode(const mp_operand *o, int64_t row, int64_t first, int64_t n, double *out) {
    const int64_t length = mp_tensor_row_length(o->codes);
    mp_decode_row(o->codes->dtype, o->codes->data, row * length + first, n, out);
    if (mp_operand_is_plain(o)) return;
    assert(o->scale && o->block_rows > 0 && o->block_columns > 0);
    const int64_t blocks = (length + o->block_columns - 1) / o->block_columns,
                  at = row / o->block_rows * blocks;
    for (int64_t i = 0; i < n; i++) {
        const int64_t block = at + (first + i) / o->block_columns;
        const double zero = o->zero ? mp_decode(o->zero->dtype, o->zero->data, block) : 0;
        out[i] = (out[i] - zero) * mp_decode(o->scale->dtype, o->scale->data, block);
    }
}
