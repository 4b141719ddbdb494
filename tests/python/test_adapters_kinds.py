# SPDX-License-Identifier: Apache-2.0
"""Adapters on quantised experts and LoRA: what is promised by tile, what is refused, and, where torch is
installed, the stand-ins and the views of tensors. Where the packages are there too, their kernels run in
Triton's interpreter."""

import importlib.util
import itertools
import os
import shlex
import subprocess
import sys
from fractions import Fraction
from types import SimpleNamespace

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.append(ROOT)

from adapters import lora, quantised, sglang_lora, tiles, vllm_lora  # noqa: E402


def a_case(tile="auto", **fields):
    """A case with the fields that an adapter asks for."""
    usual = dict(M=64, E=8, topk=2, K=512, N=256, dtype="bf16", bias=False, layout="route", filter=0,
                 ep_size=1, routing="uniform", mode="combine", apply_router_weight_on_input=False, gated=True,
                 interleaved=False, quant="none", group=0, scale_layout="row", lora_adapters=0, lora_rank=16,
                 lora_outer="own", tile=None, tile_down=None, block_size_m=None)
    case = SimpleNamespace(**{**usual, **fields})
    case.fields = {"tile": tile, "tile_down": "auto"}
    return case


def a_tile(m, n, k=128, warps=4):
    return tiles.of_text(f"{m}x{n}x{k}x8x{warps}x3")


def fields(scheme, tile, rules, **more):
    made = quantised.gemm_fields(a_case(quant=scheme, **more), "down", tile, rules)
    assert all(word.startswith("down.") for word in made)
    return dict(word.removeprefix("down.").split("=") for word in made)


# ---- what a GEMM promises, by its tile ----

# Measured on an H100 with sglang's kernel, Triton 3.6: which unit gave the bits of a tile.
WGMMA = [(64, 128), (128, 128), (64, 64), (16, 128), (32, 64), (64, 256), (128, 256), (16, 256)]
MMA = [(16, 32), (32, 32)]


@pytest.mark.parametrize("m, n", WGMMA + MMA)
def test_the_unit_of_a_tile_is_that_which_was_measured(m, n):
    made = fields("fp8-block", a_tile(m, n), quantised.SGLANG)
    unit = [made.get(name) for name in ("group", "fraction_bits", "result_fraction_bits", "k_order")]
    assert unit == (["32", "13", "13", "ascending"] if (m, n) in WGMMA else ["16", "25", "23", "permuted"])
    expected = "product-fma" if n <= 128 else "w-then-a-fma" if m < 64 else "a-then-w-fma"
    assert made["scaling"] == expected and made["promotion"] == "128"


def test_a_warp_group_is_needed_for_wgmma():
    case = a_case(quant="fp8-block")
    made = [quantised.by_wgmma(case, a_tile(64, 128, warps=w)) for w in (1, 2, 4, 8)]
    assert made == [False, False, True, True]


@pytest.mark.parametrize("scheme", ["int8-w8a16", "int8-w8a16-group", "int4-w4a16", "int4-w4a16-zp"])
def test_weights_that_become_16_bit_numbers_are_permuted_in_small_tiles_alone(scheme):
    for m, n in [(16, 64), (16, 128), (32, 256)]:  # none is computed as its transpose
        assert fields(scheme, a_tile(m, n), quantised.VLLM)["k_order"] == "permuted"
    assert "k_order" not in fields(scheme, a_tile(64, 64), quantised.VLLM)


def test_int8_is_never_transposed():
    for m, n in [(16, 64), (16, 128), (64, 64)]:
        made = fields("int8-block", a_tile(m, n), quantised.VLLM)
        assert made["scaling"] == "a-then-w-fma" and "k_order" not in made


def test_one_token_by_another_kernel_is_told():
    def told(m, two=False, **more):
        words = vllm_lora.contract(a_case(M=m, lora_adapters=4, **more), two)
        return [sum(word.endswith(end) for word in words) for end in ("batch_invariant=0", "bits=none")]
    assert told(8) == told(200) == [4, 0] and told(1) == [0, 4]
    assert told(8, two=True) == told(8, lora_rank=128) == told(8, filter=0.3) == [0, 0]


