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
