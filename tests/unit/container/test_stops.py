"""SIGTERM, Ctrl-C and kill -9 at each phase of a job that runs as a process of its own."""

import fcntl
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.stand_ins.faulty_s3 import Call, Fault, FaultyS3

from ghostpen.aws.bundle import list_bundles, read_bundle
from ghostpen.aws.s3 import ATTEMPTS, ObjectStore
from ghostpen.container.attempt import UPLOAD_TIMEOUT_S
from ghostpen.container.job import Job
from ghostpen.errors import ConfigError

LIMIT_S = 30
ROOT = Path(__file__).parents[3]
MakeJob = Callable[..., Job]
Do = Callable[..., None]

pytestmark = pytest.mark.usefixtures("data")


class Running:
    """A job in a process of its own."""

    def __init__(self, job: Job, *script: Any, attempts: int, upload_timeout_s: float) -> None:
        self.folder = job.locate("author")
        given = pickle.dumps((job, script, attempts, upload_timeout_s)).hex()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.container.job_process", given],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        )

    def wait_for(self, condition: Callable[[], object]) -> None:
        end_s = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < end_s and self.process.poll() is None, self.process.communicate()
            time.sleep(0.01)

    def wait_until_reached(self) -> None:
        """Wait until the program is where it sleeps."""
        self.wait_for((self.folder / "reached").exists)

    def send(self, number: int) -> tuple[int, str, float]:
        """Send a signal; returns exit code, standard error and seconds."""
        began_s = time.monotonic()
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, errors, time.monotonic() - began_s


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    """Give what starts a job; what still runs at the end of a test is killed."""
    started: list[Running] = []

    def start(
        job: Job, *script: Any, attempts: int = ATTEMPTS, upload_timeout_s: float = UPLOAD_TIMEOUT_S
    ) -> Running:
        started.append(Running(job, *script, attempts=attempts, upload_timeout_s=upload_timeout_s))
        return started[-1]

    yield start
    for running in started:
        running.process.kill()
        running.process.communicate()


@pytest.fixture
def spoil(bucket: Any, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., FaultyS3]]:
    """Give what puts faults between the job and the server."""
    servers = []

    def spoil(choose: Callable[[Call], Fault | None]) -> FaultyS3:
        servers.append(FaultyS3(s3_server, choose).__enter__())
        monkeypatch.setenv("AWS_ENDPOINT_URL", servers[-1].url)
        return servers[-1]

    yield spoil
    for server in servers:
        server.__exit__()


def read_outcome(job: Job) -> dict[str, Any]:
    outcome: dict[str, Any] = json.loads((job.work / "outcome.json").read_text(encoding="utf-8"))
    return outcome


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_stops_the_training_and_its_last_checkpoint_is_saved(
    store: ObjectStore, make_job: MakeJob, start: Callable[..., Running], number: signal.Signals, code: int
) -> None:
    job = make_job()
    running = start(job, ["checkpoint", 2], ["touch and sleep", 60])
    running.wait_until_reached()

    exit_code, errors, seconds = running.send(number)

    assert exit_code == code
    assert errors == f"error: stopped by {number.name}; the same command and run id go on from here\n"
    assert seconds < 15
    assert list_bundles(store, "runs/run-1/author") == ["checkpoint-2", "checkpoint-3"]
    assert list_bundles(store, "runs/run-1/attempts") == ["1"]
    outcome = read_outcome(job)
    assert (outcome["outcome"], outcome["exit_code"]) == ("stopped", code)
    assert list_bundles(store, "runs/run-1/results") == []


def test_training_that_is_ended_by_the_signal_itself_counts_as_stopped(
    make_job: MakeJob, start: Callable[..., Running]
) -> None:
    running = start(make_job(), ["signals end it"], ["touch and sleep", 60])
    running.wait_until_reached()
    exit_code, errors, _ = running.send(signal.SIGTERM)
    assert exit_code == 143
    assert errors == "error: stopped by SIGTERM; the same command and run id go on from here\n"


