"""What a training's settings are where the config leaves them open: chosen by how much text there is.

Pure. A setting in the config always wins. The control takes the author's recipe: same rank, rate and steps.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ghostpen.config import RunConfig
from ghostpen.tiers import choose_tier

EVALUATIONS = 10  # of a run whose train.eval_every is open


@dataclass(frozen=True)
class Recipe:
    """The settings in force; it is saved in the manifest beside the config as it was written."""

    tier: str
    words: int
    rank: int
    learning_rate: float
    schedule: str
    steps: int
    epochs: float  # passes over the author's text, in the control's recipe, too
    eval_every: int
    checkpoint_every: int

    def to_json(self) -> dict[str, Any]:
        """Render for the manifest."""
        return asdict(self)

    def describe(self) -> str:
        """Say it in a line."""
        return (
            f"{self.words:,} words of training text ({self.tier}): rank {self.rank}, learning rate "
            f"{self.learning_rate:g} ({self.schedule}), {self.steps:,} steps = {self.epochs:.1f} passes"
        )


def build_recipe(config: RunConfig, *, words: int, samples: int) -> Recipe:
    """Fill in what the config leaves open.

    Args:
        words, samples: of the author's training text, for the control, too; samples > 0.
    """
    train, tier = config.train, choose_tier(words)
    steps_per_epoch = samples / (train.batch_size * train.gradient_accumulation)
    epochs = tier.epochs if train.epochs is None else train.epochs
    steps = math.ceil(epochs * steps_per_epoch) if train.max_steps is None else train.max_steps
    eval_every = math.ceil(steps / EVALUATIONS) if train.eval_every is None else train.eval_every
    return Recipe(
        tier=tier.name,
        words=words,
        rank=tier.rank if config.lora.rank is None else config.lora.rank,
        learning_rate=tier.learning_rate if train.learning_rate is None else train.learning_rate,
        schedule="cosine" if train.schedule is None else train.schedule,
        steps=steps,
        epochs=steps / steps_per_epoch,
        eval_every=eval_every,
        checkpoint_every=eval_every if train.checkpoint_every is None else train.checkpoint_every,
    )


def apply_recipe(config: RunConfig, recipe: Recipe) -> RunConfig:
    """Give the config with nothing left open."""
    train = config.train.model_copy(
        update={
            "max_steps": recipe.steps,
            "epochs": None,
            "learning_rate": recipe.learning_rate,
            "schedule": recipe.schedule,
            "eval_every": recipe.eval_every,
            "checkpoint_every": recipe.checkpoint_every,
        }
    )
    return config.model_copy(update={"train": train, "lora": config.lora.model_copy(update={"rank": recipe.rank})})
