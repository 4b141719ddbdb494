#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Triton MoE of an installed vLLM as a subject.

    moeparity run cases/seed.yaml --subject 'worker:python3 adapters/vllm.py stages'

stages: each stage by the package's own kernel, all tensors shown but those of the alignment; fused: its
public fused_experts from end to end, the output alone, with the package's tuned tables. contract='...' sets
fields that differ from the contract.

docs/adapters.md tells what is stood in for.
"""
import contextlib
import glob
import os
import sys
from types import SimpleNamespace

# This file has the name of the package: what is imported below must not find it instead.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import moeparity  # noqa: E402
from adapters import published, tiles  # noqa: E402

try:
    import torch
    from adapters import stand_ins
except ImportError:
    torch = None

KNOWN = "0.33.0"
FOLDER = "vllm.model_executor.layers.fused_moe"


# ---- the package ----


def _engine(package):
    """Stands in for what the kernel files ask of an engine: a CUDA device, no flags set, nothing logged, no
    quantisation."""
    def quiet(*_, **__):
        return None

    logger = SimpleNamespace(**{level: quiet for level in (
        "debug", "info", "warning", "error", "debug_once", "info_once", "warning_once")})
    platform = SimpleNamespace(
        is_cuda=lambda: True, is_cuda_alike=lambda: True, fp8_dtype=lambda: torch.float8_e4m3fn,
        import_kernels=quiet,  # what it loads is loaded below
        **{f"is_{name}": (lambda: False) for name in ("rocm", "xpu", "cpu", "tpu")})
    import triton
    package.stand_in("vllm.logger", init_logger=lambda *_: logger)
    package.stand_in("vllm.platforms", current_platform=platform)
    package.stand_in("vllm.envs", VLLM_BATCH_INVARIANT=False, VLLM_ROCM_FP8_MFMA_PAGE_ATTN=False,
                     VLLM_TUNED_CONFIG_FOLDER=os.environ.get("VLLM_TUNED_CONFIG_FOLDER"))
    package.stand_in("vllm.triton_utils", triton=triton, tl=triton.language, HAS_TRITON=True)
    package.stand_in("vllm.triton_utils.allocation", set_triton_allocator=quiet)
    package.stand_in("vllm.utils")
    package.stand_in("vllm.utils.platform_utils", get_device_name_as_file_name=lambda *_:
                     tiles.device_name().replace(" ", "_").replace("/", "_"))
    package.stand_in("vllm.utils.torch_utils", direct_register_custom_op=_register)
    package.stand_in("vllm.utils.flashinfer", flashinfer_quant_nvfp4_8x4_sf_layout=None)
    override = []
    package.stand_in(FOLDER, get_config=lambda: override[-1] if override else None)
    package.stand_in(FOLDER + ".modular_kernel", FusedMoEExpertsModular=SimpleNamespace(
        adjust_N_for_activation=lambda n, activation: n // 2 if activation.is_gated else n))
    package.stand_in(FOLDER + ".config", FUSED_MOE_UNQUANTIZED_CONFIG=_unquantised(),
                     FusedMoEQuantConfig=SimpleNamespace,
                     _get_config_dtype_str=lambda dtype, **_: "float32" if dtype == torch.float32 else None)
    package.stand_in(FOLDER + ".utils", enable_swap_ab=lambda *_: False, resolve_moe_use_td=lambda: False,
                     warn_if_moe_use_td_ineffective=quiet,
                     moe_kernel_quantize_input=lambda A, A_scale, **_: (A, A_scale))
    return override


def _unquantised(**biases):
    names = ("use_fp8_w8a8 use_int8_w8a8 use_int8_w8a16 use_int4_w4a16 ocp_mx_scheme per_act_token_quant "
             "w1_scale w2_scale w1_zp w2_zp a1_scale a2_scale block_shape w1_bias w2_bias")
    fields = {name: False if name.startswith(("use", "per")) else None for name in names.split()}
    return SimpleNamespace(**{**fields, **biases})


def _register(op_name, op_func, mutates_args=(), **_):
    """An operator of torch in vllm's name space, where fused_experts looks for it."""
    library = torch.library.Library("vllm", "FRAGMENT")
    library.define(op_name + torch.library.infer_schema(op_func, mutates_args=list(mutates_args)))
    library.impl(op_name, op_func, "CompositeExplicitAutograd")
    _register.kept.append(library)  # it unregisters when it is collected


_register.kept = []


