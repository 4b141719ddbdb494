# SPDX-License-Identifier: Apache-2.0
"""moeparity.files: numpy computes a pipeline, and what it wrote in any format is judged."""

import json
import os
import re
import struct
import subprocess
import sys

import ml_dtypes
import numpy
import pytest

from moeparity import _program, files

BF16 = ml_dtypes.bfloat16
CASE = "M=6 E=4 topk=2 K=32 N=16"


def program(*words):
    subprocess.run([_program.find(), *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "inputs.npz"
    program("export", "--case", CASE, "--out", str(path))
    return files.to_trace(path).tensors


def moe(t, up_first=False):
    """The pipeline in numpy: float32 sums, one rounding to bf16 a tensor."""
    x, w1, w2 = (t[name].astype("f4") for name in ("x", "w1", "w2"))
    ids, weights = t["topk_ids"], t["topk_weights"]
    tokens, topk = ids.shape
    rows = [(m, j) for m in range(tokens) for j in range(topk)]
    cache1 = numpy.stack([w1[ids[m, j]] @ x[m] for m, j in rows]).astype(BF16)
    gate, up = numpy.split(cache1.astype("f4"), 2, axis=1)[:: -1 if up_first else 1]
    cache2 = (gate / (1 + numpy.exp(-gate)) * up).astype(BF16)
    cache3 = numpy.stack([w2[ids[r]] @ cache2[i].astype("f4") * weights[r] for i, r in enumerate(rows)])
    cache3 = cache3.astype(BF16).reshape(tokens, topk, -1)
    return {
        "cache1": cache1,
        "cache2": cache2,
        "cache3": cache3,
        "out": cache3.astype("f4").sum(1).astype(BF16),
    }


def test_what_is_exported_is_what_the_program_has(inputs):
    assert {k: (v.dtype, v.shape) for k, v in inputs.items()} == {
        "x": (BF16, (6, 32)),
        "w1": (BF16, (4, 32, 32)),
        "w2": (BF16, (4, 32, 16)),
        "topk_ids": ("int32", (6, 2)),
        "topk_weights": ("float32", (6, 2)),
    }


@pytest.mark.parametrize("form", ["safetensors", "h5", "npz", "raw"])
def test_every_format_of_export_holds_the_same(inputs, tmp_path, form):
    path = tmp_path / f"e.{form}"
    program("export", "--case", CASE, "--out", str(path), "--format", form)
    if form == "raw":
        manifest = json.loads((path / "manifest.json").read_text())
        dtypes = {"bf16": BF16, "int32": "i4", "fp32": "f4"}
        found = {
            t["name"]: numpy.fromfile(path / t["file"], dtypes[t["dtype"]]).reshape(t["shape"])
            for t in manifest["tensors"]
        }
    else:
        if form == "h5":
            pytest.importorskip("h5py")
        trace = files.to_trace(path)
        assert trace.case.startswith("M=6 E=4")
        found = trace.tensors
    assert found.keys() == inputs.keys()
    for name, value in inputs.items():
        assert found[name].dtype == value.dtype and found[name].tobytes() == value.tobytes()


def test_a_right_pipeline_passes(inputs, tmp_path):
    outputs = moe(inputs)
    judged = files.judge({**inputs, **outputs})
    assert judged.require() is judged
    assert "judged: gate_up, act, down, combine" in judged.text
    assert judged.report["verdicts"][0]["stages"]["act"]["compared"] == 12 * 16
    numpy.savez(tmp_path / "t.npz", **inputs, **outputs, case="act=silu")  # bf16 becomes V2 there
    assert files.judge(tmp_path / "t.npz")
    numpy.savez(tmp_path / "u.npz", **inputs, **outputs, case="act=silu", moe_out=outputs["out"])
    judged = files.judge(tmp_path / "u.npz")  # a name that is nobody's is passed over, and that is said
    assert judged and "not judged: moe_out: no tensor of a case" in repr(judged)
    assert files.judge({**inputs, "out": outputs["out"]}, contract="ieee-any-order", arguments=["--strict"])
    assert files.judge({"cache1": outputs["cache1"], "cache2": outputs["cache2"]})


def test_what_failed_is_named_as_it_was_given(inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong = {**inputs, **moe(inputs)}
    wrong["cache2"] = wrong["cache2"].copy()
    wrong["cache2"][0, 0] += BF16(1)
    numpy.savez("it's bug.npz", **wrong)
    judged = files.judge("it's bug.npz", case="act=silu", contract="sm_90", arguments=["--strict"])
    assert judged.code == 1 and "\n        it's bug.npz: judged: gate_up, act," in judged.text
    for told in (judged.text, json.dumps(judged.report)):
        assert "trace.safetensors" not in told and "/moeparity." not in told
    again = re.search(r"(?m)^ +repro: (.*)$", judged.text)[1]
    assert judged.report["verdicts"][0]["repro"] == judged.report["run"]["command"] == again
    assert again == (
        """moeparity.files.judge("it's bug.npz", case='act=silu', contract='sm_90', arguments=['--strict'])"""
    )
    script = f"import moeparity.files\nj = {again}\nprint(j.text, end='')\nraise SystemExit(j.code)"
    repeated = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert repeated.returncode == 1, repeated.stderr
    assert repeated.stdout.splitlines()[:4] == judged.text.splitlines()[:4]
    assert "repro: moeparity.files.judge(tensors)" in files.judge(wrong).text
    assert "repro: moeparity.files.judge(trace)" in files.judge(files.Trace(wrong)).text
    numpy.savez("nothing.npz", x=inputs["x"])
    with pytest.raises(files.BadFile, match="nothing.npz: ") as raised:
        files.judge("nothing.npz")
    assert "trace.safetensors" not in str(raised.value)


def test_h5py_writes_what_is_read(inputs, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file.attrs["case"] = "act=silu"
        for name, value in {**inputs, **moe(inputs)}.items():
            codes = value.view("u2") if value.dtype == BF16 else value
            file.create_dataset(name, data=codes, compression="gzip" if name == "w1" else None)
            if value.dtype == BF16:
                file[name].attrs["dtype"] = "bf16"
    assert files.judge(tmp_path / "t.h5").require()


def test_the_example_of_the_documentation(tmp_path):
    pytest.importorskip("h5py")
    page = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "files.md")
    with open(page, encoding="utf-8") as file:
        script = file.read().split("```python\n")[1].split("```")[0]
    (tmp_path / "mine.py").write_text(script)
    program("export", "--case", "M=8 topk=2 K=64 N=32", "--out", str(tmp_path / "inputs.npz"))
    subprocess.run([sys.executable, "mine.py", "inputs.npz", "trace.h5"], check=True, cwd=tmp_path)
    judged = files.judge(tmp_path / "trace.h5").require()
    with open(page, encoding="utf-8") as file:
        row = next(line for line in file if line.startswith("[OK]"))
    assert judged.text.startswith(row.split("  f64")[0])


@pytest.mark.parametrize("name, stage", [("cache1", "gate_up"), ("cache2", "act"), ("out", "combine")])
def test_one_wrong_element_fails(inputs, name, stage):
    outputs = moe(inputs)
    outputs[name][3, 5] = 9
    judged = files.judge({**inputs, **outputs})
    assert not judged and judged.code == 1 and f"begins in {stage}" in repr(judged)
    with pytest.raises(AssertionError, match=f"begins in {stage}"):
        judged.require()


def test_bad_input_is_told(inputs, tmp_path):
    with pytest.raises(files.BadFile, match="topk_ids of token 0, slot 1 is 4"):
        ids = inputs["topk_ids"].copy()
        ids[0, 1] = 4
        files.judge({**inputs, "topk_ids": ids, "out": inputs["x"]})
    with pytest.raises(files.BadFile, match="cache2: complex128"):
        files.judge({"cache2": numpy.zeros((2, 2), "c16")})
    with pytest.raises(files.BadFile, match="x .* has M=6, and out .* has M=5"):
        files.judge({**inputs, "out": inputs["x"][:5]})
    (tmp_path / "junk.npz").write_bytes(b"junk")
    with pytest.raises(files.BadFile, match="junk.npz"):
        files.judge(tmp_path / "junk.npz")
    (tmp_path / "junk").write_bytes(b"junk")
    with pytest.raises(files.BadFile, match="neither a format that is known here nor safetensors"):
        files.to_trace(tmp_path / "junk")
    with pytest.raises(files.BadFile, match="none.safetensors"):
        files.judge(tmp_path / "none.safetensors")
    with pytest.raises(files.BadFile, match="neither inputs.safetensors"):
        files.to_trace(tmp_path)


def write_header(path, header):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))


GOOD = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "header, told",
    [
        ({"x": 5}, "x: 5; expected an object"),
        ({"x": {**GOOD, "dtype": 7}}, "x: dtype: 7; expected a text"),
        ({"x": {**GOOD, "dtype": ["F32"]}}, r"x: dtype: \['F32'\]; expected a text"),
        ({"x": {**GOOD, "shape": 2}}, "x: shape: 2; expected a list of whole numbers"),
        ({"x": {**GOOD, "shape": [-2]}}, r"x: shape: \[-2\]; expected a list of whole numbers"),
        ({"x": {**GOOD, "shape": [1e99]}}, "x: shape: .*; expected a list of whole numbers"),
        ({"x": {**GOOD, "shape": [3]}}, r"x: 8 bytes; expected 12 for F32 \[3\]"),
        ({"x": {**GOOD, "data_offsets": "08"}}, "x: data_offsets: '08'; expected a list of whole numbers"),
        ({"x": {**GOOD, "data_offsets": [0]}}, r"x: data_offsets \[0\]; expected two places in 8 bytes"),
        ({"x": {**GOOD, "data_offsets": [4, 12]}}, "x: .*; expected two places in 8 bytes"),
        ({"x": {"dtype": "F32", "shape": [2]}}, "x: data_offsets: None; expected a list of whole numbers"),
        ({"x": GOOD, "__metadata__": 5}, "__metadata__: 5; expected an object"),
        ({"x": GOOD, "__metadata__": {"case": 5}}, "case: 5; expected a text"),
        ({"x": GOOD, "__metadata__": {"contract": ["any"]}}, r"contract: \['any'\]; expected a text"),
        ([1], r"its header: \[1\]; expected an object"),
        (b"{", "its header: .*; expected JSON"),
        (b"\xff\xfe", "its header: .*; expected JSON"),
        (b"[" * 100000, "its header: .*; expected JSON"),
    ],
)
def test_a_hostile_header_is_told(tmp_path, header, told):
    path = tmp_path / "h.safetensors"
    write_header(path, header)
    with pytest.raises(files.BadFile, match=f"^{path}: {told}"):
        files.to_trace(path)


