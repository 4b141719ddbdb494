# SPDX-License-Identifier: Apache-2.0
"""moeparity tune which, against the loaders' own functions: taken out of the installed packages, and run on
their trees, and on trees made of what goes wrong. Where a package is not installed its part is skipped."""

import ast
import importlib.util
import json
import logging
import os
import random
import re
import subprocess
import sys
import types

import pytest

from moeparity import _program

LOADERS = {
    "sglang": (
        "srt/layers/moe/moe_runner/triton_utils/fused_moe_triton_config.py",
        ["_use_low_smem_fp8_default"],
    ),
    "vllm": ("model_executor/layers/fused_moe/fused_moe.py", ["should_moe_wna16_use_cuda"]),
}
FUNCTIONS = ["get_config_file_name", "get_moe_configs", "get_default_config", "try_get_optimal_moe_config"]
DTYPES = {"bf16": None, "fp16": None, "fp32": "float32"}
TILE = ("BLOCK_SIZE_M", "BLOCK_SIZE_N", "BLOCK_SIZE_K", "GROUP_SIZE_M")
VERSIONS = ["3.1.0", "3.2.0", "3.4.0", "3.5.1", "3.6.0", "3.7.1", "3.10.0"]
NAME = re.compile(
    r"E=(\d+),N=(\d+),device_name=([^,]+?)(?:,dtype=(fp8_w8a8|int8_w8a8|int8_w8a16|int4_w4a16))?"
    r"(?:,block_shape=\[(\d+), ?(\d+)\])?(,per_channel_quant=True)?(?:_down)?\.json$"
)


class Silent:
    def __getattr__(self, name):
        return lambda *args, **kwargs: None


def package(name):
    found = importlib.util.find_spec(name)
    places = list(found.submodule_search_locations or []) if found else []
    return places[0] if places and os.path.exists(os.path.join(places[0], LOADERS[name][0])) else None


def extract(name, place, world):
    """The functions alone, without their caches and hints, in a module made of what they ask for."""
    path = os.path.join(place, LOADERS[name][0])
    wanted = FUNCTIONS + LOADERS[name][1]
    with open(path, encoding="utf-8") as source:
        tree = ast.parse(source.read())
    found = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in wanted]
    assert len(found) == len(wanted)
    for function in found:
        function.returns, function.decorator_list = None, []
        for argument in function.args.args:
            argument.annotation = None
    world.update(os=os, json=json, logger=Silent(), __file__=path)
    exec(compile(ast.Module(found, []), path, "exec"), world)
    return world


def stand_in(monkeypatch, name, **members):
    parts = name.split(".")
    for i in range(1, len(parts) + 1):
        module = types.ModuleType(".".join(parts[:i]))
        monkeypatch.setitem(sys.modules, module.__name__, module)
    vars(module).update(members)


def text(config):
    """As the program writes a tile."""
    if "BLOCK_SIZE_N" not in config:
        return "chosen at launch"
    numbers = [config.get(k, "?") for k in TILE] + [config.get("num_warps", 4), config.get("num_stages", 3)]
    return "x".join(map(str, numbers)) + (" TMA" if config.get("USE_TMA") else "")


def asked(query):
    n = query["N"] // (2 if query["dtype"] == "int4_w4a16" else 1)
    block = list(query["block"]) if query["block"] else None
    shapes = (query["E"], 2 * n, 1024), (query["E"], 1024, n)
    return shapes, DTYPES.get(query["dtype"], query["dtype"]), block


