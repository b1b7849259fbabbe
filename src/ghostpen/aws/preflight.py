"""What stands against a deployment, all of it in one message, before any money is spent. Pure: `facts` asks AWS."""

from __future__ import annotations

from ghostpen.aws.facts import Facts, Holder, Request
from ghostpen.aws.fleet import IDLE_TAG, MAX_INSTANCE_TAG, GroupState
from ghostpen.aws.handover import SPOT_GRACE_S, is_over
from ghostpen.aws.settings import DeployConfig
from ghostpen.errors import ActiveRunError

# Processes of the group without which it does not come up, does not go down, or its dead-man switch does not fire.
NEEDED_PROCESSES = ("Launch", "Terminate", "ScheduledActions")


def find_own(facts: Facts, request: Request) -> Holder | None:
    """Find the scheduled action of an earlier deployment of the same run."""
    return next((holder for holder in facts.holders if holder.run_id == request.run_id), None)


def find_rival(facts: Facts, config: DeployConfig, request: Request) -> ActiveRunError | None:
    """Find what holds the group and is not this run: it must not be touched."""
    down = f"ghostpen down --group {config.group.name} --region {config.aws.region}"
    group = facts.group
    busy = group.desired > 0 or bool(group.instances)
    listed = ", ".join(f"{member.instance_id} {member.lifecycle}" for member in group.instances) or "no instance yet"
    for holder in facts.holders:
        if holder.run_id != request.run_id and not (holder.over and not busy):
            return ActiveRunError(
                f"group {group.name} is held by run {holder.run_id} until {holder.at:%Y-%m-%d %H:%M} UTC (desired "
                f"{group.desired}, {listed}); wait for it (ghostpen status), or end it: `{down}`"
            )
    own = find_own(facts, request)
    if busy and own is None:
        return ActiveRunError(
            f"group {group.name} is at desired {group.desired} ({listed}), and no run's scheduled action is on it: "
            f"somebody started it by hand, or a run is just ending; wait, or end it: `{down}`"
        )
    # Not up yet, it may be just going up: whoever lets go then would end it.
    begun = busy or (own is not None and not is_over(facts.handover, facts.status))
    if begun and facts.handover is not None and facts.handover.mode != request.mode:
        return ActiveRunError(
            f"run {request.run_id} is active on group {group.name} in mode {facts.handover.mode}, not "
            f"{request.mode}; wait for it (ghostpen status), or end it: `{down}`"
        )
    return None


def compute_problems(facts: Facts, config: DeployConfig, request: Request) -> list[str]:
    """List everything that stands against the deployment; each says what to do."""
    return [
        *_list_account_problems(facts, config, request),
        *_list_storage_problems(facts, config, request),
        *_list_group_problems(facts.group),
        *_list_type_problems(facts, config, request),
        *_list_time_problems(facts, config, request),
        *_list_timer_problems(facts.group, config, request),
    ]


def _list_account_problems(facts: Facts, config: DeployConfig, request: Request) -> list[str]:
    problems = []
    if facts.account_id != config.aws.account_id:
        problems.append(
            f"the credentials in use are of account {facts.account_id} ({facts.caller}), and aws.account_id is "
            f"{config.aws.account_id}: sign in to that one (AWS_PROFILE), or correct the setting"
        )
    if facts.digest is None:
        problems.append(
            f"ECR repository {config.image.repository} holds no image {config.image.tag or config.image.digest}: let "
            "the build push it, or correct image.repository, image.tag or image.digest"
        )
    return problems


def _list_storage_problems(facts: Facts, config: DeployConfig, request: Request) -> list[str]:
    problems, uri = [], config.storage.uri.rstrip("/")
    if request.mode != "smoke" and not facts.has_data:
        problems.append(f"{uri}/data holds no complete data: `ghostpen data push DIR {uri}/data`")
    if request.mode == "test" and not facts.has_both_trainings:
        problems.append(
            f"{uri}/runs/{request.run_id}/results does not hold the author's adapter and its control: deploy mode "
            "train with this --run-id first (a control needs other authors' texts in the data)"
        )
    if request.mode != "smoke" and request.run_config is None and not facts.has_run_config:
        problems.append(
            f"run {request.run_id} was never deployed from here, so its settings are not known: --config FILE"
        )
    return problems


