# SPDX-License-Identifier: Apache-2.0
"""Which cases the Triton MoE of sglang takes on, and what it promises of them."""
from adapters import lora, quantised, sglang_lora, tiles
from adapters.sglang_package import KNOWN

GATED = ("silu", "gelu", "gelu_tanh", "swiglu_oai", "silu_clamp", "clamp_silu")
PLAIN = ("silu", "gelu", "relu2")
ALIGN = ("sorted_token_ids", "expert_ids", "num_tokens_post_padded")


class Offer:
    """Answers for one process: with the package, or why there is none, and the words behind the program."""

    def __init__(self, sglang, absent, words):
        self.sglang, self.absent, self.words = sglang, absent, words

    # ---- cases ----

    def supports(self, case):
        """None, or why the package has nothing for this case."""
        if self.absent:
            return self.absent
        gemms = case.scope in ("all", "gate_up", "down")
        if case.dtype == "fp32" and gemms:
            return "sglang's GEMM stores fp32 outputs as fp16 (compute_type is bf16 or fp16)"
        if case.layout == "masked":
            return "sglang's Triton experts have no masked layout"
        if case.shared == "add":
            return "sglang adds the shared expert's output outside of its experts"
        if case.path == "chunked":
            return f"sglang {KNOWN} has no loop over chunks of tokens"
        if case.scope in ("all", "act") and (refusal := self._act_refusal(case)):
            return refusal
        if case.scope == "align" and not self.sglang.native:
            return "sglang's alignment is stood in for here: it is not its own that would be judged"
        if case.fused_sum and case.topk <= 2:
            return "sglang sums in the GEMM for topk above 2 alone"
        if case.scope in ("all", "down") and case.layout == "sorted" and case.N * _bytes(case) % 16:
            return f"sglang's sorted layout goes by TMA, which wants rows of whole 16 bytes, not N={case.N}"
        if case.weight_row_gap or case.weight_expert_gap or case.buffer_offset:
            return "sglang's engine gives its kernels packed tensors on 16 bytes, and so does this"
        if case.expert_map != "none" or case.sentinel != "-1":
            return "sglang's stages take the ids of this rank's experts, and -1"
        virtual = self.words["lora"] == "virtual"
        if refusal := quantised.refusal(case, "sglang") or sglang_lora.refusal(case, virtual):
            return refusal
        return self._fused_refusal(case) if self.words["mode"] == "fused" else None

    def _act_refusal(self, case):
        if case.act == "clamp_silu" and case.limit != 10:
            return f"sglang clamps before silu at 10 alone, not at {case.limit:g}"
        if case.act not in (GATED if case.gated else PLAIN):
            return f"sglang has no activation {case.act} with gated={int(case.gated)}"
        if case.gated and case.act != "swiglu_oai" and case.interleaved:
            return "sglang takes gate and up as halves but for swiglu_oai"
        if self.by_cuda(case) and self.sglang.native and case.N * _bytes(case) % 16:
            return f"sglang's activations want rows of whole 16 bytes, not N={case.N}"
        return None

    def _fused_refusal(self, case):
        if case.scope != "all":
            return "fused is from end to end: no single stage"
        if "tile_down=" in case.text:
            return "fused_experts takes one tile for both GEMMs when it is told one"
        if case.layout == "sorted":
            return "fused_experts chooses the layout by its tuned tables"
        if case.path == "runner":
            return "the runner's hooks are not reached by fused_experts; use stages"
        if self.words["act"] != "own" or self.words["combine"] != "own":
            return "fused_experts chooses its activation and its sum itself"
        if quantised.scheme(case) or lora.has(case):
            return "fused has neither quantised experts nor LoRA; use stages"
        return None

    # ---- its kernels ----

    def by_triton(self, case):
        """Whether the activation of this case is the package's Triton kernel."""
        return case.act == "clamp_silu" or (self.words["act"] == "triton" and case.gated and
                                            case.act in ("silu", "gelu_tanh"))

    def by_cuda(self, case):
        return case.gated and case.act in ("silu", "gelu", "gelu_tanh") and not self.by_triton(case)

    def exposes(self, case):
        if self.words["mode"] == "fused":
            return ["out"]
        align = ALIGN if self.sglang and self.sglang.native else ()
        adapters = lora.LEFT + lora.BETWEEN if lora.has(case) else ()
        return [*align, *quantised.LEFT, *adapters, "cache1", "cache2", "cache3", "out"]

    # ---- what they promise ----

    def contract(self, case):
        """sm_90 for the stages whose bits are known; what the others promise, field by field."""
        fields = [tiles.preset(), "align.stable=0 align.tail=0", self._act_contract(case)]
        if case.layout == "sorted":
            fields.append("gate_up.filtered=untouched")
        if self._compiled_sum(case) or self.words["combine"] == "torch":
            fields.append(f"combine.bits={tiles.reported()}")
        if case.dtype == "fp64":  # its Triton kernel adds in float32 whatever the tensor is
            fields.append("float64_steps=0 combine.bits=none")
        if quantised.scheme(case):
            fields += quantised.contract(case, tiles.of_case(case), quantised.SGLANG, self.sglang.quant,
                                         tiles.architecture() == 90)
        if lora.has(case):
            fields += sglang_lora.contract(case, self.words["lora"] == "virtual")
        if self.words["mode"] == "fused":  # the output alone: which sum and layout ran is not seen
            fields.append("gate_up.bits=none act.bits=none down.bits=none combine.bits=none")
        return " ".join(fields + ([self.words["contract"]] if self.words["contract"] else []))

    def _act_contract(self, case):
        """Whose exp, tanh and erf, where the gate is rounded, and what happens to rows without a result."""
        cuda, triton = self.by_cuda(case), self.by_triton(case)
        if cuda and not (self.sglang.native or case.act == "silu"):
            fields = "act.function=cuda-math"
        elif cuda:
            fields = "act.function=cuda-fast-math"
        elif triton:
            fields = "act.function=triton act.rounding=gate-rounded act.clamp_nan=limit"
        elif case.gated:  # silu_clamp, swiglu_oai
            fields = "act.function=torch-compile"
        else:
            fields = "act.function=cuda-math"
        if tiles.architecture() != 90:  # what PTX promises of ex2, div, tanh.approx: 2^-11 of tanh
            anywhere = 8192 if case.act == "gelu_tanh" else 108
            fields += f" act.ulps={8 if fields == 'act.function=cuda-math' else anywhere}"
        if not (triton or cuda and self.sglang.native):
            fields += " act.filtered=anything padding=anything"
        elif triton and case.layout == "sorted":
            fields += " padding=anything"
        stood_in = cuda and not self.sglang.native
        return f"{fields} act.bits={tiles.reported() if stood_in else tiles.promised()}"

    def _compiled_sum(self, case):
        return self.words["combine"] == "own" and case.M <= 32 and (case.topk > 2 or case.rsf != 1)


def _bytes(case):
    return 4 if case.dtype == "fp32" else 2
