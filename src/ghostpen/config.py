"""A run's settings: read from one TOML file, checked as a whole, frozen.

Owns the names, types, limits and defaults of every setting of a training run, and the one-line error for
each way to get one wrong. Must not read the environment or touch a model. Learning rates have defaults;
paths, names and authors have none.
"""

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ghostpen.errors import ConfigError

# TOML has no paths: a string is taken for one, everything else stays strict.
FilePath = Annotated[Path, Field(strict=False)]
# TOML's arrays become tuples, so that a frozen config really is; the items stay strict.
LayerNumbers = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


class DataConfig(_Section):
    """Say which texts are read, and how they become training samples."""

    dir: FilePath = Field(description="The folder that `ghostpen prepare` wrote.")
    sequence_length: int = Field(default=512, ge=32, description="Tokens in a training sample, at most.")
    harmony_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the training samples that are rendered as Harmony chats, not as raw text.",
    )


class ModelConfig(_Section):
    """Say which base model is loaded, and into what."""

    name: str = Field(min_length=1, description='The base model: a Hugging Face id, a folder, or "embedded:tiny".')
    revision: str | None = Field(default=None, description="Commit or tag of a Hugging Face id; None is the newest.")
    load_in_4bit: bool = Field(default=False, description="Load the base model's weights quantised to 4 bits.")
    precision: Literal["float32", "bfloat16"] = Field(
        default="bfloat16", description="Number format of the computation and of unquantised weights."
    )
    require_gpu: bool = Field(
        default=True, description="Refuse to run without a GPU: a silent CPU run on a paid GPU host is a bug."
    )
    gradient_checkpointing: Literal["offload", "recompute", "off"] | None = Field(
        default=None,
        description="Keep each layer's input only and compute the rest again for the backward pass; offload moves "
        "the inputs to the host's memory. None is offload with require_gpu, else off.",
    )

    @property
    def checkpointing(self) -> Literal["offload", "recompute", "off"]:
        """Give the gradient checkpointing in force."""
        return self.gradient_checkpointing or ("offload" if self.require_gpu else "off")


class LoraConfig(_Section):
    """Say which kinds of weights get an adapter, and how large it is."""

    rank: int | None = Field(
        default=None, ge=1, description="Rank of every adapter matrix; None is chosen by the amount of text."
    )
    alpha: float | None = Field(
        default=None, gt=0, description="Scale: the update counts alpha/rank. None is 2*rank."
    )
    attention: bool = Field(default=True, description="Adapt the attention projections.")
    experts: bool = Field(default=True, description="Adapt the expert weights.")
    router: bool = Field(default=False, description="Adapt the routers.")
    layers: LayerNumbers | None = Field(default=None, description="Numbers of the adapted layers; None is all.")

    @model_validator(mode="after")
    def _check_targets(self) -> "LoraConfig":
        if not (self.attention or self.experts or self.router):
            raise ValueError(
                "lora.attention, lora.experts and lora.router are all false: nothing would be trained; "
                "set at least one to true"
            )
        if self.layers is not None and len(set(self.layers)) != len(self.layers):
            raise ValueError(f"lora.layers {list(self.layers)} names a layer twice; name each once")
        if self.layers == ():
            raise ValueError("lora.layers is empty: nothing would be trained; leave it out to adapt all layers")
        return self

    @property
    def matrix_rank(self) -> int:
        """Give the rank in force: the set one, or that for a middling amount of text."""
        return 16 if self.rank is None else self.rank

    @property
    def scale_alpha(self) -> float:
        """Give the alpha in force: the set one, or twice the rank."""
        return 2.0 * self.matrix_rank if self.alpha is None else self.alpha


