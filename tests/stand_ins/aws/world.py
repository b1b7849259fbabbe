"""What the simulated account holds, and how long things take in it. Plain data.

The delays are in the order of magnitude that AWS users report; none was measured. Tests that need other ones say so.
"""

from __future__ import annotations

from dataclasses import dataclass, field

GPU_QUOTA_CODE = "L-DB2E81BA"  # running on-demand G and VT instances, in vCPU


@dataclass(frozen=True)
class Delays:
    """Seconds from a cause to its effect."""

    react_s: float = 3.0  # a change of desired capacity -> the group acts
    request_s: float = 2.0  # the group asks EC2 -> the instance exists; no change of mind stops it
    retry_s: float = 60.0  # a failed launch -> the next try; doubles up to longest_retry_s
    longest_retry_s: float = 900.0
    health_check_s: float = 60.0  # an instance is gone -> its group notices
    schedule_lag_s: float = 20.0  # a scheduled action's time -> it acts; AWS documents up to two minutes
    command_s: float = 1.0  # SendCommand -> the agent starts it
    invocation_visible_s: float = 1.0  # SendCommand -> GetCommandInvocation knows it
    ping_lost_s: float = 300.0  # the agent's last ping -> PingStatus is ConnectionLost
    expiration_lag_s: float = 60.0  # a parameter's expiration -> it is gone
    spot_warning_s: float = 120.0  # the notice -> the instance is taken
    stop_grace_s: float = 30.0  # SIGTERM to everything on a terminated instance -> SIGKILL
    forget_s: float = 3600.0  # terminated -> DescribeInstances no longer knows it
    give_up_s: float = 86400.0  # launches fail for so long -> AWS suspends the group's Launch process
    call_s: float = 0.2  # one API call, half of it before the effect; in-process only


@dataclass(frozen=True)
class GroupSpec:
    """One Auto Scaling group as its owner made it."""

    name: str = "gpu-runs"
    types: tuple[str, ...] = ("g6e.xlarge", "g6e.2xlarge")  # in order of preference
    zones: tuple[str, ...] = ("eu-central-1a", "eu-central-1b")
    min_size: int = 0
    max_size: int = 1
    desired: int = 0
    spot: bool = False
    protected: bool = False  # new instances are protected from scale-in
    suspended: tuple[str, ...] = ()
    health_check_grace_s: int = 0
    cooldown_s: int = 300
    tags: tuple[tuple[str, str], ...] = (("Project", "ghostpen"),)
    age_timer_s: float | None = 86400.0  # user data ends the instance after so long; None: it has none
    idle_timer_s: float | None = 3600.0  # the same for one on which no unit of a run is active


@dataclass(frozen=True)
class GpuType:
    """What DescribeInstanceTypes tells of an instance type."""

    vcpus: int
    memory_mib: int
    gpu: str
    gpu_count: int
    gpu_memory_mib: int


GPU_TYPES = {
    "g5.xlarge": GpuType(4, 16384, "A10G", 1, 22888),
    "g6.xlarge": GpuType(4, 16384, "L4", 1, 22888),
    "g6e.xlarge": GpuType(4, 32768, "L40S", 1, 45776),
    "g6e.2xlarge": GpuType(8, 65536, "L40S", 1, 45776),
    "g6e.12xlarge": GpuType(48, 393216, "L40S", 4, 45776),
}


@dataclass(frozen=True)
class Image:
    """One image of the registry."""

    digest: str
    tags: tuple[str, ...] = ()
    size_bytes: int = 9_000_000_000


@dataclass(frozen=True)
class World:
    """The account at the start of a test."""

    region: str = "eu-central-1"
    account_id: str = "123456789012"
    groups: tuple[GroupSpec, ...] = (GroupSpec(),)
    deploy_role: str = "ghostpen-deploy"
    max_session_s: int = 21600
    instance_role: str = "ghostpen-instance"
    gpu_quota_vcpus: float = 48.0
    repositories: dict[str, tuple[Image, ...]] = field(
        default_factory=lambda: {"ghostpen": (Image("sha256:" + "1" * 64, ("v1",)),)}
    )
    log_groups: tuple[str, ...] = ("/ghostpen/runs",)
    buckets: tuple[str, ...] = ("runs-bucket",)
    delays: Delays = Delays()
