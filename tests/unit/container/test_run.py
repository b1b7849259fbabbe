"""One attempt at a run, with a small program in place of the training: what is in S3 after each kind of end."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.stand_ins.faulty_s3 import Call, Fault, FaultyS3

from ghostpen.aws.bundle import pull_bundle, read_bundle
from ghostpen.aws.s3 import ObjectStore
from ghostpen.container.run import Job, build_command, run_job
from ghostpen.errors import CloudError, ConfigError, DataError, JobFailed, Terminated
from ghostpen.redaction import find_secrets, redact

LIMIT_S = 30
Build = Callable[..., Callable[..., list[str]]]


def do(
    job: Job, store: ObjectStore, build: Callable[..., list[str]], environ: Mapping[str, str] = os.environ
) -> None:
    clean = partial(redact, secrets=find_secrets(environ))
    run_job(job, store=store, heartbeat_store=store, environ=environ, redact=clean, build=build)


def list_names(store: ObjectStore, name: str) -> set[str]:
    manifest = read_bundle(store, name)
    assert manifest is not None, name
    return {entry.path for entry in manifest.files}


def read_text(store: ObjectStore, name: str, file: str, folder: Path) -> str:
    pull_bundle(store, name, folder, select=file.__eq__)
    return (folder / file).read_text(encoding="utf-8")


def read_outcome(store: ObjectStore, attempt: int, folder: Path) -> dict[str, Any]:
    outcome: dict[str, Any] = json.loads(
        read_text(store, f"runs/run-1/attempts/{attempt}", "outcome.json", folder / f"outcome-{attempt}")
    )
    return outcome


def read_status(store: ObjectStore) -> dict[str, Any]:
    content = store.read_object("runs/run-1/status.json")
    assert content is not None
    status: dict[str, Any] = json.loads(content)
    return status


def test_training_leaves_results_checkpoints_log_and_outcome(
    data: Path, store: ObjectStore, make_job: Callable[..., Job], build: Build, tmp_path: Path
) -> None:
    do(
        make_job(),
        store,
        build(["print", "learning"], ["checkpoint", 2], ["sleep", 1.5], ["checkpoint", 4], ["finish"]),
    )

    for role in ("author", "control"):
        assert list_names(store, f"runs/run-1/results/{role}") == {
            "adapter/adapter.bin", "manifest.json", "metrics.jsonl",
        }  # fmt: skip
    for step in (2, 4):
        assert list_names(store, f"runs/run-1/author/checkpoint-{step}") == {
            f"checkpoints/checkpoint-{step}/adapter.bin", f"checkpoints/checkpoint-{step}/seal.json", "manifest.json",
            "metrics.jsonl",
        }  # fmt: skip
    assert list_names(store, "runs/run-1/attempts/1") == {"log.txt", "outcome.json"}
    log = read_text(store, "runs/run-1/attempts/1", "log.txt", tmp_path / "log").splitlines()
    assert log[0] == "run run-1, attempt 1: train"
    assert "learning" in log
    outcome = read_outcome(store, 1, tmp_path)
    assert (outcome["outcome"], outcome["exit_code"], outcome["mode"]) == ("finished", 0, "train")
    status = read_status(store)
    assert (status["phase"], status["outcome"], status["step"]) == ("ended", "finished", 2)  # the control's


def test_training_gets_the_splits_that_it_reads_and_no_credentials_of_aws(
    data: Path, store: ObjectStore, make_job: Callable[..., Job], build: Build, capfd: pytest.CaptureFixture[str]
) -> None:
    job = make_job()
    do(job, store, build(["print variables"], ["finish"]))

    assert {path.name for path in (job.work / "data").iterdir()} == {
        "manifest.json", "train.jsonl", "val.jsonl", "contrast_train.jsonl", "contrast_val.jsonl",
    }  # fmt: skip
    variables = next(line for line in capfd.readouterr().out.splitlines() if "PATH" in line).split()
    assert [name for name in variables if name.startswith("AWS_")] == []


def test_secret_in_the_output_reaches_neither_terminal_nor_log_nor_s3(
    data: Path, store: ObjectStore, make_job: Callable[..., Job], build: Build, bucket: Any,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    secrets = {"WANDB_API_KEY": "canary-wandb-0123", "HF_TOKEN": "canary-hf-4567", "AWS_SECRET_ACCESS_KEY": "testing"}
    job = make_job()
    says = [["print", f"key {secrets['WANDB_API_KEY']}!"], ["fail", 1, f"error: token {secrets['HF_TOKEN']} refused"]]

    with pytest.raises(JobFailed) as caught:
        do(job, store, build(*says), environ=os.environ | secrets)

    shown = capfd.readouterr()
    stored = b"".join(item.get()["Body"].read() for item in bucket.objects.all())
    for place in (shown.out.encode(), shown.err.encode(), stored, job.work.joinpath("log.txt").read_bytes()):
        assert b"canary" not in place
    assert "key ***!" in shown.out
    assert caught.value.message == "train (author): token *** refused"
    assert b"token *** refused" in stored


def test_training_that_fails_says_why_once_and_leaves_what_there_was(
    data: Path, store: ObjectStore, make_job: Callable[..., Job], build: Build, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with pytest.raises(JobFailed, match="^train .author.: the loss became nan$") as caught:
        do(make_job(), store, build(["checkpoint", 2], ["fail", 1, "error: the loss became nan"]))

    assert caught.value.exit_code == 1
    assert "the loss became nan" not in capfd.readouterr().err  # who called says it
    outcome = read_outcome(store, 1, tmp_path)
    assert (outcome["outcome"], outcome["exit_code"]) == ("failed", 1)
    assert outcome["reason"] == "train (author): the loss became nan"
    assert list_names(store, "runs/run-1/attempts/1") == {
        "log.txt", "outcome.json", "author/manifest.json", "author/metrics.jsonl",
    }  # fmt: skip
    assert list_names(store, "runs/run-1/author/checkpoint-2")
    assert read_bundle(store, "runs/run-1/results/author") is None
    assert read_bundle(store, "runs/run-1/results/control") is None


def test_training_that_is_killed_is_named_and_its_checkpoint_saved(
    data: Path, store: ObjectStore, make_job: Callable[..., Job], build: Build, tmp_path: Path
) -> None:
    with pytest.raises(JobFailed, match="was killed .SIGKILL.: most often the machine had no memory left") as caught:
        do(make_job(), store, build(["checkpoint", 2], ["die", int(signal.SIGKILL)]))

    assert caught.value.exit_code == 137
    assert read_outcome(store, 1, tmp_path)["outcome"] == "killed"
    assert list_names(store, "runs/run-1/author/checkpoint-2")


def test_same_run_id_goes_on_in_an_empty_folder_from_the_newest_and_the_best_checkpoint(
    data: Path, store: ObjectStore, make_job: Callable[..., Job], build: Build, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(JobFailed):
        do(
            make_job(),
            store,
            build(["checkpoint", 2], ["checkpoint", 4], ["checkpoint", 10], ["fail", 1, "error: no"]),
        )
    capfd.readouterr()

    do(make_job(work="elsewhere"), store, build(["say where from"], ["finish"]))

    shown = capfd.readouterr().out
    assert "author: going on from step 10\n" in shown
    assert "going on with ['checkpoint-10', 'checkpoint-2']" in shown  # 2 is the best: training_program.py says so
    assert read_status(store)["attempt"] == 2


def test_finished_training_is_not_trained_again(
    data: Path, store: ObjectStore, make_job: Callable[..., Job], build: Build, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(JobFailed):
        do(make_job(), store, build(["finish"], control=[["fail", 2, "error: of the control"]]))
    job = make_job(work="elsewhere")

    do(job, store, build(["fail", 1, "error: trained again"]))

    assert "author: finished already; its results came from S3" in capfd.readouterr().out
    assert (job.locate("author") / "adapter/adapter.bin").read_text() == "final weights"
    assert list_names(store, "runs/run-1/results/control")


def test_newest_checkpoint_that_is_damaged_is_left_out_and_written_anew(
    data: Path, store: ObjectStore, make_job: Callable[..., Job], build: Build, bucket: Any,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with pytest.raises(JobFailed):
        do(make_job(), store, build(["checkpoint", 2], ["checkpoint", 4], ["fail", 1, "error: no"]))
    damaged = next(item for item in bucket.objects.all() if item.key.endswith("checkpoint-4/adapter.bin"))
    damaged.put(Body=b"wEights of step 4")
    capfd.readouterr()

    with pytest.raises(JobFailed):
        do(make_job(work="elsewhere"), store, build(["say where from"], ["checkpoint", 4], ["fail", 1, "error: no"]))

    shown = capfd.readouterr().out
    assert "runs/run-1/author/checkpoint-4 is not whole and is left out: " in shown
    assert "going on with ['checkpoint-2']" in shown
    do(make_job(work="third"), store, build(["say where from"], ["finish"]))
    assert "going on with ['checkpoint-2', 'checkpoint-4']" in capfd.readouterr().out


def test_folder_that_is_further_than_s3_is_kept(
    data: Path, store: ObjectStore, make_job: Callable[..., Job], build: Build, bucket: Any,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with pytest.raises(JobFailed):
        do(make_job(), store, build(["checkpoint", 2], ["checkpoint", 4], ["fail", 1, "error: no"]))
    bucket.objects.filter(Prefix="some/where/runs/run-1/author/checkpoint-4/").delete()
    capfd.readouterr()

    do(make_job(), store, build(["say where from"], ["finish"]))

    assert "author: going on from step 4\n" in capfd.readouterr().out


def test_test_takes_the_results_and_numbers_its_report(
    data: Path, store: ObjectStore, make_job: Callable[..., Job], build: Build, tmp_path: Path
) -> None:
    do(make_job(), store, build(["finish"]))
    job = make_job("test", work="elsewhere")

    for _ in range(2):
        do(job, store, build(["report"]))

    assert {path.name for path in (job.work / "data").iterdir()} == {
        "manifest.json", "test.jsonl", "contrast_test.jsonl",
    }  # fmt: skip
    assert (job.locate("control") / "adapter/adapter.bin").is_file()
    for number in (1, 2):
        assert list_names(store, f"runs/run-1/tests/{number}") == {"report.json", "specificity.png"}
    assert read_outcome(store, 3, tmp_path)["mode"] == "test"


def test_test_of_an_unfinished_run_says_what_to_train(
    data: Path, store: ObjectStore, make_job: Callable[..., Job], build: Build
) -> None:
    with pytest.raises(CloudError, match="runs/run-1/results/author is not there: .* --mode train"):
        do(make_job("test"), store, build(["report"]))


def test_run_without_data_says_how_to_push_them(
    store: ObjectStore, make_job: Callable[..., Job], build: Build, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="s3://container/some/where/data holds no complete data; put them there with"):
        do(make_job(), store, build(["finish"]))
    assert read_outcome(store, 1, tmp_path)["outcome"] == "failed"


@pytest.mark.parametrize(
    ("mode", "run_id", "setting", "expected"),
    [
        ("test", None, "storage.uri=s3://some/where", "--run-id is missing: name the run"),
        ("train", "Mine!", "storage.uri=s3://some/where", '--run-id is "Mine!": use 1 to 64 of a-z'),
        ("train", None, "storage.grace_s=5", "storage.uri is missing: the place in S3 that holds data/"),
        ("train", None, "storage.uri=some/where", 'storage.uri is "some/where": write s3://BUCKET/PREFIX'),
    ],
)
def test_job_that_is_not_said_whole_is_refused(
    tmp_path: Path, mode: Any, run_id: str | None, setting: str, expected: str
) -> None:
    from ghostpen.container.command import plan_job

    path = tmp_path / "run.toml"
    path.write_text('name = "mine"\n[model]\nname = "base"\n', encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        plan_job(
            mode, path=path, overrides=[setting], run_id=run_id, work=tmp_path, processes=None, with_control=True
        )  # fmt: skip
    assert expected in caught.value.message


def test_child_s_command_is_what_a_person_would_type(make_job: Callable[..., Job]) -> None:
    job = make_job()
    command = build_command(job, verb="train", role="control")
    assert command[:5] == [sys.executable, "-P", "-m", "ghostpen", "train"]
    assert command[5:] == [
        "--config", str(job.config_path), "--set", "data.dir=data", "--set", "output.dir=runs",
        "--resume", "--run-id", "run-1", "--control",
    ]  # fmt: skip


class InProcess:
    """Do a job in a process of its own, so that it can be sent signals."""

    def __init__(self, job: Job, script: list[Any]) -> None:
        code = (
            "import os, pickle, sys\n"
            "from ghostpen.aws.s3 import ObjectStore, make_client, parse_location\n"
            "from ghostpen.container.run import run_job\n"
            "from ghostpen.errors import GhostpenError\n"
            "job, command = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
            "store = ObjectStore(make_client(), parse_location(job.config.storage.uri))\n"
            "try:\n"
            "    run_job(job, store=store, heartbeat_store=store, environ=os.environ, redact=str,\n"
            "            build=lambda *_, **__: command)\n"
            "except GhostpenError as error:\n"
            "    print(f'error: {error.message}', file=sys.stderr)\n"
            "    sys.exit(error.exit_code)\n"
        )
        import pickle

        from tests.unit.container.conftest import PROGRAM

        command = [sys.executable, "-S", str(PROGRAM), str(job.locate("author")), "train", json.dumps(script)]
        given = pickle.dumps((job, command)).hex()
        self.reached = job.locate("author") / "reached"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, given], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def wait_until_reached(self) -> None:
        """Wait until the program is where it sleeps."""
        end_s = time.monotonic() + LIMIT_S
        while not self.reached.exists():
            assert time.monotonic() < end_s and self.process.poll() is None, self.process.communicate()
            time.sleep(0.01)

    def send_when_reached(self, number: int) -> tuple[int, str, float]:
        """Send a signal once the program is where it sleeps; returns exit code, standard error and seconds."""
        self.wait_until_reached()
        began_s = time.monotonic()
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, errors, time.monotonic() - began_s


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_stops_the_training_and_its_last_checkpoint_is_saved(
    data: Path, store: ObjectStore, make_job: Callable[..., Job], tmp_path: Path, number: int, code: int
) -> None:
    running = InProcess(make_job(), [["checkpoint", 2], ["touch and sleep", 60]])

    exit_code, errors, _ = running.send_when_reached(number)

    assert exit_code == code
    assert errors.splitlines()[-1] == (
        f"error: stopped by {signal.Signals(number).name}; the same run id goes on from here"
    )
    assert list_names(store, "runs/run-1/author/checkpoint-3") >= {"checkpoints/checkpoint-3/adapter.bin"}
    outcome = read_outcome(store, 1, tmp_path)
    assert (outcome["outcome"], outcome["exit_code"]) == ("stopped", code)


def test_training_that_ignores_sigterm_is_killed_at_half_the_grace(
    data: Path, store: ObjectStore, make_job: Callable[..., Job]
) -> None:
    script = [["ignore signals"], ["checkpoint", 2], ["touch and sleep", 30], ["sleep", 60]]
    running = InProcess(make_job(grace_s=6), script)

    exit_code, _, seconds = running.send_when_reached(signal.SIGTERM)

    assert exit_code == 143
    assert 2.9 < seconds < 6
    assert list_names(store, "runs/run-1/author/checkpoint-2")


def test_upload_that_hangs_after_sigterm_ends_with_the_grace(
    data: Path, store: ObjectStore, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()

    def choose(call: Call) -> Fault | None:
        if hangs.is_set():
            time.sleep(LIMIT_S)
        return None

    with FaultyS3(os.environ["AWS_ENDPOINT_URL"], choose) as faulty:
        monkeypatch.setenv("AWS_ENDPOINT_URL", faulty.url)
        running = InProcess(make_job(grace_s=4), [["checkpoint", 2], ["sleep", 2], ["touch and sleep", 60]])
        running.wait_until_reached()
        hangs.set()
        exit_code, errors, seconds = running.send_when_reached(signal.SIGTERM)

    assert exit_code == 143
    assert errors.splitlines()[-1] == (
        "error: storage.grace_s (4 s) after SIGTERM not all was in S3; "
        "the same run id goes on from the newest checkpoint that is"
    )
    assert 3.5 < seconds < 7
    assert list_names(store, "runs/run-1/author/checkpoint-2")  # complete, as it was before
    assert read_bundle(store, "runs/run-1/author/checkpoint-3") is None


def test_s3_that_is_gone_at_the_end_leaves_the_results_here_and_says_where(
    data: Path, store: ObjectStore, make_job: Callable[..., Job], build: Build, bucket: Any
) -> None:
    job = make_job()

    class GoneStore(ObjectStore):
        def write_object(self, name: str, data: bytes, *, only_if_absent: bool = False) -> bool:
            if "results" in name:
                raise CloudError("s3://container/some/where did not answer")
            return super().write_object(name, data, only_if_absent=only_if_absent)

    with pytest.raises(CloudError, match="did not answer; the results are in .*/mine: run the same again to send"):
        do(job, GoneStore(store.client, store.location), build(["finish"]))

    assert (job.locate("author") / "adapter/adapter.bin").is_file()
    do(job, store, build(["finish"]))
    assert list_names(store, "runs/run-1/results/author")


def test_signal_before_the_training_begins_nothing(
    data: Path, store: ObjectStore, make_job: Callable[..., Job], build: Build
) -> None:
    def build_and_stop(job: Job, *, verb: str, role: str) -> list[str]:
        os.kill(os.getpid(), signal.SIGTERM)
        return build(["sleep", 60])(job, verb=verb, role=role)

    with pytest.raises(Terminated):
        do(make_job(), store, build_and_stop)
    assert read_status(store)["outcome"] == "stopped"
