#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A subject that is a program, with nothing but Python's own library: scope=act with bf16 and gated silu.

    moeparity run --case 'M=4 N=8 scope=act' --subject 'worker:python3 talker.py'

docs/protocol.md tells what is said. A word behind it makes the program misbehave, for our tests.
"""
import json
import math
import mmap
import os
import struct
import sys
import time

REQUESTS, ANSWERS, MEMORY = 3, 4, 5
HOW = sys.argv[1] if len(sys.argv) > 1 else ""
LEAVES = json.loads(HOW[7:]) if HOW.startswith("leaves=") else []  # what each run leaves, null: not told


def read_exactly(count):
    data = b""
    while len(data) < count:
        more = os.read(REQUESTS, count - len(data))
        if not more:
            sys.exit(0)  # nothing more will come
        data += more
    return data


def receive():
    (length,) = struct.unpack("<I", read_exactly(4))
    return json.loads(read_exactly(length))


def send(message):
    text = json.dumps(message).encode()
    data = struct.pack("<I", len(text)) + text
    if HOW.startswith("die-at-"):
        os.write(ANSWERS, data[: int(HOW[7:])])
        os._exit(0)
    while data:
        data = data[os.write(ANSWERS, data) :]


def misbehave(where):
    if HOW == "exit-" + where:
        os._exit(5)
    if HOW == "hang-" + where:
        time.sleep(1000)
    if HOW == "kill-" + where:
        os.kill(os.getpid(), 11)
    if HOW == "nonsense-" + where:
        os.write(ANSWERS, struct.pack("<I", 5) + b"hello")
    if HOW == "long-" + where:
        os.write(ANSWERS, b"\xff\xff\xff\xff")
    if HOW == "else-" + where:
        send({"thanks": {}})


def describe(case):
    fields = case["fields"]
    if HOW.startswith("leaves=") and fields["scope"] == "align":
        return {"offer": {}}
    known = {"scope": "act", "dtype": "bf16", "act": "silu", "gated": True, "interleaved": False}
    if any(fields[name] != value for name, value in known.items()):
        return {"failed": {"status": "unsupported here", "error": "act alone, not " + case["text"]}}
    offer = {
        "contract": "ieee-any-order",
        "contract_fields": "act.ulps=4 act.filtered=anything",
        "exposes": ["cache2"],
    }
    if HOW == "unreadable":
        return {"failed": {"status": "input/output error", "error": "weights.bin: not there"}}
    if HOW.startswith("contract="):
        offer = {"contract": HOW[9:]}
    if HOW == "silent":
        offer = {}
    if HOW == "wordy":
        offer = {"weaker": "weak " * 300}
    if HOW == "visible":
        offer["weaker"] = "sees " + os.environ.get("CUDA_VISIBLE_DEVICES", "nothing said")
    if HOW == "no-contract":
        offer["contract"] = "sm_91"
    if HOW == "no-tensor":
        offer["exposes"] = ["cache2", "cache4"]
    if HOW == "no-words":
        offer["exposes"] = [1, {}]
    if HOW.startswith("odd="):
        offer.update(json.loads(HOW[4:]))
    if HOW == "workspace":
        offer["workspace_bytes"] = [0, 12]
    return {"offer": offer}


def widen(v):
    return struct.unpack("<f", struct.pack("<I", v << 16))[0]


def narrow(f):
    (bits,) = struct.unpack("<I", struct.pack("<f", f))
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 & 0xFFFF


def align(elements, fields, block):
    """Slots sorted by expert, each padded to whole blocks with a number behind the last slot."""
    ids = elements("topk_ids", "i")
    order, experts = [], []
    for e in range(fields["E"]):
        slots = [s for s in range(len(ids)) if ids[s] == e]
        slots += [len(ids)] * (-len(slots) % block)
        order += slots
        experts += [e] * (len(slots) // block)
    for name, values in ("sorted_token_ids", order), ("expert_ids", experts):
        elements(name, "i")[: len(values)] = memoryview(struct.pack(f"{len(values)}i", *values)).cast("i")
    elements("num_tokens_post_padded", "i")[0] = len(order)


def keep_pace(text):
    """On GPU-slow a run takes until GPU-quick has seen ten cases, or half a minute."""
    device = os.environ.get("CUDA_VISIBLE_DEVICES")
    if device == "GPU-quick":
        with open("seen", "a") as seen:
            seen.write(text + "\n")
    end = time.monotonic() + 30
    while device == "GPU-slow" and time.monotonic() < end:
        if os.path.exists("seen") and len(set(open("seen"))) >= 10:
            return
        time.sleep(0.02)


def run(request):
    fields = request["case"]["fields"]
    memory = mmap.mmap(MEMORY, request["memory_bytes"])
    tensors = {t["name"]: t for t in request["tensors"]}

    def elements(name, code):
        t = tensors[name]
        return memoryview(memory)[t["offset"] : t["offset"] + t["bytes"]].cast(code)

    if fields["scope"] == "align":
        align(elements, fields, request["block_size_m"])
        LEAVES.append(LEAVES.pop(0))  # this run's to the end
        return {"done": {"left": LEAVES[-1]} if LEAVES[-1] else {}}
    cache1, cache2, ids = elements("cache1", "H"), elements("cache2", "H"), elements("topk_ids", "i")
    n = fields["N"]
    for s in range(fields["M"] * fields["topk"]):
        for k in range(n if ids[s] >= 0 else 0):
            gate, up = widen(cache1[s * 2 * n + k]), widen(cache1[s * 2 * n + n + k])
            cache2[s * n + k] = narrow(gate / (1 + math.exp(-gate)) * up)
    end = tensors["cache2"]["offset"] + tensors["cache2"]["bytes"]
    if HOW == "visible":
        keep_pace(request["case"]["text"])
    if HOW == "behind":
        memory[end] ^= 1
    if HOW == "workspace":
        w = request["workspace"][0]
        memory[w["offset"] + w["bytes"]] ^= 1
    if HOW == "input":
        memory[tensors["cache1"]["offset"]] ^= 1
    if HOW == "wrong":
        cache2[3] ^= 0x20
    done = {"stage_ns": {"act": 1.0}}
    if HOW.startswith("left="):
        done["left"] = json.loads(HOW[5:])
    return {"done": done}


def main():
    if HOW == "prints":
        print("this is no answer", flush=True)  # standard output is the run's standard error
    while True:
        request = receive()
        kind, body = next(iter(request.items()))
        misbehave(kind)
        if kind == "hello":
            protocol = 2 if HOW == "newer" else body["protocol"]
            name = "" if HOW == "nameless" else "talker"
            version = {"wordy": "1.0, " * 100, "unversioned": ""}.get(HOW, "1.0")
            hello = {"protocol": protocol, "name": name, "version": version, "later": [1]}
            if HOW.startswith("on="):
                hello["device"] = HOW[3:]
            send({"hello": hello})
        elif kind == "describe":
            send({"progress": {"stage": "act", "what": "run"}})
            send(describe(body))
        elif kind == "run":
            send({"failed": {"error": "the kernel said no"}} if HOW == "failed" else run(body))


main()
