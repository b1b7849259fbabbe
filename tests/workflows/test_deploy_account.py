"""deploy.yml, run by act, with the real command against the simulated account: how each kind of job ends.

The instance runs the real script; in its container runs a program without a model. tests/pipeline has one with one.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.stand_ins.aws.bundles import render_bundle
from tests.workflows.act import ROOT
from tests.workflows.stage import PREFIX, SECRET, Stage, make_s3, open_stage

pytestmark = pytest.mark.slow

CLEAN_UP = "See the group at 0"
RUN = 'name = "{name}"\n[data]\ndir = "data"\n[model]\nname = "embedded:tiny"\nrequire_gpu = false\n'
LIMIT_S = 60


@contextmanager
def open_account(folder: Path, bucket: str) -> Iterator[Stage]:
    with open_stage(
        folder,
        bucket=bucket,
        container=(sys.executable, str(ROOT / "tests/stand_ins/container_program.py")),
        container_environment={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
    ) as stage:
        s3 = make_s3(stage.server)
        data = {"manifest.json": b"{}", "contrast_train.jsonl": b"{}\n"}
        for name, content in render_bundle(data, info={}, created_at="2026-11-24").items():
            s3.put_object(Bucket=bucket, Key=f"{PREFIX}/data/{name}", Body=content)
        yield stage


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with open_account(tmp_path_factory.mktemp("stage"), "workflow-bucket") as stage:
        yield stage


@pytest.fixture
def stage(opened: Stage) -> Stage:
    """Give the account that these tests share, each leaving it empty."""
    assert opened.left == []
    return opened


@pytest.fixture
def own_stage(tmp_path: Path) -> Iterator[Stage]:
    """Give an account of its own, whose time a test may push ahead: the next deployment would not know that time."""
    with open_account(tmp_path, "hastened-bucket") as stage:
        yield stage


def configure(stage: Stage, name: str) -> dict[str, str]:
    """Give the inputs of a new training."""
    return {"mode": "train", "run_id": name, "config": stage.write_config(name, RUN.format(name=name))}


def wait_for(condition: Callable[[], object], what: str, *, limit_s: float = LIMIT_S) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def test_training_ends_with_results_and_the_group_at_zero(stage: Stage) -> None:
    done = stage.dispatch(**configure(stage, "emma"))

    assert done.exit_code == 0, done.log
    assert {"Look and plan", "Deploy", CLEAN_UP} <= set(done.succeeded)
    assert done.outputs["deploy.outcome"] == "completed"
    assert stage.left == []
    assert SECRET not in done.log
    assert "amazonaws.com/ghostpen@sha256:" in done.log  # no secret, though the settings of secrets have that word


def test_failed_training_fails_the_job_with_its_reason_and_the_group_at_zero(stage: Stage) -> None:
    done = stage.dispatch(**configure(stage, "fails-soon"))

    assert (done.exit_code, done.failed) == (1, ["Deploy"])
    assert "the container left with exit code 3; its last lines: " in done.log
    assert stage.left == []


def test_missing_image_is_said_before_anything_is_started(stage: Stage) -> None:
    inputs = configure(stage, "too-early")
    stage.server.simulator.world.repositories["ghostpen"] = ()
    changes = count_changes(stage)

    done = stage.dispatch(**inputs)

    assert (done.exit_code, done.failed) == (1, ["Look and plan"])
    assert f"ECR repository ghostpen holds no image {stage.repository.commit}" in done.log
    assert count_changes(stage) == changes


def test_cancelled_job_ends_what_it_has_started(stage: Stage) -> None:
    """act kills the command at once, so that all is left to the last step; GitHub lets it let go itself before."""
    started = stage.start(**configure(stage, "waits-one"))
    wait_for(lambda: ": running" in started.read_log(), "the run did not start")

    cancelled_at = stage.server.timeline.now()
    started.cancel()
    done = started.finish()

    assert done.steps[CLEAN_UP] == "success", done.log
    assert "gpu-runs: desired capacity 0, no instance (seen so from " in done.log
    assert stage.left == []
    (let_go,) = [
        request.at - cancelled_at
        for request in stage.server.simulator.requests
        if request.operation == "SetDesiredCapacity" and request.at > cancelled_at
    ]
    assert let_go < 15  # GitHub kills everything after 300
    print(f"desired 0 was sent {let_go:.1f} s after the cancellation")


def test_job_cancelled_before_there_is_an_instance_ends_the_one_that_comes(stage: Stage) -> None:
    started = stage.start(**configure(stage, "waits-two"))
    wait_for(lambda: stage.server.simulator.group.desired == 1, "desired capacity was not raised")

    started.cancel()
    done = started.finish()

    assert done.steps[CLEAN_UP] == "success", done.log
    assert stage.left == []


def test_lost_job_is_ended_by_the_instances_own_timer(own_stage: Stage) -> None:
    """Nothing of the job's runs any more; the container goes on until SIGTERM, which nobody sends."""
    lose_job(own_stage, "waits-three")

    # Container 3,600 s, grace 120 s, margin 900 s. Real processes do not notice, so no other limit is hit.
    own_stage.server.timeline.push_ahead(3600 + 120 + 900 + 60)
    # The action does no harm any more, and goes when it has fired.
    wait_for(lambda: own_stage.left == ["action ghostpen-waits-three"], "the GPU was left running")
    own_stage.server.timeline.push_ahead(900)
    wait_for(lambda: own_stage.left == [], "the scheduled action is still there")


