#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Predicted bits by stage, out of JSON reports of moeparity: one table.

    python3 adapters/table.py REPORT.json...

For each subject and stage: how many outputs were compared with their prediction, how many differ, in how many
cases, and how many cases of the stage have no prediction; below it the first difference of each case that has
one, as hex. A report's own verdict is not repeated: this counts what was compared.
"""
import collections
import json
import struct
import sys

STAGES = ("align", "quant_x", "gate_up", "shrink_gate_up", "expand_gate_up", "act", "quant_act", "down",
          "shrink_down", "expand_down", "combine")
OURS = ("ref", "host", "cuda")  # subjects whose versions are those of driver and compiler alone


def code(value, dtype):
    """The bits of a number of a report, which is one of dtype, as hex."""
    value = float(value)  # "nan" and "inf" are texts
    if dtype == "fp16":
        return struct.pack(">e", value).hex()
    if dtype == "fp64":
        return struct.pack(">d", value).hex()
    bits = struct.pack(">f", value).hex()
    return bits[:4] if dtype == "bf16" else bits


def dtype_of(name):
    return next((word[6:] for word in name.split() if word.startswith("dtype=")), "bf16")


class Row:
    def __init__(self):
        self.compared = self.differ = self.cases = self.cases_differ = self.silent = 0


def read(paths):
    """Rows by (subject, stage), outcomes by subject, and texts of first differences."""
    rows = collections.defaultdict(Row)
    outcomes = collections.defaultdict(collections.Counter)
    first = []
    for path in paths:
        with open(path) as file:
            report = json.load(file)
        for verdict in report["verdicts"]:
            who = report["run"]["versions"].split(", ")[0]  # behind it the compiler's
            subject = verdict["subject"]
            if subject not in OURS:
                subject = " ".join(who.split()[:2]) or subject
            outcomes[subject][verdict["outcome"]] += 1
            for stage in STAGES:
                figures = verdict["stages"].get(stage)
                if not figures or not figures["judged"]:
                    continue
                row = rows[subject, stage]
                row.cases += 1
                row.compared += figures["predicted"]
                row.differ += figures["mispredicted"]
                row.silent += figures["predicted"] == 0
                if figures["mispredicted"]:
                    row.cases_differ += 1
                    codes = stage.startswith("quant")  # and scales
                    dtype = "fp32" if codes else dtype_of(verdict["name"])
                    first.append(
                        f"{subject}, {verdict['name']}: {stage}{figures['first']}: "
                        f"{code(figures['first_value'], dtype)}, predicted "
                        f"{code(figures['first_predicted'], dtype)}; {figures['mispredicted']} of "
                        f"{figures['predicted']}, by at most {figures['max_ulps']} ulp")
    return rows, outcomes, first


def main(paths):
    if not paths:
        print(f"usage: {sys.argv[0]} REPORT.json...", file=sys.stderr)
        return 2
    try:
        rows, outcomes, first = read(paths)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        print(f"{sys.argv[0]}: no report of moeparity: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print("| subject | stage | cases | outputs compared | differ | in cases | cases without a prediction |")
    print("|---|---|---|---|---|---|---|")
    total = differ = 0
    for (subject, stage), row in rows.items():
        print(f"| {subject} | {stage} | {row.cases} | {row.compared:,} | {row.differ:,} | {row.cases_differ} "
              f"| {row.silent} |")
        total, differ = total + row.compared, differ + row.differ
    print(f"\n{total:,} outputs compared with their predicted bits, {differ:,} differ.")
    for subject, counts in outcomes.items():
        print(f"{subject}: " + ", ".join(f"{n} {outcome}" for outcome, n in sorted(counts.items())))
    for text in first:
        print("- " + text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
