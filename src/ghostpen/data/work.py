"""The folder in which one `ghostpen prepare` works, beside the one that it is to write.

Owns its name, its lock and its end. It holds private text: only its owner can read it, and it is gone when the work
is done. What an interrupted run left is taken up by the next one of the same texts and settings, and removed by one
of others.
"""

import fcntl
import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ghostpen.errors import DataError

_KEY_CHARS = 16
_LOCK = "lock"


@dataclass(frozen=True)
class Work:
    """A folder to work in."""

    dir: Path

    @property
    def units(self) -> Path:
        """Return where the cleaned texts lie."""
        return self.dir / "units"

    @property
    def staged(self) -> Path:
        """Return where the output is built."""
        return self.dir / "out"

    def remove(self) -> None:
        """Delete it, and what lies in it."""
        shutil.rmtree(self.dir, ignore_errors=True)


@contextmanager
def open_work(out: Path, key: str) -> Iterator[Work]:
    """Make the work folder of an output, or take up the one that is there, and hold it alone.

    It stays when the block is left, until `Work.remove`.

    Args:
        out: the folder to write in the end.
        key: a hash of the texts and the settings.

    Raises:
        DataError: another process works in it.
        OSError: it can't be written.
    """
    missing = [parent for parent in out.parents if not parent.exists()]
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Work(out.parent / f"{_name_works(out)}{key[:_KEY_CHARS]}")
    try:
        remove_stale(out, but=work.dir)
        work.dir.mkdir(mode=0o700, exist_ok=True)
        lock = _lock(work.dir)
        if lock is None:
            raise DataError(f"{out}: another ghostpen prepare is writing it; wait for that one")
        try:
            work.units.mkdir(exist_ok=True)
            shutil.rmtree(work.staged, ignore_errors=True)
            work.staged.mkdir()
            yield work
        finally:
            os.close(lock)
    finally:
        for parent in missing:
            with suppress(OSError):  # it is wanted, if it holds anything
                parent.rmdir()


def remove_stale(out: Path, *, but: Path | None = None) -> None:
    """Delete the work folders of an output that nobody works in."""
    for folder in out.parent.glob(f"{glob.escape(_name_works(out))}{'?' * _KEY_CHARS}"):
        with suppress(OSError):
            if folder != but and (lock := _lock(folder)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _name_works(out: Path) -> str:
    return f".{out.name}.work-"


def _lock(folder: Path) -> int | None:
    """Return the lock, to be closed, or None where another process has it; it dies with its process."""
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock
