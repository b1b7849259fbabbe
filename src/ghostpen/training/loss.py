"""The negative log-likelihood of labelled tokens, summed, without ever holding all logits.

Owns the one loss of the project: training, validation and test all go through `compute_loss_nats`.
It must not average (the caller knows what is counted) and must not add anything, least of all the
router's balance loss.

Shapes: N tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch

from ghostpen.data.samples import IGNORED_LABEL

# One chunk's float32 logits. At most two and a half such blocks live at once (logits that become the gradient, and
# bfloat16 copies of both), so gpt-oss's 201,088-word vocabulary stays under 0.4 GB extra. Half of it made the loss a
# tenth slower on a CPU.
CHUNK_BYTES = 128 * 2**20


class _ChunkedLoss(torch.autograd.Function):
    """Sum of -log p(label) with the gradient made chunk by chunk in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any, hidden_NH: torch.Tensor, weight_VH: torch.Tensor, labels_N: torch.Tensor, chunk_tokens: int
    ) -> torch.Tensor:
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        device = hidden_NH.device
        autocast = torch.is_autocast_enabled(device.type)
        dtype = torch.get_autocast_dtype(device.type) if autocast else hidden_NH.dtype
        # Cast here, once: autocast would cast the whole vocabulary's weight again for every chunk.
        weight, rows_NH = weight_VH.to(dtype), hidden_NH.to(dtype)
        grad_hidden = torch.empty_like(hidden_NH) if needs_hidden else None
        grad_weight = torch.zeros_like(weight_VH, dtype=torch.float32) if needs_weight else None
        total = torch.zeros((), dtype=torch.float64, device=device)
        # One block for the logits of all chunks, then for what becomes of them: exp, probabilities, gradient.
        block = torch.empty(min(chunk_tokens, len(labels_N)), len(weight), dtype=torch.float32, device=device)
        with torch.autocast(device.type, enabled=False):
            for start in range(0, len(labels_N), chunk_tokens):
                part = slice(start, start + chunk_tokens)
                rows, labels_n = rows_NH[part], labels_N[part, None]
                logits_nV = block[: len(rows)].copy_(rows @ weight.T)
                chosen_n = logits_nV.gather(1, labels_n)
                highest_n = logits_nV.amax(-1, keepdim=True)
                sums_n = logits_nV.sub_(highest_n).exp_().sum(-1, keepdim=True)
                total += (sums_n.log() + highest_n - chosen_n).sum(dtype=torch.float64)
                if not (needs_hidden or needs_weight):
                    continue
                grad_logits = logits_nV.div_(sums_n)
                grad_logits.scatter_add_(1, labels_n, torch.full_like(sums_n, -1.0))
                grad_logits = grad_logits.to(dtype)
                if grad_hidden is not None:
                    grad_hidden[part] = grad_logits @ weight
                if grad_weight is not None:
                    grad_weight += grad_logits.T @ rows
        ctx.save_for_backward(grad_hidden, grad_weight)
        return total.float() if needs_hidden or needs_weight else total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        grad_hidden, grad_weight = ctx.saved_tensors
        scale = grads[0]
        if grad_hidden is not None:
            grad_hidden = grad_hidden * scale.to(grad_hidden.dtype)
        if grad_weight is not None:
            grad_weight = grad_weight * scale
        return grad_hidden, grad_weight, None, None


def compute_loss_nats(
    hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, *, chunk_bytes: int = CHUNK_BYTES
) -> torch.Tensor:
    """Sum -ln p(label) over the labelled positions; nothing is averaged.

    Args:
        hidden: (..., H) the last hidden state at each position, already normed.
        weight: (V, H) the output embedding.
        labels: (...) the token that follows each position, or IGNORED_LABEL.

    Returns:
        A scalar in nats: float64 where no gradient is asked for, else float32. Differentiable in
        `hidden` and `weight`.

    Source: Liger kernel's fused linear cross entropy (Hsu et al., 2024, arXiv 2410.10989) for making the
        gradient in the forward pass.
    """
    flat = labels.reshape(-1)
    counted = (flat != IGNORED_LABEL).nonzero().squeeze(-1)
    rows = hidden.reshape(-1, hidden.shape[-1]).index_select(0, counted)
    chunk_tokens = max(1, chunk_bytes // (4 * weight.shape[0]))
    if not torch.is_grad_enabled():
        # A Function is told of requires_grad alone: under no_grad too it would make a gradient of the whole weight.
        rows, weight = rows.detach(), weight.detach()
    return _ChunkedLoss.apply(rows, weight, flat.index_select(0, counted), chunk_tokens)
