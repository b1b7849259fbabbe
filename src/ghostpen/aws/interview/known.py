"""What is known of a deployment's settings, and so what is open: as a list, where nobody is there to answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostpen.aws.interview.questions import OpenQuestion, list_open_keys, list_questions, plan_questions, render_open
from ghostpen.aws.settings import DeployConfig, apply_environment
from ghostpen.errors import ConfigError
from ghostpen.settings import list_problems, read_toml


@dataclass(frozen=True)
class Known:
    """What is known before anything was asked."""

    values: dict[str, Any]  # the environment over the file
    planned: tuple[OpenQuestion, ...]


def read_known(path: Path, environ: Mapping[str, str]) -> Known:
    """Read what the file and the environment say, and plan what has to be asked.

    Raises:
        ConfigError: the file can't be read, or holds what no answer would put right; or the environment is wrong.
    """
    values = read_toml(path) if path.exists() else {}
    sources = apply_environment(values, environ)
    planned = plan_questions(list_questions(DeployConfig), values)
    for item in planned:
        given = [sources[key] for key in item.question.keys if key in sources]
        if given and item.reason:
            raise ConfigError(f"{' and '.join(given)}: {item.reason}; put the environment right first")
    asked = {key for question in list_questions(DeployConfig) for key in question.keys}
    sections = {key.partition(".")[0] for key in asked}
    wrong = [
        f"{sources.get(key, path)}: {problem}"
        for key, problem in list_problems(DeployConfig, values)
        # What holds between settings of a section can only be judged when all are there.
        if key not in asked and not (key in sections and isinstance(values.get(key, {}), Mapping))
    ]
    if wrong:
        raise ConfigError("; ".join(wrong))
    return Known(values, tuple(planned))


def print_open(path: Path, *, environ: Mapping[str, str], show: Callable[[str], None]) -> None:
    """Say what would be asked, where nobody is there to answer.

    Raises:
        ConfigError: something is open.
    """
    known = read_known(path, environ)
    open_keys = list_open_keys(known.planned)
    if not open_keys:
        show(f"{path} and the environment have all that a deployment needs")
        return
    show(render_open(known.planned, path))
    raise ConfigError(
        f"still open: {', '.join(open_keys)}; run `ghostpen ask` at a terminal, or set each where the list says"
    )
