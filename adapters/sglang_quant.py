# SPDX-License-Identifier: Apache-2.0
"""The quantisers of an installed sglang, and its fused GEMM on codes and scales that are given.

docs/adapters.md tells what is stood in for.
"""
import sys

from adapters import quantised, tiles

try:
    from adapters import stand_ins
except ImportError:
    stand_ins = None  # without torch nothing here is reached

FOLDER = "sglang.kernels.ops.quantization"
GIVEN = ("scaled_fp8_quant", "sglang_per_token_group_quant_int8", "per_token_quant_int8")


class SglangQuant:
    """The parts of the package that quantise, around the module of its fused kernels.

    package  adapters.published.Package
    kernels  its module fused_moe_triton_kernels, whose launcher quantises what it is given
    native   whether its CUDA kernels can be compiled here
    """

    by = "own"  # "triton": the int8 quantiser of groups that is written in Triton

    def __init__(self, package, kernels, native):
        self.kernels = kernels
        self.native = native
        if native:
            token = package.own(f"{FOLDER}.per_token_quant_fp8")
            package.stand_in("sglang.srt.utils.patch_torch", register_fake_if_exists=None)
            package.stand_in(FOLDER, sgl_per_token_quant_fp8=token.per_token_quant_fp8)
            self._again(package, "per_token_group_quant")
            fp8 = self._again(package, "fp8_kernel")
            self.fp8 = package.function(fp8, "scaled_fp8_quant", "input scale use_per_token_if_dynamic")
            self.fp8_group = package.function(fp8, "sglang_per_token_group_quant_fp8", "x group_size")
            int8 = self._again(package, "int8_kernel")
            self.int8 = package.function(int8, "per_token_quant_int8", "x")
            self.int8_group = package.function(int8, "sglang_per_token_group_quant_int8", "x group_size")
            self.int8_group_triton = package.function(int8, "per_token_group_quant_int8", "x group_size")
        else:
            package.note("its quantisers are ours in torch")
            self.fp8 = stand_ins.quantise_fp8
            self.fp8_group = stand_ins.quantise_fp8_group
            self.int8 = stand_ins.quantise_int8
            self.int8_group = self.int8_group_triton = stand_ins.quantise_int8_group

    @staticmethod
    def _again(package, name):
        """Its own module instead of that which the module of the kernels was given when it was imported."""
        sys.modules.pop(f"{FOLDER}.{name}", None)
        return package.own(f"{FOLDER}.{name}")

    def quantise(self, case, x, static=None):
        """(codes, scales) of x [rows, k], as the launcher makes them of its input. static: the scale of a
        scheme that has one, [1]."""
        s, size = quantised.scheme(case), quantised.group(case)
        if s.scales == "group" and s.flag == "use_fp8_w8a8":
            return self.fp8_group(x, size)
        if s.scales == "group":
            return (self.int8_group_triton if self.by == "triton" else self.int8_group)(x, size)
        if s.flag == "use_int8_w8a8":
            return self.int8(x)
        return self.fp8(x, static, use_per_token_if_dynamic=s.scales == "token")

    def given(self, scale):
        """Makes the launcher take codes for what they are: its quantisers hand back what they were given."""
        for name in GIVEN:
            setattr(self.kernels, name, lambda codes, *_, **__: (codes, scale))

    def variant(self, case, rows):
        """The name of the quantiser's formula for so many rows: a kernel of its own serves many tokens."""
        s = quantised.scheme(case)
        if s.scales == "token" and s.flag == "use_fp8_w8a8":
            return "sgl-fp8-token" if rows >= 16 * tiles.multiprocessors() else "sgl-fp8-token-few"
        if s.static:
            return "sgl-fp8-static"
        return {"use_fp8_w8a8": {"tensor": "sgl-fp8-tensor", "group": "sgl-fp8-group"},
                "use_int8_w8a8": {"token": "triton-int8-token",
                                  "group": "sgl-int8-group" + ("-triton" if self.by == "triton" else "")},
                }[s.flag][s.scales]