def test_where_the_packages_scale_otherwise():
    for n in (64, 256):
        assert fields("fp8-block", a_tile(64, n), quantised.VLLM)["scaling"] == "a-then-w-fma"
        assert fields("fp8-block", a_tile(16, n), quantised.VLLM)["scaling"] == "w-then-a-fma"
    for rules, after in ((quantised.SGLANG, "product"), (quantised.VLLM, "a-then-w")):
        assert fields("fp8-channel", a_tile(64, 64), rules)["scaling"] == after
        assert fields("fp8-tensor", a_tile(64, 64), rules, bias=True)["scaling"] == after + "-fma"
        assert "promotion" not in fields("fp8-channel", a_tile(64, 64), rules)
        assert fields("int8-w8a16", a_tile(64, 64), rules).keys() == {"scaling"}
        assert fields("int4-w4a16", a_tile(64, 64), rules) == {}
        assert fields("int8-channel", a_tile(64, 64, k=64), rules)["promotion"] == "64"


def test_a_tile_of_k_wider_than_a_block_is_cut_by_one_package_alone():
    assert fields("fp8-block", a_tile(64, 64, k=256), quantised.VLLM)["promotion"] == "128"
    assert fields("fp8-block", a_tile(64, 64, k=256), quantised.SGLANG)["promotion"] == "256"
    assert fields("fp8-block", a_tile(64, 64, k=64), quantised.VLLM)["promotion"] == "64"


def test_what_is_promised_of_a_tile_is_told_before_a_run_has_one():
    case = a_case(quant="fp8-block")
    assert tiles.of_case(case)[0] == tiles.OURS and tiles.block_size_m(case) == 64
    case = a_case("16x32x64x8x2x3", quant="fp8-block")
    case.tile = case.tile_down = a_tile(128, 256)  # what a run would take
    assert [t["BLOCK_SIZE_M"] for t in tiles.of_case(case)] == [16, 16] and tiles.block_size_m(case) is None
    assert tiles.block_size_m(a_case(lora_adapters=2)) == 64 and tiles.block_size_m(a_case()) is None


def program(*words):
    words = [os.environ["MOEPARITY_PROGRAM"], *words]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60)
    return ended.returncode, ended.stdout + ended.stderr


def known_schemes():
    line = next(line for line in program("show", "--fields")[1].splitlines() if line.startswith("quant="))
    return set(line.rsplit("(", 1)[1].rstrip(")").split(", ")) - {"none"}


def takes(case, words):
    code, said = program("run", "--case", case, "--subject", "host", "--dry-run", "--contract",
                         " ".join(["sm_90", *words]))
    assert code == 0, said


def test_the_program_takes_every_contract():
    both = [s for s in quantised.SCHEMES if s in known_schemes()]
    assert "fp8-block" in both
    for scheme, rules in itertools.product(both, (quantised.SGLANG, quantised.VLLM)):
        for m, n in WGMMA[-1:] + MMA[:1]:
            case = a_case(quant=scheme)
            words = [word for stage in ("gate_up", "down")
                     for word in quantised.gemm_fields(case, stage, a_tile(m, n), rules)]
            takes(f"M=64 topk=2 quant={scheme}", words)
    for virtual, case in itertools.product((False, True), (a_case(lora_adapters=2), a_case(lora_adapters=9))):
        for words in (sglang_lora.contract(case, virtual), vllm_lora.contract(case, virtual)):
            takes(f"M=64 topk=2 lora_adapters={case.lora_adapters}", words)
    with pytest.raises(AssertionError, match="by-threes"):
        takes("M=64 topk=2", ["gate_up.k_order=by-threes"])


# ---- what is refused ----


def test_what_the_packages_cannot_quantise_is_told():
    def refused(**fields):
        return quantised.refusal(a_case(**fields), "it")

    assert refused() is None and refused(quant="fp8-block") is None
    assert "no quant=mxfp4" in refused(quant="mxfp4")
    assert "whole groups of 128 columns: K=500" in refused(quant="fp8-block", K=500)
    assert refused(quant="fp8-channel", K=500) is None
    assert "rows of filtered slots" in refused(quant="fp8-tensor", filter=0.5)
    assert refused(quant="fp8-tensor-static", filter=0.5) is None
    assert "no bias" in refused(quant="int4-w4a16", bias=True)
    assert "scales by rows" in refused(quant="fp8-block", scale_layout="column")
    assert "sorted layout" in refused(quant="fp8-block", layout="sorted")


