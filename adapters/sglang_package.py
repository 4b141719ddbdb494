# SPDX-License-Identifier: Apache-2.0
"""The parts of an installed sglang that adapters/sglang.py calls, without the engine around them.

docs/adapters.md tells what is stood in for.
"""
import contextlib
import importlib.util
import logging
import os
import shutil
import sys
from types import SimpleNamespace

from adapters import published, tiles
from adapters.sglang_lora import SglangLora
from adapters.sglang_quant import SglangQuant

try:
    import torch
    from adapters import stand_ins
except ImportError:
    torch = None

KNOWN = "0.5.23"
FUSED_MOE = "sglang.srt.layers.moe.moe_runner.triton_utils"


def _engine(package):
    """Stands in for what the kernel files ask of an engine: it is a CUDA device, no server runs, nothing is
    deterministic or batch invariant by flag, and there is one rank."""
    cuda = {f"is_{name}": (lambda: False) for name in ("cpu", "hip", "musa", "xpu", "npu")}
    cuda.update(is_cuda=lambda: True, cpu_has_amx_support=lambda: False,
                is_sm90_supported=lambda *_: tiles.architecture() == 90,
                is_blackwell_supported=lambda *_: tiles.architecture() >= 100,
                ceil_align=lambda a, b: -(-a // b) * b,
                get_bool_env_var=lambda name, default="false": os.environ.get(name, default) in ("1", "true"),
                get_device_name=lambda *_: tiles.device_name())
    package.stand_in("sglang.srt.utils", **cuda)
    package.stand_in("sglang.srt.utils.common", **cuda, get_cuda_version=_cuda_version,
                     direct_register_custom_op=lambda **_: None)
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
        raise RuntimeError(f"{name}: what is multiplied is quantised before (adapters/sglang_quant.py)")

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
        self.quant = SglangQuant(package, kernels, self.native)
        if native:
            activations = native[0]
        else:
            package.note(f"ours for its CUDA activations and alignment ({why})")
            activations = package.stand_in("sglang.kernels.ops.activation.activation", **_activations())
        self.activations = activations
        package.own(FUSED_MOE + ".fused_moe")
        self.lora = SglangLora(package, self.native)
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
