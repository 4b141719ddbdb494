#include "harness/checks/compare.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* `length` elements starting at index ia of a and ib of b. */
static void compare_run(const mp_tensor *a, int64_t ia, const mp_tensor *b, int64_t ib, int64_t length,
                        const char *name, mp_pair_figures *f) {
    const size_t size = mp_dtype_size(a->dtype);
    f->compared += length;
    if (memcmp((const char *)a->data + (size_t)ia * size, (const char *)b->data + (size_t)ib * size,
               (size_t)length * size) == 0)
        return;
    for (int64_t i = 0; i < length; i++) {
        const uint64_t x = mp_code_at(a->dtype, a->data, ia + i), y = mp_code_at(b->dtype, b->data, ib + i);
        if (x == y) continue;
        const double u = mp_decode(a->dtype, a->data, ia + i), v = mp_decode(b->dtype, b->data, ib + i);
        const double difference = u == v ? 0 : fabs(u - v);
        if (isnan(difference) || difference > f->max_abs) f->max_abs = difference;
        if (f->differing++ == 0)
            snprintf(f->first, sizeof f->first, "%s[%" PRId64 "]: %.9g (%" PRIX64 ") and %.9g (%" PRIX64 ")",
                     name, ia + i, u, x, v, y);
    }
}

/* Rows of cache1 and cache2 by slot. */
static int64_t *slot_rows(const mp_side *side, mp_error *err) {
    int64_t *rows = malloc((size_t)mp_case_slots(side->c) * sizeof *rows);
    if (rows)
        mp_trace_slot_rows(side->c, side->trace, rows);
    else
        mp_fail(err, MP_EMEMORY, "compare: no memory for %lld slots", (long long)mp_case_slots(side->c));
    return rows;
}

static int64_t token_of(const mp_side *side, int64_t i) {
    return side->token ? side->token[i] : i;
}

/* A tensor with one row (or topk rows) a slot, through each side's row map. */
static void compare_cache(const mp_side *a, const int64_t *row_a, const mp_side *b, const int64_t *row_b,
                          int64_t tokens, const int32_t *ids, mp_trace_tensor which, mp_pair_figures *f) {
    const mp_tensor *ta = &a->trace->t[which], *tb = &b->trace->t[which];
    const int64_t topk = a->c->topk, width = mp_tensor_row_length(ta);
    for (int64_t i = 0; i < tokens; i++)
        for (int64_t j = 0; j < topk; j++) {
            if (which == MP_CACHE2 && ids[i * topk + j] < 0) continue;
            const int64_t x = row_a[token_of(a, i) * topk + j], y = row_b[token_of(b, i) * topk + j];
            if (x < 0 || y < 0) {
                if (f->differing++ == 0)
                    snprintf(f->first, sizeof f->first, "%s: a slot has no row", mp_trace_tensor_name(which));
                continue;
            }
            compare_run(ta, x * width, tb, y * width, width, mp_trace_tensor_name(which), f);
        }
}

/* A tensor with the token as its first axis. */
static void compare_tokens(const mp_side *a, const mp_side *b, int64_t tokens, mp_trace_tensor which,
                           mp_pair_figures *f) {
    const mp_tensor *ta = &a->trace->t[which], *tb = &b->trace->t[which];
    const int64_t width = mp_tensor_count(ta) / ta->dim[0];
    for (int64_t i = 0; i < tokens; i++)
        compare_run(ta, token_of(a, i) * width, tb, token_of(b, i) * width, width,
                    mp_trace_tensor_name(which), f);
}

static bool both_have(const mp_side *a, const mp_side *b, mp_trace_tensor which) {
    return a->trace->t[which].data && b->trace->t[which].data;
}

mp_status mp_compare(const mp_side *a, const mp_side *b, int64_t tokens, const int32_t *ids, bool align,
                     mp_pair_figures *f, mp_error *err) {
    mp_status status = MP_EMEMORY;
    int64_t *row_a = NULL, *row_b = NULL;
    f->compared = f->differing = 0;
    f->max_abs = 0;
    f->first[0] = '\0';
    if (align)
        for (int t = MP_SORTED_TOKEN_IDS; t <= MP_NUM_TOKENS_POST_PADDED; t++)
            if (both_have(a, b, (mp_trace_tensor)t))
                compare_run(&a->trace->t[t], 0, &b->trace->t[t], 0, mp_tensor_count(&a->trace->t[t]),
                            mp_trace_tensor_name((mp_trace_tensor)t), f);
    if (both_have(a, b, MP_CACHE2)) {
        if (!(row_a = slot_rows(a, err)) || !(row_b = slot_rows(b, err))) goto out;
        if (both_have(a, b, MP_CACHE1)) compare_cache(a, row_a, b, row_b, tokens, ids, MP_CACHE1, f);
        compare_cache(a, row_a, b, row_b, tokens, ids, MP_CACHE2, f);
    }
    if (both_have(a, b, MP_CACHE3)) compare_tokens(a, b, tokens, MP_CACHE3, f);
    if (both_have(a, b, MP_OUT)) compare_tokens(a, b, tokens, MP_OUT, f);
    f->bits_equal = f->differing == 0 && f->compared > 0;
    status = MP_OK;
out:
    free(row_b);
    free(row_a);
    return status;
}

static bool row_holds(const mp_tensor *t, int64_t row, uint32_t poison) {
    const size_t bytes = (size_t)mp_tensor_row_length(t) * mp_dtype_size(t->dtype);
    const uint16_t half = (uint16_t)poison; /* both halves of the pattern are equal */
    const char *data = (const char *)t->data + (size_t)row * bytes;
    for (size_t i = 0; i + sizeof half <= bytes; i += sizeof half)
        if (memcmp(data + i, &half, sizeof half) != 0) return false;
    return true;
}

bool mp_unwritten_intact(const mp_case *c, const mp_inputs *in, const mp_trace *trace, uint32_t poison,
                         char *text, size_t size) {
    const mp_tensor *cache1 = &trace->t[MP_CACHE1], *cache2 = &trace->t[MP_CACHE2];
    if (!cache2->data) return true;
    bool intact = true;
    const int32_t *ids = in->t[MP_TOPK_IDS].data;
    const int64_t slots = mp_case_slots(c), rows = cache2->dim[0];
    int64_t *slot_of = malloc((size_t)rows * sizeof *slot_of), *row = malloc((size_t)slots * sizeof *row);
    if (!slot_of || !row) {
        snprintf(text, size, "no memory to map %lld rows", (long long)rows);
        intact = false;
        goto out;
    }
    mp_trace_slot_rows(c, trace, row);
    for (int64_t r = 0; r < rows; r++) slot_of[r] = -1;
    for (int64_t t = 0; t < slots; t++)
        if (row[t] >= 0) slot_of[row[t]] = t;
    for (int64_t r = 0; r < rows && intact; r++) {
        const int64_t t = slot_of[r];
        if (t < 0 && !row_holds(cache1, r, poison)) {
            snprintf(text, size, "gate_up: padding row %lld of cache1 was written", (long long)r);
            intact = false;
        } else if ((t < 0 || ids[t] < 0) && !row_holds(cache2, r, poison)) {
            snprintf(text, size, "act: row %lld of cache2 was written, %s", (long long)r,
                     t < 0 ? "a padding row" : "the row of a filtered slot");
            intact = false;
        }
    }
out:
    free(row);
    free(slot_of);
    return intact;
}
