"""The part of the interview that ends on GitHub: variables are shown before they are set, secrets are never shown."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ghostpen.aws.interview.asker import Asker
from ghostpen.aws.interview.github import (
    GitHub,
    Used,
    list_github_questions,
    map_variables,
    plan_variables,
    read_used,
)
from ghostpen.aws.interview.programs import Programs
from ghostpen.aws.interview.questions import OpenQuestion, get_value, plan_questions, put_values
from ghostpen.aws.interview.terminal import Terminal
from ghostpen.aws.secrets import collect_values
from ghostpen.errors import CloudError, ConfigError, Interrupted

_REPOSITORY, _ENVIRONMENT = "github.repository", "github.environment"


@dataclass
class GitHubDialogue:
    """Bring what the workflows need to GitHub."""

    terminal: Terminal
    asker: Asker
    programs: Programs
    done: list[str] = field(default_factory=list)  # names of what was set

    def hold(self, values: Mapping[str, Any], *, workflows: Path) -> None:
        """Ask whether to, and for what is missing, and set it.

        Args:
            values: the deployment's settings, by section and name.

        Raises:
            CloudError: gh refused something; the message says what was set before.
            Interrupted: by Ctrl-C; the same.
        """
        used = read_used(workflows)
        if not used.variables | used.secrets:
            self.terminal.say(
                f"No workflow in {workflows} reads variables or secrets: there is nothing to set on GitHub"
            )
            return
        if shutil.which("gh", path=self.programs.environ.get("PATH")) is None:
            self._say_by_hand(used, values)
            return
        try:
            if self.terminal.confirm("\nSet the variables and secrets that the workflows read on GitHub, with gh?"):
                self._hold(used, values)
        except KeyboardInterrupt as error:
            raise Interrupted(f"stopped; {self._tell_done()}") from error
        except CloudError as error:
            raise CloudError(f"{error.message}; {self._tell_done()}") from error

    def _hold(self, used: Used, values: Mapping[str, Any]) -> None:
        questions = list_github_questions()
        values = put_values(values, self.asker.ask(OpenQuestion(questions[_REPOSITORY]), values))
        repository = get_value(values, _REPOSITORY)
        if repository is None:
            return
        github = GitHub(self.programs, repository)
        present = github.read_variables()
        asked = [question for question in questions.values() if question.variable in used.variables]
        values = put_values(values, {question.key: present.get(question.variable) for question in asked})
        for item in plan_questions(asked, values):
            values = put_values(values, self.asker.ask(item, values))
        self._set_variables(github, used, present=present, wanted=plan_variables(used.variables, values))
        names = sorted({*used.secrets, *(get_value(values, "secrets.names") or ())})
        for name in [name for name in names if name not in used.secrets]:
            self.terminal.say(
                f"{name} is one of secrets.names, and no workflow hands it on (secrets.{name})", style="yellow"
            )
        if names:
            values = put_values(values, self.asker.ask(OpenQuestion(questions[_ENVIRONMENT]), values))
            self._set_secrets(github, names, environment=get_value(values, _ENVIRONMENT))

    def _set_variables(
        self, github: GitHub, used: Used, *, present: Mapping[str, str], wanted: Mapping[str, str]
    ) -> None:
        changes = {name: value for name, value in wanted.items() if present.get(name) != value}
        self.terminal.say()
        for name, value in wanted.items():
            before = f"instead of {present[name]}" if name in present else "new"
            self.terminal.say(f"  {name} = {value}  ({before if name in changes else 'as it is'})")
        for name in sorted(used.variables - set(map_variables()) - set(present)):
            self.terminal.say(f"  {name} is read by a workflow; ghostpen does not know it", style="yellow")
        for name in sorted(used.variables & set(map_variables()) & set(present) - set(wanted)):
            advice = f"to take it out: gh variable delete {name} --repo {github.repository}"
            self.terminal.say(f"  {name} is set on GitHub and left out here; {advice}", style="yellow")
        if not changes or not self.terminal.confirm(f"Set {', '.join(changes)} of {github.repository}?"):
            return
        for name, value in changes.items():
            github.set_variable(name, value)
            self.done.append(name)
        self.terminal.say(f"The variables of {github.repository} are set", style="green")

    def _set_secrets(self, github: GitHub, names: Sequence[str], *, environment: str) -> None:
        present = github.read_secret_names(environment)
        for name in names:
            self.terminal.say()
            self.terminal.say(
                f"{name}: a secret, {'set already' if name in present else 'not set yet'}", style="bold"
            )
            value = self._ask_secret(name)
            if value:
                github.set_secret(name, value, environment=environment)
                self.done.append(name)
                self.terminal.say(f"  {name} is set", style="green")

    def _ask_secret(self, name: str) -> str:
        """Take a secret from the environment, or ask for it; empty if it is left as it is."""
        offered = self.programs.environ.get(name, "")
        if offered and self.terminal.confirm("  Take the value that it has in your environment?"):
            value = offered
        else:
            value = self.terminal.ask_hidden("  value (not shown), Enter leaves it as it is: ")
        while value:
            try:
                return collect_values([name], {name: value})[name]
            except ConfigError as error:
                self.terminal.say(f"  {error.message}", style="yellow")
                value = self.terminal.ask_hidden("  value (not shown), Enter leaves it as it is: ")
        return ""

    def _say_by_hand(self, used: Used, values: Mapping[str, Any]) -> None:
        self.terminal.say(
            "gh is not installed (https://cli.github.com), so these are left for you to set on GitHub, under "
            "Settings > Secrets and variables > Actions:"
        )
        wanted = plan_variables(used.variables, values)
        questions = {question.variable: question for question in list_github_questions().values()}
        for name in sorted(used.variables):
            if name in wanted:
                self.terminal.say(f"  variable {name} = {wanted[name]}")
            elif name in questions:
                self.terminal.say(f"  variable {name}: {questions[name].what_for} {questions[name].find}")
        for name in sorted(used.secrets):
            self.terminal.say(f"  secret {name}")

    def _tell_done(self) -> str:
        return f"set on GitHub: {', '.join(self.done) or 'nothing'}; `ghostpen ask` goes on with the rest"
