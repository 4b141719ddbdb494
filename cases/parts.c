/* SPDX-License-Identifier: Apache-2.0 */
#include "cases/parts.h"

#include "cases/graph_tables.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool mp_case_is_part(const mp_case *whole, const mp_case *part) {
    return whole->E != part->E || whole->ep_size != part->ep_size || whole->N != part->N;
}

static mp_status validate_ranks(const mp_case *whole, const mp_case *part, mp_error *err) {
    if (whole->ep_size > 1 || whole->filter > 0)
        return mp_fail(err, MP_EINPUT, "ranks are summed of a whole case: use ep_size=1 and filter=0");
    if (part->ep_rank != 0)
        return mp_fail(err, MP_EINPUT, "ep_rank=%" PRId64 ": all ranks are run, remove it", part->ep_rank);
    if (part->E * part->ep_size != whole->E)
        return mp_fail(err, MP_EINPUT,
                       "ep_size=%" PRId64 " ranks with E=%" PRId64 " each are not the case's E=%" PRId64
                       ": make the product equal",
                       part->ep_size, part->E, whole->E);
    return MP_OK;
}

mp_status mp_case_validate_part(const mp_case *whole, const mp_case *part, mp_error *err) {
    if (whole->scope != MP_SCOPE_ALL || whole->data == MP_FROM_FILE)
        return mp_fail(err, MP_EINPUT, "ranks and shards are summed of a run of all stages: use scope=all");
    if (whole->shared == MP_SHARED_ADD)
        return mp_fail(err, MP_EINPUT,
                       "each of the parts would add shared_output: use shared=slot or none, not shared=add");
    if (part->N > whole->N || whole->N % part->N != 0)
        return mp_fail(err, MP_EINPUT,
                       "N=%" PRId64 " is no shard of the case's N=%" PRId64 ": use a divisor of it", part->N,
                       whole->N);
    const bool ranks = whole->E != part->E || whole->ep_size != part->ep_size;
    return ranks ? validate_ranks(whole, part, err) : MP_OK;
}

static int64_t ranks_of(const mp_case *whole, const mp_case *part) {
    return part->ep_size / whole->ep_size;
}

static int64_t shards_of(const mp_case *whole, const mp_case *part) {
    return whole->N / part->N;
}

int64_t mp_case_parts(const mp_case *whole, const mp_case *part) {
    return ranks_of(whole, part) * shards_of(whole, part);
}

mp_case mp_case_part(const mp_case *whole, const mp_case *part, int64_t i) {
    mp_case c = *part;
    if (ranks_of(whole, part) > 1) c.ep_rank = i / shards_of(whole, part);
    return c;
}

void mp_case_part_name(const mp_case *whole, const mp_case *part, int64_t i, char name[MP_PART_NAME_MAX]) {
    const int64_t ranks = ranks_of(whole, part), shards = shards_of(whole, part);
    int used = 0;
    if (ranks > 1) used = snprintf(name, MP_PART_NAME_MAX, "rank %" PRId64 " of %" PRId64, i / shards, ranks);
    if (shards > 1)
        snprintf(name + used, (size_t)(MP_PART_NAME_MAX - used), "%sshard %" PRId64 " of %" PRId64,
                 used ? ", " : "", i % shards, shards);
}

/* ---- inputs ---- */

/* One part: its case, its first expert in the whole, and its number among the shards of N. */
typedef struct share {
    const mp_case *whole, *part;
    int64_t expert, shard;
} share;

static void localise(const share *s, const mp_tensor *from, const mp_tensor *to) {
    const int32_t *global = from->data;
    int32_t *local = to->data;
    for (int64_t slot = 0; slot < mp_case_slots(s->whole); slot++) {
        const int64_t id = global[slot] - s->expert;
        local[slot] = global[slot] < 0 || id < 0 || id >= s->part->E ? -1 : (int32_t)id;
    }
}

/* The row of an expert's w1 in which row r of the part's lies. */
static int64_t w1_row(const share *s, int64_t r) {
    const int64_t n = s->part->N, first = s->shard * n;
    if (!s->part->gated) return first + r;
    if (s->part->interleaved) return 2 * first + r;
    return r / n * s->whole->N + first + r % n;
}

/* b1's elements are w1's rows. */
static void take_w1(const share *s, const mp_tensor *from, const mp_tensor *to, size_t row_bytes) {
    const int64_t rows = mp_case_w1_rows(s->part), all = mp_case_w1_rows(s->whole);
    for (int64_t e = 0; e < s->part->E; e++)
        for (int64_t r = 0; r < rows; r++)
            memcpy((char *)to->data + (size_t)(e * rows + r) * row_bytes,
                   (const char *)from->data + (size_t)((s->expert + e) * all + w1_row(s, r)) * row_bytes,
                   row_bytes);
}

static void take_w2(const share *s, const mp_tensor *from, const mp_tensor *to) {
    const size_t size = mp_dtype_size(to->dtype), bytes = (size_t)s->part->N * size,
                 first = (size_t)s->shard * bytes;
    for (int64_t row = 0; row < s->part->E * s->part->K; row++)
        memcpy(mp_tensor_row(to, row), (char *)mp_tensor_row(from, s->expert * s->part->K + row) + first,
               bytes);
}

static void take_b2(const share *s, const mp_tensor *from, const mp_tensor *to) {
    if (s->shard == 0)
        memcpy(to->data, mp_tensor_row(from, s->expert), mp_tensor_bytes(to));
    else
        memset(to->data, 0, mp_tensor_bytes(to));
}

/* What differs from part to part. */
static bool is_cut(int id) {
    return mp_tensors[id].rows == MP_ROWS_WHOLE || id == MP_TOPK_IDS;
}

static mp_status take(const share *s, mp_tensor_id id, const mp_tensor *from, const mp_tensor *to,
                      mp_error *err) {
    const size_t size = mp_dtype_size(to->dtype);
    switch (id) {
    case MP_TOPK_IDS: localise(s, from, to); return MP_OK;
    case MP_W1: take_w1(s, from, to, (size_t)to->dim[2] * size); return MP_OK;
    case MP_B1: take_w1(s, from, to, size); return MP_OK;
    case MP_W2: take_w2(s, from, to); return MP_OK;
    case MP_B2: take_b2(s, from, to); return MP_OK;
    default: break;
    }
    return mp_fail(err, MP_EINTERNAL, "a part's share of %s is not known", mp_tensor_name(id));
}

mp_status mp_inputs_part(const mp_case *whole, const mp_inputs *in, const mp_case *part, int64_t i,
                         mp_inputs *out, mp_error *err) {
    const int64_t shards = shards_of(whole, part);
    const share s = {whole, part, ranks_of(whole, part) > 1 ? i / shards * part->E : 0, i % shards};
    mp_status status = MP_OK;
    *out = *in;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        out->borrowed[id] = !is_cut(id);
        if (is_cut(id)) out->t[id].data = NULL;
    }
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        if (!is_cut(id) || !in->t[id].data) continue;
        out->t[id] = mp_case_shape(part, (mp_tensor_id)id, 16);
        status = mp_tensor_alloc(&out->t[id], MP_POISON_A, err);
        if (status == MP_OK) status = take(&s, (mp_tensor_id)id, &in->t[id], &out->t[id], err);
    }
    return status;
}
