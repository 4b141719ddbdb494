# SPDX-License-Identifier: Apache-2.0
"""The adapters of published packages, as far as that goes without the packages: they say what is missing, and
what needs no GPU is right. Where torch is installed the stand-ins are tried too."""

import importlib.util
import json
import os
import shlex
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ADAPTERS = os.path.join(ROOT, "adapters")
sys.path.append(ROOT)

from adapters import published  # noqa: E402


def run(subject, *words):
    """(exit code, what was said) of moeparity with an adapter as its subject."""
    program = os.environ["MOEPARITY_PROGRAM"]
    command = f"worker:{shlex.quote(sys.executable)} {shlex.quote(ADAPTERS)}/{subject}"
    words = [program, "run", *words, "--subject", command]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=120)
    return ended.returncode, ended.stdout + ended.stderr


def script(name, *words):
    words = [sys.executable, os.path.join(ADAPTERS, name), *words]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=120)
    return ended.returncode, ended.stdout, ended.stderr


def installed(*names):
    return all(importlib.util.find_spec(name) for name in names)


@pytest.mark.parametrize("name", ["sglang", "vllm"])
@pytest.mark.parametrize("mode", ["", " stages", " fused"])
def test_without_its_package_every_case_is_a_skip(name, mode):
    if installed("torch", "triton"):
        pytest.skip("torch and Triton are installed")
    code, said = run(f"{name}.py{mode}", "--case", "M=4 topk=2", "--case", "M=8 scope=act")
    assert code == 77, said
    assert "2 skipped" in said and "is not installed" in said


@pytest.mark.parametrize("word", ["stage", "act=cuda", "combine", "tile=16"])
def test_a_wrong_word_is_told_before_any_case(word):
    code, said = run(f"sglang.py stages {word}", "--case", "M=4 topk=2")
    assert code == 3 and f"'{word}': expected one of stages, fused, act=own|triton" in said


def test_batches_without_a_package_are_no_result():
    if installed("torch", "triton"):
        pytest.skip("torch and Triton are installed")
    code, out, err = script("batch.py", "vllm")
    assert code == 77 and out == "" and "is not installed" in err
    code, out, err = script("batch.py", "aiter")
    assert code == 2 and "invalid choice: 'aiter'" in err
    code, out, err = script("batch.py", "vllm", "--batches", "1,8192")
    assert code == 2 and "expected numbers from 1 to 4096" in err


def test_the_accuracy_of_sums_measures_ours():
    code, out, err = script("accuracy.py", "--ours", "host", "--case", "M=40 topk=8 K=64")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines()]
    ours = next(row for row in rows if row[0].startswith("moeparity"))
    assert rows[0][1:] == ["fp32", "fp16", "bf16", "fp64"]
    fp32, fp16, bf16, fp64 = map(float, ours[1:])
    assert 0 <= fp64 < 1e-13 and 0 < fp32 < 1e-5 and 1e-4 < fp16 < 1e-1 and 1e-3 < bf16 < 1e-1, out
    if not installed("torch"):
        assert code == 77 and rows[-1] == ["torch.sum", "skip", "skip", "skip", "skip"], err
        assert err.count("skipped 4 cases: torch is not installed") == 2
    code, out, err = script("accuracy.py", "--ours", "plugin:/no/such.so", "--case", "M=40 topk=8 K=64")
    assert code == 3 and "/no/such.so" in err and "could not be run" in out


