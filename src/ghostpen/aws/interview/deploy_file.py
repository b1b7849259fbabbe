"""The file of a deployment's settings, as text: answers go in, all else stays as it was. Pure.

The line of a setting is replaced, or the commented one that waits for it; a new one goes to the end of its section.
"""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from ghostpen.aws.interview.questions import put_values
from ghostpen.settings import Root, list_settings


def render_file(text: str, changes: Mapping[str, Any], *, root: type[Root]) -> str:
    """Put changes, by key, into the text of a file; None takes a value out.

    A file that is laid out in a way that this can't follow is written anew, with its values and without its comments.
    """
    if "\r\n" in text:
        return render_file(text.replace("\r\n", "\n"), changes, root=root).replace("\n", "\r\n")
    wanted = put_values(tomllib.loads(text), changes)
    descriptions = {key: str(field.description) for key, field in list_settings(root).items()}
    changed = text
    for key, value in changes.items():
        changed = _change_setting(changed, key, value, comment=descriptions[key])
    return changed if _parse(changed) == wanted else _render_anew(wanted, descriptions)


def _render_anew(values: Mapping[str, Any], descriptions: Mapping[str, str]) -> str:
    text = ""
    for section, inner in values.items():
        for name, value in inner.items():
            key = f"{section}.{name}"
            text = _change_setting(text, key, value, comment=descriptions[key])
    return text


def _change_setting(text: str, key: str, value: Any, *, comment: str) -> str:
    section, _, name = key.partition(".")
    lines = text.split("\n")
    start, end = _find_section(lines, section)
    setting = None if value is None else f"{name} = {_render_value(value)}"
    for index in range(start, end):
        if re.match(rf"\s*{name}\s*=", lines[index]):
            after = _find_end(lines, index)
            lines[index:after] = [] if setting is None else [setting + _find_comment(lines[index])]
            return "\n".join(lines)
    if setting is None:
        return text
    for index in range(start, end):
        if re.match(rf"#\s*{name}\s*=", lines[index]):
            lines[index] = setting + _find_comment(lines[index].removeprefix("#"))
            return "\n".join(lines)
    added = [f"# {comment}", setting]
    if start == end == 0:
        blank = [""] if text.strip() else []
        return "\n".join([*text.rstrip("\n").split("\n"), *blank, f"[{section}]", *added, ""]).lstrip("\n")
    while end > start and not lines[end - 1].strip():
        end -= 1
    lines[end:end] = added if end < len(lines) else [*added, ""]
    return "\n".join(lines)


def _find_section(lines: list[str], section: str) -> tuple[int, int]:
    """Find the lines below a section's heading; 0, 0 where there is none."""
    headings = [index for index, line in enumerate(lines) if re.match(r"\s*\[", line)]
    for index, following in itertools.pairwise([*headings, len(lines)]):
        if re.fullmatch(rf"\s*\[\s*{section}\s*\]\s*(#.*)?", lines[index]):
            return index + 1, following
    return 0, 0


def _find_end(lines: list[str], start: int) -> int:
    """Find the line after a setting, whose value may take several."""
    for end in range(start + 1, len(lines) + 1):
        if _parse("\n".join(lines[start:end])) is not None:
            return end
    return start + 1


def _find_comment(line: str) -> str:
    """Give the comment at the end of a setting's line, with the blanks before it."""
    for mark in re.finditer("#", line):
        before = line[: mark.start()]
        if _parse(before) == _parse(line):
            return line[len(before.rstrip()) :].rstrip()
    return ""


def _parse(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _render_value(value: Any) -> str:
    # JSON of texts, numbers, truth values and lists is TOML, too; the settings allow no control characters.
    return json.dumps(value, ensure_ascii=False)
