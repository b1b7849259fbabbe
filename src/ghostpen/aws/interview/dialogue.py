"""The interview: one question at a time, and nothing written that was not shown before."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ghostpen.aws.interview.asker import Asker
from ghostpen.aws.interview.deploy_file import render_file
from ghostpen.aws.interview.github import WORKFLOWS, list_github_questions
from ghostpen.aws.interview.github_dialogue import GitHubDialogue
from ghostpen.aws.interview.known import read_known
from ghostpen.aws.interview.programs import Programs
from ghostpen.aws.interview.questions import (
    list_open_keys,
    list_questions,
    plan_questions,
    put_values,
    render_document,
    render_markdown,
)
from ghostpen.aws.interview.terminal import Terminal
from ghostpen.aws.settings import DeployConfig
from ghostpen.errors import ConfigError, Interrupted
from ghostpen.files import write_text_atomically
from ghostpen.settings import list_problems, parse_toml


def hold_interview(path: Path, *, environ: Mapping[str, str], terminal: Terminal, timeout_s: float) -> None:
    """Ask for what a deployment needs, write it to the file, and bring what workflows need to GitHub.

    Raises:
        ConfigError: the file or the environment is wrong, or something was left open.
        CloudError: gh refused something.
        Interrupted: by Ctrl-C; the message says what was kept.
    """
    programs = Programs(environ, timeout_s)
    asker = Asker(terminal, programs)
    values = ask_settings(path, environ=environ, terminal=terminal, asker=asker)
    GitHubDialogue(terminal, asker, programs).hold(values, workflows=WORKFLOWS)


def update_document(path: Path) -> None:
    """Put the questions into a document, between its marks.

    Raises:
        ConfigError: it is not there, or has no marks.
    """
    part = render_markdown([*list_questions(DeployConfig), *list_github_questions().values()])
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such document") from error
    write_text_atomically(render_document(text, part, where=str(path)), path)


def ask_settings(path: Path, *, environ: Mapping[str, str], terminal: Terminal, asker: Asker) -> dict[str, Any]:
    """Ask for what is open, and write it to the file.

    Returns:
        All that is known then, by section and name.

    Raises:
        ConfigError: the file or the environment is wrong, or something was left open.
        Interrupted: by Ctrl-C; the message says whether the answers so far were kept.
    """
    known = read_known(path, environ)
    if not known.planned:
        terminal.say(f"{path} and the environment have all that a deployment needs")
        return known.values
    terminal.say("What only you know is asked now, one thing at a time. Ctrl-C stops, and can keep the answers.")
    changes: dict[str, Any] = {}
    try:
        for item in known.planned:
            changes |= asker.ask(item, put_values(known.values, changes))
    except KeyboardInterrupt as error:
        raise _stop(path, changes, terminal) from error
    try:
        written = write_answers(path, changes, terminal)
    except KeyboardInterrupt as error:
        raise Interrupted("stopped; nothing was written") from error
    values = put_values(known.values, changes if written else {})
    still_open = ", ".join(list_open_keys(plan_questions(list_questions(DeployConfig), values)))
    problems = [problem for _, problem in list_problems(DeployConfig, values)]
    if problems:
        before = "" if written else "nothing was written; "
        raise ConfigError(f"{before}still open: {still_open or '; '.join(problems)}; run `ghostpen ask` again")
    return values


def write_answers(path: Path, changes: Mapping[str, Any], terminal: Terminal) -> bool:
    """Show what would be written to the file, and write it if the person says so.

    Raises:
        ConfigError: somebody has spoilt the file meanwhile.
    """
    if not changes:
        return False
    while True:
        before = _read_text(path)
        after = render_file(before, changes, root=DeployConfig)
        terminal.say()
        if before:
            shown = difflib.unified_diff(
                before.splitlines(), after.splitlines(), "as it is", "as it would be", lineterm=""
            )
        else:
            shown = iter(after.splitlines())
        for line in shown:
            terminal.say(f"  {line}")
        what = f"Change {path} like this?" if before else f"Write this to {path}?"
        if not terminal.confirm(what):
            return False
        if _read_text(path) == before:
            break
        terminal.say(f"{path} was changed meanwhile")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(after, path.resolve())
    terminal.say(f"{path} is written", style="green")
    return True


def _stop(path: Path, changes: Mapping[str, Any], terminal: Terminal) -> Interrupted:
    written = False
    if changes:
        terminal.say("\nStopped. The answers so far:")
        try:
            written = write_answers(path, changes, terminal)
        except KeyboardInterrupt:
            written = False
    if written:
        return Interrupted(f"stopped; the answers so far are in {path}, and `ghostpen ask` goes on from there")
    return Interrupted("stopped; nothing was written")


def _read_text(path: Path) -> str:
    if not path.exists():
        return ""
    content = path.read_bytes()
    parse_toml(content, where=str(path))
    return content.decode("utf-8-sig")
