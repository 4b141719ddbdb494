# SPDX-License-Identifier: Apache-2.0
"""Tensors that others have written, judged: what `moeparity judge` reads, and what it does not.

    moeparity.files.judge("trace.npz")
    moeparity.files.judge({"cache1": gate_up, "cache2": activated}, "act=gelu", "sm_90")
    moeparity.files.to_trace("workloads/moe_bf16_topk8_e256_h2048_i256.jsonl")     inputs, to run a kernel on

Read are .npz, safetensors, HDF5 (by the program), the dumps of flashinfer's API (FLASHINFER_LOGLEVEL=10)
and of sglang's dumper, and workloads of FlashInfer-Bench. docs/files.md of the project tells which fields of
them.
"""

import json
import os
import re
import shutil
import struct
import subprocess
import tempfile

import ml_dtypes
import numpy

BF16 = numpy.dtype(ml_dtypes.bfloat16)
INPUTS = ("x", "w1", "w2", "b1", "b2", "topk_ids", "topk_weights")
INTEGERS = ("topk_ids", "sorted_token_ids", "expert_ids", "num_tokens_post_padded")
OUTPUTS = INTEGERS[1:] + ("cache1", "cache1_hooked", "cache2", "cache3", "cache3_hooked", "out")
NAMES = INPUTS + OUTPUTS

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
# flashinfer's kernels take w1 as [up, gate]; moeparity, and the Triton kernels of the engines, as [gate, up].
UP_FIRST = ("cutlass_fused_moe", "trtllm_")
# safetensors' names of dtypes
DTYPES = {
    "BF16": BF16,
    "F16": numpy.dtype("<f2"),
    "F32": numpy.dtype("<f4"),
    "F64": numpy.dtype("<f8"),
    "I8": numpy.dtype("i1"),
    "I16": numpy.dtype("<i2"),
    "I32": numpy.dtype("<i4"),
    "I64": numpy.dtype("<i8"),
    "U8": numpy.dtype("u1"),
    "U16": numpy.dtype("<u2"),
    "U32": numpy.dtype("<u4"),
    "U64": numpy.dtype("<u8"),
}


ABSENT = "not in the file"  # why most tensors are missing


class BadFile(ValueError):
    """A file, or what it holds, is not what was expected: the text says where, and what was."""


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
        header = {"__metadata__": {k: v for k, v in metadata.items() if v}}
        arrays, at = [], 0
        for name, value in self.tensors.items():
            array = numpy.ascontiguousarray(value)
            known = [k for k, dtype in DTYPES.items() if dtype == array.dtype]
            if not known:
                raise BadFile(
                    f"{name}: {array.dtype}; expected bfloat16, float16, float32, float64 or integers"
                )
            end = at + array.nbytes
            header[name] = {"dtype": known[0], "shape": list(value.shape), "data_offsets": [at, end]}
            arrays.append(array)
            at = end
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        temporary = f"{path}.tmp.{os.getpid()}"
        try:
            with open(temporary, "wb") as file:
                file.write(struct.pack("<Q", len(text)) + text)
                for array in arrays:
                    file.write(array.tobytes())
            os.replace(temporary, path)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise


class Judgement:
    """What the program said of the files. True if all of them passed. Printed, it is the terminal's rows.

    code     the exit code: 0 all passed, 1 a parity failure, 3 could not be run
    text     what was printed
    report   the JSON report; its `verdicts` has an entry a file
    missing  name -> why it could not be taken over; what was there and is not judged is printed too
    """

    def __init__(self, code, text, report, missing=None):
        self.code = code
        self.report = report
        self.missing = dict(missing or {})
        self.text = text
        for name, why in self.missing.items():
            if why != ABSENT:
                self.text += f"        not judged: {name}: {why}\n"

    def __bool__(self):
        return self.code == 0

    def __repr__(self):
        return self.text

    def require(self):
        """Itself, or an AssertionError with the rows."""
        if not self:
            raise AssertionError(self.text)
        return self


def _program():
    try:
        from moeparity import _program
    except ImportError:
        program = os.environ.get("MOEPARITY_PROGRAM") or shutil.which("moeparity")
        if not program:
            raise FileNotFoundError(
                "the program moeparity is neither on PATH nor in MOEPARITY_PROGRAM"
            ) from None
        return program
    return _program.find()


def judge(source, case=None, contract=None, arguments=(), **options):
    """Judges a path, a Trace, or a dict of arrays (numpy, or torch on any device) by the names of NAMES.

    case, contract  as `moeparity judge` takes them; None: what the file says
    arguments       further words for the program, ["--strict"]
    options         for to_trace, where the file is one that it reads

    BadFile where the program judges nothing; the text is its own.
    """
    with tempfile.TemporaryDirectory(prefix="moeparity.") as folder:
        if isinstance(source, (str, os.PathLike)) and _is_read_by_the_program(source) and not options:
            path, missing = os.fspath(source), {}
        else:
            trace = source if isinstance(source, Trace) else _trace_of(source, options)
            path = os.path.join(folder, "trace.safetensors")
            trace.save(path)
            missing = trace.missing
        report = os.path.join(folder, "report.json")
        words = [_program(), "judge", "--json", report, *arguments]
        for option, value in (("--case", case), ("--contract", contract)):
            words += [option, value] if value is not None else []
        done = subprocess.run([*words, "--", path], capture_output=True, text=True, check=False)
        if not os.path.exists(report):
            raise BadFile(done.stderr.strip() or f"moeparity judge ended with {done.returncode}")
        with open(report, encoding="utf-8") as file:
            return Judgement(done.returncode, done.stdout, json.load(file), missing)


