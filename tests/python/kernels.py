# SPDX-License-Identifier: Apache-2.0
"""Kernels in numpy, right ones and wrong ones. As a script: one of them, by its name.

python kernels.py NAME run --case ...
"""

import os
import sys
import time

import numpy as np

import moeparity


def silu(cache1, n):
    gate, up = cache1[:, :n].astype(np.float32), cache1[:, n:].astype(np.float32)
    with np.errstate(over="ignore"):
        return gate / (1 + np.exp(-gate)) * up


def of_act(function=None, **options):
    options = {"contract": "ieee-any-order act.ulps=4 act.filtered=anything", "scope": "act", **options}
    return moeparity.subject(function, **options)


@of_act(version="1.0")
def act(cache1, case):
    return silu(cache1, case.N).astype(cache1.dtype)


@of_act
def act_in_place(cache1, cache2, case):
    cache2[...] = silu(cache1, case.N)


@of_act
def act_by_name(cache1, case):
    case.stage_ns["act"] = 1500
    return {"cache2": silu(cache1, case.N).astype(cache1.dtype)}


@of_act
def act_transposed(cache1, case):
    """As it lies in memory; the values are right."""
    return np.asfortranarray(silu(cache1, case.N).astype(cache1.dtype))


@of_act
def act_wrong(cache1, case):
    out = silu(cache1, case.N).astype(cache1.dtype)
    out[0, 3] *= 2
    return out


@of_act
def act_changes_input(cache1, case):
    out = silu(cache1, case.N).astype(cache1.dtype)
    cache1[0, 0] = 5
    return out


@of_act
def act_forgets_a_row(cache1, cache2, case):
    cache2[:-1] = silu(cache1, case.N)[:-1]


@of_act
def act_never_the_same(cache1, case, _state=[0]):
    out = silu(cache1, case.N).astype(cache1.dtype)
    _state[0] += 1
    out.view(np.uint16)[0, 0] ^= _state[0] & 1  # the last bit, within the bound
    return out


@of_act
def act_raises(cache1, case):
    raise KeyError("no such tile")


@of_act
def act_raises_odd(cache1, case):
    raise ValueError("a NUL \0, half a character \ud800, an escape \033[31m")


@of_act
def act_unsupported(cache1, case):
    raise moeparity.Unsupported("N must be a multiple of 128")


@of_act
def act_none(cache1, case):
    return None


@of_act
def act_shape(cache1, case):
    return silu(cache1, case.N).astype(cache1.dtype)[:, :-1]


@of_act
def act_dtype(cache1, case):
    return silu(cache1, case.N)


@of_act
def act_list(cache1, case):
    return {"cache2": [1, 2, 3]}


@of_act
def act_tuple(cache1, case):
    return act(cache1, case), 1


@of_act
def act_name(cache1, case):
    return {"cache9": act(cache1, case)}


@of_act(exposes="cache2")
def act_keeps_it(cache1, case):
    return {}


@of_act(contract="sm_91")
def act_contract(cache1, case):
    return act(cache1, case)


@of_act(supports=lambda case: case.N % 8 == 0 or "N must be a multiple of 8")
def act_of_eights(cache1, case):
    return act(cache1, case)


def is_little(case):
    usual = case.act == "silu" and case.gated and not case.interleaved and case.data == "normal"
    return usual and case.M * case.topk * case.N < 10000 or "little cases with silu"


@of_act(supports=is_little)
def act_of_little(cache1, case):
    return act(cache1, case)


@of_act
def act_asks(cache1, topk_id, case):
    return act(cache1, case)


@of_act
def act_ends(cache1, case):
    os._exit(5)


@of_act
def act_hangs(cache1, case):
    print("it hangs", file=sys.stderr, flush=True)
    time.sleep(60)


@moeparity.subject(scope="combine")
def combine(cache3, case):
    total = np.zeros((case.M, case.K), np.float32)
    for j in range(case.topk):
        total += cache3[:, j]
    return (np.float32(case.rsf) * total).astype(cache3.dtype)


@moeparity.subject
def moe(x, w1, w2, topk_weights, topk_ids, case):
    """Shows cache1 and out, as a dict."""
    tokens, topk, n = case.M, case.topk, case.N
    wide = np.float32
    cache1 = np.empty((tokens * topk, 2 * n), x.dtype)
    rows = np.empty((tokens * topk, case.K), wide)
    for slot in range(tokens * topk):
        e = topk_ids.reshape(-1)[slot]
        cache1[slot] = w1[e].astype(wide) @ x[slot // topk].astype(wide)
        hidden = silu(cache1[slot : slot + 1], n).astype(x.dtype)[0]
        rows[slot] = w2[e].astype(wide) @ hidden.astype(wide) * topk_weights.reshape(-1)[slot]
    down = rows.astype(x.dtype).astype(wide).reshape(tokens, topk, rows.shape[1])
    return {"cache1": cache1, "out": (case.rsf * down.sum(axis=1)).astype(x.dtype)}


@moeparity.subject
def moe_shows_out(x, w1, w2, topk_weights, topk_ids, case):
    return moe(x, w1, w2, topk_weights, topk_ids, case)["out"]


@moeparity.subject
def moe_swaps_experts(x, w1, w2, topk_weights, topk_ids, case):
    return moe(x, w1[::-1], w2, topk_weights, topk_ids, case)


if __name__ == "__main__":
    kernel = globals()[
        sys.argv.pop(1) if len(sys.argv) > 1 and sys.argv[1] in globals() else os.environ["KERNEL"]
    ]
    os.environ["KERNEL"] = kernel.__name__  # the script is started again, without its name
    moeparity.main(kernel)
