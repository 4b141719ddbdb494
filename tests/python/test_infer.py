# SPDX-License-Identifier: Apache-2.0
"""The contract that infer prints is the one to write into the decorator: what it found is then required."""

import os
import re
import subprocess
import sys

import kernels
import moeparity
from moeparity import _program

KERNELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "kernels.py")
CASE = "M=32 topk=4 K=64 rsf=2.5 scope=combine"


def test_the_line_is_pasted():
    subject = _program.worker(sys.executable, KERNELS, "combine")
    command = [_program.find(), "infer", "--subject", subject]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    (line,) = re.findall("^contract (.*)$", found.stdout, re.M)
    assert "combine.bits=required" in line
    verdict = moeparity.check(kernels.combine, CASE, contract=line, strict=True)
    assert verdict, verdict
    assert verdict.report["checks"]["bits"]["answer"] == "passed"
    assert verdict.weaker == ""
    wrong = moeparity.check(kernels.combine, CASE, contract=line + " combine.variant=round-then-scale")
    assert not wrong and "bits" in wrong.failures, wrong


def infer(kernel, *args):
    command = [_program.find(), "infer", "--subject", _program.worker(sys.executable, KERNELS, kernel), *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_out_alone_says_what_to_expose():
    found = infer("moe_shows_out", "--case", "M=4 E=4 topk=2 K=32 N=16 act=silu")
    assert found.returncode == 1, found.stdout + found.stderr
    *_, contract, last = found.stdout.strip().split("\n")
    assert contract == "contract any"
    assert last.startswith("to do    nothing was seen of any stage: expose cache1, cache2, cache3, ")


def test_the_nearest_is_told_with_the_case_that_refutes_it():
    first = "M=4 E=1 topk=1 K=32 N=16 act=silu"  # of one expert: nothing is swapped
    second = "M=4 E=4 topk=2 K=32 N=16 act=silu"
    found = infer("moe_swaps_experts", "--stage", "gate_up", "--case", first, "--case", second)
    assert found.returncode == 1, found.stdout + found.stderr
    (nearest,) = re.findall("arithmetic: no hypothesis fits; the nearest: (.*)$", found.stdout, re.M)
    assert re.search(": 0 of 128 in 1 case, [0-9]+ of 256 in M=4 E=4 topk=2 ", nearest)