class TrainConfig(_Section):
    """Say how long, how fast and from which seed the adapter is trained."""

    max_steps: int | None = Field(default=None, ge=1, description="Optimiser steps; None is train.epochs passes.")
    epochs: float | None = Field(
        default=None, gt=0, description="Passes over the training text; None is chosen by the amount of text."
    )
    batch_size: int = Field(default=8, ge=1, description="Sequences in one forward pass, at most.")
    gradient_accumulation: int = Field(
        default=1,
        ge=1,
        description="Times train.batch_size, it is the sequences of an optimiser step, over all processes.",
    )
    learning_rate: float | None = Field(
        default=None, gt=0, description="Highest learning rate; None is chosen by the amount of text."
    )
    warmup_share: float = Field(
        default=0.05, ge=0, le=1, description="Share of the steps with a rising learning rate."
    )
    schedule: Literal["cosine", "constant", "linear"] | None = Field(
        default=None, description="Course of the learning rate after the warm-up; None is cosine."
    )
    optimizer: Literal["adamw", "adamw_8bit"] = Field(
        default="adamw",
        description="AdamW with states of 32 or of 8 bits; a CPU has 32 only and takes them for both.",
    )
    weight_decay: float = Field(default=0.0, ge=0, description="Weight decay of AdamW.")
    max_grad_norm: float = Field(default=1.0, gt=0, description="Gradients are scaled down to this norm.")
    max_grad_norm_jump: float = Field(
        default=100.0,
        ge=0,
        description="Stop where a gradient's norm is this many times the usual one (the last steps' median); "
        "0 never does.",
    )
    mixed_precision: bool = Field(
        default=True,
        description="Multiply matrices in bfloat16 while training, where the hardware does that natively; "
        "a perplexity is always measured in model.precision.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of initialisation and sample order.")
    eval_every: int | None = Field(
        default=None,
        ge=1,
        description="Steps between two measurements on the validation texts; None is a tenth of the run.",
    )
    checkpoint_every: int | None = Field(
        default=None, ge=1, description="Steps between two checkpoints; None is train.eval_every."
    )
    keep_checkpoints: int = Field(
        default=2, ge=1, description="Newest checkpoints that are kept, beside the best one."
    )
    patience: int = Field(
        default=4,
        ge=0,
        description="Stop after this many measurements without a better one on the author's validation text; "
        "0 never does.",
    )
    max_rises: int = Field(
        default=3,
        ge=0,
        description="Stop after this many measurements in a row, each worse than the one before; 0 never does.",
    )
    router_aux_loss_coef: float = Field(
        default=0.0,
        ge=0,
        description="Weight of the router's balance loss in training; never part of a perplexity.",
    )

    @model_validator(mode="after")
    def _check_length(self) -> "TrainConfig":
        if self.max_steps is not None and self.epochs is not None:
            raise ValueError("train.max_steps and train.epochs both say how long to train; set one of them")
        return self


class EvalConfig(_Section):
    """Say how perplexity is measured: windows of tokens that overlap, each token counted once."""

    window: int = Field(default=512, ge=2, description="Tokens that the model sees at once.")
    stride: int = Field(
        default=256, ge=1, description="Tokens from one window's start to the next; at most the window."
    )
    batch_size: int = Field(default=16, ge=1, description="Windows in one forward pass; does not change the result.")
    max_val_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Bytes per split that validation reads during training, spread over the sections; "
        "None is all, and `ghostpen test` always reads all.",
    )

    @model_validator(mode="after")
    def _check_stride(self) -> "EvalConfig":
        if self.stride > self.window:
            raise ValueError(
                f"eval.stride ({self.stride}) is larger than eval.window ({self.window}): tokens between two "
                "windows would not be counted; set eval.stride to at most eval.window"
            )
        return self


class TrackingConfig(_Section):
    """Say where the curves go, and what goes with them. Nothing here changes what is trained."""

    tracker: Literal["wandb", "tensorboard", "none"] = Field(
        default="wandb", description="Where the curves go beside metrics.jsonl, which is always written."
    )
    wandb_project: str = Field(default="ghostpen", min_length=1, description="Project in Weights & Biases.")
    samples: int = Field(
        default=1,
        ge=0,
        description="Held-out passages that are continued at every evaluation, into samples/step-N.txt; 0 is none.",
    )
    sample_words: int = Field(default=40, ge=1, description="Words of such a continuation, at most.")
    send_samples: bool = Field(
        default=False,
        description="Give the written samples to the tracker; each begins with words of a held-out text.",
    )
    send_adapter: bool = Field(
        default=False, description="Send the trained adapter to Weights & Biases as an artifact."
    )
    timeout_s: float = Field(
        default=60.0,
        gt=0,
        description="Seconds that the end of a training waits for the tracker, at most; large adapters "
        "(tracking.send_adapter) need more.",
    )


class OutputConfig(_Section):
    """Say where runs are written."""

    dir: FilePath = Field(default=Path("runs"), description="The folder that holds one folder per run.")


