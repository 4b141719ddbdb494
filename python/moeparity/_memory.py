# SPDX-License-Identifier: Apache-2.0
"""Where tensors lie: the memory that is shared with the program, and allocations of its GPU."""

import ctypes
import mmap


class SharedMemory:
    """The file of descriptor 5, mapped. It may grow from run to run."""

    def __init__(self, descriptor):
        self._descriptor = descriptor
        self._mapped = None

    def grow(self, count):
        """Maps so many bytes, 0 where all tensors lie on the device. What an older run was given stays mapped
        as long as somebody holds it."""
        if count > (len(self._mapped) if self._mapped else 0):
            self._mapped = mmap.mmap(self._descriptor, count)

    def bytes_at(self, offset, count):
        """A writable memoryview."""
        if offset < 0 or count < 0 or offset + count > len(self._mapped):
            raise ValueError(f"bytes {offset} to {offset + count} of a memory of {len(self._mapped)}")
        return memoryview(self._mapped)[offset : offset + count]


class CudaError(RuntimeError):
    """A call of the CUDA driver failed; the text names the call and its error."""


class _Handle(ctypes.Structure):  # CUipcMemHandle: passed by value
    _fields_ = [("bytes", ctypes.c_ubyte * 64)]


class DeviceMemory:
    """Allocations of another process on the first GPU, opened through CUDA IPC in its primary context.

    Handles stay open until close(), each of them opened once.
    """

    def __init__(self):
        try:
            self._cuda = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise CudaError(f"libcuda.so.1: {error}") from error
        self._open = {}
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._context = context

    def address(self, handle, offset):
        """The device address of what lies `offset` bytes behind the begin of a handle's allocation."""
        if handle not in self._open:
            raw = bytes.fromhex(handle)
            if len(raw) != 64:
                raise CudaError(f"a CUDA IPC handle of {len(raw)} bytes; expected 64")
            begin = ctypes.c_uint64()
            self._call("cuCtxSetCurrent", self._context)
            self._call("cuIpcOpenMemHandle_v2", ctypes.byref(begin), _Handle.from_buffer_copy(raw), 1)
            self._open[handle] = begin.value
        return self._open[handle] + offset

    def read(self, address, count):
        """So many bytes of the device's memory."""
        data = ctypes.create_string_buffer(count)
        self._call("cuMemcpyDtoH_v2", data, ctypes.c_uint64(address), ctypes.c_size_t(count))
        return data.raw

    def close(self):
        """Waits for the device, and closes all handles: no address of theirs may be used any more."""
        if not self._open:
            return
        self._call("cuCtxSetCurrent", self._context)
        try:
            self._call("cuCtxSynchronize")
        finally:
            handles, self._open = self._open, {}
            for begin in handles.values():
                self._cuda.cuIpcCloseMemHandle(ctypes.c_uint64(begin))

    def _call(self, name, *arguments):
        result = getattr(self._cuda, name)(*arguments)
        if result == 0:
            return
        text = ctypes.c_char_p()
        self._cuda.cuGetErrorName(result, ctypes.byref(text))
        error = text.value.decode() if text.value else f"error {result}"
        raise CudaError(f"{name.removesuffix('_v2')}: {error}")