@pytest.fixture
def sglang(monkeypatch):
    place = package("sglang")
    if not place:
        pytest.skip("sglang is not installed")
    stand_in(monkeypatch, "sglang.srt.layers.moe.moe_runner.triton_utils", get_config=lambda: None)
    mode = types.SimpleNamespace(deterministic=types.SimpleNamespace(enable_deterministic_inference=False))
    world = extract(
        "sglang",
        place,
        dict(get_exec=lambda: mode, triton=types.SimpleNamespace(__version__=""), _is_hip=False,
             _LOW_SMEM_FP8_DEFAULT_CUTOFF_BYTES=128 * 1024),
    )

    def answer(query, tokens):
        world["get_device_name"] = lambda: query["device"]
        world["triton"].__version__ = query["triton"]
        world["_is_hip"] = "AMD" in query["device"]
        small = re.search("RTX|L40|L20$|L4$|GB10", query["device"])
        world["_get_cuda_shared_memory_per_block_optin"] = lambda: 99 << 10 if small else 227 << 10
        if world["_is_hip"]:
            world["_get_cuda_shared_memory_per_block_optin"] = lambda: None
        (w1, w2), dtype, block = asked(query)
        up, down = [], []
        for m in tokens:
            try:
                config, (own, _) = world["try_get_optimal_moe_config"](
                    w1, w2, 8, dtype, m, block_shape=block, per_channel_quant=query["per_channel"],
                    return_down_config=True)
            except Exception:
                return None
            up.append(text(config))
            down.append(text(own or config))
        return up, down

    answer.place, answer.world = place, world
    return answer


@pytest.fixture
def vllm(monkeypatch):
    place = package("vllm")
    if not place:
        pytest.skip("vllm is not installed")
    stand_in(monkeypatch, "vllm.model_executor.layers.fused_moe", get_config=lambda: None)
    envs = types.SimpleNamespace(VLLM_BATCH_INVARIANT=False, VLLM_TUNED_CONFIG_FOLDER=None)
    device = types.SimpleNamespace(name="")
    world = extract(
        "vllm",
        place,
        dict(envs=envs, get_device_name_as_file_name=lambda: re.sub(r"[\s/]+", "_", device.name),
             current_platform=types.SimpleNamespace(is_rocm=lambda: "AMD" in device.name,
                                                    is_cuda=lambda: "AMD" not in device.name),
             next_power_of_2=lambda n: 1 << (n - 1).bit_length()),
    )

    def answer(query, tokens):
        device.name = query["device"]
        (w1, w2), dtype, block = asked(query)
        up = []
        for m in tokens:
            try:
                up.append(text(world["try_get_optimal_moe_config"](w1, w2, 8, dtype, m, block_shape=block)))
            except Exception:
                return None
        return up, up

    answer.place, answer.world, answer.envs = place, world, envs
    return answer


def which(query, tokens, loader, folder, path):
    command = [_program.find(), "tune", "which", f"--{loader}", str(folder), "--json", str(path)]
    command += ["--M", ",".join(map(str, tokens))]
    for name in ["device", "E", "N", "dtype", "triton"]:
        command += [f"--{name}", str(query[name])]
    command += ["--block-shape", "%d,%d" % query["block"]] if query["block"] else []
    command += ["--per-channel"] if query["per_channel"] else []
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode in (0, 1), done.stderr
    found = {one["loader"]: one for one in json.loads(path.read_text())["loaders"]}[loader]
    if any(one["outcome"] == "raises" for one in found["lookups"]):
        return None
    return ([one["gate_up"]["tile"] for one in found["choices"]],
            [one.get("down", one["gate_up"])["tile"] for one in found["choices"]])


def query_near(name, dice):
    """What a file is for, or something beside it."""
    e, n, device, dtype, block_n, block_k, per_channel = NAME.match(name).groups()
    query = dict(E=int(e), N=int(n), device=device.replace("_", " "),
                 dtype=dtype or dice.choice(["bf16", "fp16"]),
                 block=(int(block_n), int(block_k)) if block_n else None, per_channel=bool(per_channel),
                 triton=dice.choice(VERSIONS))
    if dice.random() < 0.3:
        query.update(dice.choice([{"E": query["E"] + 1}, {"N": 2 * query["N"]}, {"block": None},
                                  {"block": (64, 64)}, {"per_channel": not query["per_channel"]},
                                  {"dtype": "fp32", "block": None},
                                  {"device": "NVIDIA H200 NVL"}]))
    if query["dtype"] == "int4_w4a16":
        query["N"] *= 1 + query["N"] % 2
    return query


