"""The loss as the model's own forward pass.

DistributedDataParallel (as every wrapper of PyTorch's for several processes) prepares the exchange of gradients
in its `forward`: a loss that is computed around it would train each process on its own. PEFT hands unknown
arguments on to the causal model, so that one argument there is enough.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

from ghostpen.errors import ConfigError
from ghostpen.training.balance import RouterLogits, compute_balance
from ghostpen.training.perplexity import compute_batch_loss_nats


def give_forward_the_loss(model: Any, router_logits: RouterLogits | None) -> None:
    """Let `model(input_ids=..., labels=..., sum_nats=True)` return (nats, balance); without it nothing changes.

    nats is `compute_batch_loss_nats`; balance is `compute_balance`, or a zero that no gradient goes through
    where `router_logits` is None. Where a gradient is wanted and none goes through the balance, that forward raises
    ConfigError.

    Args:
        model: a gpt-oss, adapted or not. Done last: TRL gives it a forward of its own, too.
    """
    causal_lm = model.get_base_model() if hasattr(model, "get_base_model") else model
    forward = causal_lm.forward

    @functools.wraps(forward)  # generate() and Unsloth read the signature
    def forward_or_loss(*args: Any, sum_nats: bool = False, **kwargs: Any) -> Any:
        if not sum_nats:
            return forward(*args, **kwargs)
        input_ids, labels = kwargs["input_ids"], kwargs["labels"]
        if router_logits is None:
            nats = compute_batch_loss_nats(causal_lm, input_ids, labels)
            return nats, torch.zeros_like(nats)
        with router_logits.collect() as collected:
            nats = compute_batch_loss_nats(causal_lm, input_ids, labels)
        balance = compute_balance(collected, experts_per_token=causal_lm.config.num_experts_per_tok)
        if torch.is_grad_enabled() and not balance.requires_grad:
            # Reentrant checkpointing, which Unsloth has on one GPU: the layers' own forward makes no graph.
            raise ConfigError(
                "no gradient goes through the router's balance, so train.router_aux_loss_coef would train nothing: "
                "gradient checkpointing drops it on one GPU; set train.router_aux_loss_coef = 0, or "
                'model.gradient_checkpointing = "off", under another name (--set name=...) or after deleting the '
                "run's folder"
            )
        return nats, balance

    causal_lm.forward = forward_or_loss
