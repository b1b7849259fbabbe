"""What goes to GitHub: the variables and secrets that workflows read, on standard input, or not at all."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.terminal import Terminal
from tests.unit.aws.interview.conftest import Desk
from tests.unit.aws.interview.test_interview import SOMEBODY, WHOLE, answer_question

from ghostpen.aws.interview.github import WORKFLOWS, map_variables, plan_variables, read_used
from ghostpen.aws.settings import DeployConfig
from ghostpen.settings import list_settings

ROOT = Path(__file__).parents[4]
WORKFLOW = """
jobs:
  deploy:
    environment: gpu
    steps:
      - env:
          GITHUB_TOKEN: ${{ secrets.GITHUB_TOKEN }}
          WANDB_API_KEY: ${{ secrets.WANDB_API_KEY }}
          GHOSTPEN_AWS_REGION: ${{ vars.AWS_REGION }}
          GHOSTPEN_GROUP_NAME: ${{vars.GHOSTPEN_GROUP_NAME}}
          GHOSTPEN_LIMITS_MAX_RUNTIME_S: ${{ vars.GHOSTPEN_LIMITS_MAX_RUNTIME_S }}
          GHOSTPEN_SECRETS_NAMES: ${{ vars.GHOSTPEN_SECRETS_NAMES }}
          GHOSTPEN_TIMEOUTS_POLL_S: ${{ vars.GHOSTPEN_TIMEOUTS_POLL_S }}
          IMAGE: ${{ vars.ECR_REPOSITORY }} ${{ inputs.vars_x }}
        with: { role: '${{ vars.AWS_DEPLOY_ROLE_ARN }}' }
      - uses: x
        with: { other: '${{ vars.SOMEBODY_S }}' }
