"""Which samples meet in an optimiser step: such as are of like length, in an order that seed and epoch decide.

Windows never cross documents, so the ends of documents and short documents (letters, posts) give samples of any
length. Drawn at random, a batch is as long as its longest sample, and the rest is padding. Here samples are shuffled,
sorted by length within large groups, cut into optimiser steps, and the steps are shuffled.

An order is a function of the lengths, the size of an optimiser step, the seed and the epoch, and of nothing else. So
a resumed training goes on with the very samples that were due, every process finds the same order for itself, and how
a step is cut up (8 samples at once, 8 times one, 2 processes with 4 each) does not change which samples it has.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence

from torch.utils.data import Sampler

# Optimiser steps whose samples are sorted together: more means less padding, fewer leaves more to chance.
STEPS_SORTED_TOGETHER = 50


def plan_steps(lengths: Sequence[int], *, step_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Deal every sample out to one optimiser step of an epoch.

    Args:
        lengths: tokens in each sample.
        step_size: samples in an optimiser step, over all accumulated batches and all processes.

    Returns:
        The samples' numbers, step by step. Only the last step can be smaller than `step_size`.
    """
    rng = random.Random(f"{seed} {epoch}")  # seeded with a text: hashed the same way on every machine
    order = list(range(len(lengths)))
    rng.shuffle(order)
    whole, left_over = divmod(len(order), step_size)
    if not whole:
        return [order] if order else []
    steps: list[list[int]] = []
    groups = math.ceil(whole / STEPS_SORTED_TOGETHER)
    sizes = [(whole * (i + 1) // groups - whole * i // groups) * step_size for i in range(groups)]
    sizes[-1] += left_over
    start = 0
    for size in sizes:
        group = sorted(order[start : start + size], key=lengths.__getitem__)
        start += size
        # The smaller step comes from anywhere in the sorted samples, not always from the longest. Taking it out there
        # also moves the borders of the steps behind it, so that not the same samples meet in every epoch.
        cut = rng.randrange(size // step_size + 1) * step_size
        last, group = group[cut : cut + size % step_size], group[:cut] + group[cut + size % step_size :]
        steps += [group[at : at + step_size] for at in range(0, len(group), step_size)]
    rng.shuffle(steps)
    return [*steps, last] if last else steps


class StepOrder(Sampler[int]):
    """Give Trainer the samples of `plan_steps` in one row, for it and accelerate to cut up.

    They cut it into batches and deal these to the processes in turn, so that consecutive `step_size` samples are one
    optimiser step in every layout. The epoch is worked out from the optimiser step that training stands at, as
    Trainer does it: set_epoch does not reach a sampler where several processes resume (accelerate 1.15).
    """

    def __init__(
        self,
        lengths: Sequence[int],
        *,
        step_size: int,
        seed: int,
        read_step: Callable[[], int],
        filler: int,
        multiple: int = 1,
    ) -> None:
        """Take the lengths of all samples.

        Args:
            step_size: as in `plan_steps`.
            read_step: tells how many optimiser steps were done.
            filler: the number of a sample in which nothing counts.
            multiple: samples that all processes take at once. The last step is filled up to a multiple of it:
                accelerate would fill it up with samples of the epoch's beginning, trained on twice.
        """
        self.lengths, self.step_size, self.seed = lengths, step_size, seed
        self.read_step, self.filler, self.fillers = read_step, filler, -len(lengths) % multiple

    def __iter__(self) -> Iterator[int]:
        """Go through one epoch."""
        epoch = self.read_step() // math.ceil(len(self.lengths) / self.step_size)
        for step in plan_steps(self.lengths, step_size=self.step_size, seed=self.seed, epoch=epoch):
            yield from step
        yield from [self.filler] * self.fillers

    def __len__(self) -> int:
        """Count the samples of an epoch, fillers included."""
        return len(self.lengths) + self.fillers
