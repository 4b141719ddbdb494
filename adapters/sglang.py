#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Triton MoE of an installed sglang as a subject.

    moeparity run cases/seed.yaml --subject 'worker:python3 adapters/sglang.py stages'

stages: each stage by the package's own kernel, all tensors shown; fused: its public fused_experts from end
to end, the output alone, with the package's tuned tables. Words behind it:

    act=own|triton       silu and gelu_tanh by its CUDA kernels; by its Triton kernel, which rounds the gate
    combine=own|triton|torch   the sum that the package would choose, its Triton kernel, torch.sum
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
from adapters import published, tiles  # noqa: E402
from adapters.sglang_package import KNOWN, Sglang  # noqa: E402

try:
    import torch
except ImportError:
    torch = None

WORDS = published.words({"mode": ["stages", "fused"], "act": ["own", "triton"],
                         "combine": ["own", "triton", "torch"], "contract": None, "expects": None})
sglang, absent = published.opened(Sglang)


# ---- what it offers ----

GATED = ("silu", "gelu", "gelu_tanh", "swiglu_oai", "silu_clamp", "clamp_silu")
PLAIN = ("silu", "gelu", "relu2")


def _by_triton(case):
    """Whether the activation of this case is the package's Triton kernel."""
    return case.act == "clamp_silu" or (WORDS["act"] == "triton" and case.gated and
                                        case.act in ("silu", "gelu_tanh"))


def _by_cuda(case):
    return case.gated and case.act in ("silu", "gelu", "gelu_tanh") and not _by_triton(case)


def supports(case):
    """None, or why the package has nothing for this case."""
    if absent:
        return absent
    if case.dtype == "fp32" and case.scope in ("all", "gate_up", "down"):
        return "sglang's GEMM stores fp32 outputs as fp16 (compute_type is bf16 or fp16)"
    if case.layout == "masked":
        return "sglang's Triton experts have no masked layout"
    if case.shared == "add":
        return "sglang adds the shared expert's output outside of its experts"
    if case.path == "chunked":
        return f"sglang {KNOWN} has no loop over chunks of tokens"
    acts = case.scope in ("all", "act")
    if acts and case.act == "clamp_silu" and case.limit != 10:
        return f"sglang clamps before silu at 10 alone, not at {case.limit:g}"
    if acts and case.act not in (GATED if case.gated else PLAIN):
        return f"sglang has no activation {case.act} with gated={int(case.gated)}"
    if acts and case.gated and case.act != "swiglu_oai" and case.interleaved:
        return "sglang takes gate and up as halves but for swiglu_oai"
    if case.scope == "align" and not sglang.native:
        return "sglang's alignment is stood in for here: it is not its own that would be judged"
    if case.fused_sum and case.topk <= 2:
        return "sglang sums in the GEMM for topk above 2 alone"
    if acts and _by_cuda(case) and sglang.native and case.N * _bytes(case) % 16:
        return f"sglang's activations want rows of whole 16 bytes, not N={case.N}"
    if case.scope in ("all", "down") and case.layout == "sorted" and case.N * _bytes(case) % 16:
        return f"sglang's sorted layout goes by TMA, which wants rows of whole 16 bytes, not N={case.N}"
    if case.weight_row_gap or case.weight_expert_gap or case.buffer_offset:
        return "sglang's engine gives its kernels packed tensors on 16 bytes, and so does this"
    if case.expert_map != "none" or case.sentinel != "-1":
        return "sglang's stages take the ids of this rank's experts, and -1"
    if WORDS["mode"] == "fused":
        return _fused_supports(case)
    return None


def _bytes(case):
    return 4 if case.dtype == "fp32" else 2


def _fused_supports(case):
    if case.scope != "all":
        return "fused is from end to end: no single stage"
    if "tile_down=" in case.text:
        return "fused_experts takes one tile for both GEMMs when it is told one"
    if case.layout == "sorted":
        return "fused_experts chooses the layout by its tuned tables"
    if case.path == "runner":
        return "the runner's hooks are not reached by fused_experts; use stages"
    if WORDS["act"] != "own" or WORDS["combine"] != "own":
        return "fused_experts chooses its activation and its sum itself"
    return None


def _act_contract(case):
    """Whose exp, tanh and erf, where the gate is rounded, and what happens to rows without a result."""
    cuda, triton = _by_cuda(case), _by_triton(case)
    if cuda and not (sglang.native or case.act == "silu"):
        fields = "act.function=cuda-math"
    elif cuda:
        fields = "act.function=cuda-fast-math"
    elif triton:
        fields = "act.function=triton act.rounding=gate-rounded act.clamp_nan=limit"
    elif case.gated:  # silu_clamp, swiglu_oai
        fields = "act.function=torch-compile"
    else:
        fields = "act.function=cuda-math"
    if tiles.architecture() != 90:  # what PTX promises of ex2, div and tanh.approx anywhere: 2^-11 of tanh
        anywhere = 8192 if case.act == "gelu_tanh" else 108
        fields += f" act.ulps={8 if fields == 'act.function=cuda-math' else anywhere}"
    if not (triton or cuda and sglang.native):
        fields += " act.filtered=anything padding=anything"
    elif triton and case.layout == "sorted":
        fields += " padding=anything"
    stood_in = cuda and not sglang.native
    return f"{fields} act.bits={tiles.reported() if stood_in else tiles.promised()}"


