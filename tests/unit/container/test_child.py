"""A child's output and end; the child is a few lines of Python."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ghostpen.container.child import Ended, run_child
from ghostpen.container.ending import explain_end, extend_failure
from ghostpen.container.log import Log
from ghostpen.container.signals import EndOnSignal
from ghostpen.errors import CloudError, ConfigError, JobFailed, Terminated

LIMIT_S = 30


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with Log(tmp_path / "log.txt", secrets=["hunter22hunter"]) as made:
        yield made


def run(code: str, log: Log, *, signals: EndOnSignal | None = None, **options: Any) -> Ended:
    with signals or EndOnSignal(grace_s=LIMIT_S) as taken:
        return run_child(
            [sys.executable, "-S", "-c", code],
            folder=log.path.parent,
            environ=os.environ,
            log=log,
            signals=taken,
            on_tick=options.pop("on_tick", lambda: None),
            tick_s=0.05,
            **options,
        )


def test_output_goes_line_by_line_to_the_log_and_where_it_belongs(
    log: Log, capfd: pytest.CaptureFixture[str]
) -> None:
    code = "import sys; print('one'); print('key hunter22hunter'); print('two', file=sys.stderr); "
    code += "print('é, no end', end='')"
    assert run(code, log) == Ended(0, None)
    shown = capfd.readouterr()
    assert shown.out == "one\nkey ***\né, no end\n"
    assert shown.err == "two\n"
    assert sorted(log.path.read_text(encoding="utf-8").splitlines()) == ["key ***", "one", "two", "é, no end"]


def test_error_line_is_kept_back_for_who_called(log: Log, capfd: pytest.CaptureFixture[str]) -> None:
    code = "import sys; print('error: no hunter22hunter', file=sys.stderr); print('error: in the text'); sys.exit(2)"
    assert run(code, log) == Ended(2, "no ***")
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("error: in the text\n", "")
    assert "error: no ***" in log.path.read_text()


def test_progress_bar_is_one_line_that_shows_its_end(log: Log, capfd: pytest.CaptureFixture[str]) -> None:
    run(r"import sys; sys.stderr.write('\r 1%\r 50%\r100%\nnext\r\n')", log)
    assert capfd.readouterr().err == "100%\nnext\n"


def test_bytes_that_are_no_text_and_a_long_line_stop_nothing(log: Log, capfd: pytest.CaptureFixture[str]) -> None:
    run(r"import sys; sys.stdout.buffer.write(b'\xff\n' + b'x' * 1_000_000 + b'\nend\n')", log)
    assert capfd.readouterr().out == "\ufffd\n" + "x" * 1_000_000 + "\nend\n"


def test_tick_comes_while_the_child_runs_and_after_its_end(log: Log) -> None:
    ticks: list[bool] = []
    done = log.path.parent / "done"
    run(
        f"import pathlib, time; time.sleep(0.3); pathlib.Path({str(done)!r}).touch()",
        log,
        on_tick=lambda: ticks.append(done.exists()),
    )
    assert len(ticks) >= 3 and not ticks[0] and ticks[-1]


def test_grandchild_that_holds_the_pipes_holds_up_nobody(log: Log) -> None:
    began_s = time.monotonic()
    code = "import subprocess; subprocess.Popen(['sleep', '20'], start_new_session=True); print('done')"
    assert run(code, log) == Ended(0, None)
    assert time.monotonic() - began_s < 15
    assert log.path.read_text() == "done\n"


def test_error_of_ours_ends_the_child(log: Log) -> None:
    def fail() -> None:
        if log.path.read_text():
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run("import os, time; print(os.getpid(), flush=True); time.sleep(60)", log, on_tick=fail)
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.path.read_text()), 0)


def test_descriptor_is_handed_on(log: Log) -> None:
    read, write = os.pipe()
    run(f"import os; os.write({write}, b'held')", log, keep_open=(write,))
    assert os.read(read, 10) == b"held"
    os.close(read)
    os.close(write)


def test_signal_that_came_before_the_child_reaches_it(log: Log) -> None:
    with EndOnSignal(grace_s=LIMIT_S) as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        ended = run_child(
            [sys.executable, "-S", "-c", "import time; time.sleep(60)"],
            folder=log.path.parent,
            environ=os.environ,
            log=log,
            signals=signals,
            on_tick=lambda: None,
        )
        assert ended.exit_code == 143
        with pytest.raises(Terminated, match="^stopped by SIGTERM; the same command and run id go on from here$"):
            signals.check()


def test_second_signal_changes_nothing(log: Log) -> None:
    code = (
        "import signal, sys, time\nseen = []\n"
        "signal.signal(signal.SIGINT, lambda n, _: seen.append(n))\nprint('ready', flush=True)\n"
        "while not seen: time.sleep(0.01)\ntime.sleep(0.5)\nprint(seen)\n"
    )

    def press() -> None:
        while "ready" not in log.path.read_text():
            time.sleep(0.01)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)

    threading.Thread(target=press).start()
    assert run(code, log) == Ended(0, None)
    assert "[2]" in log.path.read_text()


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        (Ended(2, "no data"), "train (author): no data"),
        (Ended(1, None), "train (author) ended with exit code 1; the log says more"),
        (Ended(139, None), "train (author) ended with SIGSEGV; the log says more"),
        (Ended(143, None), "train (author) ended with exit code 143; the log says more"),
        (Ended(137, "process 1 of 2 ended with SIGKILL"), "train (author): process 1 of 2 ended with SIGKILL"),
    ],
)
def test_end_of_a_child_is_explained(ended: Ended, expected: str) -> None:
    failure = explain_end(ended, what="train (author)")
    assert (failure.message, failure.exit_code) == (expected, ended.exit_code)


def test_what_is_not_in_s3_is_said_beside_the_failure_and_keeps_its_exit_code() -> None:
    bug = ValueError("a bug")
    for failure, message, code in (
        (None, "not in S3: a", 2),
        (JobFailed("killed", exit_code=137), "killed; not in S3: a", 137),
        (Terminated("stopped"), "stopped; not in S3: a", 143),
        (ConfigError("no"), "no; not in S3: a", 2),
    ):
        extended = extend_failure(failure, "not in S3: a")
        assert isinstance(extended, CloudError if failure is None else type(failure))
        assert (extended.message, extended.exit_code) == (message, code)
    assert extend_failure(bug, "not in S3: a") is bug
