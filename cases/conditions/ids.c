/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens, and the experts that they go to. */
#include "cases/conditions/conditions.h"

static bool tokens(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return c->M == n;
}

static bool topk_beyond(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return c->topk > n;
}

static bool topk_of(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return c->topk == n;
}

static bool experts_no_multiple(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return c->E > n && c->E % n != 0;
}

/* An expert of this number or beyond has slots. */
static bool id_reaches(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)c;
    return f->last_expert >= n;
}

static bool last_expert(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)n;
    return c->E > 1 && f->last_expert == c->E - 1;
}

static bool expert_alone(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)n;
    return c->E > 1 && f->experts_used == 1 && f->routed > 1;
}

static bool expert_of_one_slot(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)c, (void)n;
    return f->emptiest_used == 1 && f->fullest > 1;
}

/* All of an expert's slots fill whole blocks of 16: there is no padding row. */
static bool whole_blocks(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)c;
    return f->fullest > 0 && f->fullest == f->emptiest_used && f->fullest % n == 0;
}

static bool slots_beyond(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return mp_case_slots(c) > n;
}

static bool slots_of(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return mp_case_slots(c) == n;
}

static bool few_slots(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)n;
    return f->routed > 0 && mp_case_slots(c) < c->E + 1;
}

static bool all_filtered(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)n;
    return c->M > 0 && f->routed == 0;
}

static bool token_mixed(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)c, (void)n;
    return f->tokens_mixed > 0;
}

/* Padding's id is -1, and who reads the map there finds an expert of this rank, at its end. */
static bool padding_beside_map(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)n;
    return c->expert_map && c->routing == MP_PADDED && c->ep_rank == c->ep_size - 1 && f->filtered > 0;
}

/* Offset of the last element of tensor n that a routed slot reaches, or -1. */
static int64_t last_offset(const mp_case *c, const mp_figures *f, mp_tensor_id id) {
    const mp_tensor_set there = mp_case_inputs(c) | mp_case_outputs(c);
    const int64_t w1_rows = mp_case_w1_rows(c);
    if (!(there & MP_IN_SET(id))) return -1;
    switch ((int)id) {
    case MP_X: return (f->last_token + 1) * c->K - 1;
    case MP_W1: return (f->last_expert + 1) * w1_rows * c->K - 1;
    case MP_W2: return (f->last_expert + 1) * c->K * c->N - 1;
    case MP_CACHE1: return (f->last_slot + 1) * w1_rows - 1;
    case MP_CACHE2: return (f->last_slot + 1) * c->N - 1;
    case MP_CACHE3: return (f->last_slot + 1) * c->K - 1;
    case MP_OUT: return (c->mode == MP_MODE_NO_COMBINE ? f->last_slot + 1 : f->last_token + 1) * c->K - 1;
    default: return -1;
    }
}

static bool beyond_31_bits(const mp_case *c, const mp_figures *f, int64_t n) {
    return last_offset(c, f, (mp_tensor_id)n) > INT32_MAX;
}

