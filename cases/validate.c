/* SPDX-License-Identifier: Apache-2.0 */
/* Which combinations of fields make a case. Every message says what to change. */
#include "base/words.h"
#include "cases/field.h"
#include "cases/fill.h"
#include "cases/graph_tables.h"
#include "cases/lora.h"
#include "cases/parts.h"
#include "cases/scheme.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Fields that a single stage does not use keep their default there, so that two texts never name the same
 * work. */
static mp_status validate_scope(const mp_case *c, mp_error *err) {
    if (c->scope == MP_SCOPE_ALL) return MP_OK;
    const bool align = c->scope == MP_SCOPE_ALIGN;
    for (size_t i = 0; i < MP_FIELD_COUNT; i++) {
        if (mp_word_listed(mp_stages[c->scope - 1].fields, mp_fields[i].name)) continue;
        if (mp_field_compare(&mp_fields[i], c, &mp_default_case) == 0) continue;
        if (c->data == MP_FROM_FILE && !strcmp(mp_fields[i].name, "data")) continue; /* true of any stage */
        char value[64];
        mp_field_text(&mp_fields[i], c, value);
        return mp_fail(err, MP_EINPUT, "scope=%s does not use %s: remove %s=%s", mp_scope_name(c->scope),
                       mp_fields[i].name, mp_fields[i].name, value);
    }
    if (align && c->path == MP_RUNNER)
        return mp_fail(err, MP_EINPUT, "scope=align has no hook points: use path=fused or path=chunked");
    return MP_OK;
}

/* The forms that an activation has, and the fields that it reads. */
enum { PLAIN = 1, GATED = 2, READS_ALPHA = 4, READS_LIMIT = 8 };
static int forms_of(mp_activation act) {
    switch (act) {
    case MP_SILU:
    case MP_GELU: return PLAIN | GATED;
    case MP_GELU_TANH: return GATED;
    case MP_RELU2: return PLAIN;
    case MP_SWIGLU_OAI: return GATED | READS_ALPHA | READS_LIMIT;
    case MP_SILU_CLAMP:
    case MP_CLAMP_SILU: return GATED | READS_LIMIT;
    case MP_ACTIVATION_COUNT: break;
    }
    return 0;
}

/* What scales must be like to lie so. */
static mp_status validate_scale_layout(const mp_case *c, const mp_scheme *s, mp_error *err) {
    const char *name = mp_scale_layout_name(c->scale_layout);
    const bool columns = c->scale_layout == MP_COLUMN_MAJOR || c->scale_layout == MP_COLUMN_MAJOR_PADDED,
               bytes = s->weight_scale == MP_UE8M0 || s->weight_scale == MP_E4M3;
    if (!c->quant || s->block_rows == MP_WHOLE_AXIS)
        return mp_fail(err, MP_EINPUT, "scale_layout=%s: quant=%s has no rows of scales, remove it", name,
                       s->name);
    if (columns && s->group == MP_WHOLE_AXIS)
        return mp_fail(err, MP_EINPUT,
                       "scale_layout=%s: quant=%s has one scale a row: use scale_layout=row-padded", name,
                       s->name);
    if (c->scale_layout == MP_SWIZZLED && (s->block_rows != 1 || !bytes))
        return mp_fail(err, MP_EINPUT,
                       "scale_layout=swizzled is of scales of a byte, a row's own: use quant=mxfp4, mxfp8, "
                       "nvfp4 or mxfp4-mxfp8, not %s",
                       s->name);
    if (c->path == MP_CHUNKED)
        return mp_fail(err, MP_EINPUT,
                       "scale_layout=%s lays out the rows of one call: use path=fused or runner", name);
    return MP_OK;
}

