"""Files that are there whole or not at all, and files that say that somebody is at work."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_bytes_atomically(data: bytes, path: Path) -> None:
    """Write a file in one step: whoever looks sees the old one or the new one, never a part.

    Raises:
        OSError: the folder is missing or cannot be written to; what stood at `path` still does.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomically(text: str, path: Path) -> None:
    """Write a text as UTF-8, with its line breaks as they are, in one step.

    Raises:
        OSError: the folder is missing or cannot be written to; what stood at `path` still does.
    """
    write_bytes_atomically(text.encode(), path)


@contextmanager
def lock_file(path: Path) -> Iterator[int | None]:
    """Hold a file that is made for it, so that no other process does; the lock dies with who holds it.

    Yields the descriptor, which a child may be given to hold it as well; None where another process holds the file,
    or has deleted it just now, which ends its work.

    Raises:
        OSError: the file can't be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor if _take_lock(descriptor, path) else None
    finally:
        os.close(descriptor)


def _take_lock(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A file that was deleted since it was opened keeps nobody out: the next one makes it anew.
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
