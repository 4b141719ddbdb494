/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/align.h"

#include "cases/lora.h"
#include "ref/pipeline.h"

#include <stdlib.h>

void mp_group_by_expert(const int32_t *topk_ids, int64_t slots, int64_t E, int64_t *offsets, int64_t *order) {
    for (int64_t g = 0; g <= E + 1; g++) offsets[g] = 0;
    for (int64_t t = 0; t < slots; t++) offsets[topk_ids[t] + 2]++;
    for (int64_t g = 1; g <= E + 1; g++) offsets[g] += offsets[g - 1];
    /* offsets[g] is now the start of group g for g <= E; scattering advances it to the start of g+1, so shift
     * back afterwards. */
    for (int64_t t = 0; t < slots; t++) order[offsets[topk_ids[t] + 1]++] = t;
    for (int64_t g = E + 1; g > 0; g--) offsets[g] = offsets[g - 1];
    offsets[0] = 0;
}

/* Lays out the groups of experts first..E-1, each padded to whole blocks; returns the length in use. */
static int32_t sort_groups(const int64_t *offsets, const int64_t *order, int64_t first_expert, int64_t E,
                           int64_t slots, int block_size, int32_t *sorted_token_ids, int64_t capacity,
                           int32_t *expert_ids, int64_t blocks) {
    int64_t position = 0;
    for (int64_t p = 0; p < capacity; p++) sorted_token_ids[p] = (int32_t)slots;
    for (int64_t b = 0; b < blocks; b++) expert_ids[b] = -1;
    for (int64_t expert = first_expert; expert < E; expert++) {
        const int64_t first = offsets[expert + 1], count = offsets[expert + 2] - first;
        const int64_t padded = (count + block_size - 1) / block_size * block_size;
        for (int64_t i = 0; i < count; i++) sorted_token_ids[position + i] = (int32_t)order[first + i];
        for (int64_t b = 0; b < padded / block_size; b++)
            expert_ids[position / block_size + b] = (int32_t)expert;
        position += padded;
    }
    return (int32_t)position;
}

mp_status mp_align(const int32_t *topk_ids, int64_t slots, int64_t E, int block_size,
                   int32_t *sorted_token_ids, int64_t capacity, int32_t *expert_ids, int64_t blocks,
                   int32_t *num_tokens_post_padded, mp_error *err) {
    mp_status status = MP_EMEMORY;
    int64_t *offsets = malloc((size_t)(E + 2) * sizeof *offsets);
    int64_t *order = malloc((size_t)(slots > 0 ? slots : 1) * sizeof *order);
    if (!offsets || !order) {
        mp_fail(err, status, "align: no memory for %lld slots", (long long)slots);
        goto out;
    }
    mp_group_by_expert(topk_ids, slots, E, offsets, order);

    *num_tokens_post_padded =
        sort_groups(offsets, order, -1, E, slots, block_size, sorted_token_ids, capacity, expert_ids, blocks);
    status = MP_OK;
out:
    free(order);
    free(offsets);
    return status;
}

/* Per adapter: the slots of its tokens, as in mp_align, but that filtered slots are in nobody's row. An
 * adapter that is not enabled, or has no token, has none. */
static mp_status align_adapters(const mp_case *c, int block_size_m, const mp_tensor t[MP_TENSOR_COUNT],
                                mp_error *err) {
    const int64_t slots = mp_case_slots(c), capacity = t[MP_LORA_SORTED_IDS].dim[2],
                  blocks = t[MP_LORA_EXPERT_IDS].dim[2];
    int32_t *padded = t[MP_LORA_NUM_PADDED].data, *ids = malloc((size_t)(slots + 1) * sizeof *ids);
    int64_t *order = malloc((size_t)(slots + 1) * sizeof *order),
            *offsets = malloc((size_t)(c->E + 2) * sizeof *offsets);
    const bool room = ids && order && offsets;
    for (int64_t l = 0; room && l < c->lora_adapters; l++) {
        int32_t *sorted = (int32_t *)t[MP_LORA_SORTED_IDS].data + l * capacity,
                *experts = (int32_t *)t[MP_LORA_EXPERT_IDS].data + l * blocks;
        for (int64_t slot = 0; slot < slots; slot++)
            ids[slot] = mp_lora_of_slot(c, t, slot) == l ? ((const int32_t *)t[MP_TOPK_IDS].data)[slot] : -1;
        mp_group_by_expert(ids, slots, c->E, offsets, order);
        padded[l] =
            sort_groups(offsets, order, 0, c->E, slots, block_size_m, sorted, capacity, experts, blocks);
    }
    free(offsets);
    free(order);
    free(ids);
    return room ? MP_OK : mp_fail(err, MP_EMEMORY, "align: no memory for %lld slots", (long long)slots);
}

mp_status mp_ref_align(const mp_case *c, int block_size_m, const mp_tensor t[MP_TENSOR_COUNT],
                       mp_error *err) {
    const mp_tensor *sorted = &t[MP_SORTED_TOKEN_IDS], *experts = &t[MP_EXPERT_IDS];
    const int32_t *ids = t[MP_TOPK_IDS].data;
    int32_t *masked_m = t[MP_MASKED_M].data;
    for (int64_t e = 0; masked_m && e < c->E; e++) masked_m[e] = 0;
    for (int64_t slot = 0; masked_m && slot < mp_case_slots(c); slot++)
        if (ids[slot] >= 0) masked_m[ids[slot]]++;
    if (t[MP_LORA_SORTED_IDS].data) {
        const mp_status status = align_adapters(c, block_size_m, t, err);
        if (status != MP_OK) return status;
    }
    if (!sorted->data) return MP_OK; /* a stage alone that reads the adapters' */
    return mp_align(t[MP_TOPK_IDS].data, mp_case_slots(c), c->E, block_size_m, sorted->data, sorted->dim[1],
                    experts->data, experts->dim[1], t[MP_NUM_TOKENS_POST_PADDED].data, err);
}

mp_status mp_ref_stage_align(void *self, const mp_stage_call *call, mp_error *err) {
    (void)self;
    return mp_ref_align(call->c, call->block_size_m, call->t, err);
}
