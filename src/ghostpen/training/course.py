"""How a training goes: the best evaluation so far, and when to stop.

Pure: what was observed goes in, a new `Course` or a reason comes out. A course is saved with each checkpoint, so
that a resumed training decides as a straight one would. Must not import torch.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ghostpen.config import TrainConfig

GRAD_NORMS_KEPT = 50
GRAD_NORMS_NEEDED = 20  # before that a median says little, and the first steps' norms are small


@dataclass(frozen=True)
class Course:
    """What has been observed. Bits per byte are those of the author's validation text."""

    start_bits_per_byte: float | None = None  # of the untrained adapter, which is the base model
    best_step: int | None = None  # never 0: the best of what was trained
    best_bits_per_byte: float | None = None
    last_bits_per_byte: float | None = None
    since_best: int = 0  # evaluations
    rises: int = 0  # evaluations in a row, each above the one before
    grad_norms: tuple[float, ...] = ()  # of the last steps, before they are scaled down

    @property
    def has_improved(self) -> bool:
        """Tell whether the best is better than the untrained adapter, as far as that was measured."""
        if self.best_bits_per_byte is None or self.start_bits_per_byte is None:
            return self.best_bits_per_byte is not None
        return self.best_bits_per_byte < self.start_bits_per_byte

    def to_json(self) -> dict[str, Any]:
        """Render for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Course:
        """Read what `to_json` rendered."""
        return cls(**{**values, "grad_norms": tuple(values["grad_norms"])})


@dataclass(frozen=True)
class Stop:
    """Why a training ends before its last step."""

    reason: str  # a word for programs: "no-improvement", "rising", "exploding-gradient", "not-a-number"
    text: str  # for people
    step: int


def observe_evaluation(course: Course, *, step: int, bits_per_byte: float) -> Course:
    """Take in a measurement on the author's validation text."""
    if step == 0:
        return replace(course, start_bits_per_byte=bits_per_byte, last_bits_per_byte=bits_per_byte)
    rose = course.last_bits_per_byte is not None and bits_per_byte > course.last_bits_per_byte
    better = course.best_bits_per_byte is None or bits_per_byte < course.best_bits_per_byte
    return replace(
        course,
        best_step=step if better else course.best_step,
        best_bits_per_byte=bits_per_byte if better else course.best_bits_per_byte,
        last_bits_per_byte=bits_per_byte,
        since_best=0 if better else course.since_best + 1,
        rises=course.rises + 1 if rose else 0,
    )


def observe_gradient(course: Course, grad_norm: float) -> Course:
    """Take in the norm of a step's gradient, as it is before it is scaled down to train.max_grad_norm."""
    return replace(course, grad_norms=(*course.grad_norms, grad_norm)[-GRAD_NORMS_KEPT:])


def find_early_stop(course: Course, train: TrainConfig, *, step: int) -> Stop | None:
    """Decide after an evaluation whether more training is of use."""
    if train.max_rises and course.rises >= train.max_rises:
        times = f"rose at {course.rises} evaluations in a row (train.max_rises)"
        return Stop("rising", f"the perplexity of the author's validation text {times}", step)
    if train.patience and course.since_best >= train.patience:
        times = f"has not improved for {course.since_best} evaluations (train.patience)"
        return Stop("no-improvement", f"the perplexity of the author's validation text {times}", step)
    return None


def find_explosion(course: Course, train: TrainConfig, grad_norm: float, *, step: int) -> Stop | None:
    """Decide before an optimiser step whether its gradient is one to follow.

    Args:
        course: of the steps before. grad_norm: of this step, before it is scaled down.
    """
    if not math.isfinite(grad_norm):
        return Stop("exploding-gradient", f"the gradient's norm became {grad_norm} at step {step}", step)
    if not train.max_grad_norm_jump or len(course.grad_norms) < GRAD_NORMS_NEEDED:
        return None
    usual = statistics.median(course.grad_norms)
    if grad_norm <= train.max_grad_norm_jump * usual:
        return None
    return Stop(
        "exploding-gradient",
        f"the gradient's norm jumped to {grad_norm:.3g} at step {step}, where {usual:.3g} was usual "
        "(train.max_grad_norm_jump)",
        step,
    )