static mp_status validate_quant(const mp_case *c, mp_error *err) {
    const mp_scheme *s = mp_scheme_of(c);
    const bool quantises = c->scope == MP_SCOPE_QUANT_X || c->scope == MP_SCOPE_QUANT_ACT;
    if (quantises && !s->quantises_activations)
        return mp_fail(err, MP_EINPUT, "scope=%s: quant=%s quantises no activations", mp_scope_name(c->scope),
                       s->name);
    if (c->quant && c->dtype != MP_BF16 && c->dtype != MP_FP16)
        return mp_fail(err, MP_EINPUT, "quant=%s is of 16-bit models: use dtype=bf16 or fp16, not %s",
                       s->name, mp_dtype_name(c->dtype));
    const bool packed = c->quant && mp_dtype_is_packed(s->weight);
    if (packed && (c->K % 2 != 0 || c->N % 2 != 0 || mp_case_w1_rows(c) % 2 != 0))
        return mp_fail(err, MP_EINPUT,
                       "quant=%s has two codes in a byte: K=%" PRId64 " and N=%" PRId64 " must be even",
                       s->name, c->K, c->N);
    if (mp_codes_share_a_scale(c) && (c->scope == MP_SCOPE_GATE_UP || c->scope == MP_SCOPE_DOWN))
        return mp_fail(err, MP_EINPUT, "scope=%s quant=%s is what quant=fp8-tensor-static is: use that",
                       mp_scope_name(c->scope), s->name);
    if (mp_codes_share_a_scale(c) && c->path == MP_CHUNKED)
        return mp_fail(err, MP_EINPUT, "quant=%s has a scale of all rows of a call: use path=fused or runner",
                       s->name);
    if (c->group > 0 && s->group == MP_WHOLE_AXIS)
        return mp_fail(err, MP_EINPUT, "group=%" PRId64 ": quant=%s has no groups, remove it", c->group,
                       s->name);
    if (c->fused_quant && (!s->quantises_activations || s->granularity == MP_PER_TENSOR))
        return mp_fail(err, MP_EINPUT,
                       "fused_quant=1: act makes the codes of a row by itself, and quant=%s has %s", s->name,
                       s->quantises_activations ? "one scale for all rows" : "no codes of activations");
    if (c->fused_quant && (c->path == MP_RUNNER || mp_case_has_lora(c)))
        return mp_fail(err, MP_EINPUT, "fused_quant=1 leaves no cache2 to hooks and adapters: use %s",
                       c->path == MP_RUNNER ? "path=fused or chunked" : "lora_adapters=0");
    if (c->group % 2 != 0)
        return mp_fail(err, MP_EINPUT, "group=%" PRId64 ": expected an even number", c->group);
    if (c->scale_layout) {
        const mp_status status = validate_scale_layout(c, s, err);
        if (status != MP_OK) return status;
    }
    if (c->quant && (c->weight_row_gap > 0 || c->weight_expert_gap > 0))
        return mp_fail(err, MP_EINPUT,
                       "quant=%s has packed weights: remove weight_row_gap and weight_expert_gap", s->name);
    return MP_OK;
}

static mp_status validate_activation(const mp_case *c, mp_error *err) {
    const char *name = mp_activation_name(c->act);
    const int forms = forms_of(c->act);
    if (!(forms & GATED) && c->gated)
        return mp_fail(err, MP_EINPUT, "act=%s has no gated form: add gated=0", name);
    if (!(forms & PLAIN) && !c->gated)
        return mp_fail(err, MP_EINPUT, "act=%s has no form without a gate: use gated=1", name);
    if (c->interleaved && !c->gated)
        return mp_fail(err, MP_EINPUT, "interleaved=1 alternates gate and up rows: use gated=1");
    if (c->alpha != mp_default_case.alpha && !(forms & READS_ALPHA))
        return mp_fail(err, MP_EINPUT, "alpha means nothing to act=%s: remove it or use act=swiglu_oai",
                       name);
    if (c->limit != mp_default_case.limit && !(forms & READS_LIMIT))
        return mp_fail(
            err, MP_EINPUT,
            "limit means nothing to act=%s: remove it or use act=swiglu_oai, silu_clamp or clamp_silu", name);
    return MP_OK;
}

/* Modes, layouts and paths are asked for one by one, here and wherever a tensor's shape or place depends on
 * them: who adds one looks at every MP_NO_COMBINE, MP_INPLACE, MP_SORTED, MP_MASKED, MP_RUNNER and
 * MP_CHUNKED. */
_Static_assert(MP_MODE_COUNT == 3 && MP_LAYOUT_COUNT == 3 && MP_PATH_COUNT == 3,
               "what is true of the other modes, layouts and paths may not be true of a new one");