def test_texts_that_are_none_are_told(tmp_path):
    for name, value, told in [
        ("case", numpy.array([1.5, 2]), "case: array.*; expected a text"),
        ("case", numpy.array(["a", "b"]), "case: array.*; expected a text"),
        ("contract", 7, "contract: .*7.*; expected a text"),
        ("cache2", numpy.array(["text"]), "cache2: <U4; expected bfloat16"),
        ("cache2", numpy.zeros(2, [("a", "f4")]), "cache2: .*; expected bfloat16"),
    ]:
        path = tmp_path / "t.npz"
        numpy.savez(path, **{"cache1": numpy.zeros((2, 8), "f4"), name: value})
        with pytest.raises(files.BadFile, match=f"^{path}: {told}"):
            files.to_trace(path)
    numpy.savez(path, cache1=numpy.zeros((2, 8), "f4"), case=b"act=gelu")
    assert files.to_trace(path).case == "act=gelu"
    numpy.savez(path, w1=numpy.zeros((2, 3, 4), "f4"), cache1=numpy.zeros((), "f4"))
    with pytest.raises(files.BadFile, match=r"w1: \[2, 3, 4\]; expected up and gate"):
        files.to_trace(path, up_first=True)


def test_hdf5_texts_that_are_none_are_told(tmp_path):
    h5py = pytest.importorskip("h5py")
    for name, value in ("case", 5), ("contract", numpy.zeros((2, 2))), ("case", numpy.array([b"a", b"b"])):
        path = tmp_path / f"{name}.h5"
        with h5py.File(path, "w") as file:
            file["cache1"] = numpy.zeros((2, 8), "f4")
            file.attrs[name] = value
        with pytest.raises(files.BadFile, match=f"{path}: {name}: .*; expected a text"):
            files.to_trace(path)
        with pytest.raises(files.BadFile, match=f"{name}.h5"):  # the program's own reader
            files.judge(path)


