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
static void judge_integer(mp_verdict *v, const char *what, int64_t chunk, int64_t index, int64_t place,
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
    mp_check_fail(v, MP_CHECK_INTEGER, "align: %s[%lld] of chunk %lld is %lld instead of %lld", what,
                  (long long)index, (long long)chunk, (long long)got, (long long)expected);
}

/* One chunk against the definition. Where the contract does not promise a stable order each expert's slots
 * are compared as a multiset; what lies behind num_tokens_post_padded is compared where the contract says
 * what it is. */
static mp_status judge_chunk(const mp_judgement *j, int64_t chunk, const mp_tensor *got,
                             const mp_tensor *expected, mp_error *err) {
    mp_verdict *v = j->v;
    const int32_t *sorted = got[MP_SORTED_TOKEN_IDS].data, *want_sorted = expected[MP_SORTED_TOKEN_IDS].data;
    const int32_t *experts = got[MP_EXPERT_IDS].data, *want_experts = expected[MP_EXPERT_IDS].data;
    const int32_t used = *(const int32_t *)expected[MP_NUM_TOKENS_POST_PADDED].data;
    const int64_t capacity = got[MP_SORTED_TOKEN_IDS].dim[1], blocks = got[MP_EXPERT_IDS].dim[1],
                  bm = j->trace->block_size_m, used_blocks = used / bm;
    judge_integer(v, "num_tokens_post_padded", chunk, 0, -1,
                  *(const int32_t *)got[MP_NUM_TOKENS_POST_PADDED].data, used);
    const int32_t *counts = got[MP_MASKED_M].data, *want_counts = expected[MP_MASKED_M].data;
    for (int64_t e = 0; counts && e < j->c->E; e++)
        judge_integer(v, "masked_m", chunk, e, -1, counts[e], want_counts[e]);
    for (int64_t b = 0; b < used_blocks; b++)
        judge_integer(v, "expert_ids", chunk, b, -1, experts[b], want_experts[b]);
    if (j->contract->stable_align) {
        for (int64_t p = 0; p < used; p++)
            judge_integer(v, "sorted_token_ids", chunk, p, chunk * capacity + p, sorted[p], want_sorted[p]);
    } else {
        int32_t *mine = malloc((size_t)(used > 0 ? used : 1) * sizeof *mine);
        if (!mine) return mp_fail(err, MP_EMEMORY, "align: no memory to sort %d ids", used);
        memcpy(mine, sorted, (size_t)used * sizeof *mine);
        for (int64_t first = 0, end; first < used; first = end) {
            for (end = first + bm; end < used && want_experts[end / bm] == want_experts[first / bm];
                 end += bm) {}
            /* Pads are the largest value: they sort to the end, as expected has them. */
            qsort(mine + first, (size_t)(end - first), sizeof *mine, compare_ids);
            for (int64_t p = first; p < end; p++)
                judge_integer(v, "sorted_token_ids (as a multiset)", chunk, p, chunk * capacity + p, mine[p],
                              want_sorted[p]);
        }
        free(mine);
    }
    if (!j->contract->align_tail) return MP_OK;
    for (int64_t b = used_blocks; b < blocks; b++)
        judge_integer(v, "expert_ids (tail)", chunk, b, -1, experts[b], want_experts[b]);
    for (int64_t p = used; p < capacity; p++)
        judge_integer(v, "sorted_token_ids (tail)", chunk, p, chunk * capacity + p, sorted[p],
                      want_sorted[p]);
    return MP_OK;
}

mp_status mp_judge_stage_align(const mp_judgement *j, mp_error *err) {
    const mp_tensor_set align = mp_stages[MP_ALIGN].writes;
    mp_verdict *v = j->v;
    mp_tensor expected[MP_TENSOR_COUNT] = {0};
    mp_status status = MP_OK;
    v->stage[MP_ALIGN] =
        (mp_stage_figures){.worst_index = -1,
                           .rank = 2,
                           .shape = {j->t[MP_SORTED_TOKEN_IDS].dim[0], j->t[MP_SORTED_TOKEN_IDS].dim[1]}};
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) { /* as large as the subject's */
        if (!(align & MP_IN_SET(id)) || !j->t[id].data) continue;
        expected[id] = j->t[id];
        expected[id].dim[0] = 1;
        status = mp_tensor_alloc(&expected[id], MP_POISON_A, err);
    }
    for (int64_t i = 0; i < mp_case_chunks(j->c) && status == MP_OK; i++) {
        const mp_case part = mp_case_chunk(j->c, i);
        mp_tensor got[MP_TENSOR_COUNT];
        mp_case_chunk_tensors(j->c, i, j->t, got);
        expected[MP_TOPK_IDS] = got[MP_TOPK_IDS];
        status = mp_ref_align(&part, j->trace->block_size_m, expected, err);
        if (status == MP_OK) status = judge_chunk(j, i, got, expected, err);
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
