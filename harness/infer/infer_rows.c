/* SPDX-License-Identifier: Apache-2.0 */
/* Integers and bytes: the order of align's slots and what lies behind them; what rows without a result
 * hold. */
#include "cases/graph_tables.h"
#include "harness/infer/infer_stage.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const one_axis[] = {"value", NULL};

static void count(const mp_infer_run *r, int question, mp_evidence_value value, int64_t compared,
                  int64_t differing, const char *first) {
    const int v = mp_evidence_value_of(r->evidence, question, 0, value);
    mp_hypothesis_count(r->evidence, mp_hypothesis_of(r->evidence, question, (int[]){v, 0, 0}), compared,
                        differing, first);
}

/* ---- align ---- */

static int by_number(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* sorted[0..used) with the slots of every expert in ascending order; `of` says whose a block is. */
static void sort_experts(int32_t *sorted, int64_t used, const int32_t *of, int block_size) {
    for (int64_t first = 0, end; first < used; first = end) {
        end = first;
        while (end < used && of[end / block_size] == of[first / block_size]) end++;
        qsort(sorted + first, (size_t)(end - first), sizeof *sorted, by_number);
    }
}

static int64_t differing(const int32_t *a, const int32_t *b, int64_t first, int64_t end) {
    int64_t n = 0;
    for (int64_t i = first; i < end; i++) n += a[i] != b[i];
    return n;
}

mp_status mp_infer_align(const mp_infer_run *r, mp_error *err) {
    const mp_tensor_id ids[] = {MP_SORTED_TOKEN_IDS, MP_EXPERT_IDS, MP_NUM_TOKENS_POST_PADDED};
    mp_tensor right[MP_TENSOR_COUNT] = {0}, given[MP_TENSOR_COUNT];
    mp_status status = MP_OK;
    if (!r->t[MP_SORTED_TOKEN_IDS].data || !r->t[MP_EXPERT_IDS].data || !r->t[MP_NUM_TOKENS_POST_PADDED].data)
        return MP_OK;
    memcpy(given, r->t, sizeof given);
    right[MP_TOPK_IDS] = r->t[MP_TOPK_IDS];
    for (int i = 0; i < 3 && status == MP_OK; i++) {
        right[ids[i]] = r->t[ids[i]];
        right[ids[i]].data = NULL;
        status = mp_tensor_alloc(&right[ids[i]], 0, err);
    }
    if (status == MP_OK) status = mp_ref_align(r->c, r->block_size_m, right, err);
    mp_tensor copy = r->t[MP_SORTED_TOKEN_IDS];
    copy.data = NULL;
    if (status == MP_OK) status = mp_tensor_alloc(&copy, 0, err);
    if (status == MP_OK) {
        const int32_t *got = r->t[MP_SORTED_TOKEN_IDS].data, *expected = right[MP_SORTED_TOKEN_IDS].data,
                      *experts = r->t[MP_EXPERT_IDS].data, *right_experts = right[MP_EXPERT_IDS].data;
        const int64_t used = *(const int32_t *)right[MP_NUM_TOKENS_POST_PADDED].data,
                      capacity = mp_tensor_count(&copy), blocks = mp_tensor_count(&right[MP_EXPERT_IDS]),
                      used_blocks = used / r->block_size_m;
        const bool padded_right = *(const int32_t *)r->t[MP_NUM_TOKENS_POST_PADDED].data == used;
        const int64_t wrong = differing(experts, right_experts, 0, used_blocks) + !padded_right;
        memcpy(copy.data, got, mp_tensor_bytes(&copy));
        sort_experts(copy.data, used, right_experts, r->block_size_m);
        const int order = mp_ask(r->evidence, MP_ALIGN, "order of an expert's slots", one_axis),
                  tail = mp_ask(r->evidence, MP_ALIGN, "behind the last slot", one_axis);
        char first[160];
        const int64_t unlike = differing(got, expected, 0, used);
        int64_t at = 0;
        while (at + 1 < used && got[at] == expected[at]) at++;
        snprintf(first, sizeof first, "sorted_token_ids[%lld]: %d, predicted %d", (long long)at, got[at],
                 expected[at]);
        count(r, order, (mp_evidence_value){.name = "ascending (stable)", .keys = "align.stable=1"},
              used + used_blocks + 1, wrong + unlike, first);
        count(r, order, (mp_evidence_value){.name = "any order", .keys = "align.stable=0", .weak = true},
              used + used_blocks + 1, wrong + differing(copy.data, expected, 0, used), first);
        count(r, tail,
              (mp_evidence_value){.name = "pads: M*topk, and -1 in expert_ids", .keys = "align.tail=1"},
              capacity - used + blocks - used_blocks,
              differing(got, expected, used, capacity) +
                  differing(experts, right_experts, used_blocks, blocks),
              "behind num_tokens_post_padded");
        count(r, tail, (mp_evidence_value){.name = "anything", .keys = "align.tail=0", .weak = true},
              capacity - used + blocks - used_blocks, 0, "");
    }
    mp_tensor_free(&copy);
    for (int i = 0; i < 3; i++) mp_tensor_free(&right[ids[i]]);
    return status;
}

/* ---- rows without a result ---- */

static bool row_is(const mp_tensor *t, int64_t row, uint32_t pattern) {
    const unsigned char *at = mp_tensor_row(t, row);
    const size_t bytes = mp_tensor_row_bytes(t);
    const uint16_t half = (uint16_t)pattern; /* both halves are equal */
    for (size_t i = 0; i + sizeof half <= bytes; i += sizeof half)
        if (memcmp(at + i, &half, sizeof half) != 0) return false;
    return true;
}

/* A row state as a value: its name is the contract's. */
static void count_state(const mp_infer_run *r, int question, const char *field, mp_row_state state,
                        int64_t rows, int64_t other, const char *first) {
    mp_contract contract = mp_contract_weakest();
    char text[64], keys[128];
    contract.padding = state;
    mp_contract_field(&contract, "padding", text);
    snprintf(keys, sizeof keys, "%s=%s", field, text);
    count(r, question, (mp_evidence_value){.name = text, .keys = keys, .weak = state == MP_ROW_ANYTHING},
          rows, other, first);
}

mp_status mp_infer_rows(const mp_infer_run *r, mp_stage stage, mp_error *err) {
    const int32_t *ids = r->t[MP_TOPK_IDS].data;
    const mp_tensor_id id = mp_stage_output(r->c, stage);
    const mp_tensor *t = &r->t[id];
    if (!mp_stage_rows_are_slots(stage) || !t->data || !ids) return MP_OK;
    const bool cache = mp_tensors[id].rows == MP_ROWS_CACHE;
    const int64_t rows = mp_tensor_rows(t);
    int64_t *slot_of = malloc((size_t)rows * sizeof *slot_of);
    if (!slot_of) return mp_fail(err, MP_EMEMORY, "infer: no memory for %lld rows", (long long)rows);
    mp_slots_of_rows(cache ? r->map.cache_row : NULL, mp_case_slots(r->c), slot_of, rows);
    int64_t all[2] = {0}, touched[2] = {0}, not_zero[2] = {0},
            row[2] = {0}; /* of filtered slots, of padding */
    for (int64_t i = 0; i < rows; i++) {
        const int padding = slot_of[i] < 0;
        if (!padding && ids[slot_of[i]] >= 0) continue;
        all[padding]++;
        touched[padding] += !row_is(t, i, r->poison);
        not_zero[padding] += !row_is(t, i, 0);
        row[padding] = i;
    }
    free(slot_of);
    for (int padding = 0; padding < 2; padding++) {
        char field[64], first[96];
        if (all[padding] == 0) continue;
        if (padding)
            snprintf(field, sizeof field, "padding");
        else
            snprintf(field, sizeof field, "%s.filtered", mp_stage_name(stage));
        snprintf(first, sizeof first, "row %lld of %s", (long long)row[padding], mp_tensor_name(id));
        const int question =
            mp_ask(r->evidence, stage, padding ? "rows of padding" : "rows of filtered slots", one_axis);
        count_state(r, question, field, MP_ROW_UNTOUCHED, all[padding], touched[padding], first);
        count_state(r, question, field, MP_ROW_ZERO, all[padding], not_zero[padding], first);
        count_state(r, question, field, MP_ROW_ANYTHING, all[padding], 0, "");
    }
    return MP_OK;
}