"""
ROLE = "arn:aws:iam::123456789012:role/github"
PRESENT = [["AWS_REGION", "eu-central-1"], ["GHOSTPEN_GROUP_NAME", "\x1b[2Jold"], ["SOMEBODY_S", "x"]]
GH: dict[str, dict[str, Any]] = {
    "repo view": {"out": "owner/name\n"},
    "api repos/owner/name/actions/variables": {"out": "".join(f"{json.dumps(pair)}\n" for pair in PRESENT)},
    "api repos/owner/name/environments ": {"out": "gpu\n"},
    "api repos/owner/name/environments/gpu/secrets": {"out": "WANDB_API_KEY\n"},
    "api repos/owner/name/actions/secrets": {"out": ""},
    "variable set": {},
    "secret set": {},
}
SECRET = "hush-4711-hush"
SET = {
    "AWS_DEPLOY_ROLE_ARN": ROLE,
    "ECR_REPOSITORY": "team/ghostpen",
    "GHOSTPEN_GROUP_NAME": "gpu",
    "GHOSTPEN_LIMITS_MAX_RUNTIME_S": "3600",
    "GHOSTPEN_SECRETS_NAMES": '["WANDB_API_KEY"]',
}


@pytest.fixture
def desk(desk: Desk) -> Desk:
    """Give the desk a file with all settings, a workflow, and both programs."""
    desk.write(WHOLE)
    desk.write_workflow(WORKFLOW)
    desk.install("aws", SOMEBODY)
    desk.install("gh", GH)
    return desk


def begin(person: Terminal) -> None:
    """Say yes, and answer what is asked before the variables are shown."""
    person.answer(r"on GitHub, with gh\? \[y/n\] ", "y")
    person.answer(r"May I.*y/n] ", "y")
    answer_question(person, "github.repository", "1")
    answer_question(person, "AWS_DEPLOY_ROLE_ARN", "1")


def list_set(desk: Desk, kind: str) -> dict[str, str]:
    """List what was set, with what came on standard input, and make sure of the rest of the command."""
    made = {}
    for call in desk.calls:
        _, what, verb, *rest = call["line"].split()
        if (what, verb) == (kind, "set"):
            name, *options = rest
            assert options in (["--repo", "owner/name"], ["--env", "gpu", "--repo", "owner/name"])
            made[name] = call["stdin"]
    return made


def test_names_that_workflows_read_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(WORKFLOW)
    (tmp_path / "b.yaml").write_text("run: ${{ vars.ONE }}${{ secrets.TWO }}")
    used = read_used(tmp_path)

    assert used.variables == {*SET, "AWS_REGION", "GHOSTPEN_TIMEOUTS_POLL_S", "SOMEBODY_S", "ONE"}
    assert used.secrets == {"WANDB_API_KEY", "TWO"}
    assert read_used(tmp_path / "nothing").variables == frozenset()


def test_every_setting_has_its_variable_and_some_have_one_beside() -> None:
    keys = map_variables()
    own = {f"GHOSTPEN_{key.upper().replace('.', '_')}": key for key in list_settings(DeployConfig)}
    assert {name: key for name, key in keys.items() if name.startswith("GHOSTPEN_")} == own
    assert {name: key for name, key in keys.items() if name not in own} == {
        "AWS_REGION": "aws.region",
        "ECR_REPOSITORY": "image.repository",
        "AWS_BTR_ROLE_ARN": "github.btr_role_arn",
        "AWS_DEPLOY_ROLE_ARN": "github.deploy_role_arn",
        "ECR_CACHE_REPOSITORY": "github.cache_repository",
    }


def test_every_variable_of_the_project_s_workflows_is_known() -> None:
    used = read_used(ROOT / WORKFLOWS)
    assert used.variables >= {"AWS_REGION", "AWS_BTR_ROLE_ARN", "ECR_REPOSITORY", "ECR_CACHE_REPOSITORY"}
    assert used.variables <= set(map_variables())


def test_variables_have_the_values_of_the_settings_as_text() -> None:
    values = {"limits": {"max_runtime_s": 60}, "secrets": {"names": ["A"]}, "aws": {"region": "r"}}
    names = ["AWS_REGION", "GHOSTPEN_LIMITS_MAX_RUNTIME_S", "GHOSTPEN_SECRETS_NAMES", "GHOSTPEN_LOGS_GROUP", "OTHER"]
    assert plan_variables(names, values) == {
        "AWS_REGION": "r",
        "GHOSTPEN_LIMITS_MAX_RUNTIME_S": "60",
        "GHOSTPEN_SECRETS_NAMES": '["A"]',
    }


def test_variables_and_secrets_go_to_gh_on_standard_input_alone(desk: Desk) -> None:
    with desk.ask() as person:
        begin(person)
        person.expect("  AWS_REGION = eu-central-1  [(]as it is[)]\n")
        person.expect("  GHOSTPEN_GROUP_NAME = gpu  [(]instead of .2Jold[)]\n")
        person.expect("  GHOSTPEN_LIMITS_MAX_RUNTIME_S = 3600  [(]new[)]\n")
        person.answer(rf"Set {', '.join(SET)} of owner/name\? \[y/n\] ", "y")
        answer_question(person, "github.environment", "1")
        person.expect("WANDB_API_KEY: a secret, set already\n  value .not shown., Enter leaves it as it is: ")
        assert not person.shows_typing
        person.type(SECRET)
        person.expect("WANDB_API_KEY is set\n")
        assert person.wait() == 0
        assert person.shows_typing

    assert list_set(desk, "variable") == SET
    assert list_set(desk, "secret") == {"WANDB_API_KEY": SECRET}
    assert "gh secret set WANDB_API_KEY --env gpu --repo owner/name" in desk.lines
    assert SECRET not in "".join(desk.lines)
    assert SECRET not in person.text
    assert [path for path in desk.folder.rglob("*") if path.is_file() and SECRET in path.read_text()] == []


def test_nothing_is_sent_without_a_yes_and_with_no_value(desk: Desk) -> None:
    with desk.ask() as person:
        begin(person)
        person.answer(r"Set .* of owner/name\? \[y/n\] ", "n")
        answer_question(person, "github.environment", "")
        person.answer("a secret, not set yet\n  value .not shown., Enter leaves it as it is: ", "")
        assert person.wait() == 0
    assert [line for line in desk.lines if " set " in line] == []


def test_no_to_github_calls_nothing(desk: Desk) -> None:
    with desk.ask() as person:
        person.answer(r"on GitHub, with gh\? \[y/n\] ", "n")
        assert person.wait() == 0
    assert desk.calls == []


def test_second_time_has_nothing_to_set(desk: Desk) -> None:
    pairs = [[name, value] for name, value in ({"AWS_REGION": "eu-central-1"} | SET).items()]
    lines = "".join(f"{json.dumps(pair)}\n" for pair in pairs)
    desk.install("gh", {"api repos/owner/name/actions/variables": {"out": lines}})
    with desk.ask() as person:
        person.answer(r"on GitHub, with gh\? \[y/n\] ", "y")
        person.answer(r"May I.*y/n] ", "y")
        answer_question(person, "github.repository", "owner/name")
        person.expect("AWS_DEPLOY_ROLE_ARN = .* [(]as it is[)]\n")
        person.expect("SOMEBODY_S is read by a workflow; ghostpen does not know it\n")
        answer_question(person, "github.environment", "gpu")
        person.answer("Enter leaves it as it is: ", "")
        assert person.wait() == 0
    assert "Set AWS" not in person.text
    assert [line for line in desk.lines if " set " in line] == []


def test_variable_that_is_left_out_here_is_not_deleted_there(desk: Desk) -> None:
    lines = "".join(f"{json.dumps(pair)}\n" for pair in [*PRESENT, ["GHOSTPEN_TIMEOUTS_POLL_S", "3"]])
    desk.install("gh", {"api repos/owner/name/actions/variables": {"out": lines}})
    with desk.ask() as person:
        begin(person)
        person.expect(
            "GHOSTPEN_TIMEOUTS_POLL_S is set on GitHub and left out here; to take it out: gh variable delete "
        )
        person.answer(r"Set .* of owner/name\? \[y/n\] ", "y")
        person.expect("Enter for none: ")
    assert list_set(desk, "variable") == SET


def test_secret_of_the_environment_is_taken_if_the_person_says_so(desk: Desk) -> None:
    desk.environ["WANDB_API_KEY"] = SECRET
    with desk.ask() as person:
        begin(person)
        person.answer(r"Set .* of owner/name\? \[y/n\] ", "n")
        answer_question(person, "github.environment", "")
        person.answer(r"Take the value that it has in your environment\? \[y/n\] ", "y")
        assert person.wait() == 0
    assert list_set(desk, "secret") == {"WANDB_API_KEY": SECRET}
    assert SECRET not in person.text + "".join(desk.lines)


def test_secret_that_can_t_be_one_is_asked_for_again(desk: Desk) -> None:
    desk.environ["WANDB_API_KEY"] = f"{SECRET}\n{SECRET}"
    with desk.ask() as person:
        begin(person)
        person.answer(r"Set .* of owner/name\? \[y/n\] ", "n")
        answer_question(person, "github.environment", "")
        person.answer(r"Take the value that it has in your environment\? \[y/n\] ", "y")
        person.answer("WANDB_API_KEY holds a line break.*Enter leaves it as it is: ", SECRET)
        assert person.wait() == 0
    assert list_set(desk, "secret") == {"WANDB_API_KEY": SECRET}
    assert SECRET not in person.text + "".join(desk.lines)


def test_secret_that_no_workflow_hands_on_is_said(desk: Desk) -> None:
    desk.write_workflow(WORKFLOW.replace("secrets.WANDB_API_KEY", "secrets.OTHER_KEY"))
    with desk.ask() as person:
        begin(person)
        person.answer(r"Set .* of owner/name\? \[y/n\] ", "n")
        person.expect("WANDB_API_KEY is one of secrets.names, and no workflow hands it on .secrets.WANDB_API_KEY.\n")
        answer_question(person, "github.environment", "")
        person.answer("OTHER_KEY: .*Enter leaves it as it is: ", "")
        person.answer("WANDB_API_KEY: .*Enter leaves it as it is: ", "")
        assert person.wait() == 0


def test_refusal_in_the_middle_says_what_was_set(desk: Desk) -> None:
    refusal = {"err": "HTTP 403: Resource not accessible\n(https://api.github.com/x)", "code": 1}
    desk.install("gh", {"variable set GHOSTPEN_GROUP_NAME": refusal})
    with desk.ask() as person:
        begin(person)
        person.answer(r"Set .* of owner/name\? \[y/n\] ", "y")
        assert person.wait() == 2
    assert person.text.splitlines()[-1] == (
        "error: variable set GHOSTPEN_GROUP_NAME: gh: HTTP 403: Resource not accessible (https://api.github.com/x); "
        "set on GitHub: AWS_DEPLOY_ROLE_ARN, ECR_REPOSITORY; `ghostpen ask` goes on with the rest"
    )


def test_refusal_that_repeats_the_secret_shows_nothing_of_it(desk: Desk) -> None:
    desk.install("gh", {"secret set": {"err": f"bad value {SECRET}\n", "code": 1}})
    with desk.ask() as person:
        begin(person)
        person.answer(r"Set .* of owner/name\? \[y/n\] ", "n")
        answer_question(person, "github.environment", "gpu")
        person.answer("WANDB_API_KEY: .*Enter leaves it as it is: ", SECRET)
        assert person.wait() == 2
    assert "secret set WANDB_API_KEY --env gpu: gh: bad value ***; set on GitHub: nothing" in person.text
    assert SECRET not in person.text


def test_gh_that_is_not_signed_in_is_one_line(desk: Desk) -> None:
    text = "To get started with GitHub CLI, please run:  gh auth login\n"
    desk.install("gh", {"api repos/owner/name/actions/variables": {"err": text, "code": 4}})
    with desk.ask() as person:
        person.answer(r"on GitHub, with gh\? \[y/n\] ", "y")
        person.answer(r"May I.*y/n] ", "n")
        answer_question(person, "github.repository", "owner/name")
        assert person.wait() == 2
    assert person.text.splitlines()[-1] == (
        "error: repos/owner/name/actions/variables could not be read: gh: To get started with GitHub CLI, please "
        "run: gh auth login; set on GitHub: nothing; `ghostpen ask` goes on with the rest"
    )


def test_ctrl_c_says_what_was_set(desk: Desk) -> None:
    with desk.ask() as person:
        begin(person)
        person.answer(r"Set .* of owner/name\? \[y/n\] ", "y")
        person.expect("The variables of owner/name are set")
        person.expect("Enter for none: ")
        person.press("C")
        assert person.wait() == 130
    assert person.text.splitlines()[-1] == (
        f"error: stopped; set on GitHub: {', '.join(SET)}; `ghostpen ask` goes on with the rest"
    )


def test_without_gh_the_variables_are_listed_to_be_set_by_hand(desk: Desk) -> None:
    (desk.bin / "gh").unlink()
    with desk.ask() as person:
        assert person.wait() == 0
    assert "gh is not installed (https://cli.github.com), so these are left for you to set on GitHub" in person.text
    assert "  variable AWS_DEPLOY_ROLE_ARN: The role that a deployment takes. " in person.text
    assert "  variable GHOSTPEN_GROUP_NAME = gpu\n" in person.text
    assert person.text.endswith("  secret WANDB_API_KEY\n")
    assert desk.calls == []


def test_without_workflows_there_is_nothing_to_set(desk: Desk) -> None:
    desk.write_workflow("jobs: {}")
    with desk.ask() as person:
        assert person.wait() == 0
    assert "No workflow in .github/workflows reads variables or secrets" in person.text
