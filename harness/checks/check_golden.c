/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/checks/session.h"

#include "base/text.h"
#include "cases/graph_tables.h"
#include "cases/slots.h"
#include "harness/answers.h"
#include "harness/judge/judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A golden was named, so equality with it was asked for: what cannot be compared has not passed. */
static void cannot_compare(mp_session *s, const char *why) {
    if (s->options->settings.golden_partial)
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
    mp_text hidden;  /* tensors that it holds, and the subject does not show */
    mp_text open;    /* tensors that are not compared, since nothing is promised of their bits */
    mp_stage stage;  /* of the first difference */
    char pattern[MP_WHERE_TEXT_MAX];
} beside;

/* One tensor of them. */
typedef struct tensor_beside {
    const beside *b;
    mp_tensor_id id;
    mp_where where;
    mp_difference d;
    bool any_end; /* a digest differs of a list of which not all is promised */
} tensor_beside;

/* The row of the comparison that an element is told in; -1: nothing is promised of it. */
static int64_t told_row(const tensor_beside *k, int64_t row, int64_t column) {
    const mp_session *s = k->b->s;
    const mp_contract *contract = &s->offer.contract;
    const mp_stage stage = mp_where_writer(&k->where);
    if (stage == MP_ALIGN) {
        const int64_t used = mp_align_used(contract, &s->first, k->id, row);
        const bool whole = used == mp_tensor_row_length(&s->first.t[k->id]);
        return column < 0 ? (whole ? row : -1) : column < used ? row : -1; /* digests are of whole rows */
    }
    const bool cache = mp_tensors[k->id].rows == MP_ROWS_CACHE;
    const int64_t slot = cache ? k->b->slot_of_row[row] : row;
    const int32_t *ids = s->in->t[MP_TOPK_IDS].data;
    if (slot < 0 || !mp_stage_rows_are_slots(stage)) return slot;
    return mp_row_is_promised(contract, stage, ids[slot]) ? slot : -1;
}

static void visit(void *ctx, int64_t row, int64_t column, uint64_t was, uint64_t is) {
    tensor_beside *k = ctx;
    const int64_t told = told_row(k, row, column);
    if (told >= 0) mp_difference_element(&k->d, told, column, is, was);
    k->any_end = k->any_end || (column < 0 && mp_where_writer(&k->where) == MP_ALIGN && told < 0);
}

/* Whether anything is promised of the tensor. */
static bool holds_a_result(const tensor_beside *k) {
    const int64_t rows = mp_tensor_rows(&k->b->s->first.t[k->id]);
    int64_t row = 0;
    while (row < rows && told_row(k, row, 0) < 0) row++;
    return row < rows;
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
    if (there) {
        mp_trace_slot_rows(c, s->first.t, row_of_slot);
        mp_slots_of_rows(row_of_slot, slots, b->slot_of_row, b->cache_rows);
    }
    free(row_of_slot);
    return there ? MP_OK : mp_fail(err, MP_EMEMORY, "golden: no memory for %lld slots", (long long)slots);
}

/* Where the rows of the tensor lie depends on BLOCK_SIZE_M and on the order in which align sorts. */
static bool lies_by_alignment(const mp_case *c, mp_tensor_id id) {
    return mp_tensors[id].rows == MP_ROWS_CHUNK ||
           (mp_tensors[id].rows == MP_ROWS_CACHE && c->layout != MP_ROUTE);
}

/* Whether the same bits are promised in the same places; else *why. */
static bool is_promised(const beside *b, mp_tensor_id id, mp_stage stage, const char **why) {
    const mp_session *s = b->s;
    const mp_contract *contract = &s->offer.contract;
    *why = NULL;
    for (int i = 0; i <= (int)stage; i++)
        if (mp_case_has_stage(&s->row->c, (mp_stage)i) && !contract->promise[i].deterministic)
            *why = "the order of additions is not fixed";
    if (lies_by_alignment(&s->row->c, id)) {
        const bool cache = mp_tensors[id].rows == MP_ROWS_CACHE;
        if (b->entry->block_size_m != s->first.block_size_m) *why = "another BLOCK_SIZE_M";
        if (!contract->stable_align) *why = "the order of slots is not fixed";
        if (cache && !s->first.t[MP_SORTED_TOKEN_IDS].data) *why = "nobody knows its rows";
    }
    return !*why;
}

