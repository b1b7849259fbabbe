"""The whole way: deploy.yml by act, the real command and script, a simulated account, a real training, nothing left.

No part of ghostpen is replaced: the container's program is `ghostpen run`. `tests/workflows` has the ways to end.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.pipeline.commands import Commands
from tests.pipeline.conftest import CONFIG
from tests.workflows.act import ROOT, Started, WorkflowRun
from tests.workflows.stage import PREFIX, SECRET, Stage, make_s3, open_stage

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

LIMIT_S = 300
CLEAN_UP = "See the group at 0"
IMAGE_SETS = {
    "PYTHONPATH": str(ROOT / "src"),
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_OFFLINE": "1",
    "WANDB_MODE": "offline",
}


@pytest.fixture(scope="module")
def stage(commands: Commands, base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Open an account with the data in it, and a repository with the run's settings."""
    container = (sys.executable, "-P", "-m", "ghostpen")
    with (
        tempfile.TemporaryDirectory(prefix="ghostpen-model-") as models,
        open_stage(
            tmp_path_factory.mktemp("stage"),
            bucket="deployed-bucket",
            container=container,
            container_environment=IMAGE_SETS,
        ) as opened,
    ):
        os.chmod(models, 0o755)  # the container is not this user
        model = shutil.copytree(base, Path(models) / "base")
        pushed = commands.run(
            "data", "push", "data", f"{opened.uri}/data", environment=opened.server.make_environment("owner")
        )
        assert pushed.exit_code == 0, pushed.stderr
        opened.write_config("mine", make_quick(CONFIG, model))
        yield opened


def make_quick(config: str, model: Path) -> str:
    """Let a run take as few steps as have a checkpoint in the middle, on a model that the container may read."""
    changes = {
        '"base"': json.dumps(str(model)),
        "max_steps = 12": "max_steps = 4",
        "checkpoint_every = 5": "checkpoint_every = 2",
    }
    for before, after in changes.items():
        assert config.count(before) == 1
        config = config.replace(before, after)
    return config


@pytest.fixture(scope="module")
def trained(stage: Stage) -> WorkflowRun:
    return stage.dispatch(mode="train", run_id="whole", config="configs/mine.toml", limit_s=LIMIT_S)


def wait_for(condition: Callable[[], object], what: str, *, started: Started | None = None) -> None:
    """Wait, but no longer than that run goes on: what it printed tells why it does not get there."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        going_on = started is None or not started.ended
        assert going_on and time.monotonic() < end, f"{what}\n{started.read_log() if started else ''}"
        time.sleep(0.2)


def exists(stage: Stage, key: str) -> bool:
    listed = make_s3(stage.server).list_objects_v2(Bucket=stage.bucket, Prefix=key)
    return "Contents" in listed


def pull(commands: Commands, stage: Stage, run_id: str) -> Path:
    """Bring a run's results here, with the verb for that."""
    out = f"pulled/{run_id}"
    environment = stage.server.make_environment("owner")
    done = commands.run("pull", run_id, "--from", stage.uri, "--out", out, environment=environment)
    assert done.exit_code == 0, done.stderr
    return commands.folder / out


def test_training_from_github_brings_home_two_adapters_and_leaves_no_gpu(
    commands: Commands, trained: WorkflowRun, stage: Stage
) -> None:
    assert trained.exit_code == 0, trained.log
    assert trained.outputs["deploy.outcome"] == "completed"
    assert "on the author's held-out text" in trained.log
    assert "gpu-runs: desired capacity 0, no instance (seen so from " in trained.log
    assert stage.left == []
    run = pull(commands, stage, "whole")
    adapters = {(run / role / "adapter/adapter_model.safetensors").read_bytes() for role in ("", "control")}
    assert len(adapters) == 2


def test_test_from_github_measures_the_adapter_of_that_training(
    commands: Commands, trained: WorkflowRun, stage: Stage
) -> None:
    done = stage.dispatch(mode="test", run_id="whole", limit_s=LIMIT_S)

    assert done.exit_code == 0, done.log
    assert done.outputs["deploy.outcome"] == "completed"
    assert stage.left == []
    report = json.loads((pull(commands, stage, "whole") / "report.json").read_text(encoding="utf-8"))
    assert set(report["author_test"]["models"]) == {"base", "control", "author"}


def test_job_killed_in_the_middle_of_the_training_leaves_whole_results_and_no_gpu(
    commands: Commands, stage: Stage
) -> None:
    started = stage.start(mode="train", run_id="lost", config="configs/mine.toml")
    checkpoints = f"{PREFIX}/runs/lost/author/checkpoint-"  # any: one that a newer one overtakes is not uploaded
    wait_for(lambda: exists(stage, checkpoints), "nothing was trained", started=started)

    started.lose()

    assert stage.server.simulator.group.desired == 1
    assert not exists(stage, f"{PREFIX}/runs/lost/results/control/manifest.json")
    # Which does no harm: it is on the group until it fires, or the run is gone on with.
    wait_for(lambda: stage.left == ["action ghostpen-lost"], "the instance did not give itself back")
    assert (pull(commands, stage, "lost") / "control/adapter/adapter_model.safetensors").is_file()


def test_no_secret_stands_in_any_request(trained: WorkflowRun, stage: Stage) -> None:
    assert stage.server.simulator.find_in_requests(SECRET) == []
    assert SECRET not in trained.log
    put = [request for request in stage.server.simulator.requests if request.operation == "PutParameter"]
    assert put
    assert {request.params["Type"] for request in put} == {"SecureString"}
