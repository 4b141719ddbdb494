/* SPDX-License-Identifier: Apache-2.0 */
#include "cases/fill_rows.h"

#include "base/clones.h"
#include "base/threads.h"

#include <math.h>

#define BATCH 512 /* elements encoded at a time */

/* The numbers of mp_normal_number, as floats: their 18 bits are exact there. */
MP_CLONES static void normal_batch(uint64_t key, uint64_t first, int64_t n, float scale, float *batch) {
    int32_t sums[BATCH];
    for (int64_t i = 0; i < n; i++) sums[i] = mp_centred_sum(mp_bits(key, first + (uint64_t)i));
    for (int64_t i = 0; i < n; i++) batch[i] = (float)sums[i] * scale;
}

/* What most tensors are made of, as loops that the compiler can vectorise. */
static void normal_row(const mp_numbers *n, int exponent, uint64_t source, int64_t row, mp_tensor *t) {
    const int64_t length = mp_tensor_row_length(t);
    const float scale = (float)ldexp(1.0, exponent);
    float batch[BATCH];
    for (int64_t start = 0; start < length; start += BATCH) {
        const int64_t count = length - start < BATCH ? length - start : BATCH;
        normal_batch(n->key, source * n->row_length + (uint64_t)start, count, scale, batch);
        mp_encode_row_f32(t->dtype, t->data, row * length + start, count, batch);
    }
}

/* Row `row` of t with the numbers of row r. */
static void fill_row(const mp_numbers *n, mp_u64 r, mp_tensor *t, int64_t row) {
    const mp_row_rule rule = mp_rule_of_row(n, r);
    const int64_t length = mp_tensor_row_length(t);
    if (rule.style == MP_STYLE_NORMAL && !mp_has_low_bits(&n->format) && n->cut == MP_CUT_NOTHING) {
        normal_row(n, rule.exponent, mp_source_row(n, r), row, t);
        return;
    }
    for (int64_t i = 0; i < length; i++)
        mp_put_code(t->dtype, t->data, row * length + i, mp_code_in_row(n, &rule, r, (mp_u64)i));
}

void mp_fill_rows(const mp_numbers *n, const int64_t *source, mp_tensor *t, int64_t first, int64_t count) {
#pragma omp parallel for schedule(static) if (mp_worth_threads(count, 2 * mp_tensor_row_length(t)))
    for (int64_t row = first; row < first + count; row++)
        fill_row(n, (mp_u64)(source ? source[row] : row), t, row);
}
