"""Waiting for something in AWS: look, pause, look again, until a deadline.

Every wait of a deployment goes through here, so none is without an end, and none ends because one look got no
answer. Clock and sleep are arguments: tests let hours pass in milliseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from ghostpen.errors import CloudError

INSIST_S = 120.0  # beside the tries of botocore
Seen = TypeVar("Seen")
Done = TypeVar("Done")


def read_clock() -> datetime:
    """Read the machine's clock; it goes on while a laptop sleeps, as AWS's does."""
    return datetime.now(UTC)


class DeadlineError(Exception):
    """Say that a wait is over without what was waited for; whoever waits says what that means."""

    def __init__(self, trouble: CloudError | None) -> None:
        """Take why the last look saw nothing, if it got no answer."""
        self.trouble = trouble
        super().__init__(f" (last answer: {trouble.message})" if trouble else "")


@dataclass(frozen=True)
class Waiting:
    """Wait with a clock and a sleep."""

    poll_s: float
    clock: Callable[[], datetime] = read_clock
    sleep: Callable[[float], None] = time.sleep

    def wait_for(self, look: Callable[[], Seen | None], *, limit_s: float) -> Seen:
        """Look every `poll_s` seconds until there is something to see. A failure that may pass counts as nothing.

        Raises:
            DeadlineError: nothing was seen for `limit_s` seconds.
            CloudError: a look failed for good.
        """
        end = self.clock() + timedelta(seconds=limit_s)
        while True:
            trouble = None
            try:
                seen = look()
            except CloudError as error:
                if not error.passing:
                    raise
                seen, trouble = None, error
            if seen is not None:
                return seen
            left_s = (end - self.clock()).total_seconds()
            if left_s <= 0:
                raise DeadlineError(trouble) from trouble
            self.sleep(min(self.poll_s, left_s))

    def insist(self, call: Callable[[], Done], *, limit_s: float = INSIST_S) -> Done:
        """Do what may be done twice, and again after a failure that may pass.

        Raises:
            CloudError: it failed for good, or for `limit_s` seconds.
        """
        try:
            (done,) = self.wait_for(lambda: (call(),), limit_s=limit_s)
        except DeadlineError as error:
            raise error.trouble or error from error
        return done
