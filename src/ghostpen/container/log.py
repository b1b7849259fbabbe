"""What a person may want to read later: log.txt, and the same lines where this process writes. Never a secret."""

from __future__ import annotations

import sys
import threading
from collections.abc import Collection
from pathlib import Path
from typing import IO

from ghostpen.redaction import redact


class Log:
    """Write lines, from any thread. A full disk, or a terminal that was closed, is no reason to stop."""

    def __init__(self, path: Path, *, secrets: Collection[str]) -> None:
        """Begin the file anew.

        Raises:
            OSError: it can't be written.
        """
        self.path = path
        self._secrets = secrets
        self._lock = threading.Lock()
        self._file: IO[str] | None = path.open("w", encoding="utf-8")

    def redact(self, text: str) -> str:
        """Take secrets out of what is not written here."""
        return redact(text, self._secrets)

    def write(self, line: str, *, to: IO[str] | None = None) -> None:
        """Write a line to the file and to `to`: standard output, if left out."""
        clean = self.redact(line)
        with self._lock:
            self._write_to_file(clean)
            _write(clean, sys.stdout if to is None else to)

    def note(self, line: str) -> None:
        """Write a line to the file alone."""
        with self._lock:
            self._write_to_file(self.redact(line))

    def __enter__(self) -> Log:
        """Write until the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file; what comes later (of a process that nobody waited for) goes to the terminal alone."""
        with self._lock:
            self._close()

    def _write_to_file(self, line: str) -> None:
        if self._file is not None and (error := _write(line, self._file)):
            self._close()
            _write(f"warning: {self.path} ends here: {error.strerror}", sys.stdout)

    def _close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            try:
                file.close()
            except OSError:  # what was buffered can't be written, which was said
                return


def _write(line: str, file: IO[str]) -> OSError | None:
    try:
        print(line, file=file, flush=True)
    except OSError as error:
        return error
    return None
