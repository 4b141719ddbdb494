/* SPDX-License-Identifier: Apache-2.0 */
/* Options of the computation, and where its tensors lie. */
#include "cases/conditions/conditions.h"

static bool chunks(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return mp_case_chunks(c) >= n;
}

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

static const mp_condition conditions[] = {
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
};
const mp_condition_list mp_conditions_of_options = LIST_OF(conditions);
