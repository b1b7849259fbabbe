"""Where a base model lies: embedded in the package, a local folder, or the Hugging Face hub.

Must not import torch: the command line asks this module before anything heavy is loaded.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from ghostpen.errors import ModelError

EMBEDDED_PREFIX = "embedded:"
_ASSETS = Path(str(files("ghostpen"))) / "assets"
_EMBEDDED_MODELS = {"tiny": _ASSETS / "tiny"}


def resolve_model(name: str, *, needs_weights: bool = True) -> str:
    """Turn model.name into what from_pretrained takes: a folder, or a hub id as it stands.

    Without `needs_weights`, a folder may hold an index of weights that are elsewhere.

    Raises:
        ModelError: an unknown embedded model, or a folder that holds no gpt-oss.
    """
    if name.startswith(EMBEDDED_PREFIX):
        key = name.removeprefix(EMBEDDED_PREFIX)
        if key not in _EMBEDDED_MODELS:
            known = ", ".join(EMBEDDED_PREFIX + known for known in _EMBEDDED_MODELS)
            raise ModelError(f"{name} is no embedded model; set model.name to one of: {known}")
        return str(_EMBEDDED_MODELS[key])
    path = Path(name).expanduser()
    if path.is_dir():
        _check_folder(path, needs_weights=needs_weights)
        return str(path)
    # A hub id is `owner/name`; anything else with a slash, or that is a file, was meant as a path.
    if path.exists() or name.startswith(("/", ".", "~")) or name.count("/") != 1:
        raise ModelError(
            f"{name} is no folder with a model in it; "
            "set model.name to a folder, a hub id (owner/name) or embedded:tiny"
        )
    return name


def list_read_errors() -> tuple[type[Exception], ...]:
    """List what transformers raises where a configuration or weights are missing, torn or of another kind."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    return (OSError, ValueError, StrictDataclassError, SafetensorError)


def _check_folder(path: Path, *, needs_weights: bool) -> None:
    config = path / "config.json"
    if not config.is_file():
        raise ModelError(f"{path} holds no config.json; set model.name to the folder that a model was saved to")
    try:
        model_type = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise ModelError(f"{config} is not valid JSON ({error}); copy the model again") from error
    if model_type != "gpt_oss":
        raise ModelError(
            f'{config} says model_type "{model_type}", and ghostpen adapts gpt_oss; '
            "set model.name to a gpt-oss such as unsloth/gpt-oss-20b"
        )
    if needs_weights and not any(path.glob("*.safetensors")):
        raise ModelError(f"{path} holds no *.safetensors weights; copy the model again")