def test_training_that_ignores_sigterm_is_killed_at_half_the_grace(
    store: ObjectStore, make_job: MakeJob, start: Callable[..., Running]
) -> None:
    running = start(make_job(grace_s=8), ["ignore signals"], ["checkpoint", 2], ["touch and sleep", 60])
    running.wait_until_reached()

    exit_code, _, seconds = running.send(signal.SIGTERM)

    assert exit_code == 143
    assert 3.9 < seconds < 7
    assert list_bundles(store, "runs/run-1/author") == ["checkpoint-2"]
    assert list_bundles(store, "runs/run-1/attempts") == ["1"]


def test_upload_that_hangs_after_sigterm_ends_with_the_grace(
    store: ObjectStore, make_job: MakeJob, start: Callable[..., Running], spoil: Callable[..., FaultyS3]
) -> None:
    hangs, release = threading.Event(), threading.Event()

    def choose(call: Call) -> Fault | None:
        if hangs.is_set():
            release.wait(LIMIT_S)
        return None

    spoil(choose)
    running = start(make_job(grace_s=5), ["checkpoint", 2], ["sleep", 2], ["touch and sleep", 60])
    running.wait_until_reached()
    running.wait_for(lambda: read_bundle(store, "runs/run-1/author/checkpoint-2"))
    hangs.set()
    exit_code, errors, seconds = running.send(signal.SIGTERM)
    release.set()

    assert exit_code == 143
    assert errors.splitlines()[-1] == (
        "error: storage.grace_s (5 s) after SIGTERM not all was in S3; "
        "the same command and run id go on from the newest checkpoint that is"
    )
    assert 4.5 < seconds < 8
    assert list_bundles(store, "runs/run-1/author") == ["checkpoint-2"]  # complete, as it was before


def test_newest_checkpoint_does_not_wait_for_one_that_hangs_on_its_way(
    store: ObjectStore, make_job: MakeJob, start: Callable[..., Running], spoil: Callable[..., FaultyS3]
) -> None:
    release, hung = threading.Event(), threading.Event()

    def choose(call: Call) -> Fault | None:
        if "checkpoint-2/files" in call.key:
            hung.set()
            release.wait(LIMIT_S)
        return None

    spoil(choose)
    job = make_job(grace_s=10)
    running = start(job, ["checkpoint", 2], ["touch and sleep", 60])
    running.wait_until_reached()
    running.wait_for(hung.is_set)
    exit_code, errors, seconds = running.send(signal.SIGTERM)
    release.set()

    assert exit_code == 143
    assert seconds < 11 + 5
    assert list_bundles(store, "runs/run-1/author") == ["checkpoint-3"]
    assert list_bundles(store, "runs/run-1/attempts") == ["1"]
    assert errors.splitlines()[-1] == (
        "error: stopped by SIGTERM; the same command and run id go on from here; not in S3: checkpoint 2 of the "
        f"author; they are in {job.work}, and the same command goes on there"
    )


def test_signal_while_data_are_pulled_ends_it_at_once(
    make_job: MakeJob, start: Callable[..., Running], spoil: Callable[..., FaultyS3]
) -> None:
    hung, release = threading.Event(), threading.Event()

    def choose(call: Call) -> Fault | None:
        if call.key.endswith("/train.jsonl"):
            hung.set()
            release.wait(LIMIT_S)
        return None

    spoil(choose)
    job = make_job(grace_s=25)
    running = start(job, ["finish"])
    running.wait_for(hung.is_set)
    exit_code, errors, seconds = running.send(signal.SIGTERM)
    release.set()

    assert exit_code == 143
    assert seconds < 10
    assert errors == "error: stopped by SIGTERM; the same command and run id go on from here\n"
    assert read_outcome(job)["outcome"] == "stopped"


def test_signal_while_results_are_uploaded_lets_them_arrive(
    store: ObjectStore, make_job: MakeJob, start: Callable[..., Running], spoil: Callable[..., FaultyS3]
) -> None:
    reached, release = threading.Event(), threading.Event()

    def choose(call: Call) -> Fault | None:
        if "results/author/files" in call.key and call.method == "PUT":
            reached.set()
            release.wait(LIMIT_S)
        return None

    spoil(choose)
    job = make_job(control=False)
    running = start(job, ["finish"])
    running.wait_for(reached.is_set)
    threading.Timer(1, release.set).start()
    exit_code, errors, _ = running.send(signal.SIGTERM)

    assert (exit_code, errors) == (0, "")  # all was done
    assert list_bundles(store, "runs/run-1/results") == ["author"]
    assert read_outcome(job)["outcome"] == "finished"


