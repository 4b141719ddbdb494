# SPDX-License-Identifier: Apache-2.0
"""moeparity.only: which options of a case a kernel takes."""

import os
import re
import subprocess
import sys

import kernels
import pytest

import moeparity
from moeparity import _program
from moeparity._case import FREE, OPTIONS, Case

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
EXAMPLES = os.path.join(ROOT, "python", "examples")
USUAL = {name: values[0] for name, values in OPTIONS.items()}


def answer(fields=(), **allowed):
    fields = {**USUAL, "lora_adapters": 0, "M": 4, "K": 512, "rsf": 1.0, "scope": "all", **dict(fields)}
    return moeparity.only(**allowed)(Case("", fields), "mine")


def test_the_tables_are_those_of_the_program():
    show = [_program.find(), "show", "--fields"]
    told = subprocess.run(show, capture_output=True, text=True, check=True).stdout
    fields = dict(re.findall(r"(?m)^(\w+)=(\S+)  ", told))
    assert set(fields) == {*OPTIONS, *FREE} and not set(OPTIONS) & set(FREE)
    for name, values in OPTIONS.items():
        texts = [str(int(v)) if isinstance(v, bool) else v for v in values]
        known = "0 or 1 (false or true)" if isinstance(values[0], bool) else ", ".join(texts)
        assert fields[name] == texts[0] and re.search(rf"(?m)^{name}=.* \({re.escape(known)}\)$", told), name


def test_what_is_not_named_has_the_usual_value():
    assert answer() is None
    assert answer({"M": 7, "K": 99, "rsf": 2.5, "scope": "act"}) is None
    for name, values in OPTIONS.items():
        for value in values[1:]:
            told = answer({name: value})
            shown = [int(v) if isinstance(v, bool) else v for v in (value, values[0])]
            assert told == f"{name}={shown[0]}: mine takes {name}={shown[1]}"
            assert answer({name: value}, **{name: value}) is None
            assert answer({name: value}, **{name: ...}) is None


def test_adapters_are_taken_only_where_they_are_named():
    assert answer({"lora_adapters": 2}) == "lora_adapters=2: mine takes lora_adapters=0"
    assert answer({"lora_adapters": 2}, lora_adapters=...) is None
    assert answer({"lora_adapters": 2}, lora_adapters=range(1, 9)) is None


def test_what_is_named_has_one_of_the_values():
    summed = {"mode": ("combine", "inplace")}
    assert answer({"mode": "inplace"}, **summed) is None
    assert answer({"mode": "no_combine"}, **summed) == (
        "mode=no_combine: mine takes mode=combine|inplace"
    )
    assert answer(act=["gelu"]) == "act=silu: mine takes act=gelu"
    assert answer({"bias": True}, bias=(0, 1)) is None
    assert answer(bias=1) == "bias=0: mine takes bias=1"
    assert answer({"K": 96}, K=range(64, 1025, 64)) == "K=96: mine takes K=64..1024 in steps of 64"
    assert answer({"K": 128}, K=range(64, 1025, 64)) is None
    assert answer({"rsf": 2.5}, rsf=1) == "rsf=2.5: mine takes rsf=1"
    assert answer({"rsf": 2.5}, rsf=...) is None


@pytest.mark.parametrize(
    "allowed, error, text",
    [
        ({"bais": 1}, TypeError, "only(bais=...): a case has no field 'bais'; is bias meant?"),
        ({"zzz": 1}, TypeError, "a case has no field 'zzz': there are act, gated,"),
        ({"act": "sulu"}, ValueError, "only(act='sulu'): expected one of silu, gelu,"),
        ({"bias": "1"}, ValueError, "only(bias='1'): expected one of 0, 1"),
        ({"mode": ("combine", None)}, ValueError, "only(mode=None): expected one of combine,"),
        ({"act": ()}, TypeError, "only(act=()): expected a value, a tuple,"),
        ({"act": None}, TypeError, "only(act=None): expected a value, a tuple,"),
        ({"M": {}}, TypeError, "only(M={}): expected a value, a tuple,"),
    ],
)
def test_what_is_no_option_is_told_at_once(allowed, error, text):
    with pytest.raises(error) as raised:
        moeparity.only(**allowed)
    assert text in str(raised.value)


def test_the_skip_names_the_kernel():
    verdict = moeparity.check(kernels.moe, "M=4 topk=2 act=gelu", supports=moeparity.only())
    assert verdict.status == "SKIP" and verdict.reason == "act=gelu: moe takes act=silu"


def test_a_bias_that_nobody_asks_for_is_a_skip():
    verdict = moeparity.check(kernels.moe, "M=4 topk=2 act=silu bias=1")
    assert verdict.status == "SKIP" and verdict.reason == "bias=1: moe has no parameter b1, b2"


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def test_the_pages_hold_the_examples():
    pages = [below.split("```")[0] for below in read("docs", "python.md").split("```python\n")]
    for name in ("moe_numpy.py", "moe_int8_numpy.py", "moe_lora_numpy.py"):
        below = re.sub(r'(?s)^# SPDX[^\n]*\n""".*?"""\n\n', "", read("python", "examples", name))
        assert re.sub("\n+", "\n", below) in [re.sub("\n+", "\n", page) for page in pages], name
    readme = read("README.md").split("```python\n")[1].split("```")[0]
    kernel = readme[readme.index("@moeparity.subject") : readme.index("if __name__")].rstrip()
    assert kernel in read("python", "examples", "moe_triton.py")
    assert max(map(len, readme.splitlines())) <= 110


@pytest.mark.parametrize(
    "name, matrix, match, told",
    [
        ("moe_numpy.py", "options", "act=silu topk=2 data=normal", "bias=1: my_moe takes bias=0"),
        ("moe_int8_numpy.py", "quant", "quant=int8-channel", "fused_sum=1: my_moe takes fused_sum=0"),
        ("moe_lora_numpy.py", "lora", "M=17 data=normal", "lora_map=segments: my_moe takes lora_map=token"),
    ],
)
def test_the_examples_of_the_page(name, matrix, match, told):
    """Nothing of a matrix that they take fails, and what they do not take is told."""
    words = [sys.executable, os.path.join(EXAMPLES, name), "run", matrix, "--match", match]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert told in ended.stdout
    passed, skipped = map(int, re.search(r"(\d+) passed, 0 failed, (\d+) skipped", ended.stdout).groups())
    assert passed > 5 and skipped > 5
