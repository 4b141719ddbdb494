/* SPDX-License-Identifier: Apache-2.0 */
/* A case: one immutable point of the matrix.
 *
 * MP_CASE_FIELDS is the one list from which defaults, parsing, canonical text, comparison, range checks and
 * JSON come. Columns:
 *   kind, name, C type tag, default, minimum, maximum, always printed?, help
 * Kinds: INT (int64_t), REAL (double), FLAG (bool, written 0/1), ENUM (an enum with a name table), TILE
 * (mp_tile).
 *
 * The canonical text is `name=value` in list order, separated by one blank, non-defaults only (M,
 * topk and act always): it is the case's name, its filter subject and its repro.
 */
#ifndef MOEPARITY_CASE_H
#define MOEPARITY_CASE_H

#include "moeparity/dtype.h"
#include "moeparity/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mp_activation {
    MP_SILU,
    MP_GELU,
    MP_GELU_TANH,
    MP_RELU2,
    MP_SWIGLU_OAI,
    MP_SILU_CLAMP,
    MP_CLAMP_SILU,
    MP_ACTIVATION_COUNT
} mp_activation;
typedef enum mp_mode { MP_MODE_COMBINE, MP_MODE_NO_COMBINE, MP_MODE_INPLACE, MP_MODE_COUNT } mp_mode;
typedef enum mp_layout { MP_ROUTE, MP_SORTED, MP_MASKED, MP_LAYOUT_COUNT } mp_layout;
/* How experts are quantised: each is a row of mp_schemes (cases/scheme.h), in this order. */
typedef enum mp_quant {
    MP_SCHEME_NONE,
    MP_SCHEME_FP8_TENSOR,
    MP_SCHEME_FP8_TENSOR_STATIC,
    MP_SCHEME_FP8_CHANNEL,
    MP_SCHEME_FP8_BLOCK,
    MP_SCHEME_FP8_BLOCK_UE8M0,
    MP_SCHEME_INT8_CHANNEL,
    MP_SCHEME_INT8_BLOCK,
    MP_SCHEME_INT8_W8A16,
    MP_SCHEME_INT8_W8A16_GROUP,
    MP_SCHEME_INT4_W4A16,
    MP_SCHEME_INT4_W4A16_ZP,
    MP_SCHEME_MXFP4,
    MP_SCHEME_MXFP8,
    MP_SCHEME_NVFP4,
    MP_SCHEME_MXFP4_MXFP8,
    MP_SCHEME_COUNT
} mp_quant;
/* How matrices of scales lie, rows of weights or activations by groups of k. ROW_MAJOR: packed;
 * COLUMN_MAJOR: the scales of a group side by side; PADDED: with a gap before the next row, or column;
 * SWIZZLED: in tiles of 128 x 4 (cases/scale_layout.h). */
typedef enum mp_scale_layout {
    MP_ROW_MAJOR,
    MP_ROW_MAJOR_PADDED,
    MP_COLUMN_MAJOR,
    MP_COLUMN_MAJOR_PADDED,
    MP_SWIZZLED,
    MP_SCALE_LAYOUT_COUNT
} mp_scale_layout;
/* How this project's kernels multiply on sm_90: by mma.sync, by wgmma, or by wgmma where that can and has the
 * same bits: not of e4m3. */
typedef enum mp_gemm_choice { MP_GEMM_AUTO, MP_GEMM_MMA, MP_GEMM_WGMMA, MP_GEMM_CHOICE_COUNT } mp_gemm_choice;
typedef enum mp_shared { MP_SHARED_NONE, MP_SHARED_SLOT, MP_SHARED_ADD, MP_SHARED_COUNT } mp_shared;
typedef enum mp_path { MP_FUSED, MP_RUNNER, MP_CHUNKED, MP_PATH_COUNT } mp_path;

/* The stages, in execution order: stage, its scope, its name in texts and functions. It is the one list of
 * them: mp_stage, mp_scope, their names, the tables of functions and a contract's promises are made of it. */
#define MP_STAGES(STAGE)                                              \
    STAGE(MP_ALIGN, MP_SCOPE_ALIGN, align)                            \
    STAGE(MP_QUANT_X, MP_SCOPE_QUANT_X, quant_x)                      \
    STAGE(MP_GATE_UP, MP_SCOPE_GATE_UP, gate_up)                      \
    STAGE(MP_SHRINK_GATE_UP, MP_SCOPE_SHRINK_GATE_UP, shrink_gate_up) \
    STAGE(MP_EXPAND_GATE_UP, MP_SCOPE_EXPAND_GATE_UP, expand_gate_up) \
    STAGE(MP_ACT, MP_SCOPE_ACT, act)                                  \
    STAGE(MP_QUANT_ACT, MP_SCOPE_QUANT_ACT, quant_act)                \
    STAGE(MP_DOWN, MP_SCOPE_DOWN, down)                               \
    STAGE(MP_SHRINK_DOWN, MP_SCOPE_SHRINK_DOWN, shrink_down)          \
    STAGE(MP_EXPAND_DOWN, MP_SCOPE_EXPAND_DOWN, expand_down)          \
    STAGE(MP_COMBINE, MP_SCOPE_COMBINE, combine)

