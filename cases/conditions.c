/* SPDX-License-Identifier: Apache-2.0 */
/* The conditions, as data: docs/coverage.md has the same list for readers. One that fields alone decide is a
 * match expression; one that the ids decide, or arithmetic, is a function. Whoever finds a bug that no stock
 * row can show adds its condition here, and a row that produces it. */
#include "cases/coverage.h"

#include "cases/graph_tables.h"
#include "cases/lora.h"
#include "cases/scheme.h"

/* ---- k and columns ---- */

static bool multiplies(const mp_case *c) {
    return mp_case_has_stage(c, MP_GATE_UP) || mp_case_has_stage(c, MP_DOWN);
}

static bool has_gemm(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f, (void)n;
    return multiplies(c);
}

static bool has_stage(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return mp_case_has_stage(c, (mp_stage)n);
}

/* What is summed over: K in gate_up, N in down. */
static int64_t length_of(const mp_case *c, mp_stage stage) {
    return !mp_case_has_stage(c, stage) ? 0 : stage == MP_GATE_UP ? c->K : c->N;
}

/* An odd number of whole groups of 16 in the sum of stage n. */
static bool odd_groups(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return length_of(c, (mp_stage)n) % 32 == 16;
}

static bool even_groups(const mp_case *c, const mp_figures *f, int64_t n) {
    const int64_t length = length_of(c, (mp_stage)n);
    (void)f;
    return length > 0 && length % 32 == 0;
}

/* The last of several blocks of n along K, or along N, is not full. */
static bool k_tail(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return multiplies(c) && c->K > n && c->K % n != 0;
}

static bool n_tail(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return multiplies(c) && c->N > n && c->N % n != 0;
}

static bool row_tail(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)c;
    int bit = 0;
    while (n >> bit > 1) bit++;
    return f->row_tails >> bit & 1;
}

static bool k_tail_of_tile(const mp_case *c, const mp_figures *f, int64_t n) {
    const int block = c->tile.block_size_k;
    (void)f, (void)n;
    return multiplies(c) && block > 0 && (c->K % block != 0 || c->N % block != 0);
}

static bool column_tail_of_tile(const mp_case *c, const mp_figures *f, int64_t n) {
    const int block = c->tile.block_size_n;
    (void)f, (void)n;
    return multiplies(c) && block > 0 && (mp_case_w1_rows(c) % block != 0 || c->K % block != 0);
}

static bool row_tail_of_tile(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)n;
    return c->tile.block_size_m > 0 && row_tail(c, f, c->tile.block_size_m);
}

static bool long_and_ragged_k(const mp_case *c, const mp_figures *f, int64_t n) {
    return c->K >= 1024 && k_tail(c, f, n);
}

static bool long_and_ragged_n(const mp_case *c, const mp_figures *f, int64_t n) {
    return c->N >= 1024 && n_tail(c, f, n);
}

/* A row of 16-bit numbers that does not end on n bytes. */
static bool k_unaligned(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return multiplies(c) && c->K * 2 % n != 0;
}

static bool n_unaligned(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return multiplies(c) && c->N * 2 % n != 0;
}

/* ---- adapters ---- */

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

/* ---- quantised experts ---- */

/* Codes are multiplied, of tokens that are there. */
static bool multiplies_codes(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)n;
    return c->quant && multiplies(c) && f->routed > 0;
}

/* The last of several groups along the sum of stage n is short. */
static bool group_tail(const mp_case *c, const mp_figures *f, int64_t n) {
    const int64_t length = length_of(c, (mp_stage)n), group = mp_case_group(c);
    return multiplies_codes(c, f, n) && group > 0 && length > group && length % group != 0;
}

/* The last of several blocks of rows of w1 or w2. */
static bool block_tail(const mp_case *c, const mp_figures *f, int64_t n) {
    const int64_t rows = mp_scheme_of(c)->block_rows, w1 = mp_case_w1_rows(c);
    return multiplies_codes(c, f, n) && rows > 1 &&
           ((w1 > rows && w1 % rows) || (c->K > rows && c->K % rows));
}

