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

/* Rows of the caches by slot. */
static int64_t *slot_rows(const mp_side *side, mp_error *err) {
    int64_t *rows = malloc((size_t)mp_case_slots(side->c) * sizeof *rows);
    if (rows)
        mp_trace_slot_rows(side->c, side->trace->t, rows);
    else
        mp_fail(err, MP_EMEMORY, "compare: no memory for %lld slots", (long long)mp_case_slots(side->c));
    return rows;
}

static int64_t token_of(const mp_side *side, int64_t i) {
    return side->token ? side->token[i] : i;
}

/* The stage that writes a tensor, or MP_STAGE_COUNT. */
static int writer_of(mp_tensor_id id) {
    int s = 0;
    while (s < MP_STAGE_COUNT && !(mp_stages[s].writes & MP_IN_SET(id))) s++;
    return s;
}

/* A tensor with one row a slot, through each side's row map; rows of filtered slots only where they are
 * zeros. */
static void compare_cache(const mp_side *a, const int64_t *row_a, const mp_side *b, const int64_t *row_b,
                          int64_t tokens, const int32_t *ids, mp_tensor_id id, mp_pair_figures *f) {
    const mp_tensor *ta = &a->trace->t[id], *tb = &b->trace->t[id];
    const int64_t topk = a->c->topk, width = mp_tensor_row_length(ta);
    const int stage = writer_of(id);
    const bool all = stage < MP_STAGE_COUNT && a->contract->filtered[stage] == MP_ROW_ZERO;
    for (int64_t i = 0; i < tokens; i++)
        for (int64_t j = 0; j < topk; j++) {
            if (!all && ids[i * topk + j] < 0) continue;
            const int64_t x = row_a[token_of(a, i) * topk + j], y = row_b[token_of(b, i) * topk + j];
            if (x < 0 || y < 0) {
                if (f->differing++ == 0)
                    snprintf(f->first, sizeof f->first, "%s: a slot has no row", mp_tensor_name(id));
                continue;
            }
            compare_run(ta, x * width, tb, y * width, width, mp_tensor_name(id), f);
        }
}

/* A tensor with the token as its first axis. */
static void compare_tokens(const mp_side *a, const mp_side *b, int64_t tokens, mp_tensor_id id,
                           mp_pair_figures *f) {
    const mp_tensor *ta = &a->trace->t[id], *tb = &b->trace->t[id];
    const int64_t width = mp_tensor_count(ta) / ta->dim[0];
    for (int64_t i = 0; i < tokens; i++)
        compare_run(ta, token_of(a, i) * width, tb, token_of(b, i) * width, width, mp_tensor_name(id), f);
}

/* Whether the rows of a side's caches can be told. */
static bool rows_known(const mp_side *side) {
    return side->c->layout == MP_ROUTE || side->trace->t[MP_SORTED_TOKEN_IDS].data;
}

mp_status mp_compare(const mp_side *a, const mp_side *b, int64_t tokens, const int32_t *ids, bool align,
                     mp_pair_figures *f, mp_error *err) {
    mp_status status = MP_EMEMORY;
    int64_t *row_a = slot_rows(a, err), *row_b = row_a ? slot_rows(b, err) : NULL;
    f->compared = f->differing = 0;
    f->max_abs = 0;
    f->first[0] = '\0';
    if (!row_a || !row_b) goto out;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const mp_tensor *ta = &a->trace->t[id], *tb = &b->trace->t[id];
        if (!ta->data || !tb->data) continue;
        switch (mp_tensors[id].rows) {
        case MP_ROWS_CHUNK:
        case MP_ROWS_WHOLE:
            if (align) compare_run(ta, 0, tb, 0, mp_tensor_count(ta), mp_tensor_name((mp_tensor_id)id), f);
            break;
        case MP_ROWS_CACHE:
            if (rows_known(a) && rows_known(b))
                compare_cache(a, row_a, b, row_b, tokens, ids, (mp_tensor_id)id, f);
            break;
        case MP_ROWS_TOKEN: compare_tokens(a, b, tokens, (mp_tensor_id)id, f); break;
        }
    }
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

/* The slot that each row of a tensor holds, -1: none. rows: mp_trace_slot_rows, or NULL: row t is slot t. */
static void invert(const int64_t *rows, int64_t slots, int64_t *slot_of, int64_t count) {
    for (int64_t r = 0; r < count; r++) slot_of[r] = rows ? -1 : r;
    for (int64_t t = 0; rows && t < slots; t++)
        if (rows[t] >= 0) slot_of[rows[t]] = t;
}

bool mp_unwritten_intact(const mp_case *c, const mp_contract *contract, const mp_inputs *in,
                         const mp_trace *trace, uint32_t poison, char *text, size_t size) {
    bool intact = true;
    const int32_t *ids = in->t[MP_TOPK_IDS].data;
    const int64_t slots = mp_case_slots(c);
    for (int s = 0; s < MP_STAGE_COUNT && intact; s++) {
        const mp_tensor_id id = mp_stage_output(c, (mp_stage)s);
        const mp_tensor *t = &trace->t[id];
        const bool cache = mp_tensors[id].rows == MP_ROWS_CACHE;
        const bool filtered_untouched = contract->filtered[s] == MP_ROW_UNTOUCHED;
        const bool padding_untouched = cache && contract->padding == MP_ROW_UNTOUCHED;
        if (!mp_case_has_stage(c, (mp_stage)s) || s == MP_ALIGN || !mp_stage_rows_are_slots((mp_stage)s) ||
            !t->data)
            continue;
        if (!filtered_untouched && !padding_untouched) continue;
        if (cache && c->layout == MP_SORTED && !trace->t[MP_SORTED_TOKEN_IDS].data) continue; /* whose is a row? */
        const int64_t rows = mp_tensor_rows(t);
        int64_t *slot_of = malloc((size_t)rows * sizeof *slot_of), *row = malloc((size_t)slots * sizeof *row);
        if (!slot_of || !row) {
            snprintf(text, size, "no memory to map %lld rows", (long long)rows);
            intact = false;
        } else {
            mp_trace_slot_rows(c, trace->t, row);
            invert(cache ? row : NULL, slots, slot_of, rows);
        }
        for (int64_t r = 0; r < rows && intact; r++) {
            const int64_t slot = slot_of[r];
            const bool untouched = slot < 0 ? padding_untouched : ids[slot] < 0 && filtered_untouched;
            if (!untouched || row_holds(t, r, poison)) continue;
            snprintf(text, size, "%s: row %lld of %s was written, %s", mp_stage_name((mp_stage)s),
                     (long long)r, mp_tensor_name(id),
                     slot < 0 ? "a padding row" : "the row of a filtered slot");
            intact = false;
        }
        free(row);
        free(slot_of);
    }
    return intact;
}
