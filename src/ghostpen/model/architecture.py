"""What a gpt-oss really contains, and which LoRA targets follow from it.

Targets are read from the module tree (loaded, or on the meta device), never from a list in a config: in
gpt-oss the experts are no Linear modules in the stock layout, and the module list that every recipe
copies then trains the attention alone, without an error. This module owns the plan and both checks of
it: what was attached, and what received a gradient. It must not import unsloth and needs no weights.

Layouts of the experts:
    fused   `mlp.experts.gate_up_proj` (E, H, 2I) and `down_proj` (E, I, H): one Parameter for all experts,
            reached by PEFT's target_parameters. Its values may be packed (MXFP4 or NF4): see `_read_shape`
    split   `mlp.experts.gate_up_projs.N`, `down_projs.N`: one Linear an expert (Unsloth's bitsandbytes
            4-bit checkpoints), reached by target_modules
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ghostpen.errors import ModelError, TargetError

if TYPE_CHECKING:
    from torch import nn

    from ghostpen.config import LoraConfig

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
EXPERTS = ("gate_up_proj", "down_proj")
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.(.+)$")
_SPLIT_EXPERT = re.compile(r"mlp\.experts\.(gate_up_proj|down_proj)s\.(\d+)$")


@dataclass(frozen=True)
class Target:
    """One weight that an adapter can be put on."""

    kind: str  # "attention.q_proj", "experts.down_proj", "router"
    layer: int
    name: str  # dotted, from the model's root
    is_parameter: bool  # reached by target_parameters rather than target_modules
    shape: tuple[int, ...]  # (in, out), or (E, in, out) for a fused expert weight

    def count_trainable(self, rank: int) -> int:
        """Entries of A and B at `rank`: (in + out) * rank, for each expert."""
        experts = self.shape[0] if len(self.shape) == 3 else 1
        return experts * rank * (self.shape[-2] + self.shape[-1])


@dataclass(frozen=True)
class TargetPlan:
    """The targets asked for, in PEFT's own terms, with what they will cost."""

    rank: int
    alpha: float
    targets: tuple[Target, ...]
    target_modules: tuple[str, ...]
    target_parameters: tuple[str, ...]
    expert_layout: str
    trainable: dict[str, int] = field(default_factory=dict)  # kind -> parameters

    @property
    def trainable_total(self) -> int:
        """Trainable parameters of the whole adapter."""
        return sum(self.trainable.values())


def find_targets(model: nn.Module) -> tuple[Target, ...]:
    """Find every weight of a gpt-oss that can be adapted.

    Raises:
        ModelError: the module tree is not a gpt-oss's.
    """
    targets = tuple(_iterate_targets(model))
    kinds = {target.kind for target in targets}
    needed = {f"attention.{name}" for name in ATTENTION} | {f"experts.{name}" for name in EXPERTS}
    if missing := sorted(needed - kinds):
        raise ModelError(
            f"{type(model).__name__} is not a gpt-oss: no {', '.join(missing)} was found in it; "
            "set model.name to a gpt-oss (such as unsloth/gpt-oss-20b or embedded:tiny)"
        )
    return targets


def _iterate_targets(model: nn.Module) -> Iterator[Target]:
    from torch import nn

    for name, module in model.named_modules():
        match = _LAYER.search(name)
        if not match:
            continue
        layer, inner = int(match[1]), match[2]
        if isinstance(module, nn.Linear):
            widths = (module.in_features, module.out_features)
            if inner.startswith("self_attn.") and inner[10:] in ATTENTION:
                yield Target(f"attention.{inner[10:]}", layer, name, False, widths)
            elif expert := _SPLIT_EXPERT.search(inner):
                yield Target(f"experts.{expert[1]}", layer, name, False, widths)
        for leaf, parameter in module.named_parameters(recurse=False):
            # The split layout keeps empty buffers under the fused names; they are no Parameters.
            shape = _read_shape(parameter)
            if inner == "mlp.experts" and leaf in EXPERTS and len(shape) == 3:
                yield Target(f"experts.{leaf}", layer, f"{name}.{leaf}", True, shape)
            elif inner == "mlp.router" and leaf == "weight":
                yield Target("router", layer, f"{name}.{leaf}", True, tuple(reversed(parameter.shape)))


def _read_shape(parameter: nn.Parameter) -> tuple[int, ...]:
    """Read the shape that a weight has for arithmetic, also where its values are packed into bytes.

    Unsloth (2026.10.9) trains on MXFP4 blocks and on NF4 bytes that stand under the stock names: uint8 of
    other shapes, (E, out, in/32, 16) and (bytes, 1). Both carry the shape that PEFT is shown as `_original_shape`.
    """
    return tuple(getattr(parameter, "_original_shape", parameter.shape))


