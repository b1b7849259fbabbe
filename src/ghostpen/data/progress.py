"""How long steps tell how far they are, and who shows it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Progress = Callable[[int, int], None]  # how much is done, and of how much
ShowProgress = Callable[[], AbstractContextManager[Callable[[str], Progress]]]  # while it is open: a title's bar

TOLD_EVERY = 256  # things: a bar that is drawn anew for each costs more than the thing


def ignore_progress(_done: int, _total: int) -> None:
    """Show nothing of one step."""


@contextmanager
def hide_progress() -> Iterator[Callable[[str], Progress]]:
    """Show nothing of any step."""
    yield lambda _: ignore_progress
