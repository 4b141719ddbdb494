# SPDX-License-Identifier: Apache-2.0
"""The LoRA kernels of an installed vLLM. docs/adapters.md tells what is stood in for."""
import sys

from adapters import lora, tiles

try:
    import torch
except ImportError:
    torch = None

FOLDER = "vllm.lora.ops.triton_ops"
DENSE = 8  # slots times this at most adapters times experts: a slot a block, without an alignment
SMALL = 1024  # elements of the shrunk rows up to which one kernel does it all without tensor cores


def naive(case, tokens=None):
    """Whether each slot is a block of its own, as add_lora_w13 decides. tokens: of a batch of so many."""
    whole = not case.filter and case.ep_size == 1 and case.routing != "padded"
    return whole and (tokens or case.M) * case.topk * DENSE <= case.E * case.lora_adapters


def small(case, tokens=None):
    """Whether the kernel for small batches serves the case."""
    shrunk = (tokens or case.M) * case.topk * case.lora_rank
    return naive(case, tokens) and case.lora_rank <= 64 and shrunk <= SMALL


def contract(case, two_kernels):
    """What a shrink and an expand promise."""
    fields = [f"{stage}.filtered=zero" for stage in ("shrink_gate_up", "shrink_down")]
    fields += ["expand.rows=kept", "expand_gate_up.filtered=anything"]  # as gate_up left them
    if small(case) and not two_kernels:  # sums in float32 by a tree, nothing rounded in between
        block = lora.config(case, case.lora_rank)[0]["BLOCK_SIZE_K"]  # each of k is summed on its own
        fields += ["shrink.accumulator=ieee-any-order expand.accumulator=ieee-any-order",
                   f"shrink.promotion={block}",
                   "expand.input=float32 expand.add=one-rounding"]
        fields += [f"{stage}.bits=none" for stage in lora.STAGES]
    elif small(case, 1) and not two_kernels:  # a token alone goes by the other kernel
        fields += [f"{stage}.batch_invariant=0" for stage in lora.STAGES]
    return fields


