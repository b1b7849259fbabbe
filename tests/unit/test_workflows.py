"""The house's rules for GitHub's workflows; each holds for every workflow that there is."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ghostpen.aws.ending import TIDY_S
from ghostpen.aws.settings import ENVIRONMENT_PREFIX, DeployConfig, TimeoutsConfig
from ghostpen.aws.steps import VERIFY_S
from ghostpen.aws.waiting import INSIST_S
from ghostpen.settings import list_settings

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.y*ml"))
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
LONG_LIVED = re.compile(r"AKIA|access[-_]key[-_]id|secret[-_]access[-_]key|session[-_]token", re.IGNORECASE)
GIVEN_BY_GITHUB = {"GITHUB_TOKEN"}

each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def find_unpinned(text: str) -> list[str]:
    """Find the actions of others that are not named by a commit, with their version in a comment."""
    uses = re.findall(r"^\s*(?:- )?uses:\s*(.*?)\s*$", text, re.MULTILINE)
    return [action for action in uses if not action.startswith("./") and not PINNED.fullmatch(action)]


def find_variables(text: str) -> set[str]:
    """Find the repository's variables that a workflow uses."""
    return set(re.findall(r"\bvars\.(\w+)", text))


def find_secrets(text: str) -> set[str]:
    """Find the repository's secrets that a workflow uses."""
    return set(re.findall(r"\bsecrets\.(\w+)", text)) - GIVEN_BY_GITHUB


def list_optional() -> set[str]:
    """List the variables of a deployment's settings that have a default: a workflow may do without them."""
    fields = list_settings(DeployConfig).items()
    names = {key: ENVIRONMENT_PREFIX + key.upper().replace(".", "_") for key, _ in fields}
    return {names[key] for key, field in fields if not field.is_required()}


def find_scripts(text: str) -> set[str]:
    """Find the project's scripts that a workflow calls."""
    return set(re.findall(r"(?<![\w/.-])scripts/[\w-]+", text))


def read_jobs(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]


def read_required(path: Path) -> set[str]:
    """Read the names that a workflow's first command requires, each with a text and the value of the same name."""
    job = next(iter(read_jobs(path).values()))
    first = next(step for step in job["steps"] if "run" in step)
    assert first["run"].startswith("scripts/require-settings"), "the first command must name every missing setting"
    required = set(re.findall(r"(\w+)='[^']+'", first["run"]))
    for name in required:
        assert {**job.get("env", {}), **first["env"]}[name] == f"${{{{ vars.{name} }}}}"
    return required


def test_workflows_are_there() -> None:
    assert {"btr.yml", "deploy.yml"} <= {path.name for path in WORKFLOWS}


@pytest.mark.parametrize(
    "line",
    [
        "uses: actions/checkout@v7",
        "- uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1",
        "uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7",
        "uses: actions/checkout@3d3c42e # v7.0.1",
        "uses: docker://alpine:3",
    ],
)
def test_action_without_full_commit_and_version_is_found(line: str) -> None:
    assert len(find_unpinned(f"steps:\n  {line}\n")) == 1


def test_action_with_commit_and_version_or_of_this_repository_is_not_found() -> None:
    pinned = "uses: a-b/c.d/e@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1"
    assert find_unpinned(f"steps:\n  - {pinned}\n  - name: x\n    {pinned}\n  - uses: ./.github/actions/x\n") == []


def test_variables_secrets_and_scripts_are_found_wherever_they_stand() -> None:
    text = (
        "if: vars.A && secrets.B_2\nwith: { token: '${{ secrets.GITHUB_TOKEN }}' }\nrun: A=1 scripts/a-b; x/scripts/c"
    )
    assert find_variables(text) == {"A"}
    assert find_secrets(text) == {"B_2"}
    assert find_scripts(text) == {"scripts/a-b"}


@each_workflow
def test_workflow_says_first_why_it_exists(path: Path) -> None:
    assert re.match(r"# \S.{40,}", path.read_text(encoding="utf-8"))


@each_workflow
def test_workflow_pins_every_action(path: Path) -> None:
    assert find_unpinned(path.read_text(encoding="utf-8")) == []


@each_workflow
def test_workflow_gives_permissions_to_jobs_alone(path: Path) -> None:
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["permissions"] == {}
    for name, job in read_jobs(path).items():
        assert isinstance(job.get("permissions"), dict), f"job {name} must say what it may do"
        assert job["permissions"].get("contents") in (None, "read")


@each_workflow
def test_workflow_knows_no_long_lived_key(path: Path) -> None:
    assert LONG_LIVED.findall(path.read_text(encoding="utf-8")) == []