class RunConfig(_Section):
    """Hold every setting of a run; it is saved in the run's manifest."""

    name: str = Field(
        pattern=r"^[a-z0-9-]+$",
        description="The run's folder under output.dir, and its run id: a-z, 0-9 and hyphens.",
    )
    data: DataConfig
    model: ModelConfig
    lora: LoraConfig = LoraConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
    tracking: TrackingConfig = TrackingConfig()
    output: OutputConfig = OutputConfig()

    @model_validator(mode="before")
    @classmethod
    def _fill_sections(cls, values: Any) -> Any:
        """Let a section be left out, so that what is missing is named as a key, not as a section."""
        if not isinstance(values, Mapping):
            return values
        return {section: {} for section in _SECTIONS} | dict(values)

    @property
    def run_dir(self) -> Path:
        """Give the run's own folder."""
        return self.output.dir / self.name


_SECTIONS: dict[str, type[_Section]] = {
    name: field.annotation
    for name, field in RunConfig.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, _Section)
}
_DESCRIPTIONS: dict[str, str] = {
    "name": RunConfig.model_fields["name"].description or "",
    **{
        f"{section}.{key}": field.description or ""
        for section, model in _SECTIONS.items()
        for key, field in model.model_fields.items()
    },
}


def load_run_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a run's settings from a TOML file, with `section.key=value` overrides on top.

    An override's value is read as a TOML value (`8`, `true`, `[0, 1]`), or else as a plain string.

    Raises:
        ConfigError: the file can't be read, or a setting is unknown, missing or wrong.
    """
    values = _read_toml(path)
    for override in overrides:
        _apply_override(values, override)
    return build_run_config(values, where=str(path), overrides=overrides)


def load_inspected_config(path: Path | None, overrides: Sequence[str] = (), *, model: str) -> RunConfig:
    """Read the settings that decide an adapter's size and a run's memory; which texts are read decides neither.

    Raises:
        ConfigError: the file can't be read, or a setting is unknown or wrong.
    """
    values = {} if path is None else _read_toml(path)
    for override in overrides:
        _apply_override(values, override)
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
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        overridden = tuple(f"{override.partition('=')[0].strip()}." for override in overrides)
        messages = []
        for detail in error.errors(include_url=False):
            key = ".".join(part for part in detail["loc"] if isinstance(part, str))
            source = f"--set {key}" if any(name.startswith(f"{key}.") for name in overridden) else where
            messages.append(f"{source}: {_describe_problem(key, dict(detail))}")
        raise ConfigError("; ".join(dict.fromkeys(messages))) from error


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


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such config file; configs/ holds examples") from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path}: is a folder; name a TOML file in it") from error
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text; a config is a TOML file") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}") from error


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts) or len(parts) > 2:
        raise ConfigError(f'--set "{override}": write section.key=value, such as train.max_steps=100')
    *section, name = parts
    target = values
    if section:
        target = values.setdefault(section[0], {})
        if not isinstance(target, dict):
            raise ConfigError(f'--set "{override}": {section[0]} is a single setting, not a section')
    target[name] = _parse_value(text.strip())


def _parse_value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if set(parsed) == {"value"} else text  # a line break could smuggle in a second key


def _describe_problem(key: str, detail: Mapping[str, Any]) -> str:
    match detail["type"]:
        case "extra_forbidden":
            return f"{key} is not a setting{_suggest_key(key)}"
        case "missing":
            return (
                f"{key} is missing: {_DESCRIPTIONS.get(key, '')} Set it in the file{_locate_key(key)}, "
                f"or with --set {key}=..."
            )
        case "value_error":  # a check over several keys: its text names them
            return str(detail["ctx"]["error"])
        case "model_type":
            return f"{key} must be a section: write [{key}] and its settings below it"
        case "string_pattern_mismatch":
            return f'{key} is "{detail["input"]}": use only a-z, 0-9 and hyphens'
        case "tuple_type":
            return f"{key} must be a list of numbers, such as [0, 1], but is {_show_value(detail['input'])}"
        case "path_type":
            return f"{key} must be a path in quotes, but is {_show_value(detail['input'])}"
        case _:
            message = detail["msg"].removeprefix("Input ")
            return f"{key} {message}, but is {_show_value(detail['input'])}"


def _locate_key(key: str) -> str:
    section, dot, _ = key.partition(".")
    return f" under [{section}]" if dot else ", above the first section"


def _suggest_key(key: str) -> str:
    known = [*_DESCRIPTIONS, *_SECTIONS]
    if close := difflib.get_close_matches(key, known, n=1):
        return f"; did you mean {close[0]}?"
    section = key.partition(".")[0]
    if section in _SECTIONS:
        return f"; [{section}] has: {', '.join(_SECTIONS[section].model_fields)}"
    return f"; the sections are: {', '.join(_SECTIONS)}"


def _show_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
