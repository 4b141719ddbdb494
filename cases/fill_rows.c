/* SPDX-License-Identifier: Apache-2.0 */
#include "cases/fill_rows.h"

#include "base/clones.h"
#include "base/threads.h"

#include <math.h>
#include <string.h>

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

/* Codes of columns first .. first+count of row r, of a style that is known where it is called: what makes an
 * element is chosen outside of the loop. */
static inline __attribute__((always_inline)) void code_batch(const mp_numbers *n, mp_row_rule rule, int style,
                                                             mp_u64 r, mp_u64 first, int count,
                                                             mp_u64 *codes) {
    rule.style = style;
    for (int i = 0; i < count; i++) codes[i] = mp_code_in_row(n, &rule, r, first + (mp_u64)i);
}

static void store_batch(mp_dtype dtype, void *data, int64_t at, int count, const mp_u64 *codes) {
    switch (mp_dtype_bits(dtype)) {
    case 16:
        for (int i = 0; i < count; i++) ((uint16_t *)data)[at + i] = (uint16_t)codes[i];
        break;
    case 32:
        for (int i = 0; i < count; i++) ((uint32_t *)data)[at + i] = (uint32_t)codes[i];
        break;
    default:
        for (int i = 0; i < count; i++) mp_put_code(dtype, data, at + i, codes[i]);
    }
}

/* A row of a few integers among zeros, which have the code 0. */
static void integer_row(const mp_numbers *n, const mp_row_rule *rule, mp_u64 source, mp_tensor *t,
                        int64_t row) {
    const mp_u64 length = n->row_length, first = source * length;
    const unsigned run = mp_int_run(rule, length);
    memset(mp_tensor_row(t, row), 0, mp_tensor_row_bytes(t));
    for (unsigned start = 0, place; start < length; start += run) {
        const mp_number v = mp_int_of_run(n->key, first, length, run, start, &place);
        mp_put_code(t->dtype, t->data, row * (int64_t)length + place, mp_code_of(&n->format, v));
    }
}

/* Row `row` of t with the numbers of row r. */
static void fill_row(const mp_numbers *n, mp_u64 r, mp_tensor *t, int64_t row) {
    const mp_row_rule rule = mp_rule_of_row(n, r);
    const int64_t length = mp_tensor_row_length(t);
    mp_u64 codes[BATCH];
    const bool whole = n->format.kind != MP_CODES_UNSIGNED && n->cut == MP_CUT_NOTHING;
    if (whole && rule.style == MP_STYLE_NORMAL && !mp_has_low_bits(&n->format)) {
        normal_row(n, rule.exponent, mp_source_row(n, r), row, t);
        return;
    }
    if (whole && rule.style == MP_STYLE_INT && rule.nonzeros > 0) {
        integer_row(n, &rule, mp_source_row(n, r), t, row);
        return;
    }
    for (int64_t first = 0; first < length; first += BATCH) {
        const int count = (int)(length - first < BATCH ? length - first : BATCH);
        switch (rule.style) {
#define OF(style) \
    case style: code_batch(n, rule, style, r, (mp_u64)first, count, codes); break
            OF(MP_STYLE_NORMAL);
            OF(MP_STYLE_INT);
            OF(MP_STYLE_WIDE);
            OF(MP_STYLE_ONE);
#undef OF
        default: code_batch(n, rule, rule.style, r, (mp_u64)first, count, codes);
        }
        store_batch(t->dtype, t->data, row * length + first, count, codes);
    }
}

void mp_fill_rows(const mp_numbers *n, const int64_t *source, mp_tensor *t, int64_t first, int64_t count) {
#pragma omp parallel for schedule(static) if (mp_worth_threads(count, 2 * mp_tensor_row_length(t)))
    for (int64_t row = first; row < first + count; row++)
        fill_row(n, (mp_u64)(source ? source[row] : row), t, row);
}
