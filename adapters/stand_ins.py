# SPDX-License-Identifier: Apache-2.0
"""What native libraries of the packages do, where those are not installed.

Each adapter says in its version line which of these ran: they are not the package's arithmetic.
"""
import torch


def align(ids, block_size, experts, capacity):
    """The alignment of moe_align_block_size, in torch, with a stable order.

    ids: [M, topk], -1 for a slot that is filtered. Filtered slots come first, as blocks of the expert -1;
    then each expert's slots in ascending order, padded with M*topk to whole blocks. Returns sorted_token_ids
    [capacity], expert_ids [ceil(capacity / block_size)] and num_tokens_post_padded [1], int32; what lies
    behind the end is M*topk, and -1."""
    flat = ids.reshape(-1).long() + 1  # a key for -1 too
    slots = flat.numel()
    counts = torch.bincount(flat, minlength=experts + 1)
    padded = (counts + block_size - 1) // block_size * block_size
    start = torch.cumsum(padded, 0) - padded
    first = torch.cumsum(counts, 0) - counts
    order = torch.argsort(flat, stable=True)
    key = flat[order]
    position = start[key] + torch.arange(slots, device=ids.device) - first[key]
    sorted_ids = torch.full((capacity,), slots, dtype=torch.int32, device=ids.device)
    sorted_ids[position] = order.int()
    blocks = torch.full((-(-capacity // block_size),), -1, dtype=torch.int32, device=ids.device)
    of_keys = torch.arange(-1, experts, device=ids.device, dtype=torch.int32)
    used = torch.repeat_interleave(of_keys, padded // block_size)
    blocks[: used.numel()] = used
    return sorted_ids, blocks, padded.sum().int().reshape(1)


def halves(x):
    """Gate and up, [rows, n] each, of [rows, 2 n]."""
    n = x.shape[-1] // 2
    return x[..., :n], x[..., n:]


def gate_rounded(activation, x, out):
    """activation(gate) in float32, rounded to the element type, times up, rounded again."""
    gate, up = halves(x)
    out.copy_(activation(gate.float()).to(x.dtype) * up)


def rounded_once(activation, x, out):
    """activation(gate) * up in float32, rounded once."""
    gate, up = halves(x)
    out.copy_(activation(gate.float()) * up.float())


# ---- quantisers ----


def _codes(x, multiplier, dtype):
    """x * multiplier, to the nearest of e4m3 or cut to int8, within its limits."""
    if dtype == torch.int8:
        return torch.trunc((x.float() * multiplier).clamp(-128, 127)).to(dtype)
    return (x.float() * multiplier).clamp(-448, 448).to(dtype)


def quantise_fp8(x, scale=None, use_per_token_if_dynamic=False):
    """e4m3 codes and the scale amax / 448 of the tensor or of each row, or those of a scale that is given.
    An all-zero row has codes of its zeros: 0 * Inf would be NaN."""
    if scale is None:
        rows = x.float().abs() if use_per_token_if_dynamic else x.float().abs().view(1, -1)
        scale = rows.amax(dim=1, keepdim=True) / 448
    inverse = torch.where(scale == 0, torch.zeros_like(scale), 1 / scale)
    return _codes(x, inverse, torch.float8_e4m3fn), scale


def _quantise_groups(x, size, dtype, largest):
    """Codes and the scale of each group of `size` columns, amax * (1 / largest), amax at least 1e-10."""
    groups = x.float().view(x.shape[0], -1, size)
    amax = groups.abs().amax(dim=2, keepdim=True).clamp_min(1e-10)
    codes = _codes(groups, largest / amax, dtype).view(x.shape)
    return codes, (amax * (1 / largest)).squeeze(2)


def quantise_fp8_group(x, size):
    return _quantise_groups(x, size, torch.float8_e4m3fn, 448)


def quantise_int8_group(x, size):
    return _quantise_groups(x, size, torch.int8, 127)


def quantise_int8(x):
    """int8 codes, rounded half away from zero, and the scale amax / 127 of each row."""
    amax = x.float().abs().amax(dim=1, keepdim=True).clamp_min(1e-10)
    scaled = x.float() * (127 / amax)
    return (scaled.sign() * (scaled.abs() + 0.5).floor()).clamp(-128, 127).to(torch.int8), amax / 127


try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

if triton is not None:

    @triton.jit
    def _fast_silu_kernel(x, out, n, BLOCK: tl.constexpr):
        row = tl.program_id(0).to(tl.int64)
        columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        inside = columns < n
        gate = tl.load(x + row * 2 * n + columns, mask=inside).to(tl.float32)
        up = tl.load(x + row * 2 * n + n + columns, mask=inside).to(tl.float32)
        power = tl.inline_asm_elementwise(
            "{ .reg .f32 t; mul.ftz.f32 t, $1, 0fBFB8AA3B; ex2.approx.ftz.f32 $0, t; }",
            "=f,f", [gate], dtype=tl.float32, is_pure=True, pack=1,
        )
        silu = tl.inline_asm_elementwise(
            "div.approx.ftz.f32 $0, $1, $2;",
            "=f,f,f", [gate, 1.0 + power], dtype=tl.float32, is_pure=True, pack=1,
        )
        tl.store(out + row * n + columns, (silu * up).to(out.dtype.element_ty), mask=inside)


def fast_silu(x, out):
    """silu(gate) * up as nvcc makes it of x / (1 + expf(-x)) with --use_fast_math, rounded once:
    ex2.approx of one product with -log2 e, div.approx. On a GPU; elsewhere by torch."""
    if triton is None or not x.is_cuda:
        return rounded_once(torch.nn.functional.silu, x, out)
    n = out.shape[-1]
    _fast_silu_kernel[(out.shape[0], triton.cdiv(n, 1024))](x, out, n, BLOCK=1024)
