#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How far three sums over topk are from float64, for each type of element: one table.

    python3 adapters/accuracy.py [--case 'M=256 topk=8 K=2048'] [--ours cuda|host] [--keep FOLDER]

The combine of this project, the Triton kernel of an installed sglang, and torch.sum: moeparity runs and
measures each of them (`scope=combine`), and this script reads its reports. float64 is the sum in ascending
order; torch's has another order. Exit code 0: every cell is a figure; 77: what is none was skipped, and
standard error says why; 3: something could not be run.

Started by moeparity, this file is the subject torch.sum.
"""
import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import moeparity  # noqa: E402
from adapters import published  # noqa: E402

try:
    import torch
except ImportError:
    torch = None

DTYPES = ("fp32", "fp16", "bf16", "fp64")


def torch_sum(case, cache3, out):
    """torch.sum over topk, scaled afterwards."""
    torch.sum(cache3, dim=1, out=out)
    if case.rsf != 1:
        out.mul_(case.rsf)


def serve():
    absent = None if torch else "torch is not installed"
    subject = moeparity.subject(
        contract="weakest", name="torch.sum", version=torch.__version__ if torch else None,
        supports=lambda case: absent, scope="combine", tensors=published.tensors(torch))
    moeparity.main(subject(torch_sum))


def subjects(ours):
    here = os.path.dirname(os.path.abspath(__file__))
    run = f"worker:{shlex.quote(sys.executable)} "
    return {
        f"moeparity ({ours})": ours,
        "sglang, Triton": run + shlex.quote(os.path.join(here, "sglang.py")) + " combine=triton",
        "torch.sum": run + shlex.quote(os.path.join(here, "accuracy.py")),
    }


def measure(program, subject, case, report):
    """{dtype: text of a cell} of one subject. A bound that fails is measured all the same."""
    cases = [word for dtype in DTYPES for word in ("--case", f"{case} scope=combine dtype={dtype}")]
    command = [program, "run", *cases, "--subject", subject, "--json", report, "-q"]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if not os.path.exists(report) or not os.path.getsize(report):
        return {dtype: "could not be run" for dtype in DTYPES}, ended.stdout
    cells = dict.fromkeys(DTYPES, "-")
    with open(report) as file:
        for verdict in json.load(file)["verdicts"]:
            dtype = next((d for d in DTYPES if f"dtype={d} " in verdict["name"]), "bf16")  # the default
            figures = verdict["stages"]["combine"]
            cells[dtype] = f"{figures['max_abs']:.1e}" if figures["compared"] else verdict["outcome"].lower()
    return cells, "" if all(map(is_figure, cells.values())) else ended.stdout


def is_figure(cell):
    return cell[:1].isdigit()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", default="M=256 topk=8 K=2048", help="fields of the case, without dtype")
    parser.add_argument("--ours", default="auto", help="the subject whose combine is ours [auto]")
    parser.add_argument("--keep", metavar="FOLDER", help="where the reports are left")
    parser.add_argument("--program", default=os.environ.get("MOEPARITY_PROGRAM", "moeparity"))
    words = parser.parse_args()
    print(f"| {words.case}: largest distance from float64 | " + " | ".join(DTYPES) + " |")
    print("|---" * (len(DTYPES) + 1) + "|")
    codes = {0}
    with tempfile.TemporaryDirectory() as scratch:
        folder = words.keep or scratch
        os.makedirs(folder, exist_ok=True)
        for i, (name, subject) in enumerate(subjects(words.ours).items()):
            report = os.path.join(folder, f"accuracy-{i}.json")
            cells, said = measure(words.program, subject, words.case, report)
            print(f"| {name} | " + " | ".join(cells[d] for d in DTYPES) + " |", flush=True)
            if said:
                print(said, file=sys.stderr)
                codes.add(77 if all(is_figure(c) or c == "skip" for c in cells.values()) else 3)
    return 3 if 3 in codes else max(codes)


if __name__ == "__main__":
    if "MOEPARITY_SUBJECT" in os.environ:
        serve()
    sys.exit(main())
