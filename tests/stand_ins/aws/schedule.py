"""The one-time scheduled actions of one Auto Scaling group, which really fire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.stand_ins.aws.api import ApiError, refuse_invalid
from tests.stand_ins.aws.timeline import Event, Timeline


@dataclass
class ScheduledAction:
    """What the group will set at a time; None leaves a value as it is."""

    name: str
    at: float
    min_size: int | None
    max_size: int | None
    desired: int | None
    event: Event | None = field(default=None, repr=False)


class Schedule:
    """The actions by their names. One that has fired is gone."""

    def __init__(self, timeline: Timeline, *, lag_s: float, fire: Callable[[ScheduledAction], None]) -> None:
        self._timeline = timeline
        self._lag_s = lag_s
        self._do = fire
        self.actions: dict[str, ScheduledAction] = {}

    def put(self, action: ScheduledAction) -> None:
        """Put an action, or move the one of its name.

        Raises:
            ApiError: the time has passed, or another action is at the same minute.
        """
        action.at = float(int(action.at))  # AWS keeps no fractions of a second
        if action.at <= self._timeline.now():
            raise refuse_invalid("Given start time is in the past")
        others = [other for other in self.actions.values() if other.name != action.name]
        if any(int(other.at) // 60 == int(action.at) // 60 for other in others):
            raise ApiError("AlreadyExists", "There is already a scheduled action with this start time")
        self.take_off(action.name)
        action.event = self._timeline.call_at(action.at + self._lag_s, lambda: self._fire(action))
        self.actions[action.name] = action

    def take_off(self, name: str) -> bool:
        """Take an action off; False where there is none of that name."""
        action = self.actions.pop(name, None)
        if action is not None and action.event is not None:
            action.event.cancel()
        return action is not None

    def _fire(self, action: ScheduledAction) -> None:
        del self.actions[action.name]
        self._do(action)
