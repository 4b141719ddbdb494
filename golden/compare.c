/* SPDX-License-Identifier: Apache-2.0 */
#include "golden/store.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mp_golden_crowded_text(const mp_golden_difference *d, char text[MP_GOLDEN_CROWDED_TEXT_MAX]) {
    text[0] = '\0';
    if (d->crowded_groups == 0) return;
    const int used = snprintf(text, MP_GOLDEN_CROWDED_TEXT_MAX, "more than %d of rows %lld..%lld",
                              d->crowded_more_than, (long long)d->crowded_first, (long long)d->crowded_last);
    if (d->crowded_groups > 1)
        snprintf(text + used, MP_GOLDEN_CROWDED_TEXT_MAX - (size_t)used,
                 " and of %lld further group%s like it", (long long)d->crowded_groups - 1,
                 d->crowded_groups == 2 ? "" : "s");
}

void mp_golden_difference_text(const mp_golden_difference *d, char text[MP_GOLDEN_DIFFERENCE_TEXT_MAX]) {
    char rows[8 * 20 + 8] = ""; /* eight numbers of 64 bits */
    if (!d->stored) {
        snprintf(text, MP_GOLDEN_DIFFERENCE_TEXT_MAX, "%s: not stored", d->tensor);
        return;
    }
    if (d->shape_differs) {
        snprintf(text, MP_GOLDEN_DIFFERENCE_TEXT_MAX, "%s: %s", d->tensor, d->first);
        return;
    }
    size_t used = 0;
    char crowded[MP_GOLDEN_CROWDED_TEXT_MAX];
    mp_golden_crowded_text(d, crowded);
    for (int64_t i = 0; i < d->differing_rows && i < MP_FIRST_ROWS; i++)
        used += (size_t)snprintf(rows + used, sizeof rows - used, "%s%lld", i == 0 ? "" : ",",
                                 (long long)d->first_rows[i]);
    if (d->differing_rows == 0 && crowded[0])
        snprintf(text, MP_GOLDEN_DIFFERENCE_TEXT_MAX, "%s: of %lld rows %s differ %s", d->tensor,
                 (long long)d->rows, crowded, MP_GOLDEN_IS_DIGEST);
    else
        snprintf(text, MP_GOLDEN_DIFFERENCE_TEXT_MAX, "%s: %lld of %lld rows differ (%s %s%s)%s%s%s",
                 d->tensor, (long long)d->differing_rows, (long long)d->rows,
                 d->differing_rows == 1 ? "row" : "rows", rows,
                 d->differing_rows > MP_FIRST_ROWS ? ",..." : "", crowded[0] ? " and " : "", crowded,
                 d->digest ? " " MP_GOLDEN_IS_DIGEST : "");
}

/* Notes a row; of the first one also where it is, with `element` as its last index. */
static void differing_row(mp_golden_difference *diff, const mp_tensor *t, int64_t row, int64_t element) {
    if (diff->differing_rows == 0) {
        int64_t rest = row;
        diff->dtype = t->dtype;
        diff->rank = t->rank;
        for (int axis = t->rank - 2; axis >= 0; axis--) {
            diff->first_index[axis] = rest % t->dim[axis];
            rest /= t->dim[axis];
        }
        diff->first_index[t->rank - 1] = element;
    }
    if (diff->differing_rows < MP_FIRST_ROWS) diff->first_rows[diff->differing_rows] = row;
    diff->differing_rows++;
}

static void describe_first(mp_golden_difference *diff, double was, double is) {
    const int digits = (mp_dtype_bits(diff->dtype) + 3) / 4;
    char *text = diff->first;
    size_t used = 0, size = sizeof diff->first;
    for (int axis = 0; axis < diff->rank; axis++)
        used += (size_t)snprintf(text + used, size - used, "%c%lld", axis == 0 ? '[' : ',',
                                 (long long)diff->first_index[axis]);
    snprintf(text + used, size - used, "]: %.9g (0x%0*llx) -> %.9g (0x%0*llx)", was, digits,
             (unsigned long long)diff->first_was, is, digits, (unsigned long long)diff->first_is);
}

/* What is told of the rows of `t` beside those stored. */
typedef struct row_comparison {
    const mp_tensor *t;
    mp_golden_visit *visit;
    void *ctx;
    mp_golden_difference *diff;
} row_comparison;

