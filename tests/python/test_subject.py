# SPDX-License-Identifier: Apache-2.0
"""A function as a subject, without the program: what it asks for and what it may return."""

import functools
from types import SimpleNamespace

import pytest

import moeparity
from moeparity import _arrays
from moeparity._case import FREE, OPTIONS, Case
from moeparity._serve import Server
from moeparity._subject import Subject, contract_words, subject_of

FIELDS = {"M": 4, "N": 8, "scope": "act", "act": "silu"}
CASE = Case("M=4 N=8 scope=act", FIELDS, ["topk_ids", "cache1"], ["cache2"])
WHOLE = Case("M=4", {**FIELDS, "scope": "all"}, ["x", "w1", "topk_ids"], ["cache1", "cache2", "out"])


def offer(function, case=CASE, **options):
    return Subject(function, **options).offer(case)


def test_a_decorated_function_stays_what_it_is():
    def mine(x, case):
        return x

    assert moeparity.subject(contract="sm_90")(mine) is mine
    assert mine(3, None) == 3
    assert subject_of(mine).offer(WHOLE) == {"contract": "sm_90"}
    assert subject_of(mine, contract="float64").offer(WHOLE) == {"contract": "float64"}
    assert subject_of(mine, name="other").name == "other"
    assert moeparity.subject(mine) is mine


def test_what_it_exposes():
    assert offer(lambda cache1, case: 0) == {"contract": "any"}  # the run tells
    assert offer(lambda cache1, cache2: 0)["exposes"] == ["cache2"]
    assert offer(lambda x, cache1, out: 0, WHOLE)["exposes"] == ["cache1", "out"]
    assert offer(lambda x: 0, WHOLE, exposes="cache2 out cache3")["exposes"] == ["cache2", "out"]
    assert offer(lambda x: 0, WHOLE, exposes=lambda case: ["cache2"][: case.M])["exposes"] == ["cache2"]
    with pytest.raises(moeparity.Unsupported, match="leaves out; the case's outputs are cache2"):
        offer(lambda cache1: 0, exposes=["out"])
    with pytest.raises(TypeError, match="expected names of outputs"):
        Subject(lambda x: 0, exposes=[])


def test_what_it_asks_for():
    assert offer(lambda cache1, b1=None, eps=1e-6: 0)
    with pytest.raises(
        moeparity.Unsupported, match="asks for w1, which this case has not: it has topk_ids"
    ):
        offer(lambda cache1, w1: 0)
    with pytest.raises(moeparity.Unsupported, match="is topk_ids meant"):
        offer(lambda topk_id: 0)
    plain = Case("M=4", {**FIELDS, "lora_adapters": 0, "quant": "none"}, ["x", "w1"], ["out"])
    for name in ("lora_a1", "token_lora", "w2_scale", "x_codes"):
        field = "lora_adapters=0" if "lora" in name else "quant=none"
        with pytest.raises(moeparity.Unsupported, match=f"^{field}: mine asks for {name}, which such a case"):
            offer(eval(f"lambda x, {name}: 0"), plain, name="mine")
    for wrong in (lambda *tensors: 0, lambda **tensors: 0, lambda x, /: 0):
        with pytest.raises(TypeError, match="tells no tensor by its name"):
            Subject(wrong)
    with pytest.raises(TypeError, match="is no function"):
        Subject(5)
    with pytest.raises(TypeError, match="no option 'contrac'"):
        Subject(lambda x: 0, contrac="sm_90")


def test_what_it_supports():
    assert offer(lambda cache1: 0, scope="act")
    with pytest.raises(moeparity.Unsupported, match="mine is act alone"):
        offer(lambda x: 0, WHOLE, scope="act", name="mine")
    assert offer(lambda cache1: 0, supports=lambda case: None)
    assert offer(lambda cache1: 0, supports=lambda case: case.N == 8)
    with pytest.raises(moeparity.Unsupported, match="^only gelu$"):
        offer(lambda cache1: 0, supports=lambda case: case.act == "gelu" or "only gelu")
    with pytest.raises(moeparity.Unsupported, match="mine does not support it"):
        offer(lambda cache1: 0, supports=lambda case: False, name="mine")


def test_contracts():
    assert contract_words(None, CASE) == "any"
    assert contract_words("sm_90 act.ulps=4  align.stable=0", CASE) == "sm_90 act.ulps=4  align.stable=0"
    assert contract_words({"act.ulps": 4}, CASE) == "act.ulps=4"
    as_dict = {"preset": "sm_90", "act.ulps": 2.5, "align.stable": False}
    assert contract_words(as_dict, CASE) == "sm_90 act.ulps=2.5 align.stable=0"
    assert as_dict["preset"] == "sm_90"
    assert contract_words(lambda case: f"act.ulps={case.N}", CASE) == "act.ulps=8"
    with pytest.raises(TypeError, match="contract=5"):
        contract_words(5, CASE)
    assert offer(lambda cache1: 0, contract="act.ulps=4") == {"contract": "act.ulps=4"}
    assert offer(lambda cache1: 0, block_size_m=lambda case: 4 * case.N)["block_size_m"] == 32


def test_names():
    assert Subject(functools.partial(lambda x, y: 0, y=1)).name == "<lambda>"

    class Kernel:
        def __call__(self, x, case):
            return x

    assert Subject(Kernel()).name == "Kernel"


def test_which_arrays():
    assert _arrays.library_of(lambda x: 0) == "numpy"
    with pytest.raises(ValueError, match="tensors='jax': expected one of 'numpy', 'torch', 'cuda', 'cupy'"):
        Subject(lambda x: 0, tensors="jax").library


def test_every_field_is_an_attribute():
    fields = {name: object() for name in (*OPTIONS, *FREE) if name not in ("tile", "tile_down")}
    case = Case("M=4", fields, group_name="schemes", tier="smoke")
    assert {name: getattr(case, name) for name in fields} == fields


def test_a_case():
    case = Case("M=4", {"M": 4}, run={"block_size_m": 16, "tile": "16x32x64x1x4x3", "tile_down": "auto"})
    assert (case.M, str(case), case.block_size_m) == (4, "M=4", 16)
    assert case.tile["BLOCK_SIZE_N"] == 32 and case.tile["num_stages"] == 3 and case.tile_down is None
    with pytest.raises(AttributeError, match="a case has no field 'm': there are M"):
        case.m
    assert case == Case("M=4", {"M": 4}) and len({case, Case("M=4", {})}) == 1


def test_a_program_on_the_device_tells_what_its_allocator_holds():
    def answer(**has):
        library = SimpleNamespace(finish=lambda memory: None, **has)
        subject = SimpleNamespace(library=library, run=lambda case, tensors, memory: ["out"])
        text = {"text": "M=4", "fields": FIELDS, "inputs": ["x"], "outputs": ["out"]}
        run = {"case": text, "tensors": [], "memory_bytes": 0, "block_size_m": 64}
        return Server(subject, 0, 0, 0)._run({**run, "tile": "64x64x32x8x4x3", "tile_down": "64x64x32x8x4x3"})

    done = {"left": ["out"], "stage_ns": {}}
    assert answer(device=None) == ("done", done)
    assert answer(device="cuda", cached=lambda: 4096) == ("done", {**done, "device_cached": 4096})
