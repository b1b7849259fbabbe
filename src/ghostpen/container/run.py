"""`ghostpen run`: one attempt at a run. Pull, train or test in processes of its own, push; whatever happens, push.

The one place beside the command line where ML meets AWS, and it meets only files: what trains is started as any
person would start it.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ghostpen.aws.bundle import list_bundles, push_bundle
from ghostpen.aws.s3 import ObjectStore
from ghostpen.config import RunConfig
from ghostpen.container.child import Ended, Log, run_child
from ghostpen.container.names import ROLES, RunNames
from ghostpen.container.restore import pull_data, pull_results, restore_checkpoint
from ghostpen.container.signals import EndOnSignal
from ghostpen.container.uploads import (
    CHECKPOINTS,
    CheckpointWatch,
    Heartbeat,
    StagedCheckpoint,
    Uploader,
    list_files,
)
from ghostpen.errors import BundleExistsError, CloudError, GhostpenError, Interrupted, JobFailed
from ghostpen.files import write_text_atomically

Mode = Literal["train", "test"]
HEARTBEAT_S = 30.0
UPLOAD_TIMEOUT_S = 3600.0  # for what waits when a training has ended by itself
CLAIMS = 20  # numbers that are tried for a bundle that others may take meanwhile
DATA_FOLDER, RUNS_FOLDER = (
    "data",
    "runs",
)  # below the work folder; relative, so that no machine's path is written down
_REPORT = ("report.json", "specificity.png")


@dataclass(frozen=True)
class Job:
    """What is to be done, with everything decided."""

    mode: Mode
    run_id: str
    config: RunConfig
    config_path: Path
    overrides: tuple[str, ...]
    work: Path
    processes: str | None = None
    with_control: bool = True

    @property
    def names(self) -> RunNames:
        """Name the run's places in S3."""
        return RunNames(self.run_id)

    def locate(self, role: str) -> Path:
        """Give the folder of the author's or the control's run."""
        folder = self.work / RUNS_FOLDER / self.config.name
        return folder if role == "author" else folder / role


@dataclass
class _Status:
    """Where the attempt stands; written to status.json, read by people and by the deployment."""

    mode: str
    run_id: str
    attempt: int
    started_at: str
    phase: str = "starting"
    step: int | None = None
    role: str | None = None
    outcome: str | None = None
    exit_code: int | None = None
    reason: str | None = None
    run_dir: Path | None = None

    def to_json(self, now: datetime) -> dict[str, Any]:
        """Render with the newest step that is in metrics.jsonl."""
        if self.run_dir is not None:
            self.step = _read_newest_step(self.run_dir / "metrics.jsonl") or self.step
        keys = ("mode", "run_id", "attempt", "phase", "role", "step", "started_at", "outcome", "exit_code", "reason")
        return {key: getattr(self, key) for key in keys} | {"updated_at": _render_time(now)}


def build_command(job: Job, *, verb: Mode, role: str = "author") -> list[str]:
    """Build the command line of the training or the test: what a person would type in the work folder."""
    settings = [*job.overrides, f"data.dir={DATA_FOLDER}", f"output.dir={RUNS_FOLDER}"]
    command = [sys.executable, "-P", "-m", "ghostpen", verb, "--config", str(job.config_path)]
    command += [part for setting in settings for part in ("--set", setting)]
    if verb == "train":
        command += ["--resume", "--run-id", job.run_id]
        command += ["--control"] if role == "control" else []
        command += ["--processes", job.processes] if job.processes else []
    return command


def build_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Leave AWS's credentials out of the child's environment: it reads and writes local files alone."""
    return {name: value for name, value in environ.items() if not name.startswith("AWS_")}


def run_job(
    job: Job,
    *,
    store: ObjectStore,
    heartbeat_store: ObjectStore,
    environ: Mapping[str, str],
    redact: Callable[[str], str],
    build: Callable[..., list[str]] = build_command,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Do one attempt of a job; its log and outcome are in S3 at the end, whatever the end is.

    Args:
        heartbeat_store: of a client that gives up soon. build: see `build_command`.

    Raises:
        JobFailed: the training or the test failed, or was killed; with its exit code.
        Interrupted, Terminated: a signal came; what was there is in S3.
        DataError, CloudError: S3 has not what is needed, or refuses.
    """
    job.work.mkdir(parents=True, exist_ok=True)
    staging = job.work / ".staging"
    shutil.rmtree(staging, ignore_errors=True)
    attempt = max((int(name) for name in list_bundles(store, job.names.attempts) if name.isdecimal()), default=0) + 1
    status = _Status(job.mode, job.run_id, attempt, _render_time(now()))

    def write_status() -> None:
        text = json.dumps(status.to_json(now()), indent=2) + "\n"
        heartbeat_store.write_object(job.names.status, redact(text).encode())

    with Log(job.work / "log.txt", redact=redact) as log, EndOnSignal(grace_s=job.config.storage.grace_s) as signals:
        heartbeat = Heartbeat(write_status, every_s=HEARTBEAT_S, warn=log.write)
        attempted = _Attempt(job, store, attempt, log, status, signals, heartbeat, environ, staging, build)
        log.write(f"run {job.run_id}, attempt {attempt}: {job.mode}")
        failure: BaseException | None = None
        try:
            if job.mode == "train":
                attempted.train()
            else:
                attempted.test()
        except BaseException as error:
            failure = error
        try:
            attempted.close(failure, ended_at=now())
        except CloudError as error:
            if failure is None:
                raise
            log.write(f"warning: the log of this attempt is not in S3: {error.message}")
        if failure is not None:
            raise failure


