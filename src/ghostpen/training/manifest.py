"""A run's manifest: everything needed to say what was trained, on what, by which versions.

Holds settings, hashes and counts; no private text and no secret.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ghostpen
from ghostpen.config import RunConfig
from ghostpen.errors import ConfigError
from ghostpen.files import write_text_atomically
from ghostpen.model.architecture import TargetPlan
from ghostpen.training.checkpoints import find_newest_checkpoint
from ghostpen.training.recipe import Recipe

FILE_NAME = "manifest.json"
FORMAT_VERSION = 2
PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "unsloth",
    "unsloth_zoo",
    "datasets",
    "accelerate",
    "wandb",
)


def build_manifest(
    config: RunConfig, *, recipe: Recipe, run_id: str, role: str, data_sha256: str, author: str, base: dict[str, Any],
    device: str, processes: int, plan: TargetPlan, pairs_sha256: dict[str, str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Build the manifest of a run that begins.

    Args:
        config: as it was written. recipe: what was chosen where it leaves something open.
        role: "author" or "control". base: what is known of the base model's identity.
        pairs_sha256: fingerprints of the files of briefs and rewrites that were used, by name.
    """
    return {
        "format_version": FORMAT_VERSION,
        "run_id": run_id,
        "role": role,
        "author": author,
        "finished": False,
        "stopped": None,
        "config": config.model_dump(mode="json"),
        "recipe": recipe.to_json(),
        "data_sha256": data_sha256,
        "pairs_sha256": pairs_sha256 or {},
        "base_model": base,
        "device": device,
        "processes": processes,
        "seed": config.train.seed,
        "ghostpen_version": ghostpen.__version__,
        "git_commit": read_git_commit(os.environ),
        "package_versions": {name: version(name) for name in PACKAGES},
        "targets": {
            "expert_layout": plan.expert_layout,
            "target_modules": list(plan.target_modules),
            "target_parameters": list(plan.target_parameters),
            "trainable": plan.trainable,
            "trainable_total": plan.trainable_total,
        },
    }


def write_manifest(manifest: dict[str, Any], folder: Path) -> None:
    """Write it atomically."""
    write_text_atomically(json.dumps(manifest, indent=2) + "\n", folder / FILE_NAME)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Read the manifest of a run; None when there is no run.

    Raises:
        ConfigError: it is there and not a manifest.
    """
    path = folder / FILE_NAME
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON ({error}); {_say_how_to_go_on(folder)}") from error
    if not isinstance(manifest, dict) or manifest.get("format_version") != FORMAT_VERSION:
        raise ConfigError(f"{path} is not of this version; delete {folder} and train again")
    return manifest


def _say_how_to_go_on(folder: Path) -> str:
    if newest := find_newest_checkpoint(folder / "checkpoints").newest:
        return (
            f"{newest} is whole: put back a copy of the file, or the manifest.json that the same command writes "
            "elsewhere before its first step (--set output.dir=...), and go on with --resume"
        )
    return f"delete {folder} and train again"


def describe_base(location: str, model: Any, *, name: str) -> dict[str, Any]:
    """Say which base model it was: a hub commit, or the hash of the weights in a folder.

    Args:
        location: what was really read, a folder or a hub id: the commit is of that. name: as the config says it.
    """
    folder = Path(location)
    if folder.is_dir():
        digest = hashlib.sha256()
        for path in sorted(folder.glob("*.safetensors")):
            with path.open("rb") as file:
                while block := file.read(2**20):
                    digest.update(block)
        return {"name": name, "weights_sha256": digest.hexdigest()}
    return {"name": name, "loaded_name": location, "revision": getattr(model.config, "_commit_hash", None)}


def check_same_base(began_with: Mapping[str, Any], base: Mapping[str, Any], *, folder: Path) -> str | None:
    """Make sure that a run goes on with the weights that it began with.

    Args:
        began_with, base: what `describe_base` said then and says now. folder: the run's, for the error.

    Returns:
        A warning where only the hub's commit is another: most commits leave the weights alone.

    Raises:
        ConfigError: other weights, or another repository.
    """
    # An older version noted no loaded_name.
    for key in ("weights_sha256", *({"loaded_name"} & began_with.keys())):
        if began_with.get(key) != base.get(key):
            raise ConfigError(
                f"the run in {folder} began with another base model: its {key} was {began_with.get(key)}, and that "
                f"of model.name {base['name']} is {base.get(key)}; put the old one back, or train anew under another "
                "name (--set name=...)"
            )
    if began_with.get("revision") != base.get("revision"):
        return (
            f"{base['loaded_name']} is at commit {base.get('revision')} now, and the run began with "
            f"{began_with.get('revision')}"
        )
    return None


def read_git_commit(environ: Mapping[str, str]) -> str | None:
    """Read the commit that an image was built from, or of the checkout that ghostpen runs from; None outside both."""
    if revision := environ.get("GHOSTPEN_REVISION"):  # docker/Dockerfile sets it: there is no git in an image
        return revision
    try:
        result = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
