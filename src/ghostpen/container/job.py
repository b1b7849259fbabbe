"""What `ghostpen run` is to do, decided before anything is fetched or written, and the command lines that do it."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ghostpen.config import RunConfig, check_run_id, parse_run_config
from ghostpen.container.names import AUTHOR, RunNames
from ghostpen.errors import ConfigError

Mode = Literal["train", "test"]
# Below the work folder; relative, so that no machine's path is written down.
DATA_FOLDER, RUNS_FOLDER, CONFIG_FILE = "data", "runs", "run.toml"
# The container's own, whatever the run's settings say or leave out.
PLACES = (f"data.dir={DATA_FOLDER}", f"output.dir={RUNS_FOLDER}")
LONGEST_NAME = 55  # with a hyphen and 8 letters it makes a run id
# A child's output goes through a pipe: line by line, and progress bars of downloads not ten times a second.
_OUTPUT = {"PYTHONUNBUFFERED": "1", "TQDM_MININTERVAL": "30"}


@dataclass(frozen=True)
class Job:
    """What is to be done, with everything decided."""

    mode: Mode
    run_id: str
    config: RunConfig
    content: bytes  # of the config's file
    overrides: tuple[str, ...]
    work: Path
    processes: str | None = None
    with_control: bool = True

    @property
    def uri(self) -> str:
        """Give the place in S3; `plan_job` makes sure that there is one."""
        assert self.config.storage.uri is not None
        return self.config.storage.uri

    @property
    def names(self) -> RunNames:
        """Name the run's places in S3."""
        return RunNames(self.run_id)

    def locate(self, role: str) -> Path:
        """Give the folder of the author's or the control's training."""
        folder = self.work / RUNS_FOLDER / self.config.name
        return folder if role == AUTHOR else folder / role


def plan_job(
    mode: Mode, *, content: bytes, where: str, overrides: Sequence[str], run_id: str | None, work: Path | None,
    processes: str | None, with_control: bool,
) -> Job:  # fmt: skip
    """Decide everything that can be decided before anything is fetched or written.

    Args:
        content: of the config's file. where: its name, for errors.

    Raises:
        ConfigError: a setting is missing or wrong, or an option does not fit the mode.
    """
    config = parse_run_config(content, [*overrides, *PLACES], where=where)
    if config.storage.uri is None:
        raise ConfigError(
            f"{where}: storage.uri is missing: the place in S3 that holds data/ and gets runs/, as "
            "s3://BUCKET/PREFIX. Set it in the file under [storage], or with --set storage.uri=..."
        )
    if mode == "test" and run_id is None:
        raise ConfigError("--run-id is missing: name the run that is to be tested, as its training printed it")
    if mode == "test" and (processes is not None or not with_control):
        raise ConfigError("--processes and --no-control are about a training; leave them out with --mode test")
    if run_id is None:
        run_id = f"{config.name[:LONGEST_NAME]}-{uuid.uuid4().hex[:8]}"
    work = (Path("work") / check_run_id(run_id) if work is None else work).resolve()
    if Path(config.model.name).is_dir() and not (work / config.model.name).is_dir():
        raise ConfigError(
            f"{where}: model.name is the folder {config.model.name} as seen from here, and the training works in "
            f"{work}; write an absolute path, and the same one wherever the run goes on"
        )
    return Job(mode, run_id, config, content, tuple(overrides), work, processes, with_control)


def build_command(job: Job, *, role: str) -> list[str]:
    """Build the command line of the training or the test: what a person would type in the work folder."""
    command = [sys.executable, "-P", "-m", "ghostpen", job.mode, "--config", CONFIG_FILE]
    command += [part for setting in (*job.overrides, *PLACES) for part in ("--set", setting)]
    if job.mode == "train":
        command += ["--resume", "--run-id", job.run_id]
        command += ["--control"] if role != AUTHOR else []
        command += ["--processes", job.processes] if job.processes is not None else []
    return command


def build_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Leave AWS's credentials out of the child's environment: it reads and writes local files alone."""
    return _OUTPUT | {name: value for name, value in environ.items() if not name.startswith("AWS_")}
