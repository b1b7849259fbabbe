"""One attempt at a run, while it is made: pull, train or test, push, and what is left behind at each kind of end."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ghostpen.aws.bundle import list_bundles, push_bundle
from ghostpen.aws.runs import CONTROL, LOG, RUN_MANIFEST
from ghostpen.aws.s3 import ObjectStore
from ghostpen.container.child import run_child
from ghostpen.container.ending import describe_outcome, explain_end
from ghostpen.container.job import DATA_FOLDER, Job, build_environment
from ghostpen.container.log import Log
from ghostpen.container.names import AUTHOR, CHECKPOINT_TAG, ROLES
from ghostpen.container.restore import Restored, pull_data, pull_results, restore_checkpoint
from ghostpen.container.signals import EndOnSignal
from ghostpen.container.staging import ADAPTER, CHECKPOINTS, CheckpointWatch, StagedCheckpoint, copy_files, list_files
from ghostpen.container.status import Heartbeat, Status, render_time
from ghostpen.container.uploads import Upload, Uploads
from ghostpen.errors import BundleDamagedError, BundleExistsError, CloudError, ConfigError, DataError
from ghostpen.files import write_text_atomically

UPLOAD_TIMEOUT_S = 3600.0  # for what is to go to S3 when a training has ended by itself
RECORD_TIMEOUT_S = 600.0  # for the log and the outcome then
RECORD_SHARE = 0.15  # of the grace, for the same after a signal
STATUS_TIMEOUT_S = 10.0
CLAIMS = 20  # numbers that are tried for a bundle that others may take meanwhile
OUTCOME = "outcome.json"
_REPORT = ("report.json", "report.html", "specificity.png")
_WRITTEN = "written.jsonl"  # not where a test is told to write nothing


@dataclass
class Attempt:
    """What an attempt works with, and what it has done so far."""

    job: Job
    store: ObjectStore
    number: int
    log: Log
    status: Status
    signals: EndOnSignal
    heartbeat: Heartbeat
    environ: Mapping[str, str]
    staging: Path
    build: Callable[..., Sequence[str]]
    keep_open: Sequence[int]
    upload_timeout_s: float = UPLOAD_TIMEOUT_S
    uploads: Uploads = field(init=False)
    finished: set[str] = field(init=False, default_factory=set)  # roles whose results are made

    def __post_init__(self) -> None:
        """Start the thread that uploads."""
        self.uploads = Uploads(self._push, warn=self.log.write)

    def train(self) -> None:
        """Train the author's adapter, and the control's where the data have other authors' texts.

        Raises:
            JobFailed, Interrupted, ConfigError, DataError, CloudError: it could not be done to the end.
        """
        self._enter("pulling data")
        splits = self.signals.call(lambda: pull_data(self.store, self.job.work / DATA_FOLDER, mode="train"))
        with_control = self.job.with_control and "contrast_train" in splits
        for role in ROLES if with_control else (AUTHOR,):
            self._train_role(role)

    def test(self) -> None:
        """Test the finished adapters.

        Raises:
            JobFailed, Interrupted, ConfigError, DataError, CloudError: it could not be done to the end.
        """
        self._enter("pulling data")
        self.signals.call(lambda: pull_data(self.store, self.job.work / DATA_FOLDER, mode="test"))
        for role in ROLES:
            self._enter("pulling results", role)
            if not self._pull_results(role):
                raise ConfigError(
                    f"{self.store.location}/{self.job.names.results(role)} is not there, and a test compares the "
                    "author's adapter with a control: train both with `ghostpen run --mode train` and this --run-id, "
                    "on data that were prepared with --contrast"
                )
        self._enter("testing")
        self._run_child(AUTHOR, on_tick=lambda: None)
        self._enter("pushing results")
        folder = self.job.locate(AUTHOR)
        names = [*_REPORT, *([_WRITTEN] if (folder / _WRITTEN).exists() else [])]
        files = {name: folder / name for name in names}
        title = "report of the test"
        self.uploads.put(Upload(title, self.job.names.tests, files, self._describe(None), AUTHOR, is_numbered=True))

    def send_rest(self) -> str | None:
        """Wait for what is on its way to S3; returns in words what is not there, or None."""
        self._set_phase("uploading")
        share = RECORD_SHARE * self.signals.grace_s
        end_s = self.signals.start_timer(self.upload_timeout_s, reserve_s=share)
        unsent = self.uploads.finish(compute_left_s=end_s, is_urgent=lambda: self.signals.received is not None)
        self.signals.left_behind |= self.uploads.is_busy
        results = {upload.role for upload in unsent if upload.step is None}
        needed = [u for u in unsent if u.step is None or u.role not in self.finished or u.role in results]
        if not needed:
            return None
        titles = ", ".join(upload.title for upload in needed)
        why = f" ({self.uploads.last_error})" if self.uploads.last_error else ""
        goes_on = "goes on there" if self.job.mode == "train" else "tests again"
        return f"not in S3: {titles}{why}; they are in {self.job.work}, and the same command {goes_on}"

    def record_end(self, failure: BaseException | None, *, ended_at: datetime) -> None:
        """Write down how it ended, in the work folder and in S3; what the disk has no room for, in S3 alone.

        Raises:
            CloudError: it can't be written in S3. OSError: nor kept in memory until then.
        """
        outcome = describe_outcome(failure)
        status = self.status
        status.phase, status.role = "ended", None
        status.outcome, status.exit_code = outcome["outcome"], outcome["exit_code"]
        status.reason = self.log.redact(outcome["reason"]) if outcome["reason"] else None
        if status.reason:
            self.log.note(f"error: {status.reason}")
        record = status.to_json(ended_at) | {
            "ended_at": render_time(ended_at),
            "seconds": round((ended_at - status.started_at).total_seconds(), 1),
            "revision": self.environ.get("GHOSTPEN_REVISION"),
            "image": self.environ.get("GHOSTPEN_IMAGE"),
        }
        try:
            files = {OUTCOME: self._write_outcome(json.dumps(record, indent=2) + "\n")}
            if failure is not None and self.job.mode == "train":
                files |= self._set_unfinished_aside()
            files[LOG] = self._copy_log()
            self._push_numbered(self.job.names.attempts, files, first=self.number, deadline_s=RECORD_TIMEOUT_S)
        finally:
            self.heartbeat.finish(timeout_s=STATUS_TIMEOUT_S)

    def _train_role(self, role: str) -> None:
        job, folder = self.job, self.job.locate(role)
        self._enter("pulling results", role)
        is_in_s3 = self._pull_results(role)
        restored = Restored(None)
        if not is_in_s3:
            self._enter("pulling checkpoint", role)
            restored = self.signals.call(
                lambda: restore_checkpoint(self.store, job.names, role=role, folder=folder, warn=self.log.write)
            )
        begins = "starting anew" if restored.step is None else f"going on from step {restored.step}"
        self.log.write(f"{role}: " + ("finished before; its results came from S3" if is_in_s3 else begins))
        watch = CheckpointWatch(folder, role=role, staging=self.staging, known=restored.known, warn=self.log.write)

        def send_new() -> None:
            for staged in watch.find():
                self.uploads.put(self._plan_checkpoint(staged))

        self._enter("training", role)
        self.status.run_dir = folder
        try:
            # Also where it is finished: the verb refuses other data or settings under the same run id.
            self._run_child(role, on_tick=(lambda: None) if is_in_s3 else send_new)
        finally:
            if not is_in_s3:
                send_new()
        self.finished.add(role)
        if not is_in_s3:
            files = list_files(folder, leave_out=(CHECKPOINTS, CONTROL))
            title = f"results of the {role}"
            self.uploads.put(Upload(title, job.names.results(role), files, self._describe(role), role))

    def _pull_results(self, role: str) -> bool:
        self._check_folder(role)
        folder, names = self.job.locate(role), self.job.names
        return self.signals.call(lambda: pull_results(self.store, names, role=role, folder=folder))

    def _check_folder(self, role: str) -> None:
        """Refuse to go on with, or to write over, what another run left in the folder."""
        path = self.job.locate(role) / RUN_MANIFEST
        try:
            found = json.loads(path.read_text(encoding="utf-8")).get("run_id")
        except (FileNotFoundError, ValueError, AttributeError):  # nothing, or nothing that the verb would go on with
            return
        wanted = self.job.run_id if role == AUTHOR else f"{self.job.run_id}-{role}"
        if found != wanted:
            raise DataError(
                f"{path.parent} holds the run {found}, and this one is {wanted}; name another folder with --work DIR"
            )

    def _run_child(self, role: str, *, on_tick: Callable[[], None]) -> None:
        ended = run_child(
            self.build(self.job, role=role),
            folder=self.job.work,
            environ=build_environment(self.environ),
            log=self.log,
            signals=self.signals,
            on_tick=on_tick,
            keep_open=self.keep_open,
        )
        if ended.exit_code != 0:
            self.signals.check()
            what = f"train ({role})" if self.job.mode == "train" else "test"
            raise explain_end(ended, what=what)

    def _plan_checkpoint(self, staged: StagedCheckpoint) -> Upload:
        return Upload(
            title=f"checkpoint {staged.step} of the {staged.role}",
            place=f"{self.job.names.checkpoints(staged.role)}/checkpoint-{staged.step}",
            files=staged.list_files(),
            info=self._describe(staged.role) | {"step": staged.step},
            role=staged.role,
            step=staged.step,
            best_step=staged.best_step,
            staged=staged.folder,
        )

    def _push(self, upload: Upload) -> None:
        """Send something; a checkpoint of the same step from before, which was not whole, is left alone."""
        tag = CHECKPOINT_TAG if upload.step is not None else None
        try:
            if upload.is_numbered:
                self._push_numbered(upload.place, upload.files, first=1)
            else:
                push_bundle(self.store, upload.place, upload.files, info=upload.info, tag=tag)
        except (BundleExistsError, BundleDamagedError):
            if upload.step is None:
                raise
            place = f"{upload.place}-attempt-{self.number}"
            push_bundle(self.store, place, upload.files, info=upload.info, tag=tag)
        self.log.write(f"in S3: {upload.title}")

    def _push_numbered(
        self, place: str, files: Mapping[str, Path], *, first: int, deadline_s: float = UPLOAD_TIMEOUT_S
    ) -> None:
        """Send files as the first bundle from number `first` on that nobody has taken."""
        taken = [int(name) for name in list_bundles(self.store, place) if name.isdecimal()]
        start = max([first, *(number + 1 for number in taken)])
        for number in range(start, start + CLAIMS):
            try:
                push_bundle(self.store, f"{place}/{number}", files, info=self._describe(None), deadline_s=deadline_s)
                return
            except (BundleExistsError, BundleDamagedError):
                continue
        raise CloudError(f"{self.store.location}/{place}: {CLAIMS} numbers from {start} on were taken meanwhile")

    def _set_unfinished_aside(self) -> dict[str, Path]:
        """Copy what was not finished, but for its checkpoints; its tracker may still be writing."""
        files: dict[str, Path] = {}
        for role in (role for role in ROLES if role not in self.finished and self.job.locate(role).is_dir()):
            folder, aside = self.job.locate(role), self.staging / f"unfinished-{role}"
            try:
                copy_files(folder, aside, leave_out=(CHECKPOINTS, CONTROL, ADAPTER))
            except OSError as error:
                self.log.write(f"warning: the rest of {folder} is not in S3: {error.strerror}")
                continue
            found = list_files(aside) | {f"{ADAPTER}/{n}": p for n, p in list_files(folder / ADAPTER).items()}
            files |= {f"{role}/{name}": path for name, path in found.items()}
        return files

    def _write_outcome(self, text: str) -> Path:
        path = self.job.work / OUTCOME
        try:
            write_text_atomically(text, path)
        except OSError as error:
            self.log.write(f"warning: {path} can't be written: {error.strerror}; it goes to S3 alone")
            return _keep_in_memory(OUTCOME, text.encode())
        return path

    def _copy_log(self) -> Path:
        try:
            self.staging.mkdir(exist_ok=True)
            return Path(shutil.copyfile(self.log.path, self.staging / LOG))  # threads may still write to it
        except OSError:  # a full disk
            return _keep_in_memory(LOG, self.log.path.read_bytes())

    def _describe(self, role: str | None) -> dict[str, Any]:
        return {"run_id": self.job.run_id, "mode": self.job.mode, "attempt": self.number, "role": role}

    def _enter(self, phase: str, role: str | None = None) -> None:
        self.signals.check()
        self._set_phase(phase, role)

    def _set_phase(self, phase: str, role: str | None = None) -> None:
        self.status.phase, self.status.role = phase, role
        self.heartbeat.beat()


def _keep_in_memory(name: str, content: bytes) -> Path:
    """Make a file that lies on no disk; it is there as long as this process is."""
    descriptor = os.memfd_create(name)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    return Path(f"/proc/self/fd/{descriptor}")