@dataclass
class _Attempt:
    """One attempt while it is made."""

    job: Job
    store: ObjectStore
    number: int
    log: Log
    status: _Status
    signals: EndOnSignal
    heartbeat: Heartbeat
    environ: Mapping[str, str]
    staging: Path
    build: Callable[..., list[str]]

    def train(self) -> None:
        """Train the author's adapter, and the control's where the data have other authors' texts."""
        self._enter("pulling data")
        files = pull_data(self.store, self.job.work / DATA_FOLDER, mode="train")
        with_control = self.job.with_control and "contrast_train.jsonl" in files
        for role in ROLES if with_control else ROLES[:1]:
            self._train_role(role)

    def test(self) -> None:
        """Test the finished adapters."""
        self._enter("pulling data")
        pull_data(self.store, self.job.work / DATA_FOLDER, mode="test")
        self._enter("pulling results")
        for role in ROLES:
            if not pull_results(self.store, self.job.names, role=role, folder=self.job.locate(role)):
                raise CloudError(
                    f"{self.store.location}/{self.job.names.results(role)} is not there: a test compares the "
                    "author's adapter with a control; train both with `ghostpen run --mode train` and this --run-id"
                )
        self._enter("testing", role="author")
        self._run_child("test", role="author", on_tick=lambda: None)
        self._enter("pushing results")
        folder = self.job.locate("author")
        files = {name: folder / name for name in _REPORT}
        self._push_numbered(self.job.names.tests, files, first=1)

    def close(self, failure: BaseException | None, *, ended_at: datetime) -> None:
        """Write down how it ended, in S3.

        Raises:
            CloudError: it can't be written there.
        """
        outcome = describe_outcome(failure)
        status = self.status
        status.phase = "ended"
        status.outcome, status.exit_code = outcome["outcome"], outcome["exit_code"]
        status.reason = self.log.redact(outcome["reason"]) if outcome["reason"] else None
        if status.reason:
            self.log.note(f"error: {status.reason}")
        record = status.to_json(ended_at) | {
            "ended_at": _render_time(ended_at),
            "seconds": round((ended_at - datetime.fromisoformat(status.started_at)).total_seconds(), 1),
            "revision": self.environ.get("GHOSTPEN_REVISION"),
            "image": self.environ.get("GHOSTPEN_IMAGE"),
        }
        outcome_path = self.job.work / "outcome.json"
        write_text_atomically(json.dumps(record, indent=2) + "\n", outcome_path)
        files = {"log.txt": self.log.path, "outcome.json": outcome_path}
        for role in ROLES if failure is not None and self.job.mode == "train" else ():
            left_out = {CHECKPOINTS, *ROLES}
            found = list_files(self.job.locate(role), leave_out=left_out) if self.job.locate(role).is_dir() else {}
            files |= {f"{role}/{name}": path for name, path in found.items()}
        try:
            self._push_numbered(self.job.names.attempts, files, first=self.number)
        finally:
            self.heartbeat.finish(timeout_s=HEARTBEAT_S)

    def _train_role(self, role: str) -> None:
        folder, names = self.job.locate(role), self.job.names
        self._enter("pulling results", role=role)
        if pull_results(self.store, names, role=role, folder=folder):
            self.log.write(f"{role}: finished already; its results came from S3")
            return
        self._enter("pulling checkpoint", role=role)
        step = restore_checkpoint(self.store, names, role=role, folder=folder, warn=self.log.write)
        self.log.write(f"{role}: " + (f"going on from step {step}" if step else "starting anew"))
        watch = CheckpointWatch(folder, role=role, staging=self.staging)
        uploader = Uploader(self._push_checkpoint, warn=self.log.write)

        def send_new() -> None:
            for staged in watch.find():
                uploader.put(staged)

        self._enter("training", role=role)
        self.status.run_dir = folder
        finished = False
        try:
            self._run_child("train", role=role, on_tick=send_new)
            finished = True
        finally:
            send_new()
            # Half of what is left: the attempt's own record is to be written, too.
            left_s = self.signals.left_s
            unsent = uploader.finish(timeout_s=UPLOAD_TIMEOUT_S if left_s is None else left_s / 2)
            if unsent and not finished:
                steps = ", ".join(str(staged.step) for staged in unsent)
                self.log.write(f"warning: not in S3: checkpoints of step {steps}; they are in {folder / CHECKPOINTS}")
        self._enter("pushing results", role=role)
        files = list_files(folder, leave_out={CHECKPOINTS, *ROLES})
        try:
            push_bundle(self.store, names.results(role), files, info=self._describe(role))
        except BundleExistsError as error:
            raise CloudError(f"another attempt has finished the same training first: {error.message}") from error
        except CloudError as error:
            raise CloudError(
                f"{error.message}; the results are in {folder}: run the same again to send them"
            ) from error

    def _run_child(self, verb: Mode, *, role: str, on_tick: Callable[[], None]) -> None:
        ended = run_child(
            self.build(self.job, verb=verb, role=role),
            folder=self.job.work,
            environ=build_environment(self.environ),
            log=self.log,
            signals=self.signals,
            on_tick=on_tick,
        )
        if self.signals.received is not None and ended.exit_code != 0:
            self.signals.check()
        if ended.exit_code != 0:
            raise explain_end(ended, verb=verb, role=role)

    def _push_checkpoint(self, staged: StagedCheckpoint) -> None:
        """Send a checkpoint; one of the same step from before, which was not whole, is left alone."""
        place = f"{self.job.names.checkpoints(staged.role)}/checkpoint-{staged.step}"
        info = {"step": staged.step, "attempt": self.number}
        try:
            push_bundle(self.store, place, staged.list_files(), info=info)
        except BundleExistsError:
            push_bundle(self.store, f"{place}-attempt-{self.number}", staged.list_files(), info=info)
        self.log.write(f"{staged.role}: checkpoint of step {staged.step} is in S3")

    def _push_numbered(self, place: str, files: Mapping[str, Path], *, first: int) -> None:
        """Send files as the first bundle from number `first` on that nobody has taken."""
        taken = [int(name) for name in list_bundles(self.store, place) if name.isdecimal()]
        start = max([first, *(number + 1 for number in taken)])
        for number in range(start, start + CLAIMS):
            try:
                push_bundle(self.store, f"{place}/{number}", files, info=self._describe(None))
                return
            except BundleExistsError:
                continue
        raise CloudError(f"{self.store.location}/{place}: {CLAIMS} numbers from {start} on were taken meanwhile")

    def _describe(self, role: str | None) -> dict[str, Any]:
        return {"run_id": self.job.run_id, "mode": self.job.mode, "attempt": self.number, "role": role}

    def _enter(self, phase: str, *, role: str | None = None) -> None:
        self.signals.check()
        self.status.phase, self.status.role = phase, role
        self.heartbeat.beat()


