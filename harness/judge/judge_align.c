/* SPDX-License-Identifier: Apache-2.0 */
/* Align's integers against the definition. */
#include "cases/graph_tables.h"
#include "harness/answers.h"
#include "harness/judge/judge.h"
#include "harness/judge/span.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare_ids(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Counts and reports one integer; the first difference becomes the check's text. `place` is the flat index of
 * an entry of sorted_token_ids, whose first difference is told in the figures; -1: of another tensor. */
static void judge_integer(mp_verdict *v, const char *what, int64_t row, int64_t index, int64_t place,
                          int64_t got, int64_t expected) {
    mp_stage_figures *f = &v->stage[MP_ALIGN];
    f->compared++;
    if (got == expected) {
        f->bit_equal++;
        return;
    }
    f->failed++;
    if (place >= 0 && f->worst_index < 0) {
        f->worst_index = place;
        f->worst_value = (double)got;
        f->worst_expected = (double)expected;
    }
    mp_check_fail(v, MP_CHECK_INTEGER, "align: %s[%lld] of %s %lld is %lld instead of %lld", what,
                  (long long)index, strncmp(what, "lora_", 5) == 0 ? "adapter" : "chunk", (long long)row,
                  (long long)got, (long long)expected);
}

/* A row of sorted slots, with the expert of each block. */
typedef struct sorted_row {
    const char *sorted, *expert_ids; /* names of the tensors */
    const int32_t *ids, *experts, *want_ids, *want_experts;
    int64_t row, place, capacity, blocks, used; /* place: flat index of the first, or -1; used: of want_ids */
} sorted_row;

static int64_t place_of(const sorted_row *r, int64_t position) {
    return r->place < 0 ? -1 : r->place + position;
}

/* Where the contract does not promise a stable order each expert's slots are compared as a multiset; what
 * lies behind the last of them is compared where the contract says what it is. */
static mp_status judge_row(const mp_judgement *j, const sorted_row *r, mp_error *err) {
    mp_verdict *v = j->v;
    const int64_t bm = j->trace->block_size_m, used = r->used, used_blocks = used / bm;
    char name[64];
    for (int64_t b = 0; b < used_blocks; b++)
        judge_integer(v, r->expert_ids, r->row, b, -1, r->experts[b], r->want_experts[b]);
    if (j->contract->stable_align) {
        for (int64_t p = 0; p < used; p++)
            judge_integer(v, r->sorted, r->row, p, place_of(r, p), r->ids[p], r->want_ids[p]);
    } else {
        int32_t *mine = malloc((size_t)(used > 0 ? used : 1) * sizeof *mine);
        if (!mine) return mp_fail(err, MP_EMEMORY, "align: no memory to sort %lld ids", (long long)used);
        snprintf(name, sizeof name, "%s (as a multiset)", r->sorted);
        memcpy(mine, r->ids, (size_t)used * sizeof *mine);
        for (int64_t first = 0, end; first < used; first = end) {
            for (end = first + bm; end < used && r->want_experts[end / bm] == r->want_experts[first / bm];
                 end += bm) {}
            /* Pads are the largest value: they sort to the end, as expected has them. */
            qsort(mine + first, (size_t)(end - first), sizeof *mine, compare_ids);
            for (int64_t p = first; p < end; p++)
                judge_integer(v, name, r->row, p, place_of(r, p), mine[p], r->want_ids[p]);
        }
        free(mine);
    }
    if (!j->contract->align_tail) return MP_OK;
    snprintf(name, sizeof name, "%s (tail)", r->expert_ids);
    for (int64_t b = used_blocks; b < r->blocks; b++)
        judge_integer(v, name, r->row, b, -1, r->experts[b], r->want_experts[b]);
    snprintf(name, sizeof name, "%s (tail)", r->sorted);
    for (int64_t p = used; p < r->capacity; p++)
        judge_integer(v, name, r->row, p, place_of(r, p), r->ids[p], r->want_ids[p]);
    return MP_OK;
}

/* One chunk against the definition. */
static mp_status judge_chunk(const mp_judgement *j, int64_t chunk, const mp_tensor *got,
                             const mp_tensor *expected, mp_error *err) {
    const int32_t *counts = got[MP_MASKED_M].data, *want_counts = expected[MP_MASKED_M].data;
    const sorted_row row = {"sorted_token_ids",
                            "expert_ids",
                            got[MP_SORTED_TOKEN_IDS].data,
                            got[MP_EXPERT_IDS].data,
                            expected[MP_SORTED_TOKEN_IDS].data,
                            expected[MP_EXPERT_IDS].data,
                            chunk,
                            chunk * got[MP_SORTED_TOKEN_IDS].dim[1],
                            got[MP_SORTED_TOKEN_IDS].dim[1],
                            got[MP_EXPERT_IDS].dim[1],
                            *(const int32_t *)expected[MP_NUM_TOKENS_POST_PADDED].data};
    judge_integer(j->v, "num_tokens_post_padded", chunk, 0, -1,
                  *(const int32_t *)got[MP_NUM_TOKENS_POST_PADDED].data, row.used);
    for (int64_t e = 0; counts && e < j->c->E; e++)
        judge_integer(j->v, "masked_m", chunk, e, -1, counts[e], want_counts[e]);
    return judge_row(j, &row, err);
}

/* The row of each adapter. Of one without slots nothing is written, where the contract does not say what lies
 * behind the last slot. */
