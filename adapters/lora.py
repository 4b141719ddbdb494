# SPDX-License-Identifier: Apache-2.0
"""LoRA on experts as the packages' kernels take it: factors by adapter, expert and slice, and the tokens of
an adapter in blocks of one expert."""
try:
    import torch
    from adapters import stand_ins
except ImportError:
    torch = None

from adapters import tiles

STAGES = ("shrink_gate_up", "expand_gate_up", "shrink_down", "expand_down")
LEFT = ("cache1_hooked", "cache3_hooked")
BETWEEN = ("lora_h1", "lora_h2")  # by two kernels alone

# The words of a tile in the packages' launchers.
PARAMETER = {"BLOCK_SIZE_M": "block_size_m", "BLOCK_SIZE_N": "block_size_n", "BLOCK_SIZE_K": "block_size_k",
             "GROUP_SIZE_M": "group_size_m", "num_warps": "num_warps", "num_stages": "num_stages"}


def has(case):
    return getattr(case, "lora_adapters", 0) > 0


def refusal(case, package):
    """None, or why the packages' LoRA kernels cannot run a case."""
    if not has(case):
        return None
    if case.apply_router_weight_on_input or case.mode == "no_combine":
        return f"{package} always multiplies what LoRA adds to down by the router weight"
    if case.gated and case.interleaved:
        return f"{package}'s LoRA kernels add to gate and up as halves"
    if case.layout != "route":
        return f"{package} has no LoRA in {case.layout} layout"
    return None


class Sizes:
    """Of one of the two pairs of a shrink and an expand: of gate_up, or of down."""

    def __init__(self, case, gate_up):
        self.slices = 2 if gate_up and case.gated else 1
        self.rank = case.lora_rank
        self.k = case.K if gate_up else case.N
        self.n = case.N if gate_up else case.K  # of a slice
        self.weighted = not gate_up
        self.divisor = case.topk if gate_up else 1  # slots of a row that the shrink reads


def factors(case, stacked, slices):
    """Views [L, E, rows, columns], one for each slice, of a factor [L*E or L, slices*rows, columns]; experts
    that share one have it with a stride of 0."""
    adapters, columns = case.lora_adapters, stacked.shape[-1]
    whole = stacked.view(adapters, -1, slices, stacked.shape[1] // slices, columns)
    whole = whole.expand(adapters, case.E, *whole.shape[2:])
    return [whole[:, :, s] for s in range(slices)]


def shrunk(h, slices):
    """A view [slices, M, topk, rank] of lora_h1 or lora_h2, [M, topk, slices*rank]."""
    return h.view(h.shape[0], h.shape[1], slices, -1).permute(2, 0, 1, 3)


def config(case, rank):
    """Tiles of shrink and expand out of the case's: no wider than the rank asks for."""
    tile, _ = tiles.of_case(case)
    widest = max(16, 1 << (rank - 1).bit_length())
    return ({**tile, "BLOCK_SIZE_N": min(tile["BLOCK_SIZE_N"], widest)},
            {**tile, "BLOCK_SIZE_K": min(tile["BLOCK_SIZE_K"], widest)})


def align(ids, token_lora, enabled, experts, block_size, capacity):
    """The alignment of each adapter's tokens, in torch: sorted ids [L, capacity], expert ids [L, blocks],
    num_tokens_post_padded [L]. Rows of adapters that are not enabled hold no token."""
    made = []
    for adapter in range(enabled.numel()):
        mine = (token_lora == adapter)[:, None] & (ids >= 0) & bool(enabled[adapter])
        filtered = int((~mine).sum())
        first = -(-filtered // block_size) * block_size  # blocks of slots that are not this adapter's
        of_mine = torch.where(mine, ids, torch.full_like(ids, -1))
        s, e, p = stand_ins.align(of_mine, block_size, experts, capacity + first)
        blocks = -(-capacity // block_size)
        e = torch.nn.functional.pad(e[first // block_size:], (0, blocks), value=-1)[:blocks]
        made.append((s[first:], e, p - first))
    return tuple(torch.stack(parts) if i < 2 else torch.cat(parts) for i, parts in enumerate(zip(*made)))