@pytest.mark.parametrize(
    "line, told",
    [
        (5, "workload 0: 5; expected an object"),
        ({"inputs": 5}, "no `workload` with `inputs` in it"),
        ({"workload": {"inputs": {"x": 5}}}, "x: 5; expected an object"),
        ({"definition": 5, "inputs": {}}, "definition: 5; expected a text"),
        ({"inputs": {"x": {"type": "safetensors"}}}, "x: path: None; expected a text"),
        ({"inputs": {"x": {"type": "safetensors", "path": "a"}}}, "x: tensor_key: None; expected a text"),
        (
            {"inputs": {"routed_scaling_factor": {"type": "scalar", "value": {}}}},
            "routed_scaling_factor: value: {}; expected a number",
        ),
        ({"definition": "tags", "inputs": {}}, ".*tags.json: tags: 5; expected a list of texts"),
        ({"definition": "list", "inputs": {}}, r".*list.json: \[\]; expected an object"),
    ],
)
def test_a_hostile_workload_is_told(tmp_path, line, told):
    (tmp_path / "definitions").mkdir()
    (tmp_path / "definitions" / "tags.json").write_text('{"tags": 5}')
    (tmp_path / "definitions" / "list.json").write_text("[]")
    path = tmp_path / "w.jsonl"
    path.write_text(json.dumps(line) + "\n")
    with pytest.raises(files.BadFile, match=told):
        files.to_trace(path)