static void note(beside *b, const tensor_beside *k, const mp_golden_difference *found) {
    char text[MP_DIFFERENCE_TEXT_MAX], crowded[MP_GOLDEN_CROWDED_TEXT_MAX];
    const bool is_first = b->text.length == 0;
    mp_golden_crowded_text(found, crowded);
    if (found->shape_differs) {
        mp_text_add(&b->text, "%s%s: %s", is_first ? "" : "; ", found->tensor, found->first);
    } else if (!is_first) {
        mp_text_add(&b->text, "; %s differs too", found->tensor);
    } else if (k->d.differing == 0) { /* so many rows that no one of them is known */
        b->stage = k->where.stage;
        snprintf(b->pattern, sizeof b->pattern, "%s", crowded);
        mp_text_add(&b->text, "%s: %s: %s differ " MP_GOLDEN_IS_DIGEST, found->tensor,
                    mp_stage_name(k->where.stage), crowded);
    } else {
        mp_difference_text(&k->d, text);
        mp_pattern_text(&k->where, &k->d.pattern, b->pattern);
        b->stage = k->where.stage;
        mp_text_add(&b->text, "%s: %s%s%s%s", found->tensor, text, crowded[0] ? "; beside them " : "",
                    crowded, found->digest ? " " MP_GOLDEN_IS_DIGEST : "");
    }
}

/* Rows that hold a result, and of which the golden says that they hold none: nothing of them is compared, so
 * that whoever marks them could hide what is wrong with them. */
static mp_status note_left_out(beside *b, const tensor_beside *k, mp_error *err) {
    uint8_t *left_out;
    int64_t count = 0, first = 0;
    const mp_status status = mp_golden_left_out(b->s->options->golden, b->s->v->name, k->id, &left_out, err);
    for (int64_t row = mp_tensor_rows(&b->s->first.t[k->id]) - 1; left_out && row >= 0; row--)
        if (left_out[row / 8] >> (row % 8) & 1 && told_row(k, row, -1) >= 0) {
            count++;
            first = row;
        }
    free(left_out);
    if (count > 0)
        mp_text_add(&b->text, "%s%s: the golden leaves out %lld row%s that hold%s a result, first row %lld",
                    b->text.length > 0 ? "; " : "", mp_tensor_name(k->id), (long long)count,
                    count == 1 ? "" : "s", count == 1 ? "s" : "", (long long)first);
    return status;
}

static void leave_open(beside *b, mp_tensor_id id, const char *why) {
    mp_text_add(&b->open, "%s%s (%s)", b->open.length > 0 ? ", " : "", mp_tensor_name(id), why);
}

static mp_status compare_tensor(beside *b, mp_tensor_id id, mp_error *err) {
    const mp_session *s = b->s;
    const mp_tensor *t = &s->first.t[id];
    const char *why;
    mp_golden_difference found;
    tensor_beside k = {
        .b = b, .id = id, .where = mp_where_of_tensor(&s->row->c, s->first.t, &s->offer.config, id)};
    if (!is_promised(b, id, k.where.stage, &why)) {
        leave_open(b, id, why);
        return MP_OK;
    }
    k.where.topk_ids = s->in->t[MP_TOPK_IDS].data;
    mp_status status = mp_difference_start(&k.d, &k.where, err);
    if (status == MP_OK)
        status = mp_golden_compare(s->options->golden, s->v->name, id, t, visit, &k, &found, err);
    if (status == MP_OK && !found.stored) {
        mp_text_add(&b->lacking, "%s%s", b->lacking.length > 0 ? ", " : "", found.tensor);
    } else if (status == MP_OK) {
        if (k.any_end) leave_open(b, id, "its digests are of any end, too");
        b->compared += !k.any_end && holds_a_result(&k);
        k.d.compared = mp_tensor_count(t);
        if (found.shape_differs || k.d.differing > 0 || found.crowded_groups > 0) note(b, &k, &found);
        if (!found.shape_differs) status = note_left_out(b, &k, err);
    }
    mp_difference_end(&k.d);
    return status;
}

/* What the trace lacks of the stored tensors. */
static mp_status note_hidden(beside *b, mp_error *err) {
    mp_tensor_set stored;
    const mp_status status = mp_golden_tensors(b->s->options->golden, b->s->v->name, &stored, err);
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++)
        if (stored & MP_IN_SET(id) && !b->s->first.t[id].data)
            mp_text_add(&b->hidden, "%s%s", b->hidden.length > 0 ? ", " : "the subject does not show ",
                        mp_tensor_name((mp_tensor_id)id));
    return status;
}

/* What is equal is not all that the golden holds. Of bits that are not promised nothing was asked; of a
 * tensor that is not shown it was, so that a strict run fails there. */
