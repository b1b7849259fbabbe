"""Running `aws` and `gh`: with a deadline, and never at a prompt of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile

from ghostpen.errors import CloudError

# Neither pager nor prompt nor colour, and no second look for a newer version.
_QUIET = {"AWS_PAGER": "", "GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1"}
_TOLD_CHARACTERS = 300
_KILL_S = 10.0  # from SIGKILL to the end of a process


@dataclass(frozen=True)
class Programs:
    """How other programs are run."""

    environ: Mapping[str, str]
    timeout_s: float

    def run(self, arguments: Sequence[str], *, stdin: str = "") -> str:
        """Run a program to its end, and return what it wrote to standard output.

        Args:
            stdin: what it reads.

        Raises:
            CloudError: it can't be started, failed, or was not done in time (which is `passing`).
        """
        name = arguments[0]
        with TemporaryFile() as output, TemporaryFile() as errors:
            try:
                process = subprocess.Popen(
                    arguments,
                    env={**self.environ, **_QUIET},
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=errors,
                    start_new_session=True,  # without a terminal to ask at, and killed with all that it starts
                )
            except OSError as error:
                raise CloudError(f"{name} can't be started: {error.strerror}") from error
            try:
                process.communicate(stdin.encode(), timeout=self.timeout_s)
            except subprocess.TimeoutExpired as error:
                raise CloudError(f"{name} did not answer within {self.timeout_s:g} seconds", passing=True) from error
            finally:
                _kill(process)
            errors.seek(0)
            output.seek(0)
            if process.returncode != 0:
                silence = f"exit code {process.returncode}, and no word of why"
                raise CloudError(f"{name}: {_shorten(errors.read()) or silence}")
            return output.read().decode(errors="replace")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it has started; fine if it has ended."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=_KILL_S)


def _shorten(output: bytes) -> str:
    """Make one line of what a program says went wrong."""
    text = output.decode(errors="replace")
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= _TOLD_CHARACTERS else f"{line[:_TOLD_CHARACTERS]}..."
