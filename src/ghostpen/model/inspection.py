"""What `ghostpen inspect` shows: a gpt-oss's architecture, its LoRA targets and a run's memory, without a weight.

The module tree is built on the meta device from config.json; how the experts are laid out is read from the names of
the tensors; what training will find in memory follows from the loading mode. Weights are never read.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostpen.config import RunConfig, load_inspected_config
from ghostpen.errors import ModelError
from ghostpen.model.architecture import TargetPlan, plan_targets
from ghostpen.model.checkpoint import Checkpoint, Loading, plan_loading, read_checkpoint, resolve_loaded_name
from ghostpen.model.loading import silence_libraries
from ghostpen.model.location import list_read_errors, resolve_model
from ghostpen.model.memory import GB, MemoryEstimate, Sizes, compute_weight_bytes, estimate_memory

if TYPE_CHECKING:
    from rich.console import Group
    from torch import nn

_PART_TEXTS = {
    "weights": "the base model's weights",
    "adapter": "LoRA, 32 bits a parameter",
    "gradients": "of the adapter, 32 bits",
    "optimizer": "AdamW's two states",
    "activations": "of a training batch",
    "decoded_experts": "one layer's packed experts in 16 bits",
    "loss": "a chunk of logits, hidden states",
    "evaluation": "in place of activations",
    "overhead": "driver, libraries, kernels",
}


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
    expert_layout: str  # in memory, as PEFT will find it
    router_aux_loss_coef: float
    tree: dict[str, int]  # parameters by kind of weight, layers and experts folded
    lora_rank: int
    target_modules: tuple[str, ...]
    target_parameters: tuple[str, ...]
    trainable: dict[str, int]


@dataclass(frozen=True)
class Inspection:
    """All that is known of a model and a run before a weight is loaded."""

    architecture: Architecture
    checkpoint: Checkpoint
    loading: Loading
    weight_bytes: int  # in 16 bits where they are not packed
    memory: MemoryEstimate
    gpu_bytes: int | None
    config: RunConfig

    @property
    def fits(self) -> bool | None:
        """Say whether the run fits the GPU; None where no GPU is known."""
        return None if self.gpu_bytes is None else self.memory.fits(self.gpu_bytes)

    def to_json(self) -> str:
        """Render for programs; sizes in bytes."""
        return json.dumps(
            {
                **asdict(self.architecture),
                "checkpoint": asdict(self.checkpoint),
                "loading": asdict(self.loading),
                "weight_bytes": self.weight_bytes,
                "memory": self.memory.to_dict(),
                "gpu_bytes": self.gpu_bytes,
                "fits": self.fits,
            },
            indent=2,
        )


def inspect_model(
    name: str,
    config: RunConfig | None = None,
    *,
    description: Path | None = None,
    gpu_bytes: int | None = None,
) -> Inspection:
    """Say what `name` contains, what an adapter would be put on, and what memory a run would need.

    Args:
        config: the run's settings; the defaults where there is none. model.load_in_4bit, where it is not set, is
            what the checkpoint needs.
        description: a folder with `name`'s config.json and its index or header, where it can't be read itself.
        gpu_bytes: memory of the GPU that the run is meant for.

    Raises:
        ConfigError: model.revision is one of a name that Unsloth replaces by another.
        ModelError: not there, not a gpt-oss, or it can't be loaded in this mode.
        TargetError: the adapter that the settings ask for can't be put on it.
    """
    run = config or load_inspected_config(None, model=name)
    location = str(description) if description else resolve_model(name, needs_weights=False)
    local = Path(location).is_dir()
    gpu = run.model.require_gpu  # where the run is meant for, not here
    loaded_name = name if local else resolve_loaded_name(name, run.model, gpu=gpu)
    if not local:
        location = loaded_name
    revision = run.model.revision
    settings = read_settings(location, name=name, revision=revision)
    checkpoint = read_checkpoint(location, revision=revision)
    if checkpoint.layers != settings.num_hidden_layers:
        raise ModelError(
            f"{name} has {settings.num_hidden_layers} layers by its config.json, and experts for "
            f"{checkpoint.layers}; copy the model again"
        )
    if checkpoint.packed_by_bnb and "load_in_4bit" not in run.model.model_fields_set:
        run = run.model_copy(update={"model": run.model.model_copy(update={"load_in_4bit": True})})
    loading = plan_loading(checkpoint, run.model, gpu=gpu, name=loaded_name)
    model = build_meta_model(settings, loading)
    plan = plan_targets(model, run.lora)
    sizes = read_sizes(settings)
    return Inspection(
        architecture=describe_architecture(model, plan, name=name),
        checkpoint=checkpoint,
        loading=loading,
        weight_bytes=compute_weight_bytes(sizes, loading),
        memory=estimate_memory(sizes, loading, trainable=plan.trainable_total, config=run),
        gpu_bytes=gpu_bytes,
        config=run,
    )


def read_settings(location: str, *, name: str, revision: str | None = None) -> Any:
    """Read a gpt-oss's config.json.

    Raises:
        ModelError: not there, torn, or of another model.
    """
    silence_libraries()
    from transformers import AutoConfig

    try:
        settings = AutoConfig.from_pretrained(location, revision=revision)
    except list_read_errors() as error:
        first_line = str(error).strip().splitlines()[0].rstrip(":")
        raise ModelError(f"{name} could not be read: {first_line}") from error
    if settings.model_type != "gpt_oss":
        raise ModelError(f'{name} is a "{settings.model_type}", and ghostpen adapts gpt_oss; name a gpt-oss')
    return settings


def read_sizes(settings: Any) -> Sizes:
    """Take the sizes that decide memory from a gpt-oss's configuration."""
    return Sizes(
        layers=settings.num_hidden_layers,
        hidden=settings.hidden_size,
        intermediate=settings.intermediate_size,
        heads=settings.num_attention_heads,
        kv_heads=settings.num_key_value_heads,
        head_dim=settings.head_dim,
        experts=settings.num_local_experts,
        experts_per_token=settings.num_experts_per_tok,
        vocabulary=settings.vocab_size,
        tied=settings.tie_word_embeddings,
    )


