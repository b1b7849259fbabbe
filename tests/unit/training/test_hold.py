"""Only one process at a time works in a run's folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from ghostpen.errors import ConfigError
from ghostpen.training.hold import hold_run

HOLD = """
import sys
from pathlib import Path
from ghostpen.training.hold import hold_run
with hold_run(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_folder_that_another_process_holds_is_refused_until_that_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "runs/mine"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with (
            pytest.raises(ConfigError, match=f"another ghostpen trains or tests in {folder}; wait"),
            hold_run(folder),
        ):
            pass
        other.kill()  # what dies lets go, although its file stays
        other.wait(timeout=30)
        with hold_run(folder):
            pass
    assert list(folder.iterdir()) == []


def test_folder_is_let_go_by_whoever_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), hold_run(tmp_path):
        raise RuntimeError
    with hold_run(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