/* All stages, or one of them. */
#define MP_SCOPE_OF(stage, scope, name) scope,
typedef enum mp_scope { MP_SCOPE_ALL, MP_STAGES(MP_SCOPE_OF) MP_SCOPE_COUNT } mp_scope;
#undef MP_SCOPE_OF
typedef enum mp_data {
    MP_NORMAL,
    MP_INTEGER,
    MP_WIDE,
    MP_ONEHOT,
    MP_SPECIAL,
    MP_LIMITS,
    MP_OVERFLOW,
    MP_UNUSED,
    MP_EXHAUSTIVE,
    MP_CODES,     /* of quantised cases: numbers, codes and scales at the limits of codes */
    MP_FROM_FILE, /* no family: the numbers are those of a file, of which nothing is assumed */
    MP_DATA_COUNT
} mp_data;
typedef enum mp_routing {
    MP_UNIFORM,
    MP_ZIPF,
    MP_HOT,
    MP_EMPTY,
    MP_FIRST,
    MP_LAST,
    MP_DUPLICATES,
    MP_PADDED,
    MP_ROUTING_COUNT
} mp_routing;

/* The id of a slot that goes to none of the experts: -1; E, the number of those that ids count; or another
 * one for each slot, -1 or E or any larger number. */
typedef enum mp_sentinel {
    MP_SENTINEL_MINUS_ONE,
    MP_SENTINEL_E,
    MP_SENTINEL_ANY,
    MP_SENTINEL_COUNT
} mp_sentinel;
/* Whether topk_ids count the experts of all ranks, and a tensor says which of them this rank has: a run of
 * E, those from ep_rank * E on; or every ep_size-th one, from ep_rank on. */
typedef enum mp_expert_map { MP_MAP_NONE, MP_MAP_LINEAR, MP_MAP_ROUND_ROBIN, MP_MAP_COUNT } mp_expert_map;

/* LoRA: how a batch says which adapter a token has. TOKEN: token_lora, a slot for each token; SEGMENTS: runs
 * of tokens, seg_indptr, and the slot of each run, req_to_lora. */
typedef enum mp_lora_map { MP_LORA_BY_TOKEN, MP_LORA_BY_SEGMENTS, MP_LORA_MAP_COUNT } mp_lora_map;
/* Which adapter a token has: cases/lora.c. */
typedef enum mp_lora_routing {
    MP_LORA_MIXED,
    MP_LORA_UNIFORM,
    MP_LORA_ONE,
    MP_LORA_BASE,
    MP_LORA_EMPTY,
    MP_LORA_REQUESTS,
    MP_LORA_ROUTING_COUNT
} mp_lora_routing;
/* Ranks of the adapters. FULL: all have lora_rank; ZEROS: smaller ones, with zeros in A and B beyond;
 * GARBAGE: with numbers in A beyond, which the zeros in B make nothing of. */
typedef enum mp_lora_ranks {
    MP_LORA_FULL,
    MP_LORA_ZEROS,
    MP_LORA_GARBAGE,
    MP_LORA_RANKS_COUNT
} mp_lora_ranks;
/* Whose the factors outside the rank are, A of gate_up and B of down. OWN: of each expert; SHARED: one for
 * all experts, whose axis has length 1; COPIES: the same with a copy for each expert. */
typedef enum mp_lora_outer {
    MP_LORA_OUTER_OWN,
    MP_LORA_OUTER_SHARED,
    MP_LORA_OUTER_COPIES,
    MP_LORA_OUTER_COUNT
} mp_lora_outer;
/* What is special of the adapters' numbers. SAME: all slots have those of the first; ZERO_A, ZERO_B: an
 * adapter that changes nothing. */
typedef enum mp_lora_data {
    MP_LORA_DATA_NORMAL,
    MP_LORA_SAME,
    MP_LORA_ZERO_A,
    MP_LORA_ZERO_B,
    MP_LORA_DATA_COUNT
} mp_lora_data;

/* BLOCK_SIZE_M/N/K, GROUP_SIZE_M, num_warps, num_stages of one GEMM; all zero means "look it up" (tuned file
 * or default). Written `64x64x32x8x4x3` in that order, or `auto`. */
typedef struct mp_tile {
    int block_size_m, block_size_n, block_size_k, group_size_m, num_warps, num_stages;
} mp_tile;

#define MP_CHUNK_TOKENS 65536 /* the public chunk loop's CHUNK */