static mp_status judge_adapters(const mp_judgement *j, const mp_tensor *expected, mp_error *err) {
    const mp_tensor *got = j->t;
    const int64_t capacity = got[MP_LORA_SORTED_IDS].dim[2], blocks = got[MP_LORA_EXPERT_IDS].dim[2];
    const int32_t *count = got[MP_LORA_NUM_PADDED].data, *want = expected[MP_LORA_NUM_PADDED].data;
    mp_status status = MP_OK;
    for (int64_t l = 0; l < j->c->lora_adapters && status == MP_OK; l++) {
        if (want[l] == 0 && !j->contract->align_tail) continue;
        const sorted_row row = {"lora_sorted_token_ids",
                                "lora_expert_ids",
                                (const int32_t *)got[MP_LORA_SORTED_IDS].data + l * capacity,
                                (const int32_t *)got[MP_LORA_EXPERT_IDS].data + l * blocks,
                                (const int32_t *)expected[MP_LORA_SORTED_IDS].data + l * capacity,
                                (const int32_t *)expected[MP_LORA_EXPERT_IDS].data + l * blocks,
                                l,
                                -1,
                                capacity,
                                blocks,
                                want[l]};
        judge_integer(j->v, "lora_num_tokens_post_padded", 0, l, -1, count[l], want[l]);
        status = judge_row(j, &row, err);
    }
    return status;
}

mp_status mp_judge_stage_align(const mp_judgement *j, mp_error *err) {
    const mp_tensor_set align = mp_stages[MP_ALIGN].writes;
    mp_verdict *v = j->v;
    mp_tensor expected[MP_TENSOR_COUNT] = {0};
    mp_status status = MP_OK;
    const bool adapters = (j->has & MP_LORA_ALIGN_TENSORS) == MP_LORA_ALIGN_TENSORS;
    v->stage[MP_ALIGN] =
        (mp_stage_figures){.worst_index = -1,
                           .rank = 2,
                           .shape = {j->t[MP_SORTED_TOKEN_IDS].dim[0], j->t[MP_SORTED_TOKEN_IDS].dim[1]}};
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) { /* as large as the subject's */
        if (!(align & MP_IN_SET(id)) || !j->t[id].data) continue;
        if (MP_LORA_ALIGN_TENSORS & MP_IN_SET(id) && !adapters) continue; /* of no use without the others */
        expected[id] = j->t[id];
        expected[id].dim[0] = 1;
        status = mp_tensor_alloc(&expected[id], MP_POISON_A, err);
    }
    for (int64_t i = 0; i < mp_case_chunks(j->c) && status == MP_OK; i++) {
        const mp_case part = mp_case_chunk(j->c, i);
        mp_tensor got[MP_TENSOR_COUNT];
        mp_case_chunk_tensors(j->c, i, j->t, got);
        expected[MP_TOPK_IDS] = got[MP_TOPK_IDS];
        expected[MP_TOKEN_LORA] = got[MP_TOKEN_LORA];
        expected[MP_ADAPTER_ENABLED] = got[MP_ADAPTER_ENABLED];
        status = mp_ref_align(&part, j->trace->block_size_m, expected, err);
        if (status == MP_OK) status = judge_chunk(j, i, got, expected, err);
        if (status == MP_OK && adapters) status = judge_adapters(j, expected, err);
    }
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (align & MP_IN_SET(id)) mp_tensor_free(&expected[id]);
    if (status != MP_OK) return status;
    v->stage[MP_ALIGN].judged = true;
    v->stage[MP_ALIGN].time_ns = j->trace->stage_ns[MP_ALIGN];
    if (v->stage[MP_ALIGN].failed > 0) mp_begins(v, MP_ALIGN, MP_ALIGN, "ids, counts or padding");
    v->stage[MP_ALIGN].max_ratio = v->stage[MP_ALIGN].failed > 0 ? (double)INFINITY : 0;
    mp_check_pass(v, MP_CHECK_INTEGER);
    return MP_OK;
}

mp_status mp_judge_masked_m(const mp_judgement *j, mp_error *err) {
    const int32_t *ids = j->t[MP_TOPK_IDS].data, *counts = j->t[MP_MASKED_M].data;
    int64_t wrong = 0, *expected = calloc((size_t)j->c->E, sizeof *expected);
    if (!expected) return mp_fail(err, MP_EMEMORY, "align: no memory to count the slots of experts");
    for (int64_t slot = 0; slot < mp_case_slots(j->c); slot++)
        if (ids[slot] >= 0) expected[ids[slot]]++;
    for (int64_t e = 0; e < j->c->E; e++) {
        if (counts[e] == expected[e]) continue;
        wrong++;
        mp_check_fail(j->v, MP_CHECK_INTEGER, "align: masked_m[%lld] is %d instead of %lld", (long long)e,
                      counts[e], (long long)expected[e]);
    }
    if (wrong > 0)
        mp_begins(j->v, MP_ALIGN, MP_ALIGN, "ids, counts or padding");
    else
        mp_check_pass_partly(j->v, MP_CHECK_INTEGER, "of align's tensors masked_m alone was judged");
    free(expected);
    return MP_OK;
}

/* ---- inside a span ---- */

/* No span holds it (mp_for_each_span): integers have no balls. */
mp_status mp_propagate_align(mp_span *j, const mp_balls *in, mp_balls *out, mp_error *err) {
    (void)j, (void)in, (void)out;
    return mp_fail(err, MP_EINTERNAL, "judge: align inside a span");
}
