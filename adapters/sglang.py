#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Triton MoE of an installed sglang as a subject.

    moeparity run cases/seed.yaml --subject 'worker:python3 adapters/sglang.py stages'

stages: each stage by the package's own kernel, all tensors shown; fused: its public fused_experts from end
to end, the output alone, with the package's tuned tables. Words behind it:

    act=own|triton       silu and gelu_tanh by its CUDA kernels; by its Triton kernel, which rounds the gate
    combine=own|triton|torch   the sum that the package would choose, its Triton kernel, torch.sum
    lora=classic|virtual   LoRA by its kernels for each adapter, or by virtual experts
    quant=own|triton   the int8 quantiser of groups: its CUDA kernel, its Triton kernel
    tiles=case|tuned   stages: the tile of the case; of the package's tuned tables
    times=no|yes       stages: measured on the device, for `moeparity bench kernels --against`
    contract='...'       fields that differ from the contract, `contract='act.bits=reported'`
    expects=FILE         fused: ends a case for which its loader does not choose what this tuned file has

docs/adapters.md tells what is stood in for.
"""
import contextlib
import os
import sys
from types import SimpleNamespace

# This file has the name of the package: what is imported below must not find it instead.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import moeparity  # noqa: E402
from adapters import lora, published, quantised, sglang_lora, tiles, times  # noqa: E402
from adapters.sglang_offer import Offer  # noqa: E402
from adapters.sglang_package import Sglang  # noqa: E402

try:
    import torch
except ImportError:
    torch = None

WORDS = published.words({"mode": ["stages", "fused"], "act": ["own", "triton"],
                         "combine": ["own", "triton", "torch"], "quant": ["own", "triton"],
                         "lora": ["classic", "virtual"], "tiles": ["case", "tuned"], "times": ["no", "yes"],
                         "contract": None, "expects": None})
sglang, absent = published.opened(Sglang)
offer = Offer(sglang, absent, WORDS)
if sglang:
    sglang.quant.by = WORDS["quant"]
    if WORDS["lora"] == "virtual" and sglang_lora.lacks_constant_cdiv():
        sglang.package.note("cdiv of two constants is made a constant")


# ---- the stages ----


def _route(case, ids, block_size, given, shown):
    """The alignment of the package, or that of a single stage's case; into the harness's own tensors where
    they are to be judged."""
    if case.scope in ("gate_up", "down") and given[0] is not None:
        return [t.reshape(-1) for t in given]
    made = sglang.align(ids, block_size, case.E)
    if shown:
        for tensor, values in zip(given, made):
            tensor.view(-1).copy_(values[: tensor.numel()])
    return made


def _multiply(case, a, w, bias, out, weights, ids, route, by_weight, topk, tile, scales=None, **how):
    """scales: of a, of w and the zero points of w, where the case is quantised."""
    dtype = sglang.sequence.tl.bfloat16 if out.dtype == torch.bfloat16 else sglang.sequence.tl.float16
    with tiles.fitting(tile):
        sglang.gemm(a, w, bias, out, *(scales or (None, None, None)), weights, ids, *route, by_weight, topk,
                    tile, compute_type=dtype, filter_expert=True, **quantised.flags(case), **how)


def _codes(case, of, codes, scale, static):
    """The package's quantiser of activations, into the tensors of the harness."""
    quantised.keep(sglang.quant.quantise(case, of, static), codes, scale)


def _scales(case, a_scale, w_scale, w_zero):
    """Scales and zero points as the GEMM takes them: it quantises no codes again."""
    if not quantised.scheme(case):
        return None
    a_scale, w_scale = quantised.as_taken(case, a_scale, w_scale)
    sglang.quant.given(a_scale)
    return a_scale, w_scale, w_zero


def _activate(case, x, out, ids, route, block_size):
    """The activation that _fused_moe_kernel_sequence of the package chooses for this case."""
    seq, act = sglang.sequence, case.act
    in_order = case.layout == "sorted"
    if offer.by_triton(case):
        # its "gelu" is the form with tanh
        limit = case.limit if act == "clamp_silu" else None
        sglang.triton_act(x, out, {"BLOCK_SIZE_M": block_size}, None if in_order else ids,
                          route[1] if in_order else None, in_order,
                          "gelu" if act == "gelu_tanh" else "silu", limit)
    elif offer.by_cuda(case):
        rows = seq._activation_row_filter(
            down_moe_use_tma=in_order, filter_expert=True, topk_ids=ids, expert_ids=route and route[1],
            sorted_token_ids=route and route[0], num_tokens_post_padded=route and route[2],
            block_size_m=block_size)
        getattr(sglang.activations, act + "_and_mul")(x, out, **rows)
    elif act == "swiglu_oai":
        whole = seq.swiglu_gpt_oss_sigmoid_alpha if case.interleaved else \
            seq.swiglu_no_interleaved_with_alpha_and_limit
        out.copy_(whole(x, case.alpha, case.limit))
    elif act == "silu_clamp":
        out.copy_(seq._swiglu_silu_clamp_mul(x, case.limit))
    elif act == "relu2":
        out.copy_(torch.square(torch.nn.functional.relu(x)))
    else:
        out.copy_(getattr(torch.nn.functional, act)(x))


