# SPDX-License-Identifier: Apache-2.0
"""torch tensors on the host, on the GPU through CUDA IPC, and on the GPU through the host. Needs torch, which
CI has not:

    PYTHONPATH=python MOEPARITY_PROGRAM=build/release/cli/moeparity python -m pytest -rs tests/python
"""

import os
import subprocess
import sys

import pytest

import moeparity

torch = pytest.importorskip("torch")

CASE = "M=4 N=8 scope=act"
CONTRACT = "any act.filtered=anything"
EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "python", "examples")


@pytest.fixture(params=["torch", "cuda", "cuda through the host"])
def arrays(request, monkeypatch):
    """What stands behind tensors=."""
    if request.param != "torch" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if request.param.endswith("host"):
        monkeypatch.setenv("MOEPARITY_NO_CUDA_IPC", "1")
    request.node.through_ipc = request.param == "cuda"
    return request.param.split()[0]


def check(kernel, arrays, case=CASE, **options):
    return moeparity.check(kernel, case, tensors=arrays, contract=CONTRACT, **options)


def silu(cache1, n):
    gate, up = cache1[:, :n].float(), cache1[:, n:].float()
    return (gate * torch.sigmoid(gate) * up).to(cache1.dtype)


def moe(x, w1, w2, topk_weights, topk_ids, case):
    out = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
    for e in range(case.E):
        token, k = torch.where(topk_ids == e)
        cache2 = silu((x[token].float() @ w1[e].T.float()).to(x.dtype), case.N)
        out.index_add_(0, token, topk_weights[token, k, None] * (cache2.float() @ w2[e].T.float()))
    return (case.rsf * out).to(x.dtype)


def test_right_kernels_pass(arrays, request):
    where = []

    def returns(cache1, case):
        where.append((str(cache1.device), cache1.data_ptr()))
        return silu(cache1, case.N)

    def in_place(cache1, cache2, case):
        cache2.copy_(silu(cache1, case.N))

    def strided(cache1, case):
        return silu(cache1, case.N).T.contiguous().T

    verdict = check(returns, arrays)
    assert verdict, verdict
    assert {device for device, _ in where} == {"cuda:0" if arrays == "cuda" else "cpu"}
    through_host = "through the host" in verdict.weaker or "on the host" in verdict.weaker
    assert through_host == (arrays == "cuda" and not request.node.through_ipc), verdict.weaker
    assert check(in_place, arrays)
    assert check(strided, arrays)
    for dtype in ("fp16", "fp32"):
        assert check(returns, arrays, f"{CASE} dtype={dtype}", repeat=4)


def test_a_whole_pipeline(arrays):
    for case in (
        "M=32 topk=2 act=silu",
        "M=64 topk=4 act=silu rsf=2.5",
        "M=8 topk=2 act=silu mode=inplace",
    ):
        verdict = moeparity.check(moe, case, tensors=arrays, repeat=3)
        assert verdict, verdict


def test_many_runs_leave_no_memory(arrays):
    verdicts = moeparity.check_all(moe, [f"M={m} topk=2 act=silu" for m in range(1, 41)], tensors=arrays)
    assert verdicts and len(verdicts) == 40, verdicts.failed


def test_changed_inputs_are_seen(arrays):
    def changes(cache1, case):
        out = silu(cache1, case.N)
        cache1[0, 0] = 5
        return out

    verdict = check(changes, arrays)
    assert "cache1 changed" in verdict.failures["input"], verdict


def test_rows_that_are_forgotten_are_seen(arrays):
    def forgets(cache1, cache2, case):
        cache2[:-1] = silu(cache1, case.N)[:-1]

    assert "poison" in check(forgets, arrays).failures


def test_writes_behind_a_buffer_are_seen(arrays, request):
    if not request.node.through_ipc:
        pytest.skip("only through CUDA IPC the guard zones of the device are the program's")
    from moeparity._arrays import _OnDevice

    def behind(cache1, cache2, case):
        cache2.copy_(silu(cache1, case.N))
        end = cache2.data_ptr() + cache2.numel() * cache2.element_size()
        torch.as_tensor(_OnDevice(end, 4), device=cache2.device).zero_()

    verdict = check(behind, arrays)
    assert "cache2: byte 128 of a buffer of 128 was written" in verdict.failures["guard"], verdict


def test_other_bits_in_another_run_are_seen(arrays):
    runs = []

    def never_the_same(cache1, case):
        runs.append(1)
        out = silu(cache1, case.N)
        out.view(torch.int16)[0, 0] ^= len(runs) & 1
        return out

    verdict = moeparity.check(never_the_same, CASE, tensors=arrays, contract="any act.deterministic=1")
    assert "1 of 64 elements differ" in "".join(verdict.failures.values()), verdict


def test_errors_have_a_reason(arrays):
    other = "cpu" if arrays == "cuda" else "meta"
    for kernel, reason in [
        (lambda cache1, case: silu(cache1, case.N)[:, 1:], "it has the shape (8, 7); expected (8, 8)"),
        (
            lambda cache1, case: silu(cache1, case.N).float(),
            "a torch tensor of torch.float32; expected torch.bfloat16",
        ),
        (lambda cache1, case: silu(cache1, case.N).to(other), f"it lies on {other}; expected it on "),
        (lambda cache1, case: [1], "returned a list; expected an array"),
        (lambda cache1, case: None, "returned None; expected cache2"),
    ]:
        verdict = check(kernel, arrays)
        assert verdict.status == "CRASH" and reason in verdict.reason, verdict


def test_a_fault_on_the_device_is_a_crash(tmp_path):
    """In a script: after it nothing can be computed in a process any more. The next case gets a new one."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    mine = tmp_path / "mine.py"
    mine.write_text(
        "import moeparity, torch\n"
        "@moeparity.subject(scope='act', contract='any')\n"
        "def f(cache1, case):\n"
        "    gate, up = cache1[:, :case.N].float(), cache1[:, case.N:].float()\n"
        "    if case.N == 8: cache1[torch.tensor([1 << 20], device='cuda')] = 0\n"
        "    return (gate * torch.sigmoid(gate) * up).to(cache1.dtype)\n"
        "moeparity.main(f)\n"
    )
    words = ["run", "--case", CASE, "--case", "M=4 N=16 scope=act"]
    done = subprocess.run([sys.executable, mine, *words], capture_output=True, text=True)
    assert done.returncode == 3 and "1 passed, 0 failed, 0 skipped, 1 crashed" in done.stdout, (
        done.stdout + done.stderr
    )


def test_cupy():
    cupy = pytest.importorskip("cupy")
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        pytest.skip("no CUDA device")

    def act(cache1, cache2, case):
        gate, up = cache1[:, : case.N].astype("f4"), cache1[:, case.N :].astype("f4")
        cache2[...] = gate / (1 + cupy.exp(-gate)) * up

    verdict = check(act, "cupy", CASE + " dtype=fp16")
    assert verdict, verdict


def test_the_example_in_triton():
    pytest.importorskip("triton")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    words = ["run", "seed", "--match", "M<=128"]
    done = subprocess.run(
        [sys.executable, "moe_triton.py", *words], cwd=EXAMPLES, capture_output=True, text=True
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0 and "8 passed, 0 failed, 2 skipped" in done.stdout
