"""The control that a test needs, trained by the test itself: `ghostpen test --control auto`.

Owns where its texts come from: the data's other authors, or, where the data have none, the shipped ones, prepared
beside the author's own, each in its split, so that the control reads no 13 words in a row of what it is tested on.
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
        _prepare_shipped(config, show_progress=show_progress)
    train_run(config, control=True, resume=True, console=console)


def _prepare_shipped(config: RunConfig, *, show_progress: ShowProgress) -> None:
    files = {split: config.data.dir / f"{split}.jsonl" for split in AUTHOR_SPLITS}
    filled = {split: path for split, path in files.items() if path.stat().st_size}
    held_out = {split: path.name for split, path in filled.items() if split != "train"}
    inputs = load_manifest(config.data.dir).inputs
    prepare_data(
        list(filled.values()),
        author=inputs.author,
        out=config.own_contrast_dir,
        contrast=[SHIPPED],
        val_docs=held_out.get("val"),
        test_docs=held_out.get("test"),
        seed=config.train.seed,
        options=ReadingOptions(text_columns=("text",)),
        typography=inputs.typography,
        show_progress=show_progress,
    )
