# SPDX-License-Identifier: Apache-2.0
"""main() and the wire: scripts as a user starts them, with their exit codes."""

import json
import os
import re
import shlex
import signal
import struct
import subprocess
import sys
import time

import pytest

from moeparity import _program
from moeparity._frames import Channel

HERE = os.path.dirname(os.path.abspath(__file__))
KERNELS = os.path.join(HERE, "kernels.py")
CASE = "M=4 N=8 scope=act"


def start(*words, kernel=None, **options):
    environment = {**os.environ, "KERNEL": kernel or "act", **options.pop("env", {})}
    pipe = subprocess.PIPE
    return subprocess.Popen(words, env=environment, stdout=pipe, stderr=pipe, text=True, **options)


def script(kernel, *words, **options):
    """(exit code, stdout, stderr) of the script with this kernel."""
    process = start(sys.executable, KERNELS, kernel, *words, **options)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_a_script_is_the_program():
    code, out, err = script("act", "run", "--case", CASE)
    assert code == 0 and "1 passed" in out and "act 1.0" in out, err
    code, out, err = script("act", "show", "--case", CASE)
    assert code == 0 and "contract  ieee-any-order: " in out
    code, out, err = script("act", "list", "seed", "--match", "M=8")
    assert (code, out) == (0, "M=8 topk=2 act=silu\n")
    code, out, err = script("act", "--version")
    assert code == 0 and out.startswith("moeparity ")
    code, out, err = script("act", "run", "--help")
    assert code == 0 and "--subject" in out
    code, out, err = script("act", "run", "--case", CASE, "--tolerance", "3")
    assert code == 2 and "unknown option '--tolerance'" in err


def test_without_arguments():
    code, out, err = script("act_of_little")
    assert "moeparity: no arguments: run stages --match scope=act\n" in err
    assert code == 0 and re.search(r"[1-9][0-9]* passed, 0 failed, ", out) and "is act alone" not in out


def test_which_commands_have_a_subject():
    """The program knows it better than _program.WITH_SUBJECT; the subjects of export are its own."""
    text = subprocess.run([_program.find(), "help"], capture_output=True, text=True, check=True).stdout
    commands = set(re.findall(r"(?m)^  ((?:golden |report |bisect |tune |bench )?[a-z]+)", text))
    assert {"run", "golden record"} <= commands
    for command in commands:
        told = subprocess.run([_program.find(), "help", *command.split()], capture_output=True, text=True)
        takes = re.search(r"(?m)^ +--subject\b", told.stdout) is not None and "worker:" in told.stdout
        assert takes == (command in _program.WITH_SUBJECT), command


def test_golden(tmp_path):
    golden = str(tmp_path / "mine.h5")
    assert script("act", "golden", "record", golden, "--case", CASE)[0] == 0
    code, out, err = script("act_in_place", "golden", "verify", golden)
    assert code == 0 and "golden=equal" in out, err
    code, out, err = script("act_wrong", "golden", "verify", golden)
    assert code == 1 and "golden: " in out


@pytest.mark.parametrize(
    "kernel, code, text",
    [
        ("act_wrong", 1, "[FAIL]  M=4 topk=2 N=8 act=silu scope=act"),
        ("act_raises", 3, "KeyError: 'no such tile' (kernels.py:"),
        ("act_ends", 3, "the program ended with exit code 5 before it answered to run"),
        ("act_hangs", 3, "[TIMEOUT]"),
        ("act_contract", 3, "unknown contract 'sm_91'"),
        ("act_unsupported", 77, "N must be a multiple of 128"),
    ],
)
def test_exit_codes(kernel, code, text):
    timeout = "4" if kernel == "act_hangs" else "60"  # Python takes seconds to start on a busy machine
    got, out, err = script(kernel, "run", "--case", CASE, "--timeout", timeout)
    assert (got, text in out) == (code, True), out + err


def test_a_worker_of_the_program():
    """What kernels print is on standard error; the repro starts the same script."""
    subject = f"worker:{sys.executable} {KERNELS}"
    process = start(_program.find(), "run", "--case", CASE, "--subject", subject, kernel="act_wrong")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    repro = re.search(r"repro: (.*)", out).group(1)
    words = shlex.split(repro)
    assert words[0] == "moeparity" and words[-1] == subject
    again = start(_program.find(), *words[1:], kernel="act_wrong")
    assert again.communicate(timeout=60)[0].splitlines()[:3] == out.splitlines()[:3]


