# SPDX-License-Identifier: Apache-2.0
"""adapters/bisect_package.py over the versions of a package that nobody has published: wheels of the program
tests/plugins/talker.py, of which one cannot be imported and the later ones are wrong."""

import os
import subprocess
import sys
import zipfile

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.path.join(ROOT, "adapters", "bisect_package.py")
RIGHT = "cache2[s * n + k] = narrow(gate / (1 + math.exp(-gate)) * up)"
VERSIONS = {
    "1.0": RIGHT,
    "1.1": RIGHT + "  # the same",
    "1.2": "raise ImportError('made for another machine')",
    "1.3": RIGHT,
    "1.4": RIGHT.replace("narrow(", "narrow(1.01 * "),
    "1.5": RIGHT.replace("narrow(", "narrow(1.01 * "),
    "1.6": RIGHT.replace("narrow(", "narrow(1.01 * "),
}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    with open(os.path.join(ROOT, "tests", "plugins", "talker.py")) as file:
        talker = file.read()
    assert talker.count(RIGHT) == 1
    for version, line in VERSIONS.items():
        text = talker.replace(RIGHT, line)
        if "ImportError" in line:
            text = line + "\n"
        info = f"standin_moe-{version}.dist-info"
        members = {
            "standin_moe/__init__.py": "",
            "standin_moe/__main__.py": text,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: standin-moe\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        members[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*members, f"{info}/RECORD"])
        with zipfile.ZipFile(folder / f"standin_moe-{version}-py3-none-any.whl", "w") as wheel:
            for name, content in members.items():
                wheel.writestr(name, content)
    return folder


RUN = ["--case", "M=2 N=8 scope=act", "--subject", "worker:{python} -m standin_moe"]


def bisect(wheels, *words):
    command = [sys.executable, TOOL, "standin-moe", "--moeparity", os.environ["MOEPARITY_PROGRAM"],
               "--keep", str(wheels / "environments"), "--pip=--no-index",
               f"--pip=--find-links={wheels}", *words, "--", *RUN]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
    return ended.returncode, ended.stdout, ended.stderr


def test_the_first_bad_version_is_found(wheels):
    """Versions as pip lists them; one in the way cannot be tested."""
    code, out, err = bisect(wheels, "--good", "1.0", "--bad", "1.6", "--fails-in", "bound:act")
    assert code == 0, out + err
    assert "standin-moe 1.3: good\nstandin-moe 1.4: bad\n" in out, out + err
    assert "1.4 is the first bad version\n4 of 7 versions were tested; the last good one is 1.3\n" in out


def test_what_cannot_be_tested_is_told(wheels):
    code, out, err = bisect(wheels, "--good", "1.0", "--bad", "1.4", "--versions", "1.0,1.2,1.4")
    assert code == 1, out + err
    assert "standin-moe 1.2: cannot be tested" in out
    assert "the first bad version is one of 1.2, 1.4: those between cannot be tested\n" in out


@pytest.mark.parametrize("words, why", [
    (["--good", "1.0", "--bad", "2.0", "--versions", "1.0,1.1"], "2.0: expected one of 1.0, 1.1"),
    (["--good", "1.1", "--bad", "1.0", "--versions", "1.0,1.1"], "does not come before"),
    (["--good", "1.4", "--bad", "1.6", "--versions", "1.4,1.6"], "1.4 was said to be good, and is not"),
    (["--good", "1.2", "--bad", "1.4", "--versions", "1.2,1.4"],
     "1.2 was said to be good, and cannot be tested"),
    (["--good", "1.0", "--bad", "1.4", "--versions", "1.0,1.4", "--fails-in", "nothing"], "ended with 129"),
])
def test_a_wrong_line_is_no_answer(wheels, words, why):
    code, out, err = bisect(wheels, *words)
    assert code == 2 and why in err, out + err
