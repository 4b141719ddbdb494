# SPDX-License-Identifier: Apache-2.0
"""Tiles of a case in the form that Triton kernels take."""
import contextlib
import json
import os

import moeparity
from adapters import quantised

try:
    import torch
except ImportError:
    torch = None


def architecture():
    """90 for sm_90; 0 without a GPU."""
    return 10 * torch.cuda.get_device_capability()[0] + torch.cuda.get_device_capability()[1] \
        if torch.cuda.is_available() else 0


def multiprocessors():
    """Of the GPU; 0 without one."""
    return torch.cuda.get_device_properties(0).multi_processor_count if torch.cuda.is_available() else 0


def device_name():
    """As tables of tuned tiles name it; "" without a GPU."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def preset():
    """The contract of a GEMM of 16-bit operands by Triton's tl.dot on this machine. Interpreted on a CPU it
    is a float32 GEMM of numpy's, whose order depends on the shapes."""
    sm = architecture()
    if sm in (80, 86, 89, 90, 100):
        return f"sm_{sm}"
    return "any" if sm else "ieee-any-order gate_up.batch_invariant=0 down.batch_invariant=0"


def promised():
    """The same of bits of which an sm_90 gave none other (docs/measurements.md)."""
    return "required" if architecture() == 90 else "none"


def reported():
    """What a contract says of bits that are predicted as an sm_90 gives them, and not yet promised."""
    return "reported" if architecture() == 90 else "none"


def config(tile):
    """BLOCK_SIZE_M, BLOCK_SIZE_N, BLOCK_SIZE_K, GROUP_SIZE_M, num_warps and num_stages of a case's tile."""
    return {name if name.startswith("num_") else name.upper(): int(value) for name, value in tile.items()}


def of_text(text):
    """The same of a tile as a case's text has it."""
    names = ("BLOCK_SIZE_M", "BLOCK_SIZE_N", "BLOCK_SIZE_K", "GROUP_SIZE_M", "num_warps", "num_stages")
    return dict(zip(names, map(int, text.split("x"))))


OURS = {"BLOCK_SIZE_M": 64, "BLOCK_SIZE_N": 128, "BLOCK_SIZE_K": 128, "GROUP_SIZE_M": 8, "num_warps": 4,
        "num_stages": 3}


_tables = None


def use_tables(choose):
    """From now on a case without a tile of its own has those that choose(case) takes from a package's tuned
    tables: of gate_up, of down."""
    global _tables
    _tables = choose


def _by_tables(case):
    return _tables is not None and case.fields["tile"] == "auto"


def _promised_by_tile(case):
    """Whether what is promised of the case depends on its tile, which is told before it runs. Then the tile
    is that of its text, or OURS, whatever a run would take."""
    return bool(quantised.scheme(case)) or getattr(case, "lora_adapters", 0) > 0


def block_size_m(case):
    """The block to which such a case without a tile of its own aligns; None: that of the run's tile."""
    if _by_tables(case):
        return _tables(case)[0]["BLOCK_SIZE_M"]
    return OURS["BLOCK_SIZE_M"] if _promised_by_tile(case) and case.fields["tile"] == "auto" else None


def of_case(case):
    """The tiles of gate_up and of down. Both have the block of tokens to which the case aligns."""
    if _by_tables(case):
        up, down = _tables(case)[:2]
        return up, {**down, "BLOCK_SIZE_M": up["BLOCK_SIZE_M"]}
    if _promised_by_tile(case):
        told, down = case.fields["tile"], case.fields["tile_down"]
        up = dict(OURS) if told == "auto" else of_text(told)
        return up, dict(up) if down == "auto" else of_text(down)
    default = {"BLOCK_SIZE_M": case.block_size_m or 64, "BLOCK_SIZE_N": 64, "BLOCK_SIZE_K": 32,
               "GROUP_SIZE_M": 8, "num_warps": 4, "num_stages": 3}
    up = config(case.tile) if case.tile else default
    down = config(case.tile_down) if case.tile_down else dict(up)
    if case.block_size_m:
        up["BLOCK_SIZE_M"] = down["BLOCK_SIZE_M"] = case.block_size_m
    return up, down


def of_file(path, tokens):
    """What a file of tuned configurations has for so many tokens: the nearest key, of two equally near the
    one first in the file. Returns (key, entry)."""
    with open(path, encoding="utf-8") as file:
        entries = {int(key): entry for key, entry in json.load(file).items() if key != "triton_version"}
    key = min(entries, key=lambda k: abs(k - tokens))
    return key, entries[key]


_COMPILERS = {"num_warps": 4, "num_stages": 3}  # what Triton takes where an entry says nothing


def _numbers(entry, names):
    return {name: int(entry.get(name, _COMPILERS.get(name, 0))) for name in names}


def expect(path, tokens, up, down, down_files=False):
    """Raises where a package chose other tiles than this file has for so many tokens: what ran is not what
    the file says, and proves nothing of it. Where the package knows such files the down GEMM's come from the
    `_down` file beside it; its BLOCK_SIZE_M is that of the up table whatever that file says."""
    names = ("BLOCK_SIZE_M", "BLOCK_SIZE_N", "BLOCK_SIZE_K", "GROUP_SIZE_M", "num_warps", "num_stages")
    down_path = path[:-len(".json")] + "_down.json"
    for gemm, file, chosen, compared in (
            ("gate_up", path, up, names),
            ("down", down_path if down_files and os.path.exists(down_path) else path, down, names[1:])):
        key, entry = of_file(file, tokens)
        if _numbers(chosen, compared) != _numbers(entry, compared):
            raise RuntimeError(
                f"{gemm} of {tokens} tokens: the package chose {_numbers(chosen, compared)}, and "
                f"{os.path.basename(file)} has under {key} {_numbers(entry, compared)}")


@contextlib.contextmanager
def fitting(tile):
    """A tile that does not fit into the device's shared memory is a reason, not a crash."""
    try:
        yield
    except Exception as error:
        if type(error).__name__ != "OutOfResources":
            raise
        raise moeparity.Unsupported(f"the tile {tile} does not fit: {error}") from None