def _sum(case, cache3, out):
    if WORDS["combine"] == "triton":
        sglang.triton_sum(cache3, out, case.rsf)
    elif WORDS["combine"] == "torch":
        torch.sum(cache3, dim=1, out=out)
        if case.rsf != 1:
            out.mul_(case.rsf)
    else:
        sglang.combine(cache3, out, case.rsf)


def _add_lora(case, gate_up, x, a, b, h, base, out, weights, ids, adapters):
    """What adapters add to gate and up, or to down, by two kernels: out is base and that. adapters:
    token_lora, adapter_enabled, and, where the case has them, seg_indptr and req_to_lora."""
    shrink, expand = lora.STAGES[:2] if gate_up else lora.STAGES[2:]
    kernels, virtual = sglang.lora, WORDS["lora"] == "virtual"
    told = None if virtual else kernels.route(case, ids, *adapters)
    if case.scope in ("all", shrink):
        if virtual:
            kernels.virtual_shrink_of(case, gate_up, x, a, h, ids, sglang.align, *adapters[:2])
        else:
            kernels.classic_shrink(case, gate_up, x, a, h, weights, told)
    if case.scope in ("all", expand):
        out.copy_(base.view(out.shape))
        if virtual:
            kernels.virtual_expand_of(case, gate_up, h, b, out, weights, ids, sglang.align, *adapters[:2],
                                      _multiply_factors)
        else:
            kernels.classic_expand(case, gate_up, h, b, out, weights, told)


def _multiply_factors(a, w, out, weights, ids, route, by_weight, tile, **how):
    """Factors of adapters by the launcher of the experts' GEMMs: they are never quantised."""
    dtype = sglang.sequence.tl.bfloat16 if out.dtype == torch.bfloat16 else sglang.sequence.tl.float16
    sglang.gemm(a, w, None, out, None, None, None, weights, ids, *route, by_weight, 1, tile,
                compute_type=dtype, per_channel_quant=False, **dict.fromkeys(quantised.FLAGS, False), **how)


def stages(case, x=None, w1=None, w2=None, b1=None, b2=None, topk_weights=None, topk_ids=None,
           w1_scale=None, w2_scale=None, w1_zero=None, w2_zero=None, x_given_scale=None,
           cache2_given_scale=None, x_codes=None, x_scale=None, x_tensor_scale=None, cache2_codes=None,
           cache2_scale=None, cache2_tensor_scale=None, lora_a1=None, lora_b1=None, lora_a2=None,
           lora_b2=None, token_lora=None, adapter_enabled=None, seg_indptr=None, req_to_lora=None,
           sorted_token_ids=None, expert_ids=None, num_tokens_post_padded=None, cache1=None, lora_h1=None,
           cache1_hooked=None, cache2=None, cache3=None, lora_h2=None, cache3_hooked=None, out=None):
    """Each stage by its own kernel, into the tensors of the harness."""
    def has(*names):
        return case.scope in ("all", *names)

    tile, tile_down = tiles.of_case(case)
    clock = times.Clock(WORDS["times"] == "yes")
    block = tile["BLOCK_SIZE_M"]
    given = (sorted_token_ids, expert_ids, num_tokens_post_padded)
    in_order = case.layout == "sorted"
    route = None
    if has("align", "gate_up", "down") or case.scope == "act" and in_order:
        shown = has("align") and sorted_token_ids is not None
        with clock("align"):
            route = _route(case, topk_ids, block, given, shown)
    x_made, x_scale = quantised.which(x_scale, x_tensor_scale, x_given_scale)
    cache2_made, cache2_scale = quantised.which(cache2_scale, cache2_tensor_scale, cache2_given_scale)
    if has("quant_x") and x_codes is not None:
        with clock("quant_x"):
            _codes(case, x, x_codes, x_made, x_given_scale)
    if has("gate_up"):
        with clock("gate_up"):
            _multiply(case, x if x_codes is None else x_codes, w1, b1, cache1, topk_weights,
                      topk_ids, route, bool(case.apply_router_weight_on_input), case.topk, tile,
                      _scales(case, x_scale, w1_scale, w1_zero), c_sorted=in_order)
    adapters = (token_lora, adapter_enabled, seg_indptr, req_to_lora)
    if has(*lora.STAGES[:2]) and lora.has(case):
        _add_lora(case, True, x, lora_a1, lora_b1, lora_h1, cache1, cache1_hooked, topk_weights, topk_ids,
                  adapters)
    if has("act"):
        with clock("act"):
            _activate(case, cache1_hooked if lora.has(case) else cache1, cache2, topk_ids, route, block)
    if has("quant_act") and cache2_codes is not None:
        with clock("quant_act"):
            _codes(case, cache2, cache2_codes, cache2_made, cache2_given_scale)
    if has("down"):
        kept = case.mode != "no_combine" or bool(case.no_combine_keep_router_weight)
        weighted = not case.apply_router_weight_on_input and kept
        if case.fused_sum:
            out.zero_()
        target = out if case.fused_sum or cache3 is None else cache3
        with clock("down"):
            _multiply(case, cache2 if cache2_codes is None else cache2_codes, w2, b2,
                      target if case.fused_sum else target.view(case.M, case.topk, -1), topk_weights,
                      topk_ids, route, weighted, 1, tile_down,
                      _scales(case, cache2_scale, w2_scale, w2_zero),
                      a_use_tma=in_order, b_use_tma=in_order, fuse_sum_all_reduce=bool(case.fused_sum),
                      router_topk=case.topk)
    if has(*lora.STAGES[2:]) and lora.has(case):
        cache3_hooked = out if cache3_hooked is None else cache3_hooked
        _add_lora(case, False, cache2, lora_a2, lora_b2, lora_h2, cache3, cache3_hooked, topk_weights,
                  topk_ids, adapters)
        cache3 = cache3_hooked
    if case.fused_sum and has("combine"):
        if case.rsf != 1:
            out.mul_(case.rsf)
    elif has("combine") and cache3 is not None and cache3 is not out:
        with clock("combine"):
            _sum(case, cache3, out)
    clock.tell(case)


