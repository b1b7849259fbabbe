"""How settings are read: TOML files, overrides on top, one line of error for each way to get one wrong.

Owns what both roots of settings (`ghostpen.config.RunConfig`, `ghostpen.aws.settings.DeployConfig`) have in common,
so that both speak alike. Must not know a single setting, nor read the environment.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ghostpen.errors import ConfigError


class Section(BaseModel):
    """Hold settings under one heading: frozen, complete, of the right types, none unknown.

    A field's `description` is shown where it is missing; `json_schema_extra` may add how to find its value ("find"),
    which characters it takes ("write"), and what a list looks like ("example"). `ghostpen ask` reads more there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


class Root(Section):
    """Hold the sections of one file."""

    @model_validator(mode="before")
    @classmethod
    def _fill_sections(cls, values: Any) -> Any:
        """Let a section be left out, so that what is missing is named as a key, not as a section."""
        if not isinstance(values, Mapping):
            return values
        return {section: {} for section in list_sections(cls)} | dict(values)


RootT = TypeVar("RootT", bound=Root)


def list_sections(root: type[Root]) -> dict[str, type[Section]]:
    """List the sections of a root by name."""
    return {
        name: field.annotation
        for name, field in root.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def list_settings(root: type[Root]) -> dict[str, Any]:
    """List the fields of a root's settings as pydantic keeps them, by key: `section.name`, or `name`."""
    sections = list_sections(root)
    plain = {name: field for name, field in root.model_fields.items() if name not in sections}
    return plain | {
        f"{section}.{name}": field
        for section, model in sections.items()
        for name, field in model.model_fields.items()
    }


def read_toml(path: Path) -> dict[str, Any]:
    """Read a file of settings.

    Raises:
        ConfigError: it is not there, can't be read, or is not TOML.
    """
    return parse_toml(read_bytes(path), where=str(path))


def read_bytes(path: Path) -> bytes:
    """Read a file of settings as it is.

    Raises:
        ConfigError: it is not there, or can't be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such config file; configs/ holds examples") from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path}: is a folder; name a TOML file in it") from error
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error


def parse_toml(content: bytes, *, where: str) -> dict[str, Any]:
    """Read the content of a file of settings; `where` names it in an error.

    Raises:
        ConfigError: it is not TOML.
    """
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: is not UTF-8 text; a config is a TOML file") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: is not valid TOML: {error}") from error


def apply_overrides(values: dict[str, Any], overrides: Sequence[str], *, root: type[Root]) -> None:
    """Put `section.key=value` overrides into what was read from a file.

    A value is read as a TOML value (`8`, `true`, `[0, 1]`), or else as a plain string; where a setting takes a text,
    12 is "12".

    Raises:
        ConfigError: one is not written so.
    """
    texts = {key for key, field in list_settings(root).items() if _takes_text(field.annotation)}
    for override in overrides:
        key, equals, text = override.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts) or len(parts) > 2:
            raise ConfigError(f'--set "{override}": write section.key=value')
        *section, name = parts
        target = values
        if section:
            target = values.setdefault(section[0], {})
            if not isinstance(target, dict):
                raise ConfigError(f'--set "{override}": {section[0]} is a single setting, not a section')
        parsed = _parse_value(text.strip())
        target[name] = text.strip() if key.strip() in texts and not isinstance(parsed, str) else parsed


def build_settings(
    root: type[RootT],
    values: Mapping[str, Any],
    *,
    where: str = "config",
    overrides: Sequence[str] = (),
    sources: Mapping[str, str] | None = None,
) -> RootT:
    """Check settings that were read already.

    Args:
        where: names them in an error. overrides: those that came from --set. sources: where others came from, by key.

    Raises:
        ConfigError: settings are unknown, missing or wrong: one message for all of them.
    """
    try:
        return root.model_validate(values)
    except ValidationError as error:
        overridden = [override.partition("=")[0].strip() for override in overrides]
        named = {**(sources or {}), **{key: f"--set {key}" for key in overridden}}
        messages = []
        for key, problem in _describe_problems(root, error):
            section = next((f"--set {key}" for name in overridden if name.startswith(f"{key}.")), where)
            messages.append(f"{named.get(key, section)}: {problem}")
        raise ConfigError("; ".join(dict.fromkeys(messages))) from error


def list_problems(root: type[Root], values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List what is wrong with settings: the key of each, and what to write there. What is missing is wrong, too."""
    try:
        root.model_validate(values)
    except ValidationError as error:
        return _describe_problems(root, error)
    return []


def _parse_value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if set(parsed) == {"value"} else text  # a line break could smuggle in a second key


def _describe_problems(root: type[Root], error: ValidationError) -> list[tuple[str, str]]:
    problems = []
    for detail in error.errors(include_url=False):
        key = ".".join(part for part in detail["loc"] if isinstance(part, str))
        problems.append((key, _describe_problem(root, key, dict(detail))))
    return problems


def _describe_problem(root: type[Root], key: str, detail: Mapping[str, Any]) -> str:
    field = list_settings(root).get(key)
    extra = getattr(field, "json_schema_extra", None) or {}
    match detail["type"]:
        case "extra_forbidden":
            return f"{key} is not a setting{_suggest_key(root, key)}"
        case "missing":
            find = f" {extra['find']}" if "find" in extra else ""
            return (
                f"{key} is missing: {field.description if field else ''}{find} Set it in the file{_locate_key(key)}, "
                f"or with --set {key}=..."
            )
        case "value_error":  # a check over several keys: its text names them
            return str(detail["ctx"]["error"])
        case "model_type":
            return f"{key} must be a section: write [{key}] and its settings below it"
        case "string_pattern_mismatch":
            return f'{key} is "{detail["input"]}": {extra.get("write", "it is not written so")}'
        case "tuple_type":
            example = extra.get("example", "a list of numbers, such as [0, 1]")
            return f"{key} must be {example}, but is {_show(detail['input'])}"
        case "path_type":
            return f"{key} must be a path in quotes, but is {_show(detail['input'])}"
        case _:
            message = detail["msg"].removeprefix("Input ")
            return f"{key} {message}, but is {_show(detail['input'])}"


def _takes_text(annotation: Any) -> bool:
    return set(get_args(annotation) or (annotation,)) <= {str, type(None)}


def _locate_key(key: str) -> str:
    section, dot, _ = key.partition(".")
    return f" under [{section}]" if dot else ", above the first section"


def _suggest_key(root: type[Root], key: str) -> str:
    sections = list_sections(root)
    if close := difflib.get_close_matches(key, [*list_settings(root), *sections], n=1):
        return f"; did you mean {close[0]}?"
    section = key.partition(".")[0]
    if section in sections:
        return f"; [{section}] has: {', '.join(sections[section].model_fields)}"
    return f"; the sections are: {', '.join(sections)}"


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
