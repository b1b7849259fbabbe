"""The end of every deployment: the group at desired capacity 0, and seen without an instance.

Needs the group's name and nothing else. Does not give up on an error, only at a deadline, and then says what to run
by hand. Must not wait for anything else: whoever deletes secrets or reads results does so around it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from ghostpen.aws.fleet import Fleet, GroupState
from ghostpen.aws.waiting import Waiting
from ghostpen.errors import ShutdownNotConfirmedError

# How long the group may take to end an instance by itself before it is ended by its id: a suspended process or a
# protection that somebody set meanwhile would keep it.
PATIENCE_S = 90
Answer = TypeVar("Answer")


def shut_down(
    fleet: Fleet, waiting: Waiting, *, limit_s: float, settle_s: float, report: Callable[[str], None]
) -> datetime:
    """Set the group to 0, and again whenever it is not; return since when it is seen there without an instance.

    It is there when desired capacity is 0, no instance is listed and no activity is open, for `settle_s` seconds: a
    launch that began before may bring an instance that is not listed yet.

    Raises:
        ShutdownNotConfirmedError: it was not seen so within `limit_s` seconds.
    """
    ending = _Ending(fleet, started_at=waiting.clock(), report=report)
    end = waiting.clock() + timedelta(seconds=limit_s)
    empty_since: datetime | None = None
    while True:
        ending.try_once(waiting.clock())
        now = waiting.clock()
        empty_since = (empty_since or now) if ending.is_empty else None
        if empty_since is not None and now - empty_since >= timedelta(seconds=settle_s):
            return empty_since
        # Empty at the deadline, it has its `settle_s`: this machine may have slept past both.
        if now >= end and empty_since is None:
            raise ShutdownNotConfirmedError(
                f"group {fleet.group} was not seen at desired capacity 0 without an instance within {limit_s:.0f} s "
                f"({ending.describe()}): A GPU MAY BE RUNNING AND COSTING MONEY. By hand: {render_by_hand(fleet)}"
            ) from ending.trouble
        waiting.sleep(waiting.poll_s)


def make_harmless(report: Callable[[str], None]) -> Callable[[str], None]:
    """Make a report that never fails: a terminal that is gone, or a full disk, must not keep a GPU running."""

    def report_if_possible(text: str) -> None:
        with contextlib.suppress(Exception):
            report(text)

    return report_if_possible


def render_by_hand(fleet: Fleet) -> str:
    """Say how a person sets the group to 0 without ghostpen."""
    region = fleet.region
    return (
        f"`aws autoscaling set-desired-capacity --region {region} --auto-scaling-group-name {fleet.group} "
        f"--desired-capacity 0`, or set it to 0 at https://{region}.console.aws.amazon.com/ec2/home?region={region}"
        f"#AutoScalingGroupDetails:id={fleet.group}"
    )


class _Ending:
    """What is known of the group while it goes down."""

    def __init__(self, fleet: Fleet, *, started_at: datetime, report: Callable[[str], None]) -> None:
        self._fleet = fleet
        self._started_at = started_at
        self._report = report
        self._accepted = False  # AWS took the last call to 0
        self._state: GroupState | None = None
        self._reported = ""
        self.is_empty = False
        self.trouble: Exception | None = None

    def try_once(self, now: datetime) -> None:
        """Ask for 0 if that is needed, look, and end what does not go by itself. One failing keeps none back."""
        self.trouble = None
        asked = self._accepted or self._attempt(self._ask) is True
        self._state = self._attempt(self._fleet.read_group)
        open_activity = self._attempt(lambda: any(activity.is_open for activity in self._fleet.read_activities()))
        if self._state is None:
            self.is_empty = False
            return
        # Where it is above 0, an earlier call to 1 arrived late, or somebody asked for one: once more.
        self._accepted = asked and self._state.desired == 0
        for member in self._state.instances:
            late = now - self._started_at >= timedelta(seconds=PATIENCE_S)
            if not member.is_leaving and (member.protected or late or not asked):
                self._attempt(lambda instance_id=member.instance_id: self._end(instance_id))  # type: ignore[misc]
        self.is_empty = self._state.desired == 0 and not self._state.instances and open_activity is False

    def describe(self) -> str:
        """Describe what stands in the way, as far as it is known."""
        state = self._state
        seen = "the group could not be read"
        if state is not None:
            listed = ", ".join(f"{member.instance_id} {member.lifecycle}" for member in state.instances)
            seen = f"desired {state.desired}, instances: {listed or 'none'}"
        return f"{seen}; {self.trouble}" if self.trouble else seen

    def _ask(self) -> bool:
        self._fleet.set_desired(0)
        return True

    def _end(self, instance_id: str) -> None:
        assert self._state is not None
        self._fleet.terminate(instance_id, decrement=self._state.desired > self._state.min_size)

    def _attempt(self, call: Callable[[], Answer]) -> Answer | None:
        try:
            return call()
        except Exception as error:  # even a bug of ours must not end the tries: a GPU may be running
            self.trouble = error
            if self._reported != str(error):
                self._reported = str(error)
                make_harmless(self._report)(f"{error}; trying again")
            return None
