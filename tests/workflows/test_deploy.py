"""deploy.yml, run by act with a stand-in for ghostpen: what it is given, in which order, and how it ends."""

import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.workflows.act import ROOT, RUNNER, Repository, WorkflowRun, read_lines

VARIABLES = {
    "AWS_REGION": "eu-central-1",
    "AWS_DEPLOY_ROLE_ARN": "arn:aws:iam::123456789012:role/deploy",
    "ECR_REPOSITORY": "team/ghostpen",
    "GHOSTPEN_AWS_ACCOUNT_ID": "123456789012",
    "GHOSTPEN_GROUP_NAME": "gpu-group",
    "GHOSTPEN_STORAGE_URI": "s3://bucket/ghostpen",
    "GHOSTPEN_SECRETS_PATH": "/ghostpen/stack",
    "GHOSTPEN_LOGS_GROUP": "/ghostpen/runs",
    "GHOSTPEN_LIMITS_MAX_RUNTIME_S": "7200",
}
SECRETS = {"WANDB_API_KEY": "wandb-key-0123456789", "HF_TOKEN": "hf-token-0123456789"}
NAMES = {"GHOSTPEN_SECRETS_NAMES": '["WANDB_API_KEY", "HF_TOKEN"]'}
BEFORE = [
    "actions/checkout",
    "Name every missing setting",
    "actions/setup-python",
    "Install the half that deploys",
    "Take the role",
    "Look and plan",
]
CLEAN_UP = "See the group at 0"
WORKFLOW = ROOT / ".github/workflows/deploy.yml"

MakeRepository = Callable[[], Repository]


@pytest.fixture
def repository(make_repository: MakeRepository) -> Repository:
    """Make a repository in which nothing is installed: ghostpen's stand-in is on the PATH already."""
    made = make_repository()
    replace_install(made, "exit 0")
    return made


def replace_install(repository: Repository, command: str) -> None:
    (repository.checkout / "scripts/install-deploy").write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8")
    repository.make_commit()


def dispatch(repository: Repository, variables: Mapping[str, str] = VARIABLES, **inputs: str) -> WorkflowRun:
    return repository.run("deploy.yml", "workflow_dispatch", {"inputs": inputs}, variables=variables, secrets=SECRETS)


def read_verbs(repository: Repository) -> list[str]:
    """Read the verbs in order; a deployment that is only planned is `plan`."""
    calls = [call["arguments"] for call in repository.read_ghostpen_calls() if "arguments" in call]
    return ["plan" if "--dry-run" in arguments else arguments[0] for arguments in calls]


def test_new_training_is_given_every_setting_and_the_group_is_seen_at_zero(repository: Repository) -> None:
    done = dispatch(repository, VARIABLES | NAMES, mode="train", config="configs/mine.toml")

    assert done.exit_code == 0, done.log
    assert done.succeeded == [*BEFORE, "Deploy", CLEAN_UP]
    plan, deploy, down = repository.read_ghostpen_calls()
    run_id = deploy["arguments"][4]
    assert deploy["arguments"] == [
        *("deploy", "--mode", "train", "--run-id", run_id, "--follow-for", "15600"),
        *("--config", "configs/mine.toml"),
    ]
    assert run_id.startswith("github-")
    assert plan["arguments"] == ["deploy", "--dry-run", *deploy["arguments"][1:]]
    assert plan["settings"] == deploy["settings"]
    assert down["arguments"] == [
        *("down", "--group", "gpu-group", "--region", "eu-central-1", "--run-id", run_id),
        *("--set", "timeouts.terminate_s=240"),
    ]
    given = {name: value for name, value in deploy["settings"].items() if name.startswith("GHOSTPEN_")}
    del given["GHOSTPEN_STAND_IN"]
    assert given == {
        "GHOSTPEN_AWS_REGION": "eu-central-1",
        "GHOSTPEN_AWS_ACCOUNT_ID": "123456789012",
        "GHOSTPEN_GROUP_NAME": "gpu-group",
        "GHOSTPEN_IMAGE_REPOSITORY": "team/ghostpen",
        "GHOSTPEN_IMAGE_TAG": repository.commit,
        "GHOSTPEN_STORAGE_URI": "s3://bucket/ghostpen",
        "GHOSTPEN_SECRETS_PATH": "/ghostpen/stack",
        "GHOSTPEN_SECRETS_NAMES": '["WANDB_API_KEY", "HF_TOKEN"]',
        "GHOSTPEN_LOGS_GROUP": "/ghostpen/runs",
        "GHOSTPEN_LIMITS_MAX_RUNTIME_S": "7200",
        "GHOSTPEN_LIMITS_GPU_MEMORY_GB": "",  # not set: the setting's default
    }
    assert deploy["settings"]["AWS_ACCESS_KEY_ID"] == down["settings"]["AWS_ACCESS_KEY_ID"] == "testing"


def test_inputs_are_passed_on_as_they_are(repository: Repository) -> None:
    hostile = 'x\'; $(touch hit) "$HOME" --set a=b'

    done = dispatch(repository, mode="test", config=hostile, run_id="run-7", max_runtime_s="600")

    assert done.exit_code == 0, done.log
    plan, deploy, down = repository.read_ghostpen_calls()
    assert plan["arguments"] == ["deploy", "--dry-run", *deploy["arguments"][1:]]
    assert deploy["arguments"] == [
        *("deploy", "--mode", "test", "--run-id", "run-7", "--follow-for", "15600"),
        *("--config", hostile, "--max-runtime", "600"),
    ]
    assert down["arguments"][5:7] == ["--run-id", "run-7"]
    assert not list(repository.checkout.glob("hit"))