def test_a_script_that_does_not_start(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("import moeparity\nimport no_such_module\n")
    process = start(
        _program.find(), "run", "--case", CASE, "--subject", f"worker:{sys.executable} {broken}"
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "No module named 'no_such_module'" in err
    assert "the program ended with exit code 1 before it answered to hello" in err


def test_arrays_that_are_not_here(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "import moeparity\n"
        "@moeparity.subject(tensors='cupy')\ndef f(x): return x\n"
        "moeparity.main(f)\n"
    )
    code, out, err = (lambda p: (p.wait(), *p.communicate()))(
        start(sys.executable, mine, "run", "--case", "M=4")
    )
    assert code == 77 and "No module named 'cupy'" in out, err
    mine.write_text(mine.read_text().replace("cupy", "jax"))
    code, out, err = (lambda p: (p.wait(), *p.communicate()))(
        start(sys.executable, mine, "run", "--case", "M=4")
    )
    assert code == 2 and "tensors='jax': expected one of 'numpy', 'torch', 'cuda', 'cupy'" in err


def test_no_program():
    code, out, err = script("act", "run", env={"MOEPARITY_PROGRAM": "/no/such"})
    assert code == 3 and err == "moeparity: MOEPARITY_PROGRAM=/no/such: there is no such program\n"


def running_in(session):
    """The processes of a session that have not ended."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                state, _, _, its_session = file.read().rpartition(")")[2].split()[:4]
        except OSError:
            continue  # it has ended meanwhile
        if int(its_session) == session and state != "Z":
            found.append(int(pid))
    return found


def test_ctrl_c():
    process = start(sys.executable, KERNELS, "act_hangs", "run", "--case", CASE, start_new_session=True)
    assert "it hangs" in process.stderr.readline()
    os.killpg(process.pid, signal.SIGINT)
    begin = time.monotonic()
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 3 and "interrupted" in out
    assert time.monotonic() - begin < 10
    while running_in(process.pid) and time.monotonic() - begin < 10:
        time.sleep(0.05)
    assert running_in(process.pid) == []


def speak(*requests, env="1"):
    """What a script answers to these bytes on descriptor 3: (exit code, answers, stderr)."""
    to, answers, memory = os.pipe(), os.pipe(), os.memfd_create("memory")
    os.write(to[1], b"".join(requests))
    os.close(to[1])

    def descriptors():
        for i, descriptor in enumerate([to[0], answers[1], memory]):
            os.dup2(descriptor, 20 + i)
        for i in range(3):
            os.dup2(20 + i, 3 + i)

    process = subprocess.Popen(
        [sys.executable, KERNELS],
        env={**os.environ, "MOEPARITY_SUBJECT": env, "KERNEL": "act"},
        close_fds=False,
        preexec_fn=descriptors,
        stderr=subprocess.PIPE,
        text=True,
    )
    for descriptor in (to[0], answers[1], memory):
        os.close(descriptor)
    _, err = process.communicate(timeout=30)
    with os.fdopen(answers[0], "rb") as file:
        got = file.read()
    said = []
    while got:
        (length,) = struct.unpack("<I", got[:4])
        said.append(json.loads(got[4 : 4 + length]))
        got = got[4 + length :]
    return process.returncode, said, err


def frame(message):
    text = message if isinstance(message, bytes) else json.dumps(message).encode()
    return struct.pack("<I", len(text)) + text


def test_the_wire():
    hello = {"hello": {"protocol": 1}}
    assert speak() == (0, [], "")  # the end at once
    code, said, err = speak(frame(hello))
    assert "sentinel" in said[0]["hello"].pop("takes")
    assert (code, said, err) == (0, [{"hello": {"protocol": 1, "name": "act", "version": "1.0"}}], "")
    assert speak(frame(hello)[:7])[:2] == (0, [])  # the end within a message
    code, said, _ = speak(frame({"hello": {"protocol": 2}}))
    assert code == 0 and said[0]["failed"]["status"] == "bad input"
    code, said, _ = speak(frame(hello), frame({"thanks": {}}))
    assert said[1] == {"failed": {"status": "internal error", "error": "nothing is known of 'thanks'"}}
    for nonsense in (b"\xff\xff\xff\xff", frame(b"hello"), frame([1]), frame({"a": 1, "b": 2})):
        code, said, err = speak(nonsense)
        assert code == 1 and said == [] and "Error" in err
    code, said, err = speak(frame(hello), env="2")
    assert code == 1 and said == [] and "speaks protocol 1" in err


def test_nobody_listens():
    read, write = os.pipe()
    os.close(read)
    assert Channel(-1, write).send("hello", {}) is False
    os.close(write)
