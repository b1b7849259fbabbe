"""The interview at a terminal, with stand-ins for aws and gh: questions, answers, Ctrl-C, and what is written."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.terminal import Terminal
from tests.unit.aws.interview.conftest import Desk
from typer.testing import CliRunner

from ghostpen.aws.settings import load_deploy_config
from ghostpen.cli import app

ANSWERS = {
    "aws.region": "eu-central-1",
    "aws.account_id": "123456789012",
    "group.name": "gpu",
    "image.repository": "team/ghostpen",
    "image.tag": "v1",
    "storage.uri": "s3://texts/austen",
    "secrets.path": "/ghostpen",
    "secrets.names": "WANDB_API_KEY",
    "logs.group": "/ghostpen/logs",
    "limits.max_runtime_s": "3600",
}
WHOLE = """
[aws]
region = "eu-central-1"  # Frankfurt
account_id = "123456789012"
[group]
name = "gpu"
[image]
repository = "team/ghostpen"
tag = "v1"
[storage]
uri = "s3://texts/austen"
[secrets]
path = "/ghostpen"
names = ["WANDB_API_KEY"]
[logs]
group = "/ghostpen/logs"
[limits]
max_runtime_s = 3600
"""
NOBODY = {
    "configure get region": {"code": 255},
    "sts get-caller-identity": {"err": "Unable to locate credentials.", "code": 253},
}
STACKS = [
    ["ghostpen", [{"OutputKey": "GroupName", "OutputValue": "gpu", "Description": "group.name"}]],
    ["other", None],
]
SOMEBODY = {
    "configure get region": {"out": "eu-central-1\n"},
    "sts get-caller-identity": {"out": '"123456789012"\n'},
    "cloudformation describe-stacks": {"out": json.dumps(STACKS)},
    "autoscaling describe-auto-scaling-groups": {"out": '["other", "gpu"]'},
    "ecr describe-repositories": {"out": '["team/ghostpen", "team/cache"]'},
    "ecr describe-images --repository-name team/ghostpen ": {"out": '["v2", "v1"]'},
    "s3api list-buckets": {"err": "\nAn error occurred (AccessDenied)", "code": 254},
    "logs describe-log-groups": {"out": "[]"},
    "iam list-roles": {"out": '["arn:aws:iam::123456789012:role/github"]'},
}


def answer_question(person: Terminal, key: str, answer: str) -> None:
    person.expect(rf"\n{key.replace('.', '[.]')}\n")
    person.answer("Enter [^:]*: ", answer)


def read(desk: Desk) -> dict[str, Any]:
    return tomllib.loads(desk.file.read_text(encoding="utf-8"))


def test_every_answer_stands_in_the_file_and_is_what_a_deployment_reads(desk: Desk) -> None:
    with desk.ask() as person:
        for key, answer in ANSWERS.items():
            answer_question(person, key, answer)
        person.answer(r"Write this to configs/deploy.toml\? \[y/n\] ", "y")
        assert person.wait() == 0

    config = load_deploy_config(desk.file, environ={})
    assert (config.aws.account_id, config.image.tag, config.image.digest) == ("123456789012", "v1", None)
    assert (config.secrets.names, config.limits.max_runtime_s) == (("WANDB_API_KEY",), 3600)
    assert "May I" not in person.text  # neither program is there
    assert "configs/deploy.toml is written" in person.text


def test_proposals_are_taken_by_their_number_and_only_then(desk: Desk) -> None:
    desk.install("aws", SOMEBODY)
    with desk.ask() as person:
        person.answer(r"May I look it up with the aws program\? This only reads\. \[y/n\] ", "")
        person.answer(r"\[y/n\] ", "y")
        answer_question(person, "aws.region", "1")
        answer_question(person, "aws.account_id", "1")
        person.expect(r"  1  gpu  \(output of the stack ghostpen\)\n  2  other\n")
        person.answer("Enter leaves it open: ", "2")
        answer_question(person, "image.repository", "1")
        person.expect("  1  v2\n  2  v1\n")
        person.answer("Enter leaves it open: ", "1")
        person.expect(r"not looked up: aws: An error occurred \(AccessDenied\)")
        answer_question(person, "storage.uri", "s3://texts/austen")
        for key in ("secrets.path", "secrets.names", "logs.group", "limits.max_runtime_s"):
            answer_question(person, key, ANSWERS[key])
        person.answer("Write this to .*y/n] ", "y")
        assert person.wait() == 0

    written = read(desk)
    assert written["aws"] == {"region": "eu-central-1", "account_id": "123456789012"}
    assert (written["group"]["name"], written["image"]["tag"]) == ("other", "v2")
    calls = [line for line in desk.lines if not line.startswith("aws configure")]
    assert len(calls) == len(set(calls)) == 7
    assert [line for line in calls if "--region eu-central-1 --output json" not in line] == []


def test_no_look_up_without_a_yes(desk: Desk) -> None:
    desk.install("aws", SOMEBODY)
    desk.install("gh", {"": {"out": "never"}})
    with desk.ask() as person:
        person.answer(r"with the aws and gh programs\? This only reads\. \[y/n\] ", "n")
        for key, answer in ANSWERS.items():
            answer_question(person, key, answer)
        person.answer("Write this to .*y/n] ", "y")
        assert person.wait() == 0
    assert desk.calls == []


def test_look_up_that_fails_or_hangs_is_no_failure_of_the_interview(desk: Desk) -> None:
    desk.install("aws", NOBODY | {"configure get region": {"out": "eu-central-1", "after_s": 600}})
    with desk.ask("--deadline-s", "1") as person:
        person.answer(r"May I.*y/n] ", "y")
        person.expect("not looked up: aws did not answer within 1 seconds\n  aws is not asked again")
        for key, answer in ANSWERS.items():
            answer_question(person, key, answer)
        person.answer("Write this to .*y/n] ", "y")
        assert person.wait() == 0
    assert desk.lines == ["aws configure get region"]


def test_bad_answer_is_asked_again_with_the_reason(desk: Desk) -> None:
    desk.write(WHOLE.replace("max_runtime_s = 3600", "").replace('tag = "v1"', ""))
    with desk.ask() as person:
        answer_question(person, "image.tag", "a b")
        person.expect('image.tag is "a b": it is no tag of an image; image.digest is "a b": write sha256:')
        person.answer("Enter leaves it open: ", "sha256:" + "1" * 64)
        person.expect("image.digest is sha256:1+\n")
        answer_question(person, "limits.max_runtime_s", "2 hours")
        person.expect('limits.max_runtime_s should be a valid integer, but is "2 hours"')
        person.answer("Enter leaves it open: ", "10")
        person.expect("limits.max_runtime_s should be greater than or equal to 60, but is 10")
        person.answer("Enter leaves it open: ", "60")
        person.answer(r"Change configs/deploy.toml like this\? \[y/n\] ", "y")
        assert person.wait() == 0

    assert read(desk)["image"] == {"repository": "team/ghostpen", "digest": "sha256:" + "1" * 64}
    assert read(desk)["limits"] == {"max_runtime_s": 60}


def test_only_what_is_open_is_asked_and_the_rest_of_the_file_stays(desk: Desk) -> None:
    before = WHOLE.replace('name = "gpu"', 'name = "g p u"  # which one?')
    desk.write(before)
    with desk.ask() as person:
        person.expect('Now: group.name is "g p u": use letters, digits and')
        person.answer("Enter leaves it open: ", "gpu")
        person.expect('\n  -name = "g p u"  # which one[?]\n  [+]name = "gpu"  # which one[?]\n')
        person.answer(r"Change configs/deploy.toml like this\? \[y/n\] ", "y")
        assert person.wait() == 0

    assert desk.file.read_text(encoding="utf-8") == WHOLE.replace('name = "gpu"', 'name = "gpu"  # which one?')
    assert person.text.count("Enter leaves it open") == 1


def test_no_to_what_would_be_written_leaves_the_file(desk: Desk) -> None:
    before = WHOLE.replace("max_runtime_s = 3600", "")
    desk.write(before)
    with desk.ask() as person:
        answer_question(person, "limits.max_runtime_s", "60")
        person.answer(r"Change configs/deploy.toml like this\? \[y/n\] ", "n")
        assert person.wait() == 2

    assert desk.file.read_text(encoding="utf-8") == before
    assert person.text.splitlines()[-1].startswith("error: nothing was written; still open: limits.max_runtime_s")


def test_question_left_open_is_named_and_the_rest_is_written(desk: Desk) -> None:
    with desk.ask() as person:
        for key, answer in ANSWERS.items():
            answer_question(person, key, "" if key in ("group.name", "secrets.names") else answer)
        person.answer("Write this to .*y/n] ", "y")
        assert person.wait() == 2

    assert "group" not in read(desk)
    assert read(desk)["secrets"] == {"path": "/ghostpen", "names": []}
    assert person.text.splitlines()[-1].startswith("error: still open: group.name; ")


def test_file_that_changes_meanwhile_is_shown_again_and_not_overwritten(desk: Desk) -> None:
    desk.write(WHOLE.replace("max_runtime_s = 3600", ""))
    with desk.ask() as person:
        answer_question(person, "limits.max_runtime_s", "60")
        person.expect(r"Change configs/deploy.toml like this\? \[y/n\] ")
        desk.write(WHOLE.replace("max_runtime_s = 3600", "") + "\n[timeouts]\npoll_s = 3\n")
        person.type("y")
        person.expect("configs/deploy.toml was changed meanwhile\n")
        person.answer(r"Change configs/deploy.toml like this\? \[y/n\] ", "y")
        assert person.wait() == 0
    assert read(desk)["timeouts"] == {"poll_s": 3}
    assert read(desk)["limits"] == {"max_runtime_s": 60}


def test_file_that_is_spoilt_meanwhile_is_left_as_it_is(desk: Desk) -> None:
    desk.write(WHOLE.replace("max_runtime_s = 3600", ""))
    with desk.ask() as person:
        answer_question(person, "limits.max_runtime_s", "60")
        person.expect(r"Change configs/deploy.toml like this\? \[y/n\] ")
        desk.write("[aws")
        person.type("y")
        assert person.wait() == 2
    assert person.text.splitlines()[-1].startswith("error: configs/deploy.toml: is not valid TOML: ")
    assert desk.file.read_text(encoding="utf-8") == "[aws"


@pytest.mark.parametrize("key", ["C", "D"])
def test_ctrl_c_before_an_answer_leaves_nothing(desk: Desk, list_files: Callable[[], set[str]], key: str) -> None:
    with desk.ask() as person:
        person.expect("Enter leaves it open: ")
        person.press(key)
        assert person.wait() == 130

    assert person.text.splitlines()[-1] == "error: stopped; nothing was written"
    assert list_files() == set()


def test_ctrl_c_offers_to_keep_the_answers_and_the_next_interview_goes_on(desk: Desk) -> None:
    with desk.ask() as person:
        answer_question(person, "aws.region", "eu-central-1")
        answer_question(person, "aws.account_id", "123456789012")
        person.expect("Enter leaves it open: ")
        person.press("C")
        person.expect("The answers so far:")
        person.answer("Write this to .*y/n] ", "y")
        assert person.wait() == 130
    assert "the answers so far are in configs/deploy.toml, and `ghostpen ask` goes on from there" in person.text
    assert read(desk) == {"aws": {"region": "eu-central-1", "account_id": "123456789012"}}

    with desk.ask() as person:
        answer_question(person, "group.name", "gpu")
        assert "aws.region" not in person.text


@pytest.mark.parametrize("answer", ["n", None])
def test_ctrl_c_and_then_no_or_ctrl_c_again_leaves_the_file(
    desk: Desk, list_files: Callable[[], set[str]], answer: str | None
) -> None:
    before = "[timeouts]\npoll_s = 3\n"
    desk.write(before)
    with desk.ask() as person:
        answer_question(person, "aws.region", "eu-central-1")
        person.expect("Enter leaves it open: ")
        person.press("C")
        person.expect(r"Change configs/deploy.toml like this\? \[y/n\] ")
        person.press("C") if answer is None else person.type(answer)
        assert person.wait() == 130

    assert person.text.splitlines()[-1] == "error: stopped; nothing was written"
    assert desk.file.read_text(encoding="utf-8") == before
    assert list_files() == {"configs/deploy.toml"}


def test_ctrl_c_during_a_look_up_ends_it(desk: Desk) -> None:
    desk.install("aws", {"configure get region": {"out": "eu-central-1", "after_s": 600}})
    with desk.ask() as person:
        person.answer(r"May I.*y/n] ", "y")
        person.expect("aws configure get region")
        person.press("C")
        assert person.wait() == 130
    assert "nothing was written" in person.text


def test_without_a_terminal_the_open_questions_are_listed(desk: Desk, list_files: Callable[[], set[str]]) -> None:
    desk.install("aws", SOMEBODY)
    desk.write(WHOLE.replace('region = "eu-central-1"', "").replace("max_runtime_s = 3600", ""))
    done = run_without_terminal(desk)

    assert done.returncode == 2
    region, limit = done.stdout.strip().split("\n\n")
    assert region.splitlines()[0] == "aws.region"
    assert "  to set:    max_runtime_s = ... below [limits] in configs/deploy.toml" in limit
    assert done.stderr == (
        "error: still open: aws.region, limits.max_runtime_s; run `ghostpen ask` at a terminal, or set each where "
        "the list says\n"
    )
    assert desk.calls == []
    assert list_files() == {"configs/deploy.toml"}


def test_without_a_terminal_and_with_nothing_open_all_is_well(desk: Desk) -> None:
    desk.write(WHOLE)
    done = run_without_terminal(desk)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "configs/deploy.toml and the environment have all that a deployment needs\n"


def test_help_says_what_the_options_are() -> None:
    result = CliRunner().invoke(app, ["ask", "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert set(re.findall(r"--[a-z][a-z-]+", result.stdout)) == {
        "--deploy-config",
        "--deadline-s",
        "--markdown",
        "--help",
    }


def test_setting_that_is_none_stops_before_the_first_question(desk: Desk) -> None:
    desk.write("[group]\nnam = 'gpu'\n")
    with desk.ask() as person:
        assert person.wait() == 2
    assert person.text == "error: configs/deploy.toml: group.nam is not a setting; did you mean group.name?\n"


def run_without_terminal(desk: Desk) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ghostpen", "ask"]
    return subprocess.run(
        command,
        cwd=desk.folder,
        env=desk.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_other_file_is_named_by_an_option(desk: Desk) -> None:
    with desk.ask("--deploy-config", "mine.toml") as person:
        answer_question(person, "aws.region", "eu-central-1")
        person.expect("Enter leaves it open: ")
        person.press("C")
        person.answer(r"Write this to mine.toml\? \[y/n\] ", "y")
        assert person.wait() == 130
    assert tomllib.loads(Path(desk.folder / "mine.toml").read_text()) == {"aws": {"region": "eu-central-1"}}
