"""`ghostpen run` as real processes against an S3 server: trained, lost, gone on with, tested and brought home.

Only here is a training started by `ghostpen run` and not by a test; tests/unit/container has the many ways to end.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline.commands import Commands, Finished
from tests.pipeline.conftest import SECRETS
from tests.pipeline.evidence import read_rows
from tests.s3_server import make_bucket

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

LIMIT_S = 240
URI = "s3://ghostpen-container/owner/mine"
# Many steps, so that it can be lost in the middle: the folder is looked at every second.
MAX_STEPS = 100
TRAINING = (
    f"train.max_steps={MAX_STEPS}", "train.checkpoint_every=2", "train.keep_checkpoints=1", "train.eval_every=50",
    "train.patience=0", "train.max_rises=0",
)  # fmt: skip
SETTINGS = (f"storage.uri={URI}", *TRAINING)


class Container:
    """Start `ghostpen run` as the container does: a process, an environment, an empty folder."""

    def __init__(self, commands: Commands, config: str, variables: Mapping[str, str]) -> None:
        self.folder = commands.folder
        self._config = config
        home = commands.folder.parent / "home"
        self.environ = dict(os.environ) | dict(variables) | {"HOME": str(home), "CUDA_VISIBLE_DEVICES": ""}

    def start(self, work: str, *options: str) -> subprocess.Popen[str]:
        """Start a run in a group of processes of its own."""
        settings = [f"model.name={self.folder / 'base'}", *SETTINGS]
        command = [sys.executable, "-P", "-m", "ghostpen", "run", "--config", self._config, "--work", work, *options]
        return subprocess.Popen(
            [*command, *(part for setting in settings for part in ("--set", setting))],
            cwd=self.folder, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def finish(self, process: subprocess.Popen[str]) -> Finished:
        """Wait for the end."""
        stdout, stderr = process.communicate(timeout=LIMIT_S)
        return Finished(process.returncode, stdout, stderr)

    def run(self, work: str, *options: str) -> Finished:
        """Do a run, and wait for its end."""
        return self.finish(self.start(work, *options))


@pytest.fixture(scope="module")
def bucket(aws_variables: dict[str, str]) -> Iterator[Any]:
    with make_bucket(aws_variables["AWS_ENDPOINT_URL"], "ghostpen-container") as made:
        yield made


@pytest.fixture(scope="module")
def container(
    commands: Commands,
    config: str,
    data: Path,
    bucket: Any,
    aws_variables: dict[str, str],
) -> Container:
    """Push the data, with the verb for that."""
    started = Container(commands, config, aws_variables | SECRETS)  # moto takes any key
    pushed = commands.run("data", "push", "data", f"{URI}/data", environment=aws_variables)
    assert pushed.exit_code == 0, pushed.stderr
    return started


@pytest.fixture(scope="module")
def straight(container: Container) -> Finished:
    """Train undisturbed, tracked by Weights & Biases offline."""
    options = ("--mode", "train", "--run-id", "straight", "--set", "tracking.tracker=wandb")
    done = container.run("work-straight", *options)
    assert (done.exit_code, done.stderr) == (0, "")
    return done


def find_checkpoints(bucket: Any, run_id: str, role: str) -> set[str]:
    """List the checkpoints of a run that are complete in S3."""
    prefix = f"owner/mine/runs/{run_id}/{role}/"
    keys = [item.key.removeprefix(prefix) for item in bucket.objects.filter(Prefix=prefix)]
    return {key.partition("/")[0] for key in keys if key.count("/") == 1 and key.endswith("/manifest.json")}


def wait_for_checkpoint(bucket: Any, run_id: str, process: subprocess.Popen[str]) -> None:
    """Wait until a checkpoint is complete in S3."""
    end_s = time.monotonic() + LIMIT_S
    while not find_checkpoints(bucket, run_id, "author"):
        assert time.monotonic() < end_s and process.poll() is None, process.communicate(timeout=LIMIT_S)
        time.sleep(0.05)


def pull(commands: Commands, run_id: str, variables: Mapping[str, str]) -> Path:
    """Bring a run's results here, with the verb for that."""
    done = commands.run(
        "pull", run_id, "--from", URI, "--out", f"pulled/{run_id}", environment=variables
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    return commands.folder / "pulled" / run_id


def assert_same_training(folder: Path, expected: Path) -> None:
    """Compare adapters and curves to the bit."""
    name = "adapter/adapter_model.safetensors"
    assert (folder / name).read_bytes() == (expected / name).read_bytes()
    curves = [
        [row for row in read_rows(path / "metrics.jsonl") if row["split"] != "train"] for path in (folder, expected)
    ]
    assert curves[0] == curves[1]


@pytest.fixture(scope="module")
def brought(
    commands: Commands,
    straight: Finished,
    aws_variables: dict[str, str],
) -> Iterator[Path]:
    yield pull(commands, "straight", aws_variables)


def test_run_trains_author_and_control_as_train_does(
    commands: Commands, brought: Path, bucket: Any, config: str
) -> None:
    options = [part for setting in (*TRAINING, "name=by-hand") for part in ("--set", setting)]
    commands.succeed("train", "--config", config, *options)
    assert_same_training(brought, commands.folder / "runs/by-hand")
    assert (brought / "control/adapter/adapter_model.safetensors").is_file()
    assert f"checkpoint-{MAX_STEPS}" in find_checkpoints(bucket, "straight", "author")


def test_test_of_a_run_measures_what_was_pulled(
    commands: Commands,
    container: Container,
    straight: Finished,
    aws_variables: dict[str, str],
) -> None:
    done = container.run("work-test", "--mode", "test", "--run-id", "straight")
    assert (done.exit_code, done.stderr) == (0, "")
    assert {path.name for path in (commands.folder / "work-test/data").iterdir()} == {
        "manifest.json", "test.jsonl", "contrast_test.jsonl",
    }  # fmt: skip
    again = pull(commands, "straight", aws_variables)
    assert {"report.json", "specificity.png"} <= {path.name for path in again.iterdir()}
    written = commands.succeed("write", "It was late", "--run", str(again), "--max-words", "3")
    assert written.stdout.strip()


def test_run_that_is_told_to_stop_goes_on_elsewhere_to_the_same_end(
    commands: Commands,
    container: Container,
    brought: Path,
    bucket: Any,
    aws_variables: dict[str, str],
) -> None:
    process = container.start("work-stopped", "--mode", "train", "--run-id", "stopped", "--no-control")
    wait_for_checkpoint(bucket, "stopped", process)
    process.send_signal(signal.SIGTERM)
    stopped = container.finish(process)
    assert stopped.exit_code == 143
    assert stopped.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in stopped.stderr
    steps = [int(name.removeprefix("checkpoint-")) for name in find_checkpoints(bucket, "stopped", "author")]
    assert 2 <= max(steps) < MAX_STEPS

    resumed = container.run("work-elsewhere", "--mode", "train", "--run-id", "stopped", "--no-control")

    assert resumed.exit_code == 0
    assert f"going on from step {max(steps)}" in resumed.stdout
    assert_same_training(pull(commands, "stopped", aws_variables), brought)


def test_run_that_is_lost_goes_on_from_the_newest_checkpoint_in_s3_to_the_same_end(
    commands: Commands,
    container: Container,
    brought: Path,
    bucket: Any,
    aws_variables: dict[str, str],
) -> None:
    process = container.start("work-lost", "--mode", "train", "--run-id", "lost", "--no-control")
    wait_for_checkpoint(bucket, "lost", process)
    os.killpg(process.pid, signal.SIGKILL)  # as an instance that is gone; the training is told by the kernel
    container.finish(process)
    steps = [int(name.removeprefix("checkpoint-")) for name in find_checkpoints(bucket, "lost", "author")]
    assert 2 <= max(steps) < MAX_STEPS

    resumed = container.run("work-found", "--mode", "train", "--run-id", "lost", "--no-control")

    assert resumed.exit_code == 0
    assert f"going on from step {max(steps)}" in resumed.stdout
    assert_same_training(pull(commands, "lost", aws_variables), brought)


def test_no_secret_is_in_s3_the_folders_or_the_output(
    commands: Commands, container: Container, straight: Finished, bucket: Any
) -> None:
    assert container.environ["WANDB_API_KEY"] == SECRETS["WANDB_API_KEY"]
    places = {item.key: item.get()["Body"].read() for item in bucket.objects.all()}
    assert any("/wandb/" in key and key.endswith(".wandb") for key in places)  # the run as W&B would get it
    files = [path for path in (commands.folder / "work-straight").rglob("*") if path.is_file()]
    places |= {str(path): path.read_bytes() for path in files}
    places |= {"stdout": straight.stdout.encode(), "stderr": straight.stderr.encode()}
    found = [f"{name} in {key}" for key, content in places.items() for name, value in SECRETS.items()
             if value.encode() in content]  # fmt: skip
    assert found == []
