"""Other programs: a deadline that holds for what they start, too, and errors of one line."""

import os
import sys
import time
from pathlib import Path

import pytest

from ghostpen.aws.interview.programs import Programs
from ghostpen.errors import CloudError


def run(script: str, *, timeout_s: float = 60, stdin: str = "") -> str:
    return Programs(os.environ, timeout_s).run([sys.executable, "-S", "-c", script], stdin=stdin)


def test_output_is_returned_and_input_arrives() -> None:
    assert run("import sys; print(sys.stdin.read(), end='!')", stdin="text") == "text!"


def test_nothing_to_read_is_an_empty_input() -> None:
    assert run("import sys; print(repr(sys.stdin.read()))") == "''\n"


def test_failure_says_what_the_program_said_on_one_line() -> None:
    script = "import sys; print('\\n\\x1b[1mAn error\\noccurred', file=sys.stderr); sys.exit(254)"
    with pytest.raises(CloudError) as caught:
        run(script)
    assert caught.value.message == f"{sys.executable}: [1mAn error occurred"
    assert not caught.value.passing


def test_silent_failure_says_its_exit_code() -> None:
    with pytest.raises(CloudError, match="exit code 3, and no word of why"):
        run("raise SystemExit(3)")


def test_long_failure_is_cut() -> None:
    with pytest.raises(CloudError) as caught:
        run("raise SystemExit('x' * 5000)")
    assert caught.value.message.endswith(f": {'x' * 300}...")


def test_program_that_is_not_there_is_an_error_of_one_line() -> None:
    with pytest.raises(CloudError, match=r"^no-such-program can't be started: No such file or directory$"):
        Programs(os.environ, 1).run(["no-such-program"])


def test_program_that_reads_nothing_is_no_failure() -> None:
    assert run("pass", stdin="x" * 200_000) == ""


def test_program_with_a_child_that_holds_on_ends_at_the_deadline(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    child = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {child!r}])"
    begin = time.monotonic()

    with pytest.raises(CloudError, match="did not answer within 2 seconds") as caught:
        run(script, timeout_s=2)
    assert caught.value.passing
    assert time.monotonic() - begin < 30
    deadline = time.monotonic() + 30
    while Path(f"/proc/{mark.read_text()}").exists() and "Z" not in read_state(mark.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def read_state(pid: str) -> str:
    """Read a process's state; a dead one may wait for whoever adopted it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"
