/* SPDX-License-Identifier: Apache-2.0 */
/* LoRA in a case: which adapter a token has, and which factors a slot is multiplied with.
 *
 * An adapter changes a slot's row of gate and up, and of down: c += w * (B (A x)), with a pair of factors
 * A, B for every expert. `slices` products lie side by side: gate and up have factors of their own, each
 * of the rank; A of both is stacked in lora_a1, B in lora_b1. */
#ifndef MP_CASES_LORA_H
#define MP_CASES_LORA_H

#include "cases/numbers.h"
#include "moeparity/inputs.h"

/* Of gate_up: 2 where it is gated, else 1. */
static inline int64_t mp_lora_slices(const mp_case *c) {
    return c->gated ? 2 : 1;
}

/* The length of the experts' axis of a factor: E, or 1 where one is shared by all of them. */
int64_t mp_lora_experts(const mp_case *c, mp_tensor_id factor);

/* With lora_map=segments there are seg_indptr [n + 1] and req_to_lora [n] of n = M + 1 runs of tokens.
 * Runs of neighbours with one adapter come first, each with a run of no tokens before it as long as there
 * are enough, and what is left has no tokens either. */
static inline bool mp_lora_has_segments(const mp_case *c) {
    return c->lora_adapters > 0 && c->lora_map == MP_LORA_BY_SEGMENTS;
}
static inline int64_t mp_lora_segments(const mp_case *c) {
    return c->M + 1;
}

/* The rank of an adapter: lora_rank of all, or of adapter 0 alone and smaller, different ones of the
 * others. */
int64_t mp_lora_rank_of(const mp_case *c, int64_t adapter);

/* Fills token_lora [M], adapter_enabled [L]; seg_indptr and req_to_lora from the tokens' adapters. */
void mp_fill_token_lora(const mp_case *c, mp_tensor *t);
void mp_fill_adapter_enabled(const mp_case *c, mp_tensor *t);
void mp_fill_segments(const mp_case *c, const mp_tensor *token_lora, mp_tensor *seg_indptr,
                      mp_tensor *req_to_lora);
/* What lora_ranks, lora_outer and lora_data make of a factor with the numbers of its data family. */
void mp_set_factor(const mp_case *c, mp_tensor_id factor, const mp_tensor *t, mp_numbers *n);

/* The case as all that must give the bits of its output have it: without LoRA where no adapter changes
 * anything, else with tokens' adapters by token, outer factors that are shared rather than copied, and one
 * adapter where all are the same and every token has one. Two cases with one such form are variants of one
 * another. */
mp_case mp_lora_problem(const mp_case *c);
/* Whether no field of LoRA differs. */
bool mp_lora_same_fields(const mp_case *a, const mp_case *b);

static inline bool mp_is_lora_factor(mp_tensor_id id) {
    return id == MP_LORA_A1 || id == MP_LORA_B1 || id == MP_LORA_A2 || id == MP_LORA_B2;
}

/* The adapter of a slot's token, or -1: no adapter, one that is not enabled, or a slot that goes to no
 * expert. */
int64_t mp_lora_of_slot(const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT], int64_t slot);

#endif
