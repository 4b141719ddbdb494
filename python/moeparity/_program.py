# SPDX-License-Identifier: Apache-2.0
"""The program moeparity: where it is, and how a script becomes it."""

import os
import shlex
import shutil
import sys

VARIABLE = "MOEPARITY_PROGRAM"
INSTALLED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "native", "bin", "moeparity")
COULD_NOT_BE_RUN = 3  # an exit code of the program
WITH_SUBJECT = (
    "run",
    "show",
    "infer",
    "golden record",
    "golden refresh",
    "golden verify",
    "bench kernels",
    "bench suite",
    "bisect stage",
    "bisect k",
    "bisect config",
    "bisect case",
    "bisect set",
    "tune verify",
    "tune diff",
    "tune certificate",
    "tune check",
)  # the commands that take --subject


def find():
    """Its path: MOEPARITY_PROGRAM, the one that is installed with this package, or that on PATH.
    FileNotFoundError where there is none."""
    named = os.environ.get(VARIABLE)
    if named:
        if not os.access(named, os.X_OK):
            raise FileNotFoundError(f"{VARIABLE}={named}: there is no such program")
        return named
    if os.access(INSTALLED, os.X_OK):
        return INSTALLED
    found = shutil.which("moeparity")
    if not found:
        raise FileNotFoundError(
            "the program moeparity is neither installed with this package nor on PATH: "
            f"pip install . in a checkout, or say in {VARIABLE} where it is"
        )
    return found


def worker(*words):
    """The subject that is a command of these words."""
    return "worker:" + " ".join(map(shlex.quote, words))


def become(arguments):
    """This process becomes the program. Does not return."""
    try:
        program = find()
    except FileNotFoundError as error:
        print(f"moeparity: {error}", file=sys.stderr)
        sys.exit(COULD_NOT_BE_RUN)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(program, ["moeparity", *arguments])


def with_subject(arguments, subject):
    """The arguments of a script, with itself as the subject of the commands that have one."""
    words = [word for word in arguments if not word.startswith("-")]
    command = " ".join(words[:2] if words[:1] in (["golden"], ["bisect"], ["tune"]) else words[:1])
    asked_for_help = "--help" in arguments or "-h" in arguments
    if command not in WITH_SUBJECT or asked_for_help:
        return list(arguments)
    return [*arguments, "--subject", subject]


def command():
    """The console script `moeparity`."""
    become(sys.argv[1:])
