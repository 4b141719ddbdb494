# SPDX-License-Identifier: Apache-2.0
"""Activations of published packages, each under the contract that predicts its bits on an sm_90:

    ACTIVATION=torch python published_activations.py run stages --match 'scope=act' --tier full
    ACTIVATION=triton python published_activations.py ...
    ACTIVATION=triton-quotient python published_activations.py ...
    ACTIVATION=torch-compile python published_activations.py ...

The cases with data=exhaustive have every gate of 16 bits."""
import os

import moeparity
import torch
import triton
import triton.language as tl

ACTS = {"silu": 0, "gelu": 1, "gelu_tanh": 2}


def halves(cache1, case):
    """gate and up; up is None where there is none."""
    if not case.gated:
        return cache1, None
    if case.interleaved:
        return cache1[..., 0::2], cache1[..., 1::2]
    return cache1[..., : case.N], cache1[..., case.N :]


def supported(acts):
    def supports(case):
        if case.act not in acts:
            return f"act={case.act}: expected one of {', '.join(acts)}"
        if case.dtype not in ("bf16", "fp16", "fp32"):
            return f"dtype={case.dtype}: not in this example"
        return None

    return supports


# Rows of filtered slots and padding are computed as any others.
ROWS = " act.filtered=anything padding=anything"


@moeparity.subject(
    name="torch",
    scope="act",
    contract="sm_90-cuda-math act.rounding=gate-rounded" + ROWS,
    supports=supported(ACTS),
)
def with_torch(cache1, case):
    gate, up = halves(cache1, case)
    functional = torch.nn.functional
    if case.act == "silu":
        activated = functional.silu(gate)
    else:
        activated = functional.gelu(gate, approximate="tanh" if case.act == "gelu_tanh" else "none")
    return {"cache2": activated if up is None else activated * up}


@triton.jit
def triton_kernel(
    gate, up, out, n, rows: tl.constexpr, gated: tl.constexpr, act: tl.constexpr, quotient: tl.constexpr
):
    i = tl.program_id(0).to(tl.int64) * rows + tl.arange(0, rows)
    g = tl.load(gate + i, i < n, 0.0).to(tl.float32)
    if act == 1:
        a = 0.5 * g * (1.0 + tl.erf(g * 0.7071067811865476))
    elif act == 2:
        z = 0.7978845608028654 * (g + 0.044715 * g * g * g)
        a = 0.5 * g * (1.0 + (2.0 * tl.sigmoid(2.0 * z) - 1.0))
    elif quotient:
        a = g / (1.0 + tl.exp(-g))
    else:
        a = g * tl.sigmoid(g)
    if gated:
        a = a * tl.load(up + i, i < n, 0.0).to(tl.float32)
    tl.store(out + i, a, i < n)


def run_triton(cache1, case, quotient):
    gate, up = halves(cache1, case)
    gate = gate.contiguous()
    up = gate if up is None else up.contiguous()
    out = torch.empty_like(gate)
    grid = (triton.cdiv(gate.numel(), 1024),)
    if gate.numel():
        triton_kernel[grid](gate, up, out, gate.numel(), 1024, bool(case.gated), ACTS[case.act], quotient)
    return {"cache2": out}


@moeparity.subject(
    name="triton", scope="act", contract="sm_90-triton" + ROWS, supports=supported(ACTS)
)
def with_triton(cache1, case):
    return run_triton(cache1, case, False)


@moeparity.subject(
    name="triton-quotient",
    scope="act",
    contract="sm_90-triton-quotient" + ROWS,
    supports=supported(ACTS),
)
def with_triton_quotient(cache1, case):
    return run_triton(cache1, case, True)


@torch.compile
def compiled(gate, up, act, alpha, limit):
    functional = torch.nn.functional
    if act == "swiglu_oai":
        gate, up = gate.clamp(max=limit), up.clamp(-limit, limit) + 1
        return gate * torch.sigmoid(alpha * gate) * up
    if act == "silu_clamp":
        return functional.silu(gate).clamp(max=limit) * up.clamp(-limit, limit)
    if act == "silu":
        activated = functional.silu(gate)
    else:
        activated = functional.gelu(gate, approximate="tanh" if act == "gelu_tanh" else "none")
    return activated if up is None else activated * up


@moeparity.subject(
    name="torch-compile",
    scope="act",
    contract="sm_90-torch-compile" + ROWS,
    supports=supported([*ACTS, "swiglu_oai", "silu_clamp"]),
)
def with_torch_compile(cache1, case):
    torch._dynamo.config.recompile_limit = 256  # else some cases would run uncompiled: other arithmetic
    gate, up = halves(cache1, case)
    return {"cache2": compiled(gate, up, case.act, case.alpha, case.limit)}


if __name__ == "__main__":
    subjects = {
        "torch": with_torch,
        "triton": with_triton,
        "triton-quotient": with_triton_quotient,
        "torch-compile": with_torch_compile,
    }
    moeparity.main(subjects[os.environ.get("ACTIVATION", "torch")])
