/* SPDX-License-Identifier: Apache-2.0 */
/* Inputs of a case: shapes, creation, token selection, digest. The values come from fill.c and routing.c. */
#include "moeparity/inputs.h"

#include "base/maker.h"
#include "cases/deferred.h"
#include "cases/fill.h"
#include "cases/graph_tables.h"
#include "cases/lora.h"
#include "cases/numbering.h"

#include <stdlib.h>
#include <string.h>

void mp_inputs_plan(const mp_case *c, mp_inputs *in) {
    const mp_tensor_set filled = mp_case_inputs(c) & ~mp_case_derived_inputs(c);
    *in = (mp_inputs){0};
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (filled & MP_IN_SET(id)) in->t[id] = mp_case_shape(c, (mp_tensor_id)id, 16);
    if (filled & MP_IN_SET(MP_TOPK_IDS)) in->t[MP_NUMBERED_IDS] = mp_case_shape(c, MP_NUMBERED_IDS, 16);
}

void mp_zero_filtered_slots(const mp_case *c, mp_inputs *in) {
    const int32_t *ids = in->t[MP_TOPK_IDS].data;
    const mp_tensor *cache3 = &in->t[MP_CACHE3];
    const size_t row_bytes = (size_t)c->K * mp_dtype_size(cache3->dtype);
    for (int64_t slot = 0; slot < mp_case_slots(c); slot++) {
        if (ids[slot] < 0) memset(mp_tensor_row(cache3, slot), 0, row_bytes);
    }
}

static mp_status fill(const mp_case *c, mp_tensor_id id, mp_tensor *t, mp_error *err) {
    if (id == MP_TOPK_IDS) return mp_fill_topk_ids(c, false, t, err);
    if (id == MP_NUMBERED_IDS) return mp_fill_topk_ids(c, true, t, err);
    if (id == MP_EXPERT_MAP)
        mp_fill_expert_map(c, t);
    else if (id == MP_TOPK_WEIGHTS)
        mp_fill_topk_weights(c, t);
    else if (id == MP_TOKEN_LORA)
        mp_fill_token_lora(c, t);
    else if (id == MP_ADAPTER_ENABLED)
        mp_fill_adapter_enabled(c, t);
    else
        mp_fill_tensor(c, id, t);
    return MP_OK;
}

/* Tensors of the batch that follow from those of its tokens. */
static void fill_batch(const mp_case *c, mp_inputs *in) {
    if (in->t[MP_SEG_INDPTR].data)
        mp_fill_segments(c, &in->t[MP_TOKEN_LORA], &in->t[MP_SEG_INDPTR], &in->t[MP_REQ_TO_LORA]);
}

static mp_status allocate_and_fill(const mp_case *c, mp_tensor_id id, size_t deferred_from, mp_inputs *in,
                                   mp_error *err) {
    mp_tensor *t = &in->t[id];
    if (mp_tensor_bytes(t) >= deferred_from && mp_can_be_deferred(c, id)) {
        const mp_status status = mp_defer_tensor(c, id, deferred_from, t, err);
        if (status != MP_OK) return status;
        in->digest[id] = mp_deferred_digest(t);
        in->sealed[id] = t->data;
        return MP_OK;
    }
    if (mp_tensors[id].rows == MP_ROWS_BATCH) return mp_tensor_alloc(t, MP_POISON_A, err); /* filled later */
    const mp_status status = mp_tensor_alloc_unfilled(t, err); /* all of it is written */
    return status == MP_OK ? fill(c, id, t, err) : status;
}

/* `weights`: inputs that whole tensors are borrowed from, or NULL. */
static mp_status create(const mp_case *c, const mp_inputs *weights, size_t deferred_from, mp_inputs *in,
                        mp_error *err) {
    mp_status status = MP_OK;
    mp_inputs_plan(c, in);
    if (c->data == MP_FROM_FILE)
        return mp_fail(err, MP_EINPUT,
                       "data=file: the numbers of this case are in a file (moeparity judge FILE): there is "
                       "no family to fill them from");
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        mp_tensor *t = &in->t[id];
        if (t->rank == 0) continue;
        if (weights && mp_tensors[id].rows == MP_ROWS_WHOLE) {
            *t = weights->t[id];
            in->digest[id] = weights->digest[id];
            in->sealed[id] = weights->sealed[id];
            in->borrowed[id] = true;
            continue;
        }
        status = allocate_and_fill(c, (mp_tensor_id)id, deferred_from, in, err);
        if (status != MP_OK) mp_error_prefix(err, "input %s", mp_tensor_name((mp_tensor_id)id));
    }
    if (status == MP_OK) fill_batch(c, in);
    /* weights that are borrowed have what is unused there */
    if (status == MP_OK && c->data == MP_UNUSED && !weights) status = mp_fill_unused(c, in, err);
    if (status == MP_OK && in->t[MP_CACHE3].data) mp_zero_filtered_slots(c, in);
    if (status != MP_OK) mp_inputs_destroy(in);
    return status;
}