/* clang-format off */
/*   kind  name    tag            default  min  max  always  help */
#define MP_CASE_FIELDS(INT, REAL, FLAG, ENUM, TILE)                                                          \
    INT(M, 32, 0, INT32_MAX, true, "tokens; 0: an idle rank")                                                \
    INT(E, 8, 1, 65536, false, "experts held by this rank")                                                  \
    INT(topk, 2, 1, 1024, true, "experts per token")                                                         \
    INT(K, 512, 1, 1 << 20, false, "hidden size")                                                            \
    INT(N, 256, 1, 1 << 20, false, "intermediate size per shard, after the activation")                      \
    ENUM(dtype, mp_dtype, MP_BF16, false, "bf16, fp16, fp32; fp64 with scope=combine")                       \
    ENUM(act, mp_activation, MP_SILU, true, "activation")                                                    \
    FLAG(gated, true, "w1 holds gate and up")                                                                \
    REAL(alpha, 1.702, 0.0, 100.0, "swiglu_oai's sigmoid factor")                                            \
    REAL(limit, 7.0, 0.0, 1e6, "clamp of swiglu_oai, silu_clamp, clamp_silu")                                \
    FLAG(interleaved, false, "gate and up rows of w1 alternate")                                             \
    REAL(rsf, 1.0, -1e6, 1e6, "routed_scaling_factor")                                                       \
    ENUM(mode, mp_mode, MP_MODE_COMBINE, false, "what happens to the [M,topk,K] tensor")                     \
    FLAG(apply_router_weight_on_input, false, "the router weight multiplies gate_up instead of down")        \
    FLAG(apply_router_weight_in_combine, false, "combine applies the router weight, not down")               \
    FLAG(no_combine_keep_router_weight, false, "no_combine: down applies the router weight all the same")    \
    FLAG(bias, false, "b1 and b2 are added")                                                                 \
    REAL(filter, 0.0, 0.0, 1.0, "share of ids that are -1")                                                  \
    INT(ep_size, 1, 1, 1024, false,                                                                          \
        "ranks of expert parallelism: E*ep_size experts are routed to, E are local")                         \
    INT(ep_rank, 0, 0, 1023, false, "this rank")                                                             \
    ENUM(expert_map, mp_expert_map, MP_MAP_NONE, false,                                                      \
         "topk_ids count the experts of all ranks, and expert_map [E*ep_size] has the local ones")           \
    ENUM(sentinel, mp_sentinel, MP_SENTINEL_MINUS_ONE, false, "id of a slot that goes to no expert")         \
    FLAG(fused_sum, false, "down adds atomically into the output")                                           \
    ENUM(layout, mp_layout, MP_ROUTE, false,                                                                 \
         "rows of the caches: route order, sorted by expert, or [E, max_m] with a count of each")            \
    ENUM(path, mp_path, MP_FUSED, false,                                                                     \
         "one call, stage by stage with hook points, or 65536-token chunks")                                 \
    INT(weight_row_gap, 0, 0, 4096, false, "elements between two rows of w1 and w2: weights are views")      \
    INT(weight_expert_gap, 0, 0, 1 << 20, false, "elements between the weights of two experts")              \
    INT(buffer_offset, 0, 0, 63, false, "elements from a 64-byte boundary to where tensors begin")           \
    ENUM(scope, mp_scope, MP_SCOPE_ALL, false, "all stages, or one alone on generated input")                \
    TILE(tile, "tile of the gate_up GEMM")                                                                   \
    TILE(tile_down, "tile of the down GEMM; block_size_m must equal tile's")                                 \
    ENUM(data, mp_data, MP_NORMAL, false, "data family")                                                     \
    ENUM(routing, mp_routing, MP_UNIFORM, false, "routing family")                                           \
    INT(seed, 0, 0, INT64_MAX, false, "fill seed")                                                           \
    ENUM(shared, mp_shared, MP_SHARED_NONE, false,                                                           \
         "shared expert: none, the last slot of every token, or an output of it that combine adds")          \
    ENUM(quant, mp_quant, MP_SCHEME_NONE, false, "how experts and what they multiply are quantised")         \
    INT(group, 0, 0, 1024, false, "terms of k that share a scale; 0: as many as is usual of the scheme")    \
    ENUM(scale_layout, mp_scale_layout, MP_ROW_MAJOR, false, "how scales lie that a row has several of")     \
    INT(lora_adapters, 0, 0, 4096, false, "slots for LoRA adapters; 0: no LoRA")                             \
    INT(lora_rank, 16, 1, 1024, false, "rank of the adapters, the largest where they differ")                \
    ENUM(lora_map, mp_lora_map, MP_LORA_BY_TOKEN, false, "how a batch says which adapter a token has")       \
    ENUM(lora_routing, mp_lora_routing, MP_LORA_MIXED, false, "which adapter a token has, or none")          \
    REAL(lora_disabled, 0.0, 0.0, 1.0, "share of adapters that are not enabled")                             \
    ENUM(lora_ranks, mp_lora_ranks, MP_LORA_FULL, false,                                                     \
         "whether adapters have smaller ranks, and what A holds beyond")                                     \
    ENUM(lora_outer, mp_lora_outer, MP_LORA_OUTER_OWN, false,                                                \
         "A of gate_up and B of down: of each expert, one for all, or copies of one")                        \
    ENUM(lora_data, mp_lora_data, MP_LORA_DATA_NORMAL, false, "what is special of the adapters' numbers")   \
    ENUM(gemm, mp_gemm_choice, MP_GEMM_AUTO, false, "how our kernels multiply: mma, wgmma, or by itself")    \
    FLAG(fused_quant, false, "act makes the codes and scales that down reads, and nothing stores cache2")