static mp_status validate_execution(const mp_case *c, mp_error *err) {
    const mp_tile *up = &c->tile, *down = &c->tile_down;
    if (c->dtype == MP_FP64 && c->scope != MP_SCOPE_COMBINE)
        return mp_fail(err, MP_EINPUT, "dtype=fp64 is for the combine alone: add scope=combine");
    if (c->data == MP_EXHAUSTIVE && (c->scope != MP_SCOPE_ACT || c->dtype == MP_FP32))
        return mp_fail(
            err, MP_EINPUT,
            "data=exhaustive runs through every code of a 16-bit gate: use scope=act and dtype=bf16 or fp16");
    if (c->data == MP_CODES && !c->quant)
        return mp_fail(err, MP_EINPUT, "data=codes is of quantised experts: name their scheme, quant=...");
    if (c->data == MP_OVERFLOW && c->dtype != MP_FP16)
        return mp_fail(err, MP_EINPUT,
                       "data=overflow is beyond 65504 where a stage stores, and %s is not: use dtype=fp16",
                       mp_dtype_name(c->dtype));
    if (c->fused_sum && c->mode != MP_MODE_COMBINE)
        return mp_fail(err, MP_EINPUT, "fused_sum=1 adds into the output: use mode=combine, not mode=%s",
                       mp_mode_name(c->mode));
    if (c->fused_sum && c->topk <= 2)
        return mp_fail(err, MP_EINPUT, "fused_sum=1 is used with topk > 2 only: topk=%" PRId64, c->topk);
    if (c->fused_sum && c->path != MP_FUSED)
        return mp_fail(err, MP_EINPUT,
                       "fused_sum=1 leaves no cache3 to hooks and chunks: use path=fused, not path=%s",
                       mp_path_name(c->path));
    /* topk additions in dtype err by up to topk*u of the sum of magnitudes: beyond 1/8 the bound lets a sum
     * pass that has little to do with the right one. */
    const double share = (double)c->topk * mp_unit_roundoff(c->dtype);
    if (c->fused_sum && share > 0.125)
        return mp_fail(err, MP_EINPUT,
                       "fused_sum=1 rounds every addition to %s, and %" PRId64
                       " of them may err by %.3g of the sum, too much to judge: use topk <= %.0f",
                       mp_dtype_name(c->dtype), c->topk, share, 0.125 / mp_unit_roundoff(c->dtype));
    const char *layout = mp_layout_name(c->layout);
    if (c->layout != MP_ROUTE && c->path != MP_FUSED)
        return mp_fail(err, MP_EINPUT, "layout=%s cannot serve hooks or chunks: use path=fused, not path=%s",
                       layout, mp_path_name(c->path));
    if (c->layout != MP_ROUTE && c->fused_sum)
        return mp_fail(err, MP_EINPUT, "layout=%s writes whole rows: use fused_sum=0", layout);
    if (c->layout == MP_MASKED && mp_case_max_m(c) > INT32_MAX / c->E)
        return mp_fail(err, MP_EINPUT,
                       "layout=masked has %" PRId64 " rows for each of E=%" PRId64
                       " experts: lower M or E to stay below 2147483648",
                       mp_case_max_m(c), c->E);
    if (c->mode == MP_MODE_NO_COMBINE && c->rsf != 1.0)
        return mp_fail(err, MP_EINPUT, "mode=no_combine gives unscaled rows: use rsf=1");
    if (c->no_combine_keep_router_weight && c->mode != MP_MODE_NO_COMBINE)
        return mp_fail(
            err, MP_EINPUT,
            "no_combine_keep_router_weight=1 is a question of mode=no_combine: mode=%s applies the "
            "router weight in any case",
            mp_mode_name(c->mode));
    if (c->no_combine_keep_router_weight && c->apply_router_weight_on_input)
        return mp_fail(err, MP_EINPUT,
                       "no_combine_keep_router_weight=1 and apply_router_weight_on_input=1: the weight is "
                       "applied once, on the input or in down: remove one of them");
    if (c->apply_router_weight_in_combine && c->apply_router_weight_on_input)
        return mp_fail(err, MP_EINPUT,
                       "apply_router_weight_in_combine=1 and apply_router_weight_on_input=1: the weight is "
                       "applied once, on the input or in combine: remove one of them");
    if (c->apply_router_weight_in_combine && (c->mode == MP_MODE_NO_COMBINE || c->fused_sum))
        return mp_fail(err, MP_EINPUT,
                       "apply_router_weight_in_combine=1 weighs the terms of combine's sum, and %s has none: "
                       "remove one of them",
                       c->fused_sum ? "fused_sum=1" : "mode=no_combine");
    if (mp_tile_is_auto(up) && !mp_tile_is_auto(down))
        return mp_fail(err, MP_EINPUT, "tile_down needs tile: both GEMMs share one alignment");
    if (!mp_tile_is_auto(down) && up->block_size_m != down->block_size_m)
        return mp_fail(
            err, MP_EINPUT,
            "tile_down has BLOCK_SIZE_M %d and tile has %d: both GEMMs share one alignment, make them equal",
            down->block_size_m, up->block_size_m);
    return MP_OK;
}

