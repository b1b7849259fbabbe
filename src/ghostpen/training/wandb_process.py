"""The process that talks to Weights & Biases, so that nothing that happens there can reach the training.

`wandb_recorder` starts it and writes messages, lines of JSON, to its standard input: "start" first, then "row",
"targets", "samples" and "adapter", and "finish" last. Answers are lines of JSON, too: {"warning": ...} for the
person who watches, and {"done": true} when all was closed. What wandb itself prints goes nowhere.

W&B runs online where WANDB_API_KEY is set and offline where it is not; WANDB_MODE overrides. Where it cannot be
reached, the run is recorded offline. Nobody is asked to log in half-way: standard input is no terminal.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ghostpen.training.recorder import describe_error

CURVES = ("train", "val", "contrast_val")
TRAIN_KEYS = ("learning_rate", "tokens_per_s", "balance", "grad_norm", "peak_memory_bytes", "peak_gpu_memory_bytes")
SAMPLE_COLUMNS = ("when", "step", "passage", "beginning", "written")
TARGET_COLUMNS = ("kind", "weights", "trainable")

# wandb 0.31 asks the server before it takes a table, and waits for WANDB_HTTP_TIMEOUT where no answer comes.
# After a wait this long no more are sent until the end, so that the rows behind them get into the run's own file.
SLOW_TABLE_S = 2.0

Tell = Callable[[str], None]


def choose_mode(environ: Mapping[str, str]) -> str:
    """Choose "online" or "offline" for a run, as far as WANDB_MODE doesn't: without a key nothing is sent."""
    return environ.get("WANDB_MODE") or ("online" if environ.get("WANDB_API_KEY") else "offline")


