"""`ghostpen run`: one attempt at a run, whose log and outcome are in S3 at the end, whatever the end is.

The one place beside the command line where ML meets AWS, and it meets only files: what trains is started as any
person would start it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from ghostpen.aws.bundle import list_bundles
from ghostpen.aws.runs import LOG
from ghostpen.aws.s3 import S3_PREFIX, ObjectStore, S3Location, make_client, parse_location
from ghostpen.config import StorageConfig
from ghostpen.container.attempt import UPLOAD_TIMEOUT_S, Attempt
from ghostpen.container.ending import extend_failure
from ghostpen.container.job import CONFIG_FILE, Job, Mode, build_command, plan_job
from ghostpen.container.log import Log
from ghostpen.container.signals import EndOnSignal
from ghostpen.container.status import Heartbeat, Status
from ghostpen.errors import CloudError, ConfigError
from ghostpen.files import lock_file, write_bytes_atomically
from ghostpen.redaction import find_secrets
from ghostpen.settings import read_bytes

HEARTBEAT_ATTEMPTS = 2  # the next one comes soon
STAGING = ".staged"


def run_command(
    mode: Mode, *, config: str, overrides: Sequence[str], run_id: str | None, work: Path | None,
    processes: str | None, with_control: bool, environ: Mapping[str, str],
) -> None:  # fmt: skip
    """Plan a job and do it.

    Args:
        config: a file, or s3://BUCKET/KEY.

    Raises:
        ConfigError: a setting is missing or wrong, or an option does not fit the mode.
        GhostpenError: what `run_job` raises.
    """
    with EndOnSignal(grace_s=StorageConfig().grace_s) as signals:
        content = signals.call(lambda: read_config(config))
        job = plan_job(
            mode, content=content, where=config, overrides=overrides, run_id=run_id, work=work, processes=processes,
            with_control=with_control,
        )  # fmt: skip
        signals.grace_s = job.config.storage.grace_s
        location = parse_location(job.uri)
        run_job(
            job,
            store=ObjectStore(make_client(), location),
            heartbeat_store=ObjectStore(make_client(attempts=HEARTBEAT_ATTEMPTS), location),
            signals=signals,
            environ=environ,
        )


def read_config(source: str) -> bytes:
    """Read the content of a file of settings, from this machine or from S3.

    Raises:
        ConfigError: it is not there. CloudError: S3 refuses.
    """
    if not source.startswith(S3_PREFIX):
        return read_bytes(Path(source))
    location = parse_location(source)
    folder, _, name = location.prefix.rpartition("/")
    content = ObjectStore(make_client(), S3Location(location.bucket, folder)).read_object(name) if name else None
    if content is None:
        raise ConfigError(f"{source}: no such object; put the run's settings there, or name a file")
    return content


def run_job(
    job: Job,
    *,
    store: ObjectStore,
    heartbeat_store: ObjectStore,
    signals: EndOnSignal,
    environ: Mapping[str, str],
    build: Callable[..., Sequence[str]] = build_command,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    upload_timeout_s: float = UPLOAD_TIMEOUT_S,
) -> None:
    """Do one attempt of a job.

    Args:
        heartbeat_store: of a client that gives up soon. build: see `build_command`. upload_timeout_s: how long to
            wait for S3 at the end, if no signal comes.

    Raises:
        JobFailed: the training or the test failed, or was killed; with its exit code.
        Interrupted, Terminated: a signal came; what was there is in S3, or the message says that it is not.
        ConfigError, DataError, CloudError: S3 has not what is needed, holds something else, or refuses.
    """
    job.work.mkdir(parents=True, exist_ok=True)
    with _lock(job.work) as lock, Log(job.work / LOG, secrets=find_secrets(environ)) as log:
        log.write(f"run {job.run_id}")
        write_bytes_atomically(job.content, job.work / CONFIG_FILE)
        shutil.rmtree(job.work / STAGING, ignore_errors=True)
        taken = signals.call(lambda: list_bundles(store, job.names.attempts))
        number = max((int(name) for name in taken if name.isdecimal()), default=0) + 1
        log.write(f"{job.mode}, attempt {number}: {store.location} in {job.work}")
        status = Status(job.mode, job.run_id, number, now())

        def write_status() -> None:
            text = json.dumps(status.to_json(now()), indent=2) + "\n"
            heartbeat_store.write_object(job.names.status, log.redact(text).encode())

        heartbeat = Heartbeat(write_status, warn=log.write)
        attempt = Attempt(
            job, store, number, log, status, signals, heartbeat, environ, job.work / STAGING, build, (lock,),
            upload_timeout_s,
        )  # fmt: skip
        _make(attempt, now=now)


def _make(attempt: Attempt, *, now: Callable[[], datetime]) -> None:
    """Make the attempt, and send to S3 whatever there is at its end."""
    failure: BaseException | None = None
    try:
        attempt.train() if attempt.job.mode == "train" else attempt.test()
    except BaseException as error:  # raised again below
        failure = error
    if problem := attempt.send_rest():
        failure = extend_failure(failure, problem)
    try:
        attempt.record_end(failure, ended_at=now())
    except (CloudError, OSError) as error:
        failure = failure or error
        attempt.log.write(f"warning: the log of this attempt is not in S3, but in {attempt.log.path}: {error}")
    if failure is not None:
        raise failure


@contextmanager
def _lock(folder: Path) -> Iterator[int]:
    """Keep two attempts out of one folder. The child holds the lock, too: it may outlive this process by a moment."""
    with lock_file(folder / ".lock") as descriptor:
        if descriptor is None:
            raise ConfigError(
                f"another `ghostpen run`, or what it started, works in {folder}; wait for its end, or name another "
                "folder with --work DIR"
            )
        yield descriptor
