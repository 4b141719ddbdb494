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
import pickle
import re
import subprocess
import tempfile
import zipfile
import zlib

import numpy

from moeparity import _dumps, _program, _safetensors, _trace
from moeparity._safetensors import BadFile
from moeparity._trace import Found, Trace

__all__ = ["BadFile", "Judgement", "Trace", "judge", "read_safetensors", "to_trace"]

# What numpy, h5py, torch and the parsers of Python raise over a file that is none of theirs, or damaged.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError)
UNREADABLE += (pickle.UnpicklingError, zipfile.BadZipFile, zlib.error)

read_safetensors = _safetensors.read


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
            if why != _trace.ABSENT:
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


def judge(source, case=None, contract=None, arguments=(), **options):
    """Judges a path, a Trace, or a dict of arrays (numpy, or torch on any device) by the names of NAMES.

    case, contract  as `moeparity judge` takes them; None: what the file says
    arguments       further words for the program, ["--strict"]
    options         for to_trace, where the file is one that it reads

    BadFile where the program judges nothing; the text is its own.
    """
    with tempfile.TemporaryDirectory(prefix="moeparity.") as folder:
        if isinstance(source, (str, os.PathLike)) and _is_read_by_the_program(source) and not options:
            path, missing, names = os.fspath(source), {}, {}
        else:
            trace = source if isinstance(source, Trace) else _trace_of(source, options)
            path = os.path.join(folder, "trace.safetensors")
            trace.save(path)
            missing = trace.missing
            names = {path: _name_of(source)}  # that file is gone when the row is read
        report = os.path.join(folder, "report.json")
        words = [_program.find(), "judge", "--json", report, *arguments]
        for option, value in (("--case", case), ("--contract", contract)):
            words += [option, value] if value is not None else []
        done = subprocess.run([*words, "--", path], capture_output=True, text=True, check=False)
        if not os.path.exists(report):
            said = done.stderr.strip() or f"moeparity judge ended with {done.returncode}"
            raise BadFile(_renamed(said, names))
        with open(report, encoding="utf-8") as file:
            report = json.load(file)
    text = done.stdout
    if names:
        again = _call(source, {"case": case, "contract": contract, "arguments": list(arguments), **options})
        text = re.sub(r"(?m)^( +repro: ).*$", lambda found: found.group(1) + again, text)
        report["run"]["command"] = again
        for verdict in report["verdicts"]:
            verdict["repro"] = again
    return Judgement(done.returncode, _renamed(text, names), _renamed(report, names), missing)


def _name_of(source):
    """What a reader is told instead of the file that it was written into for the program."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return "trace" if isinstance(source, Trace) else "tensors"


def _call(source, options):
    """The call of judge() that gave this; of what is no file by the name of a variable."""
    is_file = isinstance(source, (str, os.PathLike))
    words = [repr(os.fspath(source)) if is_file else _name_of(source)]
    words += [f"{name}={value!r}" for name, value in options.items() if value not in (None, [])]
    return f"moeparity.files.judge({', '.join(words)})"


def _renamed(told, names):
    """A text, or a report with its texts, in which files have other names."""
    if isinstance(told, dict):
        return {key: _renamed(value, names) for key, value in told.items()}
    if isinstance(told, list):
        return [_renamed(value, names) for value in told]
    if isinstance(told, str):
        for path, name in names.items():
            told = told.replace(path, name)
    return told


def _is_read_by_the_program(path):
    return os.fspath(path).endswith((".h5", ".hdf5", ".safetensors"))


def _trace_of(source, options):
    if isinstance(source, dict):
        return Trace({name: _trace.array(name, value) for name, value in source.items()})
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
    try:
        return _trace.take_over(_read(path, index, root), names, up_first)
    except BadFile:
        raise
    except UNREADABLE as error:
        raise BadFile(f"{path}: {error}") from error  # in the words of who read it


def _read(path, index, root):
    if os.path.isdir(path):
        return _dumps.read_dump(path)
    if path.endswith(".npz"):
        return _read_npz(path)
    if path.endswith((".h5", ".hdf5")):
        return _read_hdf5(path)
    if path.endswith((".json", ".jsonl")):
        return _dumps.read_workload(path, index, root)
    return Found(path, *_safetensors.read(path))


def _read_npz(path):
    with numpy.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    metadata = {name: arrays.pop(name) for name in ("case", "contract") if name in arrays}
    return Found(path, arrays, metadata)


def _read_hdf5(path):
    import h5py

    with h5py.File(path, "r") as file:
        arrays = {name: file[name][()] for name in file if isinstance(file[name], h5py.Dataset)}
        metadata = {name: file.attrs[name] for name in ("case", "contract") if name in file.attrs}
    return Found(path, arrays, metadata)