def test_secrets_reach_the_deployment_alone_and_no_argument_or_output(repository: Repository) -> None:
    done = dispatch(repository, VARIABLES | NAMES, mode="train", config="configs/mine.toml")

    plan, deploy, down = repository.read_ghostpen_calls()
    for call in (plan, deploy):
        assert {name: call["settings"][name] for name in SECRETS} == SECRETS
    assert not set(SECRETS) & set(down["settings"])
    for value in SECRETS.values():
        assert value not in " ".join([*plan["arguments"], *deploy["arguments"], *down["arguments"]])
        assert value not in done.log


def test_missing_settings_are_named_in_one_message_and_nothing_is_done(repository: Repository) -> None:
    done = dispatch(repository, {"AWS_REGION": "eu-central-1", "GHOSTPEN_GROUP_NAME": "gpu-group"}, mode="train")

    assert done.exit_code == 1
    assert done.steps == {"actions/checkout": "success", "Name every missing setting": "failure"}
    (message,) = [line for line in done.log.splitlines() if line.startswith("error: ")]
    for name in set(VARIABLES) - {"AWS_REGION", "GHOSTPEN_GROUP_NAME"}:
        assert f"{name} (" in message
    assert "GHOSTPEN_GROUP_NAME (" not in message
    assert repository.read_ghostpen_calls() == []


def test_failed_deployment_is_cleaned_up_after_and_fails_the_job(repository: Repository) -> None:
    (repository.ghostpen / "exit-code").write_text("23")

    done = dispatch(repository, mode="train", config="configs/mine.toml")

    assert done.exit_code == 1
    assert (done.failed, done.succeeded) == (["Deploy"], [*BEFORE, CLEAN_UP])
    assert read_verbs(repository) == ["plan", "deploy", "down"]


def test_cancelled_deployment_is_cleaned_up_after(repository: Repository) -> None:
    (repository.ghostpen / "waits").write_text("deploy")
    started = repository.start(
        "deploy.yml", "workflow_dispatch", {"inputs": {"mode": "train"}}, variables=VARIABLES, secrets=SECRETS
    )
    wait_for(repository.ghostpen / "waiting")

    started.cancel()
    done = started.finish()

    assert done.exit_code == 1, done.log
    assert done.steps[CLEAN_UP] == "success"
    assert read_verbs(repository) == ["plan", "deploy", "down"]


def test_deployment_that_goes_on_by_itself_is_left_alone_and_told_how_to_follow(repository: Repository) -> None:
    (repository.ghostpen / "detached").touch()

    done = dispatch(repository, mode="train", run_id="run-7")

    assert done.exit_code == 0, done.log
    assert done.succeeded == [*BEFORE, "Deploy", "Say how to follow"]
    assert read_verbs(repository) == ["plan", "deploy"]
    assert "Run run-7 goes on by itself" in done.log


def test_refused_deployment_ends_no_other_run_nor_its_own_that_goes_on(repository: Repository) -> None:
    (repository.ghostpen / "plan-exit-code").write_text("30")

    done = dispatch(repository, mode="test", run_id="run-7")

    assert (done.exit_code, done.failed) == (1, ["Look and plan"])
    assert read_verbs(repository) == ["plan"]


def test_deployment_whose_own_look_fails_has_changed_nothing_and_ends_nothing(repository: Repository) -> None:
    (repository.ghostpen / "look-exit-code").write_text("2")

    done = dispatch(repository, mode="train", run_id="run-7")

    assert (done.exit_code, done.failed) == (1, ["Deploy"])
    assert read_verbs(repository) == ["plan", "deploy"]


def test_job_that_never_came_to_deploy_ends_nothing(repository: Repository) -> None:
    replace_install(repository, "exit 1")

    done = dispatch(repository, mode="train", run_id="run-7")

    assert (done.exit_code, done.failed) == (1, ["Install the half that deploys"])
    assert repository.read_ghostpen_calls() == []


@pytest.mark.parametrize(("step", "verb"), [("Deploy", "deploy"), (CLEAN_UP, "down")])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_of_githubs_runner_reaches_the_command(
    tmp_path: Path, step: str, verb: str, number: signal.Signals
) -> None:
    """The runner signals the process that it has started, which is the step's shell, and nothing below it."""
    (tmp_path / "waits").write_text(verb)
    (found,) = [entry for entry in read_job()["steps"] if entry.get("name") == step]
    script = tmp_path / "step.sh"
    script.write_text(found["run"], encoding="utf-8")
    environment = {"PATH": f"{RUNNER}:/usr/bin:/bin", "GHOSTPEN_STAND_IN": str(tmp_path)}
    process = subprocess.Popen(["bash", "-e", str(script)], env=environment)
    try:
        wait_for(tmp_path / "waiting")
        process.send_signal(number)
        assert process.wait(timeout=5) == 128 + number  # GitHub waits for 7.5 seconds, then for 2.5
    finally:
        process.kill()
        process.wait()
    assert read_lines(tmp_path / "calls.jsonl")[-1] == {"signal": number}


def read_job() -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["deploy"]
    return job


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.05)
