"""The SSM agent of one instance: registered or not, heard of or silent."""

from __future__ import annotations

from collections.abc import Callable

from tests.stand_ins.aws.timeline import Timeline


class Agent:
    """What Systems Manager knows of the agent. It learns of a silence only after a while."""

    def __init__(self, timeline: Timeline, *, ping_lost_s: float) -> None:
        self._timeline = timeline
        self._ping_lost_s = ping_lost_s
        self._on_connect: list[Callable[[], None]] = []
        self.registered_at: float | None = None
        self.connected = False
        self.silenced = False
        self._last_ping = 0.0

    def connect(self) -> None:
        """Register, or come back; what waited for the agent is delivered."""
        if self.registered_at is None:
            self.registered_at = self._timeline.now()
        self.connected = True
        self.silenced = False
        waiting, self._on_connect = self._on_connect, []
        for deliver in waiting:
            deliver()

    def silence(self) -> None:
        self._last_ping = self.last_ping
        self.connected = False
        self.silenced = True

    def call_when_connected(self, deliver: Callable[[], None]) -> None:
        """Call at once where the agent is heard of, else when it is again."""
        if self.connected:
            deliver()
        else:
            self._on_connect.append(deliver)

    @property
    def last_ping(self) -> float:
        return self._timeline.now() if self.connected else self._last_ping

    @property
    def status(self) -> str | None:
        """Give the PingStatus, or None before it has registered."""
        if self.registered_at is None:
            return None
        heard = self.connected or self._timeline.now() - self._last_ping < self._ping_lost_s
        return "Online" if heard else "ConnectionLost"