mp_status mp_inputs_create(const mp_case *c, mp_inputs *in, mp_error *err) {
    return create(c, NULL, SIZE_MAX, in, err);
}

mp_status mp_inputs_create_deferring(const mp_case *c, size_t from_bytes, mp_inputs *in, mp_error *err) {
    return create(c, NULL, from_bytes, in, err);
}

mp_status mp_inputs_create_beside(const mp_case *c, const mp_inputs *other, size_t deferred_from,
                                  mp_inputs *in, mp_error *err) {
    return create(c, other, deferred_from, in, err);
}

mp_status mp_inputs_other(const mp_case *c, const mp_inputs *in, size_t deferred_from, mp_inputs *out,
                          mp_error *err) {
    mp_case other = *c; /* no shape of an input depends on what changes here */
    other.seed = (int64_t)(mp_mix((uint64_t)c->seed + 1) >> 1);
    other.filter = 0;
    other.routing = c->topk <= c->E * c->ep_size ? MP_UNIFORM : MP_DUPLICATES;
    return create(&other, in, deferred_from, out, err);
}

void mp_inputs_destroy(mp_inputs *in) {
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        if (!in->borrowed[id]) mp_tensor_free(&in->t[id]);
    }
    *in = (mp_inputs){0};
}

static mp_status check_tokens(const mp_case *c, const int64_t *rows, int64_t count, mp_error *err) {
    for (int64_t r = 0; r < count; r++)
        if (rows[r] < 0 || rows[r] >= c->M)
            return mp_fail(err, MP_EINPUT, "token %lld of the selection: expected 0..%lld",
                           (long long)rows[r], (long long)c->M - 1);
    return MP_OK;
}

static void copy_tokens(const char *from, size_t bytes, const int64_t *rows, int64_t count, char *to) {
#pragma omp parallel for schedule(static) if ((size_t)count * bytes > ((size_t)1 << 22))
    for (int64_t r = 0; r < count; r++) memcpy(to + (size_t)r * bytes, from + (size_t)rows[r] * bytes, bytes);
}

/* Has the rows of these tokens made, or all where there is no memory to name them. */
static void make_tokens(const mp_case *c, const mp_tensor *from, const int64_t *rows, int64_t count) {
    const int64_t each = c->M > 0 ? mp_tensor_rows(from) / c->M : 0;
    int64_t *named = from->maker ? malloc((size_t)(count * each + 1) * sizeof *named) : NULL;
    for (int64_t i = 0; i < count * each && named; i++) named[i] = rows[i / each] * each + i % each;
    mp_tensor_make_rows(from, named, named ? count * each : mp_tensor_rows(from));
    free(named);
}

mp_status mp_inputs_select(const mp_case *c, const mp_inputs *in, const int64_t *rows, int64_t count,
                           mp_inputs *out, mp_error *err) {
    mp_status status = check_tokens(c, rows, count, err);
    mp_case part = *c;
    part.M = count;
    *out = *in;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        out->borrowed[id] = mp_tensors[id].rows == MP_ROWS_WHOLE;
        if (!out->borrowed[id]) out->t[id].data = NULL;
        if (!out->borrowed[id]) out->t[id].maker = NULL;
    }
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        const mp_tensor *from = &in->t[id];
        if (out->borrowed[id] || !from->data) continue;
        if (mp_tensors[id].rows == MP_ROWS_BATCH) {
            out->t[id] = mp_case_shape(&part, (mp_tensor_id)id, 16);
            status = mp_tensor_alloc(&out->t[id], MP_POISON_A, err);
            continue;
        }
        const size_t token_bytes = mp_token_bytes(c, from);
        out->t[id].dim[0] = c->M > 0 ? from->dim[0] / c->M * count : 0; /* no row is left to choose */
        if (count > 0 && mp_defers_selection(from, mp_tensor_bytes(&out->t[id]))) {
            status = mp_defer_selection(from, rows, mp_tensor_rows(from) / c->M, &out->t[id], err);
            continue;
        }
        status = mp_tensor_alloc_unfilled(&out->t[id], err);
        make_tokens(c, from, rows, count);
        if (status == MP_OK) copy_tokens(from->data, token_bytes, rows, count, out->t[id].data);
    }
    if (status == MP_OK)
        fill_batch(&part, out);
    else
        mp_inputs_destroy(out);
    return status;
}