def test_a_hostile_dump_is_told(inputs, tmp_path):
    dump(tmp_path / "call", inputs, {}, "f")
    for text, told in [
        ("5", "its last line: 5; expected an object"),
        ('{"function_name": [1]}', r"function_name: \[1\]; expected a text"),
        ("{", "Expecting property name"),
    ]:
        (tmp_path / "call" / "metadata.jsonl").write_text(text)
        with pytest.raises(files.BadFile, match=told):
            files.to_trace(tmp_path / "call")


def dump(folder, inputs, outputs, function):
    """As flashinfer's FLASHINFER_LOGLEVEL=10 with FLASHINFER_DUMP_SAFETENSORS=1 leaves a call."""
    folder.mkdir()
    files.Trace(inputs).save(folder / "inputs.safetensors")
    files.Trace(outputs).save(folder / "outputs.safetensors")
    lines = [{"function_name": function, "execution_status": s} for s in ("inputs_saved", "completed")]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))


def test_a_dump_of_flashinfer(inputs, tmp_path):
    out = moe(inputs, up_first=True)["out"]
    called = {
        "arg_0": inputs["x"],
        "arg_1": inputs["topk_ids"],
        "arg_2": inputs["topk_weights"],
        "kwarg_fc1_expert_weights": inputs["w1"],
        "arg_4": inputs["w2"],
        "kwarg_output": numpy.zeros_like(out),
        "kwarg_swiglu_beta": numpy.zeros(4, "f4"),
    }
    dump(tmp_path / "call", called, {"result_0": out}, "flashinfer.fused_moe.cutlass_fused_moe")
    trace = files.to_trace(tmp_path / "call")
    assert set(trace.tensors) == {"x", "w1", "w2", "topk_ids", "topk_weights", "out"}
    assert trace.missing == {"swiglu_beta": "no tensor of a case (names={...} says which it is)"}
    assert files.judge(tmp_path / "call").require()
    assert not files.judge(tmp_path / "call", up_first=False)  # gate and up exchanged
    dump(tmp_path / "lost", called, {}, "flashinfer.fused_moe.cutlass_fused_moe")
    lost = files.to_trace(tmp_path / "lost")  # what the buffer held before the call is no output
    assert "out" not in lost.tensors and lost.missing["out"] == "the call left no output"


def test_a_dump_of_single_tensors(inputs, tmp_path):
    outputs = moe(inputs)
    for name, value in {**inputs, "moe_out": outputs["out"]}.items():
        codes = value.view("u2") if value.dtype == BF16 else value
        numpy.save(tmp_path / f"forward_pass_id=3___rank=0___name={name}.npy", codes)
    trace = files.to_trace(tmp_path, names={"moe_out": "out"})
    assert files.judge(trace).require()
    assert "moe_out" in files.to_trace(tmp_path).missing
    numpy.save(tmp_path / "x.npy", inputs["x"].view("u2"))
    with pytest.raises(files.BadFile, match="x is there twice"):
        files.to_trace(tmp_path)


