# SPDX-License-Identifier: Apache-2.0
"""What `moeparity bisect case --out` writes: numpy alone computes the stage, and shows the element that is
wrong. The file's own expectation, by the reference, must be the program's."""

import os
import runpy
import shlex
import subprocess
import sys

import numpy as np
import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TALKER = os.path.join(ROOT, "tests", "plugins", "talker.py")
PIPELINE = """
import moeparity, numpy as np

@moeparity.subject(contract="any", supports=moeparity.only(mode=("combine",), act=..., bias=...))
def wrong_moe(x, w1, w2, b1, b2, topk_weights, topk_ids, case):
    out = np.zeros(x.shape, np.float32)
    for e in range(case.E):
        token, k = np.nonzero(topk_ids == e)
        gate, up = np.split(x[token].astype(np.float32) @ w1[e].astype(np.float32).T + b1[e], 2, axis=1)
        gate = np.minimum(gate, 7)
        act = gate / (1 + np.exp(-np.float32(1.702) * gate))
        down = (act * (np.clip(up, -7, 7) + 1)) @ w2[e].astype(np.float32).T + b2[e]
        np.add.at(out, token, topk_weights[token, k, None] * down)
    out[-1, -1] *= 1.5
    return out.astype(x.dtype)

moeparity.main(wrong_moe)
"""


def bisect(folder, subject, case, *words):
    command = [os.environ["MOEPARITY_PROGRAM"], "bisect", "case", "--case", case, "--subject", subject,
               "--out", folder, *words]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    return ended.stdout


def look(folder, capsys):
    """What the program says, and its exit code."""
    with pytest.raises(SystemExit) as end:
        runpy.run_path(os.path.join(folder, "repro.py"))
    return capsys.readouterr().out, end.value.code


def expectations(folder):
    """The program's own, and the file's."""
    with open(os.path.join(folder, "repro.py")) as file:
        text = file.read()
    variables = {"__file__": os.path.join(folder, "repro.py")}
    exec(text[: text.index('\nif "')], variables)  # up to where it compares
    data = variables["data"]
    name = next(name for name in data if name.startswith("expected_"))
    return variables["expected"].ravel(), data[name].ravel()


def test_one_stage(tmp_path, capsys):
    folder = str(tmp_path / "repro")
    subject = f"worker:{shlex.quote(sys.executable)} {shlex.quote(TALKER)} wrong"
    out = bisect(folder, subject, "M=5 N=24 scope=act", "--no-values")
    assert "smallest M=1 E=1 topk=1 N=4 act=silu scope=act" in out
    said, code = look(folder, capsys)
    assert code == 1 and said.startswith("cache2[0, 3] is "), said
    np.testing.assert_allclose(*expectations(folder), rtol=1e-12)


def test_all_stages_of_which_only_the_end_is_shown(tmp_path, capsys):
    kernel, folder = tmp_path / "kernel.py", str(tmp_path / "repro")
    kernel.write_text(PIPELINE)
    subject = f"worker:{shlex.quote(sys.executable)} {shlex.quote(str(kernel))}"
    case = "M=3 E=4 topk=2 K=24 N=16 act=swiglu_oai bias=1"
    bisect(folder, subject, case, "--no-values", "--tries", "1")
    said, code = look(folder, capsys)
    assert code == 1 and said.startswith("out[2, 23] is "), said
    np.testing.assert_allclose(*expectations(folder), rtol=1e-12)