def build_meta_model(settings: Any, loading: Loading) -> Any:
    """Build the module tree that training will find, on the meta device.

    transformers has the fused layout only; the split one is Unsloth's, whose modules are rebuilt here by name and
    shape, because importing unsloth takes ten seconds and asks for a GPU.
    """
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(settings)
        if loading.layout == "split":
            for layer in model.model.layers:
                _split_experts(layer.mlp, settings)
    return model


def _split_experts(mlp: nn.Module, settings: Any) -> None:
    from torch import nn

    hidden, intermediate, experts = settings.hidden_size, settings.intermediate_size, settings.num_local_experts
    # The values' names, not the way they are packed: a Linear stands for bitsandbytes' Linear4bit, which is one.
    mlp.experts = nn.ModuleDict(
        {
            "gate_up_projs": nn.ModuleList(nn.Linear(hidden, 2 * intermediate) for _ in range(experts)),
            "down_projs": nn.ModuleList(nn.Linear(intermediate, hidden) for _ in range(experts)),
        }
    )
    router = nn.Module()
    router.linear = nn.Module()  # no nn.Linear, so that bitsandbytes leaves it alone
    router.linear.weight, router.linear.bias = mlp.router.weight, mlp.router.bias
    mlp.router = router


def describe_architecture(model: Any, plan: TargetPlan, *, name: str) -> Architecture:
    """Count and fold a model's weights.

    Active parameters are counted as gpt-oss's model card does: output embeddings count, input ones don't.
    """
    settings = model.config
    tree: Counter[str] = Counter()
    in_experts = 0
    for weight, parameter in model.named_parameters():
        folded = re.sub(r"(layers|gate_up_projs|down_projs)\.\d+\.", r"\1.*.", weight)
        tree[folded] += parameter.numel()
        in_experts += parameter.numel() if ".mlp.experts." in weight else 0
    total = sum(tree.values())
    idle = in_experts * (1 - settings.num_experts_per_tok / settings.num_local_experts)
    looked_up = model.get_input_embeddings().weight.numel()
    return Architecture(
        name=name,
        architecture=type(model).__name__,
        parameters=total,
        parameters_active=round(total - idle - looked_up),
        layers=settings.num_hidden_layers,
        layer_types=dict(sorted(Counter(settings.layer_types).items())),
        hidden_size=settings.hidden_size,
        vocabulary_size=settings.vocab_size,
        sliding_window=settings.sliding_window,
        experts=settings.num_local_experts,
        experts_per_token=settings.num_experts_per_tok,
        expert_layout=plan.expert_layout,
        router_aux_loss_coef=settings.router_aux_loss_coef,
        tree=dict(tree),
        lora_rank=plan.rank,
        target_modules=plan.target_modules,
        target_parameters=plan.target_parameters,
        trainable=plan.trainable,
    )