def some_tokens(query, dice):
    return sorted({1, 2, 3, 12, 24, 40, 384, 1280, query["E"], query["E"] + 1,
                   *(dice.randint(1, 6000) for _ in range(6)), dice.randint(1, 70000)})


@pytest.mark.parametrize("loader", ["sglang", "vllm"])
def test_the_published_trees(loader, request, tmp_path, monkeypatch):
    logging.disable(logging.CRITICAL)
    monkeypatch.delenv("SGLANG_MOE_CONFIG_DIR", raising=False)
    loader_says = request.getfixturevalue(loader)
    dice = random.Random(loader)
    names = [f for _, _, files in os.walk(loader_says.place) for f in sorted(files) if NAME.match(f)]
    for name in dice.sample(sorted(names), min(60, len(names))):
        query = query_near(name, dice)
        tokens = some_tokens(query, dice)
        told = which(query, tokens, loader, loader_says.place, tmp_path / "w.json")
        assert told == loader_says(query, tokens), query


def made_file(dice, version_key):
    """Right, or wrong in a way that json or int() may mind."""
    if dice.random() < 0.05:
        return dice.choice(["{", "[]", "", "null", '{"8": {}} x', "7"])
    keys = [dice.choice([1, 2, 4, 8, 24, 64, 100, 512, 4096]) for _ in range(dice.randint(0, 7))]
    odd = ["0%d", "+%d", " %d", "%d_0", "-%d", "%d.0", "_%d"]
    spelt = [str(k) if dice.random() < 0.95 else dice.choice(odd) % k for k in keys]
    entries = [(k, {name: dice.choice([16, 32, 64, 128]) for name in TILE}) for k in spelt]
    if dice.random() < version_key:
        entries.insert(0, ("triton_version", "3.6.0"))
    return "{" + ", ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in entries) + "}"


@pytest.mark.parametrize("loader", ["sglang", "vllm"])
def test_made_trees(loader, request, tmp_path, monkeypatch):
    logging.disable(logging.CRITICAL)
    loader_says = request.getfixturevalue(loader)
    dice = random.Random(loader)
    raising = 0
    for i in range(60):
        query = dict(E=8, N=256, device=dice.choice(["NVIDIA H100 PCIe", "NVIDIA H200 NVL"]), block=None,
                     dtype=dice.choice(["bf16", "fp8_w8a8"]), per_channel=False, triton=dice.choice(VERSIONS))
        root = tmp_path / str(i)
        folders = [root]
        if loader == "sglang":
            folders = [root / "configs" / f"triton_{v.replace('.', '_')}" for v in dice.sample(VERSIONS, 3)]
            if dice.random() < 0.1:
                folders.append(root / "configs" / dice.choice(["triton_next", "triton_3.9.9"]))
            monkeypatch.setenv("SGLANG_MOE_CONFIG_DIR", str(root))
        else:
            loader_says.envs.VLLM_TUNED_CONFIG_FOLDER = str(root)
            loader_says.world["__file__"] = str(tmp_path / "nowhere" / "fused_moe.py")
        for folder in folders:
            folder.mkdir(parents=True)
            device = query["device"].replace(" ", "_")
            device = "NVIDIA_H200" if loader == "vllm" and "H200" in device else device
            dtype = ",dtype=fp8_w8a8" if query["dtype"] == "fp8_w8a8" else ""
            for end in ["", "_down"]:
                if dice.random() < 0.6:
                    (folder / f"E=8,N=256,device_name={device}{dtype}{end}.json").write_text(
                        made_file(dice, 0.3 if loader == "vllm" else 0.03))
        tokens = some_tokens(query, dice)
        expected = loader_says(query, tokens)
        raising += expected is None
        assert which(query, tokens, loader, root, tmp_path / "w.json") == expected, (query, root)
    assert 0 < raising < 60
