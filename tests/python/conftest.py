# SPDX-License-Identifier: Apache-2.0
"""What holds for all tests."""

import signal

# Ignored in a shell's background and under nohup, and programs inherit that: Ctrl-C would end none of them.
signal.signal(signal.SIGINT, signal.default_int_handler)
