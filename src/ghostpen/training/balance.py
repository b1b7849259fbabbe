"""The router's load balance: off by default, and never part of a perplexity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch


def compute_balance(router_logits: Sequence[torch.Tensor], *, experts_per_token: int) -> torch.Tensor:
    """Measure how evenly the routers spread the tokens: 1 is even, the number of experts is one for all.

    Args:
        router_logits: (tokens, experts), one a layer.

    Source: Fedus, Zoph and Shazeer 2021, "Switch Transformers", equation 4, with top-k choices counted.
    """
    total = torch.zeros((), device=router_logits[0].device)
    for logits in router_logits:
        probabilities = logits.float().softmax(-1)
        chosen = torch.zeros_like(probabilities)
        chosen.scatter_(1, logits.topk(experts_per_token, -1).indices, 1.0)
        share = chosen.mean(0) / experts_per_token
        total = total + probabilities.shape[-1] * (probabilities.mean(0) * share).sum()
    return total / len(router_logits)


class RouterLogits:
    """Collect the routers' logits of one forward pass; the model itself would return them only with a loss.

    Only inside `collect`: gradient checkpointing runs the routers once more in the backward pass, and those logits
    would stand among the next step's.
    """

    def __init__(self, model: Any) -> None:
        """Hook every router of `model`."""
        self._collected: list[torch.Tensor] | None = None
        for name, module in model.named_modules():
            if name.endswith("mlp.router"):
                module.register_forward_hook(self._collect)

    def _collect(self, _module: Any, _inputs: Any, outputs: Any) -> None:
        if self._collected is not None:
            self._collected.append(outputs[0])

    @contextmanager
    def collect(self) -> Iterator[list[torch.Tensor]]:
        """Give a list that the forward pass inside fills: (tokens, experts), one a layer."""
        collected: list[torch.Tensor] = []
        self._collected = collected
        try:
            yield collected
        finally:
            self._collected = None
