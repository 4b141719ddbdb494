/* SPDX-License-Identifier: Apache-2.0 */
#include "cases/parts.h"

#include "cases/graph_tables.h"
#include "cases/numbering.h"

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
    if (whole->quant && part->N != whole->N)
        return mp_fail(
            err, MP_EINPUT,
            "quant=%s: blocks of a scale need not end where a shard of N does: use ranks of experts",
            mp_quant_name(whole->quant));
    if (whole->shared == MP_SHARED_ADD)
        return mp_fail(err, MP_EINPUT,
                       "each of the parts would add shared_output: use shared=slot or none, not shared=add");
    if (mp_case_has_lora(whole))
        return mp_fail(err, MP_EINPUT, "adapters are not cut into parts: use lora_adapters=0");
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

/* One part: its case, and its number among the shards of N. */
typedef struct share {
    const mp_case *whole, *part;
    int64_t shard;
} share;

static bool is_rank(const share *s) {
    return s->whole->ep_size != s->part->ep_size;
}

/* The whole's number of the part's expert e. */
static int64_t expert_of(const share *s, int64_t e) {
    return is_rank(s) ? mp_global_expert(s->part, e) : e;
}

static void take_ids(const share *s, const mp_tensor *from, const mp_tensor *to) {
    const int32_t *global = from->data;
    int32_t *local = to->data;
    for (int64_t slot = 0; slot < mp_case_slots(s->whole); slot++)
        local[slot] = is_rank(s) ? (int32_t)mp_local_expert(s->part, global[slot]) : global[slot];
}

/* Of the ids of the whole, whose experts are those of all its ranks. */
static void number_ids(const share *s, const mp_tensor *from, const mp_tensor *to) {
    const int32_t *global = from->data;
    int32_t *numbered = to->data;
    for (int64_t slot = 0; slot < mp_case_slots(s->whole); slot++)
        numbered[slot] = mp_numbered_id(s->part, slot, global[slot]);
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
                   (const char *)from->data + (size_t)(expert_of(s, e) * all + w1_row(s, r)) * row_bytes,
                   row_bytes);
}

static void take_w2(const share *s, const mp_tensor *from, const mp_tensor *to) {
    const size_t bytes = mp_tensor_row_bytes(to), first = (size_t)s->shard * bytes;
    const int64_t K = s->part->K;
    for (int64_t e = 0; e < s->part->E; e++)
        for (int64_t k = 0; k < K; k++)
            memcpy(mp_tensor_row(to, e * K + k), (char *)mp_tensor_row(from, expert_of(s, e) * K + k) + first,
                   bytes);
}

static void take_b2(const share *s, const mp_tensor *from, const mp_tensor *to) {
    const size_t row_bytes = (size_t)s->part->K * mp_dtype_size(to->dtype);
    for (int64_t e = 0; e < s->part->E; e++)
        if (s->shard == 0)
            memcpy(mp_tensor_row(to, e), mp_tensor_row(from, expert_of(s, e)), row_bytes);
        else
            memset(mp_tensor_row(to, e), 0, row_bytes);
}

/* What an expert has as a whole. */
static void take_experts(const share *s, const mp_tensor *from, const mp_tensor *to) {
    const size_t bytes = mp_tensor_bytes(to) / (size_t)s->part->E;
    for (int64_t e = 0; e < s->part->E; e++)
        memcpy((char *)to->data + (size_t)e * bytes,
               (const char *)from->data + (size_t)expert_of(s, e) * bytes, bytes);
}

/* What differs from part to part. */
static bool is_cut(int id) {
    return mp_tensors[id].rows == MP_ROWS_WHOLE || id == MP_TOPK_IDS || id == MP_NUMBERED_IDS;
}

/* Ids that are numbered otherwise are made of the whole's, which may have none of those. */
static const mp_tensor *source_of(const share *s, const mp_inputs *in, int id) {
    const bool numbering = (id == MP_NUMBERED_IDS || id == MP_EXPERT_MAP) && is_rank(s);
    const mp_tensor *from = &in->t[numbering ? MP_TOPK_IDS : id];
    return from->data && mp_case_shape(s->part, (mp_tensor_id)id, 16).rank > 0 ? from : NULL;
}

static mp_status take(const share *s, mp_tensor_id id, const mp_tensor *from, const mp_tensor *to,
                      mp_error *err) {
    switch (id) {
    case MP_TOPK_IDS: take_ids(s, from, to); return MP_OK;
    case MP_NUMBERED_IDS:
        if (is_rank(s))
            number_ids(s, from, to);
        else
            memcpy(to->data, from->data, mp_tensor_bytes(to));
        return MP_OK;
    case MP_EXPERT_MAP: mp_fill_expert_map(s->part, to); return MP_OK;
    case MP_W1: take_w1(s, from, to, mp_tensor_row_bytes(to)); return MP_OK;
    case MP_B1: take_w1(s, from, to, mp_dtype_size(to->dtype)); return MP_OK;
    case MP_W2: take_w2(s, from, to); return MP_OK;
    case MP_B2: take_b2(s, from, to); return MP_OK;
    case MP_X_GIVEN_SCALE:
    case MP_CACHE2_GIVEN_SCALE: memcpy(to->data, from->data, mp_tensor_bytes(to)); return MP_OK;
    case MP_W1_SCALE:
    case MP_W2_SCALE:
    case MP_W1_ZERO:
    case MP_W2_ZERO:
    case MP_W1_GLOBAL_SCALE:
    case MP_W2_GLOBAL_SCALE: take_experts(s, from, to); return MP_OK;
    default: break;
    }
    return mp_fail(err, MP_EINTERNAL, "a part's share of %s is not known", mp_tensor_name(id));
}

mp_status mp_inputs_part(const mp_case *whole, const mp_inputs *in, const mp_case *part, int64_t i,
                         mp_inputs *out, mp_error *err) {
    const mp_case mine = mp_case_part(whole, part, i);
    const share s = {whole, &mine, i % shards_of(whole, part)};
    mp_status status = MP_OK;
    *out = *in;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        out->borrowed[id] = !is_cut(id);
        if (is_cut(id)) out->t[id] = (mp_tensor){0};
    }
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        const mp_tensor *from = is_cut(id) ? source_of(&s, in, id) : NULL;
        if (!from) continue;
        out->t[id] = mp_case_shape(&mine, (mp_tensor_id)id, 16);
        status = mp_tensor_alloc(&out->t[id], MP_POISON_A, err);
        mp_tensor_make(from, NULL);
        if (status == MP_OK) status = take(&s, (mp_tensor_id)id, from, &out->t[id], err);
    }
    return status;
}
