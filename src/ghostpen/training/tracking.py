"""Where measurements go: metrics.jsonl always, and beside it the tracker of the config.

The tracker is told the run's settings and numbers; samples only by tracking.send_samples, because they begin with
held-out text. Whatever it does wrong is one warning: it never stops a training. No secret is in the settings.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ghostpen.config import RunConfig
from ghostpen.files import sync_path, write_text_atomically
from ghostpen.training.metrics import Measurement, read_metrics
from ghostpen.training.recorder import Recorder, SampleRow, TargetRow, describe_error

Warn = Callable[[str], None]
Open = Callable[[RunConfig, Path, str, int, list[dict[str, Any]], Warn], Recorder | None]


def open_recorder(
    config: RunConfig, folder: Path, run_id: str, resume_step: int, rows: list[dict[str, Any]], warn: Warn
) -> Recorder | None:
    """Open the tracker that the config chooses; only that one is imported.

    Args:
        folder: the run's. rows: of the part before `resume_step`.

    Raises:
        OSError: it cannot be started, or its files cannot be written.
    """
    match config.tracking.tracker:
        case "wandb":
            from ghostpen.training.wandb_recorder import WandbRecorder

            return WandbRecorder(config, folder=folder, run_id=run_id, resumed=resume_step > 0, rows=rows, warn=warn)
        case "tensorboard":
            from ghostpen.training.tensorboard_recorder import TensorboardRecorder

            return TensorboardRecorder(config, folder=folder, resume_step=resume_step)
        case "none":
            return None


class Tracker:
    """Write each measurement where it belongs."""

    def __init__(
        self,
        config: RunConfig,
        *,
        folder: Path,
        run_id: str,
        resume_step: int,
        warn: Warn,
        evaluation_due: bool = False,
        open_recorder: Open = open_recorder,
    ) -> None:
        """Open metrics.jsonl and the tracker.

        Args:
            folder: the run's folder. resume_step: rows after it are of a part that was not kept, and go.
            warn: takes a line for the person who watches. evaluation_due: the resume begins with that of its step.

        Raises:
            OSError: metrics.jsonl cannot be written.
        """
        self.config = config.tracking
        self.path = folder / "metrics.jsonl"
        rows = read_metrics(self.path, drop_torn_end=True) if resume_step else []
        self.rows = [
            row
            for row in rows
            if row["step"] < resume_step
            or (row["step"] == resume_step and (row["split"] == "train" or not evaluation_due))
        ]
        write_text_atomically("".join(json.dumps(row) + "\n" for row in self.rows), self.path)
        self._warn = warn
        self._recorder: Recorder | None = None
        try:
            self._recorder = open_recorder(config, folder, run_id, resume_step, list(self.rows), warn)
        except Exception as error:  # a tracker's fault, whatever it is, is no reason not to train
            self._give_up(error)

    def _try(self, act: Callable[[Recorder], None]) -> None:
        if self._recorder is None:
            return
        try:
            act(self._recorder)
        except Exception as error:  # as above
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._recorder = None
        self._warn(
            f"{self.config.tracker} failed ({describe_error(error, os.environ)}); the training goes on without it, "
            "and metrics.jsonl holds every number"
        )

    def record(self, measurement: Measurement) -> None:
        """Append one row, and send it.

        Raises:
            OSError: metrics.jsonl cannot be written.
        """
        row = measurement.to_json()
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self._try(lambda recorder: recorder.record_row(row))

    def sync(self) -> None:
        """Wait until the rows are on the disk.

        Raises:
            OSError: the disk refuses.
        """
        sync_path(self.path)

    def record_targets(self, targets: Sequence[TargetRow]) -> None:
        """Send the table of what is trained."""
        self._try(lambda recorder: recorder.record_targets(targets))

    def record_samples(self, samples: Sequence[SampleRow]) -> None:
        """Send samples of one step, where tracking.send_samples allows it."""
        if self.config.send_samples and samples:
            self._try(lambda recorder: recorder.record_samples(samples))

    def record_adapter(self, folder: Path) -> None:
        """Send the finished adapter, where tracking.send_adapter asks for it."""
        if self.config.send_adapter:
            self._try(lambda recorder: recorder.record_adapter(folder))

    def finish(self) -> None:
        """Close; waits tracking.timeout_s at most."""
        self._try(lambda recorder: recorder.finish(failed=False))

    def abort(self) -> None:
        """Close after an error or Ctrl-C; a resumed run goes on with the same id."""
        self._try(lambda recorder: recorder.finish(failed=True))
