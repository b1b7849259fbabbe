"""The folder in which one `ghostpen prepare` works, beside the one that it is to write.

Owns its name, its lock and its end. An output has one, whatever the inputs, so that no two write it at once. It holds
private text: only its owner can read it, and it goes with the work, unless the next run may come to another end and
can go on from it. What is left is taken up by one of the same texts and settings, and removed by one of others.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ghostpen.data.cleaning_pool import CleaningKilled
from ghostpen.errors import DataError, Interrupted
from ghostpen.files import lock_file

_KEY, _LOCK = "key", "lock"


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
        """Delete it, and what lies in it, as far as it can be; who holds it may."""
        with suppress(OSError):  # such as another process that takes it between the last two: then it is that one's
            self._empty()
            (self.dir / _LOCK).unlink()
            self.dir.rmdir()

    def begin(self, key: str) -> None:
        """Make it ready for some inputs, and keep what there is of the same ones.

        Raises:
            OSError: it can't be written.
        """
        try:
            is_same = (self.dir / _KEY).read_text(encoding="utf-8") == key
        except FileNotFoundError:
            is_same = False
        if not is_same:
            self._empty()
            (self.dir / _KEY).write_text(key, encoding="utf-8")
        self.units.mkdir(exist_ok=True)
        shutil.rmtree(self.staged, ignore_errors=True)
        self.staged.mkdir()

    def _empty(self) -> None:
        """Delete all but the lock, which keeps others out as long as it has its name."""
        for entry in self.dir.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != _LOCK:
                entry.unlink()


@contextmanager
def open_work(out: Path, key: str) -> Iterator[Work]:
    """Make the work folder of an output, or take up the one that is there, and hold it alone.

    It stays after Ctrl-C, and where there was too little memory; else it is gone with the block.

    Args:
        out: the folder to write in the end.
        key: a hash of the texts and the settings; what lies there of others goes.

    Raises:
        DataError: another process works in it, of whatever inputs.
        Interrupted: Ctrl-C; says where the folder is.
        OSError: it can't be written.
    """
    missing = [parent for parent in out.parents if not parent.exists()]
    out.parent.mkdir(parents=True, exist_ok=True)
    work = _find_work(out)
    try:
        work.dir.mkdir(mode=0o700, exist_ok=True)
        with lock_file(work.dir / _LOCK) as lock:
            if lock is None:
                raise DataError(f"{out}: another ghostpen prepare is writing it; wait for that one")
            with _end(work):
                work.begin(key)
                yield work
    finally:
        for parent in missing:
            with suppress(OSError):  # it is wanted, if it holds anything
                parent.rmdir()


def remove_stale(out: Path) -> None:
    """Delete the work folder of an output, if there is one and nobody works in it."""
    work = _find_work(out)
    with suppress(OSError):
        if work.dir.is_dir():
            with lock_file(work.dir / _LOCK) as lock:
                if lock is not None:
                    work.remove()


@contextmanager
def _end(work: Work) -> Iterator[None]:
    try:
        yield
        work.remove()
    except KeyboardInterrupt as error:
        raise Interrupted(
            f"interrupted; the same command goes on from {work.dir}, which holds cleaned texts: delete it if you "
            "don't go on"
        ) from error
    except (MemoryError, CleaningKilled):
        raise
    except BaseException:
        work.remove()
        raise


def _find_work(out: Path) -> Work:
    return Work(out.parent / f".{out.name}.ghostpen-work")
