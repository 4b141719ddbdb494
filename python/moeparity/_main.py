# SPDX-License-Identifier: Apache-2.0
"""The last line of a script that holds a kernel."""

import os
import sys

from moeparity import _program, _serve
from moeparity._subject import subject_of


def main(function):
    """Makes a script the program moeparity with this function as its subject:

        python mine.py run seed --match 'M<=128'    and every other command and option
        python mine.py                              `run seed --tier smoke`, or with scope="act" in the
                                                    decorator `run stages --match scope=act`

    Where the program has started the script as its subject, the function is served instead. Does not return.
    """
    subject = subject_of(function)
    if _serve.VARIABLE in os.environ:
        _serve.serve_descriptors(subject)
        sys.exit(0)
    arguments = sys.argv[1:]
    if not arguments:
        arguments = ["run", "stages", "--match", f"scope={subject.scope}"] if subject.scope else None
        arguments = arguments or ["run", "seed", "--tier", "smoke"]
        print(f"moeparity: no arguments: {' '.join(arguments)}", file=sys.stderr)
    _program.become(_program.with_subject(arguments, _program.worker(sys.executable, *_script())))


def _script():
    """The words behind `python` that start this script again."""
    this = sys.modules["__main__"]
    spec = getattr(this, "__spec__", None)
    if spec is not None:
        return ["-m", spec.name.removesuffix(".__main__")]
    if not getattr(this, "__file__", None):
        raise RuntimeError("main() belongs into a script; in a notebook there is moeparity.check()")
    return [os.path.abspath(this.__file__)]
