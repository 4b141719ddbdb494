# SPDX-License-Identifier: Apache-2.0
"""The parts of an installed vLLM that adapters/vllm.py calls, without the engine around them.

docs/adapters.md tells what is stood in for.
"""
import glob
import math
import os
import sys
from types import SimpleNamespace

from adapters import published, quantised, tiles
from adapters.vllm_lora import VllmLora
from adapters.vllm_quant import VllmQuant

try:
    import torch
    from adapters import stand_ins
except ImportError:
    torch = None

KNOWN = "0.33.0"
FOLDER = "vllm.model_executor.layers.fused_moe"


def _engine(package):
    """Stands in for what the kernel files ask of an engine: a CUDA device, no flags set, nothing logged."""
    def quiet(*_, **__):
        return None

    logger = SimpleNamespace(**{level: quiet for level in (
        "debug", "info", "warning", "error", "debug_once", "info_once", "warning_once")})
    platform = SimpleNamespace(
        is_cuda=lambda: True, is_cuda_alike=lambda: True, fp8_dtype=lambda: torch.float8_e4m3fn,
        import_kernels=quiet,  # what it loads is loaded below
        is_device_capability=lambda sm, *_: tiles.architecture() == sm,
        has_device_capability=lambda sm, *_: tiles.architecture() >= sm,
        num_compute_units=lambda *_: tiles.multiprocessors(),
        **{f"is_{name}": (lambda: False) for name in ("rocm", "xpu", "cpu", "tpu", "fp8_fnuz")})
    import triton
    package.stand_in("vllm.logger", init_logger=lambda *_: logger)
    package.stand_in("vllm.platforms", current_platform=platform)
    package.stand_in("vllm.envs", VLLM_BATCH_INVARIANT=False, VLLM_ROCM_FP8_MFMA_PAGE_ATTN=False,
                     VLLM_TUNED_CONFIG_FOLDER=os.environ.get("VLLM_TUNED_CONFIG_FOLDER"))
    package.stand_in("vllm.triton_utils", triton=triton, tl=triton.language, HAS_TRITON=True)
    package.stand_in("vllm.utils")
    package.stand_in("vllm.utils.platform_utils", get_device_name_as_file_name=lambda *_:
                     tiles.device_name().replace(" ", "_").replace("/", "_"))
    package.stand_in("vllm.utils.torch_utils", direct_register_custom_op=_register)
    package.stand_in("vllm.utils.flashinfer", flashinfer_quant_nvfp4_8x4_sf_layout=None)
    override = []
    package.stand_in(FOLDER, get_config=lambda: override[-1] if override else None)
    package.stand_in(FOLDER + ".modular_kernel", FusedMoEExpertsModular=SimpleNamespace(
        adjust_N_for_activation=lambda n, activation: n // 2 if activation.is_gated else n))
    package.stand_in(FOLDER + ".config", FUSED_MOE_UNQUANTIZED_CONFIG=unquantised(),
                     FusedMoEQuantConfig=SimpleNamespace,
                     _get_config_dtype_str=lambda dtype, **_: "float32" if dtype == torch.float32 else None)
    package.stand_in(FOLDER + ".utils", enable_swap_ab=_swaps, resolve_moe_use_td=lambda: False,
                     warn_if_moe_use_td_ineffective=quiet,
                     moe_kernel_quantize_input=lambda A, A_scale, **_: (A, A_scale))
    return override


def _swaps(block_size_m, block_size_n):
    """As its own function: on sm_90 alone an fp8 GEMM of few rows is computed as its transpose."""
    return tiles.architecture() == 90 and quantised.swaps(
        {"BLOCK_SIZE_M": block_size_m, "BLOCK_SIZE_N": block_size_n})


def unquantised(**biases):
    """A quantisation of nothing, as the package's functions take it."""
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

    def between(x, low, high):  # as fminf and fmaxf: of a NaN the limit becomes
        return torch.fmax(torch.fmin(x.float(), torch.tensor(high, device=x.device)),
                          torch.tensor(low, device=x.device))

    def swiglu(out, x, alpha=1.702, limit=7.0):
        gate, up = between(x[..., ::2], -math.inf, limit), between(x[..., 1::2], -limit, limit)
        out.copy_((up + 1) * gate / (1 + torch.exp(-gate * alpha)))

    def clamped(out, x, limit, alpha=1.0, beta=0.0):
        gate, up = stand_ins.halves(x)
        gate, up = between(gate, -math.inf, limit), between(up, -limit, limit)
        activated = (gate / (1 + torch.exp(-gate * alpha))).to(x.dtype)
        out.copy_(activated.float() * (up + beta))

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
        self.gemm_of_groups = package.function(
            moe, "invoke_fused_moe_wna16_triton_kernel",
            "A B C B_scale B_zp topk_weights sorted_token_ids expert_ids num_tokens_post_padded "
            "mul_routed_weight top_k config compute_type use_int8_w8a16 use_int4_w4a16 block_shape")
        self.quant = VllmQuant(package, torch.ops._C if self.native else None)
        self.lora = VllmLora(package, self.native and hasattr(torch.ops._moe_C, "moe_lora_align_block_size"))
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
