"""What the deployment and the instance say to each other: files in S3, one short command, no secret.

    runs/RUN_ID/instance/handover.json   the deployment: what was handed over, and when; written before all else
                        /run.sh          the script that the command starts
                        /settings.env    its settings, NAME=VALUE
                        /run.toml        the run's own settings, for the container
                        /status.json     the instance: how far it is, and how it ended; overwritten at every change

Owns these names and their content. What `run.sh` reads and writes stands here too; change both together.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ghostpen.aws.s3 import ObjectStore
from ghostpen.aws.settings import DeployConfig, Guards
from ghostpen.errors import CloudError

Mode = Literal["train", "test", "smoke"]
SCRIPT_NAME, SETTINGS_NAME, CONFIG_NAME = "run.sh", "settings.env", "run.toml"
HANDOVER_NAME, STATUS_NAME = "handover.json", "status.json"
# What run.sh leaves with where it fails in the foreground; the same numbers as ghostpen.errors has.
EXIT_SMOKE, EXIT_PULL, EXIT_START = 22, 23, 32
SPOT_GRACE_S = 105  # from a spot notice's SIGTERM to SIGKILL, where timeouts.grace_s is not less; in run.sh, too
_FORMAT = 1
_ID_FORMAT = "%Y%m%dT%H%M%S.%fZ"


def locate(run_id: str, name: str) -> str:
    """Give the name of an object of the hand-over, below storage.uri."""
    return f"runs/{run_id}/instance/{name}"


@dataclass(frozen=True)
class Handover:
    """What was handed over to an instance that did not exist yet."""

    handover_id: str  # another one for every start of the group; status.json says which it belongs to
    mode: Mode
    image: str
    container_s: int
    tests_before: tuple[str, ...]  # reports that were there already
    control: bool  # the control is trained, too
    over: bool = False  # the deployment itself ended it

    def to_json(self) -> bytes:
        """Render handover.json."""
        return (json.dumps({"format": _FORMAT, **asdict(self)}, indent=1) + "\n").encode()


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    handover_id: str
    mode: Mode
    image: str
    container_s: int
    tests_before: tuple[str, ...]
    control: bool
    over: bool


class InstanceStatus(BaseModel):
    """How far the instance is, as it said last. Fields that a later version adds are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    handover_id: str
    instance_id: str
    phase: Literal["starting", "pulling", "running", "stopping", "ended"]
    reason: str = ""  # of the end, or of the stop: "completed", or a reason of ghostpen.errors, or "stopped"
    container_exit_code: int | None = None
    oom_killed: bool = False
    last_log_lines: tuple[str, ...] = ()
    times: dict[str, float] = {}  # phase -> seconds since 1970, by the instance's clock

    @property
    def has_ended(self) -> bool:
        """Say whether the script has done its last, and gives the instance back."""
        return self.phase == "ended"


def make_handover_id(now: datetime) -> str:
    """Make an id of the moment: one run at a time holds a group."""
    return now.astimezone(UTC).strftime(_ID_FORMAT)