/* What a form of the shared expert needs. */
static mp_status validate_shared(const mp_case *c, mp_error *err) {
    const bool slot = c->shared == MP_SHARED_SLOT,
               routes = c->scope != MP_SCOPE_ACT && c->scope != MP_SCOPE_COMBINE,
               combines = c->scope == MP_SCOPE_ALL || c->scope == MP_SCOPE_COMBINE;
    if (c->shared == MP_SHARED_NONE) return MP_OK;
    if (slot ? !routes : !combines)
        return mp_fail(err, MP_EINPUT, "scope=%s does not use shared: remove shared=%s",
                       mp_scope_name(c->scope), mp_shared_name(c->shared));
    if (!slot && c->mode == MP_MODE_NO_COMBINE)
        return mp_fail(err, MP_EINPUT, "shared=add adds to the sum over topk: use mode=combine or inplace");
    if (!slot) return MP_OK;
    if (c->E < 2 || c->topk < 2)
        return mp_fail(err, MP_EINPUT,
                       "shared=slot keeps the last expert and the last slot: use E >= 2 and topk >= 2");
    if (c->ep_size > 1)
        return mp_fail(err, MP_EINPUT, "shared=slot: the shared expert is every rank's own, use ep_size=1");
    if ((float)c->rsf == 0.0f)
        return mp_fail(err, MP_EINPUT, "shared=slot has a router weight of 1/rsf: rsf must not be 0");
    return MP_OK;
}

#define MAX_EXPERTS (INT64_C(1) << 20) /* of all ranks: routing keeps a table of them */

static mp_status validate_routing(const mp_case *c, mp_error *err) {
    const int64_t shared = c->shared == MP_SHARED_SLOT; /* an expert and a slot that nothing is drawn for */
    const int64_t experts = c->E * c->ep_size, routed = experts - shared, drawn_slots = c->topk - shared;
    if (c->ep_rank >= c->ep_size)
        return mp_fail(err, MP_EINPUT,
                       "ep_rank=%" PRId64 " with ep_size=%" PRId64 ": ranks count from 0 to ep_size-1",
                       c->ep_rank, c->ep_size);
    if (c->ep_size > 1 && c->filter > 0)
        return mp_fail(err, MP_EINPUT, "ep_size > 1 already makes ids -1: use filter=0 or ep_size=1");
    if (c->expert_map && c->ep_size == 1)
        return mp_fail(err, MP_EINPUT,
                       "expert_map=%s says which experts of several ranks are this one's: use ep_size > 1",
                       mp_expert_map_name(c->expert_map));
    /* With a map the experts of other ranks have their own numbers, and padding alone goes nowhere. */
    const bool nowhere =
        c->filter > 0 || c->routing == MP_PADDED || (c->ep_size > 1 && c->expert_map == MP_MAP_NONE);
    if (c->sentinel && !nowhere && c->data != MP_FROM_FILE)
        return mp_fail(err, MP_EINPUT,
                       "sentinel=%s is the id of slots that go to no expert, and here are none: use filter, "
                       "routing=padded or, without expert_map, ep_size",
                       mp_sentinel_name(c->sentinel));
    if (experts > MAX_EXPERTS)
        return mp_fail(err, MP_EINPUT, "E*ep_size is %" PRId64 ": at most %" PRId64 " experts", experts,
                       MAX_EXPERTS);
    if (c->routing == MP_DUPLICATES && drawn_slots < 2)
        return mp_fail(err, MP_EINPUT,
                       "routing=duplicates repeats an expert inside a token: use topk >= %" PRId64,
                       2 + shared);
    const bool drawn = c->data != MP_FROM_FILE; /* else the ids are what they are */
    const bool repeats = c->routing == MP_DUPLICATES || c->routing == MP_FIRST || c->routing == MP_LAST;
    const int64_t usable = c->routing == MP_EMPTY ? (routed + 1) / 2 : routed;
    if (drawn && !repeats && drawn_slots > usable)
        return mp_fail(err, MP_EINPUT,
                       "topk=%" PRId64 " distinct experts cannot be drawn from %" PRId64
                       " (routing=%s): lower topk, raise E, or use routing=duplicates",
                       drawn_slots, usable, mp_routing_name(c->routing));
    if (c->routing == MP_EMPTY && routed < 2)
        return mp_fail(err, MP_EINPUT, "routing=empty leaves experts without tokens: use E >= %" PRId64,
                       2 + shared);
    /* Slot numbers and padded positions are int32; 256 is the largest BLOCK_SIZE_M. */
    const int64_t padded = mp_case_slots(c) + (c->E + 1) * 255;
    if (padded > INT32_MAX)
        return mp_fail(err, MP_EINPUT,
                       "M*topk + (E+1)*255 is %" PRId64
                       ": sorted positions are 32-bit, lower M, topk or E to stay below 2147483648",
                       padded);
    return MP_OK;
}