/* clang-format on */

typedef struct mp_case {
#define MP_CASE_INT(name, def, lo, hi, always, help) int64_t name;
#define MP_CASE_REAL(name, def, lo, hi, help) double name;
#define MP_CASE_FLAG(name, def, help) bool name;
#define MP_CASE_ENUM(name, type, def, always, help) type name;
#define MP_CASE_TILE(name, help) mp_tile name;
    MP_CASE_FIELDS(MP_CASE_INT, MP_CASE_REAL, MP_CASE_FLAG, MP_CASE_ENUM, MP_CASE_TILE)
#undef MP_CASE_INT
#undef MP_CASE_REAL
#undef MP_CASE_FLAG
#undef MP_CASE_ENUM
#undef MP_CASE_TILE
} mp_case;

#define MP_CASE_TEXT_MAX 1024

mp_case mp_case_default(void);
/* Sets one field from text. MP_EINPUT names the field, the value and what was expected; an unknown name lists
 * the known ones. */
mp_status mp_case_set(mp_case *c, const char *name, const char *value, mp_error *err);
/* Parses `name=value ...` (any order) over the values already in *c, then validates. MP_EINPUT for a blank
 * text too. */
mp_status mp_case_parse(mp_case *c, const char *text, mp_error *err);
/* Combinations that cannot be: inplace with no_combine is not expressible; act/gated, fused_sum, layout,
 * path, ep, tiles, scope. */
mp_status mp_case_validate(const mp_case *c, mp_error *err);
/* Whether two valid cases are the same problem executed in two ways, so that equal bits mean something:
 * path, layout, tile and tile_down may differ, gemm (of e4m3 not to or from wgmma), and mode between combine
 * and inplace. With a smaller M it is the first tokens of the base as a batch of their own, in scope=all.
 * Or whether the variant is a part of the base, whose outputs sum to the base's: ep_size ranks with their
 * share of E, shards with their share of N. Or whether what differs of their adapters makes no difference to
 * the output (cases/lora.h). Or whether interleaved differs, in all stages of experts without quantisation:
 * the same rows of w1 and b1 in another order; or where router weights that are powers of two multiply.
 * MP_EINPUT names the first other difference. */
mp_status mp_case_validate_pair(const mp_case *base, const mp_case *variant, mp_error *err);
/* Whether a valid case can run after `before` on the same buffers and with the same weights, as a server's
 * calls do: M, routing, seed, filter, data and lora_routing may differ, or nothing. MP_EINPUT names the
 * first other difference. */
mp_status mp_case_validate_after(const mp_case *c, const mp_case *before, mp_error *err);
/* Writes the canonical text; returns its length. size >= MP_CASE_TEXT_MAX always suffices. */
size_t mp_case_text(const mp_case *c, char *text, size_t size);

const char *mp_activation_name(mp_activation a);
const char *mp_mode_name(mp_mode m);
const char *mp_layout_name(mp_layout l);
const char *mp_path_name(mp_path p);
const char *mp_expert_map_name(mp_expert_map m);
const char *mp_sentinel_name(mp_sentinel s);
const char *mp_shared_name(mp_shared s);
const char *mp_quant_name(mp_quant q);
const char *mp_scale_layout_name(mp_scale_layout l);
const char *mp_scope_name(mp_scope s);
const char *mp_data_name(mp_data d);
const char *mp_routing_name(mp_routing r);
const char *mp_lora_routing_name(mp_lora_routing r);
bool mp_tile_is_auto(const mp_tile *tile);
void mp_tile_text(const mp_tile *tile, char text[64]);

/* Derived sizes. */
static inline int64_t mp_case_slots(const mp_case *c) {
    return c->M * c->topk;
}
static inline int64_t mp_case_w1_rows(const mp_case *c) {
    return c->gated ? 2 * c->N : c->N;
}
static inline bool mp_case_has_lora(const mp_case *c) {
    return c->lora_adapters > 0;
}

#ifdef __cplusplus
}
#endif

#endif
