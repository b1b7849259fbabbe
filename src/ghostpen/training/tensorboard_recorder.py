"""TensorBoard as a recorder: event files in the run's folder `tensorboard`, nothing leaves the machine.

`tensorboard --logdir RUN/tensorboard` shows the three perplexity curves in one chart under "Custom Scalars".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ghostpen.config import RunConfig
from ghostpen.training.recorder import SampleRow, TargetRow

FOLDER = "tensorboard"
CURVES = ("train", "val", "contrast_val")
LAYOUT = {"perplexity": {"perplexity": ["Multiline", [f"perplexity/{curve}" for curve in CURVES]]}}
# What a row holds beside its number: where it belongs, and sums that the perplexity is made of.
NOT_SCALARS = ("step", "split", "loss_nats", "tokens")


class TensorboardRecorder:
    """Write event files."""

    def __init__(self, config: RunConfig, *, folder: Path, resume_step: int) -> None:
        """Open a new event file; what older ones hold from after `resume_step` is hidden by it.

        Raises:
            OSError: it cannot be written.
        """
        from torch.utils.tensorboard import SummaryWriter

        purge_step = resume_step + 1 if resume_step else 0
        self.writer = SummaryWriter(str(folder / FOLDER), purge_step=purge_step)
        self.writer.add_custom_scalars(LAYOUT)
        settings = json.dumps(config.model_dump(mode="json"), indent=2)
        self.writer.add_text("config", _quote(settings), resume_step)

    def record_row(self, row: Mapping[str, Any]) -> None:
        """Write every number of a row."""
        for key, value in row.items():
            if value is not None and key not in NOT_SCALARS:
                self.writer.add_scalar(f"{key}/{row['split']}", value, row["step"])
        if row["split"] != "train":
            self.writer.flush()  # for who watches; the writer itself would wait for two minutes

    def record_targets(self, targets: Sequence[TargetRow]) -> None:
        """Write the table of targets."""
        lines = ["| kind | weights | trainable parameters |", "|---|---:|---:|"]
        lines += [f"| {target.kind} | {target.weights:,} | {target.trainable:,} |" for target in targets]
        self.writer.add_text("targets", "\n".join(lines), 0)

    def record_samples(self, samples: Sequence[SampleRow]) -> None:
        """Write samples as text."""
        for sample in samples:
            text = f"[{sample.passage}]\n{sample.beginning} >>>{sample.written}"
            self.writer.add_text(f"samples/{sample.when}/{sample.passage}", _quote(text), sample.step)

    def record_adapter(self, folder: Path) -> None:
        """Do nothing: the adapter lies beside the event files."""

    def finish(self, *, failed: bool) -> None:
        """Write what is left, and close."""
        self.writer.close()


def _quote(text: str) -> str:
    """Indent, so that Markdown shows a text as it is."""
    return "\n".join(f"    {line}" for line in text.splitlines())
