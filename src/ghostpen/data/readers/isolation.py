"""Read PDF, Word, EPUB and HTML in a process that may hang, crash or ask for too much memory.

The libraries that read these formats follow whatever a file says. The process is started at the first such file
and serves all of them; after a crash or a deadline the next file gets a new one.
"""

import json
import select
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from types import TracebackType
from typing import Any, Self

from ghostpen.data.readers.passages import Passage, Reading, SourceFile, UnreadableError

DEADLINE_S = 300.0  # for one file; a novel takes seconds
MOST_MEMORY_BYTES = 3 * 1024**3
_MODULE = "ghostpen.data.readers.isolated"


class IsolatedReader:
    """A context manager that owns the process."""

    def __init__(
        self,
        *,
        deadline_s: float = DEADLINE_S,
        most_memory_bytes: int = MOST_MEMORY_BYTES,
        command: Sequence[str] | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            deadline_s: for one file.
            most_memory_bytes: of address space for the process.
            command: the program to run; ghostpen's own reader if left out.
        """
        self.deadline_s = deadline_s
        self._command = list(command or (sys.executable, "-P", "-m", _MODULE, str(most_memory_bytes)))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def read(self, file: SourceFile, kind: str, reading: Reading) -> Passage:
        """Return the one passage of a document.

        Args:
            file: the document.
            kind: "html", "epub", "docx" or "pdf".
            reading: counts what was left out.

        Raises:
            UnreadableError: as the format's reader says; it takes too long or too much memory, or crashes.
        """
        answer = self._ask({"kind": kind, "path": str(file.local)})
        if "reason" in answer:
            raise UnreadableError(answer["reason"])
        reading.left_out.update(answer["dropped"])
        written = date.fromisoformat(answer["written"]) if answer["written"] else None
        return Passage(answer["text"], written=written, headings=True)

    def _ask(self, request: dict[str, str]) -> dict[str, Any]:
        process = self._start()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], self.deadline_s)
            line = process.stdout.readline() if ready else None
        except BrokenPipeError:
            line = b""
        except BaseException:
            self._stop()  # Ctrl-C: the answer that is still to come would be taken for the next file's
            raise
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self._stop()
        if line is None:
            raise UnreadableError(f"not read after {self.deadline_s:g} seconds; save it anew, or as text")
        raise UnreadableError("made the program that reads it crash; save it anew, or as text")

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        return self._process

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
