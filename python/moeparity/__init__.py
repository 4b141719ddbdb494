# SPDX-License-Identifier: Apache-2.0
"""moeparity for Python: a fused-MoE kernel that is a Python function, judged.

    @moeparity.subject(contract="ieee-any-order")
    def my_moe(x, w1, w2, topk_weights, topk_ids, case): ...; return out

    moeparity.main(my_moe)                                   the last line of a script
    moeparity.check(my_moe, "M=32 topk=2 act=silu")          in a notebook or a test
    moeparity.cases("cases/seed.yaml")                       for pytest.mark.parametrize

The pages docs/python.md and docs/subjects.md of the project tell more.
"""

from moeparity._case import Case
from moeparity._cases import cases
from moeparity._check import check, check_all
from moeparity._main import main
from moeparity._only import only
from moeparity._subject import Unsupported, subject
from moeparity._verdict import NotRun, Verdict, Verdicts

__all__ = [
    "Case",
    "NotRun",
    "Unsupported",
    "Verdict",
    "Verdicts",
    "cases",
    "check",
    "check_all",
    "main",
    "only",
    "subject",
]
