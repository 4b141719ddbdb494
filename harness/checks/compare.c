/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/checks/compare.h"

#include "base/mix.h"
#include "cases/graph_tables.h"
#include "cases/lora.h"
#include "cases/slots.h"
#include "harness/phases.h"
#include "harness/verdict_make.h"
#include "moeparity/space.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool mp_trace_shows(const mp_trace *trace, mp_tensor_id id) {
    return trace->t[id].data || trace->row_digest[id];
}

/* Rows of the caches by slot, whose data is not read for it. */
static void map_slots(const mp_case *c, const mp_trace *trace, int64_t *rows) {
    mp_tensor t[MP_TENSOR_COUNT];
    memcpy(t, trace->t, sizeof t);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (!t[id].data) t[id].data = trace->row_digest[id]; /* it is there, wherever */
    mp_trace_slot_rows(c, t, rows);
}

static int64_t *slot_rows(const mp_side *side, mp_error *err) {
    int64_t *rows = malloc((size_t)mp_case_slots(side->c) * sizeof *rows);
    if (rows)
        map_slots(side->c, side->trace, rows);
    else
        mp_fail(err, MP_EMEMORY, "compare: no memory for %lld slots", (long long)mp_case_slots(side->c));
    return rows;
}

static int64_t token_of(const mp_side *side, int64_t i) {
    return side->token ? side->token[i] : i;
}

int64_t mp_align_used(const mp_contract *contract, const mp_trace *trace, mp_tensor_id id, int64_t chunk) {
    const int64_t width = mp_tensor_row_length(&trace->t[id]);
    const bool no_tail = id == MP_NUM_TOKENS_POST_PADDED || id == MP_MASKED_M;
    if (MP_LORA_ALIGN_TENSORS & MP_IN_SET(id)) /* rows of adapters without slots are as they were */
        return contract->align_tail ? width : 0;
    if (contract->align_tail || no_tail || !trace->t[MP_NUM_TOKENS_POST_PADDED].data) return width;
    int64_t used = ((const int32_t *)trace->t[MP_NUM_TOKENS_POST_PADDED].data)[chunk];
    if (id == MP_EXPERT_IDS) used /= trace->block_size_m;
    return used < 0 ? 0 : used < width ? used : width;
}

/* Row maps of both sides, and the ids of the tokens compared. */
typedef struct comparison {
    const mp_side *a, *b;
    const int64_t *row_a, *row_b;
    int64_t tokens;
    const int32_t *ids;
    unsigned char *differs; /* [tokens], or NULL */
    bool numbers_gone, undecided;
    int64_t rows_alone, rows_open;
} comparison;

/* Align's tensors: rows by chunk, the same on both sides; what lies behind num_tokens_post_padded where the
 * contract says what that is. */
static void compare_chunks(const comparison *k, mp_tensor_id id, mp_difference *d) {
    const mp_tensor *ta = &k->a->trace->t[id], *tb = &k->b->trace->t[id];
    for (int64_t row = 0; row < d->where->rows; row++) {
        const int64_t used = mp_align_used(k->a->contract, k->a->trace, id, row);
        const int32_t *x = mp_tensor_row(ta, row), *y = mp_tensor_row(tb, row);
        d->compared += used;
        for (int64_t i = 0; i < used; i++)
            if (x[i] != y[i]) mp_difference_element(d, row, i, (uint32_t)x[i], (uint32_t)y[i]);
    }
}

/* Whether both sides say what the row of a slot holds. */
static bool promised(const comparison *k, mp_stage stage, int32_t expert) {
    return mp_row_is_promised(k->a->contract, stage, expert) &&
           mp_row_is_promised(k->b->contract, stage, expert);
}

static bool is_masked(const mp_side *side) {
    return side->c->layout == MP_MASKED;
}

/* Whether the digests say that the rows are equal. */
static bool same_digests(const comparison *k, mp_tensor_id id, int64_t row_a, int64_t row_b) {
    const uint64_t *a = k->a->trace->row_digest[id], *b = k->b->trace->row_digest[id];
    return a && b && a[row_a] == b[row_b];
}

/* Whether a row's numbers are there. Those of another run, which has stood in for this one, may differ. */
static bool has_row(const mp_side *side, mp_tensor_id id, int64_t row, bool sure) {
    const mp_tensor *t = &side->trace->t[id];
    const uint64_t *digest = side->trace->row_digest[id];
    return t->data && (sure || !digest ||
                       mp_space_row_digest(mp_tensor_row(t, row), mp_tensor_row_bytes(t)) == digest[row]);
}

/* A row that differs in some element; where -0 may stand for +0 not even that is known. */
static void differs_somewhere(comparison *k, mp_difference *d, int64_t row) {
    if (d->any_zero) {
        k->rows_open++;
        return;
    }
    k->rows_alone++;
    d->compared += d->where->width;
    d->max_abs = NAN;
    mp_difference_element(d, row, -1, 0, 0);
}