def plan_targets(model: nn.Module, lora: LoraConfig) -> TargetPlan:
    """Choose the targets that `lora` asks for, from what the model has.

    Raises:
        ModelError: not a gpt-oss.
        TargetError: a layer in lora.layers, or a kind that is asked for, is not there.
    """
    found = find_targets(model)
    layers = {target.layer for target in found}
    wanted_layers = layers if lora.layers is None else set(lora.layers)
    if absent := sorted(wanted_layers - layers):
        raise TargetError(
            f"lora.layers names {absent}, but the model has layers 0 to {max(layers)}; correct lora.layers"
        )
    groups = {"attention": lora.attention, "experts": lora.experts, "router": lora.router}
    kinds = {target.kind.split(".")[0] for target in found}
    if absent_kinds := [kind for kind, wanted in groups.items() if wanted and kind not in kinds]:
        raise TargetError(
            f"lora.{absent_kinds[0]} is true, but this checkpoint's layout has no {absent_kinds[0]} weight that an "
            f"adapter can be put on; set lora.{absent_kinds[0]} = false, or model.name to the stock layout"
        )
    chosen = tuple(t for t in found if groups[t.kind.split(".")[0]] and t.layer in wanted_layers)
    trainable: Counter[str] = Counter()
    for target in chosen:
        trainable[target.kind] += target.count_trainable(lora.matrix_rank)
    short = wanted_layers == layers
    return TargetPlan(
        rank=lora.matrix_rank,
        alpha=lora.scale_alpha,
        targets=chosen,
        target_modules=_as_peft_names(chosen, is_parameter=False, short=short),
        target_parameters=_as_peft_names(chosen, is_parameter=True, short=short),
        expert_layout="fused" if any(t.is_parameter and t.kind != "router" for t in found) else "split",
        trainable=dict(sorted(trainable.items())),
    )


def _as_peft_names(targets: tuple[Target, ...], *, is_parameter: bool, short: bool) -> tuple[str, ...]:
    """Names as PEFT matches them: the suffix behind the layer where all layers are meant, else in full.

    Suffixes are what other programs (vLLM's loader, say) read from adapter_config.json.
    """
    names = [target.name for target in targets if target.is_parameter == is_parameter]
    if short:
        names = [_LAYER.search(name)[2].removeprefix("self_attn.") for name in names]  # type: ignore[index]
    return tuple(dict.fromkeys(names))


def count_attached(model: nn.Module) -> dict[str, int]:
    """Count the trainable parameters of a PEFT model by kind; what is no known target is kind "other".

    PEFT nests the wrappers of several parameters of one module, so the key of an adapter weight does not
    say which parameter it belongs to: the wrapper's own `parameter_name` does.
    """
    counts: Counter[str] = Counter()
    for kind, parameters in group_trainable(model).items():
        counts[kind] = sum(parameter.numel() for parameter in parameters)
    return dict(sorted(counts.items()))


def group_trainable(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Group the trainable parameters of a PEFT model by kind of target."""
    owner: dict[int, str] = {}
    for name, module in model.named_modules():
        if not hasattr(module, "lora_A"):
            continue
        plain = name.replace(".base_layer", "")
        parameter_name = getattr(module, "parameter_name", None)
        kind = _kind_of(f"{plain}.{parameter_name}" if parameter_name else plain)
        for pair in (module.lora_A, module.lora_B):
            for parameter in pair.parameters():
                owner[id(parameter)] = kind
    groups: dict[str, list[nn.Parameter]] = defaultdict(list)
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups[owner.get(id(parameter), "other")].append(parameter)
    return dict(groups)


def _kind_of(name: str) -> str:
    match = _LAYER.search(name)
    inner = match[2] if match else name
    if inner.startswith("self_attn."):
        return f"attention.{inner[10:]}"
    if expert := _SPLIT_EXPERT.search(inner):
        return f"experts.{expert[1]}"
    if inner.startswith("mlp.experts."):
        return f"experts.{inner[12:]}"
    return "router" if inner.startswith("mlp.router") else "other"


def check_attached(model: nn.Module, plan: TargetPlan) -> dict[str, int]:
    """Compare what was attached with what was asked for; return the counts by kind.

    Raises:
        TargetError: any kind has more or fewer trainable parameters than planned.
    """
    attached = count_attached(model)
    if attached != plan.trainable:
        kinds = sorted(attached.keys() | plan.trainable.keys())
        wrong = [
            f"{kind}: asked {plan.trainable.get(kind, 0):,}, attached {attached.get(kind, 0):,}"
            for kind in kinds
            if attached.get(kind, 0) != plan.trainable.get(kind, 0)
        ]
        raise TargetError(
            f"the adapter is not on what was asked for ({'; '.join(wrong)} trainable parameters); "
            "the versions of peft and unsloth in requirements.lock attach all of it: reinstall them"
        )
    return attached


def check_gradients(model: nn.Module) -> None:
    """Check after a backward pass that every kind of target received a gradient.

    At the first step B is zero, so only B has one; over a kind the largest counts.

    Raises:
        TargetError: a kind would not be trained.
    """
    groups = group_trainable(model)
    dead = [
        kind
        for kind, parameters in groups.items()
        if not any(p.grad is not None and bool(p.grad.abs().max() > 0) for p in parameters)
    ]
    if dead:
        raise TargetError(
            f"{', '.join(sorted(dead))} received no gradient in the first step and would not be trained; "
            "the model's forward pass does not run through these adapters: check the versions in requirements.lock"
        )