static bool group_beyond(const mp_case *c, const mp_figures *f, int64_t n) {
    const int64_t group = mp_case_group(c);
    return multiplies_codes(c, f, n) && (group > c->K || group > c->N);
}

/* A named tile's columns lie in several blocks of scales. */
static bool tile_beyond_block(const mp_case *c, const mp_figures *f, int64_t n) {
    const int64_t rows = mp_scheme_of(c)->block_rows;
    return multiplies_codes(c, f, n) && rows > 1 && c->tile.block_size_n > rows && mp_case_w1_rows(c) > rows;
}

static bool tile_below_group(const mp_case *c, const mp_figures *f, int64_t n) {
    const int block = c->tile.block_size_k;
    return multiplies_codes(c, f, n) && block > 0 && block < mp_case_group(c);
}

static bool tile_beyond_group(const mp_case *c, const mp_figures *f, int64_t n) {
    const int64_t group = mp_case_group(c);
    return multiplies_codes(c, f, n) && group > 0 && c->tile.block_size_k > group && c->K > group;
}

/* Several experts have slots, and each has scales of its own. */
static bool scales_of_experts(const mp_case *c, const mp_figures *f, int64_t n) {
    return multiplies_codes(c, f, n) && f->experts_used > 1;
}

static bool scales_are_powers(const mp_case *c, const mp_figures *f, int64_t n) {
    return multiplies_codes(c, f, n) && mp_scheme_of(c)->weight_scale == MP_UE8M0;
}

/* Codes are made in stage n, of numbers that are there. */
static bool makes_codes(const mp_case *c, const mp_figures *f, int64_t n) {
    return mp_case_has_stage(c, (mp_stage)n) && c->M > 0 && (n == MP_QUANT_X || f->routed > 0);
}

/* Both axes of w1's scales are longer than one, and no multiples of a tile's where they lie in tiles. */
static bool scales_lie(const mp_case *c, const mp_figures *f, int64_t layout) {
    const mp_tensor scale = mp_case_shape(c, MP_W1_SCALE, 16);
    const bool whole_tiles = scale.dim[1] % 128 == 0 || scale.dim[2] % 4 == 0;
    return multiplies_codes(c, f, 0) && (int64_t)c->scale_layout == layout && scale.dim[1] > 1 &&
           scale.dim[2] > 1 && !(layout == MP_SWIZZLED && whole_tiles);
}

static bool made_scales_lie(const mp_case *c, const mp_figures *f, int64_t layout) {
    return scales_lie(c, f, layout) && makes_codes(c, f, MP_QUANT_X) && mp_case_has_stage(c, MP_GATE_UP);
}

static bool unused_scales(const mp_case *c, const mp_figures *f, int64_t n) {
    return multiplies_codes(c, f, n) && c->data == MP_UNUSED && f->experts_used < c->E;
}

/* data=codes, where each group has a scale, and x so many rows and groups that all kinds are there. */
static bool all_kinds_of_groups(const mp_case *c, const mp_figures *f, int64_t n) {
    return makes_codes(c, f, n) && c->data == MP_CODES && c->M >= 8 && !mp_codes_share_a_scale(c);
}

/* The scale of all rows is that of the kind n. */
static bool kind_of_all_rows(const mp_case *c, const mp_figures *f, int64_t n) {
    return makes_codes(c, f, MP_QUANT_X) && c->data == MP_CODES && mp_codes_share_a_scale(c) &&
           c->seed % 8 == n;
}

/* data=special: row 0 of x is zeros. */
static bool zeros_alone(const mp_case *c, const mp_figures *f, int64_t n) {
    return makes_codes(c, f, n) && c->M == 1 && c->data == MP_SPECIAL;
}

static bool filtered_codes(const mp_case *c, const mp_figures *f, int64_t n) {
    return makes_codes(c, f, n) && f->filtered > 0;
}

