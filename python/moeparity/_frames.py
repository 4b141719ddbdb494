# SPDX-License-Identifier: Apache-2.0
"""Messages over a pair of descriptors: a length of four bytes, little-endian, and so many bytes of JSON."""

import json
import os
import struct

MOST_BYTES = 256 << 20  # of one message; a longer one is a peer out of step


class Channel:
    """Both directions. The descriptors are the caller's."""

    def __init__(self, requests, answers):
        self._requests = requests
        self._answers = answers

    def receive(self):
        """The next message, a dict of one member; None when nothing more will come."""
        head = self._read(4)
        if head is None:
            return None
        (length,) = struct.unpack("<I", head)
        if length > MOST_BYTES:
            raise ValueError(f"a message of {length} bytes came; expected at most {MOST_BYTES}")
        body = self._read(length)
        message = json.loads(body) if body is not None else None
        if message is not None and (not isinstance(message, dict) or len(message) != 1):
            raise ValueError(f"a message came that is no object of one member: {body[:80]!r}")
        return message

    def send(self, kind, body):
        """False when the peer is gone."""
        text = json.dumps({kind: body}).encode()
        data = memoryview(struct.pack("<I", len(text)) + text)
        try:
            while data:
                data = data[os.write(self._answers, data) :]
        except BrokenPipeError:
            return False
        return True

    def _read(self, count):
        data = bytearray()
        while len(data) < count:
            more = os.read(self._requests, count - len(data))
            if not more:
                return None
            data += more
        return bytes(data)
