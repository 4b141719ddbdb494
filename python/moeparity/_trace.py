# SPDX-License-Identifier: Apache-2.0
"""Tensors of one case, by the names of moeparity; and what a file says, made into them."""

import ml_dtypes
import numpy

from moeparity import _safetensors
from moeparity._safetensors import BF16, BadFile

INPUTS = ("x", "w1", "w2", "b1", "b2", "topk_ids", "topk_weights", "shared_output")
INTEGERS = ("topk_ids", "sorted_token_ids", "expert_ids", "num_tokens_post_padded", "masked_m")
OUTPUTS = INTEGERS[1:] + ("cache1", "cache1_hooked", "cache2", "cache3", "cache3_hooked", "out")
# Of quantised experts, where the text of the case says so: the program knows by it what bytes are.
QUANTISED = tuple(
    [f"{w}_{what}" for w in ("w1", "w2") for what in ("scale", "zero", "global_scale")]
    + [f"{x}_{what}" for x in ("x", "cache2") for what in ("codes", "scale", "tensor_scale", "given_scale")]
)
NAMES = INPUTS + OUTPUTS
GATED = ("w1", "b1", "cache1", "cache1_hooked")  # those that hold gate and up

# What the engines call them. A name of ours stands for itself.
ALIASES = {
    "hidden_states": "x",
    "input": "x",
    "w13_weight": "w1",
    "gemm1_weights": "w1",
    "fc1_expert_weights": "w1",
    "w2_weight": "w2",
    "gemm2_weights": "w2",
    "fc2_expert_weights": "w2",
    "w13_weight_bias": "b1",
    "gemm1_bias": "b1",
    "fc1_expert_biases": "b1",
    "w2_weight_bias": "b2",
    "gemm2_bias": "b2",
    "fc2_expert_biases": "b2",
    "token_selected_experts": "topk_ids",
    "selected_experts": "topk_ids",
    "token_final_scales": "topk_weights",
    "routing_weights": "topk_weights",
    "intermediate_cache1": "cache1",
    "intermediate_cache2": "cache2",
    "intermediate_cache3": "cache3",
    "output": "out",
    "result": "out",
    "result_0": "out",
}
# flashinfer's kernels take w1 as [up, gate]; moeparity, and the Triton kernels of the engines, as [gate, up].
UP_FIRST = ("cutlass_fused_moe", "trtllm_")
ABSENT = "not in the file"  # why most tensors are missing


class Trace:
    """Tensors of one case.

    tensors   name -> numpy array, by the names of moeparity; bf16 is ml_dtypes.bfloat16
    case      its text, "act=silu"; None: all of it follows from the shapes
    contract  what their maker promises, "sm_90"; None: nothing is known
    missing   name -> why it could not be taken over
    """

    def __init__(self, tensors, case=None, contract=None, missing=None):
        self.tensors = dict(tensors)
        self.case = case
        self.contract = contract
        self.missing = dict(missing or {})

    def __repr__(self):
        shapes = ", ".join(f"{k} {v.dtype}{list(v.shape)}" for k, v in self.tensors.items())
        lost = "".join(f"; {name}: {why}" for name, why in self.missing.items())
        return f"Trace({self.case or 'by its shapes'}: {shapes or 'no tensors'}{lost})"

    def save(self, path):
        """Writes safetensors, which `moeparity judge` reads; under another name first, then renamed."""
        metadata = {"case": self.case, "contract": self.contract}
        _safetensors.write(path, self.tensors, {k: v for k, v in metadata.items() if v})


class Found:
    """What a reader found in `place`: arrays by the names of the file, its metadata, the function that was
    called, and name -> why of what is not there."""

    def __init__(self, place, arrays, metadata=None, function="", missing=None):
        self.place = place
        self.arrays = arrays
        self.metadata = metadata or {}
        self.function = function
        self.missing = missing or {}


def take_over(found, names, up_first):
    """The Trace of what was found; names and up_first as to_trace has them."""
    said = {key: _text(f"{found.place}: {key}", found.metadata.get(key)) for key in ("case", "contract")}
    codes = "quant=" in (said["case"] or "")
    known = {**{name: name for name in NAMES + (QUANTISED if codes else ())}, **ALIASES, **(names or {})}
    tensors, missing = {}, dict(found.missing)
    for theirs, value in found.arrays.items():
        ours = known.get(theirs)
        if ours is None:
            missing[theirs] = "no tensor of a case (names={...} says which it is)"
        elif ours in tensors:
            raise BadFile(f"{found.place}: {theirs}: there is a second tensor for {ours}")
        elif not hasattr(value, "dtype"):
            missing[ours] = f"{theirs} is a {type(value).__name__}, no tensor"
        elif _is_quantised(value) and not codes:
            missing[ours] = f"{theirs} is {value.dtype}, and no case with quant= says of which scheme"
        else:
            tensors[ours] = array(ours, value)
            if tensors[ours].dtype not in _safetensors.DTYPES.values():
                raise BadFile(f"{found.place}: {theirs}: {value.dtype}; expected {_safetensors.KNOWN}")
    if up_first is None:
        up_first = found.function.startswith(UP_FIRST)
    if up_first and codes:
        raise BadFile(f"{found.place}: w1 is [up, gate]; quantised experts are expected as [gate, up]")
    for name in [name for name in GATED if name in tensors and up_first]:
        tensors[name] = _exchange(f"{found.place}: {name}", name, tensors[name])
    for name in sorted({"x", "w1", "w2", "topk_ids", "topk_weights"} - set(tensors) - set(missing)):
        missing[name] = ABSENT
    return Trace(tensors, said["case"], said["contract"], missing)


def _text(where, value):
    """What a file says in words, however it holds them: None, a text, its bytes, an array of one of them."""
    if isinstance(value, numpy.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if value is None or isinstance(value, str):
        return None if value is None else str(value)
    raise BadFile(f"{where}: {_safetensors.shown(value)}; expected a text")


def _is_quantised(value):
    return value.dtype.itemsize == 1 and value.dtype.kind not in "iub"


def _exchange(where, name, value):
    """The halves of the axis that holds up and gate: the second of w1, of all others the last."""
    axis = 1 if name == "w1" else value.ndim - 1
    if not 0 <= axis < value.ndim or value.shape[axis] % 2:
        raise BadFile(f"{where}: {list(value.shape)}; expected up and gate, two halves, in axis {axis}")
    first, second = numpy.split(value, 2, axis=axis)
    return numpy.concatenate([second, first], axis=axis)


def array(name, value):
    """A numpy array of a dtype that safetensors has. Codes of bf16, in two bytes, become bf16; those of one
    byte, in a dtype that not every numpy has, become uint8."""
    if hasattr(value, "detach"):
        value = of_torch(value)
    value = numpy.asarray(value)
    if _is_quantised(value):
        return value.view(numpy.dtype("u1"))
    codes = value.dtype in (numpy.dtype("u2"), numpy.dtype("V2"))
    if codes and name not in INTEGERS:
        return value.view(BF16)
    return value if value.dtype.byteorder != ">" else value.astype(value.dtype.newbyteorder("<"))


def of_torch(value):
    import torch

    value = value.detach().cpu().contiguous()
    if value.dtype == torch.bfloat16:
        return value.view(torch.int16).numpy().view(BF16)
    if value.element_size() == 1 and value.is_floating_point():
        return value.view(torch.uint8).numpy().view(numpy.dtype(ml_dtypes.float8_e4m3fn))
    return value.numpy()
