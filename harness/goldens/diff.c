/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/goldens/diff.h"

#include "cases/case_tools.h"
#include "harness/goldens/rows.h"
#include "harness/goldens/touched.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mp_ulp_bin_text(int bin, char text[32]) {
    if (bin == MP_ULP_BINS - 1)
        snprintf(text, 32, "NaN");
    else if (bin == MP_ULP_BINS - 2)
        snprintf(text, 32, "more");
    else if (bin < 2)
        snprintf(text, 32, "%d", bin + 1);
    else
        snprintf(text, 32, "%d..%d", (1 << (bin - 1)) + 1, 1 << bin);
}

static int bin_of(int64_t ulps) {
    int bin = 0;
    if (ulps == INT64_MAX) return MP_ULP_BINS - 1;
    while (bin < MP_ULP_BINS - 2 && ulps > INT64_C(1) << bin) bin++;
    return bin;
}

/* One tensor while it is compared. */
typedef struct comparing {
    mp_tensor_diff *d;
    mp_where where;
    mp_difference difference;
    mp_touched touched;
    bool by_map;                /* a row is told as the slot that it holds in b; else by its own number */
    const int64_t *slot_of_row; /* of b; NULL: not known */
    int64_t last_row;
} comparing;

static void note_element(comparing *k, int64_t told, int64_t row, int64_t column, uint64_t was, uint64_t is) {
    mp_tensor_diff *d = k->d;
    if (row != k->last_row) d->differing_rows++;
    k->last_row = row;
    if (column >= 0) {
        d->differing_elements++;
        if (k->where.dtype != MP_I32) d->ulps[bin_of(mp_ulps_between(k->where.dtype, was, is))]++;
    }
    if (told < 0 || told >= k->where.rows) return;
    mp_difference_element(&k->difference, told, column, is, was);
    mp_touched_add(&k->touched, told, column);
}

static void visit(void *ctx, int64_t row, int64_t column, uint64_t was, uint64_t is) {
    comparing *k = ctx;
    note_element(k, !k->by_map ? row : k->slot_of_row ? k->slot_of_row[row] : -1, row, column, was, is);
}

static mp_status begin(comparing *k, mp_tensor_diff *d, const mp_row_map *b, mp_tensor_id id, mp_error *err) {
    *k = (comparing){.d = d, .last_row = -1};
    k->where = mp_where_of_tensor(&b->c, b->t, b->has_config ? &b->config : NULL, id);
    const mp_status status = mp_difference_start(&k->difference, &k->where, err);
    return status == MP_OK ? mp_touched_start(&k->touched, &k->where, err) : status;
}

static void end(comparing *k) {
    mp_touched_free(&k->touched);
    mp_difference_end(&k->difference);
}

/* What is told of it once all elements are there. */
static void conclude(comparing *k, const mp_golden_difference *found) {
    mp_tensor_diff *d = k->d;
    char crowded[MP_GOLDEN_CROWDED_TEXT_MAX];
    mp_golden_crowded_text(found, crowded);
    d->crowded_groups = found->crowded_groups;
    d->max_abs = k->difference.max_abs;
    d->max_ulps = k->difference.max_ulps;
    d->state = d->differing_rows > 0 || crowded[0] ? MP_TENSOR_DIFFERS : MP_TENSOR_EQUAL;
    if (d->state == MP_TENSOR_EQUAL) return;
    k->difference.compared = d->elements;
    if (k->difference.differing > 0) {
        mp_difference_text(&k->difference, d->text);
        mp_pattern_text(&k->where, &k->difference.pattern, d->pattern);
        mp_touched_text(&k->touched, d->experts, sizeof d->experts);
        d->experts_touched = mp_touched_experts(&k->touched);
        d->tiles_touched = mp_touched_tiles(&k->touched, &d->tiles);
    } else if (!crowded[0]) {
        snprintf(d->text, sizeof d->text,
                 "%" PRId64 " of %" PRId64 " rows differ, none that is known to hold a "
                 "result",
                 d->differing_rows, d->rows);
    }
    const size_t used = strlen(d->text);
    if (crowded[0])
        snprintf(d->text + used, sizeof d->text - used, "%s%s differ", used ? "; beside them " : "", crowded);
}

/* Row by row, whatever each side stores. */
static mp_status compare_rows(const mp_golden_side *a, const mp_golden_side *b, bool input, mp_tensor_id id,
                              comparing *k, mp_error *err) {
    mp_golden_difference found;
    const mp_status status = mp_golden_compare_stored(a, b, input, id, visit, k, &found, err);
    if (status == MP_OK) conclude(k, &found);
    return status;
}