def _is_read_by_the_program(path):
    return os.fspath(path).endswith((".h5", ".hdf5", ".safetensors"))


def _trace_of(source, options):
    if isinstance(source, dict):
        return Trace({name: _array(name, value) for name, value in source.items()})
    return to_trace(source, **options)


def to_trace(path, names=None, up_first=None, index=0, root=None):
    """The tensors of a file, or of the folder of a dump, as a Trace.

    names     further names of tensors, {"moe_out": "out"}
    up_first  whether w1 (and b1, cache1) hold up before gate, which are exchanged then; None: as flashinfer's
              functions have it, else not
    index     of a .jsonl: which of its workloads
    root      of FlashInfer-Bench: the folder that the paths in a workload are relative to; None: the one
              above `workloads`

    BadFile where it cannot be read. What is there and cannot be taken over is in `missing` of the Trace.
    """
    path = os.fspath(path)
    known = {**{name: name for name in NAMES}, **ALIASES, **(names or {})}
    try:
        if os.path.isdir(path):
            found = _read_dump(path)
        elif path.endswith(".npz"):
            found = _read_npz(path)
        elif path.endswith((".h5", ".hdf5")):
            found = _read_hdf5(path)
        elif path.endswith((".json", ".jsonl")):
            found = _read_workload(path, index, root)
        else:
            found = _Found(*read_safetensors(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, BadFile):
            raise
        raise BadFile(f"{path}: {error}") from error
    return _take_over(found, known, up_first)


class _Found:
    """What a reader found: arrays by the names of the file, its metadata, the function that was called."""

    def __init__(self, arrays, metadata=None, function="", missing=None):
        self.arrays = arrays
        self.metadata = metadata or {}
        self.function = function
        self.missing = missing or {}


def _take_over(found, known, up_first):
    tensors, missing = {}, dict(found.missing)
    for theirs, value in found.arrays.items():
        ours = known.get(theirs)
        if ours is None:
            missing[theirs] = "no tensor of a case (names={...} says which it is)"
        elif ours in tensors:
            raise BadFile(f"{theirs}: there is a second tensor for {ours}")
        elif ours in INPUTS + OUTPUTS and _is_quantised(value):
            missing[ours] = f"{theirs} is {value.dtype}: quantised cases are not judged yet"
        else:
            tensors[ours] = _array(ours, value)
    if up_first is None:
        up_first = found.function.startswith(UP_FIRST)
    if up_first:
        tensors.update((name, _exchange(name, tensors[name])) for name in _gated(tensors))
    for name in sorted({"x", "w1", "w2", "topk_ids", "topk_weights"} - set(tensors) - set(missing)):
        missing[name] = ABSENT
    case = found.metadata.get("case")
    return Trace(tensors, case, found.metadata.get("contract"), missing)


def _is_quantised(value):
    return value.dtype.itemsize == 1 and value.dtype.kind not in "iub"


def _gated(tensors):
    return [name for name in ("w1", "b1", "cache1", "cache1_hooked") if name in tensors]


def _exchange(name, value):
    """The halves of the axis that holds up and gate: the second of w1, of all others the last."""
    axis = 1 if name == "w1" else -1
    first, second = numpy.split(value, 2, axis=axis)
    return numpy.concatenate([second, first], axis=axis)


def _array(name, value):
    """A numpy array of a dtype that safetensors has. Codes of bf16, in two bytes, become bf16."""
    if hasattr(value, "detach"):
        value = _of_torch(value)
    value = numpy.asarray(value)
    codes = value.dtype in (numpy.dtype("u2"), numpy.dtype("V2"))
    if codes and name not in INTEGERS:
        return value.view(BF16)
    return value if value.dtype.byteorder != ">" else value.astype(value.dtype.newbyteorder("<"))


def _of_torch(value):
    import torch

    value = value.detach().cpu().contiguous()
    if value.dtype == torch.bfloat16:
        return value.view(torch.int16).numpy().view(BF16)
    if value.element_size() == 1 and value.is_floating_point():
        return value.view(torch.uint8).numpy().view(numpy.dtype(ml_dtypes.float8_e4m3fn))
    return value.numpy()


def read_safetensors(path):
    """(name -> array, metadata) of a safetensors file; tensors of dtypes that numpy has not are left out."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        first = file.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else size
        if length > size - 8:
            raise BadFile(f"{path}: neither a format that is known here nor safetensors")
        header = json.loads(file.read(length))
        if not isinstance(header, dict):
            raise BadFile(f"{path}: its header is no object")
        metadata = header.pop("__metadata__", {})
        arrays = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            dtype = DTYPES.get(entry["dtype"])
            if entry["dtype"].startswith("F8"):
                dtype = numpy.dtype(ml_dtypes.float8_e4m3fn)
            if dtype is None:
                continue
            if not 0 <= begin <= end <= size - 8 - length:
                raise BadFile(f"{path}: {name}: bytes {begin} to {end} of {size - 8 - length}")
            file.seek(8 + length + begin)
            arrays[name] = numpy.frombuffer(file.read(end - begin), dtype=dtype).reshape(entry["shape"])
    return arrays, metadata


def _read_npz(path):
    with numpy.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    metadata = {name: str(arrays.pop(name)) for name in ("case", "contract") if name in arrays}
    return _Found(arrays, metadata)


def _read_hdf5(path):
    import h5py

    with h5py.File(path, "r") as file:
        arrays = {name: file[name][()] for name in file if isinstance(file[name], h5py.Dataset)}
        metadata = {name: file.attrs[name] for name in ("case", "contract") if name in file.attrs}
    return _Found(arrays, {k: v.decode() if isinstance(v, bytes) else str(v) for k, v in metadata.items()})


# ---- dumps of the engines ----


def _read_dump(folder):
    files = sorted(os.listdir(folder))
    if any(name.startswith("inputs.") for name in files):
        return _read_flashinfer(folder, files)
    if any(name.endswith((".pt", ".npy")) for name in files):
        return _read_tensor_files(folder, files)
    raise BadFile(f"{folder}: neither inputs.safetensors, inputs.pt nor files of single tensors are in it")


def _load(path):
    if path.endswith(".safetensors"):
        return read_safetensors(path)[0]
    if path.endswith(".npy"):
        return numpy.load(path, allow_pickle=False)
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def _read_flashinfer(folder, files):
    """Inputs and outputs by the keys arg_0, kwarg_input, result; metadata.jsonl, whose last line counts."""
    arrays, missing, function = {}, {}, ""
    if "metadata.jsonl" in files:
        with open(os.path.join(folder, "metadata.jsonl"), encoding="utf-8") as file:
            lines = [line for line in file if line.strip()]
        function = json.loads(lines[-1]).get("function_name", "") if lines else ""
    function = function.rsplit(".", 1)[-1]
    order = POSITIONAL.get(function, ())
    for name in files:
        if not re.fullmatch(r"(inputs|outputs)\.(pt|safetensors)", name):
            continue
        for key, value in _load(os.path.join(folder, name)).items():
            place = re.fullmatch(r"arg_(\d+)", key)
            if place and int(place[1]) < len(order):
                key = order[int(place[1])]
            arrays[key.removeprefix("kwarg_")] = _of_torch(value) if hasattr(value, "detach") else value
    arrays.pop("output", None)  # the buffer that it is written into, as it was before the call
    if "result" not in arrays and "result_0" not in arrays:
        missing["out"] = "the call left no output"
    return _Found(arrays, {}, function, missing)


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
            arrays[name] = _of_torch(value) if hasattr(value, "detach") else value
    return _Found(arrays)


# ---- FlashInfer-Bench ----


def _read_workload(path, index, root):
    """A workload: a JSON object, or a line of a .jsonl, of the inputs of a definition; those that are stored
    are in safetensors files beside it."""
    with open(path, encoding="utf-8") as file:
        entries = (
            [json.loads(line) for line in file if line.strip()] if path.endswith("l") else [json.load(file)]
        )
    if not 0 <= index < len(entries):
        raise BadFile(f"{path}: workload {index}; expected 0 to {len(entries) - 1}")
    workload = entries[index].get("workload", entries[index])
    if not isinstance(workload, dict) or not isinstance(workload.get("inputs"), dict):
        raise BadFile(f"{path}: no `workload` with `inputs` in it")
    definition = entries[index].get("definition") or ""
    root = root or _root_of(path)
    arrays, missing, rsf = {}, {}, None
    for name, entry in workload["inputs"].items():
        kind = entry.get("type")
        if kind == "safetensors":
            stored = read_safetensors(os.path.join(root, entry["path"]))[0]
            if entry["tensor_key"] not in stored:
                raise BadFile(f"{path}: {name}: {entry['path']} holds no {entry['tensor_key']}")
            arrays[name] = stored[entry["tensor_key"]]
        elif kind == "scalar" and name == "routed_scaling_factor":
            rsf = entry["value"]
        elif kind == "random":
            missing[ALIASES.get(name, name)] = f"{name} is random, and not stored"
    missing["out"] = "workloads are inputs: run a kernel on them, and put its output into tensors['out']"
    case = f"rsf={rsf!r}" if rsf is not None else None
    return _Found(arrays, {"case": case}, _function_of(definition, root), missing)


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
        with open(os.path.join(folder, f"{definition}.json"), encoding="utf-8") as file:
            tags = json.load(file).get("tags") or []
        for tag in tags:
            if tag.startswith("fi_api:"):
                return tag.rsplit(".", 1)[-1]
    return ""
