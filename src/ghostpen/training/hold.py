"""Keep two processes from writing into one run's folder at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ghostpen.errors import ConfigError
from ghostpen.files import lock_file

LOCK = ".lock"


@contextmanager
def hold_run(folder: Path) -> Iterator[None]:
    """Hold a run's folder, which is made if it isn't there; a process that dies lets go of it.

    Raises:
        ConfigError: another process works in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with lock_file(folder / LOCK) as held:
        if held is None:
            raise ConfigError(
                f"another ghostpen trains or tests in {folder}; wait for its end, or choose another name "
                "(--set name=...)"
            )
        try:
            yield
        finally:
            (folder / LOCK).unlink(missing_ok=True)
