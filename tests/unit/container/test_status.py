import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ghostpen.container.status import Heartbeat, Status, read_newest_step
from ghostpen.errors import CloudError

LIMIT_S = 30


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", None),
        ('{"step": 3}\n', 3),
        ('{"step": 3}\n{"step": 4, "spl', 3),
        ('{"step": 3', None),
        ("not json\n", None),
        ("[]\n", None),
        ('{"step": 1}\n' * 20_000 + '{"step": 7}\n', 7),
    ],
)
def test_newest_step_is_that_of_the_last_whole_row(tmp_path: Path, content: str, expected: int | None) -> None:
    (tmp_path / "metrics.jsonl").write_text(content)
    assert read_newest_step(tmp_path / "metrics.jsonl") == expected


def test_status_tells_the_step_that_the_training_wrote_last(tmp_path: Path) -> None:
    began, now = (datetime(2026, 11, 25, 1, minute, tzinfo=UTC) for minute in (0, 5))
    status = Status("train", "run-1", 2, began, phase="training", role="author", run_dir=tmp_path)
    assert status.to_json(now)["step"] is None
    (tmp_path / "metrics.jsonl").write_text('{"step": 5}\n')
    assert status.to_json(now) == {
        "mode": "train",
        "run_id": "run-1",
        "attempt": 2,
        "phase": "training",
        "role": "author",
        "step": 5,
        "outcome": None,
        "exit_code": None,
        "reason": None,
        "started_at": "2026-11-25T01:00:00+00:00",
        "updated_at": "2026-11-25T01:05:00+00:00",
    }


def test_heart_beats_at_every_change_and_every_few_seconds() -> None:
    beats = threading.Semaphore(0)
    heartbeat = Heartbeat(beats.release, warn=pytest.fail, every_s=0.05)
    for _ in range(3):
        assert beats.acquire(timeout=LIMIT_S)
    heartbeat.finish(timeout_s=LIMIT_S)

    slow = Heartbeat(beats.release, warn=pytest.fail, every_s=1000)
    while beats.acquire(blocking=False):
        pass
    slow.beat()
    assert beats.acquire(timeout=LIMIT_S)
    slow.finish(timeout_s=LIMIT_S)
    assert beats.acquire(timeout=LIMIT_S)  # the last one


def test_heart_that_can_t_beat_warns_once_and_goes_on() -> None:
    warnings: list[str] = []
    tried = threading.Semaphore(0)

    def write() -> None:
        tried.release()
        raise CloudError("no answer")

    heartbeat = Heartbeat(write, warn=warnings.append, every_s=0.01)
    for _ in range(5):
        assert tried.acquire(timeout=LIMIT_S)
    heartbeat.finish(timeout_s=LIMIT_S)
    assert warnings == ["warning: status.json can't be written: no answer"]


def test_last_beat_that_hangs_is_left_alone() -> None:
    release = threading.Event()
    heartbeat = Heartbeat(lambda: release.wait(LIMIT_S) and None, warn=pytest.fail, every_s=1000)
    heartbeat.finish(timeout_s=0.05)
    release.set()
