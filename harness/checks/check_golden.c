/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/checks/session.h"

#include "base/text.h"
#include "cases/graph_tables.h"
#include "cases/slots.h"
#include "harness/judge/judge.h"

#include <stdlib.h>
#include <string.h>

/* A golden was named, so equality with it was asked for: what cannot be compared has not passed. */
static void cannot_compare(mp_session *s, const char *why) {
    if (s->options->golden_partial)
        mp_check_not_judged(s->v, MP_CHECK_GOLDEN, "%s", why);
    else
        mp_check_fail(s->v, MP_CHECK_GOLDEN, "%s", why);
}

/* The tensors of the trace beside the stored ones. */
typedef struct beside {
    mp_session *s;
    const mp_golden_entry *entry;
    int64_t *slot_of_row; /* of the caches; -1: padding */
    int64_t cache_rows;
    int compared;
    mp_text text;    /* what differs: the first tensor in full, the others by name */
    mp_text lacking; /* tensors that the golden does not hold */
    mp_stage stage;  /* of the first difference; MP_STAGE_COUNT: none, or one of shapes */
    char pattern[MP_WHERE_TEXT_MAX];
} beside;

/* One tensor of them, and the rows of it that hold results. */
typedef struct tensor_beside {
    const beside *b;
    bool cache, filtered; /* rows lie by slot_of_row; rows of filtered slots hold results too */
    mp_where where;
    mp_difference d;
} tensor_beside;

/* The row of the comparison that a row of the tensor is told as; -1: it holds no result. */
static int64_t told_row(const tensor_beside *k, int64_t row) {
    const int64_t slot = !k->cache ? row : row < k->b->cache_rows ? k->b->slot_of_row[row] : -1;
    const int32_t *ids = k->b->s->in->t[MP_TOPK_IDS].data;
    return k->cache && slot >= 0 && ids[slot] < 0 && !k->filtered ? -1 : slot;
}

static void visit(void *ctx, int64_t row, int64_t column, uint64_t was, uint64_t is) {
    tensor_beside *k = ctx;
    const int64_t told = told_row(k, row);
    if (told >= 0) mp_difference_element(&k->d, told, column, is, was);
}

/* Which slot each row of the caches holds. */
static mp_status map_rows(beside *b, mp_error *err) {
    const mp_session *s = b->s;
    const mp_case *c = &s->row->c;
    const int64_t slots = mp_case_slots(c);
    int64_t *row_of_slot = malloc((size_t)slots * sizeof *row_of_slot);
    b->cache_rows = slots;
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (mp_tensors[id].rows == MP_ROWS_CACHE && s->first.t[id].data)
            b->cache_rows = mp_tensor_rows(&s->first.t[id]);
    b->slot_of_row = malloc((size_t)b->cache_rows * sizeof *b->slot_of_row);
    const bool there = row_of_slot && b->slot_of_row;
    if (there) mp_trace_slot_rows(c, s->first.t, row_of_slot);
    for (int64_t r = 0; there && r < b->cache_rows; r++) b->slot_of_row[r] = -1;
    for (int64_t t = 0; there && t < slots; t++)
        if (row_of_slot[t] >= 0) b->slot_of_row[row_of_slot[t]] = t;
    free(row_of_slot);
    return there ? MP_OK : mp_fail(err, MP_EMEMORY, "golden: no memory for %lld slots", (long long)slots);
}

/* Whether the tensor's layout depends on BLOCK_SIZE_M: another tile than the golden's then has other rows,
 * and nothing to compare. */
static bool depends_on_tile(const mp_case *c, mp_tensor_id id) {
    return mp_tensors[id].rows == MP_ROWS_CHUNK ||
           (mp_tensors[id].rows == MP_ROWS_CACHE && c->layout == MP_SORTED);
}

static void note(beside *b, const tensor_beside *k, const mp_golden_difference *found) {
    char text[MP_DIFFERENCE_TEXT_MAX];
    const bool is_first = b->text.length == 0;
    if (found->shape_differs) {
        mp_text_add(&b->text, "%s%s: %s", is_first ? "" : "; ", found->tensor, found->first);
    } else if (!is_first) {
        mp_text_add(&b->text, "; %s differs too", found->tensor);
    } else {
        mp_difference_text(&k->d, text);
        mp_pattern_text(&k->where, &k->d.pattern, b->pattern);
        b->stage = k->where.stage;
        mp_text_add(&b->text, "%s: %s%s", found->tensor, text, found->digest ? " " MP_GOLDEN_IS_DIGEST : "");
    }
}

