# SPDX-License-Identifier: Apache-2.0
"""A program that hands its descriptors 3, 4 and 5 to the process that listens at a socket, and ends with it.

    python -I -S _relay.py SOCKET

So a function that lives in a notebook or in a test is a subject of a program that starts its subjects. It
imports nothing of the package: it is started for every check.
"""

import os
import socket
import sys


def relay(path):
    with socket.socket(socket.AF_UNIX) as there:
        there.connect(path)
        socket.send_fds(there, [b"subject"], [3, 4, 5])
        for descriptor in (3, 4, 5):
            os.close(descriptor)
        there.recv(1)  # the end: nobody serves any more


if __name__ == "__main__":
    try:
        relay(sys.argv[1])
    except OSError as error:
        sys.exit(f"moeparity: {sys.argv[1]}: {error}: the process that called check() is gone")
