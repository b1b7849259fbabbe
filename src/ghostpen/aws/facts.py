"""What is read before any money is spent: all that decides whether a deployment may begin, and where it goes on.

Asks AWS and changes nothing. What may not be read (quotas, one's own role) is noted and not held against anyone; what
the facts mean, `preflight` and `plan` decide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from ghostpen.aws.bundle import read_bundle
from ghostpen.aws.changes import list_changes
from ghostpen.aws.clients import Clients
from ghostpen.aws.errors import get_code, translated
from ghostpen.aws.fleet import Fleet, GroupState
from ghostpen.aws.handover import (
    CONFIG_NAME,
    Handover,
    InstanceStatus,
    Mode,
    locate,
    read_handover,
    read_is_over,
    read_status,
)
from ghostpen.aws.results import CONTRAST_FILE, DATA, has_begun, has_results, list_tests
from ghostpen.aws.s3 import ObjectStore
from ghostpen.aws.settings import DeployConfig
from ghostpen.errors import CloudError

# Quotas in vCPUs of running instances, by the first letters of their types. Source: AWS's list of EC2 quotas.
_QUOTAS = {
    "g": ("L-DB2E81BA", "L-3819A6DF"), "gr": ("L-DB2E81BA", "L-3819A6DF"), "vt": ("L-DB2E81BA", "L-3819A6DF"),
    "p": ("L-417A185B", "L-7212CCBC"),
}  # fmt: skip
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Request:
    """What a person asks for, beside the settings."""

    mode: Mode
    run_id: str
    run_config: bytes | None = None  # the run's own settings; None: those of an earlier deployment of the same run
    run_grace_s: float | None = None  # its storage.grace_s
    control: bool = True
    max_runtime_s: int | None = None
    follow_for_s: float | None = None
    need_gb: float = 0.0  # free GPU memory; 0 asks for none
    tracker: str = ""  # where its curves will be, in words or as a link
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Holder:
    """A run whose scheduled action is on the group."""

    run_id: str
    at: datetime
    over: bool  # it has ended by its own account, and only the action is left


@dataclass(frozen=True)
class TypeFacts:
    """An instance type of the group."""

    vcpus: int
    gpu_memory_gb: float  # of one GPU
    quota_vcpus: float | None


@dataclass(frozen=True)
class Facts:
    """What AWS said, all of it read and nothing changed."""

    account_id: str
    caller: str
    max_session_s: int | None
    digest: str | None
    has_data: bool
    has_contrast: bool
    has_training: bool  # results of this run's training, of the author and, where there is one, of the control
    has_both_trainings: bool
    has_run_config: bool
    changes: tuple[str, ...]  # the settings that are wanted otherwise than they were deployed
    has_begun: bool  # with changes: something is there that the deployed settings have made
    tests: tuple[str, ...]
    group: GroupState
    holders: tuple[Holder, ...]
    handover: Handover | None
    status: InstanceStatus | None
    types: Mapping[str, TypeFacts]
    notes: tuple[str, ...] = ()


def read_facts(clients: Clients, config: DeployConfig, request: Request, *, store: ObjectStore) -> Facts:
    """Ask AWS for everything that decides whether a deployment may begin, and where it goes on.

    Raises:
        CloudError: a refusal, or no answer.
    """
    notes: list[str] = []
    fleet = Fleet(clients.autoscaling, config.group.name)
    with translated("the credentials in use", service="sts"):
        identity = clients.sts.get_caller_identity()
    group = fleet.read_group()
    data = read_bundle(store, DATA) if request.mode != "smoke" else None
    has_contrast = data is not None and any(entry.path == CONTRAST_FILE for entry in data.files)
    wants_control = request.control and has_contrast
    deployed, wanted = store.read_object(locate(request.run_id, CONFIG_NAME)), request.run_config
    changes = () if deployed is None or wanted is None else list_changes(deployed, wanted)
    return Facts(
        account_id=identity["Account"],
        caller=identity["Arn"],
        max_session_s=_read_max_session(clients.iam, identity["Arn"], notes),
        digest=_read_digest(clients.ecr, config),
        has_data=data is not None,
        has_contrast=has_contrast,
        has_training=request.mode != "smoke" and has_results(store, request.run_id, control=wants_control),
        has_both_trainings=request.mode == "test" and has_results(store, request.run_id, control=True),
        has_run_config=deployed is not None,
        changes=changes,
        has_begun=bool(changes) and has_begun(store, request.run_id),
        tests=list_tests(store, request.run_id),
        group=group,
        holders=tuple(
            Holder(armed.run_id, armed.at, armed.run_id != request.run_id and read_is_over(store, armed.run_id))
            for armed in fleet.read_armed()
        ),
        handover=read_handover(store, request.run_id),
        status=read_status(store, request.run_id),
        types=_read_types(clients, group, notes),
        notes=tuple(notes),
    )


def _read_max_session(client: Any, arn: str, notes: list[str]) -> int | None:
    """Read how long a session of the assumed role may last; None for a user, and for a role that renews itself."""
    match = re.fullmatch(r"arn:[\w-]+:sts::\d+:assumed-role/([^/]+)/.*", arn)
    if match is None or match[1].startswith("AWSReservedSSO_"):
        return None

    def read() -> int:
        with translated(f"role {match[1]}", service="iam"):
            duration: int = client.get_role(RoleName=match[1])["Role"]["MaxSessionDuration"]
        return duration

    return _try_to_read(read, notes)


def _read_digest(client: Any, config: DeployConfig) -> str | None:
    image = config.image
    wanted = {"imageTag": image.tag} if image.tag else {"imageDigest": image.digest}
    try:
        with translated(f"ECR repository {image.repository}", service="ecr"):
            answer = client.describe_images(
                registryId=config.aws.account_id, repositoryName=image.repository, imageIds=[wanted]
            )
    except CloudError as error:
        if get_code(error.__cause__) in ("ImageNotFoundException", "RepositoryNotFoundException"):
            return None
        raise
    digest: str | None = answer["imageDetails"][0]["imageDigest"] if answer["imageDetails"] else None
    return digest


def _read_types(clients: Clients, group: GroupState, notes: list[str]) -> dict[str, TypeFacts]:
    """Read what the group's instance types have; nothing where the group does not name them."""

    def read() -> list[Any]:
        with translated("instance types", service="ec2"):
            answer = clients.ec2.describe_instance_types(InstanceTypes=sorted(set(group.types)))
        found: list[Any] = answer["InstanceTypes"]
        return found

    found = sorted(
        (_try_to_read(read, notes) or []) if group.types else [],
        key=lambda entry: group.types.index(entry["InstanceType"]),
    )
    quotas: dict[str, float | None] = {}
    for entry in found:
        if (code := _find_quota(entry["InstanceType"], spot=group.spot)) is not None and code not in quotas:
            quotas[code] = _try_to_read(lambda code=code: _read_quota(clients.quotas, code), notes)  # type: ignore[misc]
    return {
        entry["InstanceType"]: TypeFacts(
            vcpus=entry["VCpuInfo"]["DefaultVCpus"],
            gpu_memory_gb=_compute_gpu_gb(entry),
            quota_vcpus=quotas.get(_find_quota(entry["InstanceType"], spot=group.spot) or ""),
        )
        for entry in found
    }


def _find_quota(type_name: str, *, spot: bool) -> str | None:
    letters = re.match(r"[a-z]+", type_name)
    codes = _QUOTAS.get(letters[0]) if letters else None
    return codes[spot] if codes else None


def _read_quota(client: Any, code: str) -> float:
    with translated(f"quota {code}", service="servicequotas"):
        value: float = client.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"]
    return value


def _compute_gpu_gb(entry: Mapping[str, Any]) -> float:
    """Give the memory of one of its GPUs; 0 without a GPU."""
    gpus = entry.get("GpuInfo", {}).get("Gpus", [])
    return gpus[0]["MemoryInfo"]["SizeInMiB"] * 2**20 / 1e9 if gpus else 0.0


def _try_to_read(read: Callable[[], Answer], notes: list[str]) -> Answer | None:
    """Read what is good to know; a refusal is noted."""
    try:
        return read()
    except CloudError as error:
        notes.append(f"not checked: {error.message}")
        return None
