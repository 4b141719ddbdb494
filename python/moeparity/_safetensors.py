# SPDX-License-Identifier: Apache-2.0
"""safetensors, read and written: a length, a header in JSON, and numbers."""

import json
import os
import struct

import ml_dtypes
import numpy

BF16 = numpy.dtype(ml_dtypes.bfloat16)
FP8 = numpy.dtype(ml_dtypes.float8_e4m3fn)
# its names of dtypes
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


KNOWN = "bfloat16, float16, float32, float64 or integers"


class BadFile(ValueError):
    """A file, or what it holds, is not what was expected: the text says where, and what was."""


def shown(value):
    """A value that was not expected, in one line that is short enough for a message."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def expect(where, value, kind, what):
    """The value; BadFile where it is not of that kind."""
    if not isinstance(value, kind):
        raise BadFile(f"{where}: {shown(value)}; expected {what}")
    return value


def read(path):
    """(name -> array, metadata) of a file; tensors of dtypes that numpy has not are left out."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        first = file.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else size
        if length > size - 8:
            raise BadFile(f"{path}: neither a format that is known here nor safetensors")
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise BadFile(f"{path}: its header: {error}; expected JSON") from error
        expect(f"{path}: its header", header, dict, "an object")
        metadata = expect(f"{path}: __metadata__", header.pop("__metadata__", {}), dict, "an object")
        arrays = {}
        for name, entry in header.items():
            dtype, shape, begin, end = _entry(f"{path}: {name}", entry, size - 8 - length)
            if dtype is not None:
                file.seek(8 + length + begin)
                arrays[name] = numpy.frombuffer(file.read(end - begin), dtype=dtype).reshape(shape)
    return arrays, metadata


def _entry(where, entry, data_bytes):
    """dtype, None where numpy has none, shape, and where the numbers begin and end."""
    expect(where, entry, dict, "an object")
    name = expect(f"{where}: dtype", entry.get("dtype"), str, "a text")
    shape = _counts(f"{where}: shape", entry.get("shape"))
    offsets = _counts(f"{where}: data_offsets", entry.get("data_offsets"))
    if len(offsets) != 2 or not offsets[0] <= offsets[1] <= data_bytes:
        raise BadFile(f"{where}: data_offsets {shown(offsets)}; expected two places in {data_bytes} bytes")
    dtype = FP8 if name.startswith("F8") else DTYPES.get(name)
    needed = 1 if dtype is None else dtype.itemsize
    for size in shape:
        needed *= size
    if dtype is not None and needed != offsets[1] - offsets[0]:
        bytes_there = offsets[1] - offsets[0]
        raise BadFile(f"{where}: {bytes_there} bytes; expected {needed} for {name} {shown(shape)}")
    return dtype, shape, *offsets


def _counts(where, value):
    expect(where, value, list, "a list of whole numbers")
    for number in value:
        if type(number) is not int or number < 0:
            raise BadFile(f"{where}: {shown(value)}; expected a list of whole numbers")
    return value


def write(path, tensors, metadata):
    """Writes arrays by name under another name first, then renames the file."""
    header = {"__metadata__": metadata}
    arrays, at = [], 0
    for name, value in tensors.items():
        array = numpy.ascontiguousarray(value)
        known = [k for k, dtype in DTYPES.items() if dtype == array.dtype]
        if not known:
            raise BadFile(f"{name}: {array.dtype}; expected {KNOWN}")
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
