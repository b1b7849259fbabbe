"""What a checkpoint's files hold, and how it will stand in memory: told from names alone, without a weight.

The names of the tensors decide how the experts are laid out, and Unsloth's way of loading decides what becomes
of them. Owns both tables. Must not import torch: `inspect` and the check before a load ask it first.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ghostpen.config import ModelConfig
from ghostpen.errors import ConfigError, ModelError
from ghostpen.model.location import list_read_errors

Layout = Literal["fused", "split"]
Storage = Literal["16 bit", "mxfp4", "nf4"]

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit
_EXPERT = re.compile(r"layers\.(\d+)\.mlp\.experts\.(gate_up_proj|down_proj)(?:s\.\d+\.weight|_blocks)?$")
# What Unsloth 2026.10.9 (models/mapper.py) loads for a published name; a test asks Unsloth itself.
_PUBLISHED = re.compile(r"(?:unsloth|openai)/(gpt-oss-(?:20b|120b))(?:-unsloth-bnb-4bit)?", re.IGNORECASE)


@dataclass(frozen=True)
class Checkpoint:
    """How a checkpoint's files hold the weights."""

    layout: Layout
    experts: Storage
    attention: Storage
    layers: int  # with experts in them
    size_bytes: int | None  # of all tensors; None where the index does not say

    @property
    def packed_by_bnb(self) -> bool:
        """Say whether bitsandbytes wrote it, so that it loads with load_in_4bit alone."""
        return self.experts == "nf4" or self.layout == "split"


@dataclass(frozen=True)
class Loading:
    """How the weights stand in memory once they are loaded."""

    name: str  # what is really read: Unsloth replaces some published names by others
    layout: Layout
    experts: Storage
    attention: Storage


def resolve_loaded_name(name: str, config: ModelConfig, *, gpu: bool) -> str:
    """Say which published checkpoint Unsloth loads where `name` is asked for; on a GPU only.

    Raises:
        ConfigError: a revision of `name` is asked for, and Unsloth would take the newest of another.

    Source: unsloth/models/mapper.py, loader_utils.get_model_name and loader._revision_for_resolved_repo, 2026.10.9.
    """
    published = _PUBLISHED.fullmatch(name)
    if not (published and gpu):
        return name
    loaded_name = f"unsloth/{published[1].lower()}" + ("-unsloth-bnb-4bit" if config.load_in_4bit else "")
    if config.revision and not is_same_repository(name, loaded_name):
        raise ConfigError(
            f"model.revision is {config.revision}, but Unsloth loads {loaded_name} in place of model.name {name}, "
            f'and would drop the revision; set model.name = "{loaded_name}" and a revision of that, or leave '
            "model.revision out"
        )
    return loaded_name


def is_same_repository(name: str, other: str) -> bool:
    """Tell whether two names mean one repository of the hub, which heeds no case."""
    return name.lower() == other.lower()


def plan_loading(checkpoint: Checkpoint, config: ModelConfig, *, gpu: bool, name: str) -> Loading:
    """Say how `checkpoint` will stand in memory.

    Args:
        gpu: Unsloth has one there; with model.require_gpu = false, too, it takes one that it finds.

    On a GPU, Unsloth leaves MXFP4 experts packed (and ignores load_in_4bit there), packs 16-bit ones into NF4
    with load_in_4bit, and loads the split layout with load_in_4bit only. On the CPU, transformers unpacks MXFP4
    and quantises attention alone.

    Raises:
        ModelError: in this mode the libraries would leave the experts random, and only log it.

    Source: unsloth/models/vision.py (_mxfp4_lora_keeps_experts_packed), unsloth_zoo/temporary_patches/{mxfp4,
        moe_utils_bnb4bit,gpt_oss}.py and unsloth_zoo/cpu/loader.py, 2026.10.9; the tests load each of them.
    """
    if checkpoint.packed_by_bnb and not (gpu and config.load_in_4bit):
        raise ModelError(
            f"{name} is a bitsandbytes 4-bit checkpoint: without a GPU, or with model.load_in_4bit = false, its "
            "experts and routers would be left random; set model.load_in_4bit = true and model.require_gpu = true, "
            "or model.name to a checkpoint that is not quantised (such as unsloth/gpt-oss-20b)"
        )
    experts, attention = checkpoint.experts, checkpoint.attention
    if experts == "mxfp4":
        experts = "mxfp4" if gpu else "16 bit"
    elif experts == "16 bit" and config.load_in_4bit:
        experts, attention = ("nf4" if gpu else "16 bit"), "nf4"
    return Loading(name, checkpoint.layout, experts, attention)


