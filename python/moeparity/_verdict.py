# SPDX-License-Identifier: Apache-2.0
"""What a run says of its cases."""

import html
import re


def _skip(reason):
    import unittest  # here: it takes longer than all else that a worker imports of the package

    return unittest.SkipTest(reason)


class NotRun(RuntimeError):
    """The program judged nothing: bad input, or a subject that could not be started. The text is its own. Or
    it was interrupted, and has not judged all.

    code  its exit code: 2 bad input, 3 could not be run, ...
    """

    def __init__(self, text, code):
        super().__init__(text)
        self.code = code


class Verdict:
    """Of one case. True if it passed, and only then: a skip is no pass. Printed, it is the terminal's row.

    row        the row, with what follows it where the case failed
    message    the same for a test's report: a short first line with outcome, check, stage and place, then one
               fact a line
    status     "PASS", "FAIL", "SKIP", "CRASH" or "TIMEOUT"
    reason     why it was skipped, or the first failure
    case       the case's text
    failures   check -> text of each check that failed
    stages     stage -> its figures, as the JSON report has them, for each stage that was judged
    report     all that the JSON report holds of the case
    weaker     what the checks could not see of it, and how much a sharper contract would see; or ""
    exception  what the function raised, or None
    """

    def __init__(self, report, row, exception=None):
        self.report = report
        self.row = row
        self.case = report["name"]
        self.status = report["outcome"]
        self.reason = report["reason"]
        self.weaker = report["weaker"]
        self.exception = exception if self.status in ("SKIP", "CRASH") else None
        self.failures = {k: c["text"] for k, c in report["checks"].items() if c["answer"] == "failed"}
        self.stages = {k: s for k, s in report["stages"].items() if s["judged"]}

    def __bool__(self):
        return self.status == "PASS"

    def __repr__(self):
        return self.row

    def _repr_html_(self):
        colour = {"PASS": "green", "SKIP": "gray"}.get(self.status, "firebrick")
        return (
            f'<pre style="border-left: 4px solid {colour}; padding-left: 1em">{html.escape(self.row)}</pre>'
        )

    @property
    def message(self):
        facts = [f"case: {self.case}"]
        if self.reason and self.status != "FAIL":  # of a failure it is among the lines below the row
            facts.append(self.reason)
        for line in map(str.strip, self.row.splitlines()[1:]):
            facts += [line] if line.startswith("repro: ") else line.split("; ")
        return "\n  ".join([f"{self.status} {_beginning(self.reason)}".rstrip(), *facts])

    def require(self):
        """The verdict itself if it passed. Else an AssertionError with the message, from the exception of the
        function where there is one; of a skip unittest.SkipTest, which pytest knows too."""
        if self:
            return self
        if self.status == "SKIP":
            raise _skip(self.reason)
        raise AssertionError(self.message) from self.exception


_FIRST_LINE = 64  # characters of a reason: a place fits, and pytest's summary has not cut it yet


def _beginning(reason):
    """As many of the parts "check: stage: place: what" as fit into the first line."""
    lines = reason.splitlines() or [""]
    parts = lines[0].split(": ")
    said = parts[0]
    for part in parts[1:]:
        if len(said) + len(part) + 2 > _FIRST_LINE:
            break
        said += ": " + part
    return said if len(said) <= _FIRST_LINE else said[: _FIRST_LINE - 3] + "..."


class Verdicts(list):
    """Those of several cases, a list of Verdict. True if all that were judged passed, and there are some."""

    def __bool__(self):
        return any(self) and all(v or v.status == "SKIP" for v in self)

    def __repr__(self):
        return "\n".join(v.row for v in self)

    def _repr_html_(self):
        return "".join(v._repr_html_() for v in self)

    @property
    def failed(self):
        """Those that neither passed nor were skipped, an ordinary list."""
        return [v for v in self if not v and v.status != "SKIP"]

    def require(self):
        """The verdicts themselves, or an AssertionError with the messages of those that failed."""
        if self:
            return self
        if not self.failed:
            raise _skip(self[0].reason if len(self) > 0 else "there is no case")
        raise AssertionError("\n".join(v.message for v in self.failed)) from self.failed[0].exception


_ROW = re.compile(r"^\[(OK|FAIL|SKIP|CRASH|TIMEOUT)\]")
_SUMMARY = re.compile(r"^\d+ cases?: \d+ passed, ")


def rows(terminal):
    """The rows that the program printed, each with the indented lines that follow it."""
    found = []
    for line in terminal.splitlines():
        if _SUMMARY.match(line):
            break
        if _ROW.match(line):
            found.append(line)
        elif found and line.startswith(" "):
            found[-1] += "\n" + line
    return found