# ---- a package on disk ----


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package `engine` that cannot be imported from its top, with a module that can."""
    inner = tmp_path / "engine" / "ops"
    inner.mkdir(parents=True)
    (tmp_path / "engine" / "__init__.py").write_text("raise RuntimeError('the engine starts')\n")
    (inner / "kernel.py").write_text("from engine.flags import fast\ndef run(a, b): return (a, b, fast)\n")
    (inner / "broken.py").write_text("import engine.not_there\n")
    info = tmp_path / "engine-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: engine\nVersion: 1.2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield published
    for name in [n for n in sys.modules if n.split(".")[0] == "engine"]:
        del sys.modules[name]


def test_modules_of_a_package_without_its_top(package):
    engine = package.Package("engine", "1.2")
    engine.stand_in("engine.flags", fast=True)
    kernel = engine.own("engine.ops.kernel")
    assert engine.function(kernel, "run", "a b")(1, 2) == (1, 2, True)
    assert engine.version == "1.2" and engine.notes == []
    with pytest.raises(package.Absent, match="engine 1.2: run does not take c, d"):
        engine.function(kernel, "run", "a c d")
    with pytest.raises(package.Absent, match="engine.ops.kernel has no walk"):
        engine.function(kernel, "walk", "")
    with pytest.raises(package.Absent, match="engine.ops.broken cannot be imported.*engine.not_there"):
        engine.own("engine.ops.broken")


def test_another_version_is_said(package):
    engine = package.Package("engine", "1.1")
    engine.note("a sum is ours")
    engine.note("a sum is ours")
    line = engine.version_line()
    assert line.startswith("1.2") and line.endswith("; the adapter was written for 1.1; a sum is ours")


def test_a_package_that_is_not_there():
    with pytest.raises(published.Absent, match=r"the package engine9 is not installed .*engine9 3\.0"):
        published.Package("engine9", "3.0")


# ---- tables out of reports ----


def report(path, versions="mine 1.0, gcc 12.2.0", subject="s", **figures):
    stage = {"judged": True, "predicted": 100, "mispredicted": 0, "first": None, "first_value": 0.0,
             "first_predicted": 0.0, "max_ulps": 0, **figures}
    verdict = {"name": "M=4 topk=2 act=silu", "subject": subject, "outcome": "PASS", "stages": {"act": stage}}
    path.write_text(json.dumps({"run": {"versions": versions}, "verdicts": [verdict]}))
    return str(path)


def test_a_table_counts_what_differs(tmp_path):
    equal = report(tmp_path / "a.json")
    differs = dict(first=[1, 2], first_value=1.0, first_predicted=1.0078125, max_ulps=1)
    other = report(tmp_path / "b.json", mispredicted=3, **differs)
    silent = report(tmp_path / "c.json", predicted=0)
    code, out, err = script("table.py", equal, other, silent)
    assert code == 0, err
    assert "| mine 1.0 | act | 3 | 200 | 3 | 1 | 1 |" in out
    assert "200 outputs compared with their predicted bits, 3 differ." in out and "mine 1.0: 3 PASS" in out
    assert "act[1, 2]: 3f80, predicted 3f81; 3 of 100, by at most 1 ulp" in out


def test_a_table_of_a_subject_without_a_version(tmp_path):
    code, out, err = script("table.py", report(tmp_path / "a.json", versions="mine, gcc 12.2.0"))
    assert code == 0 and "| mine | act | 1 |" in out and "\nmine: 1 PASS" in out, err


def test_a_table_of_our_own_subject(tmp_path):
    code, out, err = script("table.py", report(tmp_path / "a.json", versions="gcc 12.2.0", subject="host"))
    assert code == 0 and "| host | act | 1 |" in out and "\nhost: 1 PASS" in out, err


def test_a_table_of_no_report(tmp_path):
    wrong = tmp_path / "w.json"
    wrong.write_text('{"verdicts": [1]}')
    for words in ([str(tmp_path / "none.json")], [str(wrong)], []):
        code, out, err = script("table.py", *words)
        assert code == 2 and out == "" and ("no report" in err or "usage" in err)


# ---- with torch ----


def test_the_alignment_that_stands_in():
    torch = pytest.importorskip("torch")
    from adapters import stand_ins

    ids = torch.tensor([[2, 0], [-1, 2], [2, 2]], dtype=torch.int32)
    order, experts, end = stand_ins.align(ids, 4, 3, 18)
    assert order[:12].tolist() == [2, 6, 6, 6, 1, 6, 6, 6, 0, 3, 4, 5] and order[12:].tolist() == [6] * 6
    assert experts.tolist() == [-1, 0, 2, -1, -1] and end.tolist() == [12] and end.dtype == torch.int32


def test_activations_that_stand_in_round_where_they_say():
    torch = pytest.importorskip("torch")
    from adapters import stand_ins

    up = torch.linspace(1, 2, 129).to(torch.bfloat16).float()
    x = torch.stack([torch.ones_like(up), up], dim=1).to(torch.bfloat16)
    rounded, once = (torch.empty(129, 1, dtype=torch.bfloat16) for _ in range(2))
    third = torch.tensor(1 / 3)
    stand_ins.gate_rounded(lambda gate: gate * third, x, rounded)
    stand_ins.rounded_once(lambda gate: gate * third, x, once)
    assert torch.equal(once[:, 0], (third * up).to(torch.bfloat16))
    assert torch.equal(rounded[:, 0], (third.to(torch.bfloat16).float() * up).to(torch.bfloat16))
    assert not torch.equal(once, rounded)


def test_what_a_package_chose_is_compared_with_the_file(tmp_path):
    from adapters import tiles
    path = tmp_path / "E=8,N=256,device_name=x.json"
    entry = {"BLOCK_SIZE_M": 16, "BLOCK_SIZE_N": 32, "BLOCK_SIZE_K": 64, "GROUP_SIZE_M": 1}
    other = {**entry, "BLOCK_SIZE_N": 64, "num_warps": 8, "num_stages": 4}
    path.write_text(json.dumps({"triton_version": "3.6.0", "16": other, "8": entry}))
    assert tiles.of_file(path, 12) == (16, other)  # a tie: the first in the file
    assert tiles.of_file(path, 11) == (8, entry)
    written_out = {**entry, "num_warps": 4, "num_stages": 3, "USE_TMA": False}
    tiles.expect(str(path), 8, written_out, entry)
    with pytest.raises(RuntimeError, match="gate_up of 12 tokens: the package chose .*has under 16"):
        tiles.expect(str(path), 12, entry, other)
    with pytest.raises(RuntimeError, match="down of 12 tokens"):
        tiles.expect(str(path), 12, other, entry)
    down = {**other, "BLOCK_SIZE_M": 64}
    (tmp_path / "E=8,N=256,device_name=x_down.json").write_text(json.dumps({"1": down}))
    tiles.expect(str(path), 8, entry, other, down_files=True)  # up has the block of tokens
    tiles.expect(str(path), 8, entry, entry)
