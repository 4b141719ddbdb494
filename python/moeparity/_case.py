# SPDX-License-Identifier: Apache-2.0
"""A case, as a kernel and a test see it."""

# The fields that change what is computed, with their values, the usual one first; and all others: sizes,
# numbers that a kernel is given, and where its tensors come from. `moeparity show --fields` has the same.
OPTIONS = {
    "act": ("silu", "gelu", "gelu_tanh", "relu2", "swiglu_oai", "silu_clamp", "clamp_silu"),
    "gated": (True, False),
    "interleaved": (False, True),
    "mode": ("combine", "no_combine", "inplace"),
    "expert_map": ("none", "linear", "round_robin"),
    "sentinel": ("-1", "E", "any"),
    "bias": (False, True),
    "apply_router_weight_on_input": (False, True),
    "apply_router_weight_in_combine": (False, True),
    "no_combine_keep_router_weight": (False, True),
    "layout": ("route", "sorted", "masked"),
    "path": ("fused", "runner", "chunked"),
    "fused_sum": (False, True),
    "dtype": ("bf16", "fp16", "fp32", "fp64"),
    "shared": ("none", "slot", "add"),
    "quant": (
        "none", "fp8-tensor", "fp8-tensor-static", "fp8-channel", "fp8-block", "fp8-block-ue8m0",
        "int8-channel", "int8-block", "int8-w8a16", "int8-w8a16-group", "int4-w4a16",
        "int4-w4a16-zp", "mxfp4", "mxfp8", "nvfp4", "mxfp4-mxfp8",
    ),
    "scale_layout": ("row", "row-padded", "column", "column-padded", "swizzled"),
    "gemm": ("auto", "mma", "wgmma"),
    "fused_quant": (False, True),
    "lora_map": ("token", "segments"),
    "lora_routing": ("mixed", "uniform", "one", "base", "empty", "requests"),
    "lora_ranks": ("full", "zeros", "garbage"),
    "lora_outer": ("own", "shared", "copies"),
    "lora_data": ("normal", "same", "zero_a", "zero_b"),
}
FREE = ("M", "E", "topk", "K", "N", "alpha", "limit", "rsf", "filter", "ep_size", "ep_rank", "scope", "tile")
FREE += ("weight_row_gap", "weight_expert_gap", "buffer_offset", "tile_down", "data", "routing", "seed")
FREE += ("group", "lora_adapters", "lora_rank", "lora_disabled")


class Case:
    """One case of a matrix. Every field is an attribute: case.M, case.topk, case.act, ...

    text          its canonical text, which is also str(case)
    fields        the fields by name, defaults included
    inputs        names of the tensors that it has as inputs, and
    outputs       as outputs (of what a subject is asked; () from moeparity.cases)
    pairs         variants that must give the same bits, as a matrix has them: "path=runner"
    after         what runs before it on the same buffers, as a matrix has it: "M=200 seed=1"
    group_name, tier  the group of a matrix that it comes from, and its tier
    block_size_m  the block to which align pads, and
    tile, tile_down  the tiles of both GEMMs, in a run: dicts with BLOCK_SIZE_M, BLOCK_SIZE_N, BLOCK_SIZE_K,
                  GROUP_SIZE_M, num_warps, num_stages; else None
    stage_ns      a dict to be filled: nanoseconds that a stage took, by its name
    """

    def __init__(
        self, text, fields, inputs=(), outputs=(), pairs=(), after=(), group_name="", tier="", run=None
    ):
        self.text = text
        self.fields = dict(fields)
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.pairs = tuple(pairs)
        self.after = tuple(after)
        self.group_name = group_name
        self.tier = tier
        self.block_size_m = run["block_size_m"] if run else None
        self.tile = _tile(run["tile"]) if run else None
        self.tile_down = _tile(run["tile_down"]) if run else None
        self.stage_ns = {}

    def __getattr__(self, name):  # only what is no attribute of the object
        fields = self.__dict__.get("fields", {})
        if name in fields:
            return fields[name]
        raise AttributeError(f"a case has no field {name!r}: there are {', '.join(fields)}")

    def __str__(self):
        return self.text

    def __repr__(self):
        return f"<Case {self.text}>"

    def __eq__(self, other):
        return isinstance(other, Case) and self._key() == other._key()

    def __hash__(self):
        return hash(self._key())

    def _key(self):
        return self.text, self.pairs, self.after


_TILE = ("BLOCK_SIZE_M", "BLOCK_SIZE_N", "BLOCK_SIZE_K", "GROUP_SIZE_M", "num_warps", "num_stages")


def _tile(text):
    numbers = text.split("x")
    return dict(zip(_TILE, map(int, numbers))) if len(numbers) == len(_TILE) else None