def test_what_their_lora_cannot_do_is_told():
    def refused(**fields):
        return lora.refusal(a_case(lora_adapters=2, **fields), "it")

    assert refused() is None
    assert "router weight" in refused(apply_router_weight_on_input=True)
    assert "halves" in refused(interleaved=True) and "sorted" in refused(layout="sorted")
    assert "a power of two, and cut theirs to 80" in sglang_lora.refusal(
        a_case(lora_adapters=2, lora_rank=40), True)
    assert sglang_lora.refusal(a_case(lora_adapters=2, lora_rank=40), False) is None


def test_cdiv_of_two_constants_is_one():
    """As sglang's kernel of gate and up wants it, whatever the installed Triton makes of it."""
    triton = pytest.importorskip("triton")
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("Triton's interpreter compiles nothing")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    tl = triton.language
    own = tl.cdiv

    def kernel(out, length, BLOCK):
        blocks: tl.constexpr = tl.cdiv(100, BLOCK)
        tl.store(out, 2 * blocks + tl.cdiv(length, BLOCK))

    kernel.__annotations__["BLOCK"] = tl.constexpr
    kernel.__globals__["tl"] = tl
    source = ASTSource(triton.jit(kernel), {"out": "*i32", "length": "i32", "BLOCK": "constexpr"}, {(2,): 16})
    with sglang_lora.constant_cdiv():
        made = triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ttir"]
    assert "constant 14 : i32" in made and "divsi" in made  # of numbers of the kernel as ever
    assert tl.cdiv is own


# ---- which LoRA kernel serves a case ----


def test_the_kernel_for_small_batches_ends_where_its_package_ends_it():
    def of(M, **fields):
        case = a_case(M=M, E=16, topk=2, **{"lora_adapters": 8, "lora_rank": 64, **fields})
        return vllm_lora.naive(case), vllm_lora.small(case)

    assert of(8) == (True, True)  # 8*2*8 = 16*8; 8*2*64 = 1024
    assert of(9) == (False, False)
    assert of(8, lora_rank=65) == (True, False) and of(4, lora_rank=128) == (True, False)
    assert of(9, lora_adapters=9, lora_rank=32) == (True, True)  # 144 <= 144; 576
    assert of(8, filter=0.1) == (False, False)


def test_the_kernel_for_small_batches_is_bounded_by_its_blocks_of_k():
    case = a_case("16x64x128x1x4x3", M=4, E=16, topk=2, lora_adapters=8, lora_rank=64)
    assert "shrink.promotion=128" in vllm_lora.contract(case, False)
    assert not any("promotion" in word for word in vllm_lora.contract(case, True))


