#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which version of a published package broke a kernel: git bisect, over versions.

    python3 adapters/bisect_package.py vllm --good 0.10.0 --bad 0.33.0 --with out/wheel/*.whl -- \\
        cases/seed.yaml --subject 'worker:{python} adapters/vllm.py stages'

Installs one version after the other into a fresh virtual environment, and asks `moeparity bisect step` with
the arguments behind --, in which {python} is that environment's interpreter. What the subject imports besides
must be named by --with: of this project the wheel that script/wheel makes. Versions come from `pip index
versions`, or from --versions. Exit codes: 0 the first bad version was found; 1 it is one of several, as those
between cannot be tested; 2 the line is wrong, or --good is not good, or --bad is not bad, or one of the two
cannot be tested.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

GOOD, BAD, CANNOT_TEST = 0, 1, 125


def parse(argv):
    parser = argparse.ArgumentParser(prog="bisect_package.py", description=__doc__.split("\n")[0])
    parser.add_argument("package")
    parser.add_argument("--good", required=True, metavar="VERSION")
    parser.add_argument("--bad", required=True, metavar="VERSION")
    parser.add_argument("--versions", metavar="LIST", help="in order, the oldest first: 1.0,1.1,1.2")
    parser.add_argument("--with", dest="extra", action="append", default=[], metavar="REQUIREMENT",
                        help="installed beside it: torch==2.11, or a path to a wheel")
    parser.add_argument("--pip", action="append", default=[], metavar="OPTION",
                        help="for every call of pip: --pip=--pre, --pip=--find-links=wheels")
    parser.add_argument("--fails-in", metavar="WHAT", help="of moeparity bisect step")
    parser.add_argument("--moeparity", default="moeparity", metavar="PROGRAM")
    parser.add_argument("--keep", metavar="FOLDER", help="keep the environments there, and use them again")
    if "--" not in argv:
        parser.error("behind --: expected the arguments of moeparity run")
    at = argv.index("--")
    args = parser.parse_args(argv[:at])
    args.run = argv[at + 1:]
    return args


def released(args):
    """The versions that pip finds, the oldest first."""
    command = [sys.executable, "-m", "pip", "index", "versions", args.package, *args.pip]
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"^Available versions: (.+)$", done.stdout, re.MULTILINE)
    if not found:
        why = done.stderr.strip() or "no versions"
        raise SystemExit(f"bisect_package: {' '.join(command)}: {why}; give --versions")
    return found.group(1).replace(" ", "").split(",")[::-1]


def span(args):
    """The versions from --good to --bad."""
    versions = args.versions.replace(" ", "").split(",") if args.versions else released(args)
    for version in (args.good, args.bad):
        if version not in versions:
            raise SystemExit(f"bisect_package: {version}: expected one of {', '.join(versions)}")
    first, last = versions.index(args.good), versions.index(args.bad)
    if first >= last:
        raise SystemExit(f"bisect_package: --good {args.good} does not come before --bad {args.bad}")
    return versions[first:last + 1]


class Environments:
    """A fresh virtual environment for each version; the answer of each version, once."""

    def __init__(self, args):
        self.args = args
        self.folder = args.keep or tempfile.mkdtemp(prefix="bisect_package.")
        self.answers = {}

    def close(self):
        if not self.args.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _python(self, version):
        """The interpreter of the environment, or None where the version cannot be installed."""
        place = os.path.join(self.folder, f"{self.args.package}-{version}")
        python, done = os.path.join(place, "bin", "python3"), os.path.join(place, "installed")
        if os.path.exists(done):
            return python
        shutil.rmtree(place, ignore_errors=True)
        make = [sys.executable, "-m", "venv", "--without-pip", place]  # ours is told to serve it
        install = [sys.executable, "-m", "pip", "--python", python, "install", "-q",
                   "--disable-pip-version-check", *self.args.pip, f"{self.args.package}=={version}",
                   *self.args.extra]
        for command in (make, install):
            if subprocess.run(command, stdout=sys.stderr).returncode != 0:
                return None
        open(done, "w").close()
        return python

    def test(self, version):
        if version not in self.answers:
            python = self._python(version)
            self.answers[version] = self._step(python) if python else CANNOT_TEST
            words = {GOOD: "good", BAD: "bad", CANNOT_TEST: "cannot be tested"}
            print(f"{self.args.package} {version}: {words[self.answers[version]]}", flush=True)
        return self.answers[version]

    def _step(self, python):
        command = [self.args.moeparity, "bisect", "step"]
        if self.args.fails_in:
            command += ["--fails-in", self.args.fails_in]
        command += ["--", *(word.replace("{python}", python) for word in self.args.run)]
        done = subprocess.run(command, stdout=sys.stderr)
        if done.returncode not in (GOOD, BAD, CANNOT_TEST):
            raise SystemExit(f"bisect_package: {command[0]} bisect step ended with {done.returncode}")
        return done.returncode


def nearest(low, high, cannot):
    """The untested position nearest to the middle of low..high, or None."""
    middle = (low + high) // 2
    open_ones = [i for i in range(low + 1, high) if i not in cannot]
    return min(open_ones, key=lambda i: abs(i - middle)) if open_ones else None


def bisect(versions, test):
    """Positions (low, high): the last version known to be good, the first known to be bad. What lies between
    cannot be tested."""
    low, high, cannot = 0, len(versions) - 1, set()
    while (at := nearest(low, high, cannot)) is not None:
        answer = test(versions[at])
        if answer == CANNOT_TEST:
            cannot.add(at)
        elif answer == GOOD:
            low = at
        else:
            high = at
    return low, high


def main(argv):
    args = parse(argv)
    versions = span(args)
    environments = Environments(args)
    try:
        for version, expected in ((args.good, GOOD), (args.bad, BAD)):
            answer = environments.test(version)
            if answer != expected:
                raise SystemExit(f"bisect_package: {args.package} {version} was said to be "
                                 f"{'good' if expected == GOOD else 'bad'}, and "
                                 f"{'cannot be tested' if answer == CANNOT_TEST else 'is not'}")
        low, high = bisect(versions, environments.test)
    finally:
        environments.close()
    tested = len(environments.answers)
    found = high == low + 1
    print(f"{versions[high]} is the first bad version" if found else
          f"the first bad version is one of {', '.join(versions[low + 1:high + 1])}: "
          "those between cannot be tested")
    print(f"{tested} of {len(versions)} versions were tested; the last good one is {versions[low]}")
    return 0 if found else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            sys.exit(2)
        raise
