"""Where measurements go: metrics.jsonl always, Weights & Biases beside it.

W&B runs online where WANDB_API_KEY is set and offline where it is not; WANDB_MODE overrides. What is sent is
the run's settings and numbers; samples only by tracking.send_samples. No secret is in the settings.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ghostpen.config import RunConfig
from ghostpen.files import write_text_atomically
from ghostpen.training.metrics import Measurement, read_metrics

CURVES = ("train", "val", "contrast_val")


class Tracker:
    """Write each measurement where it belongs."""

    def __init__(self, config: RunConfig, *, folder: Path, run_id: str, resume_step: int) -> None:
        """Open the files and the W&B run.

        Args:
            folder: the run's folder. resume_step: rows after it are of a part that was not kept, and go.
        """
        import wandb

        self.path = folder / "metrics.jsonl"
        self.rows = [row for row in read_metrics(self.path) if row["step"] <= resume_step] if resume_step else []
        self._rewrite()
        # WANDB_MODE is W&B's own switch; without it a key decides. Nobody is asked to log in half-way.
        mode: Any = os.environ.get("WANDB_MODE") or ("online" if os.environ.get("WANDB_API_KEY") else "offline")
        self.run = wandb.init(
            project=config.tracking.wandb_project,
            id=run_id,
            name=run_id,
            dir=str(folder),
            mode=mode,
            resume="allow" if mode == "online" and resume_step else None,
            config=config.model_dump(mode="json"),
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True, disable_git=True),
        )
        for curve in CURVES:
            self.run.define_metric(f"perplexity/{curve}", step_metric="tokens_seen")

    def _rewrite(self) -> None:
        write_text_atomically("".join(json.dumps(row) + "\n" for row in self.rows), self.path)

    def record(self, measurement: Measurement) -> None:
        """Append one row, and send it."""
        row = measurement.to_json()
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        split = row["split"]
        values = {"tokens_seen": row["tokens_seen"], f"perplexity/{split}": row["perplexity"]}
        for key in ("bits_per_byte", "learning_rate", "tokens_per_s", "balance"):
            if row[key] is not None:
                values[f"{key}/{split}" if key == "bits_per_byte" else f"train/{key}"] = row[key]
        self.run.log(values, step=row["step"])
        if split != "train":
            self._send_chart()

    def _send_chart(self) -> None:
        """Send the three perplexity curves so far as one chart, in place of the one before."""
        import wandb

        curves = {
            name: [(row["tokens_seen"], row["perplexity"]) for row in self.rows if row["split"] == name]
            for name in CURVES
        }
        curves = {name: points for name, points in curves.items() if points}
        chart = wandb.plot.line_series(
            xs=[[x for x, _ in points] for points in curves.values()],
            ys=[[y for _, y in points] for points in curves.values()],
            keys=list(curves),
            title="Perplexity",
            xname="tokens seen",
        )
        # The same step as the newest row: W&B drops what comes for an earlier step than the last.
        self.run.log({"perplexity": chart}, step=self.rows[-1]["step"])

    def record_targets(self, trainable: dict[str, int]) -> None:
        """Put the count of trained parameters of each kind into the run's summary."""
        for kind, count in trainable.items():
            self.run.summary[f"trainable/{kind}"] = count

    def finish(self, samples: Sequence[tuple[str, str]] = ()) -> None:
        """Send the chart a last time and the samples as a table, and close.

        Args:
            samples: (which model, text).
        """
        import wandb

        self._send_chart()
        if samples:
            self.run.log({"samples": wandb.Table(columns=["model", "text"], data=[list(s) for s in samples])})
        self.run.finish()

    def abort(self) -> None:
        """Close after an error or Ctrl-C; a resumed run goes on with the same id."""
        self.run.finish(exit_code=1)