static mp_status compare_tensor(beside *b, mp_tensor_id id, mp_error *err) {
    const mp_session *s = b->s;
    const mp_case *c = &s->row->c;
    const mp_tensor *t = &s->first.t[id];
    mp_golden_difference found;
    tensor_beside k = {.b = b,
                       .cache = mp_tensors[id].rows == MP_ROWS_CACHE,
                       .where = mp_where_of_tensor(c, s->first.t, &s->offer.config, id)};
    k.where.topk_ids = s->in->t[MP_TOPK_IDS].data;
    k.filtered = !k.where.input && s->offer.contract.filtered[k.where.stage] == MP_ROW_ZERO;
    mp_status status = mp_difference_start(&k.d, &k.where, err);
    if (status == MP_OK)
        status = mp_golden_compare(s->options->golden, s->v->name, id, t, visit, &k, &found, err);
    if (status == MP_OK && !found.stored) {
        mp_text_add(&b->lacking, "%s%s", b->lacking.length > 0 ? ", " : "", found.tensor);
    } else if (status == MP_OK) {
        b->compared++;
        k.d.compared = mp_tensor_count(t);
        if (found.shape_differs || k.d.differing > 0) note(b, &k, &found);
    }
    mp_difference_end(&k.d);
    return status;
}

static void answer(beside *b) {
    mp_session *s = b->s;
    mp_text why = {0};
    const char *differs = mp_text_get(&b->text);
    if (!mp_golden_same_contract(b->entry, &s->offer.contract)) {
        mp_text_add(&why, "recorded under another contract (%s)%s%s", b->entry->contract,
                    differs[0] ? "; " : "; every bit is equal", differs);
        cannot_compare(s, mp_text_get(&why));
    } else if (differs[0]) {
        if (b->pattern[0]) mp_begins(s->v, b->stage, b->stage, b->pattern);
        mp_check_fail(s->v, MP_CHECK_GOLDEN, "%s", differs);
    } else if (b->lacking.length > 0 || b->compared == 0) {
        mp_text_add(&why, "%s%s", b->lacking.length > 0 ? "the golden lacks " : "",
                    b->lacking.length > 0 ? mp_text_get(&b->lacking)
                                          : "the golden and the trace have no tensor in common");
        cannot_compare(s, mp_text_get(&why));
    } else {
        mp_check_pass(s->v, MP_CHECK_GOLDEN);
    }
    mp_text_free(&why);
}

/* Equality with a stored trace is promised only by a golden of the same contract, and only where the order of
 * additions is fixed. */
mp_status mp_check_golden(mp_session *s, mp_error *err) {
    const mp_case *c = &s->row->c;
    beside b = {.s = s, .stage = MP_STAGE_COUNT};
    if (!s->options->golden) {
        mp_check_not_judged(s->v, MP_CHECK_GOLDEN, MP_NO_GOLDEN);
        return MP_OK;
    }
    if (!(b.entry = mp_golden_find(s->options->golden, s->v->name))) {
        cannot_compare(s, "the golden file does not hold this case");
        return MP_OK;
    }
    if (!s->deterministic) {
        mp_check_not_judged(s->v, MP_CHECK_GOLDEN, "the order of additions is not fixed");
        return MP_OK;
    }
    if (b.entry->has_inputs_digest && b.entry->inputs_digest != s->digest) {
        mp_check_fail(
            s->v, MP_CHECK_GOLDEN,
            "the inputs differ: the golden's have digest %016llx, this program's %016llx: record it anew",
            (unsigned long long)b.entry->inputs_digest, (unsigned long long)s->digest);
        return MP_OK;
    }
    mp_status status = map_rows(&b, err);
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        const bool other_tile = b.entry->block_size_m != s->first.block_size_m;
        if (!s->first.t[id].data || (other_tile && depends_on_tile(c, (mp_tensor_id)id))) continue;
        status = compare_tensor(&b, (mp_tensor_id)id, err);
    }
    if (status == MP_OK) answer(&b);
    free(b.slot_of_row);
    mp_text_free(&b.text);
    mp_text_free(&b.lacking);
    return status;
}