def fused(case, x, w1, w2, topk_weights, topk_ids, out, b1=None, b2=None):
    """The public fused_experts. An output in place is made in a copy of x: inputs must stay as they are."""
    sglang.flags.moe.enable_fused_moe_sum_all_reduce = bool(case.fused_sum)
    swiglu = case.act == "swiglu_oai"
    config = SimpleNamespace(
        num_experts=case.E * 2, num_local_experts=case.E, inplace=case.mode == "inplace",
        no_combine=case.mode == "no_combine",
        no_combine_keep_router_weight=bool(case.no_combine_keep_router_weight),
        activation="silu" if case.act in ("swiglu_oai", "silu_clamp", "clamp_silu") else case.act,
        is_gated=bool(case.gated), apply_router_weight_on_input=bool(case.apply_router_weight_on_input),
        routed_scaling_factor=case.rsf, gemm1_alpha=case.alpha if swiglu else None,
        gemm1_clamp_limit=case.limit if swiglu or case.act == "silu_clamp" else None,
        swiglu_limit=case.limit if case.act == "clamp_silu" else None,
        gate_up_interleaved=bool(case.interleaved))
    told = tiles.config(case.tile) if " tile=" in case.text else None
    if WORDS["expects"] and not told:
        tiles.expect(WORDS["expects"], case.M, *tuned(case)[:2], down_files=True)
    with sglang.override(told) if told else contextlib.nullcontext(), tiles.fitting(told):
        out.copy_(sglang.fused_experts(x.clone(), w1, w2, (topk_weights, topk_ids, None), config, b1, b2))


def tuned(case):
    """The tiles that the package's tuned tables give for a batch of this size: gate_up, down, and whether
    down goes by TMA."""
    up, (down, _) = sglang.choose((case.E, 2 * case.N, case.K), (case.E, case.K, case.N), case.topk,
                                  quantised.table_of(case), case.M, return_down_config=True,
                                  block_shape=quantised.flags(case)["block_shape"])
    up, down = dict(up), dict(down or up)
    up.pop("USE_TMA", None)
    tma = bool(down.pop("USE_TMA", False))
    return up, down, tma


def main():
    if WORDS["tiles"] == "tuned" and not absent:
        tiles.use_tables(tuned)
    mode = {"stages": stages, "fused": fused}[WORDS["mode"]]
    subject = moeparity.subject(
        contract=offer.contract, name="sglang " + WORDS["mode"], supports=offer.supports,
        exposes=offer.exposes, block_size_m=tiles.block_size_m,
        version=sglang.package.version_line() if sglang else None, tensors=published.tensors(torch))
    moeparity.main(subject(mode))


if __name__ == "__main__":
    main()
