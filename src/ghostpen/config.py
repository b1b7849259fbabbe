"""A run's settings: read from one TOML file, checked as a whole, frozen.

Owns what a whole run's settings are, and the one-line error for each way to get one wrong; the single settings are in
`ghostpen.config_sections`. Must not read the environment or touch a model.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from ghostpen.config_sections import (
    OF_TESTS_ALONE,
    DataConfig,
    EvalConfig,
    LoraConfig,
    ModelConfig,
    OutputConfig,
    StorageConfig,
    TrackingConfig,
    TrainConfig,
)
from ghostpen.errors import ConfigError
from ghostpen.settings import Root, apply_overrides, build_settings, parse_toml, read_toml

__all__ = [
    "DataConfig",
    "EvalConfig",
    "LoraConfig",
    "ModelConfig",
    "OutputConfig",
    "RunConfig",
    "StorageConfig",
    "TrackingConfig",
    "TrainConfig",
    "build_run_config",
    "check_run_id",
    "find_newest_run",
    "load_inspected_config",
    "load_run_config",
    "load_saved_config",
    "parse_run_config",
    "select_decisive",
]


class RunConfig(Root):
    """Hold every setting of a run; it is saved in the run's manifest."""

    name: str = Field(
        pattern=r"^[a-z0-9-]+$",
        json_schema_extra={"write": "use only a-z, 0-9 and hyphens"},
        description="The run's folder under output.dir: a-z, 0-9 and hyphens. Run ids that are made up begin so.",
    )
    data: DataConfig
    model: ModelConfig
    lora: LoraConfig = LoraConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
    tracking: TrackingConfig = TrackingConfig()
    output: OutputConfig = OutputConfig()
    storage: StorageConfig = StorageConfig()

    @property
    def run_dir(self) -> Path:
        """Give the run's own folder."""
        return self.output.dir / self.name

    @property
    def own_contrast_dir(self) -> Path:
        """Give the folder of other authors' texts that `ghostpen test --control auto` makes for the run."""
        return self.run_dir / "contrast"

    @property
    def contrast_dir(self) -> Path:
        """Give the folder of other authors' splits: the data's, or the run's own where the data have none."""
        given, own = (folder / "contrast_train.jsonl" for folder in (self.data.dir, self.own_contrast_dir))
        return own.parent if own.exists() and not given.exists() else self.data.dir


def load_run_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a run's settings from a TOML file, with `section.key=value` overrides on top.

    An override's value is read as a TOML value (`8`, `true`, `[0, 1]`), or else as a plain string.

    Raises:
        ConfigError: the file can't be read, or a setting is unknown, missing or wrong.
    """
    return _build_overridden(read_toml(path), overrides, where=str(path))


def parse_run_config(content: bytes, overrides: Sequence[str] = (), *, where: str) -> RunConfig:
    """Read a run's settings from the content of a TOML file, wherever it came from, as `load_run_config` does.

    Raises:
        ConfigError: it is not TOML, or a setting is unknown, missing or wrong.
    """
    return _build_overridden(parse_toml(content, where=where), overrides, where=where)


def _build_overridden(values: dict[str, Any], overrides: Sequence[str], *, where: str) -> RunConfig:
    apply_overrides(values, overrides, root=RunConfig)
    return build_run_config(values, where=where, overrides=overrides)


def load_inspected_config(path: Path | None, overrides: Sequence[str] = (), *, model: str) -> RunConfig:
    """Read the settings that decide an adapter's size and a run's memory; which texts are read decides neither.

    Raises:
        ConfigError: the file can't be read, or a setting is unknown or wrong.
    """
    values = {} if path is None else read_toml(path)
    apply_overrides(values, overrides, root=RunConfig)
    where = "config" if path is None else str(path)
    if isinstance(values.setdefault("data", {}), dict):
        values["data"].setdefault("dir", ".")
    if isinstance(values.setdefault("model", {}), dict):
        values["model"]["name"] = model
    return build_run_config({"name": "inspected"} | values, where=where, overrides=overrides)


def build_run_config(values: Mapping[str, Any], *, where: str = "config", overrides: Sequence[str] = ()) -> RunConfig:
    """Check settings that were read already (a run's manifest holds them); `where` names them in an error.

    Raises:
        ConfigError: a setting is unknown, missing or wrong.
    """
    return build_settings(RunConfig, values, where=where, overrides=overrides)


def check_run_id(run_id: str) -> str:
    """Return a run id that S3, file systems and trackers all take.

    Raises:
        ConfigError: it is none.
    """
    if not re.fullmatch(r"[a-z0-9-]{1,64}", run_id):
        raise ConfigError(f'--run-id is "{run_id[:100]}": use 1 to 64 of a-z, 0-9 and hyphens')
    return run_id


def select_decisive(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a config, as JSON, what changes no result.

    That is where texts and runs lie, who is told of them, what a test has written, and what fails it.
    """
    decisive = {key: value for key, value in settings.items() if key not in ("tracking", "storage", "output")}
    for section, of_no_effect in (("data", ("dir",)), ("eval", OF_TESTS_ALONE)):
        decisive[section] = {
            key: value for key, value in decisive.get(section, {}).items() if key not in of_no_effect
        }
    return decisive


def load_saved_config(run_dir: Path) -> RunConfig:
    """Read the settings that a run saved in its folder's manifest.

    Raises:
        ConfigError: the folder holds no manifest, or one whose settings this version doesn't know.
    """
    path = run_dir / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(f"{path}: not there; name the folder of a run that was trained") from error
    except ValueError as error:  # both not UTF-8 and not JSON
        raise ConfigError(f"{path}: is not a JSON file: {error}") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("config"), dict):
        raise ConfigError(f'{path}: has no "config"; name the folder of a run that was trained')
    return build_run_config(manifest["config"], where=str(path))


def find_newest_run(folder: Path = Path("runs")) -> Path:
    """Find the run whose manifest was written last: the one that a verb means when none is named.

    Raises:
        ConfigError: there is no run below `folder`.
    """
    manifests = sorted(folder.glob("*/manifest.json"), key=lambda path: path.stat().st_mtime)
    if not manifests:
        raise ConfigError(
            f"no run was named, and {folder}/ holds none; train one with `ghostpen train --config FILE`, "
            "or name a run's settings with --config FILE"
        )
    return manifests[-1].parent
