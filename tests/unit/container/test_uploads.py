import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ghostpen.container.uploads import Upload, Uploads
from ghostpen.errors import CloudError

LIMIT_S = 30


def make_upload(title: str, **changes: Any) -> Upload:
    return Upload(**({"title": title, "place": title, "files": {}, "info": {}, "role": "author"} | changes))


def make_checkpoint(step: int, best_step: int | None = None, **changes: Any) -> Upload:
    return make_upload(f"checkpoint {step}", step=step, best_step=best_step, **changes)


class Gate:
    """Push nothing until it is opened; then fail with those titles that are to fail."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun: list[str] = []
        self.failing: set[str] = set()
        self.holding: set[str] = set()

    def push(self, upload: Upload) -> None:
        self.begun.append(upload.title)
        if upload.title in self.holding or not self.holding:
            assert self.open.wait(LIMIT_S)
        if upload.title in self.failing:
            raise CloudError("no answer")


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open.set()


def wait_until(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def finish(uploads: Uploads, *, left_s: float = LIMIT_S, urgent: bool = False) -> list[str]:
    end_s = time.monotonic() + left_s
    unsent = uploads.finish(compute_left_s=lambda: end_s - time.monotonic(), is_urgent=lambda: urgent)
    return [upload.title for upload in unsent]


def test_uploads_go_one_after_the_other_as_they_came(gate: Gate) -> None:
    uploads = Uploads(gate.push, warn=pytest.fail)
    for title in "abc":
        uploads.put(make_upload(title))
    wait_until(lambda: gate.begun)
    time.sleep(0.1)
    assert gate.begun == ["a"]
    assert uploads.is_busy
    gate.open.set()
    assert finish(uploads) == []
    assert gate.begun == ["a", "b", "c"]
    assert not uploads.is_busy


def test_what_failed_is_tried_again_with_the_next_one_and_at_the_end(gate: Gate) -> None:
    warnings: list[str] = []
    uploads = Uploads(gate.push, warn=warnings.append)
    gate.open.set()
    gate.failing = {"a"}
    uploads.put(make_upload("a"))
    wait_until(lambda: warnings)
    assert warnings == ["warning: not yet in S3: a: no answer"]
    wait_until(lambda: not uploads.is_busy)
    uploads.put(make_upload("b"))
    wait_until(lambda: len(warnings) == 2 and gate.begun[-1] == "b" and not uploads.is_busy)
    assert finish(uploads) == ["a"]
    assert gate.begun == ["a", "a", "b", "a"]
    gate.failing = set()
    assert finish(uploads) == []


def test_what_s3_was_away_for_is_tried_again_with_growing_pauses_until_it_is_there(gate: Gate) -> None:
    left_s = [1000]
    tried_at: list[int] = []

    def push(upload: Upload) -> None:
        if upload.title == "refused":
            raise CloudError("access denied")
        tried_at.append(1000 - left_s[0])
        if len(tried_at) < 6:
            raise CloudError("no answer", passing=True)

    def compute_left_s() -> float:
        left_s[0] -= 0 if uploads.is_busy else 5
        return left_s[0]

    uploads = Uploads(push, warn=lambda _: None)
    for title in ("refused", "away"):
        uploads.put(make_upload(title))
    wait_until(lambda: tried_at and not uploads.is_busy)
    unsent = uploads.finish(compute_left_s=compute_left_s, is_urgent=lambda: False)

    assert [upload.title for upload in unsent] == ["refused"]
    # After each failure a pause: 5 s, then 10, 20 and 40; and up to two looks, 5 s apart here, until it is begun.
    pauses = [after - before for before, after in itertools.pairwise(tried_at[1:])]
    assert [5 <= pauses[0] <= 15, 10 <= pauses[1] <= 20, 20 <= pauses[2] <= 30, 40 <= pauses[3] <= 50] == [True] * 4


def test_signal_ends_the_pause_and_the_time_that_it_leaves_ends_the_tries() -> None:
    began, signalled = threading.Event(), threading.Event()
    tries: list[str] = []

    def push(upload: Upload) -> None:
        tries.append(upload.title)
        raise CloudError("no answer", passing=True)

    def compute_left_s() -> float:
        if len(tries) == 2 and not uploads.is_busy:
            signalled.set()
        return next(left_s) if signalled.is_set() else 3600

    uploads = Uploads(push, warn=lambda _: began.set())
    uploads.put(make_upload("a"))
    assert began.wait(LIMIT_S)
    wait_until(lambda: not uploads.is_busy)
    left_s = iter([2, 2, 2, 2, 0])
    unsent = uploads.finish(compute_left_s=compute_left_s, is_urgent=signalled.is_set)

    assert [upload.title for upload in unsent] == ["a"]
    assert len(tries) == 3


def test_checkpoints_that_nobody_needs_any_more_are_let_go_with_their_folders(gate: Gate, tmp_path: Path) -> None:
    uploads = Uploads(gate.push, warn=pytest.fail)
    uploads.put(make_upload("results of another"))
    wait_until(lambda: gate.begun)
    for step, best in ((2, 2), (4, 4), (6, 4), (8, 4)):
        (tmp_path / str(step)).mkdir()
        uploads.put(make_checkpoint(step, best, staged=tmp_path / str(step)))
    uploads.put(make_checkpoint(1, 1, role="control"))
    assert {path.name for path in tmp_path.iterdir()} == {"4", "8"}
    gate.open.set()
    assert finish(uploads) == []
    assert gate.begun == ["results of another", "checkpoint 4", "checkpoint 8", "checkpoint 1"]
    wait_until(lambda: list(tmp_path.iterdir()) == [])


def test_newest_comes_first_and_waits_for_none_once_it_is_urgent(gate: Gate) -> None:
    uploads = Uploads(gate.push, warn=pytest.fail)
    gate.holding = {"checkpoint 2"}
    uploads.put(make_checkpoint(2, 2))
    wait_until(lambda: gate.begun)
    uploads.put(make_checkpoint(4, 4))
    uploads.put(make_checkpoint(6, 4))
    assert finish(uploads, left_s=1, urgent=True) == ["checkpoint 2"]
    assert gate.begun == ["checkpoint 2", "checkpoint 6", "checkpoint 4"]


def test_end_of_the_time_is_the_end_of_waiting(gate: Gate) -> None:
    uploads = Uploads(gate.push, warn=pytest.fail)
    uploads.put(make_upload("a"))
    uploads.put(make_upload("b"))
    began_s = time.monotonic()
    assert finish(uploads, left_s=0.3) == ["b", "a"]
    assert 0.25 < time.monotonic() - began_s < 5
    assert uploads.is_busy


def test_time_that_a_signal_makes_short_is_noticed_while_waiting(gate: Gate) -> None:
    uploads = Uploads(gate.push, warn=pytest.fail)
    uploads.put(make_upload("a"))
    left_s = [1000.0]
    threading.Timer(0.3, lambda: left_s.__setitem__(0, 0.0)).start()
    began_s = time.monotonic()
    uploads.finish(compute_left_s=lambda: left_s[0], is_urgent=lambda: False)
    assert time.monotonic() - began_s < 5