def test_s3_that_is_gone_at_the_end_is_named_with_what_lies_where_and_the_next_attempt_sends_it(
    store: ObjectStore, make_job: MakeJob, start: Callable[..., Running], spoil: Callable[..., FaultyS3],
    do: Do, tmp_path: Path,
) -> None:  # fmt: skip
    gone = threading.Event()
    server = spoil(lambda call: Fault.DROP_REQUEST if gone.is_set() else None)  # in connections that stand
    job = make_job(control=False)
    script = [["checkpoint", 2], ["touch and sleep", 0], ["wait for", str(tmp_path / "go on")], ["finish"]]
    running = start(job, *script, attempts=1, upload_timeout_s=7)
    running.wait_until_reached()
    running.wait_for(lambda: read_bundle(store, "runs/run-1/author/checkpoint-2"))
    gone.set()
    server.shutdown()
    server.server_close()  # and there are no new ones
    (tmp_path / "go on").touch()
    _, errors = running.process.communicate(timeout=LIMIT_S)

    assert running.process.returncode == 2
    assert errors.startswith("error: not in S3: results of the author (s3://container did not answer: Could not conn")
    assert errors.endswith(f"; they are in {job.work}, and the same command goes on there\n")
    assert errors.count("\n") == 1
    assert (read_outcome(job)["outcome"], read_outcome(job)["exit_code"]) == ("failed", 2)
    do(job, ["fail", 1, "error: trained again"])
    assert list_bundles(store, "runs/run-1/results") == ["author"]


def test_signal_between_two_trainings_begins_no_second_one(
    store: ObjectStore, make_job: MakeJob, start: Callable[..., Running]
) -> None:
    running = start(make_job(), ["ignore signals"], ["touch and sleep", 3], ["finish"])
    running.wait_until_reached()
    exit_code, _, _ = running.send(signal.SIGTERM)
    assert exit_code == 143
    assert list_bundles(store, "runs/run-1/results") == ["author"]
    assert list_bundles(store, "runs/run-1/control") == []


def test_kill_of_all_processes_loses_what_was_not_sealed_alone(
    store: ObjectStore, make_job: MakeJob, start: Callable[..., Running], do: Do, capfd: pytest.CaptureFixture[str]
) -> None:
    running = start(make_job(), ["checkpoint", 2], ["checkpoint", 4], ["touch and sleep", 60])
    running.wait_until_reached()
    running.wait_for(lambda: read_bundle(store, "runs/run-1/author/checkpoint-4"))
    running.process.kill()
    running.process.communicate()

    do(make_job(work="elsewhere"), ["say where from"], ["finish"])

    assert "going on with ['checkpoint-2', 'checkpoint-4']" in capfd.readouterr().out
    assert list_bundles(store, "runs/run-1/attempts") == ["1"]  # the killed one wrote none


def test_training_ends_with_what_watches_it_and_holds_its_folder_until_then(
    make_job: MakeJob, start: Callable[..., Running], do: Do
) -> None:
    job = make_job()
    running = start(job, ["ignore signals"], ["touch and sleep", 4])
    running.wait_until_reached()
    with pytest.raises(ConfigError, match="another `ghostpen run`, or what it started, works in .*/work; wait"):
        do(job, ["finish"])
    running.process.kill()
    running.process.wait(LIMIT_S)
    with pytest.raises(ConfigError, match="another `ghostpen run`, or what it started"):
        do(job, ["finish"])
    end_s = time.monotonic() + LIMIT_S
    while not is_free(job.work):
        assert time.monotonic() < end_s
        time.sleep(0.05)
    do(job, ["finish"])


def is_free(work: Path) -> bool:
    with (work / ".lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_training_gets_sigterm_where_what_watches_it_is_killed(
    make_job: MakeJob, start: Callable[..., Running]
) -> None:
    running = start(make_job(), ["checkpoint", 2], ["touch and sleep", 60])
    running.wait_until_reached()
    running.process.kill()
    end_s = time.monotonic() + LIMIT_S
    while not (running.folder / "checkpoints/checkpoint-3/seal.json").exists():
        assert time.monotonic() < end_s
        time.sleep(0.01)
