# SPDX-License-Identifier: Apache-2.0
"""What a run says of its cases."""

import html
import re


def _skip(reason):
    import unittest  # here: it takes longer than all else that a worker imports of the package

    return unittest.SkipTest(reason)


class NotRun(RuntimeError):
    """The program judged nothing: bad input, or a subject that could not be started. The text is its own.

    code  its exit code: 2 bad input, 3 could not be run, ...
    """

    def __init__(self, text, code):
        super().__init__(text)
        self.code = code


class Verdict:
    """Of one case. True if it passed, and only then: a skip is no pass. Printed, it is the terminal's row.

    row        the row, with what follows it where the case failed
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

    def require(self):
        """The verdict itself if it passed. Else an AssertionError with the row, from the exception of the
        function where there is one; of a skip unittest.SkipTest, which pytest knows too."""
        if self:
            return self
        if self.status == "SKIP":
            raise _skip(self.reason)
        raise AssertionError(self.row) from self.exception


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
        """The verdicts themselves, or an AssertionError with the rows of those that failed."""
        if self:
            return self
        if not self.failed:
            raise _skip(self[0].reason if len(self) > 0 else "there is no case")
        raise AssertionError("\n".join(v.row for v in self.failed)) from self.failed[0].exception


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