def read_moment(handover_id: str) -> datetime | None:
    """Read the moment from an id, by the clock of the machine that made it; None where it is of another version."""
    try:
        return datetime.strptime(handover_id, _ID_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None


def read_handover(store: ObjectStore, run_id: str) -> Handover | None:
    """Read what was handed over last for a run; None where nothing was.

    Raises:
        CloudError: it can't be read, or is of another version.
    """
    content = store.read_object(locate(run_id, HANDOVER_NAME))
    if content is None:
        return None
    try:
        fields = _Document.model_validate_json(content).model_dump(exclude={"format"})
    except ValidationError as error:
        raise _refuse(store, run_id, HANDOVER_NAME, error) from error
    return Handover(**fields)


def read_status(store: ObjectStore, run_id: str) -> InstanceStatus | None:
    """Read what an instance of a run said last; None where none has said anything.

    Raises:
        CloudError: it can't be read, or is of another version.
    """
    content = store.read_object(locate(run_id, STATUS_NAME))
    if content is None:
        return None
    try:
        return InstanceStatus.model_validate_json(content.decode(errors="replace"))
    except ValidationError as error:
        raise _refuse(store, run_id, STATUS_NAME, error) from error


def read_is_over(store: ObjectStore, run_id: str) -> bool:
    """Say whether what was handed over last for a run has come to its end, by its own account.

    Raises:
        CloudError: it can't be read.
    """
    return is_over(read_handover(store, run_id), read_status(store, run_id))


def is_over(handover: Handover | None, status: InstanceStatus | None) -> bool:
    """Say whether what was handed over last has come to its end: by the deployment's word, or by the instance's."""
    if handover is None:
        return False
    ended = status is not None and status.has_ended and status.handover_id == handover.handover_id
    return handover.over or ended


def write_handover(store: ObjectStore, run_id: str, handover: Handover) -> None:
    """Say what is handed over: before the group is touched, so that an older status.json counts no more.

    Raises:
        CloudError: it can't be written.
    """
    store.write_object(locate(run_id, HANDOVER_NAME), handover.to_json())


def write_over(store: ObjectStore, run_id: str, handover: Handover) -> None:
    """Say that the deployment ended it, so that another run may take the group.

    Raises:
        CloudError: it can't be written.
    """
    write_handover(store, run_id, replace(handover, over=True))


def read_script() -> bytes:
    """Read the script that comes with the package."""
    return files("ghostpen.aws").joinpath("instance", SCRIPT_NAME).read_bytes()


def render_settings(
    config: DeployConfig, handover: Handover, *, run_id: str, guards: Guards, need_gb: float, names: tuple[str, ...]
) -> bytes:
    """Render settings.env. Every value has passed the settings' own checks; none is a secret.

    Args:
        need_gb: free GPU memory that the smoke test asks for; 0 asks for none. names: of the secrets.
    """
    storage = config.storage.uri.rstrip("/")
    values = {
        "HANDOVER_ID": handover.handover_id,
        "RUN_ID": run_id,
        "MODE": handover.mode,
        "CONTROL": "yes" if handover.control else "no",
        "REGION": config.aws.region,
        "REGISTRY": config.registry,
        "IMAGE": handover.image,
        "STORAGE_URI": storage,
        "CONFIG_URI": f"{storage}/{locate(run_id, CONFIG_NAME)}",
        "STATUS_URI": f"{storage}/{locate(run_id, STATUS_NAME)}",
        "LOG_GROUP": config.logs.group,
        "SECRETS_PATH": f"{config.secrets.path}/{run_id}",
        "SECRET_NAMES": " ".join(names),
        "NEED_GB": f"{need_gb:g}",
        "MAX_RUNTIME_S": str(guards.container_s),
        "GRACE_S": str(config.timeouts.grace_s),
        "TIMER_S": str(guards.timer_s),
        "SMOKE_S": str(config.timeouts.smoke_s),
        "SMOKE_TIMER_S": str(guards.smoke_timer_s),
    }
    return "".join(f"{name}={value}\n" for name, value in values.items()).encode()


def render_command(
    action: Literal["smoke", "start"],
    *,
    storage_uri: str,
    region: str,
    run_id: str,
    instance_id: str,
    sums: dict[str, str],
) -> str:
    """Render the command that SSM brings, for /bin/sh: fetch script and settings, check what came, do one thing.

    Args:
        sums: the SHA-256 of each file, by name.
    """
    folder = f"{storage_uri.rstrip('/')}/{locate(run_id, '')}"
    names = (SCRIPT_NAME, SETTINGS_NAME)
    copy = f"timeout 120 aws s3 cp --only-show-errors --region {shlex.quote(region)}"
    return "\n".join([
        "set -eu",
        "umask 077",
        f'folder="${{STATE_DIRECTORY:-/var/lib/ghostpen}}/{run_id}"',
        f'mkdir -p "$folder" && cd "$folder" || exit {EXIT_START}',
        *(f"{copy} {shlex.quote(folder + name)} {name}.new || exit {EXIT_START}" for name in names),
        *(f"echo '{sums[name]}  {name}.new' | sha256sum --check --quiet || exit {EXIT_START}" for name in names),
        *(f"mv {name}.new {name}" for name in names),
        f'exec bash {SCRIPT_NAME} {action} "$folder/{SETTINGS_NAME}" {shlex.quote(instance_id)}',
    ])  # fmt: skip


def compute_sums(contents: dict[str, bytes]) -> dict[str, str]:
    """Compute the SHA-256 of each file, by name."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def _refuse(store: ObjectStore, run_id: str, name: str, error: ValidationError) -> CloudError:
    problem: Any = error.errors()[0]
    field = ".".join(str(part) for part in problem["loc"]) or "the file"
    return CloudError(
        f"{store.location}/{locate(run_id, name)} is not what this version of ghostpen writes ({field}: "
        f"{problem['msg']}); use the version that began the run, or another --run-id"
    )