static mp_status validate_lora(const mp_case *c, mp_error *err) {
    for (size_t i = 0; i < MP_FIELD_COUNT && !mp_case_has_lora(c); i++) {
        const bool of_lora = strncmp(mp_fields[i].name, "lora_", strlen("lora_")) == 0;
        if (!of_lora || mp_field_compare(&mp_fields[i], c, &mp_default_case) == 0) continue;
        return mp_fail(err, MP_EINPUT,
                       "%s means nothing without adapters: remove it or use lora_adapters > 0",
                       mp_fields[i].name);
    }
    if (!mp_case_has_lora(c)) {
        if (c->scope == MP_SCOPE_ALL || !mp_stage_is_lora((mp_stage)(c->scope - 1))) return MP_OK;
        return mp_fail(err, MP_EINPUT, "scope=%s is a stage of LoRA: use lora_adapters > 0",
                       mp_scope_name(c->scope));
    }
    if (c->layout != MP_ROUTE || c->path == MP_CHUNKED || c->fused_sum)
        return mp_fail(err, MP_EINPUT,
                       "LoRA adds to rows of tokens between the stages: use layout=route, fused_sum=0 and "
                       "path=fused or runner");
    const int64_t factors = c->lora_adapters * c->E * mp_lora_slices(c);
    if (factors > INT32_MAX)
        return mp_fail(err, MP_EINPUT, "lora_adapters*E is %" PRId64 ": expert numbers are 32-bit, lower it",
                       c->lora_adapters * c->E);
    return MP_OK;
}

mp_status mp_case_validate(const mp_case *c, mp_error *err) {
    for (size_t i = 0; i < MP_FIELD_COUNT; i++) {
        if (mp_field_in_range(&mp_fields[i], c)) continue;
        char value[64];
        mp_field_text(&mp_fields[i], c, value);
        return mp_field_fail(&mp_fields[i], "=", value, err);
    }
    mp_status status = validate_scope(c, err);
    if (!status) status = validate_activation(c, err);
    if (!status) status = validate_quant(c, err);
    if (!status) status = validate_execution(c, err);
    if (!status) status = validate_shared(c, err);
    if (!status) status = validate_lora(c, err);
    if (!status) status = validate_routing(c, err);
    return status;
}

/* The fields that say how a problem is executed, not which problem it is. */
static const char *const execution_fields[] = {
    "path",          "layout",       "tile", "tile_down",  "weight_row_gap", "weight_expert_gap",
    "buffer_offset", "scale_layout", "gemm", "fused_quant"};

/* The first tokens of the base as a batch of their own. */
static bool is_smaller_batch(const mp_case *base, const mp_case *variant) {
    return base->scope == MP_SCOPE_ALL && variant->M > 0 && variant->M < base->M &&
           !mp_case_is_part(base, variant);
}

/* Router weights that are powers of two give the same bits wherever they multiply, but for numbers beyond the
 * largest of fp16. */
static bool weighs_exactly(const mp_case *c) {
    return mp_has_exact_weights(c->data) && c->shared != MP_SHARED_SLOT && c->dtype != MP_FP16;
}

/* Gate and up in another order are the same numbers in other rows of w1 and b1, where no scale is of several
 * rows. */
static bool may_reorder_gate(const mp_case *base, const mp_case *variant) {
    return base->scope == MP_SCOPE_ALL && !base->quant && base->M == variant->M &&
           !mp_case_is_part(base, variant) && mp_lora_same_fields(base, variant);
}

