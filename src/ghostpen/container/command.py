"""From the words of `ghostpen run` to a job: the settings from a file or from S3, and what is missing, by name."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ghostpen.aws.s3 import S3_PREFIX, ObjectStore, S3Location, make_client, parse_location
from ghostpen.config import check_run_id, load_run_config
from ghostpen.container.run import DATA_FOLDER, RUNS_FOLDER, Job, Mode, run_job
from ghostpen.errors import ConfigError
from ghostpen.files import write_bytes_atomically
from ghostpen.redaction import find_secrets, redact

HEARTBEAT_ATTEMPTS = 2  # the next one comes soon


def run_command(
    mode: Mode, *, config: str, overrides: Sequence[str], run_id: str | None, work: Path, processes: str | None,
    with_control: bool, environ: Mapping[str, str],
) -> None:  # fmt: skip
    """Plan the job and do it.

    Raises:
        ConfigError: a setting is missing or wrong, or a test names no run.
        GhostpenError: what `run_job` raises.
    """
    path = _fetch_config(config, work=work) if config.startswith(S3_PREFIX) else Path(config)
    job = plan_job(
        mode, path=path.resolve(), overrides=overrides, run_id=run_id, work=work.resolve(), processes=processes,
        with_control=with_control,
    )  # fmt: skip
    location = parse_location(job.config.storage.uri or "")
    run_job(
        job,
        store=ObjectStore(make_client(), location),
        heartbeat_store=ObjectStore(make_client(attempts=HEARTBEAT_ATTEMPTS), location),
        environ=environ,
        redact=partial(redact, secrets=find_secrets(environ)),
    )


def plan_job(
    mode: Mode, *, path: Path, overrides: Sequence[str], run_id: str | None, work: Path, processes: str | None,
    with_control: bool,
) -> Job:  # fmt: skip
    """Decide everything that can be decided before anything is fetched or written.

    Raises:
        ConfigError: a setting is missing or wrong, or a test names no run.
    """
    config = load_run_config(path, [*overrides, f"data.dir={DATA_FOLDER}", f"output.dir={RUNS_FOLDER}"])
    if config.storage.uri is None:
        raise ConfigError(
            f"{path}: storage.uri is missing: the place in S3 that holds data/ and gets runs/, as "
            "s3://BUCKET/PREFIX. Set it in the file under [storage], or with --set storage.uri=..."
        )
    if run_id is None and mode == "test":
        raise ConfigError(
            "--run-id is missing: name the run whose adapter is to be tested, as its training printed it"
        )
    run_id = check_run_id(run_id or f"{config.name}-{uuid.uuid4().hex[:8]}")
    return Job(mode, run_id, config, path, tuple(overrides), work, processes, with_control)


def _fetch_config(uri: str, *, work: Path) -> Path:
    location = parse_location(uri)
    folder, _, name = location.prefix.rpartition("/")
    content = ObjectStore(make_client(), S3Location(location.bucket, folder)).read_object(name)
    if content is None:
        raise ConfigError(f"{uri}: there is no such object; put the run's settings there, or name a file")
    work.mkdir(parents=True, exist_ok=True)
    path = work / "config.toml"
    write_bytes_atomically(content, path)
    return path
