#include "golden/store.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void shape_text(const mp_tensor *t, char *text, size_t size) {
    int used = snprintf(text, size, "%s", mp_dtype_name(t->dtype));
    for (int axis = 0; axis < t->rank; axis++)
        used += snprintf(text + used, size - (size_t)used, "%c%lld", axis == 0 ? '[' : ',',
                         (long long)t->dim[axis]);
    snprintf(text + used, size - (size_t)used, "]");
}

bool mp_same_shape(const mp_tensor *a, const mp_tensor *b) {
    if (a->dtype != b->dtype || a->rank != b->rank) return false;
    for (int axis = 0; axis < a->rank; axis++)
        if (a->dim[axis] != b->dim[axis]) return false;
    return true;
}

size_t mp_golden_difference_text(const mp_golden_difference *d, char *text, size_t size) {
    if (size == 0) return 0;
    if (!d->stored) {
        snprintf(text, size, "%s: not stored", d->tensor);
    } else if (d->shape_differs) {
        snprintf(text, size, "%s: %s", d->tensor, d->first);
    } else {
        char rows[192] = "";
        size_t used = 0;
        for (int64_t i = 0; i < d->differing_rows && i < MP_FIRST_ROWS; i++)
            used += (size_t)snprintf(rows + used, sizeof rows - used, "%s%lld", i == 0 ? "" : ",",
                                     (long long)d->first_rows[i]);
        snprintf(text, size, "%s: %lld of %lld rows differ (%s %s%s)", d->tensor,
                 (long long)d->differing_rows, (long long)d->rows, d->differing_rows == 1 ? "row" : "rows",
                 rows, d->differing_rows > MP_FIRST_ROWS ? ",..." : "");
    }
    return strlen(text);
}

static void differing_row(mp_golden_difference *diff, int64_t row) {
    if (diff->differing_rows < MP_FIRST_ROWS) diff->first_rows[diff->differing_rows] = row;
    diff->differing_rows++;
}

/* One row that differs; the row is found by its bytes, so NaN payloads and the sign of zero count. */
static void compare_row(const mp_tensor *t, int64_t row, const void *stored, mp_golden_difference *diff) {
    const void *data = mp_tensor_row(t, row);
    int64_t length = mp_tensor_row_length(t);
    size_t size = mp_dtype_size(t->dtype);
    differing_row(diff, row);
    for (int64_t i = 0; i < length; i++) {
        uint64_t was = mp_code_at(t->dtype, stored, i), is = mp_code_at(t->dtype, data, i);
        if (was == is) continue;
        double before = mp_decode(t->dtype, stored, i), after = mp_decode(t->dtype, data, i),
               distance = fabs(after - before);
        if (!(distance <= diff->max_abs)) diff->max_abs = isnan(diff->max_abs) ? diff->max_abs : distance;
        if (diff->differing++ > 0) continue;

        char place[64];
        if (t->rank == 1)
            snprintf(place, sizeof place, "[%lld]", (long long)i);
        else if (t->rank == 2)
            snprintf(place, sizeof place, "[%lld,%lld]", (long long)row, (long long)i);
        else
            snprintf(place, sizeof place, "[%lld,%lld,%lld]", (long long)(row / t->dim[1]),
                     (long long)(row % t->dim[1]), (long long)i);
        snprintf(diff->first, sizeof diff->first, "%s: %.9g (0x%0*llx) -> %.9g (0x%0*llx)", place, before,
                 (int)(2 * size), (unsigned long long)was, after, (int)(2 * size), (unsigned long long)is);
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
        if (was[row] != (is != NULL ? is[row] : mp_tensor_row_digest(t, row))) differing_row(diff, row);
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
        char was[64], is[64];
        shape_text(&stored->shape, was, sizeof was);
        shape_text(t, is, sizeof is);
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
        status = mp_stored_open(group, d->tensor, &stored, err);
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
