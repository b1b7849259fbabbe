"""Where an attempt stands: status.json, written at every change and every half minute. A silent run is a lost one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ghostpen.errors import CloudError

EVERY_S = 30.0
_TAIL_BYTES = 65_536  # of metrics.jsonl: more than two rows


@dataclass
class Status:
    """What people and the deployment read; nothing decides by it about results."""

    mode: str
    run_id: str
    attempt: int
    started_at: datetime
    phase: str = "starting"
    role: str | None = None
    run_dir: Path | None = None  # whose metrics.jsonl tells the step
    outcome: str | None = None
    exit_code: int | None = None
    reason: str | None = None

    def to_json(self, now: datetime) -> dict[str, Any]:
        """Render it as it is now."""
        return {
            "mode": self.mode,
            "run_id": self.run_id,
            "attempt": self.attempt,
            "phase": self.phase,
            "role": self.role,
            "step": read_newest_step(self.run_dir / "metrics.jsonl") if self.run_dir else None,
            "outcome": self.outcome,
            "exit_code": self.exit_code,
            "reason": self.reason,
            "started_at": render_time(self.started_at),
            "updated_at": render_time(now),
        }


class Heartbeat:
    """Write something at every change and every `every_s` seconds, in a thread, until `finish`."""

    def __init__(self, write: Callable[[], None], *, warn: Callable[[str], None], every_s: float = EVERY_S) -> None:
        """Take what writes it; it may fail with a CloudError, and is then tried again at the next beat."""
        self._write, self._warn = write, warn
        self._every_s = every_s
        self._changed = threading.Event()
        self._is_ending = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def beat(self) -> None:
        """Write at once."""
        self._changed.set()

    def finish(self, *, timeout_s: float) -> None:
        """Write a last time, and end; a write that takes longer is left alone."""
        self._is_ending = True
        self._changed.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        has_warned = is_last = False
        while not is_last:
            self._changed.wait(self._every_s)
            self._changed.clear()
            is_last = self._is_ending  # read before the write: what ends the run is in it
            try:
                self._write()
                has_warned = False
            except CloudError as error:
                if not has_warned:
                    self._warn(f"warning: status.json can't be written: {error.message}")
                has_warned = True


def read_newest_step(metrics: Path) -> int | None:
    """Read the step of the last whole row of a file that is being written; None where there is none."""
    try:
        with metrics.open("rb") as file:
            file.seek(max(0, metrics.stat().st_size - _TAIL_BYTES))
            rows = file.read().split(b"\n")[:-1]
        step: int = json.loads(rows[-1])["step"]
    except (FileNotFoundError, IndexError, ValueError, KeyError, TypeError):  # written by another process
        return None
    return step


def render_time(moment: datetime) -> str:
    """Render a moment as everywhere in these files."""
    return moment.isoformat(timespec="seconds")