def test_parts_of_k_of_virtual_experts():
    # 64 slots of 16 experts in blocks of 64: at most 64 + 16*63 ids, 17 blocks; 2*16 columns are one tile
    case = a_case("64x64x64x8x4x3", M=32, E=8, lora_adapters=2)
    assert sglang_lora.split_k(case, True) == min(512 // 64, 128 // 17)
    assert sglang_lora.split_k(case, False) == min(256 // 64, 128 // 17)
    assert any("split_k=7" in word for word in sglang_lora.contract(case, True))
    many = a_case("64x64x64x8x4x3", M=4096, E=8, lora_adapters=2)
    assert sglang_lora.split_k(many, True) == 1
    assert not any("split_k" in word for word in sglang_lora.contract(many, True))


# ---- with torch ----


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def nearest(values, exact):
    """Of sorted values the one next to an exact number; of two equally near the one in an even place."""
    return min(range(len(values)), key=lambda i: (abs(values[i] - exact), i % 2))


def test_quantisers_that_stand_in(torch):
    from adapters import stand_ins

    codes = torch.arange(127, dtype=torch.uint8).view(torch.float8_e4m3fn).double()  # 0 to 448
    table = [Fraction(float(c)) for c in codes]
    normal = torch.randn(4, 256, generator=torch.Generator().manual_seed(1))
    x = torch.cat([normal, torch.zeros(1, 256)]).half()
    for made, scale, size in ((*stand_ins.quantise_fp8(x), x.numel()),
                              (*stand_ins.quantise_fp8(x, None, True), 256),
                              (*stand_ins.quantise_fp8(x, torch.tensor([0.001])), x.numel()),
                              (*stand_ins.quantise_fp8_group(x, 64), 64)):
        flat, of = made.flatten().tolist(), scale.flatten().tolist()
        for i, value in enumerate(x.flatten().tolist()):
            exact = min(abs(Fraction(value)) / Fraction(of[i // size]), 448) if of[i // size] else 0
            near = {nearest(table, exact * (1 + Fraction(e, 2**23))) for e in (-1, 0, 1)}  # of float32
            assert table.index(abs(Fraction(flat[i]))) in near, (value, of[i // size], flat[i])
    made, scale = stand_ins.quantise_int8(x)
    assert torch.equal(scale[:4, 0], x[:4].float().abs().amax(1) / 127) and int(made.abs().max()) == 127
    assert (made.double() * scale.double() - x.double()).abs().max() <= scale.max().double() * 0.5000001
    made, scale = stand_ins.quantise_int8_group(x, 64)
    error = (made.double() * scale.double().repeat_interleave(64, 1)).abs() - x.double().abs()
    assert error.max() <= 1e-6 and error.min() > -scale.max() and int(made[4].abs().max()) == 0


def test_factors_of_adapters_are_views(torch):
    case = a_case(lora_adapters=2, E=3)
    stacked = torch.arange(2 * 3 * 8 * 5).view(6, 8, 5)
    gate, up = lora.factors(case, stacked, 2)
    for l, e in itertools.product(range(2), range(3)):
        of = stacked[l * 3 + e]
        assert torch.equal(gate[l, e], of[:4]) and torch.equal(up[l, e], of[4:])
    assert gate.stride() == up.stride() and up.data_ptr() - gate.data_ptr() == 4 * 5 * 8
    shared, = lora.factors(case, stacked[:2], 1)
    assert shared.stride(1) == 0 and torch.equal(shared[1, 2], stacked[1])
    h = torch.arange(4 * 2 * 6).view(4, 2, 6)
    assert torch.equal(lora.shrunk(h, 2)[1, 3, 0], h[3, 0, 3:])


def test_the_alignment_of_adapters_that_stands_in(torch):
    made = torch.Generator().manual_seed(3)
    ids = torch.randint(-1, 5, (40, 2), generator=made).int()
    adapter = torch.randint(-1, 3, (40,), generator=made).int()
    enabled = torch.tensor([1, 0, 1], dtype=torch.int32)
    order, experts, end = lora.align(ids, adapter, enabled, 5, 16, 80 + 5 * 15)
    assert order.shape == (3, 155) and experts.shape == (3, 10) and end.shape == (3,)
    for l in range(3):
        seen = []
        for position in range(int(end[l])):
            slot = int(order[l, position])
            if slot < 80:
                seen.append(slot)
                assert adapter[slot // 2] == l and ids[slot // 2, slot % 2] == experts[l, position // 16]
        mine = [s for s in range(80) if adapter[s // 2] == l and ids[s // 2, s % 2] >= 0 and enabled[l]]
        assert sorted(seen) == mine and bool((order[l, int(end[l]):] == 80).all())
        assert int(end[l]) % 16 == 0 and (mine or int(end[l]) == 0)


# ---- with the packages ----

CASES = {"quant": [f"M=5 E=3 topk=2 K=256 N=128 dtype=fp16 tile=16x64x64x8x4x2 quant={name}"
                   for name in quantised.SCHEMES] +
                  ["M=5 E=3 topk=2 K=256 N=128 dtype=fp16 tile=16x64x64x8x4x2 quant=fp8-block filter=0.3"],
         "lora": ["M=4 E=4 topk=2 K=64 N=32 dtype=fp16 lora_adapters=8 lora_rank=8",
                  "M=9 E=3 topk=2 K=100 N=72 dtype=fp16 lora_adapters=2 gated=0 filter=0.3"]}


@pytest.mark.parametrize("kind, subject", [("quant", "sglang.py"), ("quant", "vllm.py"),
                                           ("lora", "sglang.py stages lora=classic"),
                                           ("lora", "sglang.py stages lora=virtual"), ("lora", "vllm.py"),
                                           ("lora", "vllm.py stages lora=two")])
def test_their_kernels_interpreted(kind, subject):
    missing = [n for n in ("torch", "triton", subject.split(".")[0]) if importlib.util.find_spec(n) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")
    words = [word for case in CASES[kind] for word in ("--case", case)]
    command = f"worker:{shlex.quote(sys.executable)} {shlex.quote(ROOT)}/adapters/{subject}"
    ended = subprocess.run([os.environ["MOEPARITY_PROGRAM"], "run", *words, "--subject", command],
                           env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True,
                           timeout=240)
    assert ended.returncode == 0 and f"{len(CASES[kind])} passed" in ended.stdout, ended.stdout + ended.stderr