def test_lost_job_whose_instance_hangs_is_ended_by_the_scheduled_action(own_stage: Stage) -> None:
    lose_job(own_stage, "waits-four")
    (instance,) = own_stage.server.simulator.list_living()
    with own_stage.server.timeline.lock:
        instance.host.freeze()

    own_stage.server.timeline.push_ahead(3600 + 120 + 900 + 900 + 60)

    wait_for(lambda: own_stage.left == [], "the GPU was left running")


def test_job_that_is_lost_and_run_again_goes_on_with_its_run(stage: Stage) -> None:
    inputs = configure(stage, "lasts-one")
    lose_job(stage, "lasts-one", inputs)

    again = stage.start(**inputs)
    wait_for(lambda: " run ..." in again.read_log(), "the run is not followed")
    let_end(stage, "lasts-one")
    done = again.finish()

    assert done.exit_code == 0, done.log
    assert done.outputs["deploy.outcome"] == "completed"
    assert stage.left == []
    assert count_launches(stage, "lasts-one") == 1


def test_long_run_is_left_alone_refuses_others_and_is_followed_by_the_same_workflow(stage: Stage) -> None:
    inputs = configure(stage, "lasts-two")
    path = stage.repository.checkout / ".github/workflows/deploy.yml"
    text = path.read_text(encoding="utf-8")
    assert text.count("--follow-for 15600") == 2
    path.write_text(text.replace("--follow-for 15600", "--follow-for 0"), encoding="utf-8")
    stage.release()

    left = stage.dispatch(**inputs)

    assert left.exit_code == 0, left.log
    assert left.outputs["deploy.detached"] == "true"
    assert left.succeeded[-2:] == ["Deploy", "Say how to follow"]
    assert stage.server.simulator.group.desired == 1

    path.write_text(text, encoding="utf-8")
    stage.release()
    refused = stage.dispatch(mode="train", run_id="another", config=inputs["config"])
    mistyped = stage.dispatch(mode="test", run_id="lasts-two")

    assert [run.failed for run in (refused, mistyped)] == [["Look and plan"], ["Look and plan"]]
    assert "is held by run lasts-two until" in refused.log
    assert "run lasts-two is active on group gpu-runs in mode train, not test" in mistyped.log
    assert stage.server.simulator.group.desired == 1

    let_end(stage, "lasts-two")
    followed = stage.dispatch(mode="train", run_id="lasts-two")

    assert followed.exit_code == 0, followed.log
    assert followed.outputs["deploy.outcome"] == "completed"
    assert stage.left == []


def lose_job(stage: Stage, name: str, inputs: dict[str, str] | None = None) -> None:
    """Lose the job's machine when the run has begun."""
    started = stage.start(**(inputs or configure(stage, name)))
    wait_for(lambda: ": running" in started.read_log(), "the run did not start")
    started.lose()
    assert stage.server.simulator.group.desired == 1


def let_end(stage: Stage, name: str) -> None:
    """Let a container that lasts come to its end."""
    make_s3(stage.server).put_object(Bucket=stage.bucket, Key=f"{PREFIX}/runs/{name}/enough", Body=b"")


def count_changes(stage: Stage) -> int:
    """Count the requests of all times that were not just questions."""
    reads = ("Describe", "Get", "List", "Head")
    return sum(not request.operation.startswith(reads) for request in stage.server.simulator.requests)


def count_launches(stage: Stage, run_id: str) -> int:
    """Count how often a run asked for an instance."""
    names = [
        (request.operation, request.params.get("ScheduledActionName"), request.params.get("DesiredCapacity"))
        for request in stage.server.simulator.requests
    ]
    begun = names.index(("PutScheduledUpdateGroupAction", f"ghostpen-{run_id}", 0))
    return sum(name == "SetDesiredCapacity" and desired == 1 for name, _, desired in names[begun:])