/* Slot by slot, of tensors that are there in full; a slot that has no row on either side is passed over. */
static mp_status compare_slots(const mp_golden_side *a, const mp_golden_side *b, mp_tensor_id id,
                               const mp_row_map *in_a, const mp_row_map *in_b, comparing *k, mp_error *err) {
    mp_tensor ta = {0}, tb = {0};
    mp_status status = mp_golden_load(a->golden, a->entry, false, id, &ta, err);
    if (status == MP_OK) status = mp_golden_load(b->golden, b->entry, false, id, &tb, err);
    k->d->rows = 0;
    const int64_t width = k->where.width;
    for (int64_t slot = 0; status == MP_OK && slot < in_b->slots; slot++) {
        const int64_t row_a = in_a->row_of_slot[slot], row_b = in_b->row_of_slot[slot];
        if (row_a < 0 || row_b < 0) continue;
        k->d->rows++;
        const char *x = mp_tensor_row(&ta, row_a), *y = mp_tensor_row(&tb, row_b);
        for (int64_t i = 0; i < width; i++) {
            const uint64_t was = mp_code_at(ta.dtype, x, i), is = mp_code_at(tb.dtype, y, i);
            if (was != is) note_element(k, slot, slot, i, was, is);
        }
    }
    k->d->elements = k->d->rows * width;
    k->d->by_slots = true;
    if (status == MP_OK) conclude(k, &(mp_golden_difference){0});
    mp_tensor_free(&ta);
    mp_tensor_free(&tb);
    return status;
}

static void not_compared(mp_tensor_diff *d, const char *why) {
    d->state = MP_TENSOR_NOT_COMPARED;
    snprintf(d->text, sizeof d->text, "%s", why);
}

static void other_shape(mp_tensor_diff *d, const mp_tensor *was, const mp_tensor *is) {
    char a[MP_SHAPE_TEXT_MAX], b[MP_SHAPE_TEXT_MAX];
    mp_shape_text(was, a);
    mp_shape_text(is, b);
    d->state = MP_TENSOR_OTHER_SHAPE;
    snprintf(d->text, sizeof d->text, "%s -> %s", a, b);
}

/* Both sides hold it. */
static mp_status compare_both(const mp_golden_side *a, const mp_golden_side *b, bool input, mp_tensor_id id,
                              const mp_golden_look *in_a, const mp_golden_look *in_b, mp_row_map layout[2],
                              mp_tensor_diff *d, mp_error *err) {
    const bool moves = !input && mp_lies_by_alignment(&b->entry->c, id),
               cache = moves && mp_tensors[id].rows == MP_ROWS_CACHE,
               same_blocks = a->entry->block_size_m == b->entry->block_size_m;
    const bool slots = cache && !in_a->digest && !in_b->digest && layout[0].rows_known &&
                       layout[1].rows_known && layout[0].slots == layout[1].slots;
    comparing k;
    d->digest = in_a->digest || in_b->digest;
    d->rows = mp_tensor_rows(&in_b->shape);
    d->elements = mp_tensor_count(&in_b->shape);
    if (moves && !same_blocks && !slots) {
        not_compared(d, cache ? "its rows lie by another block_size_m, and are not known to both sides"
                              : "it is padded to another block_size_m");
        return MP_OK;
    }
    if (in_a->has_root && in_b->has_root && in_a->root == in_b->root && !slots) {
        d->state = MP_TENSOR_EQUAL;
        return MP_OK;
    }
    if (!slots && !mp_same_shape(&in_a->shape, &in_b->shape)) {
        other_shape(d, &in_a->shape, &in_b->shape);
        return MP_OK;
    }
    if (!layout[1].t[id].data) layout[1].t[id] = in_b->shape; /* else it has been read, for its rows */
    mp_status status = begin(&k, d, &layout[1], id, err);
    d->stage = k.where.stage;
    k.by_map = cache;
    k.slot_of_row = layout[1].rows_known ? layout[1].slot_of_row : NULL;
    if (status == MP_OK)
        status = slots ? compare_slots(a, b, id, &layout[0], &layout[1], &k, err)
                       : compare_rows(a, b, input, id, &k, err);
    end(&k);
    return status;
}

static mp_status diff_tensor(const mp_golden_side *a, const mp_golden_side *b, bool input, mp_tensor_id id,
                             mp_row_map layout[2], mp_tensor_diff *d, mp_error *err) {
    mp_golden_look in_a, in_b;
    mp_status status = mp_golden_look_at(a->golden, a->entry, input, id, &in_a, err);
    if (status == MP_OK) status = mp_golden_look_at(b->golden, b->entry, input, id, &in_b, err);
    if (status != MP_OK || (!in_a.there && !in_b.there)) return status;
    d->stage = mp_where_stage_of(&b->entry->c, id);
    if (in_a.there && in_b.there) return compare_both(a, b, input, id, &in_a, &in_b, layout, d, err);
    d->state = in_a.there ? MP_TENSOR_ONLY_A : MP_TENSOR_ONLY_B;
    return MP_OK;
}

/* The digest is the contract's identity; the text is for people, and may be worded anew. Without digests in
 * both, the texts decide. */
static bool contract_differs(const mp_golden_entry *a, const mp_golden_entry *b) {
    return a->has_contract_digest && b->has_contract_digest ? a->contract_digest != b->contract_digest
                                                            : strcmp(a->contract, b->contract) != 0;
}

static bool is_different(const mp_tensor_diff *d) {
    return d->state != MP_TENSOR_ABSENT && d->state != MP_TENSOR_EQUAL;
}

