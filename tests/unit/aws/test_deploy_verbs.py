"""deploy, smoke, status, logs and down as a person types them: real processes, real HTTP, the real script.

The instances are folders, and in the container runs a program without a model.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.stand_ins.aws.bundles import render_bundle
from tests.stand_ins.aws.fault_book import Faults
from tests.stand_ins.aws.machines import QUICK_DELAYS, QUICK_PLAN, make_machines
from tests.stand_ins.aws.server import AwsServer
from tests.stand_ins.aws.world import World

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
BUCKET, SECRET = "verbs-bucket", "k3y-of-wandb"
TIMEOUT_S = 120
DEPLOY = f"""
[aws]
region = "eu-central-1"
account_id = "123456789012"
[group]
name = "gpu-runs"
[image]
repository = "ghostpen"
tag = "v1"
[storage]
uri = "s3://{BUCKET}/book"
[secrets]
path = "/ghostpen"
names = ["WANDB_API_KEY"]
[logs]
group = "/ghostpen/runs"
[limits]
max_runtime_s = 600
gpu_memory_gb = 1
[timeouts]
poll_s = 0.2
settle_s = 1
terminate_s = 60
"""
RUN = 'name = "{name}"\n[data]\ndir = "data"\n[model]\nname = "embedded:tiny"\n[train]\nmax_steps = 1\n'


@dataclass
class Place:
    """A person's folder, with settings, before a simulated account."""

    server: AwsServer
    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")},
            **self.server.make_environment("job"),
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
            "WANDB_API_KEY": SECRET,
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
        }

    def start(self, *words: str, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "ghostpen", *words], cwd=self.folder, env=self.environ | environ,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        with self.start(*words, **environ) as process:
            try:
                output, errors = process.communicate(timeout=TIMEOUT_S)
            finally:
                process.kill()
        return subprocess.CompletedProcess(words, process.returncode, output, errors)

    def deploy(self, name: str, *more: str) -> subprocess.CompletedProcess[str]:
        return self.run("deploy", "--mode", "train", "--config", self.write_config(name), *more)

    def write_config(self, name: str) -> str:
        path = self.folder / f"{name}.toml"
        path.write_text(RUN.format(name=name), encoding="utf-8")
        return path.name

    def read(self, name: str) -> str:
        path = self.folder / name
        return path.read_text(encoding="utf-8") if path.exists() else ""

    @property
    def left(self) -> list[str]:
        return self.server.simulator.list_leftovers()


@pytest.fixture(scope="module")
def server() -> Iterator[AwsServer]:
    """Start one account for all tests here: each leaves it empty."""
    command = (sys.executable, str(ROOT / "tests/stand_ins/container_program.py"))
    image_sets = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    world = World(delays=QUICK_DELAYS, buckets=(BUCKET,))
    with (
        make_machines(command=command, container_environment=image_sets) as machines,
        AwsServer(machines, world=world, faults=Faults(plan=QUICK_PLAN)).serve() as aws,
    ):
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
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/deploy.toml").write_text(DEPLOY, encoding="utf-8")
    made = Place(server, tmp_path)
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
    assert place.read("output") == "run_id=emma\noutcome=completed\ndetached=false\n"
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
