# SPDX-License-Identifier: Apache-2.0
"""Tensors of a case as arrays of the library that a kernel is written in.

A place is what a run says of a tensor: name, dtype, shape, and where it lies. Each library here has

    device              what is asked of the program: "cuda", or None for memory of the host
    view(place, memory) the array that aliases the place
    take(name, value, view)  copies what a kernel returned into its view; a TypeError or ValueError tells what
                        was expected where it does not fit: nothing is converted
    finish(memory)      waits until all is done, and lies where the program looks for it
    cached()            with a device: bytes of it that the library's allocator holds and no array has
"""

import importlib

NAMES = ("numpy", "torch", "cuda", "cupy")


def open_library(name):
    """One of NAMES. ImportError where it is not installed; Missing where it finds no GPU."""
    if name not in NAMES:
        raise ValueError(f"tensors={name!r}: expected one of {', '.join(map(repr, NAMES))}")
    return {"numpy": _Numpy, "torch": _Torch, "cuda": _TorchCuda, "cupy": _Cupy}[name]()


PACKED = ("int4", "uint4", "e2m1")


def held(place):
    """A place as its bytes are seen where a library has no such numbers: two codes a byte along the last
    axis, the first in the low half, and ue8m0, are uint8."""
    if place["dtype"] in PACKED:
        shape = [*place["shape"][:-1], place["shape"][-1] // 2]
        return {"offset": place["offset"], "bytes": place["bytes"], "dtype": "uint8", "shape": shape,
                **{key: place[key] for key in ("cuda_ipc",) if key in place}}
    return {**place, "dtype": "uint8"} if place["dtype"] == "ue8m0" else place


class Missing(RuntimeError):
    """What a library needs is not on this machine."""


class Memory:
    """Of one run: the shared memory, and the device's where the program gives it.

    copies  (on the host, on the device) of tensors that lie on the host, for kernels that want them there
    """

    def __init__(self, shared, device=None):
        self.shared = shared
        self.device = device
        self.copies = []


def _is_packed(place):
    """Whether there are no gaps between rows; a program before strides were told said nothing of them."""
    step = 1
    for count, stride in zip(reversed(place["shape"]), reversed(place.get("stride", ()))):
        if stride != step and count > 1:
            return False
        step *= count
    return True


def _check(name, value, view, shape, dtype, what):
    if tuple(shape) != tuple(view.shape):
        raise ValueError(f"{name} has the shape {tuple(shape)}; expected {tuple(view.shape)}")
    if dtype != view.dtype:
        raise TypeError(f"{name} is a {what} of {dtype}; expected {view.dtype}")


def _wrong_kind(name, value, view, expected):
    return TypeError(
        f"{name} is a {type(value).__module__}.{type(value).__qualname__}; expected {expected} of shape "
        f"{tuple(view.shape)} and dtype {view.dtype}"
    )


class _Numpy:
    device = None

    def __init__(self):
        import ml_dtypes
        import numpy

        self._numpy = numpy
        self._dtypes = {
            "bf16": numpy.dtype(ml_dtypes.bfloat16),
            "fp16": numpy.dtype("float16"),
            "fp32": numpy.dtype("float32"),
            "fp64": numpy.dtype("float64"),
            "int32": numpy.dtype("int32"),
            "int8": numpy.dtype("int8"),
            "uint8": numpy.dtype("uint8"),
            "e4m3": numpy.dtype(ml_dtypes.float8_e4m3fn),
            "e5m2": numpy.dtype(ml_dtypes.float8_e5m2),
        }

    def view(self, place, memory):
        data = memory.shared.bytes_at(place["offset"], place["bytes"])
        flat = self._numpy.frombuffer(data, dtype=self._dtypes[place["dtype"]])
        if _is_packed(place):
            return flat.reshape(place["shape"])
        steps = tuple(step * flat.itemsize for step in place["stride"])
        return self._numpy.lib.stride_tricks.as_strided(flat, place["shape"], steps)

    def take(self, name, value, view):
        if not isinstance(value, self._numpy.ndarray):
            raise _wrong_kind(name, value, view, "a numpy array")
        _check(name, value, view, value.shape, value.dtype, "numpy array")
        if value is not view:
            self._numpy.copyto(view, value)

    def finish(self, memory):
        pass


class _Torch:
    device = None

    def __init__(self):
        import torch

        self._torch = torch
        self._dtypes = {
            "bf16": torch.bfloat16,
            "fp16": torch.float16,
            "fp32": torch.float32,
            "fp64": torch.float64,
            "int32": torch.int32,
            "int8": torch.int8,
            "uint8": torch.uint8,
            "e4m3": getattr(torch, "float8_e4m3fn", None),  # since 2.1
            "e5m2": getattr(torch, "float8_e5m2", None),
        }
        self.where = torch.device("cpu")

    def view(self, place, memory):
        data = memory.shared.bytes_at(place["offset"], place["bytes"])
        return self._as(place, self._torch.frombuffer(data, dtype=self._torch.uint8))

    def _as(self, place, data):
        dtype = self._dtypes[place["dtype"]]
        if dtype is None:
            raise Missing(f"torch {self._torch.__version__} has no {place['dtype']}")
        flat = data.view(dtype)
        if _is_packed(place):
            return flat.view(place["shape"])
        return flat.as_strided(place["shape"], place["stride"])

    def take(self, name, value, view):
        if not isinstance(value, self._torch.Tensor):
            raise _wrong_kind(name, value, view, "a torch tensor")
        if value.device != view.device:
            raise ValueError(f"{name} lies on {value.device}; expected it on {view.device}")
        _check(name, value, view, value.shape, value.dtype, "torch tensor")
        if value.data_ptr() != view.data_ptr() or value.stride() != view.stride():
            view.copy_(value.detach())

    def finish(self, memory):
        pass


class _OnDevice:
    """The __cuda_array_interface__ of bytes on the device, which is all that a library wants to see."""

    def __init__(self, address, count):
        self.__cuda_array_interface__ = {
            "shape": (count,),
            "typestr": "|u1",
            "data": (address, False),
            "version": 2,
        }


class _TorchCuda(_Torch):
    device = "cuda"

    def __init__(self):
        super().__init__()
        if not self._torch.cuda.is_available():
            raise Missing(f"torch {self._torch.__version__} finds no CUDA device")
        self.where = self._torch.device("cuda", 0)

    def view(self, place, memory):
        if memory.device and "cuda_ipc" in place:
            address = memory.device.address(place["cuda_ipc"], place["offset"])
            data = self._torch.as_tensor(_OnDevice(address, place["bytes"]), device=self.where)
            return self._as(place, data)
        host = super().view(place, memory)
        copy = host.to(self.where)
        memory.copies.append((host, copy))
        return copy

    def finish(self, memory):
        """Inputs are brought back too: one that was changed is seen."""
        self._torch.cuda.synchronize(self.where)  # kernels on any stream have written
        for host, copy in memory.copies:
            host.copy_(copy)

    def cached(self):
        cuda = self._torch.cuda
        return cuda.memory_reserved(self.where) - cuda.memory_allocated(self.where)


class _Cupy:
    device = "cuda"

    def __init__(self):
        import cupy

        self._cupy = cupy
        try:
            cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise Missing(f"cupy {cupy.__version__} finds no CUDA device: {error}") from error
        self._host = _Numpy()

    def view(self, place, memory):
        dtype = self._host._dtypes[place["dtype"]]
        if memory.device and "cuda_ipc" in place:
            address = memory.device.address(place["cuda_ipc"], place["offset"])
            unowned = self._cupy.cuda.UnownedMemory(address, place["bytes"], None)
            pointer = self._cupy.cuda.MemoryPointer(unowned, 0)
            return self._array(place, dtype, pointer, strided=True)
        host = self._host.view(place, memory)
        pointer = self._cupy.cuda.alloc(host.nbytes)
        copy = self._array(place, dtype, pointer)
        copy.set(host)
        memory.copies.append((host, copy))
        return copy

    def _array(self, place, dtype, pointer, strided=False):
        steps = [step * dtype.itemsize for step in place["stride"]] if strided and "stride" in place else None
        try:
            return self._cupy.ndarray(tuple(place["shape"]), dtype=dtype, memptr=pointer, strides=steps)
        except (TypeError, ValueError) as error:
            raise Missing(f"cupy {self._cupy.__version__} has no {place['dtype']}: {error}") from error

    def take(self, name, value, view):
        if not isinstance(value, self._cupy.ndarray):
            raise _wrong_kind(name, value, view, "a cupy array")
        _check(name, value, view, value.shape, value.dtype, "cupy array")
        if value is not view:
            view[...] = value

    def finish(self, memory):
        self._cupy.cuda.Device().synchronize()  # kernels on any stream have written
        for host, copy in memory.copies:
            copy.get(out=host)

    def cached(self):
        return self._cupy.get_default_memory_pool().free_bytes()


def library_of(function):
    """What a function is written with: torch where its module has torch imported (on the GPU, if there is
    one), else numpy."""
    used = list(getattr(function, "__globals__", {}).values())
    if not any(
        getattr(value, "__name__", "").split(".")[0] == "torch" for value in used if _is_module(value)
    ):
        return "numpy"
    return "cuda" if importlib.import_module("torch").cuda.is_available() else "torch"


def _is_module(value):
    return type(value).__name__ == "module"
