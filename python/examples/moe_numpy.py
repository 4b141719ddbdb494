# SPDX-License-Identifier: Apache-2.0
"""A whole fused MoE in numpy: python moe_numpy.py run seed --match M=32"""

import moeparity
import numpy as np


@moeparity.subject(supports=moeparity.only(mode=("combine", "inplace"), path=..., layout=..., dtype=...))
def my_moe(x, w1, w2, topk_weights, topk_ids, case):
    out = np.zeros(x.shape, np.float32)
    for e in range(case.E):
        token, k = np.nonzero(topk_ids == e)
        gate, up = np.split(x[token].astype(np.float32) @ w1[e].astype(np.float32).T, 2, axis=1)
        down = (gate / (1 + np.exp(-gate)) * up) @ w2[e].astype(np.float32).T
        np.add.at(out, token, topk_weights[token, k, None] * down)
    return (case.rsf * out).astype(x.dtype)


if __name__ == "__main__":
    moeparity.main(my_moe)
