# SPDX-License-Identifier: Apache-2.0
"""Experts in int8, a scale for each row of weights and of activations: python moe_int8_numpy.py run quant"""

import moeparity
import numpy as np


def quantised(rows):
    rows = rows.astype(np.float32)
    scale = np.maximum(np.abs(rows).max(axis=1, keepdims=True) / np.float32(127), np.float32(1e-10))
    return np.rint(rows / scale).astype(np.int8), scale


def product(codes, scale, w, w_scale):
    return (codes.astype(np.int32) @ w.astype(np.int32).T).astype(np.float32) * (scale * w_scale.T)


@moeparity.subject(
    exposes="x_codes x_scale out",
    supports=moeparity.only(quant="int8-channel", scale_layout=..., path=..., layout=..., dtype=...),
)
def my_moe(x, w1, w1_scale, w2, w2_scale, topk_weights, topk_ids, case):
    x_codes, x_scale = quantised(x)
    out = np.zeros(x.shape, np.float32)
    for e in range(case.E):
        token, k = np.nonzero(topk_ids == e)
        gate_up = product(x_codes[token], x_scale[token], w1[e], w1_scale[e])
        gate, up = np.split(gate_up.astype(x.dtype).astype(np.float32), 2, axis=1)
        act = (gate / (1 + np.exp(-gate)) * up).astype(x.dtype)
        down = product(*quantised(act), w2[e], w2_scale[e])
        np.add.at(out, token, topk_weights[token, k, None] * down)
    return {"x_codes": x_codes, "x_scale": x_scale, "out": (case.rsf * out).astype(x.dtype)}


if __name__ == "__main__":
    moeparity.main(my_moe)
