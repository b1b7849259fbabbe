"""Where a run lies in S3 below storage.uri, beyond the names that `aws.runs` owns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ghostpen.aws.runs import CONTROL, locate_run

AUTHOR = "author"
ROLES = (AUTHOR, CONTROL)
CHECKPOINT_TAG = "ghostpen=checkpoint"  # by which the bucket's lifecycle rule in infra/ghostpen.yaml knows them
_CHECKPOINT = re.compile(r"checkpoint-(\d+)(?:-attempt-(\d+))?")


@dataclass(frozen=True)
class RunNames:
    """Name a run's places."""

    run_id: str

    @property
    def status(self) -> str:
        """The small object that is overwritten as the run goes on."""
        return f"{locate_run(self.run_id)}/status.json"

    @property
    def attempts(self) -> str:
        """Holds a bundle for every attempt, numbered from 1."""
        return f"{locate_run(self.run_id)}/attempts"

    @property
    def tests(self) -> str:
        """Holds a bundle for every test, numbered from 1."""
        return f"{locate_run(self.run_id)}/tests"

    def checkpoints(self, role: str) -> str:
        """Hold a bundle for every checkpoint of the author's or the control's training."""
        return f"{locate_run(self.run_id)}/{role}"

    def results(self, role: str) -> str:
        """Give the bundle of a finished training."""
        return f"{locate_run(self.run_id)}/results/{role}"


def read_checkpoint_step(name: str) -> int:
    """Read the step from a name that `order_checkpoints` gave."""
    match = _CHECKPOINT.fullmatch(name)
    if match is None:
        raise ValueError(f"{name} is no checkpoint's")
    return int(match[1])


def order_checkpoints(names: Iterable[str]) -> list[str]:
    """Order the bundles of checkpoints, newest step first; of one step, the later attempt first."""
    matches = [match for match in map(_CHECKPOINT.fullmatch, names) if match]
    matches.sort(key=lambda match: (int(match[1]), int(match[2] or 0)), reverse=True)
    return [match[0] for match in matches]