def test_optional_are_the_settings_with_a_default() -> None:
    optional = list_optional()
    assert {"GHOSTPEN_SECRETS_NAMES", "GHOSTPEN_TIMEOUTS_POLL_S", "GHOSTPEN_IMAGE_TAG"} <= optional
    assert "GHOSTPEN_GROUP_NAME" not in optional


@each_workflow
def test_workflow_requires_every_variable_that_it_can_not_do_without_in_its_first_command(path: Path) -> None:
    needed = find_variables(path.read_text(encoding="utf-8")) - list_optional()
    assert needed == (read_required(path) if needed else set())


@each_workflow
def test_workflow_gives_a_secret_to_single_steps_alone_by_its_own_name(path: Path) -> None:
    given = 0
    for job in read_jobs(path).values():
        for step in job["steps"]:
            for name, value in step.get("env", {}).items():
                given += len(find_secrets(str(value)))
                assert find_secrets(str(value)) <= {name}
    assert given == len(re.findall(r"\bsecrets\.", path.read_text(encoding="utf-8")))


@each_workflow
def test_workflow_calls_scripts_that_people_can_call(path: Path) -> None:
    scripts = find_scripts(path.read_text(encoding="utf-8"))
    assert scripts
    for script in scripts:
        assert os.access(ROOT / script, os.X_OK), script
        assert 3 <= len((ROOT / script).read_text(encoding="utf-8").splitlines()) <= 20, script


@each_workflow
def test_workflow_has_a_deadline_for_every_job(path: Path) -> None:
    for name, job in read_jobs(path).items():
        assert job.get("timeout-minutes"), f"job {name} needs timeout-minutes"


@each_workflow
def test_workflow_settings_are_documented(path: Path) -> None:
    documents = "".join(document.read_text(encoding="utf-8") for document in (ROOT / "docs").glob("*.md"))
    text = path.read_text(encoding="utf-8")
    names = find_variables(text) | find_secrets(text)
    assert {name for name in names if f"`{name}`" not in documents} == set()


def test_release_document_names_the_rights_that_the_stack_gives() -> None:
    template = (ROOT / "infra/ghostpen.yaml").read_text(encoding="utf-8")
    policy = template.partition("\n  BtrPolicy:\n")[2].partition("\n\n")[0]
    document = (ROOT / "docs/release.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\becr:\w+", document)) == set(re.findall(r"\becr:\w+", policy))
    assert "ecr:PutImage" in policy


def test_deploy_requires_every_setting_of_a_deployment_that_has_no_default() -> None:
    """But those that it knows: the image is this commit's."""
    job = read_jobs(ROOT / ".github/workflows/deploy.yml")["deploy"]
    wanted = {ENVIRONMENT_PREFIX + key.upper().replace(".", "_") for key in list_settings(DeployConfig)}
    assert wanted - list_optional() <= set(job["env"])
    assert job["env"]["GHOSTPEN_IMAGE_TAG"] == "${{ github.sha }}"


def test_deploy_lets_go_before_its_deadlines_and_its_session_outlasts_them() -> None:
    """Each has the time that the one before it may take: deployment, its step, the job, GitHub and the session."""
    job = read_jobs(ROOT / ".github/workflows/deploy.yml")["deploy"]
    steps = {step["name"]: step for step in job["steps"] if "name" in step}
    waits = TimeoutsConfig()
    deploy, down = steps["Deploy"], steps["See the group at 0"]
    follow_s = int(re.findall(r"--follow-for (\d+)", deploy["run"])[0])
    starting_s = waits.capacity_s + waits.online_s + waits.smoke_s + waits.start_s
    longest_s = INSIST_S + starting_s + follow_s + VERIFY_S + TIDY_S * 2 + waits.terminate_s
    assert longest_s <= deploy["timeout-minutes"] * 60
    (ending_s,) = re.findall(r"--set timeouts.terminate_s=(\d+)", down["run"])
    assert int(ending_s) < down["timeout-minutes"] * 60 <= 300
    installing_s = 180
    assert installing_s + (deploy["timeout-minutes"] + down["timeout-minutes"]) * 60 <= job["timeout-minutes"] * 60
    session_s = steps["Take the role"]["with"]["role-duration-seconds"]
    assert job["timeout-minutes"] * 60 < session_s <= 360 * 60
    template = (ROOT / "infra/ghostpen.yaml").read_text(encoding="utf-8")
    allowed = re.search(r"DeploySessionSeconds:\n(?: {4}.*\n)*? {4}Default: (\d+)", template)
    assert allowed and session_s <= int(allowed[1])
