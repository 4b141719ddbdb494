/* SPDX-License-Identifier: Apache-2.0 */
#include "cases/edit_text.h"

#include "cases/edit.h"
#include "cases/graph_tables.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *skip(const char *p) {
    return p + strspn(p, " \t");
}

static mp_status expected(const mp_edit *e, const char *p, const char *what, mp_error *err) {
    return *p ? mp_fail(err, MP_EINPUT, "edit '%s': expected %s at '%.24s'", e->text, what, p)
              : mp_fail(err, MP_EINPUT, "edit '%s': expected %s behind it", e->text, what);
}

static mp_status read_tensor(const char **p, mp_edit *e, mp_error *err) {
    const size_t length = strspn(*p, "abcdefghijklmnopqrstuvwxyz0123456789_");
    int id = 0;
    while (id < MP_TENSOR_COUNT &&
           !(strlen(mp_tensors[id].name) == length && strncmp(mp_tensors[id].name, *p, length) == 0))
        id++;
    e->tensor = (mp_tensor_id)id;
    if (id == MP_TENSOR_COUNT)
        return expected(e, *p, "the name of an input, as x, w1, w2, topk_ids, topk_weights", err);
    *p = skip(*p + length);
    return MP_OK;
}

static mp_status read_whole(const mp_edit *e, const char **p, int64_t *number, mp_error *err) {
    char *end;
    errno = 0;
    *number = strtoll(*p, &end, 10);
    if (end == *p || errno) return expected(e, *p, "a whole number of 64 bits", err);
    *p = skip(end);
    return MP_OK;
}

static bool begins_number(const char *p) {
    return *p == '-' || *p == '+' || (*p >= '0' && *p <= '9');
}

static mp_status read_index(const char **p, mp_edit *e, mp_place *at, mp_error *err) {
    mp_status status = MP_OK;
    *at = (mp_place){.step = 1};
    if (strncmp(*p, "...", 3) == 0) {
        at->kind = MP_PLACE_REST;
        *p = skip(*p + 3);
        return MP_OK;
    }
    if ((at->has_start = begins_number(*p))) status = read_whole(e, p, &at->start, err);
    if (status != MP_OK) return status;
    if (**p != ':') return at->has_start ? MP_OK : expected(e, *p, "an index, a slice or ...", err);
    at->kind = MP_PLACE_SLICE;
    *p = skip(*p + 1);
    if ((at->has_stop = begins_number(*p))) status = read_whole(e, p, &at->stop, err);
    if (status != MP_OK || **p != ':') return status;
    *p = skip(*p + 1);
    const char *from = *p;
    if (begins_number(*p)) status = read_whole(e, p, &at->step, err);
    if (status == MP_OK && at->step < 1) return expected(e, from, "a step of 1 or more", err);
    return status;
}

static mp_status read_indices(const char **p, mp_edit *e, mp_error *err) {
    bool rest = false;
    *p = skip(*p + 1);
    do {
        if (e->count > 0) *p = skip(*p + 1);
        if (e->count == MP_MAX_RANK + 1) return expected(e, *p, "no more indices", err);
        mp_place *at = &e->at[e->count++];
        const char *from = *p;
        const mp_status status = read_index(p, e, at, err);
        if (status != MP_OK) return status;
        if (rest && at->kind == MP_PLACE_REST) return expected(e, from, "one ... only", err);
        rest = rest || at->kind == MP_PLACE_REST;
    } while (**p == ',');
    if (**p != ']') return expected(e, *p, "',' or ']'", err);
    *p = skip(*p + 1);
    return MP_OK;
}

static mp_status read_value(const char **p, mp_edit *e, mp_error *err) {
    char *end;
    if (strncmp(*p, "*=", 2) == 0) {
        e->multiplies = true;
        *p = skip(*p + 2);
    } else if (**p == '=') {
        *p = skip(*p + 1);
        e->multiplies = **p == '*';
        if (e->multiplies) *p = skip(*p + 1);
    } else {
        return expected(e, *p, "'=' or '*='", err);
    }
    e->value = strtod(*p, &end);
    if (end == *p || memchr(*p, '(', (size_t)(end - *p))) /* nan(7) */
        return expected(e, *p, "a number, nan, inf or -inf", err);
    if (isinf(e->value) && memchr(*p, 'i', (size_t)(end - *p)) == NULL) /* "inf" was not written */
        return expected(e, *p, "a number that float64 holds", err);
    *p = skip(end);
    return **p == ';' || !**p ? MP_OK : expected(e, *p, "the end of the edit, or ';'", err);
}

mp_status mp_edit_read(const char **p, mp_edit *e, mp_error *err) {
    *e = (mp_edit){0};
    *p = skip(*p);
    size_t length = strcspn(*p, ";");
    while (length > 0 && strchr(" \t", (*p)[length - 1])) length--;
    if (length < sizeof e->text) {
        memcpy(e->text, *p, length);
    } else {
        memcpy(e->text, *p, sizeof e->text - 4);
        memcpy(e->text + sizeof e->text - 4, "...", 4);
    }
    mp_status status = read_tensor(p, e, err);
    if (status == MP_OK && **p == '[') status = read_indices(p, e, err);
    if (status == MP_OK) status = read_value(p, e, err);
    if (status != MP_OK) return status;
    if (**p == ';') *p = skip(*p + 1); /* one at the end ends the last edit */
    return MP_OK;
}

mp_status mp_edits_check(const char *edits, mp_error *err) {
    const char *p = edits;
    mp_edit e;
    const size_t length = strlen(edits);
    if (length >= MP_EDITS_MAX)
        return mp_fail(err, MP_EINPUT, "edits of %zu bytes: expected less than %d", length, MP_EDITS_MAX);
    do {
        const mp_status status = mp_edit_read(&p, &e, err);
        if (status != MP_OK) return status;
    } while (*p);
    return MP_OK;
}
