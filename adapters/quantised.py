# SPDX-License-Identifier: Apache-2.0
"""Quantised experts as the fused Triton kernels of both packages take them, and what such a GEMM promises.

Both packages have the launcher's flags, the shapes of codes and scales and the places of the roundings from
one source; what differs between them is told by a Rules.
"""
from typing import NamedTuple

BLOCK = 128  # rows and columns of a weight that share a scale, and the group of activations

# What the quantisers of activations leave.
LEFT = ("x_codes", "x_scale", "x_tensor_scale", "cache2_codes", "cache2_scale", "cache2_tensor_scale")

FLAGS = ("use_fp8_w8a8", "use_int8_w8a8", "use_int8_w8a16", "use_int4_w4a16")


class Scheme(NamedTuple):
    """A scheme in the words of the launcher.

    flag    the one of FLAGS that is True
    scales  what an activation scale is of: "tensor", "token", "group"; None: activations stay as they are
    static  the activation scale is an input
    group   weights have a scale for each group of columns, and are made numbers of the model's type before
            they are multiplied
    """
    flag: str
    scales: str | None
    static: bool = False
    group: bool = False


SCHEMES = {
    "fp8-tensor": Scheme("use_fp8_w8a8", "tensor"),
    "fp8-tensor-static": Scheme("use_fp8_w8a8", "tensor", static=True),
    "fp8-channel": Scheme("use_fp8_w8a8", "token"),
    "fp8-block": Scheme("use_fp8_w8a8", "group"),
    "int8-channel": Scheme("use_int8_w8a8", "token"),
    "int8-block": Scheme("use_int8_w8a8", "group"),
    "int8-w8a16": Scheme("use_int8_w8a16", None),
    "int8-w8a16-group": Scheme("use_int8_w8a16", None, group=True),
    "int4-w4a16": Scheme("use_int4_w4a16", None, group=True),
    "int4-w4a16-zp": Scheme("use_int4_w4a16", None, group=True),
}


def name(case):
    return getattr(case, "quant", "none")


def scheme(case):
    """The Scheme of a case, None where it is not quantised or the packages do not know it."""
    return SCHEMES.get(name(case))


def group(case):
    """Columns that share a scale, where the scheme has groups."""
    return getattr(case, "group", 0) or BLOCK


def flags(case):
    """The launcher's flags, per_channel_quant and block_shape for a case, quantised or not."""
    s = scheme(case)
    shape = None
    if s and s.group:
        shape = [0, group(case)]
    elif s and s.scales == "group":
        shape = [BLOCK, group(case)]
    return {**{flag: bool(s and s.flag == flag) for flag in FLAGS},
            "per_channel_quant": bool(s and s.scales == "token"), "block_shape": shape}


def table_of(case):
    """What the names of tuned tables call the numbers of a case; None: 16 bits, which they do not name."""
    s = scheme(case)
    return s.flag[len("use_"):] if s else "float32" if case.dtype == "fp32" else None


def refusal(case, package):
    """None, or why the packages' Triton kernels cannot run a quantised case."""
    s = scheme(case)
    if name(case) == "none":
        return None
    if s is None:
        return f"{package} has no quant={name(case)} in its Triton MoE"
    if case.scale_layout != "row":
        return f"{package} gets scales by rows here, not scale_layout={case.scale_layout}"
    if case.bias and s.group:
        return f"{package} takes no bias with weights in groups"
    if case.layout == "sorted":
        return f"{package}'s sorted layout is not quantised here"
    if s.scales == "tensor" and not s.static and (case.filter or case.ep_size > 1 or
                                                  case.routing == "padded"):
        return f"{package}'s largest value of a tensor is also of rows of filtered slots, which nobody wrote"
    if s.scales == "group" and (case.K % group(case) or case.N % group(case)):
        return f"{package} quantises whole groups of {group(case)} columns: K={case.K} N={case.N}"
    if name(case).endswith("-zp") and (case.N % 2 or case.K % 2):
        return f"{package} packs the zero points of two rows: K={case.K} N={case.N}"
    return None


# ---- tensors ----


def keep(made, codes, scale):
    """What a quantiser gave, into tensors of the same number of elements. scale: None where it was given."""
    codes.copy_(made[0].view(codes.shape))
    if scale is not None:
        scale.copy_(made[1].view(scale.shape))


def which(rows, tensor, given):
    """Of the tensors that a case may have for a scale of activations: what is to be made, or None, and what
    its codes are multiplied with."""
    made = rows if tensor is None else tensor
    return made, given if made is None else made