static void answer_partly(const beside *b, const char *rest) {
    const mp_settings *settings = &b->s->options->settings;
    mp_text note = {0};
    mp_text_add(&note, "%s%s", b->open.length > 0 ? "not compared: " : "", rest);
    if (b->hidden.length > 0 && settings->strict && !settings->golden_partial)
        mp_check_not_judged(b->s->v, MP_CHECK_GOLDEN, "%s", mp_text_get(&note));
    else
        mp_check_pass_partly(b->s->v, MP_CHECK_GOLDEN, mp_text_get(&note));
    mp_text_free(&note);
}

/* Under another contract nothing passes; what the bits are is told. */
static void answer_contract(const beside *b, bool partly) {
    const char *differs = mp_text_get(&b->text);
    mp_text why = {0};
    mp_text_add(&why, "recorded under another contract (%s); %s", b->entry->contract,
                differs[0]                        ? differs
                : b->compared == 0                ? "nothing could be compared"
                : partly || b->lacking.length > 0 ? "what could be compared is equal"
                                                  : "every bit is equal");
    mp_text_add(&why,
                "; to be compared, promise that contract by --contract, or record a golden of this subject");
    cannot_compare(b->s, mp_text_get(&why));
    mp_text_free(&why);
}

static void answer(beside *b) {
    mp_session *s = b->s;
    const bool open = b->open.length > 0, hidden = b->hidden.length > 0;
    const char *differs = mp_text_get(&b->text);
    mp_text why = {0}, rest = {0};
    mp_text_add(&rest, "%s%s%s", mp_text_get(&b->open), open && hidden ? "; " : "", mp_text_get(&b->hidden));
    if (!mp_golden_same_contract(b->entry, &s->offer.contract)) {
        answer_contract(b, open || hidden);
    } else if (differs[0]) {
        if (b->pattern[0]) mp_session_begins(s, b->stage, b->pattern);
        mp_check_fail(s->v, MP_CHECK_GOLDEN, "%s", differs);
    } else if (b->lacking.length > 0) {
        mp_text_add(&why, "the golden lacks %s", mp_text_get(&b->lacking));
        cannot_compare(s, mp_text_get(&why));
    } else if (b->compared == 0) {
        mp_text_add(&why, "nothing could be compared%s%s", rest.length > 0 ? ": " : "", mp_text_get(&rest));
        if (s->options->settings.golden_required && rest.length > 0)
            cannot_compare(s, mp_text_get(&why));
        else
            mp_check_not_judged(s->v, MP_CHECK_GOLDEN, "%s", mp_text_get(&why));
    } else if (open || hidden) {
        answer_partly(b, mp_text_get(&rest));
    } else {
        mp_check_pass(s->v, MP_CHECK_GOLDEN);
    }
    mp_text_free(&why);
    mp_text_free(&rest);
}

/* Equality with a stored trace is promised only by a golden of the same contract, and of tensors whose bits
 * follow from the inputs. */
mp_status mp_check_golden(mp_session *s, mp_error *err) {
    beside b = {.s = s};
    if (!s->options->golden) {
        mp_check_not_judged(s->v, MP_CHECK_GOLDEN, MP_NO_GOLDEN);
        return MP_OK;
    }
    if (!(b.entry = mp_golden_find(s->options->golden, s->v->name))) {
        cannot_compare(s, "the golden file does not hold this case");
        return MP_OK;
    }
    const uint64_t inputs = b.entry->has_inputs_digest ? mp_inputs_digest(s->in) : 0;
    if (b.entry->has_inputs_digest && b.entry->inputs_digest != inputs) {
        mp_check_fail(
            s->v, MP_CHECK_GOLDEN,
            "the inputs differ: the golden's have digest %016llx, this program's %016llx: record it anew",
            (unsigned long long)b.entry->inputs_digest, (unsigned long long)inputs);
        return MP_OK;
    }
    mp_status status = map_rows(&b, err);
    /* in the order of stages: the first tensor that is told is of the stage where it began */
    for (int i = 0; i < MP_STAGE_COUNT * MP_TENSOR_COUNT && status == MP_OK; i++) {
        const mp_tensor_id id = (mp_tensor_id)(i % MP_TENSOR_COUNT);
        if (s->first.t[id].data && (int)mp_where_stage_of(&s->row->c, id) == i / MP_TENSOR_COUNT)
            status = compare_tensor(&b, id, err);
    }
    if (status == MP_OK) status = note_hidden(&b, err);
    if (status == MP_OK) answer(&b);
    free(b.slot_of_row);
    mp_text_free(&b.text);
    mp_text_free(&b.lacking);
    mp_text_free(&b.hidden);
    mp_text_free(&b.open);
    return status;
}
