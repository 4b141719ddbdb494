/* SPDX-License-Identifier: Apache-2.0 */
#include "golden/store.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Cuts between words or numbers, never within one. */
static size_t copy_whole_words(const char *from, char *text, size_t size) {
    size_t end = strlen(from);
    if (end < size) {
        memcpy(text, from, end + 1);
        return end;
    }
    for (end = size > 4 ? size - 4 : 0; end > 0 && from[end] != ' ' && from[end] != ',';) end--;
    snprintf(text, size, "%.*s...", (int)end, from);
    return strlen(text);
}

size_t mp_golden_difference_text(const mp_golden_difference *d, char *text, size_t size) {
    char whole[MP_GOLDEN_DIFFERENCE_TEXT_MAX], rows[8 * 20 + 8] = ""; /* eight numbers of 64 bits */
    if (size == 0) return 0;
    if (!d->stored) {
        snprintf(whole, sizeof whole, "%s: not stored", d->tensor);
    } else if (d->shape_differs) {
        snprintf(whole, sizeof whole, "%s: %s", d->tensor, d->first);
    } else {
        size_t used = 0;
        for (int64_t i = 0; i < d->differing_rows && i < MP_FIRST_ROWS; i++)
            used += (size_t)snprintf(rows + used, sizeof rows - used, "%s%lld", i == 0 ? "" : ",",
                                     (long long)d->first_rows[i]);
        snprintf(whole, sizeof whole, "%s: %lld of %lld rows differ (%s %s%s)%s", d->tensor,
                 (long long)d->differing_rows, (long long)d->rows, d->differing_rows == 1 ? "row" : "rows",
                 rows, d->differing_rows > MP_FIRST_ROWS ? ",..." : "",
                 d->digest
                     ? " (stored as digests of rows: record with a larger --digest-above to see elements)"
                     : "");
    }
    return copy_whole_words(whole, text, size);
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
    const int digits = (int)(2 * mp_dtype_size(diff->dtype));
    char *text = diff->first;
    size_t used = 0, size = sizeof diff->first;
    for (int axis = 0; axis < diff->rank; axis++)
        used += (size_t)snprintf(text + used, size - used, "%c%lld", axis == 0 ? '[' : ',',
                                 (long long)diff->first_index[axis]);
    snprintf(text + used, size - used, "]: %.9g (0x%0*llx) -> %.9g (0x%0*llx)", was, digits,
             (unsigned long long)diff->first_was, is, digits, (unsigned long long)diff->first_is);
}

/* One row that differs; the row is found by its bytes, so NaN payloads and the sign of zero count. */
static void compare_row(const mp_tensor *t, int64_t row, const void *stored, mp_golden_difference *diff) {
    const void *data = mp_tensor_row(t, row);
    const int64_t length = mp_tensor_row_length(t);
    bool noted = false;
    for (int64_t i = 0; i < length; i++) {
        const uint64_t was = mp_code_at(t->dtype, stored, i), is = mp_code_at(t->dtype, data, i);
        if (was == is) continue;
        const double before = mp_decode(t->dtype, stored, i), after = mp_decode(t->dtype, data, i),
                     distance = fabs(after - before);
        if (!noted) differing_row(diff, t, row, i);
        noted = true;
        if (!(distance <= diff->max_abs)) diff->max_abs = isnan(diff->max_abs) ? diff->max_abs : distance;
        if (diff->differing++ > 0) continue;
        diff->first_was = was;
        diff->first_is = is;
        describe_first(diff, before, after);
    }
}

/* The rows of `t` beside those stored. */
typedef struct row_comparison {
    const mp_tensor *t;
    mp_golden_difference *diff;
} row_comparison;

static void compare_rows(void *ctx, int64_t first_row, int64_t rows, const char *bytes) {
    const row_comparison *c = ctx;
    const size_t row_bytes = (size_t)mp_tensor_row_length(c->t) * mp_dtype_size(c->t->dtype);
    for (int64_t row = first_row; row < first_row + rows; row++, bytes += row_bytes)
        if (memcmp(bytes, mp_tensor_row(c->t, row), row_bytes) != 0) compare_row(c->t, row, bytes, c->diff);
}

static mp_status compare_digests(const mp_stored *stored, const mp_tensor *t, const mp_stored *other,
                                 mp_golden_difference *diff, mp_error *err) {
    uint64_t *was = NULL, *is = NULL;
    mp_status status = mp_stored_digests(stored, &was, err);
    if (status == MP_OK && other != NULL) status = mp_stored_digests(other, &is, err);
    for (int64_t row = 0; status == MP_OK && row < diff->rows; row++)
        if (was[row] != (is != NULL ? is[row] : mp_tensor_row_digest(t, row)))
            differing_row(diff, t, row, -1);
    free(was);
    free(is);
    return status;
}

mp_status mp_stored_compare(const mp_stored *stored, const mp_tensor *t, const mp_stored *other,
                            mp_golden_difference *diff, mp_error *err) {
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
    return stored->digest ? compare_digests(stored, t, other, diff, err)
                          : mp_stored_read(stored, compare_rows, &(row_comparison){t, diff}, err);
}

mp_status mp_golden_compare(mp_golden *golden, const mp_case *c, const mp_trace *trace,
                            mp_golden_difference *diff, int *count, mp_error *err) {
    mp_status status = MP_OK;
    char name[MP_CASE_TEXT_MAX];
    *count = 0;
    mp_case_text(c, name, sizeof name);
    hid_t group = mp_golden_open_case(golden, name, err);
    if (group < 0) return MP_EINPUT;
    for (int i = 0; status == MP_OK && i < MP_TENSOR_COUNT; i++) {
        if (trace->t[i].data == NULL) continue;
        mp_golden_difference *d = &diff[*count];
        mp_stored stored;
        *d = (mp_golden_difference){0};
        snprintf(d->tensor, sizeof d->tensor, "%s", mp_tensor_name((mp_tensor_id)i));
        status = mp_stored_open(group, d->tensor, NULL, &stored, err);
        if (status == MP_OK) {
            status = mp_stored_compare(&stored, &trace->t[i], NULL, d, err);
            if (status != MP_OK) mp_error_prefix(err, "%s", d->tensor);
        }
        mp_stored_close(&stored);
        if (status == MP_OK) (*count)++;
    }
    H5Gclose(group);
    if (status != MP_OK) mp_error_prefix(err, "%s: %s", golden->path, name);
    return status;
}
