"""Processes are real ones, of a few lines of Python; a file says what each has done."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ghostpen.config import TrainConfig
from ghostpen.errors import ConfigError
from ghostpen.training.launch import (
    Batches,
    Outcome,
    Place,
    launch_processes,
    plan_batches,
    plan_processes,
    read_place,
)

LIMIT_S = 60
HEAD = "import os, pathlib, signal, sys, time\nrank = int(os.environ['RANK'])\n"
READY = "pathlib.Path(f'ready-{rank}').touch()\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def launch(code: str, *, processes: int = 2, end_timeout_s: float = LIMIT_S, kill_timeout_s: float = 5) -> Outcome:
    return launch_processes(
        [sys.executable, "-c", HEAD + code],
        processes=processes,
        environ=os.environ,
        end_timeout_s=end_timeout_s,
        kill_timeout_s=kill_timeout_s,
    )


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not so after {LIMIT_S} seconds"
        time.sleep(0.01)


def make_train(**changes: int) -> TrainConfig:
    return TrainConfig(**({"max_steps": 1} | changes))


def test_each_process_is_told_its_place(folder: Path) -> None:
    names = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"]
    code = f"pathlib.Path(f'place-{{rank}}').write_text(' '.join(os.environ[name] for name in {names}))"

    assert launch(code, processes=3) == Outcome(0, "")

    places = [(folder / f"place-{rank}").read_text().split() for rank in range(3)]
    assert [place[:5] for place in places] == [[str(rank)] * 2 + ["3", "3", "127.0.0.1"] for rank in range(3)]
    assert len({place[5] for place in places}) == 1


def test_only_the_first_process_prints(capfd: pytest.CaptureFixture[str]) -> None:
    launch("print('out', rank)\nprint('note', rank, file=sys.stderr)")

    assert capfd.readouterr().out == "out 0\n"


def test_what_the_first_process_notes_is_handed_back() -> None:
    assert launch("print('note', rank, file=sys.stderr)") == Outcome(0, "note 0\n")


@pytest.mark.parametrize(("given", "expected"), [(None, len(os.sched_getaffinity(0)) // 2 or 1), ("5", 5)])
def test_processors_are_divided_unless_told_otherwise(
    folder: Path, monkeypatch: pytest.MonkeyPatch, given: str | None, expected: int
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)

    launch("pathlib.Path('threads').write_text(os.environ['OMP_NUM_THREADS'])")

    assert (folder / "threads").read_text() == str(expected)


def test_error_of_one_process_ends_the_others() -> None:
    began_s = time.monotonic()

    outcome = launch(
        "if rank == 1:\n    sys.exit(print('error: no data', file=sys.stderr) or 2)\ntime.sleep(600)",
        end_timeout_s=0.2,
    )

    assert outcome == Outcome(2, "error: no data\n")
    assert time.monotonic() - began_s < 30


def test_process_that_does_not_end_on_sigterm_is_killed() -> None:
    code = "if rank == 1:\n    while not os.path.exists('ready-0'): time.sleep(0.01)\n    sys.exit(3)\n"
    code += "signal.signal(signal.SIGTERM, lambda *_: pathlib.Path('asked').touch())\n" + READY
    code += "while True: time.sleep(600)"

    outcome = launch(code, end_timeout_s=0.2, kill_timeout_s=2)

    assert Path("asked").exists()
    assert outcome == Outcome(3, "error: process 1 of 2 ended with exit code 3 and no word of why\n")


def test_error_that_all_have_is_one_line_and_what_follows_from_it_is_none() -> None:
    line = "print('error: no data', file=sys.stderr)\n"

    assert launch(f"{line}sys.exit(2)", processes=3) == Outcome(2, "error: no data\n")
    assert launch(f"if rank == 1:\n    {line}    sys.exit(2)\nraise RuntimeError('peer')") == Outcome(
        2, "error: no data\n"
    )


def test_bug_in_a_process_keeps_its_traceback() -> None:
    outcome = launch("if rank == 1:\n    raise RuntimeError('a bug')\ntime.sleep(600)", end_timeout_s=0.1)

    assert outcome.exit_code == 1
    assert outcome.stderr.startswith("Traceback") and outcome.stderr.endswith("RuntimeError: a bug\n")


def test_killed_process_is_named_with_its_signal() -> None:
    outcome = launch("os.kill(os.getpid(), signal.SIGKILL) if rank else time.sleep(600)", end_timeout_s=0.1)

    assert outcome.exit_code == 137
    assert outcome.stderr == (
        "error: process 1 of 2 ended with SIGKILL and no word of why; the machine may have run out of memory\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_reaches_every_process_once(folder: Path, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    code = "seen = []\nsignal.signal(signal.SIGINT, lambda n, _: seen.append(n))\n"
    code += f"signal.signal(signal.SIGTERM, lambda n, _: seen.append(n))\n{READY}"
    code += "while not seen: time.sleep(0.01)\ntime.sleep(0.3)\n"
    code += "print(f'error: stopped by {seen}', file=sys.stderr)\nsys.exit(128 + seen[0])"

    def press() -> None:
        wait_until(lambda: all((folder / f"ready-{rank}").exists() for rank in range(2)))
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=press)
    thread.start()
    outcome = launch(code)
    thread.join(LIMIT_S)

    assert outcome == Outcome(128 + number, f"error: stopped by [{int(number)}]\n")
    assert signal.getsignal(number) is before


def test_signal_before_a_process_can_answer_is_an_interruption(folder: Path) -> None:
    def press() -> None:
        wait_until((folder / "ready-1").exists)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    outcome = launch(f"{READY}time.sleep(600)")  # Python's own answer is a traceback
    thread.join(LIMIT_S)

    assert outcome == Outcome(130, "error: interrupted\n")


def test_processes_do_not_outlive_a_launcher_that_was_killed(folder: Path) -> None:
    inner = f"{HEAD}{READY}pathlib.Path(f'id-{{rank}}').write_text(str(os.getpid()))\ntime.sleep(600)"
    outer = "import os, sys\nfrom ghostpen.training.launch import launch_processes\n"
    outer += f"launch_processes([sys.executable, '-c', {inner!r}], processes=2, environ=os.environ)"
    launcher = subprocess.Popen([sys.executable, "-c", outer])
    identities = [folder / "id-0", folder / "id-1"]
    wait_until(lambda: all(path.exists() and path.read_text() for path in identities))

    launcher.kill()
    launcher.wait(LIMIT_S)

    for path in identities:
        state = Path(f"/proc/{path.read_text()}/stat")
        # Whoever inherits them may not collect them: a zombie has ended, too.
        wait_until(lambda state=state: not state.exists() or ") Z " in state.read_text())


@pytest.mark.parametrize("environ", [{}, {"WORLD_SIZE": "1", "RANK": "0"}])
def test_place_of_a_process_alone_is_none(environ: dict[str, str]) -> None:
    assert read_place(environ) is None


def test_place_is_read_from_what_torchrun_sets() -> None:
    assert read_place({"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8"}) == Place(5, 1, 8)


@pytest.mark.parametrize("environ", [{"RANK": "0"}, {"RANK": "0", "LOCAL_RANK": "first"}])
def test_place_that_is_incomplete_is_an_error(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="RANK, LOCAL_RANK and WORLD_SIZE are not all numbers"):
        read_place(environ | {"WORLD_SIZE": "2"})


@pytest.mark.parametrize("name", ["ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"])
def test_launcher_that_would_split_the_model_is_refused(name: str) -> None:
    environ = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}

    with pytest.raises(ConfigError, match=f"{name} is set"):
        read_place(environ | {name: "true"})
    assert read_place(environ | {name: "false"}) == Place(0, 0, 2)


@pytest.mark.parametrize(
    ("batch_size", "accumulation", "processes", "expected"),
    [
        (8, 1, 1, Batches(8, 1)),
        (8, 4, 1, Batches(8, 4)),
        (8, 4, 2, Batches(8, 2)),  # 32 sequences, 16 each
        (8, 1, 2, Batches(4, 1)),
        (2, 4, 8, Batches(1, 1)),
        (4, 3, 2, Batches(3, 2)),  # 12 sequences, 6 each: 4 does not divide 6
        (3, 4, 4, Batches(3, 1)),
    ],
)
def test_step_is_dealt_out_whole_to_any_number_of_processes(
    batch_size: int, accumulation: int, processes: int, expected: Batches
) -> None:
    train = make_train(batch_size=batch_size, gradient_accumulation=accumulation)

    batches = plan_batches(train, processes=processes)

    assert batches == expected
    assert batches.size * batches.accumulation * processes == batch_size * accumulation
    assert batches.size <= batch_size


def test_step_that_cannot_be_dealt_out_names_the_keys() -> None:
    with pytest.raises(ConfigError) as caught:
        plan_batches(make_train(batch_size=8, gradient_accumulation=2), processes=3)

    assert caught.value.message == (
        "train.batch_size 8 * train.gradient_accumulation 2 = 16 sequences a step can't be dealt out evenly to "
        "3 processes; change one of the three"
    )


@pytest.mark.parametrize(
    ("wanted", "place", "gpus", "expected"),
    [
        (None, None, 4, 1),
        ("2", None, 0, 2),
        ("auto", None, 0, 1),
        ("auto", None, 4, 4),
        ("auto", None, 3, 2),  # a step of 8 can't be dealt out to 3
        (None, Place(1, 1, 4), 8, 4),
        ("auto", Place(1, 1, 4), 8, 4),
        ("4", Place(1, 1, 4), 8, 4),
    ],
)
def test_number_of_processes(wanted: str | None, place: Place | None, gpus: int, expected: int) -> None:
    train = make_train(batch_size=8)

    assert plan_processes(wanted, train=train, place=place, count_gpus=lambda: gpus) == expected


@pytest.mark.parametrize(
    ("wanted", "place", "expected"),
    [
        ("0", None, '--processes is "0"'),
        ("-1", None, '--processes is "-1"'),
        ("two", None, '--processes is "two"'),
        ("3", None, "can't be dealt out evenly to 3 processes"),
        (None, Place(0, 0, 3), "can't be dealt out evenly to 3 processes"),
        ("2", Place(0, 0, 4), "a launcher has started 4 processes"),
    ],
)
def test_impossible_number_of_processes_is_an_error(wanted: str | None, place: Place | None, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        plan_processes(wanted, train=make_train(batch_size=8), place=place, count_gpus=lambda: 0)
