"""The base model with the adapter's update added to its weights: one ordinary checkpoint.

Plain transformers and PEFT, no Unsloth. An update is never added to 4-bit weights, whose steps are coarser than
most updates: MXFP4 weights are dequantised to bfloat16 first, and a bitsandbytes checkpoint is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostpen.config import ModelConfig
from ghostpen.errors import ExportError
from ghostpen.model.checkpoint import is_same_repository
from ghostpen.model.loading import silence_libraries
from ghostpen.model.location import list_read_errors, resolve_model
from ghostpen.training.manifest import describe_base

MAX_SHARD_SIZE = "5GB"


@dataclass(frozen=True)
class MergePlan:
    """Which base is loaded, in which number format, and how large the result is."""

    location: str
    revision: str | None
    precision: str  # "float32" or "bfloat16"
    dequantised: bool  # from MXFP4
    size_bytes: int  # of the merged weights, in memory and on disk


def plan_merge(model: ModelConfig, *, base: dict[str, Any], replacement: str | None) -> MergePlan:
    """Decide from the base's configuration alone; no weight is read.

    Args:
        base: what the run's manifest says of the base that was trained on.
        replacement: another checkpoint of the same model to merge into, in place of the run's.

    Raises:
        ModelError: there is no such base.
        ExportError: its weights can't be merged into.
    """
    silence_libraries()
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    name, revision = (replacement, None) if replacement else choose_base(model, base=base)
    location = resolve_model(name)
    try:
        config = AutoConfig.from_pretrained(location, revision=revision)
    except list_read_errors() as error:
        raise ExportError(f"{name} could not be read: {_first_line(error)}") from error
    quantisation = getattr(config, "quantization_config", None) or {}
    method = quantisation.get("quant_method")
    if method not in {None, "mxfp4"}:
        raise ExportError(
            f"{name} holds its weights quantised ({method}), and an adapter must not be merged into those; name "
            "a 16-bit or MXFP4 checkpoint of the same model with --base, such as unsloth/gpt-oss-20b"
        )
    precision = "bfloat16" if method else model.precision
    config.quantization_config = None
    with torch.device("meta"):
        parameters = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    size_bytes = parameters * getattr(torch, precision).itemsize
    return MergePlan(location, revision, precision, bool(method), size_bytes)


def choose_base(model: ModelConfig, *, base: dict[str, Any]) -> tuple[str, str | None]:
    """Choose what a run's adapter is merged into, and at which revision: what it was trained on, at its commit.

    Where Unsloth has put a 4-bit repository in the name's place it is the named one, at its newest: nothing is merged
    into the other, and its commit is none of this one's.

    Args:
        base: as for `plan_merge`.
    """
    loaded_name = base.get("loaded_name")  # None of a folder
    if loaded_name and (is_same_repository(model.name, loaded_name) or not model.load_in_4bit):
        return loaded_name, base.get("revision") or model.revision
    return model.name, model.revision


def check_base(plan: MergePlan, *, base: dict[str, Any], name: str) -> None:
    """Make sure that a base in a folder is still the one that was trained on.

    Raises:
        ExportError: its weights have changed.
    """
    expected = base.get("weights_sha256")
    if expected and describe_base(plan.location, None, name=name)["weights_sha256"] != expected:
        raise ExportError(
            f"the weights of {name} are not those that the run was trained on (another sha256); "
            "put the old ones back, or train again"
        )


def write_merged(plan: MergePlan, *, adapter: Path, folder: Path) -> None:
    """Load the base plainly, add the adapter to its weights, and save it with tokenizer and generation settings.

    Args:
        adapter: in PEFT's format, for the fused layout.

    Raises:
        ExportError: base or adapter can't be loaded, don't fit, or the sum is not finite.
    """
    import torch
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer, Mxfp4Config
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # ghostpen shows its own
    quantisation = {"quantization_config": Mxfp4Config(dequantize=True)} if plan.dequantised else {}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            plan.location, revision=plan.revision, dtype=getattr(torch, plan.precision), **quantisation
        )
        adapted = PeftModel.from_pretrained(model, str(adapter), torch_device="cpu")
    except (RuntimeError,) + list_read_errors() as error:
        raise ExportError(f"base and adapter could not be loaded together: {_first_line(error)}") from error
    # PEFT only warns about weights that it has no place for.
    attached = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    if unplaced := set(load_file(adapter / "adapter_model.safetensors")) ^ set(attached):
        raise ExportError(
            f"{len(unplaced)} weights of the adapter have no place in {plan.location}, such as {min(unplaced)}; "
            "merge into a checkpoint of the model that the run was trained on"
        )
    try:
        merged = adapted.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise ExportError(f"the adapter can't be merged: {_first_line(error)}; train the run again") from error
    if plan.dequantised:
        _forget_quantisation(merged)
    # In the original format, transformers 5.17 would save the dequantised experts of all layers as one
    # "gate_up_proj$" and one "down_proj$".
    merged.save_pretrained(str(folder), max_shard_size=MAX_SHARD_SIZE, save_original_format=False)
    _check_saved(merged, folder)
    AutoTokenizer.from_pretrained(str(adapter)).save_pretrained(str(folder))


def _forget_quantisation(model: Any) -> None:
    """Let the checkpoint be saved, and later be read, as what it now is: plain bfloat16."""
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None


def _check_saved(model: Any, folder: Path) -> None:
    from safetensors import safe_open

    saved: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            saved |= set(file.keys())
    if missing := set(model.state_dict()) - set(model.all_tied_weights_keys) - saved:
        raise ExportError(
            f"{len(missing)} weights were not saved, such as {min(missing)}; the versions in requirements.lock save "
            "all of them: reinstall them"
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(":")