def explain_end(ended: Ended, *, verb: str, role: str) -> JobFailed:
    """Say why a child failed: in its own words, if it had any."""
    what = f"{verb} ({role})"
    if ended.error:
        return JobFailed(f"{what}: {ended.error}", exit_code=ended.exit_code)
    if ended.signal_name == "SIGKILL":
        return JobFailed(
            f"{what} was killed (SIGKILL): most often the machine had no memory left; take a larger one, or lower "
            "train.batch_size or data.sequence_length. The same run id goes on from the newest checkpoint",
            exit_code=ended.exit_code,
        )
    how = ended.signal_name or f"exit code {ended.exit_code}"
    return JobFailed(f"{what} ended with {how}; the log says more", exit_code=ended.exit_code)


def describe_outcome(failure: BaseException | None) -> dict[str, Any]:
    """Name how an attempt ended, for programs."""
    if failure is None:
        return {"outcome": "finished", "exit_code": 0, "reason": None}
    if isinstance(failure, Interrupted):
        return {"outcome": "stopped", "exit_code": failure.exit_code, "reason": failure.message}
    if isinstance(failure, GhostpenError):
        killed = failure.exit_code == 137
        return {
            "outcome": "killed" if killed else "failed",
            "exit_code": failure.exit_code,
            "reason": failure.message,
        }
    return {"outcome": "failed", "exit_code": 1, "reason": f"{type(failure).__name__}: {failure}"}


def _read_newest_step(metrics: Path) -> int | None:
    """Read the last whole row's step from a file that is being written."""
    try:
        lines = metrics.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        if line.endswith(b"\n"):
            step: int = json.loads(line)["step"]
            return step
    return None


def _render_time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
