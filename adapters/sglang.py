#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Triton MoE of an installed sglang as a subject.

    moeparity run cases/seed.yaml --subject 'worker:python3 adapters/sglang.py stages'

stages: each stage by the package's own kernel, all tensors shown; fused: its public fused_experts from end
to end, the output alone, with the package's tuned tables. Words behind it:

    act=own|triton       silu and gelu_tanh by its CUDA kernels; by its Triton kernel, which rounds the gate
    combine=own|triton|torch   the sum that the package would choose, its Triton kernel, torch.sum
    contract='...'       fields that differ from the contract, `contract='act.bits=reported'`

docs/adapters.md tells what is stood in for.
"""
import contextlib
import importlib.util
import logging
import os
import shutil
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

KNOWN = "0.5.23"
FUSED_MOE = "sglang.srt.layers.moe.moe_runner.triton_utils"


# ---- the package ----


def _engine(package):
    """Stands in for what the kernel files ask of an engine: it is a CUDA device, no server runs, nothing is
    deterministic or batch invariant by flag, and there is one rank."""
    cuda = {f"is_{name}": (lambda: False) for name in ("cpu", "hip", "musa", "xpu", "npu")}
    cuda.update(is_cuda=lambda: True, cpu_has_amx_support=lambda: False,
                is_sm90_supported=lambda *_: tiles.architecture() == 90,
                get_bool_env_var=lambda name, default="false": os.environ.get(name, default) in ("1", "true"),
                get_device_name=lambda *_: tiles.device_name())
    package.stand_in("sglang.srt.utils", **cuda)
    package.stand_in("sglang.srt.utils.common", **cuda, get_cuda_version=_cuda_version)
    package.stand_in("sglang.srt.utils.custom_op", register_custom_op=_plain)
    package.stand_in("sglang.srt.batch_invariant_ops", is_batch_invariant_mode_enabled=lambda: False)
    package.stand_in("sglang.srt.layers.moe.utils", get_moe_padding_size=lambda *_: 0,
                     get_moe_runner_backend=lambda: SimpleNamespace(is_triton=lambda: True))
    package.stand_in("sglang.srt.layers.moe.moe_runner", MoeRunnerConfig=SimpleNamespace)
    package.stand_in("sglang.srt.layers.dp_attention", is_allocation_symmetric=lambda: False)
    package.stand_in("sglang.srt.distributed.device_communicators.pynccl_allocator",
                     use_symmetric_memory=lambda *_, **__: contextlib.nullcontext())
    if not hasattr(logging.Logger, "warning_once"):  # an engine that starts gives its loggers this method
        logging.Logger.warning_once = lambda *_, **__: None
    flags = SimpleNamespace(moe=SimpleNamespace(enable_fused_moe_sum_all_reduce=False),
                            deterministic=SimpleNamespace(enable_deterministic_inference=False))
    package.stand_in("sglang.srt.runtime_context", get_exec=lambda: flags,
                     get_parallel=lambda: SimpleNamespace(tp_group=None))
    for name in ("kernels", "kernels.ops", "kernels.ops.moe", "kernels.ops.activation"):
        package.stand_in(f"sglang.{name}", moe_align_block_size=None)  # registries of all its kernels
    for name, operators in (
        ("fp8_kernel", "per_token_group_quant_fp8 scaled_fp8_quant sglang_per_token_group_quant_fp8"),
        ("int8_kernel", "per_token_group_quant_int8 per_token_quant_int8 sglang_per_token_group_quant_int8"),
        ("per_token_group_quant", "per_token_group_quant"),
    ):
        package.stand_in(f"sglang.kernels.ops.quantization.{name}",
                         **{op: _not_here(op) for op in operators.split()})
    return flags


def _plain(function=None, **_):
    """Instead of a registration as an operator of torch: the function as it is."""
    return function if function else lambda f: f


def _cuda_version():
    return tuple(int(part) for part in (torch.version.cuda or "0.0").split("."))


def _not_here(name):
    def refuse(*_, **__):
        raise moeparity.Unsupported(f"{name}: quantisation is no part of this adapter")

    return refuse


def _native_parts(package):
    """The CUDA kernels that the package compiles when they are first called: its activations and its
    alignment. None where they cannot be compiled here, and why."""
    if importlib.util.find_spec("tvm_ffi") is None:
        return None, "tvm_ffi is not installed"
    if not torch.cuda.is_available():
        return None, "there is no GPU"
    if not shutil.which("nvcc") and not os.path.exists("/usr/local/cuda/bin/nvcc"):
        return None, "there is no nvcc"
    try:
        activation = package.own("sglang.kernels.ops.activation.activation")
        align = package.own("sglang.kernels.ops.moe.moe_align")
        activation.activation_module(torch.bfloat16)  # compiles it: what fails here would fail in every case
        align._jit_moe_align_module(torch.int32)
        return (activation, align), ""
    except Exception as error:
        said = str(error).splitlines()[:1] or [repr(error)]
        return None, f"they cannot be compiled here: {said[0][:120]}"


class Sglang:
    """The parts of the package that are used. Absent where one is lacking."""

    def __init__(self):
        package = self.package = published.Package("sglang", KNOWN)
        self.flags = _engine(package)
        torch._dynamo.config.recompile_limit = 256  # else some cases would run uncompiled: other arithmetic
        try:
            package.own("sglang.kernels.jit.utils")
        except published.Absent as why:  # what compiles its CUDA kernels; its Triton kernels ask it for this
            package.stand_in("sglang.kernels.jit.utils", is_arch_support_pdl=lambda: False)
            unable = str(why)
        else:
            unable = ""
        kernels = package.own("sglang.kernels.ops.moe.fused_moe_triton_kernels")
        self.gemm = package.function(
            kernels, "invoke_fused_moe_kernel",
            "A B bias C A_scale B_scale B_zp topk_weights topk_ids sorted_token_ids expert_ids "
            "num_tokens_post_padded mul_routed_weight top_k config compute_type use_fp8_w8a8 use_int8_w8a8 "
            "use_int8_w8a16 use_int4_w4a16 per_channel_quant a_use_tma b_use_tma c_sorted filter_expert "
            "fuse_sum_all_reduce router_topk")
        self.triton_act = package.function(
            kernels, "act_and_mul_triton",
            "gateup_output down_input config topk_ids expert_ids down_moe_use_tma activation swiglu_limit")
        self.triton_sum = package.function(kernels, "moe_sum_reduce_triton",
                                           "input output routed_scaling_factor")
        native, why = (None, unable[-80:]) if unable else _native_parts(package)
        self.native = native is not None
        self._native_library()
        if native:
            activations = native[0]
        else:
            package.note(f"ours for its CUDA activations and alignment ({why})")
            activations = package.stand_in("sglang.kernels.ops.activation.activation", **_activations())
        self.activations = activations
        package.own(FUSED_MOE + ".fused_moe")
        self.align_module = sys.modules[FUSED_MOE + ".moe_align_block_size"]
        self.align_module.sgl_moe_align_block_size = self._align_by(native[1] if native else None)
        self.sequence = sys.modules[FUSED_MOE + ".fused_moe"]
        self.align = package.function(self.align_module, "moe_align_block_size",
                                      "topk_ids block_size num_experts")
        self.combine = package.function(
            self.sequence, "moe_combine_topk",
            "intermediate_cache3 out_hidden_states routed_scaling_factor no_combine "
            "use_fused_moe_sum_all_reduce out_slice _use_intermediate")
        self.fused_experts = package.function(
            self.sequence, "fused_experts", "hidden_states w1 w2 topk_output moe_runner_config b1 b2")
        self.choose = package.function(self.sequence, "try_get_optimal_moe_config",
                                       "w1_shape w2_shape top_k dtype M return_down_config")
        self.override = package.own(FUSED_MOE).override_config

    def _native_library(self):
        """sgl_kernel, whose sum of many tokens has no text in the package."""
        try:
            import sgl_kernel
            if hasattr(sgl_kernel, "moe_sum_reduce"):
                self.package.note(f"sgl_kernel {getattr(sgl_kernel, '__version__', 'of unknown version')}")
                return
            why = "it has no moe_sum_reduce"
        except Exception as error:
            why = str(error).splitlines()[0][:60] if str(error) else repr(error)
        self.package.note(f"its Triton sum for sgl_kernel's ({why})")
        published.Package.stand_in(self.package, "sgl_kernel", moe_sum_reduce=lambda x, out, rsf:
                                   self.triton_sum(x, out, rsf))

    def _align_by(self, compiled):
        def ours(ids, buckets, block_size, sorted_ids, expert_ids, padded, *_):
            s, e, p = stand_ins.align(ids, block_size, buckets - 1, sorted_ids.numel())
            sorted_ids.copy_(s), expert_ids.copy_(e[: expert_ids.numel()]), padded.copy_(p)

        def theirs(ids, buckets, block_size, sorted_ids, expert_ids, padded, cumsum, pad, ignore=False):
            compiled.moe_align_block_size(ids, buckets, block_size, sorted_ids, expert_ids, padded, cumsum,
                                          pad)

        return theirs if compiled else ours


def _activations():
    """Stand-ins for the CUDA activations, all rows of them: filtered ones too."""
    gelu = torch.nn.functional.gelu

    def fast_silu(x, out, *_, **__):
        stand_ins.fast_silu(x, out)

    def by(activation, rule=stand_ins.rounded_once):
        return lambda x, out, *_, **__: rule(activation, x, out)

    return {"silu_and_mul": fast_silu, "gelu_and_mul": by(gelu),
            "gelu_tanh_and_mul": by(lambda g: gelu(g, approximate="tanh")),
            "silu_and_mul_with_activation_rounding": by(torch.nn.functional.silu, stand_ins.gate_rounded)}


WORDS = published.words({"mode": ["stages", "fused"], "act": ["own", "triton"],
                         "combine": ["own", "triton", "torch"], "contract": None})
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
    # --use_fast_math: tanhf becomes tanh.approx, which is off by up to 2^-11 of its value. Triton's tanh is
    # made of its sigmoid by a difference, whose error is of that size too.
    ulps = 8192 if case.act == "gelu_tanh" else 108
    if cuda and not sglang.native and case.act != "silu":
        fields = "act.function=cuda-math act.ulps=8"
    elif cuda:
        fields = f"act.function=cuda-fast-math act.ulps={ulps}"
    elif triton:
        fields = f"act.function=triton act.rounding=gate-rounded act.ulps={ulps}"
    elif case.act == "silu_clamp":  # by torch.compile, whose exp is the CUDA library's
        fields = "act.function=cuda-math act.ulps=8"
    elif case.act == "swiglu_oai":
        fields = "act.function=special-unit act.ulps=108"
    else:
        fields = "act.function=cuda-math act.ulps=8"
    if not (triton or cuda and sglang.native):
        fields += " act.filtered=anything padding=anything"
    elif triton and case.layout == "sorted":
        fields += " padding=anything"
    measured = cuda and sglang.native and case.act in ("silu", "gelu")
    return f"{fields} act.bits={tiles.promised() if measured else tiles.reported()}"


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
        weighted = not case.apply_router_weight_on_input and case.mode != "no_combine"
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
        no_combine=case.mode == "no_combine", no_combine_keep_router_weight=False,
        activation="silu" if case.act in ("swiglu_oai", "silu_clamp", "clamp_silu") else case.act,
        is_gated=bool(case.gated), apply_router_weight_on_input=bool(case.apply_router_weight_on_input),
        routed_scaling_factor=case.rsf, gemm1_alpha=case.alpha if swiglu else None,
        gemm1_clamp_limit=case.limit if swiglu or case.act == "silu_clamp" else None,
        swiglu_limit=case.limit if case.act == "clamp_silu" else None,
        gate_up_interleaved=bool(case.interleaved))
    told = tiles.config(case.tile) if " tile=" in case.text else None
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