class _Operators:
    """The native operators of vllm._custom_ops that are used here, in torch."""

    @staticmethod
    def moe_sum(x, out):
        torch.sum(x, dim=1, out=out)

    @staticmethod
    def moe_align_block_size(ids, experts, block_size, sorted_ids, expert_ids, padded, expert_map=None, *_):
        """With a map the slots of experts that are elsewhere are left out; without one each id counts."""
        if expert_map is not None:
            ids = expert_map[ids.long()]
        inside = torch.where((ids < 0) | (ids >= experts), torch.full_like(ids, -1), ids)
        filtered = int((inside < 0).sum())
        first = -(-filtered // block_size) * block_size
        s, e, p = stand_ins.align(inside, block_size, experts, sorted_ids.numel() + first)
        sorted_ids.copy_(s[first:]), padded.copy_(p - first)
        expert_ids.copy_(e[first // block_size :][: expert_ids.numel()])


def _activations():
    """Stand-ins for the CUDA activations, which round the activated gate to the element type."""
    gelu, silu = torch.nn.functional.gelu, torch.nn.functional.silu

    def swiglu(out, x, alpha=1.702, limit=7.0):
        gate, up = x[..., ::2].float().clamp(max=limit), x[..., 1::2].float().clamp(-limit, limit)
        out.copy_(gate * torch.sigmoid(alpha * gate) * (up + 1))

    def clamped(out, x, limit, alpha=1.0, beta=0.0):
        gate, up = (half.float() for half in stand_ins.halves(x))
        gate, up = gate.clamp(max=limit), up.clamp(-limit, limit)
        out.copy_(gate * torch.sigmoid(alpha * gate) * (up + beta))

    def rounded(activation):
        return lambda out, x: stand_ins.gate_rounded(activation, x, out)

    return {"silu_and_mul": rounded(silu), "gelu_and_mul": rounded(gelu),
            "gelu_tanh_and_mul": rounded(lambda g: gelu(g, approximate="tanh")),
            "swigluoai_and_mul": swiglu, "silu_and_mul_with_clamp": clamped}


class _OpsOf:
    """torch.ops for one file of the package: the name space _C is what is given."""

    def __init__(self, activations):
        self._C = SimpleNamespace(**activations)

    def __getattr__(self, name):
        return getattr(torch.ops, name)


class Vllm:
    """The parts of the package that are used. Absent where one is lacking."""

    def __init__(self):
        package = self.package = published.Package("vllm", KNOWN)
        self.overrides = _engine(package)
        self.native = self._native_library()
        activation = package.own(FOLDER + ".activation")
        if not self.native:
            activation.torch = _Torch(_OpsOf(_activations()))
        self.activate = package.function(activation, "apply_moe_activation",
                                         "activation output input activation_config")
        self.activation = activation.MoEActivation
        self.activation_config = activation.ApplyMoEActivationConfig
        moe = self.moe = package.own(FOLDER + ".fused_moe")
        self.gemm = package.function(
            moe, "invoke_fused_moe_triton_kernel",
            "A B C A_scale B_scale topk_weights sorted_token_ids expert_ids num_tokens_post_padded "
            "mul_routed_weight top_k config compute_type use_fp8_w8a8 use_int8_w8a8 use_int8_w8a16 "
            "use_int4_w4a16 per_channel_quant block_shape B_bias")
        self.assign = package.function(
            moe, "_prepare_expert_assignment",
            "topk_ids config num_tokens top_k_num global_num_experts expert_map ignore_invalid_experts")
        self.fused_experts = package.function(
            moe, "fused_experts", "hidden_states w1 w2 topk_weights topk_ids activation "
            "apply_router_weight_on_input global_num_experts expert_map quant_config")
        self.choose = package.function(moe, "try_get_optimal_moe_config", "w1_shape w2_shape top_k dtype M")

    def _native_library(self):
        """Loads its compiled operators, as its own platform would, and the package's text that calls them.
        Where they cannot be had: ours in torch, and why."""
        try:
            for name, operators in (("_C", "silu_and_mul gelu_and_mul gelu_tanh_and_mul"),
                                    ("_moe_C", "moe_sum moe_align_block_size")):
                libraries = glob.glob(os.path.join(glob.escape(self.package.root), name + "*.so"))
                for library in libraries:
                    torch.ops.load_library(library)
                missing = [o for o in operators.split() if not hasattr(getattr(torch.ops, name), o)]
                if missing:
                    raise published.Absent(f"{name}: {'no ' + missing[0] if libraries else 'not installed'}")
            self.package.own("vllm._custom_ops")
            return True
        except Exception as error:
            why = (str(error).splitlines() or [repr(error)])[0][-80:]
            sys.modules.pop("vllm._custom_ops", None)
            self.package.stand_in("vllm._custom_ops", moe_sum=_Operators.moe_sum,
                                  moe_align_block_size=_Operators.moe_align_block_size)
            self.package.note(f"its compiled activations, alignment and sum are ours in torch ({why})")
            return False


class _Torch:
    """The module torch with other operators."""

    def __init__(self, ops):
        self.ops = ops

    def __getattr__(self, name):
        return getattr(torch, name)


WORDS = published.words({"mode": ["stages", "fused"], "contract": None})
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
    if case.scope in ("all", "act") and not _activation(case):
        return f"vLLM has no activation {case.act} with gated={int(case.gated)} in its Triton MoE"
    if case.scope in ("all", "act") and case.gated and case.act != "swiglu_oai" and case.interleaved:
        return "vLLM takes gate and up as halves but for swiglu_oai"
    if case.scope in ("all", "act") and case.act == "swiglu_oai" and case.interleaved and \
            (case.alpha, case.limit) != (1.702, 7):
        return "vLLM's interleaved swiglu_oai has alpha 1.702 and limit 7 alone"
    if case.scope == "align":
        return "vLLM's alignment lays blocks out otherwise: filtered slots are in none of them"
    if case.mode == "no_combine" or case.fused_sum:
        return "vLLM always sums, in a kernel of its own"
    if case.layout == "sorted":
        return "vLLM has no sorted layout"
    if case.path == "chunked":
        return f"vLLM {KNOWN} has no loop over chunks of tokens"
    if case.rsf != 1 and case.scope in ("all", "combine"):
        return "vLLM applies routed_scaling_factor outside of its experts"
    if "tile_down=" in case.text:
        return "vLLM takes one tile for both GEMMs"
    if WORDS["mode"] == "fused":
        return _fused_supports(case)
    return None


def _fused_supports(case):
    if case.scope != "all":
        return "fused is from end to end: no single stage"
    if case.act == "clamp_silu" or _activation(case) == "SWIGLUOAI_UNINTERLEAVE":
        return f"fused_experts passes no limit on to {case.act}; use stages"
    if case.mode == "inplace":
        return f"fused_experts of vLLM {KNOWN} does not write into its input"
    return None


def contract(case):
    """sm_90 for the GEMMs and for its own sum; activations as torch makes them, stood in for or not."""
    sums = tiles.promised() if vllm.native else tiles.reported()
    fields = [tiles.preset(), f"act.ulps=8 act.filtered=anything combine.bits={sums}"]
    if case.gated and case.act in ("swiglu_oai", "clamp_silu"):
        fields.append("act.function=library act.bits=none")
    else:
        fields.append(f"act.function=cuda-math act.bits={tiles.promised()}")
    if case.gated and case.act in ("silu", "gelu", "gelu_tanh"):
        fields.append("act.rounding=gate-rounded")
    if case.filter or case.ep_size > 1 or case.routing == "padded":
        fields.append("gate_up.filtered=untouched")
    if WORDS["mode"] == "fused":
        fields.append("gate_up.bits=none act.bits=none down.bits=none combine.bits=none")
    return " ".join(fields + ([WORDS["contract"]] if WORDS["contract"] else []))


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
    return vllm.assign(routed, tile, case.M, case.topk, experts, here, ignore_invalid_experts=True)


def _multiply(case, a, w, bias, out, weights, route, by_weight, topk, tile):
    dtype = vllm.moe.tl.bfloat16 if out.dtype == torch.bfloat16 else vllm.moe.tl.float16
    with tiles.fitting(tile):
        vllm.gemm(a, w, out, None, None, weights, *route, by_weight, topk, tile, compute_type=dtype,
                  use_fp8_w8a8=False, use_int8_w8a8=False, use_int8_w8a16=False, use_int4_w4a16=False,
                  per_channel_quant=False, block_shape=None, B_bias=bias)


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


def stages(case, x=None, w1=None, w2=None, b1=None, b2=None, topk_weights=None, topk_ids=None, cache1=None,
           cache2=None, cache3=None, out=None):
    """Each stage by its own kernel, into the tensors of the harness."""
    def has(stage):
        return case.scope in ("all", stage)

    tile, _ = tiles.of_case(case)
    if case.scope in ("all", "gate_up", "down"):
        route = _assign(case, topk_ids, tile)
    if has("gate_up"):
        _multiply(case, x, w1, b1, cache1.view(case.M, case.topk, -1), topk_weights, route,
                  bool(case.apply_router_weight_on_input), case.topk, tile)
    if has("act"):
        _activate(case, cache1, cache2)
    if has("down"):
        target = (out if cache3 is None else cache3).view(case.M, case.topk, -1)
        target.zero_()  # as it does where a map sends experts elsewhere
        _multiply(case, cache2, w2, b2, target, topk_weights, route, not case.apply_router_weight_on_input, 1,
                  tile)
    if has("combine") and cache3 is not None:
        vllm.moe.ops.moe_sum(cache3, out)


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
    with _override(tile), tiles.fitting(tile):
        out.copy_(vllm.fused_experts(
            x, w1, w2, topk_weights, routed, vllm.activation[_activation(case)],
            bool(case.apply_router_weight_on_input), experts, here, _unquantised(w1_bias=b1, w2_bias=b2)))


def tuned(case):
    """The tile that the package's tuned tables give for a batch of this size, for gate_up and for down."""
    tile = dict(vllm.choose((case.E, 2 * case.N, case.K), (case.E, case.K, case.N), case.topk, None, case.M))
    tile.pop("SPLIT_K", None)
    return tile, dict(tile), False


def main():
    mode = {"stages": stages, "fused": fused}[WORDS["mode"]]
    shown = ["out"] if WORDS["mode"] == "fused" else ["cache1", "cache2", "cache3", "out"]
    subject = moeparity.subject(
        contract=contract, name="vllm " + WORDS["mode"], supports=supports, exposes=shown,
        version=vllm.package.version_line() if vllm else None, tensors=published.tensors(torch))
    moeparity.main(subject(mode))


if __name__ == "__main__":
    main()
