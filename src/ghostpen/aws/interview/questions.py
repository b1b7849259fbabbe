"""What the owner is asked: every question comes from a setting's own text, and so does the check of its answer.

Pure. What it says is printed by `ghostpen ask`, at a terminal or as a list, and stands in docs/questions.md.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_origin

from ghostpen.aws.settings import DEFAULT_FILE, DeployConfig, name_variable
from ghostpen.errors import ConfigError
from ghostpen.settings import Root, apply_overrides, list_problems, list_settings

BEGIN_MARK = "<!-- begin: ghostpen ask --markdown -->"
END_MARK = "<!-- end: ghostpen ask --markdown -->"
_WIDTH = 120


@dataclass(frozen=True)
class Question:
    """A setting that has to be asked for."""

    root: type[Root]
    key: str
    what_for: str
    find: str
    look_up: str
    proposal: str
    instead: str  # the key of a setting that the answer may be for, in place of this one
    variable: str  # of GitHub
    is_list: bool
    default: Any  # None: it has to be answered

    @property
    def title(self) -> str:
        """Name it as the person who answers will meet it again."""
        return self.variable if self.variable and self.root is not DeployConfig else self.key

    @property
    def keys(self) -> tuple[str, ...]:
        """List the settings that the answer may be for."""
        return (self.key, self.instead) if self.instead else (self.key,)


@dataclass(frozen=True)
class OpenQuestion:
    """A question that has to be put."""

    question: Question
    reason: str = ""  # why the value that is there won't do


def list_questions(root: type[Root]) -> list[Question]:
    """List the questions of a root: the settings whose text says how to find their value."""
    return [
        Question(
            root=root,
            key=key,
            what_for=field.description,
            find=extra["find"],
            look_up=extra.get("look_up", ""),
            proposal=extra.get("proposal", "{}"),
            instead=extra.get("instead", ""),
            variable=extra.get("variable", ""),
            is_list=get_origin(field.annotation) is tuple,
            default=None if field.is_required() else field.default,
        )
        for key, field in list_settings(root).items()
        if "find" in (extra := field.json_schema_extra or {})
    ]


def get_value(values: Mapping[str, Any], key: str) -> Any:
    """Give the value of `section.name`; None where it is not set."""
    section, _, name = key.partition(".")
    inner = values.get(section)
    return inner.get(name) if isinstance(inner, Mapping) else None


def put_values(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Put changes, by `section.name`, over values; None takes one out. What was given stays as it is."""
    merged = {name: dict(inner) if isinstance(inner, Mapping) else inner for name, inner in values.items()}
    for key, value in changes.items():
        section, _, name = key.partition(".")
        if value is not None:
            merged.setdefault(section, {})[name] = value
        elif isinstance(merged.get(section), dict):
            merged[section].pop(name, None)
    return merged


def plan_questions(questions: Iterable[Question], values: Mapping[str, Any]) -> list[OpenQuestion]:
    """Plan what is asked: what is not set, set wrongly, or set twice."""
    planned = []
    for question in questions:
        problems = dict(list_problems(question.root, values))
        given = [key for key in question.keys if get_value(values, key) is not None]
        wrong = [problems[key] for key in given if key in problems]
        if len(given) > 1:
            wrong.append(f"{' and '.join(given)} are both set, and only one of them can be")
        if not given or wrong:
            planned.append(OpenQuestion(question, "; ".join(wrong)))
    return planned


def is_needed(question: Question) -> bool:
    """Tell whether nothing can be deployed without an answer."""
    return question.default is None


def list_open_keys(planned: Iterable[OpenQuestion]) -> list[str]:
    """List the settings without an answer to which nothing can be deployed."""
    return [item.question.key for item in planned if is_needed(item.question) or item.reason]


def read_answer(question: Question, text: str) -> dict[str, Any]:
    """Read an answer by the rules of the setting that it is for.

    Returns:
        What changes, by key; None takes a value out.

    Raises:
        ConfigError: it breaks them; the message says what to write.
    """
    text = text.strip()
    if question.is_list and not text.startswith("["):
        text = json.dumps(re.split(r"[,\s]+", text))
    problems = []
    for key in question.keys:
        values: dict[str, Any] = {}
        apply_overrides(values, [f"{key}={text}"], root=question.root)
        found = [problem for at, problem in list_problems(question.root, values) if at == key]
        if not found:
            return {other: None for other in question.keys if other != key} | {key: get_value(values, key)}
        problems.append(found[0])
    raise ConfigError("; ".join(problems))


def locate_setting(question: Question, path: Path = DEFAULT_FILE) -> str:
    """Say where an answer can be written by hand."""
    if question.root is not DeployConfig:
        return f"GitHub's variable {question.variable}" if question.variable else "asked for when it is needed"
    section, _, name = question.key.partition(".")
    where = f"{name} = ... below [{section}] in {path}, or {name_variable(question.key)} in the environment"
    if question.instead:
        where += f"; or {question.instead} in its place"
    return f"{where}; GitHub's variable {question.variable}" if question.variable else where


def render_open(planned: Sequence[OpenQuestion], path: Path) -> str:
    """Render the list for where there is no terminal to ask at."""
    blocks = []
    for item in planned:
        lines = [
            item.question.key,
            f"  what for:  {item.question.what_for}",
            f"  to find:   {item.question.find}",
            f"  to set:    {locate_setting(item.question, path)}",
        ]
        blocks.append("\n".join([*lines, f"  wrong:     {item.reason}"] if item.reason else lines))
    return "\n\n".join(blocks)


def render_markdown(questions: Iterable[Question]) -> str:
    """Render the questions as a part of docs/questions.md."""
    blocks = []
    for question in questions:
        points = {"What for": question.what_for, "How to find it": question.find}
        points["Where to set it"] = locate_setting(question)
        if not is_needed(question):
            points["Until then"] = "left out"
        lines = [_wrap(f"- **{point}:** {text.rstrip('.')}.") for point, text in points.items()]
        blocks.append("\n".join([f"### `{question.title}`", *lines]))
    return "\n\n".join(blocks)


def render_document(text: str, part: str, *, where: str) -> str:
    """Put the generated part between the marks of a document.

    Raises:
        ConfigError: the marks are not there, once each and in this order.
    """
    before, begin, rest = text.partition(BEGIN_MARK)
    _, end, after = rest.partition(END_MARK)
    if not (begin and end) or BEGIN_MARK in rest or END_MARK in before + after:
        raise ConfigError(f"{where} does not hold the lines {BEGIN_MARK} and {END_MARK}, between which questions go")
    return f"{before}{begin}\n\n{part}\n\n{end}{after}"


def _wrap(text: str) -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