#define BUCKET(m) \
    { "model-tokens-" #m, "a published model's shape with " #m " tokens", IF("model=* M=" #m), FULL }

static const mp_condition conditions[] = {
    /* tokens */
    {"tokens-0", "no tokens", WHERE(tokens, 0)},
    {"tokens-1", "one token", WHERE(tokens, 1)},
    {"tokens-3", "3 tokens", WHERE(tokens, 3)},
    {"tokens-9", "9 tokens", WHERE(tokens, 9)},
    {"tokens-63", "63 tokens", WHERE(tokens, 63)},
    {"tokens-65", "65 tokens", WHERE(tokens, 65)},
    {"tokens-99", "99 tokens", WHERE(tokens, 99)},
    {"tokens-127", "127 tokens", WHERE(tokens, 127)},
    {"tokens-129", "129 tokens", WHERE(tokens, 129)},
    {"model-tokens-1", "a published model's shape with one token", IF("model=* M=1")},
    {"model-tokens-32", "a published model's shape with 32 tokens", IF("model=* M=32")},
    BUCKET(2),
    BUCKET(4),
    BUCKET(8),
    BUCKET(16),
    BUCKET(24),
    BUCKET(48),
    BUCKET(64),
    BUCKET(96),
    BUCKET(128),
    BUCKET(256),
    BUCKET(512),
    BUCKET(1024),
    BUCKET(1536),
    BUCKET(2048),
    BUCKET(3072),
    BUCKET(4096),

    /* topk and experts */
    {"topk-1", "topk is 1", WHERE(topk_of, 1)},
    {"topk-2", "topk is 2", WHERE(topk_of, 2)},
    {"topk-3", "topk is 3", WHERE(topk_of, 3)},
    {"topk-8", "topk is 8", WHERE(topk_of, 8)},
    {"topk-9", "topk is 9", WHERE(topk_of, 9)},
    {"topk-10", "topk is 10", WHERE(topk_of, 10)},
    {"topk-16", "topk is 16", WHERE(topk_of, 16)},
    {"topk-31", "topk is 31", WHERE(topk_of, 31)},
    {"topk-beyond-32", "topk is more than 32", WHERE(topk_beyond, 32)},
    {"topk-beyond-256", "topk is more than 256", WHERE(topk_beyond, 256)},
    {"one-expert", "there is one expert", IF("E=1 ep_size=1")},
    {"experts-no-multiple-of-4", "the number of experts is more than 4, and no multiple of it",
     WHERE(experts_no_multiple, 4)},
    {"expert-256", "expert 256 or a later one has slots", WHERE(id_reaches, 256)},
    {"expert-1024", "expert 1024 or a later one has slots", WHERE(id_reaches, 1024)},
    {"last-expert", "the last of several experts has slots", WHERE(last_expert, 0)},

    /* slots */
    {"expert-without-slots", "an expert has no slots", WHERE(expert_unused, 0)},
    {"expert-with-one-slot", "an expert has one slot, and another one more", WHERE(expert_of_one_slot, 0)},
    {"expert-with-all-slots", "one of several experts has all slots", WHERE(expert_alone, 0)},
    {"expert-slots-256", "an expert has more slots than the largest block", WHERE(expert_beyond, 256)},
    {"expert-slots-65535", "an expert has more than 65,535 slots", WHERE(expert_beyond, 65535)},
    {"whole-blocks", "each expert's slots fill blocks of 16, all as many", WHERE(whole_blocks, 16)},
    {"slots-65535", "there are 65,535 slots", WHERE(slots_of, 65535)},
    {"slots-65536", "there are 65,536 slots", WHERE(slots_of, 65536)},
    {"slots-beyond-65536", "there are more slots", WHERE(slots_beyond, 65536)},
    {"slots-fewer-than-experts", "there are at most as many slots as experts", WHERE(few_slots, 0)},

    /* filtered, repeated, padded */
    {"filtered", "some slots are filtered", WHERE(some_filtered, 0)},
    {"all-filtered", "all slots are filtered", WHERE(all_filtered, 0)},
    {"token-half-filtered", "a token has filtered slots and others", WHERE(token_mixed, 0)},
    {"token-all-filtered", "all slots of a token are filtered, and not of all tokens",
     WHERE(token_unrouted, 0)},
    {"expert-repeated", "a token has an expert twice", WHERE(expert_repeated, 0)},
    {"graph-padding", "the last tokens are padding of a captured graph", IF("routing=padded")},
    {"rank", "the experts are shared by ranks", IF("ep_size>1")},
    {"rank-first", "this rank is the first of several", IF("ep_size>1 ep_rank=0")},
    {"rank-later", "this rank is another one", IF("ep_rank>0")},
    {"expert-map", "topk_ids count the experts of all ranks, of which these are not the first",
     IF("expert_map!=none ep_rank>0")},
    {"expert-map-round-robin", "and they are not a run of them", IF("expert_map=round_robin")},
    {"expert-map-padding", "an id is -1, and the map's last expert is here", WHERE(padding_beside_map, 0)},
    {"expert-map-act", "the activation itself reads ids through a map", IF("expert_map!=none scope=act")},
    {"sentinel", "a filtered slot's id is the number of experts", IF("sentinel=E"), WHERE(some_filtered, 0)},
    {"sentinel-any", "it is any number that no expert has", IF("sentinel=any"), WHERE(some_filtered, 0)},
    {"sentinel-unused", "NaN in the weights of an expert without slots, and such ids",
     IF("sentinel!=-1 data=unused"), WHERE(unused_slots, 0)},
    {"sentinel-map", "such ids, and a map that has no entry for them", IF("sentinel!=-1 expert_map!=none")},
    {"filter-fused-sum", "slots are filtered, and down adds into the output", IF("fused_sum=1"),
     WHERE(some_filtered, 0)},
    {"filter-sorted", "slots are filtered in sorted layout", IF("layout=sorted"), WHERE(some_filtered, 0)},
    {"filter-no-combine", "slots are filtered, and nothing is summed", IF("mode=no_combine"),
     WHERE(some_filtered, 0)},
    {"filter-inplace", "slots are filtered in place", IF("mode=inplace"), WHERE(some_filtered, 0)},
    {"filter-bias", "slots are filtered, and there are biases", IF("bias=1"), WHERE(some_filtered, 0)},
    {"filter-swiglu-oai", "slots are filtered before swiglu_oai beyond its limit",
     IF("act=swiglu_oai data=limits"), WHERE(some_filtered, 0)},
    {"filter-silu-clamp", "slots are filtered before silu_clamp beyond its limit",
     IF("act=silu_clamp data=limits"), WHERE(some_filtered, 0)},
    {"filter-clamp-silu", "slots are filtered before clamp_silu beyond its limit",
     IF("act=clamp_silu data=limits"), WHERE(some_filtered, 0)},
    {"repeated-fused-sum", "a token has an expert twice, and down adds into the output", IF("fused_sum=1"),
     WHERE(expert_repeated, 0)},

    /* offsets */
    {"x-beyond-2^31", "a routed token's row of x ends beyond 2^31 elements", FULL,
     WHERE(beyond_31_bits, MP_X)},
    {"w1-beyond-2^31", "a routed expert's w1 ends beyond 2^31 elements", FULL, WHERE(beyond_31_bits, MP_W1)},
    {"w2-beyond-2^31", "a routed expert's w2 ends beyond 2^31 elements", FULL, WHERE(beyond_31_bits, MP_W2)},
    {"cache1-beyond-2^31", "a routed slot's row of cache1 ends beyond 2^31 elements", FULL,
     WHERE(beyond_31_bits, MP_CACHE1)},
    {"cache2-beyond-2^31", "a routed slot's row of cache2 ends beyond 2^31 elements", FULL,
     WHERE(beyond_31_bits, MP_CACHE2)},
    {"cache3-beyond-2^31", "a routed slot's row of cache3 ends beyond 2^31 elements", FULL,
     WHERE(beyond_31_bits, MP_CACHE3)},
    {"out-beyond-2^31", "a routed token's row of the output ends beyond 2^31 elements", FULL,
     WHERE(beyond_31_bits, MP_OUT)},
};
const mp_condition_list mp_conditions_of_ids = LIST_OF(conditions);
