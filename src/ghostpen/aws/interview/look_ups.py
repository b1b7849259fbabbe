"""Proposals for answers, read from the owner's account with the `aws` and `gh` programs, if the owner allows it.

A look-up never fails the interview, and what it finds is never taken without a word of the person who is asked.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ghostpen.aws.interview.programs import Programs
from ghostpen.aws.interview.questions import Question, get_value, read_answer
from ghostpen.aws.settings import SHOW_ACCOUNT
from ghostpen.errors import CloudError, ConfigError

# The template names, in the description of each output, the settings that it is for.
LIST_OUTPUTS = "aws cloudformation describe-stacks --query 'Stacks[].[StackName,Outputs]'"
_REGION, _ACCOUNT = "aws.region", "aws.account_id"


@dataclass(frozen=True)
class Proposal:
    """A value that was found, and where, if that says more than the command."""

    value: str
    source: str = ""


class LookUps:
    """Find values that the person who is asked may choose from."""

    def __init__(self, programs: Programs, names: Iterable[str], *, note: Callable[[str], None]) -> None:
        """Take the names of the programs that may be used, and what tells the person what is done."""
        self._programs = programs
        self._allowed = set(names)
        self._note = note
        self._answers: dict[str, str] = {}

    def find(self, question: Question, values: Mapping[str, Any]) -> list[Proposal]:
        """Find values for a setting, by those that are known; none is fine."""
        found = []
        if question.key not in (_REGION, _ACCOUNT):
            found = find_outputs(self._ask(LIST_OUTPUTS, values), question)
        command = fill_in(question.look_up, values)
        answer = self._ask(command, values) if command else ""
        found += [Proposal(question.proposal.format(value)) for value in parse_values(answer)]
        fitting: dict[str, Proposal] = {}
        for proposal in found:
            if _fits(question, proposal.value):
                fitting.setdefault(proposal.value, proposal)
        if answer and not fitting:
            self._note("there is none that would do")
        return list(fitting.values())

    def _ask(self, command: str, values: Mapping[str, Any]) -> str:
        """Give a command's answer, or nothing where there is none."""
        if command.split()[0] not in self._allowed:
            return ""
        if command.startswith("aws ") and not command.startswith("aws configure "):
            region = get_value(values, _REGION)
            if region is None or (command != SHOW_ACCOUNT and not self._is_account(values)):
                return ""
            command += f" --region {shlex.quote(region)} --output json"
        if command not in self._answers:
            self._answers[command] = self._run(command)
        return self._answers[command]

    def _run(self, command: str) -> str:
        self._note(f"$ {command}")
        arguments = shlex.split(command)
        try:
            return self._programs.run(arguments)
        except CloudError as error:
            self._note(f"not looked up: {error.message}")
            if error.passing:  # or every question would take this long
                self._forbid(arguments[0], f"{arguments[0]} is not asked again")
            return ""

    def _is_account(self, values: Mapping[str, Any]) -> bool:
        """Make sure that what is proposed belongs to the account that was named."""
        wanted, found = get_value(values, _ACCOUNT), parse_values(self._ask(SHOW_ACCOUNT, values))
        if wanted is None:
            return False
        if found != [wanted]:
            used = f"account {found[0]}" if found else "no account that it names"
            self._forbid("aws", f"aws is signed in to {used}, not to {wanted}: nothing is looked up there")
        return found == [wanted]

    def _forbid(self, name: str, note: str) -> None:
        if name in self._allowed:
            self._allowed.remove(name)
            self._note(note)


def fill_in(look_up: str, values: Mapping[str, Any]) -> str:
    """Put known values into a command; nothing where one that it needs is not known."""
    needed = re.findall(r"\{(\w+\.\w+)\}", look_up)
    known = {key: get_value(values, key) for key in needed}
    if None in known.values():
        return ""
    return re.sub(r"\{(\w+\.\w+)\}", lambda match: shlex.quote(str(known[match[1]])), look_up)


def parse_values(answer: str) -> list[str]:
    """Read values from a program's answer: JSON of one or several, or one a line."""
    try:
        parsed = json.loads(answer)
    except json.JSONDecodeError:
        return [line.strip() for line in answer.splitlines() if line.strip()]
    return [str(value) for value in (parsed if isinstance(parsed, list) else [parsed]) if value is not None]


def find_outputs(answer: str, question: Question) -> list[Proposal]:
    """Find the outputs of stacks whose description names the setting, or its variable of GitHub."""
    names = [re.escape(name) for name in (*question.keys, question.variable) if name]
    pattern = re.compile(rf"(?<![\w.])(?:{'|'.join(names)})(?!\w|\.\w)")
    return [
        Proposal(str(output.get("OutputValue", "")), f"output of the stack {stack}")
        for stack, outputs in (json.loads(answer) if answer else ())
        for output in outputs or ()
        if pattern.search(output.get("Description", ""))
    ]


def _fits(question: Question, value: str) -> bool:
    try:
        read_answer(question, value)
    except ConfigError:
        return False
    return True