/* One row that differs; the row is found by its bytes, so NaN payloads and the sign of zero count. */
static void compare_row(const row_comparison *c, int64_t row, const void *stored) {
    const mp_tensor *t = c->t;
    const void *data = mp_tensor_row(t, row);
    mp_golden_difference *diff = c->diff;
    const int64_t length = mp_tensor_row_length(t);
    bool noted = false;
    for (int64_t i = 0; i < length; i++) {
        const uint64_t was = mp_code_at(t->dtype, stored, i), is = mp_code_at(t->dtype, data, i);
        if (was == is) continue;
        const double before = mp_decode(t->dtype, stored, i), after = mp_decode(t->dtype, data, i),
                     distance = fabs(after - before);
        if (c->visit) c->visit(c->ctx, row, i, was, is);
        if (!noted) differing_row(diff, t, row, i);
        noted = true;
        if (!(distance <= diff->max_abs)) diff->max_abs = isnan(diff->max_abs) ? diff->max_abs : distance;
        if (diff->differing++ > 0) continue;
        diff->first_was = was;
        diff->first_is = is;
        describe_first(diff, before, after);
    }
}

static void compare_rows(void *ctx, int64_t first_row, int64_t rows, const char *bytes) {
    const row_comparison *c = ctx;
    const size_t row_bytes = mp_tensor_row_bytes(c->t);
    for (int64_t row = first_row; row < first_row + rows; row++, bytes += row_bytes)
        if (memcmp(bytes, mp_tensor_row(c->t, row), row_bytes) != 0) compare_row(c, row, bytes);
}

/* Digests are of whole rows: which element differs, nobody knows. */
static void digest_differs(void *ctx, int64_t row) {
    const row_comparison *c = ctx;
    differing_row(c->diff, c->t, row, -1);
    if (c->visit) c->visit(c->ctx, row, -1, 0, 0);
}

static void group_differs(void *ctx, int64_t first, int64_t last, int more_than) {
    mp_golden_difference *diff = ((const row_comparison *)ctx)->diff;
    if (diff->crowded_groups++ > 0) return;
    diff->crowded_first = first;
    diff->crowded_last = last;
    diff->crowded_more_than = more_than;
}

/* The digests of the other side, one a row: stored as such, or those of a tensor. */
static mp_status digests_of(const mp_stored *other, const mp_tensor *t, uint64_t **digests, mp_error *err) {
    const int64_t rows = mp_tensor_rows(t);
    if (other != NULL) return mp_stored_digests(other, digests, err);
    if ((*digests = malloc((size_t)(rows ? rows : 1) * sizeof **digests)) == NULL)
        return mp_fail(err, MP_EMEMORY, "no memory for %lld row digests", (long long)rows);
    for (int64_t row = 0; row < rows; row++) (*digests)[row] = mp_tensor_row_digest(t, row);
    return MP_OK;
}

static mp_status compare_digests(const mp_stored *stored, const mp_stored *other, row_comparison *c,
                                 mp_error *err) {
    uint64_t *was = NULL, *is = NULL;
    mp_status status = mp_stored_digests(stored, &was, err);
    if (status == MP_OK) status = digests_of(other, c->t, &is, err);
    for (int64_t row = 0; status == MP_OK && row < c->diff->rows; row++)
        if (was[row] != is[row]) digest_differs(c, row);
    free(was);
    free(is);
    return status;
}

/* A tree beside another one, beside digests, or beside the tensor itself, of which a tree of the same shape
 * is made. */
static mp_status compare_tree(const mp_stored *stored, const uint8_t *left_out, const mp_stored *other,
                              row_comparison *c, mp_error *err) {
    mp_tree was = {0}, is = stored->tree;
    uint64_t *digests = NULL;
    mp_status status = mp_stored_tree(stored, &was, err);
    if (status == MP_OK && other && other->tree.words > 0) {
        if (!mp_tree_same_shape(&stored->tree, &other->tree))
            status = mp_fail(err, MP_EINPUT,
                             "trees over groups of %lld rows with %d words, and of %lld rows with %d: they "
                             "cannot be compared",
                             (long long)stored->tree.group_rows, stored->tree.words,
                             (long long)other->tree.group_rows, other->tree.words);
        if (status == MP_OK) status = mp_stored_tree(other, &is, err);
    } else {
        if (status == MP_OK) status = mp_tree_start(&is, err);
        if (status == MP_OK) status = digests_of(other, c->t, &digests, err);
        if (status == MP_OK) mp_tree_add_rows(&is, 0, c->diff->rows, digests, left_out);
    }
    const mp_tree_visit visit = {digest_differs, group_differs, c};
    if (status == MP_OK) status = mp_tree_compare(&was, &is, &visit, err);
    free(digests);
    mp_tree_free(&was);
    mp_tree_free(&is);
    return status;
}

