#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Triton MoE of an installed vLLM as a subject.

    moeparity run cases/seed.yaml --subject 'worker:python3 adapters/vllm.py stages'

stages: each stage by the package's own kernel, all tensors shown but those of the alignment; fused: its
public fused_experts from end to end, the output alone, with the package's tuned tables. Words behind it:

    lora=own|two     LoRA by the kernel that the package would choose, which shows nothing between shrink and
                     expand; by two kernels, as where it is sharded over ranks
    tiles=case|tuned   stages: the tile of the case; of the package's tuned tables
    times=no|yes     stages: measured on the device, for `moeparity bench kernels --against`
    contract='...'   fields that differ from the contract
    expects=FILE     fused: ends a case for which its loader does not choose what this tuned file has

docs/adapters.md tells what is stood in for.
"""
import contextlib
import os
import sys

# This file has the name of the package: what is imported below must not find it instead.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import moeparity  # noqa: E402
from adapters import lora, published, quantised, tiles, times, vllm_lora  # noqa: E402
from adapters.vllm_package import KNOWN, Vllm, unquantised  # noqa: E402

try:
    import torch
except ImportError:
    torch = None

WORDS = published.words({"mode": ["stages", "fused"], "lora": ["own", "two"], "tiles": ["case", "tuned"],
                         "times": ["no", "yes"], "contract": None, "expects": None})
vllm, absent = published.opened(Vllm)


# ---- what it offers ----

GATED = {"silu": "SILU", "gelu": "GELU", "gelu_tanh": "GELU_TANH", "clamp_silu": "SILU"}
PLAIN = {name: name.upper() + "_NO_MUL" for name in ("silu", "gelu", "gelu_tanh", "relu2")}


def _activation(case):
    """The name of the activation in the package, or None."""
    if case.act == "swiglu_oai":
        return "SWIGLUOAI" if case.interleaved else "SWIGLUOAI_UNINTERLEAVE"
    return (GATED if case.gated else PLAIN).get(case.act)


def supports(case):
    """None, or why the package has nothing for this case."""
    if absent:
        return absent
    gemm = case.scope in ("all", "gate_up", "down")
    if case.dtype == "fp32" and gemm:
        return "vLLM multiplies fp32 as tf32, for which there is no contract"
    if case.dtype == "fp64":
        return "vLLM has no fp64"
    if case.shared == "add":
        return "vLLM adds the shared expert's output outside of its experts"
    if case.scope in ("all", "act") and not _activation(case):
        return f"vLLM has no activation {case.act} with gated={int(case.gated)} in its Triton MoE"
    if case.scope in ("all", "act") and case.gated and case.act != "swiglu_oai" and case.interleaved:
        return "vLLM takes gate and up as halves but for swiglu_oai"
    if case.scope in ("all", "act") and case.act == "swiglu_oai" and case.interleaved and \
            (case.alpha, case.limit) != (1.702, 7):
        return "vLLM's interleaved swiglu_oai has alpha 1.702 and limit 7 alone"
    if case.scope == "align":
        return "vLLM's alignment lays blocks out otherwise: filtered slots are in none of them"
    if case.weight_row_gap or case.weight_expert_gap or case.buffer_offset:
        return "vLLM's engine gives its kernels packed tensors on 16 bytes, and so does this"
    if case.expert_map != "none" or case.sentinel != "-1":
        return "vLLM's stages are called with the ids of this rank's experts, and -1"
    if case.mode == "no_combine" or case.fused_sum:
        return "vLLM always sums, in a kernel of its own"
    if case.layout != "route":
        return f"vLLM has no {case.layout} layout"
    if case.path == "chunked":
        return f"vLLM {KNOWN} has no loop over chunks of tokens"
    if case.rsf != 1 and case.scope in ("all", "combine"):
        return "vLLM applies routed_scaling_factor outside of its experts"
    if "tile_down=" in case.text:
        return "vLLM takes one tile for both GEMMs"
    if refusal := quantised.refusal(case, "vLLM") or lora.refusal(case, "vLLM"):
        return refusal
    if WORDS["lora"] == "own" and case.scope in lora.STAGES:
        return "a shrink and an expand of vLLM are one kernel; lora=two for each alone"
    return _fused_supports(case) if WORDS["mode"] == "fused" else None


def _fused_supports(case):
    if quantised.scheme(case) or lora.has(case):
        return "fused has neither quantised experts nor LoRA; use stages"
    if case.scope != "all":
        return "fused is from end to end: no single stage"
    if case.act == "clamp_silu" or _activation(case) == "SWIGLUOAI_UNINTERLEAVE":
        return f"fused_experts passes no limit on to {case.act}; use stages"
    if case.mode == "inplace":
        return f"fused_experts of vLLM {KNOWN} does not write into its input"
    return None


def contract(case):
    """sm_90 for the GEMMs and for its own sum; activations by the CUDA library, stood in for or not."""
    sums = tiles.promised() if vllm.native else tiles.reported()
    fields = [tiles.preset(), f"act.ulps=8 act.filtered=anything combine.bits={sums}"]
    fields.append(f"act.bits={tiles.promised()}")
    if case.act == "swiglu_oai" and case.interleaved:  # gate * (up + 1) / (1 + exp(-alpha gate))
        fields.append("act.function=cuda-math-product")
    else:
        fields.append("act.function=cuda-math")
        fields += ["act.rounding=gate-rounded"] if case.gated else []
    if case.act in ("swiglu_oai", "clamp_silu"):
        fields.append("act.clamp_nan=limit")
    if case.gated and (vllm.native or case.act == "clamp_silu"):  # times up + beta, beta = 0
        fields.append("act.up_plus_zero=1")
    if case.filter or case.ep_size > 1 or case.routing == "padded":
        fields.append("gate_up.filtered=untouched")
    if quantised.scheme(case):
        fields += quantised.contract(case, tiles.of_case(case), quantised.VLLM, vllm.quant,
                                     tiles.architecture() == 90)
    if lora.has(case):
        fields += vllm_lora.contract(case, WORDS["lora"] == "two")
    if WORDS["mode"] == "fused":
        fields.append("gate_up.bits=none act.bits=none down.bits=none combine.bits=none")
    return " ".join(fields + ([WORDS["contract"]] if WORDS["contract"] else []))


def exposes(case):
    if WORDS["mode"] == "fused":
        return ["out"]
    between = lora.BETWEEN if WORDS["lora"] == "two" else ()
    adapters = lora.LEFT + between if lora.has(case) else ()
    return [*quantised.LEFT, *adapters, "cache1", "cache2", "cache3", "out"]


# ---- the stages ----


def _experts(case, ids):
    """ids as the package wants them: -1 is an expert that a map sends elsewhere. (ids, experts, map)"""
    if not case.filter and case.ep_size == 1 and case.routing != "padded":
        return ids, case.E, None
    elsewhere = torch.where(ids < 0, torch.full_like(ids, case.E), ids)
    here = torch.arange(case.E + 1, device=ids.device, dtype=torch.int32)
    here[case.E] = -1
    return elsewhere, case.E + 1, here


def _assign(case, ids, tile):
    """Its way to the blocks: by its alignment, or for few slots one slot a block."""
    routed, experts, here = _experts(case, ids)
    kind = quantised.flags(case)
    return vllm.assign(routed, tile, case.M, case.topk, experts, here, use_int8_w8a16=kind["use_int8_w8a16"],
                       use_int4_w4a16=kind["use_int4_w4a16"], block_shape=kind["block_shape"],
                       ignore_invalid_experts=True)


def _multiply(case, a, w, bias, out, weights, route, by_weight, topk, tile, scales):
    """scales: of a, of w and the zero points of w, where the case is quantised."""
    dtype = vllm.moe.tl.bfloat16 if out.dtype == torch.bfloat16 else vllm.moe.tl.float16
    how, s = quantised.flags(case), quantised.scheme(case)
    a_scale, w_scale = quantised.as_taken(case, *scales[:2]) if s else (None, None)
    with tiles.fitting(tile):
        if s and s.group:  # by Triton: for few tokens vLLM has a CUDA kernel too, which is not called
            kind = {flag: how[flag] for flag in ("use_int8_w8a16", "use_int4_w4a16", "block_shape")}
            vllm.gemm_of_groups(a, w, out, w_scale, scales[2], weights, *route, by_weight,
                                topk, {**tile, "SPLIT_K": 1}, compute_type=dtype, **kind)
        else:
            vllm.gemm(a, w, out, a_scale, w_scale, weights, *route, by_weight, topk, tile, compute_type=dtype,
                      B_bias=bias, **how)


def _activate(case, x, out):
    limits = {}
    if case.act == "clamp_silu":
        limits = {"clamp_limit": case.limit}
    elif case.act == "swiglu_oai" and not case.interleaved:
        limits = {"clamp_limit": case.limit, "alpha": case.alpha, "beta": 1.0}
    if case.act == "relu2":
        x = x.clone()  # it is changed in place, and would no longer be what gate_up left
    vllm.activate(vllm.activation[_activation(case)], out, x,
                  activation_config=vllm.activation_config(**limits))


def _add_lora(case, gate_up, x, a, b, h, base, out, weights, told):
    """What adapters add to gate and up, or to down: out is base and that. h: what lies between, or None."""
    shrink, expand = ("shrink_gate_up", "expand_gate_up") if gate_up else ("shrink_down", "expand_down")
    if WORDS["lora"] == "own":
        out.copy_(base.view(out.shape))
        vllm.lora.one_call(case, gate_up, x, a, b, out, weights, told)
        return
    if case.scope in ("all", shrink):
        vllm.lora.shrink_alone(case, gate_up, x, a, h, weights, told)
    if case.scope in ("all", expand):
        out.copy_(base.view(out.shape))
        vllm.lora.expand_alone(case, gate_up, h, b, out, weights, told)


def stages(case, x=None, w1=None, w2=None, b1=None, b2=None, topk_weights=None, topk_ids=None, w1_scale=None,
           w2_scale=None, w1_zero=None, w2_zero=None, x_given_scale=None, cache2_given_scale=None,
           lora_a1=None, lora_b1=None, lora_a2=None, lora_b2=None, token_lora=None, adapter_enabled=None,
           x_codes=None, x_scale=None, x_tensor_scale=None, cache2_codes=None, cache2_scale=None,
           cache2_tensor_scale=None, cache1=None, cache1_hooked=None,
           lora_h1=None, cache2=None, cache3=None, cache3_hooked=None, lora_h2=None, out=None):
    """Each stage by its own kernel, into the tensors of the harness."""
    def has(*names):
        return case.scope in ("all", *names)

    tile = tiles.of_case(case)[0]
    clock = times.Clock(WORDS["times"] == "yes")
    if has("gate_up", "down"):
        with clock("align"):
            route = _assign(case, topk_ids, tile)
    if has(*lora.STAGES) and lora.has(case):
        told = vllm.lora.route(case, *_experts(case, topk_ids), token_lora, adapter_enabled,
                               vllm.lora.block_size(case))
    x_made, x_scale = quantised.which(x_scale, x_tensor_scale, x_given_scale)
    cache2_made, cache2_scale = quantised.which(cache2_scale, cache2_tensor_scale, cache2_given_scale)
    if has("quant_x") and x_codes is not None:
        with clock("quant_x"):
            quantised.keep(vllm.quant.quantise(case, x, x_given_scale), x_codes, x_made)
    if has("gate_up"):
        with clock("gate_up"):
            _multiply(case, x if x_codes is None else x_codes, w1, b1, cache1.view(case.M, case.topk, -1),
                      topk_weights, route, bool(case.apply_router_weight_on_input), case.topk, tile,
                      (x_scale, w1_scale, w1_zero))
    if has(*lora.STAGES[:2]) and lora.has(case):
        _add_lora(case, True, x, lora_a1, lora_b1, lora_h1, cache1, cache1_hooked, topk_weights, told)
    if has("act"):
        with clock("act"):
            _activate(case, cache1_hooked if lora.has(case) else cache1, cache2)
    if has("quant_act") and cache2_codes is not None:
        with clock("quant_act"):
            quantised.keep(vllm.quant.quantise(case, cache2, cache2_given_scale), cache2_codes, cache2_made)
    if has("down"):
        target = (out if cache3 is None else cache3).view(case.M, case.topk, -1)
        target.zero_()  # as it does where a map sends experts elsewhere
        with clock("down"):
            _multiply(case, cache2 if cache2_codes is None else cache2_codes, w2, b2, target, topk_weights,
                      route, not case.apply_router_weight_on_input, 1, tile,
                      (cache2_scale, w2_scale, w2_zero))
    if has(*lora.STAGES[2:]) and lora.has(case):
        cache3_hooked = out if cache3_hooked is None else cache3_hooked
        _add_lora(case, False, cache2, lora_a2, lora_b2, lora_h2, cache3, cache3_hooked, topk_weights, told)
        cache3 = cache3_hooked
    if has("combine") and cache3 is not None and cache3 is not out:
        with clock("combine"):
            vllm.moe.ops.moe_sum(cache3, out)
    clock.tell(case)


@contextlib.contextmanager
def _override(tile):
    if tile:
        vllm.overrides.append(tile)
    try:
        yield
    finally:
        vllm.overrides.clear()


def fused(case, x, w1, w2, topk_weights, topk_ids, out, b1=None, b2=None):
    """The public fused_experts, with a case's tile where it names one."""
    tile = tiles.config(case.tile) if " tile=" in case.text else None
    routed, experts, here = _experts(case, topk_ids)
    if WORDS["expects"] and not tile:
        tiles.expect(WORDS["expects"], case.M, *tuned(case)[:2])
    with _override(tile), tiles.fitting(tile):
        out.copy_(vllm.fused_experts(
            x, w1, w2, topk_weights, routed, vllm.activation[_activation(case)],
            bool(case.apply_router_weight_on_input), experts, here, unquantised(w1_bias=b1, w2_bias=b2)))


def tuned(case):
    """The tile that the package's tuned tables give for a batch of this size, for gate_up and for down."""
    tile = dict(vllm.choose((case.E, 2 * case.N, case.K), (case.E, case.K, case.N), case.topk,
                            quantised.table_of(case), case.M, quantised.flags(case)["block_shape"]))
    tile.pop("SPLIT_K", None)
    return tile, dict(tile), False


def main():
    if WORDS["tiles"] == "tuned" and not absent:
        tiles.use_tables(tuned)
    mode = {"stages": stages, "fused": fused}[WORDS["mode"]]
    subject = moeparity.subject(
        contract=contract, name="vllm " + WORDS["mode"], supports=supports, exposes=exposes,
        block_size_m=tiles.block_size_m, tensors=published.tensors(torch),
        version=vllm.package.version_line() if vllm else None)
    moeparity.main(subject(mode))


if __name__ == "__main__":
    main()