/* Inputs that only one file holds are no difference: they follow from the case. */
static mp_status diff_inputs(const mp_golden_side *a, const mp_golden_side *b, mp_row_map layout[2],
                             mp_case_diff *d, mp_error *err) {
    mp_status status = MP_OK;
    bool told = false;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK && layout[0].has_inputs && layout[1].has_inputs;
         id++) {
        status = diff_tensor(a, b, true, (mp_tensor_id)id, layout, &d->input[id], err);
        told = told || is_different(&d->input[id]);
    }
    d->inputs = !told && d->a->has_inputs_digest && d->b->has_inputs_digest &&
                d->a->inputs_digest != d->b->inputs_digest;
    return status;
}

mp_status mp_goldens_diff_case(const mp_golden_side *a, const mp_golden_side *b, mp_case_diff *d,
                               mp_error *err) {
    mp_row_map layout[2] = {0};
    *d = (mp_case_diff){.a = a->entry,
                        .b = b->entry,
                        .contract = contract_differs(a->entry, b->entry),
                        .config = strcmp(a->entry->config, b->entry->config) != 0,
                        .block_size_m = a->entry->block_size_m != b->entry->block_size_m};
    mp_status status = mp_row_map_read(a, &layout[0], err);
    if (status == MP_OK) status = mp_row_map_read(b, &layout[1], err);
    if (status == MP_OK) status = diff_inputs(a, b, layout, d, err);
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++)
        status = diff_tensor(a, b, false, (mp_tensor_id)id, layout, &d->trace[id], err);
    d->equal = !d->contract && !d->config && !d->block_size_m && !d->inputs;
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        d->equal = d->equal && !is_different(&d->trace[id]) && !is_different(&d->input[id]);
    mp_row_map_free(&layout[0]);
    mp_row_map_free(&layout[1]);
    return status;
}

static void count_case(const mp_case_diff *d, mp_diff_counts *n) {
    if (!d->a || !d->b) {
        *(d->a ? &n->only_a : &n->only_b) += 1;
        return;
    }
    n->aligned++;
    *(d->equal ? &n->equal : &n->differing) += 1;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const mp_tensor_diff *t = &d->trace[id];
        if (t->state != MP_TENSOR_EQUAL && t->state != MP_TENSOR_DIFFERS) continue;
        mp_stage_counts *stage = &n->stage[t->stage];
        stage->tensors++;
        stage->differing_tensors += t->state == MP_TENSOR_DIFFERS;
        stage->elements += t->elements;
        stage->differing_elements += t->differing_elements;
        for (int bin = 0; bin < MP_ULP_BINS; bin++) stage->ulps[bin] += t->ulps[bin];
    }
}

/* A whole case has one root: where it is the same on both sides, and so is its name, nothing need be read. */
static bool same_root(const mp_golden_entry *a, const mp_golden_entry *b) {
    return a->has_root && b->has_root && a->root == b->root && strcmp(a->name, b->name) == 0;
}

static mp_status pass_on(const mp_case_diff *d, mp_diff_visit *visit_case, void *ctx, mp_diff_counts *counts,
                         mp_error *err) {
    count_case(d, counts);
    return visit_case(ctx, d, err);
}

mp_status mp_goldens_diff(mp_golden *a, mp_golden *b, const mp_align_rules *rules, mp_diff_visit *visit_case,
                          void *ctx, mp_diff_counts *counts, mp_error *err) {
    size_t *other = NULL;
    const size_t count_a = mp_golden_count(a), count_b = mp_golden_count(b);
    *counts = (mp_diff_counts){.fill_version = mp_golden_fill_version(a) != mp_golden_fill_version(b)};
    mp_case_diff *d = malloc(sizeof *d);
    unsigned char *taken = calloc(count_b + 1, 1);
    mp_status status =
        d && taken ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory to compare %zu cases", count_a + count_b);
    if (status == MP_OK) status = mp_goldens_align(a, b, rules, &other, err);
    for (size_t i = 0; i < count_a && status == MP_OK; i++) {
        const mp_golden_entry *in_a = mp_golden_at(a, i),
                              *in_b = other[i] == SIZE_MAX ? NULL : mp_golden_at(b, other[i]);
        *d = (mp_case_diff){.a = in_a, .b = in_b, .equal = in_b != NULL};
        if (in_b) taken[other[i]] = 1;
        if (in_b && !same_root(in_a, in_b))
            status = mp_goldens_diff_case(&(mp_golden_side){a, in_a}, &(mp_golden_side){b, in_b}, d, err);
        if (status == MP_OK) status = pass_on(d, visit_case, ctx, counts, err);
    }
    for (size_t i = 0; i < count_b && status == MP_OK; i++) {
        *d = (mp_case_diff){.b = mp_golden_at(b, i)};
        if (!taken[i]) status = pass_on(d, visit_case, ctx, counts, err);
    }
    free(taken);
    free(other);
    free(d);
    return status;
}

bool mp_diff_is_equal(const mp_diff_counts *n) {
    return !n->fill_version && n->differing == 0 && n->only_a == 0 && n->only_b == 0;
}
