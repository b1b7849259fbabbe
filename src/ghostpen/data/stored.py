"""Texts as they were read, on the disk instead of in memory, until they are cleaned.

Owns how a text lies there. The file has no name as long as it can do without: it is gone with the process.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ghostpen.errors import DataError

_IN_MEMORY_BYTES = 1024**2  # as much goes to the disk only where there is more


class TextStore:
    """Texts in a file, one after the other.

    Args:
        file: empty, to write to and read from.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._end = 0

    def add(self, text: str) -> "StoredText":
        """Put a text at the end.

        Raises:
            DataError: the disk is full.
        """
        content = text.encode(errors="surrogatepass")  # JSON can hold halves of characters
        stored = StoredText(self._end, len(content), len(text), self)
        with _explain_disk():
            self._file.seek(self._end)
            self._file.write(content)
        self._end += len(content)
        return stored

    def read(self, start: int, size_bytes: int) -> str:
        """Return the text that lies there.

        Raises:
            DataError: the disk is full, which a write may have left to find out, or can't be read.
        """
        with _explain_disk():
            self._file.seek(start)
            return self._file.read(size_bytes).decode(errors="surrogatepass")


@dataclass(frozen=True, slots=True)
class StoredText:
    """Where a text lies in its store, and how long it is in bytes and in characters."""

    start: int
    size_bytes: int
    chars: int
    store: TextStore = field(repr=False, compare=False)

    def read(self) -> str:
        """Return the text; see `TextStore.read`."""
        return self.store.read(self.start, self.size_bytes)


@contextmanager
def open_store(beside: Path) -> Iterator[TextStore]:
    """Open a store for a while; what is too large for memory lies in a file without a name.

    Args:
        beside: what it lies beside, where there is room for it: the temporary folder may be memory. It serves where
            nothing can be written, as to data that are prepared and lie read-only.
    """
    folder = _find_folder(beside)
    file = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=folder)  # noqa: SIM115  # closed below, quietly
    try:
        yield TextStore(file)
    finally:
        with suppress(OSError):  # on a full disk: what it still holds has nowhere to go, and nobody wants it
            file.close()


def _find_folder(beside: Path) -> str | None:
    """Return the nearest folder that is there; None, the temporary one, where it takes no file."""
    folder = next(str(parent) for parent in beside.absolute().parents if parent.is_dir())
    try:
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None


@contextmanager
def _explain_disk() -> Iterator[None]:
    """Say whose fault it is: who reads sources would take it for theirs."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"the texts can't be put on the disk beside --out ({error.strerror}); free some room, or give another "
            "--out"
        ) from error
