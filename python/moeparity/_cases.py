# SPDX-License-Identifier: Apache-2.0
"""The cases of a matrix."""

import json
import os
import subprocess
import tempfile

from moeparity import _program
from moeparity._case import Case
from moeparity._verdict import NotRun


def cases(*matrices, match=None, tier=None):
    """The cases of matrix files, or of matrices that come with the program ("seed"), as a list of Case.

        @pytest.mark.parametrize("case", moeparity.cases("seed", match="M<=128"), ids=str)
        def test_my_moe(case):
            moeparity.check(my_moe, case).require()

    match  only those that match, as `moeparity list --match`; tier  "smoke", "ci" (what is taken without it)
    or "full". NotRun tells what is wrong with a matrix, and that there is no such case.
    """
    words = [os.fspath(matrix) for matrix in matrices]
    words += ["--match", match] if match else []
    words += ["--tier", tier] if tier else []
    with tempfile.TemporaryDirectory(prefix="moeparity-") as folder:
        path = os.path.join(folder, "cases.json")
        done = subprocess.run(
            [_program.find(), "list", *words, "--json", path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode != 0:
            raise NotRun(done.stderr.strip().removeprefix("moeparity: "), done.returncode)
        with open(path, encoding="utf-8") as file:
            listed = json.load(file)["cases"]
    return [
        Case(
            c["name"], c["fields"], pairs=c["pairs"], after=c["after"], group_name=c["group"], tier=c["tier"]
        )
        for c in listed
    ]
