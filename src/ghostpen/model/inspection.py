"""What `ghostpen inspect` shows: the architecture of a gpt-oss and its LoRA targets, without its weights."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ghostpen.config import LoraConfig
from ghostpen.errors import ModelError
from ghostpen.model.architecture import plan_targets
from ghostpen.model.loading import silence_libraries
from ghostpen.model.location import list_read_errors, resolve_model

if TYPE_CHECKING:
    from rich.console import Group


@dataclass(frozen=True)
class Architecture:
    """The sizes of a gpt-oss, its modules folded by kind, and what an adapter would be put on."""

    name: str
    architecture: str
    parameters: int
    parameters_active: int  # multiplied for each token: the chosen experts, and not the table of embeddings
    layers: int
    layer_types: dict[str, int]
    hidden_size: int
    vocabulary_size: int
    sliding_window: int
    experts: int
    experts_per_token: int
    expert_layout: str
    router_aux_loss_coef: float
    tree: dict[str, int]  # parameters by kind of weight, layers folded
    lora_rank: int
    target_modules: tuple[str, ...]
    target_parameters: tuple[str, ...]
    trainable: dict[str, int]

    def to_json(self) -> str:
        """Render for programs."""
        return json.dumps(asdict(self), indent=2)


def read_architecture(name: str, lora: LoraConfig | None = None) -> Architecture:
    """Build the module tree of `name` on the meta device, from its configuration alone.

    Active parameters are counted as gpt-oss's model card does: output embeddings count, input ones don't.

    Raises:
        ModelError: not there, or not a gpt-oss.
    """
    lora = lora or LoraConfig()
    location = resolve_model(name)
    silence_libraries()
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(location)
    except list_read_errors() as error:
        first_line = str(error).strip().splitlines()[0].rstrip(":")
        raise ModelError(f"{name} could not be read: {first_line}") from error
    if config.model_type != "gpt_oss":
        raise ModelError(f'{name} is a "{config.model_type}", and ghostpen adapts gpt_oss; name a gpt-oss')
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    plan = plan_targets(model, lora)
    tree: Counter[str] = Counter()
    in_experts = 0
    for weight, parameter in model.named_parameters():
        tree[re.sub(r"layers\.\d+\.", "layers.*.", weight)] += parameter.numel()
        in_experts += parameter.numel() if ".mlp.experts." in weight else 0
    total = sum(tree.values())
    idle = in_experts * (1 - config.num_experts_per_tok / config.num_local_experts)
    looked_up = model.get_input_embeddings().weight.numel()
    return Architecture(
        name=name,
        architecture=type(model).__name__,
        parameters=total,
        parameters_active=round(total - idle - looked_up),
        layers=config.num_hidden_layers,
        layer_types=dict(sorted(Counter(config.layer_types).items())),
        hidden_size=config.hidden_size,
        vocabulary_size=config.vocab_size,
        sliding_window=config.sliding_window,
        experts=config.num_local_experts,
        experts_per_token=config.num_experts_per_tok,
        expert_layout=plan.expert_layout,
        router_aux_loss_coef=config.router_aux_loss_coef,
        tree=dict(tree),
        lora_rank=plan.rank,
        target_modules=plan.target_modules,
        target_parameters=plan.target_parameters,
        trainable=plan.trainable,
    )


def render_architecture(architecture: Architecture) -> Group:
    """Render for a person: sizes, the tree, the targets."""
    from rich.console import Group
    from rich.table import Table

    a = architecture
    types = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in a.layer_types.items())
    facts = Table(show_header=False, box=None, title=f"{a.name}: {a.architecture}", title_justify="left")
    facts.add_row("parameters", f"{a.parameters:,}, of which {a.parameters_active:,} work on each token")
    facts.add_row("layers", f"{a.layers} ({types}; window {a.sliding_window:,} tokens)")
    facts.add_row("experts", f"{a.experts} a layer, {a.experts_per_token} a token, {a.expert_layout} layout")
    facts.add_row("hidden, vocabulary", f"{a.hidden_size:,}, {a.vocabulary_size:,}")
    facts.add_row("router_aux_loss_coef", f"{a.router_aux_loss_coef} in its config; ghostpen's setting decides")
    tree = Table(title="weights, layers folded", title_justify="left")
    tree.add_column("weight")
    tree.add_column("parameters", justify="right")
    for weight, count in a.tree.items():
        tree.add_row(weight, f"{count:,}")
    targets = Table(title=f"LoRA targets, trainable parameters at rank {a.lora_rank}", title_justify="left")
    targets.add_column("kind")
    targets.add_column("trainable", justify="right")
    for kind, count in a.trainable.items():
        targets.add_row(kind, f"{count:,}")
    targets.add_row("all", f"{sum(a.trainable.values()):,}", style="bold")
    names = Table(show_header=False, box=None)
    names.add_row("target_modules", ", ".join(a.target_modules) or "none")
    names.add_row("target_parameters", ", ".join(a.target_parameters) or "none")
    return Group(facts, tree, targets, names)