/* ---- tokens, topk, experts ---- */

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

/* ---- slots of experts ---- */

static bool expert_unused(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)n;
    return f->experts_used < c->E && f->routed > 0;
}

static bool expert_alone(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)n;
    return c->E > 1 && f->experts_used == 1 && f->routed > 1;
}

static bool expert_of_one_slot(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)c, (void)n;
    return f->emptiest_used == 1 && f->fullest > 1;
}

static bool expert_beyond(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)c;
    return f->fullest > n;
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

/* ---- filtered and repeated ---- */

static bool some_filtered(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)c, (void)n;
    return f->filtered > 0 && f->routed > 0;
}

static bool all_filtered(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)n;
    return c->M > 0 && f->routed == 0;
}

static bool token_mixed(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)c, (void)n;
    return f->tokens_mixed > 0;
}

static bool token_unrouted(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)c, (void)n;
    return f->tokens_unrouted > 0 && f->routed > 0;
}

static bool expert_repeated(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)c, (void)n;
    return f->tokens_repeating > 0;
}

static bool chunks(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return mp_case_chunks(c) >= n;
}

/* Padding's id is -1, and who reads the map there finds an expert of this rank, at its end. */
static bool padding_beside_map(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)n;
    return c->expert_map && c->routing == MP_PADDED && c->ep_rank == c->ep_size - 1 && f->filtered > 0;
}

/* ---- offsets ---- */

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

/* ---- where tensors lie ---- */

static bool experts_apart(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)n;
    return multiplies(c) && c->weight_expert_gap > 0 && f->last_expert > 0;
}

/* Whole vectors of 16 bytes in a row, of which the next does not begin on one. */
static bool rows_unaligned(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    const int64_t gap = c->weight_row_gap * (int64_t)mp_dtype_size(c->dtype);
    return multiplies(c) && gap % n != 0 && c->K * 2 % n == 0 && c->N * 2 % n == 0;
}

static bool buffers_unaligned(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return c->buffer_offset * (int64_t)mp_dtype_size(c->dtype) % n != 0;
}

/* ---- data ---- */

/* The family's rows in which the store of stage n overflows are there for that stage. */
static bool overflows(const mp_case *c, const mp_figures *f, int64_t n) {
    return c->data == MP_OVERFLOW && f->routed > 0 && mp_case_has_stage(c, (mp_stage)n);
}

static bool unused_weights(const mp_case *c, const mp_figures *f, int64_t n) {
    return c->data == MP_UNUSED && multiplies(c) && expert_unused(c, f, n);
}

static bool unused_slots(const mp_case *c, const mp_figures *f, int64_t n) {
    return c->data == MP_UNUSED && some_filtered(c, f, n);
}

static bool unused_tokens(const mp_case *c, const mp_figures *f, int64_t n) {
    return c->data == MP_UNUSED && token_unrouted(c, f, n);
}

/* ---- what ran before on the same buffers ---- */

static bool after_any(const mp_case *c, const mp_figures *f, const mp_case *before,
                      const mp_figures *earlier) {
    (void)c, (void)f, (void)before, (void)earlier;
    return true;
}

/* As many tokens with the same experts, and other adapters. */
static bool after_other_adapters(const mp_case *c, const mp_figures *f, const mp_case *before,
                                 const mp_figures *earlier) {
    (void)f, (void)earlier;
    return c->M > 1 && before->M == c->M && before->lora_routing != c->lora_routing;
}

static bool after_other_ids(const mp_case *c, const mp_figures *f, const mp_case *before,
                            const mp_figures *earlier) {
    (void)f, (void)earlier;
    return c->M > 1 && before->M == c->M && (before->seed != c->seed || before->routing != c->routing);
}

static bool after_more_blocks(const mp_case *c, const mp_figures *f, const mp_case *before,
                              const mp_figures *earlier) {
    return before->M == c->M && earlier->blocks > f->blocks;
}