def _list_group_problems(group: GroupState) -> list[str]:
    problems = []
    if group.max_size < 1:
        problems.append(f"group {group.name} has MaxSize {group.max_size}: set it to 1")
    if group.min_size > 0:
        problems.append(f"group {group.name} has MinSize {group.min_size}, so it can't go to 0: set it to 0")
    for process in NEEDED_PROCESSES:
        if process in group.suspended:
            reason = f" ({group.suspended[process]})" if group.suspended[process] else ""
            problems.append(
                f"group {group.name} has its process {process} suspended{reason}: `aws autoscaling resume-processes "
                f"--auto-scaling-group-name {group.name} --scaling-processes {process}`"
            )
    if group.protected:
        problems.append(
            f"group {group.name} protects new instances from scale-in, so they would outlive desired capacity 0: "
            f"`aws autoscaling update-auto-scaling-group --auto-scaling-group-name {group.name} "
            "--no-new-instances-protected-from-scale-in`"
        )
    if group.warm_pool:
        problems.append(
            f"group {group.name} has a warm pool, whose instances outlive desired capacity 0: `aws autoscaling "
            f"delete-warm-pool --auto-scaling-group-name {group.name}`"
        )
    return problems


def _list_type_problems(facts: Facts, config: DeployConfig, request: Request) -> list[str]:
    """A group falls over from type to type, so only what stands against all of them counts."""
    problems, types = [], facts.types
    limited = [name for name, kind in types.items() if kind.quota_vcpus is not None and kind.quota_vcpus < kind.vcpus]
    if types and len(limited) == len(types):
        listed = ", ".join(f"{name} {types[name].vcpus} of {types[name].quota_vcpus:g}" for name in limited)
        problems.append(
            f"the account's quota allows none of the group's instance types (vCPUs: {listed}): raise it for running "
            f"{'spot' if facts.group.spot else 'on-demand'} instances of this family in {config.aws.region} (Service "
            "Quotas, EC2)"
        )
    small = [name for name, kind in types.items() if kind.gpu_memory_gb < request.need_gb]
    if types and len(small) == len(types):
        listed = ", ".join(f"{name} {types[name].gpu_memory_gb:.1f}" for name in small)
        problems.append(
            f"none of the group's instance types has the {request.need_gb:.1f} GB of GPU memory that the run needs "
            f"({listed}): give the group larger types, or take a profile that needs less (ghostpen inspect)"
        )
    return problems


def _list_time_problems(facts: Facts, config: DeployConfig, request: Request) -> list[str]:
    problems, waits = [], config.timeouts
    if request.run_grace_s is not None and request.run_grace_s >= waits.grace_s:
        problems.append(
            f"timeouts.grace_s ({waits.grace_s}) must be longer than the run's storage.grace_s "
            f"({request.run_grace_s:g}), or the container is killed while it uploads"
        )
    if facts.group.spot and request.run_grace_s is not None and request.run_grace_s >= SPOT_GRACE_S:
        problems.append(
            f"group {facts.group.name} may have spot instances, which AWS takes back at two minutes' notice: the "
            f"run's storage.grace_s ({request.run_grace_s:g}) must be less than {SPOT_GRACE_S}, or the container is "
            "killed while it uploads"
        )
    start_s = waits.capacity_s + waits.online_s + waits.smoke_s + waits.start_s
    run_s = _compute_run_s(config, request)
    follow_s = run_s if request.follow_for_s is None else min(run_s, request.follow_for_s)
    needed_s = start_s + follow_s + waits.terminate_s
    if facts.max_session_s is not None and needed_s > facts.max_session_s:
        problems.append(
            f"a session of the role in use ends after {facts.max_session_s} s at most, and this deployment may need "
            f"{needed_s:.0f} s: raise the role's MaxSessionDuration, or let go earlier: --follow-for "
            f"{max(0, facts.max_session_s - start_s - waits.terminate_s):.0f} (the run then goes on by itself)"
        )
    return problems


def _list_timer_problems(group: GroupState, config: DeployConfig, request: Request) -> list[str]:
    """Compare with what the group's tags say: timers that an instance arms at boot, which nobody can move."""
    problems, waits = [], config.timeouts
    start_s = waits.online_s + waits.smoke_s + waits.start_s
    run_s = _compute_run_s(config, request)
    needed_s = start_s + run_s + (waits.grace_s if run_s else 0)
    if group.max_instance_s is not None and needed_s > group.max_instance_s:
        room_s = group.max_instance_s - start_s - waits.grace_s
        problems.append(
            f"instances of group {group.name} end themselves {group.max_instance_s} s after boot (tag "
            f"{MAX_INSTANCE_TAG}), and this one may take {needed_s} s to start, run and upload: give the stack a "
            "larger MaxInstanceSeconds, or take a shorter limits.max_runtime_s (--max-runtime), of "
            f"{max(0, room_s)} s at most"
        )
    if group.idle_s is not None and start_s >= group.idle_s:
        problems.append(
            f"instances of group {group.name} end themselves {group.idle_s} s after boot if no run is active (tag "
            f"{IDLE_TAG}), and timeouts.online_s, smoke_s and start_s let {start_s} s pass before that: give the "
            "stack a larger IdleSeconds, or take shorter timeouts"
        )
    return problems


def _compute_run_s(config: DeployConfig, request: Request) -> int:
    return 0 if request.mode == "smoke" else request.max_runtime_s or config.limits.max_runtime_s