def find_gpu_bytes() -> int | None:
    """Give the memory of the GPU that is there; None where there is none."""
    import torch

    return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else None


def render_inspection(inspection: Inspection) -> Group:
    """Render for a person: sizes, the tree, the targets, the memory."""
    from rich.console import Group
    from rich.table import Table

    a = inspection.architecture
    types = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in a.layer_types.items())
    facts = Table(show_header=False, box=None, title=f"{a.name}: {a.architecture}", title_justify="left")
    facts.add_row("parameters", f"{a.parameters:,}, of which {a.parameters_active:,} work on each token")
    facts.add_row("layers", f"{a.layers} ({types}; window {a.sliding_window:,} tokens)")
    facts.add_row("experts", f"{a.experts} a layer, {a.experts_per_token} a token, {a.expert_layout} layout")
    facts.add_row("hidden, vocabulary", f"{a.hidden_size:,}, {a.vocabulary_size:,}")
    facts.add_row("router_aux_loss_coef", f"{a.router_aux_loss_coef} in its config; ghostpen's setting decides")
    facts.add_row("in the files", _describe_storage(inspection.checkpoint, inspection.checkpoint.size_bytes))
    loaded = _describe_storage(inspection.loading, inspection.memory.weights)
    renamed = "" if inspection.loading.name == a.name else f"; Unsloth loads {inspection.loading.name}"
    facts.add_row("in memory", f"{loaded}{renamed}")
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
    names.add_row("target_modules", ", ".join(_fold_experts(a.target_modules)) or "none")
    names.add_row("target_parameters", ", ".join(a.target_parameters) or "none")
    return Group(facts, tree, targets, names, _render_memory(inspection))


def _render_memory(inspection: Inspection) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    config = inspection.config
    title = (
        f"memory by estimate, in GB: {config.train.batch_size} x {config.data.sequence_length} tokens, "
        f"{config.train.optimizer}, gradient checkpointing {config.model.checkpointing}, "
        f"evaluation {config.eval.batch_size} x {config.eval.window}"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("part")
    table.add_column("GB", justify="right")
    table.add_column("what it is")
    parts = inspection.memory.to_dict()
    for part, text in _PART_TEXTS.items():
        table.add_row(part, f"{parts[part] / GB:.2f}", text)
    table.add_row("peak", f"{parts['total'] / GB:.2f}", "of training or of evaluation", style="bold")
    if inspection.gpu_bytes is None:
        verdict = "no GPU here; --gpu-memory GB says whether it would fit one"
    else:
        answer = "fits" if inspection.fits else "does not fit"
        verdict = f"{answer} {inspection.gpu_bytes / GB:.1f} GB with a tenth of it left free"
    return Group(table, Text(verdict))


def _describe_storage(held: Checkpoint | Loading, size_bytes: int | None) -> str:
    size = "" if size_bytes is None else f", {size_bytes / GB:.2f} GB"
    return f"experts {held.layout}, {held.experts}; attention {held.attention}{size}"


def _fold_experts(names: tuple[str, ...]) -> list[str]:
    """Write the names of a layer's experts as one, with the range of their numbers."""
    numbers: dict[str, list[int]] = {}
    for name in names:
        match = re.fullmatch(r"(.*mlp\.experts\.\w+s)\.(\d+)", name)
        numbers.setdefault(match[1] if match else name, []).extend([int(match[2])] if match else [])
    return [f"{name}.{{{min(found)}..{max(found)}}}" if found else name for name, found in numbers.items()]
