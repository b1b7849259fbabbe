"""Where the data and a run lie below storage.uri. The one list of these names."""

from __future__ import annotations

import re
from dataclasses import dataclass

DATA = "data"
ROLES = ("author", "control")
_CHECKPOINT = re.compile(r"checkpoint-(\d+)(?:-attempt-(\d+))?")


@dataclass(frozen=True)
class RunNames:
    """Name a run's places, all below runs/RUN_ID/."""

    run_id: str

    @property
    def root(self) -> str:
        """What all names of the run begin with."""
        return f"runs/{self.run_id}"

    @property
    def status(self) -> str:
        """The small object that is overwritten as the run goes on."""
        return f"{self.root}/status.json"

    @property
    def attempts(self) -> str:
        """Holds a bundle for every attempt, numbered from 1."""
        return f"{self.root}/attempts"

    @property
    def tests(self) -> str:
        """Holds a bundle for every test, numbered from 1."""
        return f"{self.root}/tests"

    def checkpoints(self, role: str) -> str:
        """Hold a bundle for every checkpoint of the author's or the control's training."""
        return f"{self.root}/{role}"

    def results(self, role: str) -> str:
        """Give the bundle of a finished training."""
        return f"{self.root}/results/{role}"


def read_checkpoint_step(name: str) -> int | None:
    """Read the step from a bundle's name; None if it is no checkpoint's."""
    match = _CHECKPOINT.fullmatch(name)
    return int(match[1]) if match else None


def order_checkpoints(names: list[str]) -> list[str]:
    """Order the bundles of checkpoints, newest step first; of one step, the later attempt first."""
    matches = [match for match in map(_CHECKPOINT.fullmatch, names) if match]
    matches.sort(key=lambda match: (int(match[1]), int(match[2] or 0)), reverse=True)
    return [match[0] for match in matches]
