"""Starts `ghostpen` commands through command_server.py, and hands back what they left in the terminal."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND_LIMIT_S = 300


@dataclass(frozen=True)
class Finished:
    """What a command left in the terminal."""

    exit_code: int
    stdout: str
    stderr: str


class Commands:
    """Run `ghostpen` commands in `folder`, each in a process of its own; see command_server.py."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self._process_id: int | None = None
        self._output = (folder / "stdout.txt", folder / "stderr.txt")
        self.folder.mkdir()
        home, scratch = folder / "home", folder / "tmp"  # no settings and no .netrc of the developer's
        home.mkdir()
        scratch.mkdir()
        environment = dict(os.environ, HOME=str(home), TMPDIR=str(scratch), CUDA_VISIBLE_DEVICES="")
        self._notes = folder / "server.txt"
        with self._notes.open("w") as notes:
            self._server = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("command_server.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=notes,
                bufsize=0,  # select() looks at the pipe, not into a buffer
                cwd=folder,
                env=environment,
            )

    def start(
        self,
        *arguments: str,
        code: str | None = None,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        """Start a command, or `code` in its place, in `folder` if not in the common one."""
        assert self._server.stdin is not None
        request = {
            "arguments": arguments,
            "code": code,
            "environment": dict(environment or {}),
            "folder": str(folder or self.folder),
            "stdout": str(self._output[0]),
            "stderr": str(self._output[1]),
        }
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        self._process_id = int(self._read_answer())

    def wait(self) -> Finished:
        """Wait for the end of the command that was started last."""
        exit_code = int(self._read_answer())
        self._process_id = None
        stdout, stderr = (path.read_text(encoding="utf-8") for path in self._output)
        return Finished(exit_code, stdout, stderr)

    def run(self, *arguments: str, **options: Any) -> Finished:
        """Start a command (`start` says with which options) and wait for its end."""
        self.start(*arguments, **options)
        return self.wait()

    def succeed(self, *arguments: str, **options: Any) -> Finished:
        """Run a command that must end well, with nothing on standard error."""
        done = self.run(*arguments, **options)
        assert (done.exit_code, done.stderr) == (0, ""), f"{arguments}: exit code {done.exit_code}\n{done.stderr}"
        return done

    @property
    def process_id(self) -> int | None:
        """Give the process id of the command that was started last, as long as it runs."""
        return self._process_id

    def interrupt(self) -> None:
        """Press Ctrl-C: the command that was started last gets SIGINT, and so does all that it has started."""
        assert self._process_id is not None
        os.killpg(self._process_id, signal.SIGINT)

    def terminate(self) -> None:
        """Send SIGTERM to the command that was started last, and to it alone, as a container's end does."""
        assert self._process_id is not None
        os.kill(self._process_id, signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the command that was started last, and to all that it has started."""
        assert self._process_id is not None
        os.killpg(self._process_id, signal.SIGKILL)

    def _read_answer(self) -> bytes:
        assert self._server.stdout is not None
        ready, _, _ = select.select([self._server.stdout], [], [], COMMAND_LIMIT_S)
        assert ready, f"a command took more than {COMMAND_LIMIT_S} seconds"
        answer = self._server.stdout.readline()
        assert answer, f"the server of commands ended:\n{self._notes.read_text(encoding='utf-8')}"
        return answer

    def close(self) -> None:
        """End the server, and a command that still runs."""
        if self._process_id is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process_id, signal.SIGKILL)
        self._server.kill()
        self._server.communicate()
