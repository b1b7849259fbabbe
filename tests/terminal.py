"""A person at a terminal: starts a command on a pseudo-terminal, reads what it says, types, and presses Ctrl-C."""

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

LIMIT_S = 60.0
PATIENCE_S = 5.0  # until a key is pressed again


class Terminal:
    """A command with a terminal of its own. What it says is in `text`, with what was typed where that is shown."""

    def __init__(self, command: Sequence[str], *, folder: Path, environ: Mapping[str, str]) -> None:
        self.text = ""
        self._read_to = 0
        self._own, theirs = pty.openpty()
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environ),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=LIMIT_S)
        os.close(self._own)

    def expect(self, pattern: str) -> re.Match[str]:
        """Read on until the pattern stands in what was said since the last time."""
        deadline = time.monotonic() + LIMIT_S
        while not (found := re.search(pattern, self.text[self._read_to :], re.DOTALL)):
            assert self._read(deadline), f"the command ended without saying {pattern!r}:\n{self.text}"
        self._read_to += found.end()
        return found

    def type(self, line: str) -> None:
        """Type a line, with Enter."""
        os.write(self._own, f"{line}\n".encode())

    def answer(self, pattern: str, line: str) -> re.Match[str]:
        """Wait for what is said, and type a line."""
        found = self.expect(pattern)
        self.type(line)
        return found

    def press(self, key: str) -> None:
        """Press C or D together with Ctrl."""
        os.write(self._own, {"C": b"\x03", "D": b"\x04"}[key])

    def press_until(self, key: str, pattern: str) -> re.Match[str]:
        """Press a key until something is said of it.

        A Ctrl-C just before a program waits for a line is noticed with the next key only, as Python reads a terminal.
        """
        deadline, press_at = time.monotonic() + LIMIT_S, 0.0
        while not (found := re.search(pattern, self.text[self._read_to :], re.DOTALL)):
            if time.monotonic() >= press_at:
                self.press(key)
                press_at = time.monotonic() + PATIENCE_S
            wait_s = press_at - time.monotonic()
            assert self._read(deadline, wait_s), f"the command ended without saying {pattern!r}:\n{self.text}"
        self._read_to += found.end()
        return found

    def wait(self) -> int:
        """Read to the end, and return the exit code."""
        deadline = time.monotonic() + LIMIT_S
        while self._read(deadline):
            pass
        return self._process.wait(timeout=LIMIT_S)

    @property
    def shows_typing(self) -> bool:
        """Tell whether the terminal shows what is typed."""
        return bool(termios.tcgetattr(self._own)[3] & termios.ECHO)

    def _read(self, deadline: float, wait_s: float = LIMIT_S) -> bool:
        """Read some, or nothing within wait_s; False at the end."""
        left_s = deadline - time.monotonic()
        assert left_s > 0, f"nothing more was said within {LIMIT_S} seconds:\n{self.text}"
        ready, _, _ = select.select([self._own], [], [], max(0.0, min(left_s, wait_s)))
        if not ready:
            return True
        try:
            read = os.read(self._own, 65536)
        except OSError:  # what Linux says when the other side is closed
            return False
        self.text += read.decode(errors="replace").replace("\r\n", "\n")
        return bool(read)
