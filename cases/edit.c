/* SPDX-License-Identifier: Apache-2.0 */
#include "cases/edit.h"

#include "cases/edit_text.h"
#include "cases/fill.h"
#include "cases/graph_tables.h"
#include "cases/numbering.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- of a tensor ---- */

/* The elements along each axis that are meant: first, first + step, ... */
typedef struct region {
    int64_t first[MP_MAX_RANK], step[MP_MAX_RANK], count[MP_MAX_RANK];
} region;

static int64_t clamp(int64_t v, int64_t length) {
    const int64_t from_end = v < 0 ? v + length : v;
    return from_end < 0 ? 0 : from_end > length ? length : from_end;
}

static mp_status resolve_axis(const mp_edit *e, const mp_place *at, int axis, int64_t length, region *r,
                              mp_error *err) {
    r->step[axis] = at->step;
    if (at->kind == MP_PLACE_ONE) {
        r->first[axis] = at->start < 0 ? at->start + length : at->start;
        r->count[axis] = 1;
        if (r->first[axis] >= 0 && r->first[axis] < length) return MP_OK;
        return mp_fail(err, MP_EINPUT,
                       "edit '%s': index %" PRId64 " of axis %d of %s, which has %" PRId64 " elements there",
                       e->text, at->start, axis, mp_tensor_name(e->tensor), length);
    }
    const int64_t start = at->has_start ? clamp(at->start, length) : 0,
                  stop = at->has_stop ? clamp(at->stop, length) : length;
    r->first[axis] = start;
    r->count[axis] = stop > start ? (stop - start - 1) / at->step + 1 : 0;
    return MP_OK;
}

/* Indices that are not written, and those that `...` stands for, are whole axes. */
static mp_status resolve(const mp_edit *e, const mp_tensor *t, region *r, mp_error *err) {
    const mp_place whole = {.kind = MP_PLACE_SLICE, .step = 1};
    int axis = 0, rest = 0;
    for (int i = 0; i < e->count; i++) rest += e->at[i].kind == MP_PLACE_REST;
    const int said = e->count - rest;
    if (said > t->rank)
        return mp_fail(err, MP_EINPUT, "edit '%s': %d indices of %s, which has %d axes", e->text, said,
                       mp_tensor_name(e->tensor), t->rank);
    for (int axes = 0; axes < MP_MAX_RANK; axes++) {
        r->first[axes] = 0;
        r->step[axes] = r->count[axes] = 1;
    }
    mp_status status = MP_OK;
    for (int i = 0; i < e->count && status == MP_OK; i++) {
        if (e->at[i].kind != MP_PLACE_REST) {
            status = resolve_axis(e, &e->at[i], axis, t->dim[axis], r, err);
            axis++;
            continue;
        }
        for (int k = said; k < t->rank && status == MP_OK; k++, axis++)
            status = resolve_axis(e, &whole, axis, t->dim[axis], r, err);
    }
    for (; axis < t->rank && status == MP_OK; axis++)
        status = resolve_axis(e, &whole, axis, t->dim[axis], r, err);
    return status;
}

static mp_status check_value(const mp_edit *e, const mp_case *c, const mp_tensor *t, mp_error *err) {
    if (t->dtype == MP_I32) {
        if (!e->multiplies && e->value == rint(e->value) && e->value >= -1 && e->value < (double)c->E)
            return MP_OK;
        return mp_fail(err, MP_EINPUT, "edit '%s': expected '=' and -1 or an expert from 0 to %" PRId64,
                       e->text, c->E - 1);
    }
    if (!e->multiplies && isfinite(e->value) && !isfinite(mp_round_to(t->dtype, e->value)))
        return mp_fail(err, MP_EINPUT, "edit '%s': %g is beyond the range of %s (inf is written inf)",
                       e->text, e->value, mp_dtype_name(t->dtype));
    return MP_OK;
}

/* The edit against the tensor's shape; data is not looked at. */
static mp_status prepare(const mp_edit *e, const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT], region *r,
                         mp_error *err) {
    const mp_tensor *own = &t[e->tensor];
    char text[MP_CASE_TEXT_MAX];
    if (own->rank == 0 || e->tensor == MP_NUMBERED_IDS || e->tensor == MP_EXPERT_MAP) {
        mp_case_text(c, text, sizeof text);
        return mp_fail(err, MP_EINPUT, "edit '%s': %s is no input of '%s' that can be edited", e->text,
                       mp_tensor_name(e->tensor), text);
    }
    const mp_status status = check_value(e, c, own, err);
    return status == MP_OK ? resolve(e, own, r, err) : status;
}

static void write_row(const mp_edit *e, mp_tensor *t, int64_t at, int64_t step, int64_t count) {
    const int32_t id = t->dtype == MP_I32 ? (int32_t)e->value : 0;
    const uint64_t code = t->dtype == MP_I32 ? (uint32_t)id : mp_encode_code(t->dtype, e->value);
    for (int64_t i = 0; i < count; i++, at += step) {
        if (e->multiplies)
            mp_encode(t->dtype, t->data, at, mp_decode(t->dtype, t->data, at) * e->value);
        else
            mp_put_code(t->dtype, t->data, at, code);
    }
}

