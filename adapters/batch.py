#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whether a token's bits depend on the batch it is in, stage by stage, under a package's tuned tables.

    python3 adapters/batch.py sglang|vllm [--case 'E=128 topk=8 K=2048 N=768'] [--batches 1,2,8,32,...]
                              [--prefill 4096]

A prompt is computed at once (`--prefill` tokens), and its first tokens again in smaller batches, as an engine
does that finds the rest in its cache: each batch with the tile, the layout and the kernels that the package
chooses for its size. The rows of the small batch are compared, bit for bit, with the same rows of the large
one: gate_up, activation and down each from the large batch's own input of that stage, and the output of the
whole. Exit code 0: all equal; 1: a stage differs; 77: the package or a GPU is not there.
"""
import argparse
import importlib.util
import os
import sys
from types import SimpleNamespace

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[0] = ROOT

PACKAGES = ("sglang", "vllm")


def adapter(name):
    """The module adapters/NAME.py, under a name that is not the package's."""
    spec = importlib.util.spec_from_file_location(f"adapter_{name}", os.path.join(ROOT, "adapters", f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DEFAULTS = dict(E=128, topk=8, K=2048, N=768, dtype="bf16", act="silu", gated=True, interleaved=False,
                alpha=1.702, limit=7.0, rsf=1.0, mode="combine", apply_router_weight_on_input=False,
                bias=False, filter=0.0, ep_size=1, routing="uniform", fused_sum=False, layout="route",
                path="fused", scope="all", text="", tile=None, tile_down=None, block_size_m=None)


def parse(text):
    """The fields of a case that this program takes."""
    fields = dict(DEFAULTS)
    for word in text.split():
        name, _, value = word.partition("=")
        if name not in ("E", "topk", "K", "N", "act", "rsf", "dtype"):
            raise SystemExit(f"batch.py: '{word}': expected E=, topk=, K=, N=, act=, rsf= or dtype=")
        fields[name] = value if name in ("act", "dtype") else type(DEFAULTS[name])(float(value))
    return fields


class Problem:
    """Weights and a prompt, on the device, from a fixed seed; outputs are near 1."""

    def __init__(self, torch, fields, tokens, device):
        f = SimpleNamespace(**fields)
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[f.dtype]
        self.torch, self.fields, self.device, self.dtype = torch, fields, device, dtype
        made = torch.Generator(device=device).manual_seed(7)

        def normal(*shape, scale=1.0):
            return (torch.randn(shape, generator=made, device=device) * scale).to(dtype)

        self.x = normal(tokens, f.K)
        self.w1 = normal(f.E, 2 * f.N, f.K, scale=f.K**-0.5)
        self.w2 = normal(f.E, f.K, f.N, scale=f.N**-0.5)
        scores = torch.rand((tokens, f.E), generator=made, device=device)
        weights, ids = scores.topk(f.topk, dim=1)
        self.ids, self.weights = ids.int().contiguous(), (weights / weights.sum(1, keepdim=True)).contiguous()

    def case(self, package, count, scope):
        """The case of a batch of `count` tokens, with the tiles of the package's tables for that many."""
        case = SimpleNamespace(**{**self.fields, "M": count, "scope": scope})
        up, down, self.tma = package.tuned(case)
        down["BLOCK_SIZE_M"] = up["BLOCK_SIZE_M"]  # both GEMMs share one alignment
        case.tile, case.tile_down, case.block_size_m = up, down, up["BLOCK_SIZE_M"]
        return case

    def run(self, package, count, inputs=None):
        """cache1, cache2, cache3, out and what fused_experts gives, of the first `count` tokens. inputs: such
        tensors of a larger batch, whose rows are then the inputs of each stage; else its own are."""
        f = SimpleNamespace(**self.fields)
        slots, ids = count * f.topk, self.ids[:count].contiguous()

        def empty(*shape):
            return self.torch.full(shape, float("nan"), device=self.device, dtype=self.dtype)

        given = dict(x=self.x[:count].contiguous(), w1=self.w1, w2=self.w2, topk_ids=ids,
                     topk_weights=self.weights[:count].contiguous())
        left = {}
        for stage, read, made, shape in (
            ("gate_up", None, "cache1", (slots, 2 * f.N)), ("act", "cache1", "cache2", (slots, f.N)),
            ("down", "cache2", "cache3", (count, f.topk, f.K)), ("combine", "cache3", "out", (count, f.K)),
        ):
            left[made] = empty(*shape)
            rows = count if read == "cache3" else slots
            source = {read: (inputs or left)[read][:rows].contiguous()} if read else {}
            package.stages(self.case(package, count, stage), **given, **source, **{made: left[made]})
        left["fused_experts"] = empty(count, f.K)
        package.fused(self.case(package, count, "all"), **given, out=left["fused_experts"])
        return left


def differing(torch, small, large):
    """How many elements of `small` differ in their bits from the same rows of `large`, and the first of them:
    (index, its bits, the other's) or None."""
    ours, theirs = small.view(torch.int16), large[: small.shape[0]].contiguous().view(torch.int16)
    where = (ours != theirs).nonzero()
    if not len(where):
        return 0, None
    at = tuple(where[0].tolist())
    return len(where), (at, f"{ours[at].item() & 0xFFFF:04X}", f"{theirs[at].item() & 0xFFFF:04X}")


STAGES = {"gate_up": "cache1", "act": "cache2", "down": "cache3", "combine": "out",
          "fused_experts": "fused_experts"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", choices=PACKAGES)
    parser.add_argument("--case", default="", help="E=, topk=, K=, N=, act=, rsf=, dtype=")
    parser.add_argument("--batches", default="1,2,8,16,32,33,64,128,256,512,1024,2048")
    parser.add_argument("--prefill", type=int, default=4096, help="tokens of the large batch")
    words = parser.parse_args()
    batches = sorted(int(count) for count in words.batches.split(","))
    if not 0 < batches[0] <= batches[-1] <= words.prefill:
        parser.error(f"--batches {words.batches}: expected numbers from 1 to {words.prefill}")
    package = adapter(words.package)
    if package.absent:
        print(f"batch.py: {package.absent}", file=sys.stderr)
        return 77
    torch = package.torch
    if not torch.cuda.is_available() and not os.environ.get("TRITON_INTERPRET"):
        print(f"batch.py: torch {torch.__version__} finds no CUDA device", file=sys.stderr)
        return 77
    problem = Problem(torch, parse(words.case), words.prefill, "cuda" if torch.cuda.is_available() else "cpu")
    large = problem.run(package, words.prefill)
    print(f"{words.package} {getattr(package, words.package).package.version_line()}")
    print(f"rows of a batch beside the same rows of a batch of {words.prefill}: outputs that differ")
    print("| batch | tile | " + " | ".join(STAGES) + " |\n|---|---" + "|---" * len(STAGES) + "|")
    first, seen = {}, 0
    for count in [*batches, words.prefill]:
        small = problem.run(package, count, large)
        cells = []
        for stage, name in STAGES.items():
            differ, example = differing(torch, small[name], large[name])
            seen += small[name].numel()
            cells.append(f"{differ:,} of {small[name].numel():,}" if differ else "equal")
            if differ and stage not in first:
                first[stage] = (count, *example)
        tile = "x".join(str(v) for v in problem.case(package, count, "all").tile.values())
        print(f"| {count} | {tile}{' TMA' if problem.tma else ''} | " + " | ".join(cells) + " |", flush=True)
    print(f"\n{seen:,} outputs compared.")
    for stage, (count, at, ours, theirs) in first.items():
        print(f"- {stage}, batch of {count}, {list(at)}: {ours}, in the batch of {words.prefill} {theirs}")
    return 1 if first else 0


if __name__ == "__main__":
    sys.exit(main())