class WandbSession:
    """One run in W&B, fed with messages."""

    def __init__(self, wandb: Any, start: Mapping[str, Any], *, environ: Mapping[str, str], tell: Tell) -> None:
        """Open the run: online, or offline where that is asked for or online fails.

        Args:
            start: project, run_id, folder, resumed, config, rows (of the part before a resume), init_timeout_s,
                finish_timeout_s.

        Raises:
            Exception: whatever wandb raises where not even an offline run can be opened.
        """
        self.wandb = wandb
        self.rows: list[dict[str, Any]] = list(start["rows"])
        self.samples: list[list[Any]] = []
        self.targets: list[list[Any]] = []
        self.tables_wait = False
        self.step = self.rows[-1]["step"] if self.rows else 0
        self.start = start
        mode = choose_mode(environ)
        try:
            self.run = self._open(mode)
        except Exception as error:
            if mode == "offline":
                raise
            wandb.teardown()  # the service still holds the run that failed
            self.run = self._open("offline")
            tell(
                f"Weights & Biases did not take the run ({describe_error(error, environ)}); it is recorded "
                f"offline: send it with `wandb sync {self.folder}`"
            )
        for curve in CURVES:
            self.run.define_metric(f"perplexity/{curve}", step_metric="tokens_seen")

    def _open(self, mode: str) -> Any:
        settings = self.wandb.Settings(
            console="off",
            silent=True,
            x_disable_stats=True,
            disable_git=True,
            init_timeout=self.start["init_timeout_s"],
            finish_timeout=self.start["finish_timeout_s"],
            finish_timeout_raises=True,
        )
        return self.wandb.init(
            project=self.start["project"],
            id=self.start["run_id"],
            name=self.start["run_id"],
            dir=self.start["folder"],
            mode=mode,
            resume="allow" if mode == "online" and self.start["resumed"] else None,
            config=self.start["config"],
            settings=settings,
        )

    @property
    def folder(self) -> str:
        """Give the folder that `wandb sync` sends."""
        return str(self.run.settings.sync_dir)

    def take(self, message: Mapping[str, Any]) -> None:
        """Do what a message says; "finish" is not one of them."""
        match message["kind"]:
            case "row":
                self._take_row(message["row"])
            case "targets":
                self.targets = message["targets"]
                for kind, _, trainable in self.targets:
                    self.run.summary[f"trainable/{kind}"] = trainable
                self._try_table("targets")
            case "samples":
                # All so far in one table, so that a passage can be followed through the training.
                self.samples += [[sample[column] for column in SAMPLE_COLUMNS] for sample in message["samples"]]
                self.step = max(self.step, message["samples"][-1]["step"])
                self._try_table("samples")
            case "adapter":
                artifact = self.wandb.Artifact(f"adapter-{self.start['run_id']}", type="model")
                # Immutable: not copied to W&B's own folder first; nothing changes a finished adapter.
                artifact.add_dir(message["folder"], policy="immutable")
                self.run.log_artifact(artifact)

    def _take_row(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        split = row["split"]
        values = {"tokens_seen": row["tokens_seen"], f"perplexity/{split}": row["perplexity"]}
        for key, value in row.items():
            if key == "bits_per_byte" and value is not None:
                values[f"{key}/{split}"] = value
            elif key in TRAIN_KEYS and value is not None:
                values[f"train/{key}"] = value
        # Never an earlier step than the last: W&B drops what comes for one.
        self.step = max(self.step, row["step"])
        self.run.log(values, step=self.step)
        if split != "train":
            self._try_table("perplexity")

    def _try_table(self, name: str) -> None:
        """Send a table or chart, in place of the one before; where that fails or is slow, it waits until the end."""
        if self.tables_wait:
            return
        try:
            took_s = self._send_table(name)
            self.tables_wait = took_s > SLOW_TABLE_S
        except Exception:  # `finish` tries again, and tells
            self.tables_wait = True

    def _send_table(self, name: str) -> float:
        """Send a table or chart; returns how many seconds that took."""
        began_s = time.monotonic()
        match name:
            case "perplexity":
                table = self._build_chart()
            case "samples":
                table = self.wandb.Table(columns=list(SAMPLE_COLUMNS), data=self.samples)
            case "targets":
                table = self.wandb.Table(columns=list(TARGET_COLUMNS), data=self.targets)
        self.run.log({name: table}, step=self.step)
        return time.monotonic() - began_s

    def _build_chart(self) -> Any:
        """Draw the three perplexity curves so far in one chart."""
        curves = {
            name: [(row["tokens_seen"], row["perplexity"]) for row in self.rows if row["split"] == name]
            for name in CURVES
        }
        curves = {name: points for name, points in curves.items() if points}
        return self.wandb.plot.line_series(
            xs=[[x for x, _ in points] for points in curves.values()],
            ys=[[y for _, y in points] for points in curves.values()],
            keys=list(curves),
            title="Perplexity",
            xname="tokens seen",
        )

    def finish(self, exit_code: int) -> None:
        """Send the chart a last time, and the tables that wait, and close.

        Raises:
            TimeoutError: W&B did not take everything in finish_timeout_s.
            Exception: whatever wandb raises over a table; the run is closed then, too.
        """
        names: dict[str, list[Any]] = {"perplexity": self.rows}
        if self.tables_wait:
            names |= {"samples": self.samples, "targets": self.targets}
        try:
            for name, content in names.items():
                if content and self._send_table(name) > SLOW_TABLE_S:
                    break
        finally:
            self.run.finish(exit_code=exit_code)


def serve(messages: Iterable[Mapping[str, Any]], *, wandb: Any, environ: Mapping[str, str], tell: Tell) -> None:
    """Feed a session until "finish", or until the messages end: then the training did, too, and badly."""
    remaining = iter(messages)
    session = None
    try:
        session = WandbSession(wandb, next(remaining), environ=environ, tell=tell)
        for message in remaining:
            if message["kind"] == "finish":
                session.finish(message["exit_code"])
                return
            session.take(message)
        session.finish(1)
    except Exception as error:  # the one place that ends what wandb does wrong; the training does not notice
        what = "did not take all in time" if isinstance(error, TimeoutError) else "failed"
        rest = f"; what there is: `wandb sync {session.folder}`" if session else ""
        tell(f"Weights & Biases {what} ({describe_error(error, environ)}); metrics.jsonl holds every number{rest}")


def main() -> None:
    """Serve standard input."""
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def tell(text: str) -> None:
        print(json.dumps({"warning": text}), file=answers)

    import wandb

    serve((json.loads(line) for line in sys.stdin), wandb=wandb, environ=os.environ, tell=tell)
    print(json.dumps({"done": True}), file=answers)


if __name__ == "__main__":
    main()
