"""Load a base model, put an adapter on it, read an adapter back: always through Unsloth.

The one place that imports unsloth, which must come before trl, transformers and peft. On a host without a
GPU the same calls run Unsloth's CPU backend, with ghostpen's CPU kernels under it.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ghostpen.config import LoraConfig, ModelConfig
from ghostpen.errors import ModelError
from ghostpen.model.architecture import TargetPlan, check_attached, plan_targets
from ghostpen.model.checkpoint import plan_loading, read_checkpoint, resolve_loaded_name
from ghostpen.model.device import find_device
from ghostpen.model.location import list_read_errors, resolve_model

# Loggers of notices that say nothing to a person, on standard error, where ghostpen's own errors are one line.
_CHATTER = (
    "torch.utils._pytree",  # torch 2.14 about enums of torchao 0.18
    "bitsandbytes.backends.cpu.ops",  # bitsandbytes 0.50: no 4-bit kernels for CPUs; 4 bits are for GPUs here
    "transformers.trainer_utils",  # transformers 5.17: checkpoints are ordered by their numbers, as they should be
)


# In Unsloth's words.
_CHECKPOINTING: dict[str, str | bool] = {"offload": "unsloth", "recompute": True, "off": False}


@dataclass(frozen=True)
class LoadedModel:
    """A gpt-oss in memory with its tokenizer."""

    model: Any  # GptOssForCausalLM, or PeftModel around it
    tokenizer: Any
    name: str  # as the config says it
    source: str  # what was really read: a folder, or the hub id that Unsloth put in the name's place
    device: str  # "cpu" or "cuda"


def silence_libraries() -> None:
    """Keep notices that say nothing to a person off standard error; call it before transformers is imported."""
    for name in _CHATTER:
        logging.getLogger(name).setLevel(logging.ERROR)


def import_unsloth(*, require_gpu: bool) -> Any:
    """Import unsloth, in the place and the mood it needs.

    Raises:
        ModelError: a GPU is required and there is none.
    """
    import torch

    if require_gpu and not torch.cuda.is_available():
        raise ModelError(
            "no GPU is visible and model.require_gpu is true; run on a GPU host (docker run --gpus all), "
            "or set model.require_gpu = false to run on the CPU, which only the embedded model is small enough for"
        )
    if require_gpu:
        os.environ["UNSLOTH_DISABLE_CPU_FALLBACK"] = "1"
    silence_libraries()
    # Unsloth's banner and its notices go to standard output, which belongs to ghostpen's own results.
    with contextlib.redirect_stdout(io.StringIO()):
        import unsloth
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # ghostpen shows its own
    return unsloth


def load_base(config: ModelConfig, *, max_length: int) -> LoadedModel:
    """Load the base model and its tokenizer.

    Raises:
        ConfigError: model.revision is one of a name that Unsloth replaces by another.
        ModelError: not there, not a gpt-oss, not to be loaded in this mode, or no GPU where one is required.
    """
    import torch

    location = resolve_model(config.name)
    is_folder = Path(location).is_dir()
    gpu = config.require_gpu or torch.cuda.is_available()
    source = location if is_folder else resolve_loaded_name(config.name, config, gpu=gpu)
    if is_folder:
        plan_loading(read_checkpoint(location), config, gpu=gpu, name=config.name)
    unsloth = import_unsloth(require_gpu=config.require_gpu)
    # Where Unsloth puts another name in place, its own table chooses a checkpoint that fits the mode. Its import has
    # settings for the hub's client, and so comes first.
    if not is_folder and source == location:
        plan_loading(read_checkpoint(location, revision=config.revision), config, gpu=gpu, name=config.name)
    loaded = read_base(unsloth, source, config, max_length=max_length)
    if loaded.device == "cpu":
        from ghostpen.model.cpu_kernels import keep_freed_memory, use_cpu_kernels

        keep_freed_memory()
        use_cpu_kernels(loaded.model)
    return loaded


def read_base(unsloth: Any, source: str, config: ModelConfig, *, max_length: int) -> LoadedModel:
    """Read the base model and its tokenizer from a folder or from the hub.

    Raises:
        ModelError: not there, or not a gpt-oss.
    """
    import torch

    gpu = torch.cuda.current_device() if torch.cuda.is_available() else None
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            model, tokenizer = unsloth.FastLanguageModel.from_pretrained(
                source, **plan_arguments(config, max_length=max_length, gpu=gpu)
            )
        except list_read_errors() as error:
            first_line = str(error).strip().splitlines()[0].rstrip(":")
            raise ModelError(f"model.name {config.name} could not be loaded: {first_line}") from error
    if getattr(model.config, "model_type", None) != "gpt_oss":
        raise ModelError(
            f'model.name {config.name} is a "{model.config.model_type}", and ghostpen adapts gpt_oss; '
            "set it to a gpt-oss such as unsloth/gpt-oss-20b"
        )
    return LoadedModel(model, tokenizer, name=config.name, source=source, device=find_device(model).type)


def plan_arguments(config: ModelConfig, *, max_length: int, gpu: int | None) -> dict[str, Any]:
    """Say how Unsloth is to load: the whole model on one device.

    Left to itself, it moves the input embedding to the host's memory where a training step would want the room
    (at loading, and again with the adapter), and spreads a model over all GPUs of the machine. Neither is made
    for here; too little memory is better an error that says so.

    Args:
        gpu: number of this process's GPU; None without one.

    Source: unsloth/models/_utils.py (offload_embedding_if_tight) and loader_utils.py (requested_device_map),
        2026.10.9.
    """
    import torch

    placement = {} if gpu is None else {"device_map": {"": f"cuda:{gpu}"}}
    return placement | {
        "max_seq_length": max_length,
        "dtype": getattr(torch, config.precision),
        "load_in_4bit": config.load_in_4bit,
        "revision": config.revision,
        "use_gradient_checkpointing": _CHECKPOINTING[config.checkpointing],
        "offload_embedding": False,
    }


def attach_adapter(
    loaded: LoadedModel,
    lora: LoraConfig,
    *,
    seed: int,
    gradient_checkpointing: Literal["offload", "recompute", "off"],
) -> tuple[LoadedModel, TargetPlan]:
    """Put a fresh adapter on what `lora` asks for, and check that it is really there.

    A fresh adapter changes no logit: B is zero.

    Raises:
        TargetError: the model has no such targets, or they were not all attached.
    """
    import unsloth

    plan = plan_targets(loaded.model, lora)
    with contextlib.redirect_stdout(io.StringIO()):
        model = unsloth.FastLanguageModel.get_peft_model(
            loaded.model,
            r=plan.rank,
            lora_alpha=plan.alpha,
            lora_dropout=0.0,  # PEFT refuses dropout on a 3-D parameter
            bias="none",
            target_modules=list(plan.target_modules),
            target_parameters=list(plan.target_parameters) or None,
            use_gradient_checkpointing=_CHECKPOINTING[gradient_checkpointing],
            random_state=seed,
            # Unsloth sets it to False for text, and then takes target_modules for the last parts of names: whole
            # names (lora.layers, experts of the split layout) match nothing, and it fails. Nothing here can see.
            finetune_vision_layers=True,
        )
    check_attached(model, plan)
    return replace(loaded, model=model), plan


def prepare_for_training(loaded: LoadedModel, *, gradient_checkpointing: str) -> None:
    """Undo what Unsloth's `generate` did to a model that is still being trained.

    On a GPU it turns gradient checkpointing off and a cache on, for good (unsloth 2026.10.9, `for_inference`); the
    steps after it would then need the memory that checkpointing saves. On the CPU it changes nothing.
    """
    import unsloth

    unsloth.FastLanguageModel.for_training(
        loaded.model, use_gradient_checkpointing=_CHECKPOINTING[gradient_checkpointing]
    )


def load_adapter(loaded: LoadedModel, folder: Path) -> LoadedModel:
    """Put a trained adapter on its base, for reading only.

    Raises:
        ModelError: no adapter in `folder`, one of another base, or one that does not fit.
    """
    check_adapter_base(folder, loaded.name)
    from peft import PeftModel

    try:
        model = PeftModel.from_pretrained(loaded.model, str(folder))
    except (RuntimeError,) + list_read_errors() as error:
        first_line = str(error).strip().splitlines()[0]
        raise ModelError(f"the adapter in {folder} does not fit {loaded.name}: {first_line}") from error
    return replace(loaded, model=model)


def unload_adapter(loaded: LoadedModel) -> LoadedModel:
    """Take the adapter off again and give the base model back as it was."""
    return replace(loaded, model=loaded.model.unload())


def check_adapter_base(folder: Path, name: str) -> None:
    """Make sure that an adapter belongs to the base model `name`, as ghostpen's settings call it.

    Raises:
        ModelError: no adapter in `folder`, or one of another base.
    """
    try:
        settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        recorded = str(settings["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{folder} holds no adapter (adapter_config.json cannot be read); train one with `ghostpen train`"
        ) from error
    if recorded != name:
        raise ModelError(
            f"the adapter in {folder} was trained on {recorded}, and model.name is {name}; "
            f"set model.name = {json.dumps(recorded)} or train a new adapter"
        )


def save_adapter(model: Any, tokenizer: Any, folder: Path, *, base_name: str) -> None:
    """Save the adapter in PEFT's format, naming its base as the config does, not as a path of this machine."""
    part = folder.with_name(folder.name + ".part")
    model.save_pretrained(str(part))
    config_path = part / "adapter_config.json"
    config = json.loads(config_path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base_name
    config_path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    tokenizer.save_pretrained(str(part))
    if folder.exists():
        shutil.rmtree(folder)
    part.rename(folder)
