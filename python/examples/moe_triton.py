# SPDX-License-Identifier: Apache-2.0
"""A fused MoE in torch, with its activation in Triton: python moe_triton.py run seed --match M=32"""

import moeparity
import torch
import triton
import triton.language as tl


@triton.jit
def silu_and_mul(cache1, cache2, n, BLOCK: tl.constexpr):
    row, column = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    gate = tl.load(cache1 + row * 2 * n + column, mask=column < n).to(tl.float32)
    up = tl.load(cache1 + row * 2 * n + n + column, mask=column < n).to(tl.float32)
    tl.store(cache2 + row * n + column, gate * tl.sigmoid(gate) * up, mask=column < n)


@moeparity.subject(supports=moeparity.only(mode=("combine", "inplace"), path=..., layout=..., dtype=...))
def my_moe(x, w1, w2, topk_weights, topk_ids, case):
    out = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
    for e in range(case.E):
        token, k = torch.where(topk_ids == e)
        cache1 = x[token] @ w1[e].T
        cache2 = torch.empty(len(token), case.N, dtype=x.dtype, device=x.device)
        silu_and_mul[(len(token), triton.cdiv(case.N, 1024))](cache1, cache2, case.N, BLOCK=1024)
        out.index_add_(0, token, topk_weights[token, k, None] * (cache2 @ w2[e].T))
    return (case.rsf * out).to(x.dtype)


if __name__ == "__main__":
    moeparity.main(my_moe)
