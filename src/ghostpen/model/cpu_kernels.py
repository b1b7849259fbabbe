"""gpt-oss attention and experts, fast on a CPU: the same mathematics as transformers', other kernels.

transformers' eager attention concatenates the sink as one more column of a (B, Q, T, S) score matrix and
walks it six times; its CPU experts gather and scatter through generic index kernels. Both are bound by
memory, not by arithmetic. What stands here does the same arithmetic in fewer passes and is held to
transformers' result by tests (forward and every gradient). It is used on the CPU only: on a GPU Unsloth
brings its own kernels.

Shapes: B batch, Q query heads, K key/value heads, T query positions, S key positions, D head dimension,
N tokens (B*T), C choices (experts per token), E experts, H hidden, I intermediate.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

IMPLEMENTATION = "ghostpen_cpu"
BLOCK = 128  # queries at a time; 64 and 256 were slower on the embedded model
# Rows that an expert multiplies in bfloat16 are filled up to a multiple of this: oneDNN compiles and keeps a kernel
# (0.6 ms, 0.7 MB) for every shape that it meets, and the router makes new ones in every step.
EXPERT_ROWS_MULTIPLE = 64


def _build_bias(
    sinks_Q: torch.Tensor, queries: range, keys: range, window: int | None, dtype: torch.dtype
) -> torch.Tensor:
    """(Q, queries, keys + 1): 0 where a query may look, -inf elsewhere, the head's sink in the last column."""
    query_positions = torch.arange(queries.start, queries.stop)[:, None]
    key_positions = torch.arange(keys.start, keys.stop)[None, :]
    hidden = key_positions > query_positions
    if window is not None:
        hidden |= key_positions <= query_positions - window
    bias = torch.zeros(len(sinks_Q), len(queries), len(keys) + 1, dtype=dtype)
    bias[..., :-1].masked_fill_(hidden, float("-inf"))
    bias[..., -1] = sinks_Q[:, None].to(dtype)
    return bias


class _SinkAttention(torch.autograd.Function):
    """Causal softmax attention with one learned extra logit (the sink) per head, block by block of queries.

    Only the keys that a block of queries can see are multiplied: half of them in a full layer, at most
    BLOCK + window in a sliding one. The sink is one key of zeros whose score is its bias and whose value is 0.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query_BQTD: torch.Tensor,
        key_BQTD: torch.Tensor,
        value_BQTD: torch.Tensor,
        sinks_Q: torch.Tensor,
        window: int | None,
    ) -> torch.Tensor:
        length = query_BQTD.shape[2]
        output = torch.empty_like(query_BQTD)
        blocks, saved = [], []
        for start in range(0, length, BLOCK):
            queries = range(start, min(start + BLOCK, length))
            keys = range(0 if window is None else max(0, start - window + 1), queries.stop)
            scores = query_BQTD[:, :, start : queries.stop] @ _with_zero_row(key_BQTD, keys).transpose(2, 3)
            scores += _build_bias(sinks_Q, queries, keys, window, scores.dtype)
            probabilities = torch.softmax(scores, -1)
            output[:, :, start : queries.stop] = probabilities @ _with_zero_row(value_BQTD, keys)
            blocks.append((queries, keys))
            saved.append(probabilities)
        ctx.blocks = blocks
        ctx.save_for_backward(query_BQTD, key_BQTD, value_BQTD, sinks_Q, *saved)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, sinks_Q, *saved = ctx.saved_tensors
        (grad,) = grads
        grad_query, grad_key, grad_value = (
            torch.empty_like(query),
            torch.zeros_like(key),
            torch.zeros_like(value),
        )
        grad_sinks = torch.zeros_like(sinks_Q, dtype=torch.float32)
        for (queries, keys), probabilities in zip(ctx.blocks, saved, strict=True):
            rows, columns = slice(queries.start, queries.stop), slice(keys.start, keys.stop)
            grad_block = grad[:, :, rows]
            grad_value[:, :, columns] += (probabilities.transpose(2, 3) @ grad_block)[:, :, :-1]
            grad_probabilities = grad_block @ _with_zero_row(value, keys).transpose(2, 3)
            grad_scores = torch._softmax_backward_data(grad_probabilities, probabilities, -1, probabilities.dtype)
            grad_sinks += grad_scores[..., -1].float().sum((0, 2))
            grad_query[:, :, rows] = grad_scores @ _with_zero_row(key, keys)
            grad_key[:, :, columns] += (grad_scores.transpose(2, 3) @ query[:, :, rows])[:, :, :-1]
        return grad_query, grad_key, grad_value, grad_sinks.to(sinks_Q.dtype), None


def _attend_without_gradient(
    query_BQTD: torch.Tensor,
    key_BKTD: torch.Tensor,
    value_BKTD: torch.Tensor,
    sinks_Q: torch.Tensor,
    window: int | None,
) -> torch.Tensor:
    """Do what `_SinkAttention` does through PyTorch's fused kernel, which keeps no scores: (B, T, Q, D).

    In float32 it takes half the time; in bfloat16, where `_SinkAttention` is nearly all matrix products, twice.
    """
    length = query_BQTD.shape[2]
    outputs = []
    for start in range(0, length, BLOCK):
        queries = range(start, min(start + BLOCK, length))
        keys = range(0 if window is None else max(0, start - window + 1), queries.stop)
        output = nn.functional.scaled_dot_product_attention(
            query_BQTD[:, :, start : queries.stop],
            _with_zero_row(key_BKTD, keys),
            _with_zero_row(value_BKTD, keys),
            attn_mask=_build_bias(sinks_Q, queries, keys, window, query_BQTD.dtype)[None],
            scale=1.0,
            enable_gqa=True,
        )
        outputs.append(output.transpose(1, 2))
    return torch.cat(outputs, 1)


def _with_zero_row(rows_BQTD: torch.Tensor, keys: range) -> torch.Tensor:
    return nn.functional.pad(rows_BQTD[:, :, keys.start : keys.stop], (0, 0, 0, 1))


def sink_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attend with sinks: transformers' attention interface; no attention weights are returned.

    Whole sequences (as many queries as keys) are attended causally and `attention_mask` is not read: right
    for sequences padded on the right, whose real tokens never see the padding. Prompts of generation that are padded
    on the left, and its steps, with more keys than queries, go to transformers' own eager attention.

    Raises:
        ValueError: dropout is asked for; gpt-oss has none.
    """
    if dropout:
        raise ValueError("gpt-oss attention has no dropout; the CPU kernel cannot add it")
    if query.shape[2] != key.shape[2] or _is_padded_left(attention_mask):
        from transformers.models.gpt_oss.modeling_gpt_oss import eager_attention_forward

        return eager_attention_forward(module, query, key, value, attention_mask, scaling)
    if query.dtype is value.dtype is torch.float32 and not torch.is_grad_enabled():
        return _attend_without_gradient(query * scaling, key, value, module.sinks, sliding_window), None
    # Under autocast the rotary embedding leaves a float32 query beside a bfloat16 value.
    query, key = (query * scaling).to(value.dtype), key.to(value.dtype)
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    output = _SinkAttention.apply(query, key, value, module.sinks, sliding_window)
    return output.transpose(1, 2), None