def read_checkpoint(location: str, *, revision: str | None = None) -> Checkpoint:
    """Read the tensors' names from a folder or from the hub: the header of a single file, or the index of many.

    Raises:
        ModelError: there is none, it can't be read, or it holds no gpt-oss's experts.
    """
    folder = Path(location)
    names, size_bytes = _read_folder(folder) if folder.is_dir() else _read_hub(location, revision)
    return describe_names(names, size_bytes, where=location)


def describe_names(names: Collection[str], size_bytes: int | None, *, where: str) -> Checkpoint:
    """Tell the layout from the tensors' names.

    Raises:
        ModelError: no experts, or not in every layer.
    """
    found = [(name, match) for name in names if (match := _EXPERT.search(name))]
    if not found:
        raise ModelError(
            f"{where} holds no experts of a gpt-oss (mlp.experts.gate_up_proj, gate_up_proj_blocks or "
            "gate_up_projs.N); name a gpt-oss such as unsloth/gpt-oss-20b, or copy the model again"
        )
    numbers = {int(match[1]) for _, match in found}
    layers = 1 + max(numbers)
    if absent := sorted(set(range(layers)) - numbers):
        raise ModelError(f"{where} holds no experts for layers {absent} of {layers}; copy the model again")
    experts: Storage = "16 bit"
    if any(name.endswith("_blocks") for name, _ in found):
        experts = "mxfp4"
    elif any(f"{name}.absmax" in names for name, _ in found):
        experts = "nf4"
    return Checkpoint(
        layout="split" if any(".experts.gate_up_projs." in name for name, _ in found) else "fused",
        experts=experts,
        attention="nf4" if any(name.endswith("self_attn.q_proj.weight.absmax") for name in names) else "16 bit",
        layers=layers,
        size_bytes=size_bytes,
    )


def _read_folder(folder: Path) -> tuple[Collection[str], int | None]:
    # transformers' order: a lone file beats an index that was left beside it.
    single, index = folder / SINGLE_FILE, folder / INDEX_FILE
    try:
        if single.is_file():
            return _read_header(single)
        if index.is_file():
            return _read_index(index)
    except (ValueError, AttributeError, KeyError, TypeError, struct.error) as error:
        torn = single if single.is_file() else index
        raise ModelError(f"{folder} could not be loaded: {torn.name} is torn; copy the model again") from error
    raise ModelError(f"{folder} holds neither {SINGLE_FILE} nor {INDEX_FILE}; copy the model again")


def _read_header(path: Path) -> tuple[Collection[str], int]:
    """Read a safetensors file's header: 8 bytes of length (little-endian), then JSON."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"a header of {length} bytes")
        tensors: dict[str, Any] = json.loads(file.read(length))
    tensors.pop("__metadata__", None)
    return tensors.keys(), sum(end - start for start, end in (one["data_offsets"] for one in tensors.values()))


def _read_index(path: Path) -> tuple[Collection[str], int | None]:
    index = json.loads(path.read_text(encoding="utf-8"))
    size = index.get("metadata", {}).get("total_size")
    return index["weight_map"].keys(), None if size is None else int(size)


def _read_hub(name: str, revision: str | None) -> tuple[Collection[str], int | None]:
    from huggingface_hub import get_safetensors_metadata, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, NotASafetensorsRepoError

    try:
        try:
            return _read_index(Path(hf_hub_download(name, INDEX_FILE, revision=revision)))
        except EntryNotFoundError:  # a single file, whose header is read in place, or where an earlier run left it
            cached = try_to_load_from_cache(name, SINGLE_FILE, revision=revision)
            if isinstance(cached, str):
                return _read_header(Path(cached))
            metadata = get_safetensors_metadata(name, revision=revision)
    except (EntryNotFoundError, NotASafetensorsRepoError) + list_read_errors() as error:
        first_line = str(error).strip().splitlines()[0].rstrip(":")
        raise ModelError(f"{name} could not be read: {first_line}") from error
    tensors = {key: info for file in metadata.files_metadata.values() for key, info in file.tensors.items()}
    return tensors.keys(), sum(info.data_offsets[1] - info.data_offsets[0] for info in tensors.values())