def as_taken(case, a_scale, w_scale):
    """Scales in the shapes of the launcher: one for a tensor, [1] and [E]; else as they are, [rows, groups]
    and [E, rows, groups]."""
    if a_scale is None:
        return None, w_scale
    if scheme(case).scales == "tensor":
        return a_scale.reshape(-1), w_scale.reshape(-1)
    return a_scale, w_scale


# ---- what a GEMM promises ----


class Rules(NamedTuple):
    """Where the packages differ: how scales of a block meet the sum of a tile, by whether the tile is wider
    than a block of scales; how the scales of a whole row of k do; the widest tile of k."""
    in_block: str
    across_blocks: str
    after: str
    clamps_tile: bool


SGLANG = Rules("product", "a-then-w", "product", False)
VLLM = Rules("a-then-w", "a-then-w", "a-then-w", True)


def swaps(tile):
    """Whether an fp8 GEMM on sm_90 is computed as its transpose; none of other operands is."""
    return tile["BLOCK_SIZE_M"] < 64 <= tile["BLOCK_SIZE_N"]


def swapped(case, tile):
    return scheme(case).flag == "use_fp8_w8a8" and swaps(tile)


def by_wgmma(case, tile):
    """Whether Triton multiplies by wgmma: a warp group, and 64 rows of what stands first in the product;
    otherwise by mma.sync, for which operands of 8 bits become 16-bit numbers."""
    rows = tile["BLOCK_SIZE_N"] if swapped(case, tile) else tile["BLOCK_SIZE_M"]
    return rows % 64 == 0 and tile["num_warps"] % 4 == 0


def tile_of_k(case, tile, rules):
    """Columns whose sum is scaled and added as one, where scales enter per tile."""
    widest = min(BLOCK, group(case)) if rules.clamps_tile else tile["BLOCK_SIZE_K"]
    return min(tile["BLOCK_SIZE_K"], widest)


def scaling(case, tile, rules):
    """How the sum of a tile of k meets the scales a of activations and w of weights: the two multiplied
    first, or one after the other, the weights' first where the tile is swapped. The compiler makes the last
    multiplication and the addition one operation."""
    form = rules.across_blocks if tile["BLOCK_SIZE_N"] > BLOCK else rules.in_block
    return "w-then-a" if form == "a-then-w" and swapped(case, tile) else form


_FP8_WGMMA = {"group": 32, "fraction_bits": 13, "result_fraction_bits": 13, "k_order": "ascending"}
_FP8_MMA = {"group": 16, "fraction_bits": 25, "result_fraction_bits": 23}


def gemm_fields(case, stage, tile, rules):
    """What such a GEMM does otherwise than one of 16-bit operands, as fields of a contract."""
    s = scheme(case)
    if s is None:
        return []
    fields = {}
    if s.scales == "group":
        fields = {"scaling": scaling(case, tile, rules) + "-fma", "promotion": tile_of_k(case, tile, rules)}
    elif s.flag == "use_int8_w8a8":  # each tile's int32 is added to a float32
        fields = {"scaling": rules.after, "promotion": tile["BLOCK_SIZE_K"]}
    elif not s.group:  # weights in groups are made 16-bit numbers; scaling and bias are one operation
        fields = {"scaling": rules.after + ("-fma" if case.bias else "")}
    if s.flag == "use_fp8_w8a8":
        fields.update(accumulator="tensor-core", **(_FP8_WGMMA if by_wgmma(case, tile) else _FP8_MMA))
    if s.flag != "use_int8_w8a8" and not by_wgmma(case, tile):
        fields["k_order"] = "permuted"  # four codes are one register, whose numbers go into two steps
    return [f"{stage}.{name}={value}" for name, value in fields.items()]


def contract(case, up_and_down, rules, quantiser, sm_90):
    """What quantised stages promise: GEMMs by their tiles, on sm_90; quantisers, which formula they have and
    that rows without a result hold anything."""
    fields = []
    if sm_90:
        for stage, tile in zip(("gate_up", "down"), up_and_down):
            fields += gemm_fields(case, stage, tile, rules)
    if scheme(case).scales:
        both = {quantiser.variant(case, rows) for rows in (case.M, case.M * case.topk)}
        known = len(both) == 1 and quantiser.native
        predicted = known and sm_90  # approximate operations are those of that architecture
        fields.append(f"quantiser={both.pop() if known else 'any'} quant_act.filtered=anything")
        if not predicted:
            fields.append("quant_x.bits=none quant_act.bits=none")
    return fields