/* A row on both sides, by its digests where they are enough; a picture is made of numbers. */
static void compare_row(comparison *k, mp_tensor_id id, mp_difference *d, int64_t row, int64_t row_a,
                        int64_t row_b) {
    if (!d->picture && same_digests(k, id, row_a, row_b))
        d->compared += d->where->width;
    else if (has_row(k->a, id, row_a, d->picture) && has_row(k->b, id, row_b, d->picture))
        mp_difference_row(d, row, &k->a->trace->t[id], row_a, &k->b->trace->t[id], row_b);
    else if (k->numbers_gone)
        differs_somewhere(k, d, row);
    else
        k->undecided = true;
}

/* A tensor with rows by slot or by token. A row is told by its place in side a's own batch. */
static void compare_rows(comparison *k, mp_tensor_id id, mp_difference *d, int64_t *lost) {
    const bool cache = mp_tensors[id].rows == MP_ROWS_CACHE;
    const int64_t each = k->a->c->M > 0 ? d->where->rows / k->a->c->M : 0; /* rows of a token */
    const mp_stage stage = mp_where_writer(d->where);
    const bool slots = mp_stage_rows_are_slots(stage);
    for (int64_t i = 0; i < k->tokens; i++)
        for (int64_t j = 0; j < each; j++) {
            const int64_t x = token_of(k->a, i) * each + j, y = token_of(k->b, i) * each + j;
            const int32_t expert = slots ? k->ids[i * k->a->c->topk + j] : 0;
            if (slots && !promised(k, stage, expert)) continue;
            if (cache && expert < 0 && (is_masked(k->a) || is_masked(k->b))) continue; /* it has no row */
            const int64_t row_x = cache ? k->row_a[x] : x, row_y = cache ? k->row_b[y] : y;
            const int64_t before = d->differing + *lost;
            if (row_x < 0 || row_y < 0)
                ++*lost;
            else
                compare_row(k, id, d, x, row_x, row_y);
            if (k->differs && d->differing + *lost > before) k->differs[i] = 1;
        }
}

/* The comparison of one tensor as figures of its stage, of which align has several. */
static void tell_stage(mp_verdict *v, const comparison *k, const mp_difference *d, int64_t lost) {
    mp_stage_figures *f = &v->stage[d->where->stage];
    if (d->differing > 0 && f->mispredicted == 0) {
        f->first_index = d->first_row * d->where->width + d->first_column;
        f->first_value = mp_decode_code(d->dtype, d->first_got);
        f->first_predicted = mp_decode_code(d->dtype, d->first_expected);
    }
    if (d->where->stage != MP_ALIGN) mp_stage_set_shape(f, k->a->c, d->where->rows, d->where->width);
    f->predicted += d->compared + lost;
    f->mispredicted += d->differing + lost;
    if (d->max_ulps > f->max_ulps) f->max_ulps = d->max_ulps;
    if (d->picture) d->picture->count[MP_HISTOGRAM_STEPS][0] += d->compared - d->differing;
}

static mp_status compare_tensor(comparison *k, mp_tensor_id id, mp_comparison *found, mp_error *err) {
    mp_where where = mp_where_of_tensor(k->a->c, k->a->trace->t, NULL, id);
    if (where.stage != MP_ALIGN) where.topk_ids = k->a->token ? NULL : k->ids;
    mp_difference d;
    int64_t lost = 0;
    const mp_status status = mp_difference_start(&d, &where, err);
    if (found->stages && where.stage != MP_ALIGN) d.picture = found->stages->picture[where.stage];
    /* One side's output is down's row as it is, the other's is a sum, which begins with +0. */
    d.any_zero =
        id == MP_OUT && mp_case_has_stage(k->a->c, MP_COMBINE) != mp_case_has_stage(k->b->c, MP_COMBINE);
    if (status == MP_OK && where.stage == MP_ALIGN) compare_chunks(k, id, &d);
    if (status == MP_OK && where.stage != MP_ALIGN) compare_rows(k, id, &d, &lost);
    if (status == MP_OK && found->differing == 0 && d.differing + lost > 0) {
        found->stage = where.stage;
        if (d.differing > 0) {
            mp_difference_text(&d, found->first);
            mp_pattern_text(&where, &d.pattern, found->pattern);
        } else {
            snprintf(found->first, sizeof found->first, "%s: a slot has no row", where.tensor);
            snprintf(found->pattern, sizeof found->pattern, "slots without a row");
        }
    }
    if (status == MP_OK && found->stages) tell_stage(found->stages, k, &d, lost);
    found->compared += d.compared;
    found->differing += d.differing + lost;
    if (where.stage != MP_ALIGN && (isnan(d.max_abs) || d.max_abs > found->max_abs))
        found->max_abs = d.max_abs;
    mp_difference_end(&d);
    return status;
}

