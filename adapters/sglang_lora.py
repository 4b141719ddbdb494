# SPDX-License-Identifier: Apache-2.0
"""The LoRA kernels of an installed sglang: its classic ones, and its virtual experts, which make an adapter's
factors experts of their own. docs/adapters.md tells what is stood in for."""
import contextlib

from adapters import lora, tiles

try:
    import torch
except ImportError:
    torch = None

FOLDER = "sglang.kernels.ops.lora.moe"
FULL = 128  # blocks of a shrink below which the kernel of virtual experts splits k


def _experts(case, gate_up, shrink):
    """Experts of a factor: one where all share it."""
    return 1 if case.lora_outer == "shared" and gate_up == shrink else case.E


def _virtual_tile(case, size):
    """The shrink's tile as its launcher cuts it."""
    tile, _ = tiles.of_case(case)
    return {**tile, "BLOCK_SIZE_N": min(tile["BLOCK_SIZE_N"], max(16, size.slices * size.rank))}


def _longest(case, experts, block_size):
    """Sorted ids of virtual experts, without the padding that cannot be used."""
    slots, virtual = case.M * case.topk, experts * case.lora_adapters
    return -(-(slots + min(slots, virtual) * (block_size - 1)) // block_size) * block_size


def split_k(case, gate_up):
    """Parts of k of a shrink of virtual experts, each rounded and added atomically."""
    size = lora.Sizes(case, gate_up)
    tile = _virtual_tile(case, size)
    ids = _longest(case, _experts(case, gate_up, True), tile["BLOCK_SIZE_M"])
    blocks = ids // tile["BLOCK_SIZE_M"] * -(-size.slices * size.rank // tile["BLOCK_SIZE_N"])
    parts = max(1, size.k // tile["BLOCK_SIZE_K"])
    return min(parts, max(1, FULL // blocks)) if blocks < FULL else 1


def lacks_constant_cdiv():
    """Whether the installed Triton compiles `n: tl.constexpr = tl.cdiv(a, b)` of two constants to a value of
    the kernel, which `2 * n` cannot use: 3.6 does, 3.9 does not."""
    try:
        import triton
    except ImportError:
        return False
    number = tuple(int(part) for part in triton.__version__.split(".")[:2])
    return number < (3, 9) and isinstance(triton.language.cdiv, triton.JITFunction)  # not interpreted


@contextlib.contextmanager
def constant_cdiv():
    """While the kernel of gate and up is compiled: cdiv of two constants is a constant."""
    if not lacks_constant_cdiv():
        yield
        return
    from triton import language
    own = language.cdiv

    @language.core.builtin
    def cdiv(x, div, _semantic=None, _generator=None):
        if isinstance(x, language.constexpr) and isinstance(div, language.constexpr):
            return language.constexpr(-(-x.value // div.value))
        return _generator.call_JitFunction(own, [x, div], {})

    language.cdiv = cdiv
    try:
        yield
    finally:
        language.cdiv = own


def refusal(case, virtual):
    """None, or why its kernels cannot run a case with LoRA."""
    if why := lora.refusal(case, "sglang"):
        return why
    if lora.has(case) and virtual:
        for gate_up in (True, False):
            columns = _virtual_tile(case, lora.Sizes(case, gate_up))["BLOCK_SIZE_N"]
            if columns & (columns - 1):
                return f"sglang's virtual experts want a tile of a power of two, and cut theirs to {columns}"
    return None


def contract(case, virtual):
    """What a shrink and an expand promise."""
    fields = [f"{stage}.filtered=zero" for stage in lora.STAGES]
    if not virtual:  # the whole of what is added is a tensor, which is zero where there is no adapter
        return fields + ["expand.rows=plus-zero"]
    # The fewer tokens, the more parts: a token's bits depend on the batch, also of a case with one part.
    fields += [f"{stage}.batch_invariant=0" for stage in ("shrink_gate_up", "shrink_down")]
    parts = max(split_k(case, gate_up) for gate_up in (True, False))
    if parts > 1:
        fields.append(f"shrink.split_k={parts} shrink.parts_rounded=1")
        fields += [f"{stage}.bits=none {stage}.deterministic=0"
                   for stage in ("shrink_gate_up", "shrink_down")]
    return fields + ["expand.rows=kept"]


class SglangLora:
    def __init__(self, package, native):
        self.native = native
        package.stand_in("sglang.srt.distributed", tensor_model_parallel_all_gather=lambda h: h,
                         tensor_model_parallel_all_reduce=lambda h: h)
        for name in ("lora", "lora.moe"):
            package.stand_in(f"sglang.kernels.ops.{name}")
        if not native:
            package.stand_in("sglang.kernels.ops.moe.moe_align", moe_align_block_size=None)
        classic = package.own(f"{FOLDER}.fused_moe_lora_kernel")
        self.shrink = package.function(
            classic, "_fused_moe_lora_shrink", "a_intermediate_cache1 qcurr_hidden_states lora_a_stacked "
            "topk_weights sorted_token_ids lora_ids adapter_enabled split_k top_k_divisor")
        self.expand = package.function(
            classic, "_fused_moe_lora_expand", "output a_intermediate_cache1 b_intermediate_cache1 "
            "lora_b_stacked lora_ids adapter_enabled max_lora_rank w1_output_dim_size split_k "
            "mul_routed_weight")
        self.virtual = package.own(f"{FOLDER}.virtual_experts")
        self.virtual_ids = package.function(
            self.virtual, "_fused_virtual_topk_ids",
            "topk_ids token_lora_mapping num_experts shared_outer max_loras adapter_enabled")
        self.virtual_shrink = package.function(
            self.virtual, "_invoke_moe_lora_shrink_splitk", "hidden_states weight output topk_ids "
            "sorted_token_ids expert_ids num_tokens_post_padded top_k config")
        if native:
            align = package.own(f"{FOLDER}.moe_lora_align")
            self.align = package.function(align, "moe_lora_align_block_size",
                                          "topk_ids seg_indptr req_to_lora num_experts block_size max_loras")

    # ---- the classic kernels ----

    def route(self, case, ids, token_lora, enabled, seg_indptr, req_to_lora):
        """Blocks of each adapter's tokens, by the names of the kernels' parameters."""
        block_size = lora.config(case, case.lora_rank)[0]["BLOCK_SIZE_M"]
        blocks = -(-(ids.numel() + case.E * (block_size - 1)) // block_size)
        capacity, adapters = blocks * block_size, case.lora_adapters
        adapter_ids = torch.arange(adapters, dtype=torch.int32, device=ids.device)
        if self.native:
            if seg_indptr is None:  # each token is a request
                seg_indptr = torch.arange(case.M + 1, dtype=torch.int32, device=ids.device)
                req_to_lora = token_lora
            s, e, p = (torch.empty(count, dtype=torch.int32, device=ids.device)
                       for count in (adapters * capacity, adapters * blocks, adapters))
            self.align(ids, seg_indptr, req_to_lora, case.E, block_size, adapters, capacity, blocks, s, e, p,
                       enabled, adapter_ids)
            s, e = s.view(adapters, -1), e.view(adapters, -1)
        else:
            s, e, p = lora.align(ids, token_lora, enabled, case.E, block_size, capacity)
        return dict(sorted_token_ids=s, expert_ids=e, num_tokens_post_padded=p, lora_ids=adapter_ids,
                    adapter_enabled=enabled, top_k_num=case.topk)

    @staticmethod
    def _common(case, size, weights, told, config):
        return dict(topk_weights=weights, device=weights.device, M=case.M,
                    EM=told["sorted_token_ids"].shape[1], num_tokens=case.M * case.topk,
                    num_experts=case.E, num_slices=size.slices, split_k=1,
                    K=size.k, **{lora.PARAMETER[key]: config[key] for key in lora.PARAMETER}, **told)

    def classic_shrink(self, case, gate_up, x, a, h, weights, told):
        size = lora.Sizes(case, gate_up)
        made = torch.zeros((size.slices, case.M, case.topk, size.rank), dtype=h.dtype, device=h.device)
        self.shrink(made, x, lora.factors(case, a, size.slices), N=size.rank, top_k_divisor=size.divisor,
                    **self._common(case, size, weights, told, lora.config(case, size.rank)[0]))
        lora.shrunk(h, size.slices).copy_(made)

    def classic_expand(self, case, gate_up, h, b, base, weights, told):
        size = lora.Sizes(case, gate_up)
        added = torch.zeros((size.slices, case.M, case.topk, size.n), dtype=h.dtype, device=h.device)
        self.expand(base.view(case.M, case.topk, -1), lora.shrunk(h, size.slices).contiguous(), added,
                    lora.factors(case, b, size.slices), N=size.n, max_lora_rank=size.rank,
                    w1_output_dim_size=size.n, mul_routed_weight=size.weighted,
                    **self._common(case, size, weights, told, lora.config(case, size.rank)[1]))

    # ---- virtual experts ----

    def _virtual_route(self, case, align, gate_up, shrink, ids, token_lora, enabled, block_size):
        experts = _experts(case, gate_up, shrink)
        virtual, mask, count = self.virtual_ids(ids, token_lora, experts, experts == 1 < case.E,
                                                case.lora_adapters, adapter_enabled=enabled)
        align = align if count < 1024 else self.virtual._align_block_size_large
        s, e, p = align(virtual, block_size, count)
        longest = _longest(case, experts, block_size)
        return (s[:longest], e[:longest // block_size], p), mask

    def virtual_shrink_of(self, case, gate_up, x, a, h, ids, align, token_lora, enabled):
        size = lora.Sizes(case, gate_up)
        tile = _virtual_tile(case, size)
        route, _ = self._virtual_route(case, align, gate_up, True, ids, token_lora, enabled,
                                       tile["BLOCK_SIZE_M"])
        h.zero_()
        self.virtual_shrink(x, a, h.view(-1, size.slices * size.rank), ids, *route, size.divisor, tile)

    def virtual_expand_of(self, case, gate_up, h, b, base, weights, ids, align, token_lora, enabled, gemm):
        """gemm: the package's launcher of fused GEMMs."""
        size = lora.Sizes(case, gate_up)
        tile = lora.config(case, size.rank)[1]
        route, mask = self._virtual_route(case, align, gate_up, False, ids, token_lora, enabled,
                                          tile["BLOCK_SIZE_M"])
        with constant_cdiv():
            gemm(h.view(-1, size.slices * size.rank), b, base.view(case.M, case.topk, -1), weights, ids,
                 route, size.weighted, tile, fuse_add_to_output=True, add_output_mask=mask,
                 router_topk=case.topk, a_output_slices=size.slices)
