#include "harness/judge/judge.h"

#include "ref/align.h"
#include "ref/pipeline.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare_ids(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Counts and reports one integer; the first difference becomes the check's text. */
static void judge_integer(mp_verdict *v, const char *what, int64_t chunk, int64_t index, int64_t got,
                          int64_t expected) {
    mp_stage_figures *f = &v->stage[MP_ALIGN];
    f->compared++;
    if (got == expected) {
        f->bit_equal++;
        return;
    }
    f->failed++;
    mp_check_fail(v, MP_CHECK_INTEGER, "align: %s[%lld] of chunk %lld is %lld instead of %lld", what,
                  (long long)index, (long long)chunk, (long long)got, (long long)expected);
}

/* One chunk against the definition. Where the contract does not promise a stable order each expert's slots
 * are compared as a multiset, and what lies behind num_tokens_post_padded is left alone: no correct consumer
 * reads it. */
static void judge_chunk(const mp_contract *contract, int64_t chunk, const mp_trace *got,
                        const mp_trace *expected, mp_verdict *v) {
    const int32_t *sorted = got->t[MP_SORTED_TOKEN_IDS].data,
                  *want_sorted = expected->t[MP_SORTED_TOKEN_IDS].data;
    const int32_t *experts = got->t[MP_EXPERT_IDS].data, *want_experts = expected->t[MP_EXPERT_IDS].data;
    const int32_t used = *(const int32_t *)expected->t[MP_NUM_TOKENS_POST_PADDED].data;
    const int64_t capacity = got->t[MP_SORTED_TOKEN_IDS].dim[1], blocks = got->t[MP_EXPERT_IDS].dim[1],
                  bm = got->block_size_m;
    judge_integer(v, "num_tokens_post_padded", chunk, 0,
                  *(const int32_t *)got->t[MP_NUM_TOKENS_POST_PADDED].data, used);
    const int64_t sorted_end = contract->stable_align ? capacity : used,
                  blocks_end = contract->stable_align ? blocks : used / bm;
    for (int64_t b = 0; b < blocks_end; b++)
        judge_integer(v, "expert_ids", chunk, b, experts[b], want_experts[b]);
    if (contract->stable_align) {
        for (int64_t p = 0; p < sorted_end; p++)
            judge_integer(v, "sorted_token_ids", chunk, p, sorted[p], want_sorted[p]);
        return;
    }
    int32_t *mine = malloc((size_t)(used > 0 ? used : 1) * sizeof *mine);
    if (!mine) {
        mp_check_fail(v, MP_CHECK_INTEGER, "align: no memory to sort %d ids", used);
        return;
    }
    memcpy(mine, sorted, (size_t)used * sizeof *mine);
    for (int64_t first = 0, end; first < used; first = end) {
        for (end = first + bm; end < used && want_experts[end / bm] == want_experts[first / bm]; end += bm) {}
        qsort(mine + first, (size_t)(end - first), sizeof *mine,
              compare_ids); /* pads are the largest value: they sort to the end, as expected has them */
        for (int64_t p = first; p < end; p++)
            judge_integer(v, "sorted_token_ids (as a multiset)", chunk, p, mine[p], want_sorted[p]);
    }
    free(mine);
}

void mp_judge_align(const mp_case *c, const mp_contract *contract, const mp_inputs *in, const mp_trace *trace,
                    mp_verdict *v) {
    v->stage[MP_ALIGN] = (mp_stage_figures){.worst_index = -1};
    for (int64_t i = 0; i < mp_case_chunks(c); i++) {
        mp_error err = {0};
        mp_case part = mp_case_chunk(c, i);
        part.scope = MP_SCOPE_ALIGN;
        const mp_inputs view = mp_inputs_range(in, i * MP_CHUNK_TOKENS, part.M);
        const mp_trace got = mp_trace_chunk(c, trace, i);
        mp_trace expected;
        mp_trace_plan(c, trace->block_size_m,
                      &expected); /* capacities of a full chunk, as the subject has them */
        mp_status status = MP_OK;
        for (int t = MP_SORTED_TOKEN_IDS; t <= MP_NUM_TOKENS_POST_PADDED && status == MP_OK; t++) {
            expected.t[t].dim[0] = 1;
            status = mp_tensor_alloc(&expected.t[t], MP_POISON_A, &err);
        }
        if (status == MP_OK) status = mp_ref_align(&part, &view, &expected, &err);
        if (status == MP_OK)
            judge_chunk(contract, i, &got, &expected, v);
        else
            mp_check_fail(v, MP_CHECK_INTEGER, "align: %s", err.text);
        for (int t = MP_SORTED_TOKEN_IDS; t <= MP_NUM_TOKENS_POST_PADDED; t++) mp_tensor_free(&expected.t[t]);
    }
    v->stage[MP_ALIGN].judged = true;
    v->stage[MP_ALIGN].time_ns = trace->stage_ns[MP_ALIGN];
    v->stage[MP_ALIGN].max_ratio = v->stage[MP_ALIGN].failed > 0 ? (double)INFINITY : 0;
    mp_check_pass(v, MP_CHECK_INTEGER);
}
