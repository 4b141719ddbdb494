# SPDX-License-Identifier: Apache-2.0
"""Judging a function of this process: the program runs beside it, and its subject is a relay to here."""

import inspect
import json
import os
import re
import select
import socket
import subprocess
import sys
import tempfile

from moeparity import _program, _serve
from moeparity._case import Case
from moeparity._subject import subject, subject_of
from moeparity._verdict import NotRun, Verdict, Verdicts, rows

RELAY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_relay.py")
_SUBJECT_OPTIONS = [name for name in inspect.signature(subject).parameters if name != "function"]


def check(function, case, **options):
    """Judges a function on one case, in this process and this thread: a Verdict.

    case     a text, "M=32 topk=2 act=silu"; fields, {"M": 32}; or a Case of moeparity.cases, whose pairs,
             and what it runs after, are judged too
    options  those of moeparity.subject, which go before the decorator's; and those of `moeparity run`, with _
             for -: repeat=3, strict=True, golden="mine.h5", against="host", pair=["path=runner"]

    NotRun where nothing could be judged: a case that cannot be, an option that there is not. What the
    function raises is in the verdict. An endless loop in it cannot be ended from here, but by Ctrl-C.
    """
    return _judge(function, ["--case", _text(case), *_variants(case)], options)[0]


def check_all(function, cases, **options):
    """The same for several cases: Verdicts. `cases` is a list of what check() takes; or the path of a matrix,
    or its name ("seed"), with match= and tier=."""
    if isinstance(cases, (str, os.PathLike)):
        return _judge(function, [os.fspath(cases)], options)
    words = [word for case in cases for word in ("--case", _text(case), *_variants(case))]
    if not words:
        raise ValueError("there is no case")
    return _judge(function, words, options)


def _text(case):
    if isinstance(case, dict):
        return " ".join(f"{name}={int(v) if isinstance(v, bool) else v}" for name, v in case.items())
    if isinstance(case, (str, Case)):
        return str(case)
    raise TypeError(f"{case!r} is no case: expected a text, a dict of fields or a Case")


def _variants(case):
    if not isinstance(case, Case):
        return []
    pairs = [word for pair in case.pairs for word in ("--pair", pair)]
    return pairs + [word for after in case.after for word in ("--after", after)]


def _words(options):
    """Options of `moeparity run` as words."""
    words = []
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if one is True:
                words.append(option)
            elif one is not None and one is not False:
                words += [option, str(one)]
    return words


def _judge(function, cases, options):
    own = {name: options.pop(name) for name in _SUBJECT_OPTIONS if name in options}
    for taken in ("subject", "json", "jobs", "in_process", "color", "dry_run"):
        if taken in options:
            raise TypeError(f"check() has no option {taken!r}")
    described = subject_of(function, **own)
    program = _program.find()
    with tempfile.TemporaryDirectory(prefix="moeparity-") as folder:
        path = os.path.join(folder, "socket")
        report = os.path.join(folder, "report.json")
        relay = _program.worker(sys.executable or "python3", "-I", "-S", RELAY, path)
        words = ["run", *cases, *_words(options), "--subject", relay, "--json", report, "--color", "never"]
        with (
            socket.socket(socket.AF_UNIX) as listening,
            open(os.path.join(folder, "out"), "w+b") as out,
            open(os.path.join(folder, "err"), "w+b") as err,
        ):
            listening.bind(path)
            listening.listen()
            sys.stderr.flush()
            process = subprocess.Popen([program, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            errors = {}
            try:
                _serve_until_end(described, listening, process, errors)
            finally:
                if process.poll() is None:
                    process.terminate()
                process.wait()
            out.seek(0)
            err.seek(0)
            terminal, diagnostics = out.read().decode(errors="replace"), err.read().decode(errors="replace")
        if not os.path.exists(report):
            raise NotRun(
                _said(diagnostics) or f"moeparity ended with {process.returncode}", process.returncode
            )
        with open(report, encoding="utf-8") as file:
            return _verdicts(json.load(file), terminal, diagnostics, process.returncode, described, errors)


def _serve_until_end(described, listening, process, errors):
    """Serves one relay after the other until the program has ended."""
    while process.poll() is None:
        if not select.select([listening], [], [], 0.02)[0]:
            continue
        there = listening.accept()[0]
        with there:
            _, descriptors, _, _ = socket.recv_fds(there, 64, 3)
            try:
                if len(descriptors) != 3:
                    continue
                server = _serve.Server(described, *descriptors)
                try:
                    server.serve()
                finally:
                    errors.update(server.errors)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)


def _said(diagnostics):
    return diagnostics.strip().removeprefix("moeparity: ")


def _verdicts(report, terminal, diagnostics, code, described, errors):
    found, printed = report["verdicts"], rows(terminal)
    if not found or len(found) != len(printed):
        raise NotRun(_said(diagnostics) or "the program judged nothing", code)
    if report["run"]["interrupted"]:  # the rest was not judged: those before it are no pass of all
        raise NotRun(f"interrupted after {len(found)} of {report['run']['cases']} cases", code)
    verdicts = Verdicts()
    for verdict, row in zip(found, printed):
        again = f"moeparity.check({described.name}, {verdict['name']!r})"
        verdict["repro"] = again
        row = re.sub(r"(?m)^( +repro: ).*$", lambda m: m.group(1) + again, row)
        verdicts.append(Verdict(verdict, row, errors.get(verdict["name"])))
    return verdicts
