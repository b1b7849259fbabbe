"""Virtual time for several processes at once: each sleeps by itself, and one runs at a time.

Whoever sleeps hands over to the one that wakes up next, so the same programs always meet in the same order. Each is a
thread, because what sleeps is ordinary code; none runs while another does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from tests.stand_ins.aws.timeline import VIRTUAL_START, VirtualTime


@dataclass
class _Player:
    """One process, and whether it is its turn."""

    number: int
    wake_at: float
    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    done: bool = False
    failure: BaseException | None = None


class TurnTime(VirtualTime):
    """Time that passes when all who take part sleep; alone it is `VirtualTime`."""

    def __init__(self, start: float = VIRTUAL_START) -> None:
        super().__init__(start)
        self.lock: Any = nullcontext()  # whoever sleeps in the middle of a call lets the others go on
        self._players: dict[int, _Player] = {}
        self._finished = threading.Event()
        self._broken: BaseException | None = None

    def run_together(self, *bodies: Callable[[], object]) -> None:
        """Run functions as processes beside each other until all have returned.

        Raises:
            BaseException: what the first of them raised that failed, after all have ended.
        """
        players = [_Player(number, self.now()) for number, _ in enumerate(bodies)]
        threads = [
            threading.Thread(target=self._play, args=(player, body), daemon=True)
            for player, body in zip(players, bodies, strict=True)
        ]
        self._finished.clear()
        for thread, player in zip(threads, players, strict=True):
            thread.start()
            assert thread.ident is not None
            self._players[thread.ident] = player
        self._hand_over()
        self._finished.wait()
        if self._broken is not None:
            raise self._broken
        for thread in threads:
            thread.join()
        self._players.clear()
        for player in players:
            if player.failure is not None:
                raise player.failure

    def _play(self, player: _Player, body: Callable[[], object]) -> None:
        player.turn.acquire()
        try:
            body()
        except BaseException as failure:  # noqa: BLE001  # raised by `run_together`
            player.failure = failure
        player.done = True
        self._hand_over()

    def sleep(self, seconds: float) -> None:
        """Pass time, as `time.sleep` does, while others may go on."""
        player = self._players.get(threading.get_ident())
        if player is None:
            super().sleep(seconds)
            return
        player.wake_at = self.now() + seconds
        self._hand_over()
        player.turn.acquire()

    def _hand_over(self) -> None:
        """Let the world go on until the next one wakes up, and give it the turn."""
        waiting = [player for player in self._players.values() if not player.done]
        if not waiting:
            self._finished.set()
            return
        following = min(waiting, key=lambda player: (player.wake_at, player.number))
        try:
            self.run_until(following.wake_at)
        except BaseException as failure:  # of the simulated world: nobody can go on
            self._broken = failure
            self._finished.set()
            raise
        following.turn.release()
