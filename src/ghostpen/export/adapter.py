"""The adapter as plain PEFT and vLLM load it.

A run's adapter is in PEFT's format already. One thing is changed, where it has to be: an adapter trained on the
split layout (one Linear an expert, as in Unsloth's 4-bit checkpoints) fits no other checkpoint, and vLLM's
loader refuses its names. It is rewritten for the fused layout, which every other gpt-oss checkpoint has; the
numbers stay the same.

Keys of the experts in PEFT's format, E experts of rank r (PEFT 0.21 nests the wrappers of two parameters of one
module, so the first of target_parameters is the inner one, `base_layer`):
    mlp.experts.base_layer.lora_A  (E*r, H)    gate_up_proj; row e*r + k
    mlp.experts.base_layer.lora_B  (2I, E*r)   gate_up_proj; column k*E + e
    mlp.experts.lora_A             (E*r, I)    down_proj
    mlp.experts.lora_B             (H, E*r)    down_proj
vLLM 0.33.0 reads exactly these (vllm/lora/model_manager.py, _stack_moe_lora_weights).
"""

from __future__ import annotations

import json
import re
import shutil
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostpen.errors import ExportError

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "adapter_model.safetensors"
SETTINGS = "adapter_config.json"
_SPLIT_KEY = re.compile(r"(.+\.mlp\.experts)\.(gate_up|down)_projs\.(\d+)\.(lora_[AB])\.weight")
_PREFIX = "base_model.model."  # PEFT's, before the model's own names
_LAYER_PATH = re.compile(r".*\blayers\.\d+\.(?:self_attn\.)?")
_LAYER_NAMED = re.compile(r"(?:^|\.)\d+\.(?:mlp|self_attn)\.")
# Unsloth may note the order of lora_B's columns in the settings; this is PEFT's own.
_PEFT_ORDER = "rank_major"


def write_adapter(source: Path, folder: Path) -> bool:
    """Write a run's adapter with its tokenizer; tell whether the experts had to be rewritten.

    Raises:
        ExportError: the adapter's weights are in an order that PEFT would misread, or not whole.
    """
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    settings = json.loads((source / SETTINGS).read_text(encoding="utf-8"))
    if settings.get("lora_B_layout", _PEFT_ORDER) != _PEFT_ORDER:
        raise ExportError(
            f'{source / SETTINGS} says lora_B_layout "{settings["lora_B_layout"]}", which PEFT would misread; '
            "train again with the versions of requirements.lock"
        )
    for path in sorted(source.iterdir()):
        if path.is_file() and path.name not in {"README.md", WEIGHTS, SETTINGS}:
            shutil.copy(path, folder)
    with safe_open(source / WEIGHTS, framework="pt") as weights:
        keys = list(weights.keys())
    split = any(_SPLIT_KEY.fullmatch(key) for key in keys)
    if split:
        settings = fuse_settings(settings, keys)
        save_file(fuse_split_experts(load_file(source / WEIGHTS)), folder / WEIGHTS, metadata={"format": "pt"})
    else:
        shutil.copy(source / WEIGHTS, folder)
    (folder / SETTINGS).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return split


def fuse_settings(settings: dict[str, Any], keys: Collection[str]) -> dict[str, Any]:
    """Name the fused parameters in place of the single experts; gate_up first, as the key names want it.

    The names come from the weights': in the settings PEFT keeps of 20 names and more what tells them from other
    modules, such as "24" for all experts of that number.

    Args:
        keys: of the adapter's weights, on the split layout.
    """
    by_layer = any(_LAYER_NAMED.search(name) for name in settings["target_modules"])
    modules, experts = set(), set()
    for key in keys:
        if match := _SPLIT_KEY.fullmatch(key):
            experts.add(_name_target(f"{match[1]}.{match[2]}_proj", by_layer=by_layer))
        else:
            modules.add(_name_target(key.partition(".lora_")[0], by_layer=by_layer))
    ordered = sorted(experts, key=lambda name: (name.rpartition(".")[0], not name.endswith("gate_up_proj")))
    return settings | {"target_modules": sorted(modules), "target_parameters": ordered}


def _name_target(name: str, *, by_layer: bool) -> str:
    """Name it as `architecture.plan_targets` does: in full for chosen layers, else by what follows the layer."""
    full = name.removeprefix(_PREFIX)
    return full if by_layer else _LAYER_PATH.sub("", full)


def fuse_split_experts(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Join the A and B of single experts as PEFT keeps those of a 3-D parameter; the rest stays as it is.

    Raises:
        ExportError: an expert is missing.
    """
    import torch

    fused: dict[str, Tensor] = {}
    experts: dict[tuple[str, str, str], dict[int, Tensor]] = defaultdict(dict)
    for key, weight in weights.items():
        if match := _SPLIT_KEY.fullmatch(key):
            experts[match[1], match[2], match[4]][int(match[3])] = weight
        else:
            fused[key] = weight
    count = 1 + max(number for found in experts.values() for number in found)
    for (module, projection, side), found in experts.items():
        if len(found) != count:
            raise ExportError(f"the adapter holds {len(found)} of {count} experts of {module}; train the run again")
        parts = [found[number] for number in range(count)]
        name = f"{module}.base_layer" if projection == "gate_up" else module
        joined = torch.cat(parts) if side == "lora_A" else torch.stack(parts, dim=2).flatten(1)
        fused[f"{name}.{side}.weight"] = joined.contiguous()
    return fused