def contract(case):
    """sm_90 for the stages whose bits are known; what the others promise, field by field."""
    fields = [tiles.preset(), "align.stable=0 align.tail=0", _act_contract(case)]
    if case.layout == "sorted":
        fields.append("gate_up.filtered=untouched")
    if _compiled_sum(case) or WORDS["combine"] == "torch":
        fields.append(f"combine.bits={tiles.reported()}")
    if case.dtype == "fp64":  # its Triton kernel adds in float32 whatever the tensor is
        fields.append("float64_steps=0 combine.bits=none")
    if WORDS["mode"] == "fused":  # the output alone: which sum and layout ran is not seen
        fields.append("gate_up.bits=none act.bits=none down.bits=none combine.bits=none")
    return " ".join(fields + ([WORDS["contract"]] if WORDS["contract"] else []))


def _compiled_sum(case):
    return WORDS["combine"] == "own" and case.M <= 32 and (case.topk > 2 or case.rsf != 1)


def exposes():
    if WORDS["mode"] == "fused":
        return ["out"]
    align = ["sorted_token_ids", "expert_ids", "num_tokens_post_padded"]
    return (align if sglang and sglang.native else []) + ["cache1", "cache2", "cache3", "out"]


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


def _multiply(case, a, w, bias, out, weights, ids, route, by_weight, topk, tile, **how):
    dtype = sglang.sequence.tl.bfloat16 if out.dtype == torch.bfloat16 else sglang.sequence.tl.float16
    with tiles.fitting(tile):
        sglang.gemm(a, w, bias, out, None, None, None, weights, ids, *route, by_weight, topk, tile,
                    compute_type=dtype, use_fp8_w8a8=False, use_int8_w8a8=False, use_int8_w8a16=False,
                    use_int4_w4a16=False, per_channel_quant=False, filter_expert=True, **how)


def _activate(case, x, out, ids, route, block_size):
    """The activation that _fused_moe_kernel_sequence of the package chooses for this case."""
    seq, act = sglang.sequence, case.act
    in_order = case.layout == "sorted"
    if _by_triton(case):
        # its "gelu" is the form with tanh
        limit = case.limit if act == "clamp_silu" else None
        sglang.triton_act(x, out, {"BLOCK_SIZE_M": block_size}, None if in_order else ids,
                          route[1] if in_order else None, in_order,
                          "gelu" if act == "gelu_tanh" else "silu", limit)
    elif _by_cuda(case):
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


def stages(case, x=None, w1=None, w2=None, b1=None, b2=None, topk_weights=None, topk_ids=None,
           sorted_token_ids=None, expert_ids=None, num_tokens_post_padded=None, cache1=None, cache2=None,
           cache3=None, out=None):
    """Each stage by its own kernel, into the tensors of the harness."""
    def has(stage):
        return case.scope in ("all", stage)

    tile, tile_down = tiles.of_case(case)
    block = tile["BLOCK_SIZE_M"]
    given = (sorted_token_ids, expert_ids, num_tokens_post_padded)
    in_order = case.layout == "sorted"
    route = None
    if case.scope != "combine" and not (case.scope == "act" and not in_order):
        shown = case.scope in ("all", "align") and sorted_token_ids is not None
        route = _route(case, topk_ids, block, given, shown)
    if has("gate_up"):
        _multiply(case, x, w1, b1, cache1, topk_weights, topk_ids, route,
                  bool(case.apply_router_weight_on_input), case.topk, tile, c_sorted=in_order)
    if has("act"):
        _activate(case, cache1, cache2, topk_ids, route, block)
    if has("down"):
        kept = case.mode != "no_combine" or bool(case.no_combine_keep_router_weight)
        weighted = not case.apply_router_weight_on_input and kept
        if case.fused_sum:
            out.zero_()
        target = out if case.fused_sum or cache3 is None else cache3
        _multiply(case, cache2, w2, b2, target if case.fused_sum else target.view(case.M, case.topk, -1),
                  topk_weights, topk_ids, route, weighted, 1, tile_down, a_use_tma=in_order,
                  b_use_tma=in_order, fuse_sum_all_reduce=bool(case.fused_sum), router_topk=case.topk)
    if case.fused_sum and has("combine"):
        if case.rsf != 1:
            out.mul_(case.rsf)
    elif has("combine") and cache3 is not None:
        _sum(case, cache3, out)


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
                                  "float32" if case.dtype == "fp32" else None, case.M,
                                  return_down_config=True)
    up, down = dict(up), dict(down or up)
    up.pop("USE_TMA", None)
    tma = bool(down.pop("USE_TMA", False))
    return up, down, tma


def main():
    mode = {"stages": stages, "fused": fused}[WORDS["mode"]]
    subject = moeparity.subject(
        contract=contract, name="sglang " + WORDS["mode"], supports=supports, exposes=exposes(),
        version=sglang.package.version_line() if sglang else None, tensors=published.tensors(torch))
    moeparity.main(subject(mode))


if __name__ == "__main__":
    main()
