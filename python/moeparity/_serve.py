# SPDX-License-Identifier: Apache-2.0
"""The program's side of the conversation in docs/protocol.md, "Subjects that are programs"."""

import os
import sys
import traceback

from moeparity import _arrays
from moeparity._case import FREE, OPTIONS, Case
from moeparity._frames import Channel
from moeparity._memory import CudaError, DeviceMemory, SharedMemory
from moeparity._subject import Unsupported

PROTOCOL = 1
VARIABLE = "MOEPARITY_SUBJECT"  # its value: the version of the protocol
REQUESTS, ANSWERS, MEMORY = 3, 4, 5


def serve_descriptors(subject):
    """What a program does that was started as a subject: answers until nothing more comes."""
    if os.environ.pop(VARIABLE, None) != str(PROTOCOL):  # not for the programs that a kernel starts
        sys.exit(f"moeparity: this package speaks protocol {PROTOCOL} of subjects")
    for descriptor in (REQUESTS, ANSWERS, MEMORY):
        os.set_inheritable(descriptor, False)
    Server(subject, REQUESTS, ANSWERS, MEMORY).serve()


class Server:
    """Answers for one subject over one pair of descriptors.

    errors  the exceptions of the kernel, by the text of the case: what was raised last
    """

    def __init__(self, subject, requests, answers, memory):
        self._subject = subject
        self._channel = Channel(requests, answers)
        self._shared = SharedMemory(memory)
        self._device = None
        self.errors = {}

    def serve(self):
        """Until nothing more comes, or nobody listens."""
        while (message := self._channel.receive()) is not None:
            kind, body = next(iter(message.items()))
            answer = {
                "hello": self._hello,
                "memory": self._memory,
                "describe": self._describe,
                "run": self._run,
            }.get(kind)
            if answer is None:
                said = _failed("internal error", f"nothing is known of {kind!r}")
            else:
                said = answer(body)
            if not self._channel.send(*said):
                return

    def _hello(self, body):
        if body.get("protocol") != PROTOCOL:
            error = (
                f"the program speaks protocol {body.get('protocol')} of subjects; this package {PROTOCOL}"
            )
            return _failed("bad input", error)
        try:
            library = self._subject.library
        except (_arrays.Missing, ImportError) as error:
            return _failed("unsupported here", str(error))
        except Exception as error:
            return _failed("bad input", _told(error))
        hello = {"protocol": PROTOCOL, "name": self._subject.name, "takes": [*OPTIONS, *FREE, "masked"]}
        if self._subject.version:
            hello["version"] = str(self._subject.version)
        if library.device:
            hello["device"] = library.device
        return "hello", hello

    def _memory(self, body):
        """Whether memory of the program's device can be read here."""
        try:
            self._device = DeviceMemory()
            try:
                address = self._device.address(body["cuda_ipc"], body["offset"])
                content = self._device.read(address, min(8, body["bytes"]))
            finally:
                self._device.close()
        except CudaError as error:
            self._device = None
            return "memory", {"why": str(error)}
        return "memory", {"content": content.hex()}

    def _describe(self, body):
        case = _case_of(body)
        return self._guarded(case, lambda: ("offer", self._subject.offer(case)))

    def _run(self, body):
        case = _case_of(body["case"], body)

        def execute():
            self._shared.grow(body["memory_bytes"])
            library = self._subject.library
            memory = _arrays.Memory(self._shared, self._device)
            try:
                left = self._subject.run(case, body["tensors"], memory)
                library.finish(memory)
            finally:
                if self._device:
                    self._device.close()
            times = {str(stage): float(ns) for stage, ns in case.stage_ns.items()}
            done = {"left": left, "stage_ns": times}
            if library.device:
                done["device_cached"] = library.cached()
            return "done", done

        return self._guarded(case, execute)

    def _guarded(self, case, execute):
        """What execute() gives; her exceptions are told, and kept."""
        try:
            return execute()
        except (Unsupported, _arrays.Missing) as error:
            self.errors[case.text] = error
            return _failed("unsupported here", str(error) or "it said so, without a reason")
        except Exception as error:
            self.errors[case.text] = error
            _print_traceback(error, case)
            if self._device:  # what her frames hold of the device is closed: a look at it would be a fault
                traceback.clear_frames(error.__traceback__)
            return _failed("device error", _told(error))


def _failed(status, text):
    """The program reads no NUL, and no half of a character."""
    text = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return "failed", {"status": status, "error": text}


def _case_of(body, run=None):
    return Case(body["text"], body["fields"], body["inputs"], body["outputs"], run=run)


def _own(frame):
    return os.path.dirname(os.path.abspath(frame.f_code.co_filename)) == os.path.dirname(__file__)


def _print_traceback(error, case):
    """Without the frames of this package in front of hers, or at all where there are no others."""
    begin = error.__traceback__
    while begin is not None and _own(begin.tb_frame):
        begin = begin.tb_next
    print(f"moeparity: {case}", file=sys.stderr)
    traceback.print_exception(type(error), error, begin)
    sys.stderr.flush()


def _told(error):
    """The last line of its traceback, and where in her code it was raised."""
    text = traceback.format_exception_only(type(error), error)[-1].strip()
    frames = [f for f in traceback.walk_tb(error.__traceback__) if not _own(f[0])]
    if not frames:
        return text
    frame, line = frames[-1]
    hers = [f for f in frames if "site-packages" not in f[0].f_code.co_filename]
    frame, line = (hers or frames)[-1]
    return f"{text} ({os.path.basename(frame.f_code.co_filename)}:{line})"
