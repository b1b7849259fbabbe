"""The control that a test needs, trained by the test itself: `ghostpen test --control auto`.

Owns where its texts come from: the data's other authors, or, where the data have none, the shipped ones, prepared
beside the author's own so that no held-out text of one stands in the other's training text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ghostpen.config import RunConfig
from ghostpen.data.manifest import load_manifest
from ghostpen.data.prepare import prepare_data
from ghostpen.data.progress import ShowProgress
from ghostpen.data.sections import AUTHOR_SPLITS
from ghostpen.data.sources import ReadingOptions
from ghostpen.training.run import train_run

if TYPE_CHECKING:
    from rich.console import Console

SHIPPED = "embedded:contrast"


def ensure_control(config: RunConfig, *, console: Console, show_progress: ShowProgress) -> None:
    """Train the control where it isn't finished, for the author's steps; go on where it was stopped.

    Raises:
        DataError: the shipped authors can't be the contrast: one of them is the author.
        ConfigError, ModelError, TrainingStopped, Interrupted, Terminated: as `train_run`.
    """
    if not (config.contrast_dir / "contrast_train.jsonl").exists():
        console.print(
            f"{config.data.dir} has no other authors: the control learns from the shipped ones ({SHIPPED}); "
            "prepare with --contrast for texts that are more like yours",
            soft_wrap=True,
            markup=False,
        )
        prepare_data(
            [config.data.dir / f"{split}.jsonl" for split in AUTHOR_SPLITS],
            author=load_manifest(config.data.dir).inputs.author,
            out=config.own_contrast_dir,
            contrast=[SHIPPED],
            seed=config.train.seed,
            options=ReadingOptions(text_columns=("text",)),
            show_progress=show_progress,
        )
    train_run(config, control=True, resume=True, console=console)
