# SPDX-License-Identifier: Apache-2.0
"""check() and cases(): functions of this process, judged by the program."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import unittest

import kernels
import numpy as np
import pytest

import moeparity

CASE = "M=4 N=8 scope=act"


@pytest.mark.parametrize("kernel", ["act", "act_in_place", "act_by_name", "act_transposed"])
def test_right_kernels_pass(kernel):
    verdict = moeparity.check(getattr(kernels, kernel), CASE)
    assert verdict
    assert verdict.require() is verdict
    assert verdict.status == "PASS" and verdict.failures == {} and list(verdict.stages) == ["act"]
    assert verdict.stages["act"]["compared"] == 64 and verdict.stages["act"]["failed"] == 0
    assert verdict.row == repr(verdict) == str(verdict)
    assert verdict.row.startswith("[OK]    M=4 topk=2 N=8 act=silu scope=act  diff=n/a")
    assert "\n" not in verdict.row
    assert verdict.stages["act"]["time_ns"] == (1500 if kernel == "act_by_name" else 0)


def test_a_whole_pipeline():
    verdict = moeparity.check(kernels.moe, {"M": 4, "topk": 2, "act": "silu", "bias": False})
    assert verdict, verdict
    assert list(verdict.stages) == ["gate_up", "combine"]  # what lies between is judged as one
    assert "contract any: " in verdict.weaker
    verdict = moeparity.check(kernels.moe_swaps_experts, "M=4 topk=2 act=silu")
    assert verdict.status == "FAIL" and "begins in gate_up" in verdict.row


@pytest.mark.parametrize(
    "kernel, case",
    [("act", "M=0 N=8 scope=act"), ("act_by_name", "M=0 N=8 scope=act"), ("moe", "M=0 topk=2 act=silu")],
)
def test_no_tokens_are_a_batch_too(kernel, case):
    verdict = moeparity.check(getattr(kernels, kernel), case)
    assert verdict, verdict
    assert all(stage["compared"] == 0 for stage in verdict.stages.values())
    assert "bound" not in verdict.failures


@pytest.mark.parametrize(
    "lies", ["weight_row_gap=3", "weight_row_gap=8 weight_expert_gap=64", "buffer_offset=1"]
)
def test_tensors_lie_as_the_case_says(lies):
    seen = []

    def moe(x, w1, w2, topk_weights, topk_ids, case):
        seen.append((w1.strides, x.ctypes.data % 64, np.isfinite(w1.astype("f4")).all()))
        return kernels.moe(x, w1, w2, topk_weights, topk_ids, case)

    verdict = moeparity.check(moe, f"M=8 topk=2 act=silu K=48 N=32 {lies}")
    assert verdict, verdict
    assert seen
    for strides, offset, finite in seen:
        assert finite and (strides[1] > 2 * 48, offset > 0) == (lies[0] == "w", lies[0] == "b")


@pytest.mark.parametrize(
    "layout, strides",
    [("row", (3, 1)), ("row-padded", (16, 1)), ("column", (1, 5)), ("column-padded", (1, 16))],
)
def test_scales_lie_as_the_case_says(layout, strides):
    seen = []

    def quant_x(x, x_codes, x_scale, case):
        seen.append(x_scale.strides)
        groups = x.astype("f4").reshape(5, 3, 128)
        scale = np.abs(groups).max(axis=2) / np.float32(448)
        x_scale[...] = scale
        x_codes[...] = (groups / scale[:, :, None]).reshape(5, 384).astype(x_codes.dtype)

    text = f"M=5 topk=2 act=silu K=384 scope=quant_x quant=fp8-block scale_layout={layout}"
    verdict = moeparity.check(quant_x, text)
    assert verdict, verdict
    assert {tuple(step // 4 for step in steps) for steps in seen} == {strides}


def test_a_map_that_nobody_asks_for_is_a_skip():
    verdict = moeparity.check(kernels.moe, "M=8 topk=2 act=silu ep_size=2 expert_map=linear")
    assert verdict.status == "SKIP" and verdict.reason == "expert_map=linear: moe has no parameter expert_map"


@pytest.mark.parametrize(
    "kernel, check, text",
    [
        ("act_wrong", "bound", "act: token 0 slot 0 column 3"),
        ("act_changes_input", "input", "cache1 changed"),
        ("act_forgets_a_row", "poison", "act: token 3 slot 1"),
        ("act_never_the_same", "poison", "1 of 64 elements differ, first act: token 0 slot 0 column 0"),
    ],
)
def test_wrong_kernels_fail(kernel, check, text):
    verdict = moeparity.check(getattr(kernels, kernel), CASE)
    assert not verdict and verdict.status == "FAIL"
    assert text in verdict.failures[check]
    assert f"{check}: {verdict.failures[check]}" in verdict.row
    assert verdict.row.splitlines()[-1].strip() == (
        f"repro: moeparity.check({kernel}, 'M=4 topk=2 N=8 act=silu scope=act')"
    )
    with pytest.raises(AssertionError) as raised:
        verdict.require()
    assert str(raised.value) == verdict.message
    first, case, *facts = verdict.message.splitlines()
    assert first.startswith("FAIL ") and len(first) < 72
    assert case == f"  case: {verdict.case}" and facts[-1] == "  " + verdict.row.splitlines()[-1].strip()


def test_what_pytest_shows_of_a_failure(tmp_path):
    """Whole, with outcome, stage and place in the first line, one fact in each that follows."""
    test = tmp_path / "test_mine.py"
    folder = os.path.dirname(os.path.abspath(__file__))
    test.write_text(
        f"import sys\nsys.path.append({folder!r})\nimport kernels, moeparity\n"
        f"def test_wrong(): moeparity.check(kernels.act_wrong, {CASE!r}).require()\n"
        f"def test_raises(): moeparity.check_all(kernels.act_raises, [{CASE!r}]).require()\n"
    )
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)]
    environment = {**os.environ, "COLUMNS": "80"}
    out = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=environment).stdout
    lines = [line[1:].strip() for line in out.splitlines() if line.startswith("E ")]
    begin = lines.index("AssertionError: FAIL bound: act: token 0 slot 0 column 3, expert 1")
    assert lines[begin + 1 : begin + 5] == [
        "case: M=4 topk=2 N=8 act=silu scope=act",
        "begins in act: one row, column 3",
        "bound: act: token 0 slot 0 column 3, expert 1: 0.74609375 instead of 0.373268184 +- 0.000977",
        "1 of 64 elements fail: one row, column 3",
    ]
    assert "repro: moeparity.check(act_wrong, 'M=4 topk=2 N=8 act=silu scope=act')" in lines
    raised = "AssertionError: CRASH KeyError: 'no such tile' (kernels.py:"
    assert any(line.startswith(raised) for line in lines)


@pytest.mark.parametrize(
    "kernel, reason",
    [
        ("act_raises", "KeyError: 'no such tile' (kernels.py:"),
        (
            "act_none",
            "TypeError: act_none returned None; expected cache2, or a dict of outputs by name: cache2",
        ),
        ("act_shape", "ValueError: act_shape returned cache2: it has the shape (8, 7); expected (8, 8)"),
        (
            "act_dtype",
            "TypeError: act_dtype returned cache2: it is a numpy array of float32; expected bfloat16",
        ),
        (
            "act_list",
            "TypeError: act_list returned cache2: it is a builtins.list; expected a numpy array of",
        ),
        (
            "act_tuple",
            "TypeError: act_tuple returned a tuple; expected an array, or a dict of outputs by name",
        ),
        (
            "act_name",
            "ValueError: act_name returned 'cache9', which is no output of this case: expected cache2",
        ),
        ("act_keeps_it", "ValueError: act_keeps_it returned an empty dict; expected cache2"),
        ("act_contract", "the subject describes itself wrongly: unknown contract 'sm_91'"),
    ],
)
def test_errors_are_crashes_with_a_reason(kernel, reason, capfd):
    verdict = moeparity.check(getattr(kernels, kernel), CASE)
    assert verdict.status == "CRASH" and verdict.reason.startswith(reason)
    assert verdict.row.startswith("[CRASH] M=4 topk=2 N=8 act=silu scope=act  " + reason)
    traceback = capfd.readouterr().err
    if kernel == "act_raises":
        assert "Traceback" in traceback and 'raise KeyError("no such tile")' in traceback
        assert "moeparity/_" not in traceback  # hers alone
        assert isinstance(verdict.exception, KeyError)
        with pytest.raises(AssertionError) as raised:
            verdict.require()
        assert raised.value.__cause__ is verdict.exception


@pytest.mark.parametrize(
    "kernel, reason",
    [
        ("act_unsupported", "N must be a multiple of 128"),
        ("act_of_eights", "N must be a multiple of 8"),
        ("act_asks", "act_asks asks for topk_id, which this case has not; is topk_ids meant?"),
        ("moe", "moe asks for x, which this case has not: it has topk_ids, cache1, cache2"),
    ],
)
def test_a_skip_is_no_pass(kernel, reason):
    verdict = moeparity.check(getattr(kernels, kernel), "M=4 N=7 scope=act")
    assert not verdict and verdict.status == "SKIP" and verdict.reason == reason
    with pytest.raises(unittest.SkipTest, match="which this case|must be"):
        verdict.require()


def test_options():
    assert moeparity.check(kernels.act, CASE, contract="any", tensors="numpy", repeat=3, plain=True)
    verdict = moeparity.check(kernels.act, CASE, contract="any combine.bits=maybe")
    assert "combine.bits=maybe: expected one of none, reported, required" in verdict.reason
    with pytest.raises(TypeError, match="no option 'json'"):
        moeparity.check(kernels.act, CASE, json="x.json")
    assert moeparity.check(kernels.moe, "M=4 topk=2 act=silu", pair=["path=runner"], fail_fast=True)
    verdict = moeparity.check(kernels.moe, "M=4 topk=2 act=silu", strict=True)
    assert "strict: not judged: the subject leaves no align tensors" in verdict.row


def test_nothing_to_judge():
    for case, text in [("M=4 NN=8", "unknown field 'NN', did you mean 'N'"), ("M=-1", "M=-1: ")]:
        with pytest.raises(moeparity.NotRun, match=text) as raised:
            moeparity.check(kernels.act, case)
        assert raised.value.code == 2
    with pytest.raises(moeparity.NotRun, match="unknown option '--repeats'") as raised:
        moeparity.check(kernels.act, CASE, repeats=3)
    assert raised.value.code == 2
    with pytest.raises(TypeError, match="5 is no case"):
        moeparity.check(kernels.act, 5)
    with pytest.raises(ValueError, match="there is no case"):
        moeparity.check_all(kernels.act, [])


def test_no_program(monkeypatch):
    monkeypatch.setenv("MOEPARITY_PROGRAM", "/no/such/program")
    with pytest.raises(
        FileNotFoundError, match="MOEPARITY_PROGRAM=/no/such/program: there is no such program"
    ):
        moeparity.check(kernels.act, CASE)
    monkeypatch.delenv("MOEPARITY_PROGRAM")
    monkeypatch.setenv("PATH", "/no/such/folder")
    monkeypatch.setattr("moeparity._program.INSTALLED", "/no/such/program")
    with pytest.raises(FileNotFoundError, match="neither installed with this package nor on PATH"):
        moeparity.cases("seed")


def test_several_cases():
    def sometimes(cache1, case):
        if case.N == 9:
            raise ValueError("nine")
        return kernels.act(cache1, case)

    cases = [f"M=4 N={n} scope=act" for n in (8, 9, 10)] + ["M=4 scope=combine"]
    verdicts = moeparity.check_all(sometimes, cases, contract="any", scope="act")
    assert [v.status for v in verdicts] == ["PASS", "CRASH", "PASS", "SKIP"]  # a new relay after the crash
    assert not verdicts and [v.case for v in verdicts.failed] == ["M=4 topk=2 N=9 act=silu scope=act"]
    assert isinstance(verdicts[1].exception, ValueError)
    with pytest.raises(AssertionError, match="ValueError: nine"):
        verdicts.require()
    assert verdicts._repr_html_().count("<pre") == 4
    with pytest.raises(moeparity.NotRun):
        moeparity.check_all(kernels.act, "stages", match="N=12345")


def test_cases_of_a_matrix(tmp_path):
    cases = moeparity.cases("seed", match="M=32", tier="smoke")
    assert [str(case) for case in cases][:2] == ["M=32 topk=2 act=silu", "M=32 topk=1 act=silu"]
    assert cases[0].pairs == ("path=runner",) and cases[0].K == 512 and cases[0].tier == "smoke"
    assert cases[0].group_name == "seed topk"
    matrix = tmp_path / "mine.yaml"
    matrix.write_text("groups: [{name: mine, axes: {M: [1, 2], N: 8, scope: act}}]\n")
    assert [case.M for case in moeparity.cases(matrix)] == [1, 2]
    assert all(moeparity.check(kernels.act, case) for case in moeparity.cases(matrix))
    with pytest.raises(moeparity.NotRun, match="no.yaml"):
        moeparity.cases(tmp_path / "no.yaml")
    with pytest.raises(moeparity.NotRun, match="M>9"):
        moeparity.cases(matrix, match="M>9")


def test_what_a_case_runs_after_is_judged(tmp_path):
    seen = []

    def act(cache1, case):
        seen.append((case.M, case.seed))
        return kernels.act(cache1, case)

    matrix = tmp_path / "after.yaml"
    matrix.write_text("groups: [{name: mine, axes: {M: 2, N: 8, scope: act}, after: [M=5 seed=3]}]\n")
    (case,) = moeparity.cases(matrix)
    assert case.after == ("M=5 seed=3",) and case.pairs == ()
    assert moeparity.check(act, case, strict=True)
    assert (5, 3) in seen
    seen.clear()
    assert moeparity.check(act, "M=2 N=8 scope=act", after=["M=6"])
    assert (6, 0) in seen


def test_what_is_kept_for_the_number_of_tokens_is_seen_in_a_sequence():
    kept = {}

    def act(cache1, case):
        return kept.setdefault(case.M, kernels.act(cache1, case))

    assert moeparity.check(act, "M=2 N=8 scope=act")
    kept.clear()
    verdict = moeparity.check(act, "M=2 N=8 scope=act", after=["seed=1"])
    assert not verdict and list(verdict.failures) == ["sequence"]
    assert verdict.failures["sequence"].startswith("after seed=1: ")


def test_a_pair_is_judged():
    seen = []

    def moe(x, w1, w2, topk_weights, topk_ids, case):
        seen.append(case.path)
        return kernels.moe(x, w1, w2, topk_weights, topk_ids, case)

    case = moeparity.cases("seed", match="M=8")[0]
    verdict = moeparity.check(moe, case)
    assert verdict and "bits=equal (path=runner)" in verdict.row
    assert set(seen) == {"fused", "runner"}


def test_outputs_must_stay_the_same():
    runs = []

    def moe(x, w1, w2, topk_weights, topk_ids, case):
        runs.append(1)
        left = kernels.moe(x, w1, w2, topk_weights, topk_ids, case)
        return left if len(runs) == 1 else left["out"]

    verdict = moeparity.check(moe, "M=4 topk=2 act=silu")
    assert verdict.status == "CRASH" and "left" in verdict.reason


def test_ctrl_c_ends_the_program_too():
    def interrupted(cache1, case):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    before = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        moeparity.check(interrupted, CASE)
    assert time.monotonic() - before < 4
    assert moeparity.check(kernels.act, CASE)


def test_an_interrupted_run_is_no_pass():
    runs = []

    def act(cache1, case):
        runs.append(1)
        if len(runs) == 4:  # in the second case: two runs are one
            with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as children:
                os.kill(int(children.read()), signal.SIGTERM)
        return kernels.silu(cache1, case.N).astype(cache1.dtype)

    with pytest.raises(moeparity.NotRun, match="interrupted after [1-3] of 20 cases"):
        moeparity.check_all(act, [f"M=4 N={n} scope=act" for n in range(8, 28)])


def test_a_timeout_is_one():
    def slow(cache1, case):
        time.sleep(2.5)
        return kernels.act(cache1, case)

    verdict = moeparity.check(slow, CASE, timeout=1)
    assert verdict.status == "TIMEOUT" and "no verdict after 1 s" in verdict.reason


def test_in_another_thread():
    verdicts = []
    thread = threading.Thread(target=lambda: verdicts.append(moeparity.check(kernels.act, CASE)))
    thread.start()
    thread.join()
    assert all(verdicts) and verdicts


def test_no_descriptor_is_left():
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    moeparity.check(kernels.act, CASE)
    moeparity.check(kernels.act_raises, CASE)
    gc.collect()  # a traceback holds what the function held
    assert len(os.listdir("/proc/self/fd")) == before