def _is_padded_left(attention_mask: torch.Tensor | None) -> bool:
    """Tell whether some row's first token is hidden from itself: (B, 1, T, S), 0 where a query may look."""
    return attention_mask is not None and bool(attention_mask[:, :, 0, 0].any())


class _Permute(torch.autograd.Function):
    """Rows in another order; the backward is a gather by the inverse, not a scatter.

    A row that stands in `order` a second time gets no gradient from there: its result must weigh nothing.
    """

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, order: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(inverse)
        return rows.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (inverse,) = ctx.saved_tensors
        return grads[0].index_select(0, inverse), None, None


def _side_by_side(gate_up: torch.Tensor) -> torch.Tensor:
    """Undo gpt-oss's interleaving of gate and up columns: contiguous halves are faster to activate."""
    return torch.cat([gate_up[..., 0::2], gate_up[..., 1::2]], -1)


@dataclass(frozen=True)
class Expert:
    """An expert's weights as the kernel multiplies them: gate beside up, in the product's number format."""

    gate_up: torch.Tensor
    gate_up_bias: torch.Tensor
    down: torch.Tensor
    down_bias: torch.Tensor


@dataclass(frozen=True)
class Experts:
    """The experts of a layer: `lay_out` gives one of them by its number."""

    lay_out: Callable[[int], Expert]
    count: int
    alpha: float
    limit: float


def read_experts(module: Any, compute: torch.dtype) -> Experts:
    """Read a layer's experts; each is laid out when it is asked for, so that one without tokens costs nothing."""
    # Read each weight once: under an adapter every read makes base + B A anew. unbind, because the gradient
    # of an index would be a zero-filled copy of all experts for each one.
    gate_up, gate_up_bias = module.gate_up_proj.unbind(0), module.gate_up_proj_bias.unbind(0)
    down, down_bias = module.down_proj.unbind(0), module.down_proj_bias.unbind(0)

    def lay_out(number: int) -> Expert:
        return Expert(
            _side_by_side(gate_up[number]).to(compute),
            _side_by_side(gate_up_bias[number]).to(compute),
            down[number].to(compute),
            down_bias[number].to(compute),
        )

    return Experts(lay_out, module.num_experts, module.alpha, module.limit)


