"""One question put to a person: what it is for, what was found, and the answer checked by the setting's own rules."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from ghostpen.aws.interview.look_ups import LookUps, Proposal
from ghostpen.aws.interview.programs import Programs
from ghostpen.aws.interview.questions import OpenQuestion, is_needed, read_answer
from ghostpen.aws.interview.terminal import Terminal
from ghostpen.errors import ConfigError


class Asker:
    """Put questions to a person, with proposals if the person allows looking for them."""

    def __init__(self, terminal: Terminal, programs: Programs) -> None:
        """Take the person, and how the programs are run that know more."""
        self._terminal = terminal
        self._programs = programs
        self._look_ups: LookUps | None = None

    def ask(self, item: OpenQuestion, values: Mapping[str, Any]) -> dict[str, Any]:
        """Ask until there is an answer that the setting's rules allow.

        Returns:
            What changes, by key; nothing if the person leaves it open.
        """
        question, say = item.question, self._terminal.say
        proposals = self._find(item, values)
        say()
        say(question.title, style="bold")
        say(f"  {question.what_for}")
        say(f"  To find it: {question.find}", style="dim")
        if question.instead:
            say(f"  {question.instead} may be given in its place", style="dim")
        if item.reason:
            say(f"  Now: {item.reason}", style="yellow")
        choice = "number or value" if proposals else "value"
        prompt = f"  {choice}, Enter {'leaves it open' if is_needed(question) else 'for none'}: "
        while True:
            answer = self._terminal.ask_with_proposals(prompt, proposals)
            if not answer:
                default = question.default
                return {} if is_needed(question) else {question.key: list(default) if question.is_list else default}
            try:
                changes = read_answer(question, answer)
            except ConfigError as error:
                say(f"  {error.message}", style="yellow")
                continue
            for key, value in changes.items():
                if value is not None:
                    say(f"  {key} is {value}", style="green")
            return changes

    def _find(self, item: OpenQuestion, values: Mapping[str, Any]) -> list[Proposal]:
        if self._look_ups is None:
            self._look_ups = self._offer_look_ups()
        return self._look_ups.find(item.question, values)

    def _offer_look_ups(self) -> LookUps:
        path = self._programs.environ.get("PATH")
        names = [name for name in ("aws", "gh") if shutil.which(name, path=path)]
        if names:
            tools = " and ".join(names)
            plural = "s" if len(names) > 1 else ""
            self._terminal.say("Values can be proposed from your account; each is yours to confirm.")
            if not self._terminal.confirm(f"May I look it up with the {tools} program{plural}? This only reads."):
                names = []
        return LookUps(self._programs, names, note=lambda text: self._terminal.say(f"  {text}", style="dim"))
