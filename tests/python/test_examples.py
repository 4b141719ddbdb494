# SPDX-License-Identifier: Apache-2.0
"""The workflows of this repository, and the files under docs/examples that people copy: they are well
formed, their commands exist, and those for engines that start a program many times are run as one would."""
import functools
import json
import os
import pathlib
import re
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
WORKFLOWS = sorted([*(ROOT / ".github" / "workflows").glob("*.yml"), *(EXAMPLES / "github").glob("*.yml")])
SCRIPTS = [EXAMPLES / "slurm.sbatch", EXAMPLES / "mpirun.sh"]
KUBERNETES = EXAMPLES / "kubernetes.yaml"
PROGRAM = pathlib.Path(os.environ["MOEPARITY_PROGRAM"])
JOB_KEYS = {"name", "needs", "if", "runs-on", "container", "timeout-minutes", "defaults", "env", "strategy",
            "steps"}
MATRIX = "groups:\n  - name: all\n    axes: {M: [1, 2, 3, 4, 5], E: 2, topk: 1, K: 16, N: 8}\n"


def name_of(path):
    return str(path.relative_to(ROOT))


@functools.lru_cache(maxsize=None)
def help_of(*verb):
    return subprocess.run([PROGRAM, *verb, "--help"], capture_output=True, text=True, check=True).stdout


def commands_of_workflow(path):
    jobs = yaml.safe_load(path.read_text())["jobs"]
    return [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]


def kubernetes():
    return yaml.safe_load(KUBERNETES.read_text())


def container():
    return kubernetes()["spec"]["template"]["spec"]["containers"][0]


def all_commands():
    for path in WORKFLOWS:
        yield from ((name_of(path), command) for command in commands_of_workflow(path))
    for path in SCRIPTS:
        yield name_of(path), path.read_text()
    yield name_of(KUBERNETES), container()["args"][0]


@pytest.mark.parametrize("path", WORKFLOWS, ids=name_of)
def test_workflows_are_well_formed(path):
    workflow = yaml.safe_load(path.read_text())
    assert set(workflow) <= {"name", True, "permissions", "concurrency", "env", "jobs"}  # `on` is YAML's true
    assert workflow[True] and workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert set(job) <= JOB_KEYS, name
        needs = job.get("needs", [])
        assert set([needs] if isinstance(needs, str) else needs) <= set(workflow["jobs"])
        if "self-hosted" in job["runs-on"]:
            assert "github.event_name != 'pull_request'" in job["if"]
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step), step
            assert set(step) <= {"name", "uses", "run", "if", "with", "continue-on-error"}, step
            assert re.fullmatch(r"actions/[a-z-]+@v[0-9]+", step.get("uses", "actions/some@v1"))
        for variable in re.findall(r"\{\{ *matrix\.(\w+)", json.dumps(job)):
            assert variable in job["strategy"]["matrix"]


def test_shards_of_the_workflow_are_all():
    jobs = yaml.safe_load((EXAMPLES / "github" / "parity.yml").read_text())["jobs"]
    shards = jobs["shard"]["strategy"]["matrix"]["shard"]
    (command,) = [s["run"] for s in jobs["shard"]["steps"] if "--shard" in s.get("run", "")]
    assert shards == list(range(int(re.search(r"--shard \S+ \S+ \}\}/(\d+)", command).group(1))))


@pytest.mark.parametrize("where, command", all_commands())
def test_commands_are_commands(where, command):
    plain = re.sub(r"\$\{\{.*?\}\}", "0", command)  # what the engine fills in
    assert subprocess.run(["bash", "-n", "-c", plain]).returncode == 0
    joined = plain.replace("\\\n", " ")
    code = "\n".join(line for line in joined.splitlines() if not line.startswith("#"))
    for words in re.findall(r"\bmoeparity ((?:run|golden|report)\b[^\n|;]*)", code):
        verb = words.split()[:2] if words.split()[0] in ("golden", "report") else words.split()[:1]
        told = help_of(*verb)
        for option in re.findall(r"(?<=\s)--[a-z-]+", words):
            assert option in told, f"{where}: moeparity {' '.join(verb)} takes no {option}"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "moeparity").symlink_to(PROGRAM)
    (tmp_path / "matrix.yaml").write_text(MATRIX)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("SUBJECT", "host")
    for name in [n for n in os.environ if n.startswith(("SLURM_", "OMPI_", "PMI_", "GTEST_", "JOB_"))]:
        monkeypatch.delenv(name)
    return tmp_path


def merged(folder):
    """What the reports of all shards come to."""
    reports = sorted(folder.glob("reports/[0-9]*.json"))
    merge = ["moeparity", "report", "merge", "whole.json", *reports]
    subprocess.run(merge, check=True, stdout=subprocess.DEVNULL)
    return json.loads((folder / "whole.json").read_text())


def test_a_slurm_array(folder):
    array = {"SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "2", "SLURM_ARRAY_TASK_COUNT": "3"}
    for task in "012":
        subprocess.run(["bash", EXAMPLES / "slurm.sbatch"], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, **array, "SLURM_ARRAY_TASK_ID": task})
    assert merged(folder)["totals"]["passed"] == 5
    alone = {"SLURM_ARRAY_TASK_MIN": "2", "SLURM_ARRAY_TASK_MAX": "2", "SLURM_ARRAY_TASK_COUNT": "1"}
    (folder / "reports" / "2.json").unlink()  # this task was lost, and is submitted again alone
    subprocess.run(["bash", EXAMPLES / "slurm.sbatch"], check=True, stdout=subprocess.DEVNULL,
                   env={**os.environ, **alone, "SLURM_ARRAY_TASK_ID": "2", "SHARD": "auto/3"})
    assert merged(folder)["totals"]["passed"] == 5


def test_an_mpirun(folder):
    """A stand-in for mpirun: cli.shards has the real one, where it is installed."""
    (folder / "bin" / "mpirun").write_text(
        '#!/bin/bash\n[ "$1" = -n ] || exit 9\nexport OMPI_COMM_WORLD_SIZE=$2; shift 2\n'
        'for ((r = 0; r < OMPI_COMM_WORLD_SIZE; r++)); do OMPI_COMM_WORLD_RANK=$r "$@" & done; wait\n')
    (folder / "bin" / "mpirun").chmod(0o755)
    done = subprocess.run(["bash", EXAMPLES / "mpirun.sh", "2"], capture_output=True, text=True, check=True)
    assert "5 cases: 5 passed" in done.stdout
    assert json.loads((folder / "reports" / "all.json").read_text())["totals"]["passed"] == 5


def test_an_indexed_job(folder):
    spec = kubernetes()["spec"]
    command = container()["args"][0].replace("/reports", "reports").replace("cuda", "host")
    assert spec["completionMode"] == "Indexed" and f"auto/{spec['completions']}" in command
    (folder / "reports").mkdir()
    for index in range(spec["completions"]):
        subprocess.run([*container()["command"], command], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "JOB_COMPLETION_INDEX": str(index)})
    assert merged(folder)["totals"]["passed"] == 5