static void write_region(const mp_edit *e, const region *r, mp_tensor *t) {
    const int last = t->rank - 1;
    const int64_t middle = last > 1 ? r->count[1] : 1, rows = last > 0 ? r->count[0] * middle : 1,
                  length = t->dim[last], slab = last > 1 ? t->dim[1] * length : length;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        int64_t at = r->first[last];
        if (last > 0) at += (r->first[0] + row / middle * r->step[0]) * slab;
        if (last > 1) at += (r->first[1] + row % middle * r->step[1]) * length;
        write_row(e, t, at, r->step[last], r->count[last]);
    }
}

/* ---- what follows ---- */

static mp_status check_ids(const mp_case *c, const mp_tensor *ids, mp_error *err) {
    const int32_t *id = ids->data;
    if (mp_case_max_m(c) == mp_case_slots(c)) return MP_OK; /* an expert may come again */
    for (int64_t m = 0; m < c->M; m++)
        for (int64_t j = 1; j < c->topk; j++)
            for (int64_t k = 0; k < j; k++) {
                const int64_t a = m * c->topk + j, b = m * c->topk + k;
                if (id[a] < 0 || id[a] != id[b]) continue;
                return mp_fail(err, MP_EINPUT,
                               "edits of topk_ids: token %" PRId64 " has expert %d in slots %" PRId64
                               " and %" PRId64 ": expected each once, but with routing=duplicates",
                               m, id[a], k, j);
            }
    return MP_OK;
}

/* The ids as a subject gets them, in slots whose id is another than before. */
static void number_again(const mp_case *c, const int32_t *before, mp_inputs *in) {
    const int32_t *ids = in->t[MP_TOPK_IDS].data;
    int32_t *numbered = in->t[MP_NUMBERED_IDS].data;
    for (int64_t slot = 0; slot < mp_case_slots(c); slot++)
        if (ids[slot] != before[slot])
            numbered[slot] = mp_numbered_id(c, slot, ids[slot] < 0 ? -1 : mp_global_expert(c, ids[slot]));
}

static mp_status edit_all(const mp_case *c, const char *edits, mp_inputs *in, bool ids_only, mp_error *err) {
    const char *p = edits;
    mp_status status = MP_OK;
    bool ids = false;
    do {
        mp_edit e;
        region r;
        status = mp_edit_read(&p, &e, err);
        if (status == MP_OK) status = prepare(&e, c, in->t, &r, err);
        if (status != MP_OK) break;
        if (e.tensor == MP_TOPK_IDS) ids = true;
        if (!ids_only || e.tensor == MP_TOPK_IDS) write_region(&e, &r, &in->t[e.tensor]);
    } while (*p);
    return status == MP_OK && ids ? check_ids(c, &in->t[MP_TOPK_IDS], err) : status;
}

mp_status mp_edits_each(const char *edits, const mp_case *c,
                        void (*visit)(void *ctx, const char *text, int64_t elements), void *ctx,
                        mp_error *err) {
    mp_inputs in;
    mp_status status = mp_edits_check(edits, err);
    mp_inputs_plan(c, &in);
    const char *p = edits;
    while (status == MP_OK && *p) {
        mp_edit e;
        region r;
        status = mp_edit_read(&p, &e, err);
        if (status == MP_OK) status = prepare(&e, c, in.t, &r, err);
        if (status == MP_OK) visit(ctx, e.text, r.count[0] * r.count[1] * r.count[2]);
    }
    return status;
}

static void look_for_ids(void *ctx, const char *text, int64_t elements) {
    (void)elements;
    if (strncmp(text, mp_tensors[MP_TOPK_IDS].name, strlen(mp_tensors[MP_TOPK_IDS].name)) == 0)
        *(bool *)ctx = true;
}

mp_status mp_edits_check_case(const char *edits, const mp_case *c, mp_error *err) {
    bool ids = false;
    mp_inputs in;
    mp_status status = mp_edits_each(edits, c, look_for_ids, &ids, err);
    if (status != MP_OK || !ids) return status;
    mp_inputs_plan(c, &in);
    mp_tensor *made = &in.t[MP_TOPK_IDS];
    status = mp_tensor_alloc(made, MP_POISON_A, err);
    if (status == MP_OK) status = mp_fill_topk_ids(c, false, made, err);
    if (status == MP_OK) status = edit_all(c, edits, &in, true, err);
    mp_tensor_free(made);
    return status;
}

mp_status mp_inputs_edit(const mp_case *c, const char *edits, mp_inputs *in, mp_error *err) {
    const size_t bytes = in->t[MP_NUMBERED_IDS].data ? mp_tensor_bytes(&in->t[MP_TOPK_IDS]) : 0;
    if (!edits) return MP_OK;
    mp_status status = mp_edits_check(edits, err);
    if (status != MP_OK) return status;
    int32_t *before = malloc(bytes + 1);
    if (!before) return mp_fail(err, MP_EMEMORY, "no memory for the ids before an edit");
    if (bytes) memcpy(before, in->t[MP_TOPK_IDS].data, bytes);
    status = edit_all(c, edits, in, false, err);
    if (status == MP_OK && bytes) number_again(c, before, in);
    if (status == MP_OK && in->t[MP_CACHE3].data) mp_zero_filtered_slots(c, in);
    free(before);
    return status;
}
