"""One Auto Scaling group: a state machine that keeps as many instances as desired.

    desired > instances   launch: (asks EC2) -> Pending -> InService, or a failed activity and a later try
    desired < instances   scale in: InService -> Terminating -> gone; a pending instance is waited for first
    an instance is gone   noticed after a while, taken out, replaced while desired says so

Owns lifecycle, health, activities and their texts. Must not know the API: `autoscaling.py` checks parameters.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import StrEnum

from tests.stand_ins.aws.api import ApiError, refuse_invalid
from tests.stand_ins.aws.ec2 import Ec2
from tests.stand_ins.aws.fault_book import Faults
from tests.stand_ins.aws.history import Activity, History
from tests.stand_ins.aws.instances import Instance, State
from tests.stand_ins.aws.schedule import Schedule, ScheduledAction
from tests.stand_ins.aws.timeline import Timeline
from tests.stand_ins.aws.world import Delays, GroupSpec

ADMIN_SUSPENSION = "Suspended by AWS: launches have failed for over 24 hours"


class Lifecycle(StrEnum):
    PENDING = "Pending"
    IN_SERVICE = "InService"
    TERMINATING = "Terminating"


@dataclass
class Member:
    """An instance, as its group sees it."""

    instance: Instance
    protected: bool
    launch: Activity
    lifecycle: Lifecycle = Lifecycle.PENDING
    healthy: bool = True


class Group:
    """An Auto Scaling group. Its methods do what the console's buttons do."""

    def __init__(self, spec: GroupSpec, *, timeline: Timeline, ec2: Ec2, faults: Faults, delays: Delays) -> None:
        self.spec = spec
        self.min_size, self.max_size, self.desired = spec.min_size, spec.max_size, spec.desired
        self.suspended = dict.fromkeys(spec.suspended, "User suspended")
        self.created_at = timeline.now()
        self.members: list[Member] = []
        self._history = History(spec.name, timeline)
        self.schedule = Schedule(timeline, lag_s=delays.schedule_lag_s, fire=self._fire)
        self._timeline, self._ec2, self._faults, self._delays = timeline, ec2, faults, delays
        self._launching = 0  # asked of EC2, not there yet
        self._attempts = 0
        self._retry_at = 0.0
        self._retry_s = delays.retry_s
        self._failing_since: float | None = None
        self._wake(0)

    # -- what changes the desired capacity --

    def set_desired(self, desired: int, *, honor_cooldown: bool = False) -> None:
        """Change the desired capacity; the instances follow later, and a failure to launch is no error here.

        Raises:
            ApiError: it lies outside of the group's bounds, or an activity is in progress that is to be waited for.
        """
        if desired > self.max_size:
            raise refuse_invalid(
                f"New SetDesiredCapacity value {desired} is above max value {self.max_size} for the AutoScalingGroup."
            )
        if desired < self.min_size:
            raise refuse_invalid(
                f"New SetDesiredCapacity value {desired} is below min value {self.min_size} for the AutoScalingGroup."
            )
        if honor_cooldown and (blocking := self._find_blocking_activity()):
            raise ApiError(
                "ScalingActivityInProgress", f"Scaling activity {blocking.id} is in progress and blocks this action"
            )
        self._change(desired, "a user request explicitly set group desired capacity")

    @property
    def activities(self) -> list[Activity]:
        """Give the group's history, oldest first."""
        return self._history.activities

    def _find_blocking_activity(self) -> Activity | None:
        for activity in reversed(self.activities):
            if activity.ended_at is None or activity.ended_at + self.spec.cooldown_s > self._timeline.now():
                return activity
        return None

    def _fire(self, action: ScheduledAction) -> None:
        if "ScheduledActions" in self.suspended:
            return
        self.min_size = self.min_size if action.min_size is None else action.min_size
        self.max_size = self.max_size if action.max_size is None else action.max_size
        wished = self.desired if action.desired is None else action.desired
        desired = min(max(wished, self.min_size), self.max_size)
        bounds = f"min: {self.min_size}, max: {self.max_size}, desired: {desired}"
        self._change(desired, f"a scheduled action update of AutoScalingGroup constraints to {bounds}")

    def _change(self, desired: int, what: str) -> None:
        if desired != self.desired:
            self._history.note_change(f"{what} changing the desired capacity from {self.desired} to {desired}.")
        self.desired = desired
        self._wake(self._delays.react_s)

    def suspend(self, *processes: str, reason: str = "User suspended") -> None:
        self.suspended |= dict.fromkeys(processes, reason)

    def resume(self, *processes: str) -> None:
        """Let processes go on; what they missed is made up for."""
        for process in processes or list(self.suspended):
            self.suspended.pop(process, None)
        for member in list(self.members):
            if not member.instance.alive:
                self._notice_end(member)
        self._wake(self._delays.react_s)

    # -- keeping as many instances as desired --

    def _wake(self, delay_s: float) -> None:
        self._timeline.call_later(delay_s, self._reconcile)

    def _reconcile(self) -> None:
        kept = [member for member in self.members if member.lifecycle is not Lifecycle.TERMINATING]
        expected = len(kept) + self._launching
        if expected < self.desired:
            self._begin_launch()
        elif expected > self.desired:
            self._scale_in(kept, surplus=expected - self.desired)

    def _begin_launch(self) -> None:
        if "Launch" in self.suspended or self._timeline.now() < self._retry_at:
            return
        actual = len(self.members)
        activity = self._history.record(
            "Launching a new EC2 instance",
            "an instance was started in response to a difference between desired and actual capacity, increasing the "
            f"capacity from {actual} to {actual + 1}.",
        )
        self._launching += 1
        self._attempts += 1
        self._timeline.call_later(self._delays.request_s, lambda: self._launch(activity))
        self._wake(0)  # for further ones

    def _launch(self, activity: Activity) -> None:
        """Ask EC2 for each type in each zone, in order; every refusal is an activity of its own."""
        self._launching -= 1
        for number, (type_name, zone) in enumerate(itertools.product(self.spec.types, self.spec.zones)):
            if number:
                activity = self._history.record_again(activity)
            shortage = self._faults.find_shortage(self._attempts, type_name, zone)
            if shortage is None:
                self._add_member(activity, type_name, zone)
                return
            others = ", ".join(other for other in self.spec.zones if other != zone) or "another zone"
            self._history.fail(activity, shortage.format(type=type_name, zone=zone, others=others))
        self._try_later()

    def _try_later(self) -> None:
        now = self._timeline.now()
        self._retry_at = now + self._retry_s
        self._timeline.call_at(self._retry_at, self._reconcile)
        self._retry_s = min(2 * self._retry_s, self._delays.longest_retry_s)
        self._failing_since = now if self._failing_since is None else self._failing_since
        if now - self._failing_since > self._delays.give_up_s:
            self.suspend("Launch", reason=ADMIN_SUSPENSION)

    def _add_member(self, activity: Activity, type_name: str, zone: str) -> None:
        self._retry_s, self._retry_at, self._failing_since = self._delays.retry_s, 0.0, None
        instance = self._ec2.launch(self.spec, type_name, zone)
        member = Member(instance, self.spec.protected, activity)
        self.members.append(member)
        activity.description = f"Launching a new EC2 instance: {instance.id}"
        half_s = instance.plan.in_service_s / 2
        instance.on_running.append(lambda: self._timeline.call_later(half_s, lambda: self._take_into_service(member)))
        instance.on_end.append(
            lambda: self._timeline.call_later(self._delays.health_check_s, lambda: self._notice_end(member))
        )
        instance.on_gone.append(lambda: self._drop_if_terminating(member))

    def _take_into_service(self, member: Member) -> None:
        if member.lifecycle is Lifecycle.PENDING and member.instance.state is State.RUNNING:
            member.lifecycle = Lifecycle.IN_SERVICE
            self._history.succeed(member.launch)
            self._reconcile()  # desired may have changed meanwhile

    def _scale_in(self, kept: list[Member], *, surplus: int) -> None:
        """Take the oldest unprotected ones that are in service; pending ones are left to come into service first."""
        if "Terminate" in self.suspended:
            return
        ready = [member for member in kept if member.lifecycle is Lifecycle.IN_SERVICE]
        chosen = [member for member in ready if not member.protected][:surplus]
        for member in chosen:
            size, stamp = len(self.members), self._history.stamp()
            self._remove(
                member,
                "an instance was taken out of service in response to a difference between desired and actual "
                f"capacity, shrinking the capacity from {size} to {size - 1}. At {stamp} instance "
                f"{member.instance.id} was selected for termination.",
            )
        if ready and not chosen:
            self._history.record_protected()

    # -- taking an instance out --

    def terminate_member(self, member: Member, *, decrement: bool) -> Activity:
        """Terminate an instance on request; protection from scale-in does not stand against that.

        Raises:
            ApiError: the desired capacity would fall below the group's minimum, or it is being terminated already.
        """
        if decrement and self.desired <= self.min_size:
            raise refuse_invalid(
                f"Currently, desiredSize equals minSize ({self.min_size}). Terminating instance without replacement "
                "will violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false "
                "or lower group's min size."
            )
        if member.lifecycle is Lifecycle.TERMINATING:  # AWS's own text is not known
            raise refuse_invalid(f"The instance {member.instance.id} is being terminated already.")
        cause = f"instance {member.instance.id} was taken out of service in response to a user request"
        if decrement:
            cause += f", shrinking the capacity from {self.desired} to {self.desired - 1}"
            self.desired -= 1
        activity = self._remove(member, f"{cause}.")
        self._wake(self._delays.react_s)
        return activity

    def _remove(self, member: Member, cause: str) -> Activity:
        member.lifecycle = Lifecycle.TERMINATING
        if member.launch.ended_at is None:
            self._history.fail(member.launch, "Instance was terminated before it was in service.", status="Cancelled")
        activity = self._history.record(f"Terminating EC2 instance: {member.instance.id}", cause)
        member.instance.on_gone.append(lambda: self._history.succeed(activity))
        if member.instance.state is State.TERMINATED:
            self._history.succeed(activity)
            self._drop_if_terminating(member)
        self._ec2.terminate(member.instance)
        return activity

    def _drop_if_terminating(self, member: Member) -> None:
        if member.lifecycle is Lifecycle.TERMINATING and member in self.members:
            self.members.remove(member)
            self._wake(self._delays.react_s)

    def _notice_end(self, member: Member) -> None:
        """Notice that EC2 ended the instance, and take it out of the group."""
        if member.lifecycle is Lifecycle.TERMINATING or "HealthCheck" in self.suspended:
            return
        member.healthy = False
        if member.lifecycle is Lifecycle.PENDING:
            reason = member.instance.reason
            self._history.fail(
                member.launch,
                "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: "
                f"{reason[1] if reason else 'unknown'}",
            )
            self.members.remove(member)
            self._wake(self._delays.react_s)
        elif "ReplaceUnhealthy" not in self.suspended:
            self._remove(
                member,
                "an instance was taken out of service in response to an EC2 health check indicating it has been "
                "terminated or stopped.",
            )
