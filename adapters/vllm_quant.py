# SPDX-License-Identifier: Apache-2.0
"""The quantisers of an installed vLLM. docs/adapters.md tells what is stood in for."""
from adapters import published, quantised

try:
    from adapters import stand_ins
except ImportError:
    stand_ins = None  # without torch nothing here is reached

FOLDER = "vllm.model_executor.layers.quantization.utils"
COMPILED = ("static_scaled_fp8_quant dynamic_scaled_fp8_quant dynamic_per_token_scaled_fp8_quant "
            "per_token_group_fp8_quant per_token_group_quant_int8")


class VllmQuant:
    """The parts of the package that quantise.

    package    adapters.published.Package
    operators  the name space of its compiled operators; None where they are not here
    """

    def __init__(self, package, operators):
        self.native = operators is not None and all(hasattr(operators, name) for name in COMPILED.split())
        if self.native:
            try:
                self._own(package)
                return
            except published.Absent as why:
                self.native = False
                package.note(str(why)[-80:])
        package.note("its quantisers are ours in torch")
        self.fp8 = stand_ins.quantise_fp8
        self.fp8_group = stand_ins.quantise_fp8_group
        self.int8 = stand_ins.quantise_int8
        self.int8_group = stand_ins.quantise_int8_group

    def _own(self, package):
        import torch
        package.stand_in(f"{FOLDER}.quant_utils", amax_for_moe_activation_quant=None,
                         get_fp8_min_max=lambda: (-448.0, torch.finfo(torch.float8_e4m3fn).max))
        package.stand_in(f"{FOLDER}.w8a8_utils", all_close_1d=None, per_tensor_dequantize=None)
        package.stand_in("vllm.model_executor.parameter", BlockQuantScaleParameter=None,
                         ChannelQuantScaleParameter=None, PerTensorScaleParameter=None)
        package.stand_in("vllm.model_executor.utils", set_weight_attrs=None)
        package.stand_in("vllm.utils.deep_gemm", get_tma_aligned_size=None,
                         is_deep_gemm_e8m0_used=lambda: False, transform_sf_into_required_layout=None)
        fp8, int8 = package.own(f"{FOLDER}.fp8_utils"), package.own(f"{FOLDER}.int8_utils")
        operators = package.own("vllm._custom_ops")
        self.fp8 = package.function(operators, "scaled_fp8_quant", "input scale use_per_token_if_dynamic")
        self.fp8_group = package.function(fp8, "per_token_group_quant_fp8", "x group_size")
        self.int8 = package.function(int8, "per_token_quant_int8", "x")
        self.int8_group = package.function(int8, "per_token_group_quant_int8", "x group_size")

    def quantise(self, case, x, static=None):
        """(codes, scales) of x [rows, k], as moe_kernel_quantize_input makes them. static: the scale of a
        scheme that has one, [1]."""
        s, size = quantised.scheme(case), quantised.group(case)
        if s.scales == "group":
            return (self.fp8_group if s.flag == "use_fp8_w8a8" else self.int8_group)(x, size)
        if s.flag == "use_int8_w8a8":
            return self.int8(x)
        return self.fp8(x, static, use_per_token_if_dynamic=s.scales == "token")

    def variant(self, case, _rows):
        """The name of the quantiser's formula."""
        s = quantised.scheme(case)
        if s.static:
            return "vllm-fp8-static"
        return {"use_fp8_w8a8": {"tensor": "vllm-fp8-tensor", "token": "vllm-fp8-token",
                                 "group": "vllm-fp8-group"},
                "use_int8_w8a8": {"token": "triton-int8-token", "group": "vllm-int8-group"},
                }[s.flag][s.scales]
