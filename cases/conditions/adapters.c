/* SPDX-License-Identifier: Apache-2.0 */
/* LoRA. */
#include "cases/conditions/conditions.h"

#include "cases/lora.h"

static bool has_adapter(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f, (void)n;
    return c->M > 0 && c->lora_routing != MP_LORA_BASE;
}

/* As many slots, and n more, as are not sorted in one package: 8 times that is E * L. */
static bool few_adapted_slots(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return mp_case_has_lora(c) && 8 * (mp_case_slots(c) - n) == c->E * c->lora_adapters;
}

static bool virtual_experts(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return c->E * c->lora_adapters == n && c->scope == MP_SCOPE_ALL;
}

/* Blocks of a shrink of virtual experts: one for each slot, where there are no more slots than such experts,
 * and the columns of all slices in one tile. */
static bool shrink_blocks(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return mp_case_has_lora(c) && !mp_tile_is_auto(&c->tile) && mp_case_slots(c) == n &&
           n <= c->E * c->lora_adapters && mp_lora_slices(c) * c->lora_rank <= c->tile.block_size_n;
}

static bool factor_beyond_31_bits(const mp_case *c, const mp_figures *f, int64_t n) {
    const mp_tensor a = mp_case_shape(c, MP_LORA_A1, 16);
    (void)f, (void)n;
    return mp_case_has_lora(c) && mp_tensor_count(&a) > INT64_C(1) << 31 && c->lora_routing == MP_LORA_ONE;
}

static const mp_condition conditions[] = {
    {"lora", "some token has an adapter", IF("lora_adapters>0"), WHERE(has_adapter, 0)},
    {"lora-none", "a batch with adapters, and no token has one", IF("lora_adapters>0 lora_routing=base")},
    {"lora-mixed", "tokens with and without adapters", IF("lora_adapters>1 lora_routing=mixed M>1")},
    {"lora-one", "all tokens have one adapter of several", IF("lora_adapters>1 lora_routing=one M>1")},
    {"lora-empty", "slots of adapters that no token has", IF("lora_adapters>1 lora_routing=empty")},
    {"lora-segments", "adapters are told by runs of tokens, and some runs have none",
     IF("lora_map=segments M>0")},
    {"lora-disabled", "some adapters are not enabled", IF("lora_disabled>0 lora_disabled<1")},
    {"lora-all-disabled", "none is", IF("lora_disabled=1")},
    {"lora-filter", "adapters beside filtered slots", IF("lora_adapters>0"), WHERE(some_filtered, 0)},
    {"lora-sentinel-E", "and their id is E", IF("lora_adapters>0 sentinel=E"), WHERE(some_filtered, 0)},
    {"lora-unused", "NaN and Inf in factors that no slot goes to", IF("lora_adapters>0 data=unused")},
    {"lora-topk-1", "a row a token and a row a slot are the same", IF("lora_adapters>0 topk=1 scope=all")},
    {"lora-rank-1", "a rank of one", IF("lora_rank=1 lora_adapters>0")},
    {"lora-rank-64", "one beyond 64", IF("lora_rank=65")},
    {"lora-rank-128", "one beyond 128", IF("lora_rank=129")},
    {"lora-rank-ragged", "one that is no power of two", IF("lora_rank=40")},
    {"lora-ranks", "adapters of several ranks, with zeros beyond", IF("lora_ranks=zeros")},
    {"lora-ranks-garbage", "with numbers in A beyond", IF("lora_ranks=garbage")},
    {"lora-shared-outer", "outer factors are one for all experts", IF("lora_outer=shared")},
    {"lora-same", "two slots hold the same adapter", IF("lora_data=same")},
    {"lora-zero", "an adapter whose factors are zero", IF("lora_data=zero_b")},
    {"lora-interleaved", "adapters where gate and up alternate", IF("lora_adapters>0 interleaved=1")},
    {"lora-weight-on-input", "adapters where the router weight multiplies gate_up",
     IF("lora_adapters>0 apply_router_weight_on_input=1")},
    {"lora-weight-in-combine", "adapters where it multiplies the terms of combine's sum",
     IF("lora_adapters>0 apply_router_weight_in_combine=1")},
    {"lora-no-combine", "adapters add to what is not summed", IF("lora_adapters>0 mode=no_combine")},
    {"lora-few-slots", "8 times the slots are as many as experts times adapters",
     WHERE(few_adapted_slots, 0)},
    {"lora-more-slots", "and more by one slot's", WHERE(few_adapted_slots, 1)},
    {"lora-virtual-1023", "experts times adapters are 1023", WHERE(virtual_experts, 1023)},
    {"lora-virtual-1024", "1024", WHERE(virtual_experts, 1024)},
    {"lora-virtual-8191", "8191", WHERE(virtual_experts, 8191)},
    {"lora-virtual-8192", "8192", WHERE(virtual_experts, 8192)},
    {"lora-shrink-blocks-64", "a shrink of virtual experts has 64 blocks", WHERE(shrink_blocks, 64)},
    {"lora-shrink-blocks-65", "65", WHERE(shrink_blocks, 65)},
    {"lora-shrink-blocks-127", "127", WHERE(shrink_blocks, 127)},
    {"lora-shrink-blocks-128", "128", WHERE(shrink_blocks, 128)},
    {"lora-minus-zero", "rows of -0 to which nothing is added",
     IF("scope=expand_gate_up data=special lora_routing=base")},
    {"lora-beyond-2^31", "a factor of the last adapter lies beyond 2^31 elements", FULL,
     WHERE(factor_beyond_31_bits, 0)},
};
const mp_condition_list mp_conditions_of_adapters = LIST_OF(conditions);
