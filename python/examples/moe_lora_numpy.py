# SPDX-License-Identifier: Apache-2.0
"""Experts with LoRA adapters, factors for each adapter and expert: python moe_lora_numpy.py run lora"""

import moeparity
import numpy as np


def product(rows, w):
    return rows.astype(np.float32) @ w.astype(np.float32).T


@moeparity.subject(
    supports=moeparity.only(
        lora_adapters=range(1, 65), lora_routing=..., lora_ranks=..., lora_data=..., dtype=..., path=...
    )
)
def my_moe(x, w1, w2, topk_weights, topk_ids, lora_a1, lora_b1, lora_a2, lora_b2, token_lora, adapter_enabled,
           case):
    out = np.zeros(x.shape, np.float32)
    r, N = case.lora_rank, case.N
    for e in range(case.E):
        token, k = np.nonzero(topk_ids == e)
        mine = [token_lora[token] == a for a in np.flatnonzero(adapter_enabled)]
        factors = [a * case.E + e for a in np.flatnonzero(adapter_enabled)]
        gate_up = product(x[token], w1[e])
        for rows, f in zip(mine, factors):
            h = product(x[token[rows]], lora_a1[f]).astype(x.dtype)
            gate_up[rows, :N] += product(h[:, :r], lora_b1[f, :N])
            gate_up[rows, N:] += product(h[:, r:], lora_b1[f, N:])
        gate, up = np.split(gate_up, 2, axis=1)
        act = (gate / (1 + np.exp(-gate)) * up).astype(x.dtype)
        down = product(act, w2[e])
        for rows, f in zip(mine, factors):
            down[rows] += product(product(act[rows], lora_a2[f]).astype(x.dtype), lora_b2[f])
        np.add.at(out, token, topk_weights[token, k, None] * down)
    return (case.rsf * out).astype(x.dtype)


if __name__ == "__main__":
    moeparity.main(my_moe)