/* Whether the rows of a side's caches can be told. */
static bool rows_known(const mp_side *side) {
    const mp_tensor *t = side->trace->t;
    const bool experts = !is_masked(side) || t[MP_EXPERT_IDS].data;
    return side->c->layout == MP_ROUTE || (t[MP_SORTED_TOKEN_IDS].data && experts);
}

/* Whether both sides have the same numbers in the tensor: not lists of adapters that are numbered otherwise,
 * gate and up in another order, rows of which one side's are weighed. */
static bool is_comparable(const mp_case *a, const mp_case *b, mp_tensor_id id) {
    if (MP_LORA_ALIGN_TENSORS & MP_IN_SET(id)) return mp_lora_same_fields(a, b);
    if (id == MP_CACHE1 || id == MP_CACHE1_HOOKED) return a->interleaved == b->interleaved;
    if (id == MP_CACHE3 || id == MP_CACHE3_HOOKED)
        return a->apply_router_weight_in_combine == b->apply_router_weight_in_combine;
    return true;
}

mp_status mp_compare(const mp_side *a, const mp_side *b, int64_t tokens, const int32_t *ids, bool align,
                     mp_comparison *found, mp_error *err) {
    mp_status status = MP_EMEMORY;
    const mp_phase before = mp_phase_enter(MP_PHASE_COMPARE);
    int64_t *row_a = slot_rows(a, err), *row_b = row_a ? slot_rows(b, err) : NULL;
    const mp_comparison given = {.differs = found->differs,
                                 .stages = found->stages,
                                 .left_out = found->left_out,
                                 .numbers_gone = found->numbers_gone};
    *found = given;
    if (!row_a || !row_b) goto out;
    comparison k = {.a = a,
                    .b = b,
                    .row_a = row_a,
                    .row_b = row_b,
                    .tokens = tokens,
                    .ids = ids,
                    .differs = given.differs,
                    .numbers_gone = given.numbers_gone};
    status = MP_OK;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK && !k.undecided; id++) {
        const mp_rows rows = mp_tensors[id].rows;
        if (found->left_out & MP_IN_SET(id)) continue;
        if (!mp_trace_shows(a->trace, (mp_tensor_id)id) || !mp_trace_shows(b->trace, (mp_tensor_id)id))
            continue;
        if (!is_comparable(a->c, b->c, (mp_tensor_id)id)) continue;
        if ((rows == MP_ROWS_CHUNK && align) || rows == MP_ROWS_TOKEN ||
            (rows == MP_ROWS_CACHE && rows_known(a) && rows_known(b)))
            status = compare_tensor(&k, (mp_tensor_id)id, found, err);
    }
    found->rows_alone = k.rows_alone;
    found->rows_open = k.rows_open;
    found->bits_equal = found->differing + found->rows_open == 0 && found->compared > 0;
    if (k.undecided) {
        *found = given;
        found->undecided = true;
    }
out:
    free(row_b);
    free(row_a);
    mp_phase_enter(before);
    return status;
}

/* A tensor's rows beside a pattern. Its digests, what mp_space_row_digest gives, are made once for each byte
 * of the pattern that a row may begin with. */
typedef struct pattern_rows {
    const mp_trace *trace;
    mp_tensor_id id;
    unsigned char pattern[sizeof(uint32_t)];
    bool made[sizeof(uint32_t)];
    uint64_t digest[sizeof(uint32_t)];
} pattern_rows;

static pattern_rows rows_of(const mp_trace *trace, mp_tensor_id id, uint32_t pattern) {
    pattern_rows p = {.trace = trace, .id = id};
    memcpy(p.pattern, &pattern, sizeof pattern);
    return p;
}

static uint64_t digest_of_pattern(const unsigned char *pattern, size_t size, size_t first, size_t bytes) {
    uint64_t digest = 0;
    unsigned char word[4];
    for (size_t i = 0; i < bytes; i += sizeof word) {
        const size_t count = bytes - i < sizeof word ? bytes - i : sizeof word;
        for (size_t k = 0; k < count; k++) word[k] = pattern[(first + i + k) % size];
        digest += mp_digest_of_word(mp_word_of_bytes(word, (int)count), i / sizeof word);
    }
    return digest;
}