static bool after_fewer_blocks(const mp_case *c, const mp_figures *f, const mp_case *before,
                               const mp_figures *earlier) {
    return before->M == c->M && earlier->blocks < f->blocks;
}

static bool after_more_tokens(const mp_case *c, const mp_figures *f, const mp_case *before,
                              const mp_figures *earlier) {
    (void)f, (void)earlier;
    return c->M > 0 && before->M > c->M;
}

static bool after_no_tokens(const mp_case *c, const mp_figures *f, const mp_case *before,
                            const mp_figures *earlier) {
    (void)f, (void)earlier;
    return c->M > 0 && before->M == 0;
}

static bool after_more_routed(const mp_case *c, const mp_figures *f, const mp_case *before,
                              const mp_figures *earlier) {
    return before->M == c->M && f->filtered > 0 && earlier->filtered < f->filtered;
}

/* ---- the list ---- */

#define FULL .full = true
#define IF(text) .match = text
#define WHERE(function, number) .holds = function, .n = number
#define AFTER(function) .follows = function

#define TAILS(B)                                                                                            \
    {"k-tail-" #B, "K is more than " #B ", and no multiple of it", WHERE(k_tail, B)},                       \
        {"n-tail-" #B, "N is more than " #B ", and no multiple of it", WHERE(n_tail, B)}, {                 \
        "row-tail-" #B, "an expert's slots are more than " #B ", and no multiple of it", WHERE(row_tail, B) \
    }
#define BUCKET(m) \
    { "model-tokens-" #m, "a published model's shape with " #m " tokens", IF("model=* M=" #m), FULL }
#define ACTS(act, form)                                                                                    \
    {act "-normal", "act=" act form " on normal numbers", IF("act=" act form " data=normal"),              \
     WHERE(has_stage, MP_ACT)},                                                                            \
        {act "-limits", "act=" act form " far outside, and with biases alone",                             \
         IF("act=" act form " data=limits"), WHERE(has_stage, MP_ACT)},                                    \
        {act "-special", "act=" act form " on zeros, subnormals, infinities and NaN",                      \
         IF("act=" act form " data=special"), WHERE(has_stage, MP_ACT)},                                   \
    {                                                                                                      \
        act "-overflow", "act=" act form " beyond the largest fp16", IF("act=" act form " data=overflow"), \
            WHERE(has_stage, MP_ACT)                                                                       \
    }

#define SCHEME(scheme) \
    { "quant-" scheme, "experts of quant=" scheme, IF("scope=all quant=" scheme), WHERE(multiplies_codes, 0) }

const mp_condition mp_conditions[] = {
    /* k and columns */
    {"k-even-groups", "K is an even number of groups of 16", WHERE(even_groups, MP_GATE_UP)},
    {"k-odd-groups", "K is an odd number of groups of 16", WHERE(odd_groups, MP_GATE_UP)},
    {"n-even-groups", "N is an even number of groups of 16", WHERE(even_groups, MP_DOWN)},
    {"n-odd-groups", "N is an odd number of groups of 16", WHERE(odd_groups, MP_DOWN)},
    TAILS(8),
    TAILS(16),
    TAILS(32),
    TAILS(64),
    TAILS(128),
    TAILS(256),
    {"k-tail-of-tile", "a named tile's BLOCK_SIZE_K does not divide K or N", WHERE(k_tail_of_tile, 0)},
    {"column-tail-of-tile", "its BLOCK_SIZE_N does not divide the columns of gate_up or down",
     WHERE(column_tail_of_tile, 0)},
    {"row-tail-of-tile", "its BLOCK_SIZE_M does not divide an expert's slots, which are more",
     WHERE(row_tail_of_tile, 0)},
    {"long-k-tail", "K is 1024 or more, and no multiple of 64", WHERE(long_and_ragged_k, 64)},
    {"long-n-tail", "N is 1024 or more, and no multiple of 64", WHERE(long_and_ragged_n, 64)},
    {"k-unaligned-16", "rows of 16-bit numbers along K do not end on 16 bytes", WHERE(k_unaligned, 16)},
    {"n-unaligned-16", "rows of 16-bit numbers along N do not end on 16 bytes", WHERE(n_unaligned, 16)},
    {"k-unaligned-4", "they do not end on 4 bytes", WHERE(k_unaligned, 4)},
    {"n-unaligned-4", "they do not end on 4 bytes, along N", WHERE(n_unaligned, 4)},
    {"k-of-one", "K is 1", IF("K=1"), WHERE(has_gemm, 0)},
    {"n-of-one", "N is 1", IF("N=1"), WHERE(has_gemm, 0)},

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

    /* data, and what it meets */
    ACTS("silu", ""),
    ACTS("gelu", ""),
    ACTS("gelu_tanh", ""),
    ACTS("relu2", " gated=0"),
    ACTS("swiglu_oai", ""),
    ACTS("silu_clamp", ""),
    ACTS("clamp_silu", ""),
    {"silu-plain", "silu without up", IF("act=silu gated=0")},
    {"gelu-plain", "gelu without up", IF("act=gelu gated=0")},
    {"gate-exhaustive", "every gate of 16 bits", IF("data=exhaustive")},
    {"sums-exact", "integers whose sums are exact in any order", IF("data=integer"), WHERE(has_gemm, 0)},
    {"sums-cancelling", "products that nearly cancel each other", IF("data=wide"), WHERE(has_gemm, 0)},
    {"sums-of-one", "sums of one product", IF("data=onehot"), WHERE(has_gemm, 0)},
    {"gate_up-overflow", "gate and up beyond the largest fp16", WHERE(overflows, MP_GATE_UP)},
    {"act-overflow", "their product beyond the largest fp16", WHERE(overflows, MP_ACT)},
    {"down-overflow", "down beyond the largest fp16", WHERE(overflows, MP_DOWN)},
    {"combine-overflow", "the sum over topk beyond the largest fp16", WHERE(overflows, MP_COMBINE)},
    {"unused-weights", "NaN and Inf in the weights of an expert without slots", WHERE(unused_weights, 0)},
    {"unused-slots", "NaN in the router weights of filtered slots", WHERE(unused_slots, 0)},
    {"unused-tokens", "NaN and Inf in a token whose slots are all filtered", WHERE(unused_tokens, 0)},
    {"gpt-oss-limits", "GPT-OSS beyond its limit", IF("model=GPT-OSS* data=limits")},

    /* options and layouts */
    {"bf16", "16-bit numbers with 8 bits of significand", IF("dtype=bf16"), WHERE(has_gemm, 0)},
    {"fp16", "16-bit numbers with 11", IF("dtype=fp16"), WHERE(has_gemm, 0)},
    {"fp32", "32-bit numbers", IF("dtype=fp32"), WHERE(has_gemm, 0)},
    {"bias", "biases of gate, up and down", IF("bias=1 gated=1 scope=all")},
    {"bias-interleaved", "biases of alternating gate and up", IF("bias=1 interleaved=1")},
    {"interleaved", "gate and up alternate", IF("interleaved=1")},
    {"weight-on-input", "the router weight multiplies gate_up", IF("apply_router_weight_on_input=1")},
    {"weight-in-combine", "it multiplies the terms of combine's sum",
     IF("apply_router_weight_in_combine=1 scope=all")},
    {"weight-in-combine-topk-1", "it does, and there is one",
     IF("apply_router_weight_in_combine=1 topk=1 rsf=1 scope=all")},
    {"weight-in-combine-filter", "it does beside filtered slots, whose weights are NaN",
     IF("apply_router_weight_in_combine=1 data=unused"), WHERE(some_filtered, 0)},
    {"weight-in-combine-shared", "it does, and the shared expert's output is added",
     IF("apply_router_weight_in_combine=1 shared=add")},
    {"weight-in-combine-chunks", "it does in two chunks of tokens", IF("apply_router_weight_in_combine=1"),
     WHERE(chunks, 2)},
    {"scaled", "routed_scaling_factor is not 1", IF("rsf!=1")},
    {"scaled-topk-1", "it is not 1, and topk is", IF("rsf!=1 topk=1 scope=all")},
    {"no-combine", "nothing is summed", IF("mode=no_combine")},
    {"no-combine-weighted", "nothing is summed, and down applies the router weights",
     IF("no_combine_keep_router_weight=1")},
    {"no-combine-weighted-filter", "the same beside filtered slots, whose weights are NaN",
     IF("no_combine_keep_router_weight=1 data=unused"), WHERE(some_filtered, 0)},
    {"no-combine-weighted-chunks", "rows are weighted and not summed, in two chunks",
     IF("no_combine_keep_router_weight=1"), WHERE(chunks, 2)},
    {"inplace", "the output goes over x", IF("mode=inplace")},
    {"fused-sum", "down adds into the output", IF("fused_sum=1")},
    {"shared-slot", "the last slot of every token is the shared expert's", IF("shared=slot")},
    {"shared-slot-scaled", "it is, and routed_scaling_factor does not touch it", IF("shared=slot rsf!=1")},
    {"shared-slot-filter", "it is, and other slots are filtered", IF("shared=slot filter>0")},
    {"shared-add", "combine adds the shared expert's output", IF("shared=add")},
    {"shared-add-scaled", "combine adds it behind routed_scaling_factor", IF("shared=add rsf!=1")},
    {"shared-add-topk-1", "combine adds it to rows that need no sum", IF("shared=add topk=1 rsf=1")},
    {"shared-add-fused-sum", "it is added after down has added into the output",
     IF("shared=add fused_sum=1")},
    {"shared-add-inplace", "it is added in place", IF("shared=add mode=inplace")},
    {"shared-add-chunks", "it is added in two chunks of tokens", IF("shared=add"), WHERE(chunks, 2)},
    {"shared-add-unaligned", "its rows are whole 16 bytes, and begin elsewhere",
     IF("shared=add scope=combine K=128"), WHERE(buffers_unaligned, 16)},
    {"sorted", "the caches are in the order of sorted_token_ids", IF("layout=sorted")},
    {"masked", "each expert has its own rows of the caches, and a count of them", IF("layout=masked")},
    {"masked-filter", "slots are filtered in masked layout, and have no rows", IF("layout=masked"),
     WHERE(some_filtered, 0)},
    {"masked-repeated", "a token has an expert twice in masked layout", IF("layout=masked"),
     WHERE(expert_repeated, 0)},
    {"masked-empty", "an expert has a count of zero in masked layout", IF("layout=masked"),
     WHERE(expert_unused, 0)},
    {"masked-full", "an expert has more slots than the largest block in masked layout", IF("layout=masked"),
     WHERE(expert_beyond, 256)},
    {"masked-no-tokens", "all counts are zero in masked layout", IF("layout=masked M=0")},
    {"runner", "stage by stage, with hook points", IF("path=runner")},
    {"two-chunks", "two chunks of tokens", WHERE(chunks, 2)},
    {"three-chunks", "three chunks of tokens", WHERE(chunks, 3)},
    {"weight-rows-apart", "w1 and w2 are views, with gaps between rows", IF("weight_row_gap>0"),
     WHERE(has_gemm, 0)},
    {"weight-rows-unaligned", "and rows of whole 16 bytes begin elsewhere", WHERE(rows_unaligned, 16)},
    {"weight-rows-apart-k-tail", "and K is more than 32, and no multiple of it", IF("weight_row_gap>0"),
     WHERE(k_tail, 32)},
    {"weight-rows-apart-n-tail", "and N is", IF("weight_row_gap>0"), WHERE(n_tail, 32)},
    {"weight-experts-apart", "experts are further apart than their rows", WHERE(experts_apart, 0)},
    {"unaligned", "tensors begin elsewhere than on 16 bytes", WHERE(buffers_unaligned, 16)},
    {"unaligned-combine", "a sum over topk whose rows are whole 16 bytes, and begin elsewhere",
     IF("scope=combine topk>1 K=128"), WHERE(buffers_unaligned, 16)},
    {"unaligned-fused-sum", "down adds into such an output", IF("fused_sum=1"), WHERE(buffers_unaligned, 16)},
    {"unaligned-inplace", "and goes over such an x", IF("mode=inplace"), WHERE(buffers_unaligned, 16)},
    {"two-tiles", "gate_up and down have tiles of their own", IF("tile_down!=auto")},

    /* adapters */
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

    /* quantised experts */
    SCHEME("fp8-tensor"),
    SCHEME("fp8-tensor-static"),
    SCHEME("fp8-channel"),
    SCHEME("fp8-block"),
    SCHEME("fp8-block-ue8m0"),
    SCHEME("int8-channel"),
    SCHEME("int8-block"),
    SCHEME("int8-w8a16"),
    SCHEME("int8-w8a16-group"),
    SCHEME("int4-w4a16"),
    SCHEME("int4-w4a16-zp"),
    SCHEME("mxfp4"),
    SCHEME("mxfp8"),
    SCHEME("nvfp4"),
    SCHEME("mxfp4-mxfp8"),
    {"quant-k-tail", "the last of several groups of K is short", WHERE(group_tail, MP_GATE_UP)},
    {"quant-n-tail", "the last of several groups of N is", WHERE(group_tail, MP_DOWN)},
    {"quant-rows-tail", "the last of several blocks of scales along rows of weights is",
     WHERE(block_tail, 0)},
    {"quant-group-beyond", "a group is longer than K or N", WHERE(group_beyond, 0)},
    {"quant-group", "groups are not the scheme's own", IF("group>0"), WHERE(multiplies_codes, 0)},
    {"quant-tile-beyond-block", "a named tile's BLOCK_SIZE_N reaches over blocks of scales",
     WHERE(tile_beyond_block, 0)},
    {"quant-tile-below-group", "its BLOCK_SIZE_K is less than a group", WHERE(tile_below_group, 0)},
    {"quant-tile-beyond-group", "it is more", WHERE(tile_beyond_group, 0)},
    {"quant-experts", "several experts have slots, each with scales of its own", WHERE(scales_of_experts, 0)},
    {"quant-zero-row", "a row of zeros becomes codes", IF("data=special"), WHERE(makes_codes, MP_QUANT_X)},
    {"quant-zero-tensor", "all that becomes codes is zeros", IF("quant=fp8-tensor"),
     WHERE(zeros_alone, MP_QUANT_X)},
    {"quant-x-kinds",
     "groups of x: ties, zeros, an outlier, a scale that is a power of two and numbers beside "
     "it, below the floors, subnormal",
     WHERE(all_kinds_of_groups, MP_QUANT_X)},
    {"quant-cache2-kinds", "groups of cache2: the same", IF("scope=quant_act"),
     WHERE(all_kinds_of_groups, MP_QUANT_ACT)},
    {"quant-tensor-ties", "a scale of all rows: ties", WHERE(kind_of_all_rows, 0)},
    {"quant-tensor-outlier", "an outlier", WHERE(kind_of_all_rows, 2)},
    {"quant-tensor-tiny", "numbers below the floors", WHERE(kind_of_all_rows, 6)},
    {"quant-clipped", "a scale that is given clips", IF("quant=fp8-tensor-static data=codes"),
     WHERE(makes_codes, MP_QUANT_X)},
    {"quant-scale-limits", "weight scales of 0, the smallest and huge ones", IF("data=codes"),
     WHERE(multiplies_codes, 0)},
    {"quant-scale-limits-ue8m0", "bytes of 0, 254 and 255 of ue8m0", IF("data=codes"),
     WHERE(scales_are_powers, 0)},
    {"quant-zero-points", "zero points of the lowest and the highest code",
     IF("quant=int4-w4a16-zp data=codes"), WHERE(multiplies_codes, 0)},
    {"quant-filter", "rows of cache2 that nobody may quantise", WHERE(filtered_codes, MP_QUANT_ACT)},
    {"quant-filter-shared", "and a scale of all others", IF("quant=fp8-tensor"),
     WHERE(filtered_codes, MP_QUANT_ACT)},
    {"quant-padding", "NaN in rows of x that are padding", IF("routing=padded"),
     WHERE(makes_codes, MP_QUANT_X)},
    {"quant-no-tokens", "no rows to quantise", IF("quant!=none M=0")},
    {"quant-unused", "NaN in codes and numbers that nothing uses", IF("data=unused"),
     WHERE(multiplies_codes, 0)},
    {"quant-unused-scales", "NaN in scales of an expert without slots", WHERE(unused_scales, 0)},
    {"quant-scales-row-padded", "weight scales lie in rows with gaps",
     WHERE(scales_lie, MP_ROW_MAJOR_PADDED)},
    {"quant-scales-column", "by columns", WHERE(scales_lie, MP_COLUMN_MAJOR)},
    {"quant-scales-column-padded", "by columns with gaps", WHERE(scales_lie, MP_COLUMN_MAJOR_PADDED)},
    {"quant-scales-swizzled", "in tiles of 128 x 4 with padding of rows and columns",
     WHERE(scales_lie, MP_SWIZZLED)},
    {"quant-made-row-padded", "and scales of x that are made lie in rows with gaps",
     WHERE(made_scales_lie, MP_ROW_MAJOR_PADDED)},
    {"quant-made-column", "by columns", WHERE(made_scales_lie, MP_COLUMN_MAJOR)},
    {"quant-made-column-padded", "by columns with gaps", WHERE(made_scales_lie, MP_COLUMN_MAJOR_PADDED)},
    {"quant-made-swizzled", "in tiles", WHERE(made_scales_lie, MP_SWIZZLED)},
    {"quant-fp16", "codes and 16-bit numbers with 11 bits of significand", IF("dtype=fp16"),
     WHERE(multiplies_codes, 0)},
    {"quant-fused-sum", "sums of codes are added into the output", IF("fused_sum=1"),
     WHERE(multiplies_codes, 0)},
    {"quant-lora", "adapters on quantised experts", IF("lora_adapters>0"), WHERE(multiplies_codes, 0)},

    /* sequences */
    {"after-other-ids", "it runs on the buffers of as many tokens with other ids", AFTER(after_other_ids)},
    {"after-more-blocks", "of as many tokens that made more blocks of 16", AFTER(after_more_blocks)},
    {"after-fewer-blocks", "of as many tokens that made fewer", AFTER(after_fewer_blocks)},
    {"after-more-tokens", "of more tokens", AFTER(after_more_tokens)},
    {"after-no-tokens", "of none", AFTER(after_no_tokens)},
    {"after-more-routed", "of as many tokens with fewer slots filtered", AFTER(after_more_routed)},
    {"after-align", "align alone, on those of more tokens", IF("scope=align"), AFTER(after_more_tokens)},
    {"after-fused-sum", "down adds into an output that another run has left", IF("fused_sum=1"),
     AFTER(after_any)},
    {"after-no-combine", "nothing is summed, on those of more tokens", IF("mode=no_combine"),
     AFTER(after_more_tokens)},
    {"after-inplace", "in place, on those of more tokens", IF("mode=inplace"), AFTER(after_more_tokens)},
    {"after-sorted", "in sorted layout, on those of more blocks", IF("layout=sorted"),
     AFTER(after_more_blocks)},
    {"after-masked", "in masked layout, on those of other counts", IF("layout=masked"),
     AFTER(after_other_ids)},
    {"after-other-adapters", "on those of as many tokens with other adapters", IF("lora_adapters>0"),
     AFTER(after_other_adapters)},
    {"after-quant", "codes are made on the buffers of other tokens", IF("quant!=none"), AFTER(after_any)},
};
const int mp_condition_count = sizeof mp_conditions / sizeof *mp_conditions;