mp_status mp_stored_compare(const mp_stored *stored, const uint8_t *left_out, const mp_tensor *t,
                            const mp_stored *other, mp_golden_visit *visit, void *ctx,
                            mp_golden_difference *diff, mp_error *err) {
    row_comparison c = {t, visit, ctx, diff};
    diff->rows = mp_tensor_rows(t);
    diff->stored = stored->dataset >= 0;
    if (!diff->stored) return MP_OK;
    diff->digest = stored->digest;
    if (!mp_same_shape(&stored->shape, t)) {
        char was[MP_SHAPE_TEXT_MAX], is[MP_SHAPE_TEXT_MAX];
        mp_shape_text(&stored->shape, was);
        mp_shape_text(t, is);
        diff->shape_differs = true;
        snprintf(diff->first, sizeof diff->first, "%s -> %s", was, is);
        return MP_OK;
    }
    if (stored->tree.words > 0) return compare_tree(stored, left_out, other, &c, err);
    if (other && other->tree.words > 0) return compare_tree(other, left_out, stored, &c, err);
    return stored->digest ? compare_digests(stored, other, &c, err)
                          : mp_stored_read(stored, compare_rows, &c, err);
}

mp_status mp_golden_compare(mp_golden *golden, const char *case_text, mp_tensor_id id, const mp_tensor *t,
                            mp_golden_visit *visit, void *ctx, mp_golden_difference *diff, mp_error *err) {
    mp_stored stored;
    uint8_t *left_out = NULL;
    hid_t group = mp_golden_open_case(golden, case_text, err);
    if (group < 0) return MP_EINPUT;
    *diff = (mp_golden_difference){0};
    snprintf(diff->tensor, sizeof diff->tensor, "%s", mp_tensor_name(id));
    mp_status status = mp_stored_open(group, diff->tensor, NULL, &stored, err);
    if (status == MP_OK) {
        if (stored.tree.words > 0) status = mp_stored_left_out(group, diff->tensor, &stored, &left_out, err);
        if (status == MP_OK) status = mp_stored_compare(&stored, left_out, t, NULL, visit, ctx, diff, err);
        if (status != MP_OK) mp_error_prefix(err, "%s", diff->tensor);
    }
    free(left_out);
    mp_stored_close(&stored);
    H5Gclose(group);
    if (status != MP_OK) mp_error_prefix(err, "%s: %s", golden->path, case_text);
    return status;
}

mp_status mp_golden_left_out(mp_golden *golden, const char *case_text, mp_tensor_id id, uint8_t **left_out,
                             mp_error *err) {
    const char *name = mp_tensor_name(id);
    mp_stored stored;
    const hid_t group = mp_golden_open_case(golden, case_text, err);
    *left_out = NULL;
    if (group < 0) return MP_EINPUT;
    mp_status status = mp_stored_open(group, name, NULL, &stored, err);
    if (status == MP_OK && stored.dataset >= 0)
        status = mp_stored_left_out(group, name, &stored, left_out, err);
    mp_stored_close(&stored);
    H5Gclose(group);
    if (status != MP_OK) mp_error_prefix(err, "%s: %s: %s", golden->path, case_text, name);
    return status;
}

mp_status mp_golden_tensors(mp_golden *golden, const char *case_text, mp_tensor_set *tensors, mp_error *err) {
    mp_status status = MP_OK;
    const hid_t group = mp_golden_open_case(golden, case_text, err);
    *tensors = 0;
    if (group < 0) return MP_EINPUT;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        mp_stored stored;
        status = mp_stored_open(group, mp_tensor_name((mp_tensor_id)id), NULL, &stored, err);
        if (status == MP_OK && stored.dataset >= 0) *tensors |= MP_IN_SET(id);
        mp_stored_close(&stored);
    }
    H5Gclose(group);
    if (status != MP_OK) mp_error_prefix(err, "%s: %s", golden->path, case_text);
    return status;
}