/* Rows of packed codes may begin on any byte: the pattern's is that of the byte's place in the tensor. */
static bool row_holds(pattern_rows *p, int64_t row) {
    enum { SIZE = sizeof p->pattern };
    const mp_tensor *t = &p->trace->t[p->id];
    const size_t bytes = mp_tensor_row_bytes(t), first = (size_t)row * bytes, begin = first % SIZE;
    const unsigned char *data = t->data;
    if (!data) {
        if (!p->made[begin]) p->digest[begin] = digest_of_pattern(p->pattern, SIZE, begin, bytes);
        p->made[begin] = true;
        return p->trace->row_digest[p->id][row] == p->digest[begin];
    }
    for (size_t i = 0; i < bytes && i < SIZE; i++)
        if (data[first + i] != p->pattern[(begin + i) % SIZE]) return false;
    return bytes <= SIZE || memcmp(data + first, data + first + SIZE, bytes - SIZE) == 0; /* and so on */
}

/* Where sorted_token_ids is not exposed nobody knows whose a row is, but how many may be written is known:
 * one a slot, or one a slot that is not filtered. */
static int64_t rows_to_write(const int32_t *ids, int64_t slots, bool filtered_untouched) {
    int64_t count = 0;
    for (int64_t t = 0; t < slots; t++) count += ids[t] >= 0 || !filtered_untouched;
    return count;
}

static int64_t rows_written(const mp_trace *trace, mp_tensor_id id, uint32_t poison) {
    pattern_rows untouched = rows_of(trace, id, poison);
    int64_t count = 0;
    for (int64_t r = 0; r < mp_tensor_rows(&trace->t[id]); r++) count += !row_holds(&untouched, r);
    return count;
}

/* Whether every row of the stage's output that holds no result is in the state that the contract promises. */
static bool rows_are_kept(const mp_case *c, const mp_contract *contract, mp_stage stage, const int32_t *ids,
                          const mp_trace *trace, const int64_t *row_of_slot, int64_t *slot_of,
                          uint32_t poison, char *text, size_t size) {
    const mp_tensor_id id = mp_stage_output(c, stage);
    const bool cache = mp_tensors[id].rows == MP_ROWS_CACHE;
    const int64_t rows = mp_tensor_rows(&trace->t[id]), slots = mp_case_slots(c);
    pattern_rows untouched = rows_of(trace, id, poison), zeros = rows_of(trace, id, 0);
    mp_slots_of_rows(cache ? row_of_slot : NULL, slots, slot_of, rows);
    for (int64_t r = 0; r < rows; r++) {
        const int64_t slot = slot_of[r];
        if (slot >= 0 && ids[slot] >= 0) continue;
        const mp_row_state state = slot < 0 ? contract->padding : contract->filtered[stage];
        if (state == MP_ROW_ANYTHING || row_holds(state == MP_ROW_ZERO ? &zeros : &untouched, r)) continue;
        snprintf(text, size, "%s: row %lld of %s %s, %s", mp_stage_name(stage), (long long)r,
                 mp_tensor_name(id), state == MP_ROW_ZERO ? "is not zeros" : "was written",
                 slot < 0 ? "a padding row" : "the row of a filtered slot");
        return false;
    }
    return true;
}

bool mp_resultless_rows_kept(const mp_case *c, const mp_contract *contract, const mp_inputs *in,
                             const mp_trace *trace, uint32_t poison, char *text, size_t size) {
    const int32_t *ids = in->t[MP_TOPK_IDS].data;
    const int64_t slots = mp_case_slots(c);
    int64_t most_rows = slots;
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (mp_trace_shows(trace, (mp_tensor_id)id) && mp_tensor_rows(&trace->t[id]) > most_rows)
            most_rows = mp_tensor_rows(&trace->t[id]);
    int64_t *slot_of = malloc((size_t)most_rows * sizeof *slot_of),
            *row = malloc((size_t)slots * sizeof *row);
    bool kept = slot_of && row;
    if (kept)
        map_slots(c, trace, row);
    else
        snprintf(text, size, "no memory to map %lld rows", (long long)most_rows);
    for (int s = 0; s < MP_STAGE_COUNT && kept; s++) {
        const mp_stage stage = (mp_stage)s;
        const mp_tensor_id id = mp_stage_output(c, stage);
        const bool cache = mp_tensors[id].rows == MP_ROWS_CACHE;
        if (!mp_case_has_stage(c, stage) || !mp_stage_rows_are_slots(stage) || !mp_trace_shows(trace, id))
            continue;
        if (!cache || rows_known(&(mp_side){c, contract, trace, NULL})) {
            kept = rows_are_kept(c, contract, stage, ids, trace, row, slot_of, poison, text, size);
        } else if (contract->padding == MP_ROW_UNTOUCHED) {
            const int64_t may = rows_to_write(ids, slots, contract->filtered[stage] == MP_ROW_UNTOUCHED);
            const int64_t written = rows_written(trace, id, poison);
            kept = written <= may;
            if (!kept)
                snprintf(text, size, "%s: %" PRId64 " rows of %s were written instead of at most %" PRId64,
                         mp_stage_name(stage), written, mp_tensor_name(id), may);
        }
    }
    free(row);
    free(slot_of);
    return kept;
}