/* wgmma has the bits of mma, but not of e4m3. */
static bool may_multiply_otherwise(const mp_case *base, const mp_case *variant) {
    return mp_case_multiplied(base) != MP_E4M3 ||
           (base->gemm != MP_GEMM_WGMMA && variant->gemm != MP_GEMM_WGMMA);
}

static bool may_differ(const mp_field *f, const mp_case *base, const mp_case *variant) {
    /* Judged by mp_case_validate_part. */
    static const char *const shares[] = {"E", "N", "ep_size"};
    if (!strcmp(f->name, "gemm")) return may_multiply_otherwise(base, variant);
    for (size_t i = 0; i < COUNT(execution_fields); i++)
        if (!strcmp(f->name, execution_fields[i])) return true;
    for (size_t i = 0; i < COUNT(shares); i++)
        if (!strcmp(f->name, shares[i])) return true;
    if (!strcmp(f->name, "expert_map")) return base->ep_size != variant->ep_size; /* how ranks are told */
    if (!strcmp(f->name, "M")) return is_smaller_batch(base, variant);
    if (!strcmp(f->name, "interleaved")) return may_reorder_gate(base, variant);
    if (!strcmp(f->name, "apply_router_weight_in_combine"))
        return weighs_exactly(base) && base->scope == MP_SCOPE_ALL;
    /* In place, the same sums go over x; no_combine gives another tensor. */
    return !strcmp(f->name, "mode") && base->mode != MP_MODE_NO_COMBINE &&
           variant->mode != MP_MODE_NO_COMBINE;
}

/* "M, routing, seed": names for a message, `last` between the last two. */
static void names_text(const char *const *names, size_t count, const char *last, char *text, size_t size) {
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < count && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s",
                                 i == 0          ? ""
                                 : i + 1 < count ? ", "
                                                 : last,
                                 names[i]);
}

mp_status mp_case_validate_after(const mp_case *c, const mp_case *before, mp_error *err) {
    static const char *const of_a_call[] = {"M", "routing", "seed", "filter", "data", "lora_routing"};
    if (c->data == MP_FROM_FILE || before->data == MP_FROM_FILE)
        return mp_fail(err, MP_EINPUT, "data=file: what is judged from a file is not run, after nothing");
    for (size_t i = 0; i < MP_FIELD_COUNT; i++) {
        const mp_field *f = &mp_fields[i];
        bool may = mp_field_compare(f, c, before) == 0;
        for (size_t k = 0; k < COUNT(of_a_call); k++) may = may || !strcmp(f->name, of_a_call[k]);
        if (may) continue;
        char own[64], other[64], fields[128];
        mp_field_text(f, c, own);
        mp_field_text(f, before, other);
        names_text(of_a_call, COUNT(of_a_call), " and ", fields, sizeof fields);
        return mp_fail(err, MP_EINPUT,
                       "%s=%s instead of %s=%s does not run on the same buffers and weights: the case before "
                       "may differ in %s",
                       f->name, other, f->name, own, fields);
    }
    return MP_OK;
}

mp_status mp_case_validate_pair(const mp_case *base, const mp_case *variant, mp_error *err) {
    if (mp_case_is_part(base, variant)) {
        const mp_status status = mp_case_validate_part(base, variant, err);
        if (status != MP_OK) return status;
    }
    const mp_case one = mp_lora_problem(base), other = mp_lora_problem(variant);
    const bool adapters = !mp_lora_same_fields(base, variant);
    for (size_t i = 0; i < MP_FIELD_COUNT; i++) {
        const mp_field *f = &mp_fields[i];
        const bool smaller = adapters && is_smaller_batch(base, variant) && !strcmp(f->name, "M");
        if (!smaller && (mp_field_compare(f, &one, &other) == 0 || may_differ(f, base, variant))) continue;
        char before[64], after[64], fields[128];
        mp_field_text(f, base, before);
        mp_field_text(f, variant, after);
        names_text(execution_fields, COUNT(execution_fields), ", ", fields, sizeof fields);
        return mp_fail(
            err, MP_EINPUT,
            "%s=%s instead of %s=%s is another problem: a variant may differ in %s, and in mode "
            "between combine and inplace; the first tokens of all stages in M; ranks in ep_size, E and "
            "expert_map, shards in N; adapters in what makes no difference to the output; interleaved in all "
            "stages without quant; apply_router_weight_in_combine where the weights are powers of two "
            "(data=integer, onehot)",
            f->name, after, f->name, before, fields);
    }
    return MP_OK;
}
