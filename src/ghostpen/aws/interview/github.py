"""What the workflows read from GitHub: which variables and secrets, from which settings, and how they get there.

Values go to `gh` on its standard input alone: neither a process list nor a log shows them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostpen.aws.interview.programs import Programs
from ghostpen.aws.interview.questions import Question, get_value, list_questions
from ghostpen.aws.settings import LIST_REPOSITORIES, DeployConfig, declare, name_variable
from ghostpen.errors import CloudError
from ghostpen.redaction import redact
from ghostpen.settings import Root, Section, list_settings

WORKFLOWS = Path(".github/workflows")
_GIVEN_BY_GITHUB = {"GITHUB_TOKEN"}
_ROLE = r"^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$"
_LIST_ROLES = (
    "aws iam list-roles "
    "--query \"Roles[?contains(to_string(AssumeRolePolicyDocument), 'token.actions.githubusercontent.com')].Arn\""
)


class GitHubSection(Section):
    """Say what the workflows need beside a deployment's own settings. GitHub keeps it, no file does."""

    repository: str = declare(
        "The repository on GitHub whose workflows build and deploy.",
        find="It is in the repository's address: github.com/OWNER/NAME.",
        look_up="gh repo view --json nameWithOwner --jq .nameWithOwner",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$",
        write="write OWNER/NAME",
    )
    btr_role_arn: str = declare(
        "The role that build, test, release takes to write to the image repositories.",
        find="The template infra/ghostpen.yaml has it as an output; {} lists the roles that GitHub may take.",
        look_up=_LIST_ROLES,
        pattern=_ROLE,
        write="write arn:aws:iam::ACCOUNT:role/NAME",
        variable="AWS_BTR_ROLE_ARN",
    )
    deploy_role_arn: str = declare(
        "The role that a deployment takes.",
        find="The template infra/ghostpen.yaml has it as an output; {} lists the roles that GitHub may take.",
        look_up=_LIST_ROLES,
        pattern=_ROLE,
        write="write arn:aws:iam::ACCOUNT:role/NAME",
        variable="AWS_DEPLOY_ROLE_ARN",
    )
    cache_repository: str = declare(
        "The ECR repository for the layers of earlier builds, whose tags are overwritten: its name.",
        find="{}.",
        look_up=LIST_REPOSITORIES,
        pattern=r"^[a-z0-9]+([._/-][a-z0-9]+)*$",
        write="write the repository's name alone, such as team/ghostpen-cache",
        variable="ECR_CACHE_REPOSITORY",
    )
    environment: str = declare(
        "The environment whose jobs alone may read the secrets. Left out: every workflow of the repository may.",
        find="{}; deploy.yml names the one that its job is in.",
        look_up="gh api repos/{github.repository}/environments --jq '.environments[].name'",
        pattern=r"^[A-Za-z0-9._-]+$",
        write="write its name: letters, digits and . _ -",
        default="",
    )


class GitHubConfig(Root):
    """Hold the settings that are GitHub's."""

    github: GitHubSection


@dataclass(frozen=True)
class Used:
    """The names that workflows read."""

    variables: frozenset[str]
    secrets: frozenset[str]


def read_used(folder: Path) -> Used:
    """Read which variables and secrets the workflows in a folder use; none where there is no folder."""
    variables: set[str] = set()
    secrets: set[str] = set()
    for path in sorted(folder.glob("*.y*ml")):
        text = path.read_text(encoding="utf-8", errors="replace")
        variables |= set(re.findall(r"\bvars\.(\w+)", text))
        secrets |= set(re.findall(r"\bsecrets\.(\w+)", text))
    return Used(frozenset(variables), frozenset(secrets - _GIVEN_BY_GITHUB))


def list_github_questions() -> dict[str, Question]:
    """List the questions that are asked for GitHub's sake, by key."""
    return {question.key: question for question in list_questions(GitHubConfig)}


def map_variables() -> dict[str, str]:
    """Map each variable that a workflow may read to the key of the setting whose value it has."""
    own = {name_variable(key): key for key in list_settings(DeployConfig)}
    questions = (*list_questions(DeployConfig), *list_github_questions().values())
    return own | {question.variable: question.key for question in questions if question.variable}


def plan_variables(used: Iterable[str], values: Mapping[str, Any]) -> dict[str, str]:
    """Plan which variables get which value: those that are used and whose setting is known."""
    keys = map_variables()
    known = {name: get_value(values, keys[name]) for name in sorted(used) if name in keys}
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in known.items()
        if value is not None
    }


class GitHub:
    """Variables and secrets of one repository, through the `gh` program."""

    def __init__(self, programs: Programs, repository: str) -> None:
        """Take the repository as OWNER/NAME."""
        self._programs = programs
        self.repository = repository

    def read_variables(self) -> dict[str, str]:
        """Read the variables that there are.

        Raises:
            CloudError: gh can't say.
        """
        query = ".variables[] | [.name, .value] | @json"
        lines = self._list("actions/variables", query)
        return dict(json.loads(line) for line in lines)

    def read_secret_names(self, environment: str) -> set[str]:
        """Read the names of the secrets that there are; of the repository itself if `environment` is empty.

        Raises:
            CloudError: gh can't say, or there is no such environment.
        """
        place = f"environments/{environment}" if environment else "actions"
        return set(self._list(f"{place}/secrets", ".secrets[].name"))

    def set_variable(self, name: str, value: str) -> None:
        """Set a variable.

        Raises:
            CloudError: gh did not.
        """
        self._set(["variable", "set", name], value)

    def set_secret(self, name: str, value: str, *, environment: str) -> None:
        """Set a secret, of the repository itself if `environment` is empty.

        Raises:
            CloudError: gh did not.
        """
        try:
            self._set(["secret", "set", name, *(["--env", environment] if environment else [])], value)
        except CloudError as error:
            raise CloudError(redact(error.message, [value])) from None  # nothing of it in a traceback either

    def _list(self, path: str, query: str) -> list[str]:
        whole = f"repos/{self.repository}/{path}"
        try:
            return self._programs.run(["gh", "api", whole, "--paginate", "--jq", query]).splitlines()
        except CloudError as error:
            raise CloudError(f"{whole} could not be read: {error.message}") from error

    def _set(self, arguments: list[str], value: str) -> None:
        try:
            self._programs.run(["gh", *arguments, "--repo", self.repository], stdin=value)
        except CloudError as error:
            raise CloudError(f"{' '.join(arguments)}: {error.message}") from error
