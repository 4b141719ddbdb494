# SPDX-License-Identifier: Apache-2.0
"""How long the stages of a subject take on the device."""
import contextlib

try:
    import torch
except ImportError:
    torch = None

# Long enough for Python to begin the launches of a stage meanwhile, so that they follow one another on the
# device without gaps: what is measured is the kernels', not the time of starting them.
HEAD_START_CYCLES = 1_000_000


class Clock:
    """The stages of one run. wanted: whether they are timed; each then has a head start of half a
    millisecond before it, and events around it."""

    def __init__(self, wanted):
        self._wanted = wanted and torch is not None and torch.cuda.is_available()
        self._events = []

    @contextlib.contextmanager
    def __call__(self, stage):
        if not self._wanted:
            yield
            return
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(HEAD_START_CYCLES)
        start.record()
        yield
        end.record()
        self._events.append((stage, start, end))

    def tell(self, case):
        """Waits for the stages, and fills case.stage_ns."""
        for stage, start, end in self._events:
            end.synchronize()
            case.stage_ns[stage] = case.stage_ns.get(stage, 0) + start.elapsed_time(end) * 1e6