class VllmLora:
    def __init__(self, package, native):
        self.native = native
        package.stand_in("vllm.distributed", tensor_model_parallel_all_gather=lambda h: h,
                         tensor_model_parallel_all_reduce=lambda h: h)
        package.stand_in("vllm.utils.mem_utils", get_max_shared_memory_bytes=lambda *_: 227 * 1024)
        sys.modules["vllm.utils.torch_utils"].async_tensor_h2d = \
            lambda data, device=None, dtype=None, **_: torch.tensor(data, dtype=dtype).to(device)
        package.stand_in(f"{FOLDER}.utils", supports_pdl=lambda *_: tiles.architecture() >= 90,
                         supports_tma=lambda *_: tiles.architecture() >= 90)
        package.stand_in(FOLDER)
        kernels = package.own(f"{FOLDER}.fused_moe_lora_op")
        self.meta = package.own(f"{FOLDER}.lora_kernel_metadata").LoRAKernelMeta
        common = "lora_ids adapter_enabled num_active_loras mul_routed_weight"
        self.whole = package.function(
            kernels, "_fused_moe_lora", "output qcurr_hidden_states lora_a_stacked lora_b_stacked "
            "max_lora_rank top_k_num shrink_split_k expand_split_k add_inputs " + common)
        self.shrink = package.function(
            kernels, "_fused_moe_lora_shrink", "a_intermediate_cache1 lora_a_stacked split_k use_gdc use_tma "
            + common)
        self.expand = package.function(
            kernels, "_fused_moe_lora_expand", "output a_intermediate_cache1 lora_b_stacked split_k use_gdc "
            "use_tma " + common)
        self.operators = sys.modules["vllm._custom_ops"]

    def route(self, case, ids, experts, here, token_lora, enabled, block_size):
        """What all kernels are told of tokens and adapters, by name. experts, here: how many experts the ids
        name, and a map to those of this rank, or None."""
        meta = self.meta.make(case.lora_adapters, case.M, ids.device)
        meta.prepare_tensors(token_lora)
        told = dict(token_lora_mapping=token_lora, top_k_num=case.topk, lora_ids=meta.active_lora_ids,
                    adapter_enabled=torch.cat([enabled, enabled.new_zeros(1)]),
                    num_active_loras=meta.default_num_active_loras_cpu)
        if naive(case):
            return {**told, "sorted_token_ids": None, "expert_ids": ids.reshape(-1),
                    "num_tokens_post_padded": None}
        slots = ids.numel()
        capacity = slots * block_size if slots < experts else slots + experts * (block_size - 1)
        blocks = -(-capacity // block_size)
        if self.native:
            s = torch.empty(case.lora_adapters * capacity, dtype=torch.int32, device=ids.device)
            e = torch.full((case.lora_adapters * blocks,), -1, dtype=torch.int32, device=ids.device)
            p = torch.empty(case.lora_adapters, dtype=torch.int32, device=ids.device)
            self.operators.moe_lora_align_block_size(
                ids, token_lora, experts, block_size, case.lora_adapters, capacity, blocks, s, e, p,
                told["adapter_enabled"], told["lora_ids"], here)
            s, e = s.view(case.lora_adapters, -1), e.view(case.lora_adapters, -1)
        else:
            local = ids if here is None else here[ids.long()]
            s, e, p = lora.align(local, token_lora, enabled, case.E, block_size, capacity)
        return {**told, "sorted_token_ids": s, "expert_ids": e, "num_tokens_post_padded": p}

    def one_call(self, case, gate_up, x, a, b, base, weights, told):
        """Shrink and expand as the package does them, added to base in place: by one kernel of two kinds, or,
        of ranks beyond 128, by two."""
        size = lora.Sizes(case, gate_up)
        shrink, expand = lora.config(case, size.rank)
        tile = {f"{name}_{lora.PARAMETER[key]}": config[key] for name, config in
                (("shrink", shrink), ("expand", expand)) for key in lora.PARAMETER}
        self.whole(base.view(case.M, case.topk, -1), x, lora.factors(case, a, size.slices),
                   lora.factors(case, b, size.slices), topk_weights=weights, max_lora_rank=size.rank,
                   shrink_split_k=1, expand_split_k=1, mul_routed_weight=size.weighted, add_inputs=True,
                   **told, **tile)

    def _common(self, case, size, weights, told):
        sorted_ids = told["sorted_token_ids"]
        slots = case.M * case.topk
        return dict(topk_weights=weights, device=weights.device, M=case.M, num_tokens=slots,
                    EM=slots * self.block_size(case) if sorted_ids is None else sorted_ids.shape[1],
                    K=size.k, num_experts=case.E, num_slices=size.slices, split_k=1,
                    mul_routed_weight=size.weighted, use_gdc=False, use_tma=False, **told)

    @staticmethod
    def block_size(case):
        return lora.config(case, case.lora_rank)[0]["BLOCK_SIZE_M"]

    def shrink_alone(self, case, gate_up, x, a, h, weights, told):
        """The first of two kernels, into h [M, topk, slices*rank]."""
        size = lora.Sizes(case, gate_up)
        made = torch.zeros((size.slices, case.M, case.topk, size.rank), dtype=h.dtype, device=h.device)
        tile = {lora.PARAMETER[key]: lora.config(case, size.rank)[0][key] for key in lora.PARAMETER}
        self.shrink(made, x, lora.factors(case, a, size.slices), N=size.rank, **tile,
                    **self._common(case, size, weights, told))
        lora.shrunk(h, size.slices).copy_(made)

    def expand_alone(self, case, gate_up, h, b, base, weights, told):
        """The second, added to base in place."""
        size = lora.Sizes(case, gate_up)
        tile = {lora.PARAMETER[key]: lora.config(case, size.rank)[1][key] for key in lora.PARAMETER}
        self.expand(base.view(case.M, case.topk, -1), lora.shrunk(h, size.slices).contiguous(),
                    lora.factors(case, b, size.slices), N=size.n, max_lora_rank=size.rank,
                    w1_output_dim_size=size.n, **tile, **self._common(case, size, weights, told))
