"""Weights & Biases as a recorder: a process of its own, fed through a pipe, waited for with a deadline.

wandb lives in `wandb_process` and not here, because it can block, print, crash its service and wait in atexit hooks.
A process can be left alone while it does so, and ended. No secret is in its arguments: it reads the environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from ghostpen.config import RunConfig
from ghostpen.training.recorder import SampleRow, TargetRow

# -P: what lies in the working directory, a folder "wandb" for one, is no module.
COMMAND = (sys.executable, "-P", "-m", "ghostpen.training.wandb_process")
# wandb's own default is 90. A server that is there answers within 2; nobody waits for it, except at the end.
INIT_TIMEOUT_S = 15.0
# Shares of tracking.timeout_s, in which the run may have to be opened and closed. A request's is that of a question
# that wandb asks before each table; its own default is 19 seconds.
INIT_SHARE = 0.25
REQUEST_SHARE = 0.05
FINISH_SHARE = 0.6
# After Ctrl-C or SIGTERM the checkpoint is written; `docker stop` waits for 10 seconds in all.
ABORT_TIMEOUT_S = 5.0
# The pipe's other end is closed when this is waited for; only a grandchild that inherited it could keep it open.
LISTEN_TIMEOUT_S = 2.0


class WandbRecorder:
    """Write messages to the process; nothing here waits for it, except `finish`."""

    def __init__(
        self,
        config: RunConfig,
        *,
        folder: Path,
        run_id: str,
        resumed: bool,
        rows: Sequence[Mapping[str, Any]],
        warn: Callable[[str], None],
        command: Sequence[str] = COMMAND,
    ) -> None:
        """Start the process.

        Args:
            rows: of the part before a resume. warn: called from another thread.

        Raises:
            OSError: it cannot be started.
        """
        self.folder, self.run_id = folder, run_id
        self._timeout_s = config.tracking.timeout_s
        self._warn = warn
        self._warned = self._done = False
        self._outbox: SimpleQueue[Mapping[str, Any] | None] = SimpleQueue()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the training, which then says goodbye to W&B
            # wandb's reports on itself to its maker: nobody asked for them, and they hold up the end by 12 seconds.
            env={
                "WANDB_ERROR_REPORTING": "false",
                "WANDB_HTTP_TIMEOUT": str(max(1, round(REQUEST_SHARE * self._timeout_s))),  # whole seconds
            }
            | os.environ,
            text=True,
            encoding="utf-8",
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._listener = threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True)
        self._listener.start()
        threading.Thread(target=self._feed, args=(self._process.stdin,), daemon=True).start()
        self._send(
            "start",
            project=config.tracking.wandb_project,
            run_id=run_id,
            folder=str(folder),
            resumed=resumed,
            rows=list(rows),
            config=config.model_dump(mode="json"),
            init_timeout_s=min(INIT_TIMEOUT_S, INIT_SHARE * self._timeout_s),
            finish_timeout_s=FINISH_SHARE * self._timeout_s,
        )

    def _send(self, kind: str, **values: Any) -> None:
        self._outbox.put({"kind": kind, **values})

    def _feed(self, pipe: IO[str]) -> None:
        """Write what is in the outbox; a full pipe blocks this thread, not the training."""
        try:
            with pipe:
                while (message := self._outbox.get()) is not None:
                    print(json.dumps(message), file=pipe, flush=True)
        except OSError:  # the process has ended; `_listen` says so
            return

    def _listen(self, pipe: IO[str]) -> None:
        with pipe:
            for line in pipe:
                answer = json.loads(line)
                self._done = self._done or "done" in answer
                if "warning" in answer:
                    self._warn_once(answer["warning"])
        if not self._done:
            self._warn_once(
                "Weights & Biases failed (its process ended); metrics.jsonl holds every number"
                + self._describe_rest()
            )

    def _warn_once(self, text: str) -> None:
        if not self._warned:
            self._warned = True
            self._warn(text)

    def _describe_rest(self) -> str:
        found = sorted(self.folder.glob(f"wandb/*run-*-{self.run_id}"), key=lambda path: path.stat().st_mtime)
        return f"; what there is: `wandb sync {found[-1]}`" if found else ""

    def record_row(self, row: Mapping[str, Any]) -> None:
        """Send a row."""
        self._send("row", row=row)

    def record_targets(self, targets: Sequence[TargetRow]) -> None:
        """Send the table of targets."""
        self._send("targets", targets=[[target.kind, target.weights, target.trainable] for target in targets])

    def record_samples(self, samples: Sequence[SampleRow]) -> None:
        """Send samples of one step."""
        self._send("samples", samples=[sample.to_json() for sample in samples])

    def record_adapter(self, folder: Path) -> None:
        """Send the adapter as an artifact."""
        self._send("adapter", folder=str(folder))

    def finish(self, *, failed: bool) -> None:
        """Close the run; wait tracking.timeout_s at most, and shorter after an error, then end the process."""
        timeout_s = min(self._timeout_s, ABORT_TIMEOUT_S) if failed else self._timeout_s
        self._send("finish", exit_code=int(failed))
        self._outbox.put(None)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._warn_once(
                f"Weights & Biases was not done within {timeout_s:g} seconds (tracking.timeout_s is "
                f"{self._timeout_s:g}) and was left; metrics.jsonl holds every number" + self._describe_rest()
            )
            self._process.kill()
            self._process.wait()
        self._listener.join(LISTEN_TIMEOUT_S)