/* Rows of `from`, [E, 2N] of them, in the order of the other case. */
static void reorder_rows(const mp_case *a, const mp_tensor *from, const mp_case *b, mp_tensor *to) {
    const size_t bytes = mp_tensor_bytes(from) / (size_t)(a->E * mp_case_w1_rows(a));
    for (int64_t e = 0; e < a->E; e++) {
        const size_t expert = (size_t)(e * mp_case_w1_rows(a)) * bytes;
        const char *source = (const char *)from->data + expert;
        char *target = (char *)to->data + expert;
        for (int64_t n = 0; n < a->N; n++) {
            memcpy(target + (size_t)mp_gate_column(b, n) * bytes,
                   source + (size_t)mp_gate_column(a, n) * bytes, bytes);
            memcpy(target + (size_t)mp_up_column(b, n) * bytes, source + (size_t)mp_up_column(a, n) * bytes,
                   bytes);
        }
    }
}

mp_status mp_inputs_reorder_gate(const mp_case *c, const mp_inputs *in, const mp_case *other, mp_inputs *out,
                                 mp_error *err) {
    static const mp_tensor_id reordered[] = {MP_W1, MP_B1};
    mp_status status = MP_OK;
    *out = *in;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) out->borrowed[id] = true;
    for (size_t i = 0; i < sizeof reordered / sizeof *reordered && status == MP_OK; i++) {
        const mp_tensor *from = &in->t[reordered[i]];
        mp_tensor *to = &out->t[reordered[i]];
        if (!from->data) continue;
        out->borrowed[reordered[i]] = false;
        to->data = NULL;
        status = mp_tensor_alloc(to, MP_POISON_A, err);
        mp_tensor_make(from, NULL);
        if (status == MP_OK) reorder_rows(c, from, other, to);
    }
    if (status != MP_OK) mp_inputs_destroy(out);
    return status;
}

uint64_t mp_inputs_digest(const mp_inputs *in) {
    uint64_t digest = MP_FILL_VERSION;
    /* In the order of their streams, and which tensor, so that exchanging two shows. */
    for (int stream = 0; stream < MP_STREAMS; stream++) {
        int id = 0;
        while (id < MP_TENSOR_COUNT && mp_tensors[id].stream != stream) id++;
        if (id == MP_TENSOR_COUNT || !in->t[id].data) continue;
        digest = mp_mix(digest + (uint64_t)stream) ^ mp_tensor_digest(&in->t[id]);
    }
    return digest;
}

/* A digest that threads make together: that of the digests of pieces. */
static uint64_t digest_by_pieces(const mp_tensor *t) {
    const size_t bytes = mp_tensor_bytes(t), piece = (size_t)1 << 22;
    uint64_t digest = bytes;
#pragma omp parallel for schedule(static) reduction(+ : digest) if (bytes > piece)
    for (size_t at = 0; at < bytes; at += piece)
        digest += mp_bits(mp_digest((const char *)t->data + at, bytes - at < piece ? bytes - at : piece), at);
    return digest;
}

uint64_t mp_inputs_sealed(const mp_inputs *in, mp_tensor_id id) {
    return in->t[id].data && in->sealed[id] == in->t[id].data ? in->digest[id] : 0;
}

void mp_inputs_seal(mp_inputs *in) {
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        if (!in->t[id].data || mp_inputs_sealed(in, (mp_tensor_id)id)) continue;
        in->digest[id] = digest_by_pieces(&in->t[id]);
        in->sealed[id] = in->t[id].data;
    }
}

mp_tensor_id mp_inputs_changed(const mp_inputs *in) {
    int id = 0;
    for (bool unchanged = true; id < MP_TENSOR_COUNT; id++) {
        const mp_maker *maker = in->t[id].maker;
        if (maker) /* its digest is that of what it is made by */
            unchanged = maker->unchanged(maker);
        else if (mp_inputs_sealed(in, (mp_tensor_id)id))
            unchanged = digest_by_pieces(&in->t[id]) == in->digest[id];
        if (!unchanged) break;
    }
    return (mp_tensor_id)id;
}

bool mp_inputs_unchanged(const mp_inputs *in) {
    return mp_inputs_changed(in) == MP_TENSOR_COUNT;
}

const mp_tensor *mp_inputs_as_given(const mp_inputs *in, mp_tensor_id id) {
    const bool numbered = id == MP_TOPK_IDS && in->t[MP_NUMBERED_IDS].data;
    return &in->t[numbered ? MP_NUMBERED_IDS : id];
}

mp_status mp_inputs_check_ids(const mp_case *c, const mp_inputs *in, mp_error *err) {
    const int32_t *ids = in->t[MP_TOPK_IDS].data;
    for (int64_t slot = 0; slot < mp_case_slots(c); slot++) {
        if (ids[slot] >= -1 && ids[slot] < c->E) continue;
        return mp_fail(err, MP_EINPUT,
                       "topk_ids of token %lld, slot %lld is %d: expected -1 (not on this rank) or 0..%lld",
                       (long long)(slot / c->topk), (long long)(slot % c->topk), ids[slot],
                       (long long)c->E - 1);
    }
    return MP_OK;
}
