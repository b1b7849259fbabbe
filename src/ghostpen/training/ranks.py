"""What the processes of one training say to each other: sums, a decision of the first, a wait for all.

Numbers and decisions go over gloo on the CPU, in float64, beside the gradients that DistributedDataParallel
averages (over NCCL on GPUs). One process alone is the same code with nothing to say: `ALONE`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from ghostpen.errors import ConfigError, GhostpenError, Interrupted, TrainingStopped
from ghostpen.training.launch import Place

# The longest that a process waits for the others: the first writes samples and checkpoints meanwhile.
COLLECTIVE_TIMEOUT_S = 1800

Decision = TypeVar("Decision")


@dataclass(frozen=True)
class Ranks:
    """This process among those of the training. Every method but the properties is called by all, or by none."""

    rank: int = 0
    size: int = 1
    group: Any = None  # of torch.distributed, over gloo; None for one process

    @property
    def is_first(self) -> bool:
        """Tell whether this process is the one that writes and prints."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Add each value over the processes, in float64; all get the same result."""
        return self._reduce(values, "SUM")

    def max(self, value: int) -> int:
        """Give the largest value that a process has."""
        return int(self._reduce([value], "MAX")[0])

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.max(0)

    def share(self, decide: Callable[[], Decision]) -> Decision:
        """Let the first process decide for all.

        Raises:
            GhostpenError, OSError: what `decide` raised in the first is raised in all.
        """
        if self.group is None:
            return decide()
        import torch.distributed as dist

        answer: list[Any] = [None, None]
        if self.is_first:
            try:
                answer[0] = decide()
            except (GhostpenError, OSError) as error:
                answer[1] = error
        dist.broadcast_object_list(answer, src=0, group=self.group)
        if answer[1] is not None:
            raise answer[1]
        return answer[0]

    def _reduce(self, values: Sequence[float], operation: str) -> list[float]:
        if self.group is None:
            return list(values)
        import torch
        import torch.distributed as dist

        totals = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(totals, op=getattr(dist.ReduceOp, operation), group=self.group)
        return totals.tolist()


ALONE = Ranks()


@contextmanager
def join_ranks(place: Place | None) -> Iterator[Ranks]:
    """Meet the other processes of the training, where a launcher has started several.

    Raises:
        ConfigError: more processes than GPUs on this machine, or the others can't be reached.
    """
    if place is None:
        yield ALONE
        return
    import torch
    import torch.distributed as dist

    gpus = torch.cuda.device_count()
    if gpus and place.local_rank >= gpus:
        raise ConfigError(
            f"{place.local_rank + 1} or more processes on a machine with {gpus} visible GPUs: start one a GPU"
        )
    if gpus:
        torch.cuda.set_device(place.local_rank)
    timeout = timedelta(seconds=COLLECTIVE_TIMEOUT_S)
    try:
        dist.init_process_group("nccl" if gpus else "gloo", timeout=timeout)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"process {place.rank} can't meet the other {place.size - 1} at MASTER_ADDR:MASTER_PORT "
            f"({str(error).splitlines()[0]}); start again, with another port if several trainings share a machine"
        ) from error
    if not gpus:
        # accelerate 1.15 calls a CPU "cpu:0", where transformers 5.17 can't load an optimiser's state to.
        os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    ranks = Ranks(place.rank, place.size, dist.new_group(backend="gloo", timeout=timeout))
    try:
        yield ranks
    except (Interrupted, TrainingStopped):  # raised in all at the same step; the first still writes
        ranks.wait()
        raise
    ranks.wait()
    dist.destroy_process_group()