def write_workload(root, inputs, definition, tags, extra=()):
    (root / "workloads" / "moe").mkdir(parents=True)
    (root / "definitions" / "moe").mkdir(parents=True)
    (root / "definitions" / "moe" / f"{definition}.json").write_text(json.dumps({"tags": tags}))
    files.Trace(inputs).save(root / "blob.safetensors")
    entries = {n: {"type": "safetensors", "path": "blob.safetensors", "tensor_key": n} for n in inputs}
    entries.update(extra)
    line = {
        "definition": definition,
        "solution": None,
        "workload": {"uuid": "1", "axes": {}, "inputs": entries},
    }
    path = root / "workloads" / "moe" / f"{definition}.jsonl"
    path.write_text(json.dumps(line) + "\n")
    return path


def test_a_workload_of_flashinfer_bench(inputs, tmp_path):
    theirs = {"hidden_states" if k == "x" else k: v for k, v in inputs.items()}
    tags = ["fi_api:flashinfer.fused_moe.trtllm_bf16_moe"]
    extra = {"gating_output": {"type": "random"}, "routed_scaling_factor": {"type": "scalar", "value": 1.0}}
    path = write_workload(tmp_path, theirs, "moe_bf16", tags, extra)
    trace = files.to_trace(path)
    assert trace.case == "rsf=1.0" and set(trace.missing) == {"gating_output", "out"}
    half = inputs["w1"].shape[1] // 2
    assert trace.tensors["w1"][:, :half].tobytes() == inputs["w1"][:, half:].tobytes()
    with pytest.raises(files.BadFile, match="holds no tensor that a stage"):
        files.judge(trace)
    trace.tensors["out"] = moe(trace.tensors)["out"]
    assert files.judge(trace).require()
    with pytest.raises(files.BadFile, match="workload 1; expected 0 to 0"):
        files.to_trace(path, index=1)
    os.unlink(tmp_path / "blob.safetensors")
    with pytest.raises(files.BadFile, match="blob.safetensors"):
        files.to_trace(path)


@pytest.mark.parametrize("scheme", ["fp8-block", "int8-channel", "int4-w4a16-zp", "nvfp4"])
def test_quantised_cases_come_back_from_npz(tmp_path, scheme):
    path = tmp_path / "q.npz"
    program("export", "--case", f"{CASE} quant={scheme}", "--outputs", "--out", str(path))
    assert files.judge(path).require()
    arrays = dict(numpy.load(path))
    arrays["w1_scale"] = arrays["w1_scale"].copy()
    arrays["w1_scale"].view("u1").reshape(-1)[-1] ^= 0x10
    numpy.savez(tmp_path / "wrong.npz", **arrays)
    wrong = files.judge(tmp_path / "wrong.npz")
    assert wrong.code == 1 and "bound: gate_up: " in wrong.text


def test_fp8_of_ml_dtypes_is_taken_as_bytes(tmp_path):
    program("export", "--case", f"{CASE} quant=fp8-channel", "--out", str(tmp_path / "q.safetensors"))
    trace = files.to_trace(tmp_path / "q.safetensors")
    assert trace.tensors["w1"].dtype == "u1" and trace.tensors["w1_scale"].dtype == "float32"
    with pytest.raises(files.BadFile, match="up, gate"):
        files.to_trace(tmp_path / "q.safetensors", up_first=True)


def test_a_quantised_workload_says_what_is_missing(inputs, tmp_path):
    logits = {"routing_logits": numpy.zeros((6, 4), "f4"), "routing_bias": numpy.zeros(4, BF16)}
    path = write_workload(tmp_path, logits, "moe_fp8", [], {"gemm1_weights": {"type": "random"}})
    trace = files.to_trace(path)
    header = {"hidden_states": {"dtype": "F8_E4M3", "shape": [2, 4], "data_offsets": [0, 8]}}
    text = json.dumps(header).encode()
    (tmp_path / "q.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    assert "no case with quant= says" in files.to_trace(tmp_path / "q.safetensors").missing["x"]
    assert trace.tensors == {} and trace.missing["w1"] == "gemm1_weights is random, and not stored"
    assert trace.missing["topk_ids"] == "not in the file" and "routing_logits" in trace.missing
