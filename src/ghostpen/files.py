"""Files that are there whole or not at all, also after a power cut, and files that say that somebody is at work."""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Sync = Callable[[int], None]
"""What waits until an open file is on the disk: os.fsync, or a test's."""


def write_bytes_atomically(data: bytes, path: Path, *, fsync: Sync = os.fsync) -> None:
    """Write a file in one step: whoever looks sees the old one or the new one, never a part.

    So it is after a power cut, too: without the wait for the disk the new name can be there before the content is.

    Raises:
        OSError: the folder is missing or cannot be written to; what stood at `path` still does.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_bytes(data)
        sync_path(temporary, fsync=fsync)
        temporary.replace(path)
        sync_path(path.parent, fsync=fsync)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomically(text: str, path: Path) -> None:
    """Write a text as UTF-8, with its line breaks as they are, in one step.

    Raises:
        OSError: the folder is missing or cannot be written to; what stood at `path` still does.
    """
    write_bytes_atomically(text.encode(), path)


def sync_folder(folder: Path, *, fsync: Sync = os.fsync) -> None:
    """Wait until a folder with its files would be there after a power cut.

    Raises:
        OSError: the disk refuses.
    """
    for path in sorted(folder.iterdir()):
        if path.is_file():
            sync_path(path, fsync=fsync)
    sync_path(folder, fsync=fsync)
    sync_path(folder.parent, fsync=fsync)


def sync_path(path: Path, *, fsync: Sync = os.fsync) -> None:
    """Wait until a file's content, or a folder's names, are on the disk.

    Raises:
        OSError: the disk refuses.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that can't, as some of networks
            raise
    finally:
        os.close(descriptor)


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