def choose_product_format(hidden_states: torch.Tensor) -> torch.dtype:
    """Return the number format that the experts multiply in."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else hidden_states.dtype


def grouped_experts_forward(
    self: nn.Module, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
) -> torch.Tensor:
    """Run each expert once on the tokens routed to it: transformers' experts interface; as `run_experts`."""
    experts = read_experts(self, choose_product_format(hidden_states))
    return run_experts(experts, hidden_states, top_k_index, top_k_weights)


def run_experts(
    experts: Experts, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
) -> torch.Tensor:
    """Run each expert once on the tokens routed to it.

    Args:
        hidden_states: (N, H). top_k_index, top_k_weights: (N, C).

    Returns:
        (N, H), the weighted sum over the chosen experts.
    """
    tokens, choices = top_k_index.shape
    dtype, compute = hidden_states.dtype, choose_product_format(hidden_states)
    expert_ids = top_k_index.reshape(-1)
    by_expert = torch.argsort(expert_ids, stable=True)
    counts = torch.bincount(expert_ids, minlength=experts.count)
    multiple = EXPERT_ROWS_MULTIPLE if compute is torch.bfloat16 else 1
    filled = (counts + multiple - 1) // multiple * multiple
    # Where each row stands among its expert's: behind all filled-up experts before it.
    moved = (filled.cumsum(0) - filled) - (counts.cumsum(0) - counts)
    places = torch.arange(by_expert.numel()) + moved[expert_ids[by_expert]]
    total = int(filled.sum())
    order = torch.zeros(total, dtype=torch.long).index_copy_(0, places, by_expert)  # filled up with row 0, ...
    real = torch.zeros(total, 1, dtype=compute).index_fill_(0, places, 1.0)  # ... whose result weighs nothing
    inverse = torch.empty_like(by_expert).index_copy_(0, by_expert, places)

    repeated = hidden_states.to(compute)[:, None].expand(-1, choices, -1).reshape(tokens * choices, -1)
    rows = _Permute.apply(repeated, order, inverse)
    weights = _Permute.apply(top_k_weights.reshape(-1, 1).to(compute), order, inverse) * real

    outputs = []
    for number, rows_e in enumerate(rows.split(filled.tolist())):
        if not rows_e.shape[0]:
            continue
        expert = experts.lay_out(number)
        gate, up = torch.addmm(expert.gate_up_bias, rows_e, expert.gate_up).chunk(2, -1)
        # hardtanh is clamp with a gradient of one pass in place of five (and 0 where a number is the limit itself).
        gate = nn.functional.hardtanh(gate, -math.inf, experts.limit)
        up = nn.functional.hardtanh(up, -experts.limit, experts.limit)
        gated = (up + 1) * (gate * torch.sigmoid(gate * experts.alpha))
        outputs.append(torch.addmm(expert.down_bias, gated, expert.down))
    weighted = torch.cat(outputs) * weights
    return _Permute.apply(weighted, inverse, order).view(tokens, choices, -1).sum(1).to(dtype)


def register_cpu_kernels() -> None:
    """Make both known to transformers under the name `IMPLEMENTATION`; idempotent."""
    from transformers import AttentionInterface
    from transformers.integrations.moe import ExpertsInterface
    from transformers.masking_utils import AttentionMaskInterface, eager_mask

    AttentionInterface.register(IMPLEMENTATION, sink_attention_forward)
    AttentionMaskInterface.register(IMPLEMENTATION, eager_mask)
    ExpertsInterface.register(IMPLEMENTATION, grouped_experts_forward)


def use_cpu_kernels(model: nn.Module) -> None:
    """Switch a loaded gpt-oss (adapted or not) to these kernels."""
    register_cpu_kernels()
    config = model.config
    config._attn_implementation = IMPLEMENTATION
    config._experts_implementation = IMPLEMENTATION


def keep_freed_memory() -> None:
    """Tell glibc to keep large freed blocks instead of returning each to the system, and oneDNN to keep few kernels.

    A training step frees and takes the same hundreds of megabytes again; without this a third of the step
    is page faults. oneDNN keeps 1,024 kernels of 0.7 MB, one for each shape that it has met, and samples of all
    lengths have many; a step needs about 200. glibc's part does nothing where the C library is another. Call it once,
    before the first step: oneDNN reads the variable then.

    Source: mallopt(3): M_MMAP_MAX (-4) = 0 takes large blocks from the heap, M_TRIM_THRESHOLD (-1) and
        M_TOP_PAD (-2) keep the heap. oneDNN's documentation, "Primitive Cache".
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    for parameter, value in ((-4, 0), (-1, 2**31 - 1), (-2, 256 * 2**20)):
        libc.mallopt(parameter, value)
