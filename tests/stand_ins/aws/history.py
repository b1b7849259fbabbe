"""The history of one Auto Scaling group: its activities, in the words that AWS uses."""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass

from tests.stand_ins.aws.timeline import Timeline, to_utc

LONGEST_STATUS_MESSAGE = 255
PROTECTED = "Could not scale to desired capacity because all remaining instances are protected from scale-in."


@dataclass
class Activity:
    """One line of the group's history."""

    id: str
    description: str
    cause: str
    started_at: float
    status: str = "InProgress"
    message: str = ""
    ended_at: float | None = None


class History:
    """All activities, oldest first."""

    def __init__(self, group: str, timeline: Timeline) -> None:
        self._group = group
        self._timeline = timeline
        self._numbers = itertools.count(1)
        self._change = ""  # of the desired capacity: the next activity's cause begins with it
        self.activities: list[Activity] = []

    def stamp(self) -> str:
        """Give the time as causes write it."""
        return to_utc(self._timeline.now()).strftime("%Y-%m-%dT%H:%M:%SZ")

    def note_change(self, what: str) -> None:
        self._change = f"At {self.stamp()} {what} "

    def record(self, description: str, cause: str) -> Activity:
        """Begin an activity."""
        activity = self._add(description, f"{self._change}At {self.stamp()} {cause}")
        self._change = ""
        return activity

    def record_again(self, activity: Activity) -> Activity:
        """Begin the same once more: a launch of another type, or in another zone."""
        return self._add("Launching a new EC2 instance", activity.cause)

    def record_protected(self) -> None:
        """Say, once, that protection from scale-in is in the way."""
        if not self.activities or self.activities[-1].description != PROTECTED:
            cause = (
                "an instance was to be taken out of service in response to a difference between desired and actual"
            )
            activity = self.record(PROTECTED, f"{cause} capacity.")
            activity.status, activity.ended_at = "Cancelled", self._timeline.now()

    def _add(self, description: str, cause: str) -> Activity:
        number = uuid.uuid5(uuid.NAMESPACE_OID, f"{self._group} {next(self._numbers)}")
        activity = Activity(str(number), description, cause, self._timeline.now())
        self.activities.append(activity)
        return activity

    def succeed(self, activity: Activity) -> None:
        if activity.ended_at is None:
            activity.status, activity.ended_at = "Successful", self._timeline.now()

    def fail(self, activity: Activity, message: str, *, status: str = "Failed") -> None:
        activity.description = f"{activity.description}.  Status Reason: {message}"
        activity.message = message[:LONGEST_STATUS_MESSAGE]
        activity.status, activity.ended_at = status, self._timeline.now()
