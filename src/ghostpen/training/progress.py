"""What a person sees while a training runs: a bar at a terminal, a line an evaluation everywhere."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback

from ghostpen.training.metrics import Measurement

NAMES = {"train": "train", "val": "author", "contrast_val": "other authors"}


class TrainingProgress(TrainerCallback):
    """Show the step and the newest perplexity of each text."""

    def __init__(self, console: Console, *, title: str, max_steps: int) -> None:
        """Prepare the bar; it starts with the training."""
        self.console = console
        self.latest: dict[str, Measurement] = {}
        self.progress = Progress(
            TextColumn(title),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.progress.add_task(title, total=max_steps, numbers="")

    def show(self, measurement: Measurement) -> None:
        """Take in a measurement; print a line once all validation texts of a step are measured."""
        self.latest[measurement.split] = measurement
        self.progress.update(self.task, numbers=self._numbers())
        if measurement.split == "train":
            return
        score = measurement.score
        self.progress.console.print(
            f"step {measurement.step:>5}  {NAMES[measurement.split]:<13} perplexity {score.perplexity:8.3f}"
            f"  bits per byte {score.bits_per_byte:.4f}"
        )

    def _numbers(self) -> str:
        parts = []
        if train := self.latest.get("train"):
            parts.append(f"perplexity {train.score.perplexity:.2f}")
            if train.tokens_per_s:
                parts.append(f"{train.tokens_per_s:,.0f} tokens/s")
        return "  ".join(parts)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the bar, at the step that a resumed run stands at."""
        self.progress.start()
        self.progress.update(self.task, completed=state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar."""
        self.progress.update(self.task, completed=state.global_step)

    def stop(self) -> None:
        """Take the bar away, also after an error."""
        self.progress.stop()
