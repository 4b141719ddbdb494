# SPDX-License-Identifier: Apache-2.0
"""What the engines leave of their calls: flashinfer's API log and sglang's dumper, and the workloads of
FlashInfer-Bench."""

import json
import os
import re

import numpy

from moeparity import _safetensors, _trace
from moeparity._safetensors import BadFile, expect
from moeparity._trace import ALIASES, Found

# The arguments of flashinfer's functions that may be given without their names, in order.
POSITIONAL = {
    "cutlass_fused_moe": (
        "input",
        "token_selected_experts",
        "token_final_scales",
        "fc1_expert_weights",
        "fc2_expert_weights",
    ),
}


def read_dump(folder):
    """The tensors of a folder, as Found."""
    files = sorted(os.listdir(folder))
    if any(name.startswith("inputs.") for name in files):
        return _read_flashinfer(folder, files)
    if any(name.endswith((".pt", ".npy")) for name in files):
        return _read_tensor_files(folder, files)
    raise BadFile(f"{folder}: neither inputs.safetensors, inputs.pt nor files of single tensors are in it")


def _load(path):
    if path.endswith(".safetensors"):
        return _safetensors.read(path)[0]
    if path.endswith(".npy"):
        return numpy.load(path, allow_pickle=False)
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def _read_flashinfer(folder, files):
    """Inputs and outputs by the keys arg_0, kwarg_input, result; metadata.jsonl, whose last line counts."""
    arrays, missing = {}, {}
    function = _function_of_log(os.path.join(folder, "metadata.jsonl"))
    order = POSITIONAL.get(function, ())
    for name in files:
        if not re.fullmatch(r"(inputs|outputs)\.(pt|safetensors)", name):
            continue
        path = os.path.join(folder, name)
        for key, value in expect(path, _load(path), dict, "tensors by name").items():
            place = re.fullmatch(r"arg_(\d+)", expect(f"{path}: a name", key, str, "a text"))
            if place and int(place[1]) < len(order):
                key = order[int(place[1])]
            arrays[key.removeprefix("kwarg_")] = _trace.of_torch(value) if hasattr(value, "detach") else value
    arrays.pop("output", None)  # the buffer that it is written into, as it was before the call
    if "result" not in arrays and "result_0" not in arrays:
        missing["out"] = "the call left no output"
    return Found(folder, arrays, {}, function, missing)


def _function_of_log(path):
    """The function that was called, without its modules; "" where that is not told."""
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as file:
        lines = [line for line in file if line.strip()]
    last = expect(f"{path}: its last line", json.loads(lines[-1]) if lines else {}, dict, "an object")
    name = expect(f"{path}: function_name", last.get("function_name", ""), str, "a text")
    return name.rsplit(".", 1)[-1]


def _read_tensor_files(folder, files):
    """A file a tensor: NAME.npy, NAME.pt, or sglang's ...___name=NAME___....pt, which holds the tensor or
    {"value": tensor}."""
    arrays = {}
    for file in files:
        stem, ending = os.path.splitext(file)
        if ending not in (".pt", ".npy"):
            continue
        said = re.search(r"(?:^|___)name=(.*?)(?:___|$)", stem)
        value = _load(os.path.join(folder, file))
        value = value.get("value") if isinstance(value, dict) else value
        name = said[1] if said else stem
        if name in arrays:
            raise BadFile(f"{folder}: {name} is there twice: leave the files of one call in it")
        if hasattr(value, "shape"):
            arrays[name] = _trace.of_torch(value) if hasattr(value, "detach") else value
    return Found(folder, arrays)


def read_workload(path, index, root):
    """A workload: a JSON object, or a line of a .jsonl, of the inputs of a definition; those that are stored
    are in safetensors files beside it. As Found."""
    with open(path, encoding="utf-8") as file:
        entries = (
            [json.loads(line) for line in file if line.strip()] if path.endswith("l") else [json.load(file)]
        )
    if not 0 <= index < len(entries):
        raise BadFile(f"{path}: workload {index}; expected 0 to {len(entries) - 1}")
    entry = expect(f"{path}: workload {index}", entries[index], dict, "an object")
    workload = entry.get("workload", entry)
    if not isinstance(workload, dict) or not isinstance(workload.get("inputs"), dict):
        raise BadFile(f"{path}: no `workload` with `inputs` in it")
    definition = expect(f"{path}: definition", entry.get("definition") or "", str, "a text")
    root = root or _root_of(path)
    arrays, missing, rsf = {}, {}, None
    for name, given in workload["inputs"].items():
        where = f"{path}: {name}"
        kind = expect(where, given, dict, "an object").get("type")
        if kind == "safetensors":
            arrays[name] = _stored(where, given, root)
        elif kind == "scalar" and name == "routed_scaling_factor":
            rsf = expect(f"{where}: value", given.get("value"), (int, float), "a number")
        elif kind == "random":
            missing[ALIASES.get(name, name)] = f"{name} is random, and not stored"
    missing["out"] = "workloads are inputs: run a kernel on them, and put its output into tensors['out']"
    case = f"rsf={rsf!r}" if rsf is not None else None
    return Found(path, arrays, {"case": case}, _function_of(definition, root), missing)


def _stored(where, given, root):
    file = expect(f"{where}: path", given.get("path"), str, "a text")
    key = expect(f"{where}: tensor_key", given.get("tensor_key"), str, "a text")
    tensors = _safetensors.read(os.path.join(root, file))[0]
    if key not in tensors:
        raise BadFile(f"{where}: {file} holds no {key}")
    return tensors[key]


def _root_of(path):
    folder = os.path.dirname(os.path.abspath(path))
    at = folder
    while os.path.dirname(at) != at:
        if os.path.basename(at) == "workloads":
            return os.path.dirname(at)
        at = os.path.dirname(at)
    return folder


def _function_of(definition, root):
    """The function of flashinfer that a definition describes, by its tag fi_api:...; "" where it is not told.
    Its definitions of MoE take w1 as that function does."""
    for folder, _, files in os.walk(os.path.join(root, "definitions")):
        if f"{definition}.json" not in files:
            continue
        path = os.path.join(folder, f"{definition}.json")
        with open(path, encoding="utf-8") as file:
            described = expect(path, json.load(file), dict, "an object")
        for tag in expect(f"{path}: tags", described.get("tags") or [], list, "a list of texts"):
            if expect(f"{path}: tags", tag, str, "a list of texts").startswith("fi_api:"):
                return tag.rsplit(".", 1)[-1]
    return ""
