"""kill -9 and Ctrl-C in `ghostpen prepare`, in its real processes: run again, it ends in a straight run's bytes."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

pytestmark = pytest.mark.pipeline

LIMIT_S = 300
MEGABYTES = 18  # above what is cleaned in one process


def write_books(folder: Path, *, megabytes: int, seed: int = 0) -> Path:
    """Write books of 600 kB of made-up words, two chapters each, one of which quotes another."""
    rng = random.Random(seed)
    words = [f"{rng.choice('bdfglmnprstv')}{rng.choice('aeiou')}{n}" for n in range(3_000)]
    folder.mkdir()
    quoted = " ".join(rng.choices(words, k=60))
    for number in range(megabytes * 10 // 6):
        paragraphs = [" ".join(rng.choices(words, k=100)) for _ in range(900)]
        paragraphs[450:450] = ["CHAPTER II", quoted]
        (folder / f"book{number:03}.txt").write_text("\n\n".join(paragraphs), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_books(tmp_path_factory.mktemp("texts") / "books", megabytes=MEGABYTES)


def start(books: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    """Start a prepare as a terminal does: in a process group of its own."""
    command = [sys.executable, "-m", "ghostpen", "prepare", str(books), "--author", "A", "--out", str(out), *options]
    return subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for its end; returns the exit code and what it wrote on standard error."""
    _, stderr = process.communicate(timeout=LIMIT_S)
    return process.returncode, stderr


def wait_until(reached: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until something is so, while the process runs, or by its end."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        is_running = process.poll() is None
        if reached():
            return
        assert is_running, f"it ended before, with {process.returncode}"
        assert time.monotonic() < deadline, f"not within {LIMIT_S} seconds"
        time.sleep(0.002)


def find_work(out: Path) -> Path:
    """Return where the work folder of an output lies."""
    return out.with_name(f".{out.name}.ghostpen-work")


def list_units(out: Path) -> dict[str, int]:
    """List the finished units, and when each was written."""
    try:
        return {path.name: path.stat().st_mtime_ns for path in find_work(out).glob("units/*.npz")}
    except FileNotFoundError:  # they are being removed
        return {}


def has_units(out: Path, count: int) -> bool:
    return len(list_units(out)) >= count


def list_group(group: int) -> list[int]:
    """List the processes of a process group that are alive."""
    alive = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split() if entry.name.isdigit() else []
        except OSError:
            continue  # it has just ended
        if fields and int(fields[2]) == group and fields[0] != "Z":
            alive.append(int(entry.name))
    return alive


def read_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def straight(books: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Prepare without a break."""
    out = tmp_path_factory.mktemp("straight") / "out"
    assert finish(start(books, out)) == (0, "")
    assert not find_work(out).exists()
    return read_files(out)


def test_prepare_that_is_killed_again_and_again_ends_in_the_bytes_of_a_straight_run(
    books: Path, straight: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    before: dict[str, int] = {}
    for more in (1, 4, 4):
        process = start(books, out)
        wait_until(partial(has_units, out, len(before) + more), process)
        process.kill()  # the one process, not its group: the others have to notice
        finish(process)
        deadline = time.monotonic() + LIMIT_S
        while list_group(process.pid):
            assert time.monotonic() < deadline, "its processes went on without it"
            time.sleep(0.01)
        assert not out.exists()
        units = list_units(out)
        assert before.items() <= units.items()  # what was there was not made again
        before = units
    process = start(books, out)
    # The last time it is killed while it writes, unless it is quicker than whoever looks.
    wait_until(lambda: out.exists() or (find_work(out) / "out/train.jsonl").exists(), process)
    process.kill()
    finish(process)
    assert out.exists() or before.items() <= list_units(out).items()
    assert finish(start(books, out)) == (0, "")
    assert read_files(out) == straight
    assert not find_work(out).exists()


def test_prepare_after_ctrl_c_says_in_a_line_where_it_goes_on_and_goes_on(
    books: Path, straight: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(books, out)
    wait_until(lambda: list_units(out), process)
    os.killpg(process.pid, signal.SIGINT)
    exit_code, stderr = finish(process)
    work = find_work(out)
    assert (exit_code, stderr.count("\n")) == (130, 1)
    assert re.fullmatch(rf"error: interrupted; .*{re.escape(str(work))}.*\n", stderr)
    assert work.stat().st_mode & 0o777 == 0o700  # it holds private text
    assert not out.exists()
    before = list_units(out)
    # With other settings, nothing of it is used, and it is gone.
    process = start(books, out, "--seed", "1")
    wait_until(lambda: list_units(out) and not before.items() & list_units(out).items(), process)
    # While it has not ended, no other one may write there, nor take its folder away.
    process.send_signal(signal.SIGSTOP)
    for options in (["--seed", "1"], []):
        assert finish(start(books, out, *options)) == (
            2, f"error: {out}: another ghostpen prepare is writing it; wait for that one\n",
        )  # fmt: skip
    assert list_units(out)
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 130
    assert finish(start(books, out)) == (0, "")
    assert read_files(out) == straight
    assert not find_work(out).exists()
