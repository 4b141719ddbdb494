/* SPDX-License-Identifier: Apache-2.0 */
/* Quantised experts. */
#include "cases/conditions/conditions.h"

#include "cases/scheme.h"

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

#define SCHEME(scheme) \
    { "quant-" scheme, "experts of quant=" scheme, IF("scope=all quant=" scheme), WHERE(multiplies_codes, 0) }

static const mp_condition conditions[] = {
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
    {"quant-fused-act", "act makes codes, and nothing stores the numbers", IF("fused_quant=1"),
     WHERE(makes_codes, MP_QUANT_ACT)},
    {"quant-lora", "adapters on quantised experts", IF("lora_adapters>0"), WHERE(multiplies_codes, 0)},
};
const mp_condition_list mp_conditions_of_codes = LIST_OF(conditions);
