"""Hold a gpt-oss's experts as the CPU kernel multiplies them, while a model only reads or writes.

Under an adapter each forward makes base + B A of all experts anew (PEFT even twice), and the kernel lays them out: in
a step of writing, which multiplies a few rows, that costs nearly as much as all the rest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ghostpen.model.cpu_kernels import IMPLEMENTATION, Experts, choose_product_format, read_experts, run_experts

READING = "ghostpen_reading"


@contextmanager
def hold_experts(model: Any) -> Iterator[None]:
    """Let all forwards within use the experts that the first one has read; with other kernels than ours, do nothing.

    Within, no weight may change and no adapter come, go or be disabled, and nothing has a gradient. It takes the
    memory of one more copy of all experts.

    Args:
        model: a gpt-oss, adapted or not.
    """
    if model.config._experts_implementation != IMPLEMENTATION:
        yield
        return
    from transformers.integrations.moe import ExpertsInterface
    from transformers.models.gpt_oss.modeling_gpt_oss import GptOssMLP

    ExpertsInterface.register(READING, _read)
    layers = [module for module in model.modules() if isinstance(module, GptOssMLP)]
    for layer in layers:
        layer.experts = _HeldExperts(layer.experts, model.config)
    try:
        with torch.no_grad():
            yield
    finally:
        for layer in layers:
            layer.experts = layer.experts.experts


class _HeldExperts(nn.Module):
    def __init__(self, experts: nn.Module, config: Any) -> None:
        super().__init__()
        self.experts, self._config = experts, config
        self._held: Experts | None = None

    def forward(
        self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
    ) -> torch.Tensor:
        if self._held is None:
            # Asked through what wraps them: an adapter then gives what they are under it.
            self._config._experts_implementation = READING
            try:
                self._held = self.experts(hidden_states, top_k_index, top_k_weights)
            finally:
                self._config._experts_implementation = IMPLEMENTATION
        return run_experts(self._held, hidden_states, top_k_index, top_k_weights)


def _read(module: nn.Module, hidden_states: torch.Tensor, *_: torch.Tensor) -> Any:
    """Give the experts in place of their result: transformers' experts interface."""
    experts = read_experts(module, choose_product_format(hidden_states))
    laid_out = [experts.lay_out(number) for number in range(experts.count)]
    return dataclasses.replace(experts, lay_out=laid_out.__getitem__)
