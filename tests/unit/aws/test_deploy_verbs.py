"""deploy, smoke, status, logs and down as a person types them: real processes, real HTTP, the real script.

The instances are folders, and in the container runs a program without a model.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.documents import ROOT, take_blocks, write_texts
from tests.place import SECRET, TIMEOUT_S, Place, serve_account
from tests.stand_ins.aws.bundles import render_bundle
from tests.stand_ins.aws.server import AwsServer

pytestmark = pytest.mark.slow
BUCKET = "verbs-bucket"


@pytest.fixture(scope="module")
def server() -> Iterator[AwsServer]:
    """Start one account for all tests here: each leaves it empty."""
    with serve_account(BUCKET) as aws:
        import boto3

        environ = aws.make_environment("owner")
        session = boto3.Session(
            environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"], region_name="eu-central-1"
        )
        s3 = session.client("s3", endpoint_url=aws.url)
        data = {"manifest.json": b"{}", "contrast_train.jsonl": b"{}\n"}
        for name, content in render_bundle(data, info={}, created_at="2026-11-24").items():
            s3.put_object(Bucket=BUCKET, Key=f"book/data/{name}", Body=content)
        yield aws


@pytest.fixture
def place(server: AwsServer, tmp_path: Path) -> Iterator[Place]:
    made = Place(server, tmp_path)
    made.write_settings(f"s3://{BUCKET}/book")
    assert made.left == []
    yield made
    if made.left:  # of a test that failed: the next one must not fail for it
        made.run("down", "--group", "gpu-runs", "--region", "eu-central-1")


def test_deploy_trains_brings_home_and_says_that_the_gpu_is_gone(place: Place) -> None:
    done = place.deploy("emma")

    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("group       gpu-runs: desired capacity 0, no instance (seen so from ")
    assert "perplexity  44.10 on the author's held-out text" in done.stdout
    assert place.left == []
    assert place.read("output") == "run_id=emma\nbegun=true\noutcome=completed\ndetached=false\n"
    assert place.read("summary").startswith("### ✅ ghostpen train: completed\n")


def test_deploy_shows_what_the_container_writes_and_hides_the_secret(place: Place) -> None:
    done = place.deploy("persuasion")

    assert "| train persuasion, with a key: ***" in done.stdout, done.stdout + done.stderr
    told = done.stdout + done.stderr + place.read("output") + place.read("summary")
    assert SECRET not in told
    # This program tells its secret, which `ghostpen run` does not: docker sends what it writes to CloudWatch.
    found = {request.name for request in place.server.simulator.find_in_requests(SECRET)}
    assert found == {"logs:PutLogEvents"}


def test_deploy_of_a_container_that_fails_has_its_code_and_its_last_lines(place: Place) -> None:
    done = place.deploy("fails-soon")

    assert done.returncode == 24, done.stdout + done.stderr
    assert done.stderr == (
        "error: the container left with exit code 3; its last lines: train fails-soon, with a key: *** | nothing was "
        "learned\n"
    )
    assert "outcome=container-failed" in place.read("output")
    assert "| why | the container left with exit code 3" in place.read("summary")
    assert place.left == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_to_deploy_lets_go_within_seconds_and_down_sees_it_out(
    place: Place, number: signal.Signals, code: int
) -> None:
    with place.start("deploy", "--mode", "train", "--config", place.write_config("waits-long")) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if ": running" in line:
                break
        process.send_signal(number)
        sent = time.monotonic()
        _, errors = process.communicate(timeout=TIMEOUT_S)
        took_s = time.monotonic() - sent

    assert (process.returncode, took_s < 7.5) == (code, True), errors
    assert errors.startswith("error: cancelled: group gpu-runs is set to 0, and its instance goes; `ghostpen down")
    assert place.server.simulator.group.desired == 0
    done = place.run("down", "--group", "gpu-runs", "--region", "eu-central-1")
    assert (done.returncode, place.left) == (0, []), done.stderr
    assert done.stdout.splitlines()[-1].endswith("UTC on); freed of run waits-long")


def test_run_that_is_left_alone_is_watched_and_ended_by_other_verbs(place: Place) -> None:
    done = place.deploy("waits-for-all", "--follow-for", "0")
    assert (done.returncode, "detached=true" in place.read("output")) == (0, True), done.stderr
    assert "the run goes on by itself on i-" in done.stdout.splitlines()[-1]

    shown = place.run("status").stdout.splitlines()
    assert shown[0] == "group gpu-runs: desired 1 of 0 to 1, g6e.xlarge, g6e.2xlarge"
    assert shown[1].startswith("instance i-")
    assert shown[2].startswith("run waits-for-all: the group goes to 0 at ")
    assert "on i-" in shown[3]

    follower = place.start("logs", "--follow")
    refused = place.deploy("another")
    assert (refused.returncode, "is held by run waits-for-all until" in refused.stderr) == (30, True)
    assert place.read("output").count("begun=true\n") == 1  # of the first alone: nothing was changed
    left_alone = place.run("down", "--run-id", "another")
    assert (left_alone.returncode, place.server.simulator.group.desired) == (0, 1), left_alone.stderr

    ended = place.run("down", "--run-id", "waits-for-all")
    assert (ended.returncode, place.left) == (0, []), ended.stderr
    with follower:
        lines, _ = follower.communicate(timeout=TIMEOUT_S)
    assert lines.splitlines() == ["train waits-for-all, with a key: ***"]
    assert follower.returncode == 0
    assert place.run("logs", "waits-for-all").stdout == lines


def test_smoke_goes_up_and_down(place: Place) -> None:
    done = place.run("smoke", "--set", "secrets.names=[]")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "GPU smoke test passed" in done.stdout
    assert place.left == []


def test_dry_run_prints_the_plan_and_changes_nothing(place: Place) -> None:
    requests = len(place.server.simulator.requests)
    done = place.deploy("mansfield", "--dry-run")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1. put the scheduled action ghostpen-mansfield on gpu-runs: desired 0 after ")
    changes = {
        request.name
        for request in place.server.simulator.requests[requests:]
        if not request.operation.startswith(("Describe", "Get", "List"))
    }
    assert changes == set()


def test_commands_of_the_page_on_deploying_run_as_they_stand(place: Place) -> None:
    (block,) = take_blocks(__file__, "docs/deploy.md")
    shutil.copytree(ROOT / "configs", place.folder / "configs", dirs_exist_ok=True)
    write_texts("austen.zip", place.folder / "texts", works=6, characters=1_000)
    write_texts("contrast.zip", place.folder / "others", works=12, characters=1_000)
    place.run("prepare", "texts", "--author", "My Name", "--contrast", "others", "--out", "data/mine")
    uri = f"s3://{BUCKET}/page"
    said = []
    for program, *words in block.runnable:
        if program == "cp":
            assert (place.folder / words[0]).is_file() and words[1] == "configs/deploy.toml"
            place.write_settings(uri)
            continue
        assert program == "ghostpen"
        # The deploying role may not write data: who has the texts is another.
        caller = place.server.make_environment("owner" if words[0] == "data" else "job")
        done = place.run(*(word.replace("s3://BUCKET/PREFIX", uri) for word in words), **caller)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        said.append(done.stdout)

    assert said[0].startswith(f"{uri}/data holds data/mine")
    assert said[1].startswith("1. put the scheduled action ghostpen-gpt-oss-20b-48gb on gpu-runs: desired 0 after ")
    assert all("group       gpu-runs: desired capacity 0, no instance" in told for told in said[2:4])
    assert said[4] == "runs/gpt-oss-20b-48gb holds test 1, the control, the author's adapter\n"


def test_status_of_a_group_needs_nothing_but_its_name(place: Place) -> None:
    (place.folder / "configs/deploy.toml").unlink()
    done = place.run("status", "--group", "gpu-runs", "--region", "eu-central-1")

    assert done.stdout.splitlines() == [
        "group gpu-runs: desired 0 of 0 to 1, g6e.xlarge, g6e.2xlarge",
        "no instance",
        "no run holds the group",
    ]


@pytest.mark.parametrize(
    ("words", "environ", "said"),
    [
        (
            ["deploy", "--mode", "train"],
            {},
            "error: name the run: with --config FILE a new one, with --run-id ID one",
        ),
        (["deploy", "--mode", "train", "--config", "no.toml"], {}, "error: no.toml: no such config file"),
        (
            ["deploy", "--mode", "train", "--config", "emma.toml", "--set", "group.nam=x"],
            {},
            "did you mean group.name?",
        ),
        (
            ["deploy", "--mode", "train", "--config", "emma.toml"],
            {"WANDB_API_KEY": ""},
            "error: secrets.names: WANDB_API_KEY is not set in the environment",
        ),
        (["deploy", "--mode", "train", "--run-id", "Emma"], {}, '--run-id is "Emma": use 1 to 64 of a-z'),
        (["deploy", "--mode", "train", "--run-id", "never"], {}, "run never was never deployed from here"),
        (["status", "--group", "gpu-runs"], {}, "error: --group and --region go together"),
        (
            ["down", "--group", "gpu-run", "--region", "eu-central-1"],
            {},
            "there is no Auto Scaling group of this name",
        ),
        (["logs"], {}, "error: no run holds group gpu-runs: name the run"),
    ],
)
def test_what_a_person_can_put_right_is_one_line_and_exit_code_2(
    place: Place, words: list[str], environ: dict[str, Any], said: str
) -> None:
    place.write_config("emma")
    done = place.run(*words, **environ)

    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert said in done.stderr
    assert place.left == []


def test_missing_settings_are_all_in_one_line(place: Place) -> None:
    (place.folder / "configs/deploy.toml").unlink()
    done = place.run("deploy", "--mode", "train", "--config", place.write_config("emma"))

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    for key in ("aws.region", "group.name", "image.repository", "storage.uri", "logs.group", "limits.max_runtime_s"):
        assert f"{key} is missing" in done.stderr
